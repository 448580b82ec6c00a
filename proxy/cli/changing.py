"""``memory-proxy remember``, ``edit`` and ``forget``: memories by hand."""

from typing import Annotated

import typer

from proxy.cli import opening, options, output
from proxy.errors import ApiError
from proxy.keeper.wire import Receipt
from proxy.models import Memory, Scope


def _check_text(text: str | None) -> str | None:
    from proxy.edge.parameters import check_text  # here, because it brings in what a server is made of

    try:
        return text if text is None else check_text(text)
    except ApiError as exc:
        options.fail(str(exc), options.USAGE)


MemoryId = Annotated[str, typer.Argument(metavar="ID", help="The memory's id.")]


def remember(
    user: options.User,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="What to remember.", callback=_check_text)],
    tenant: options.Tenant = None,
    as_json: options.AsJson = False,
    server: options.ServerUrl = None,
    config: options.ConfigFile = None,
    data_dir: options.DataDir = None,
) -> None:
    """Add a memory by hand, which counts for more than what was only said."""
    settings = options.load(config, data_dir)
    scope = Scope(user, options.require_tenant(settings, server, tenant))
    added = opening.run(lambda memories: memories.add(scope, text), settings, server, tenant=tenant, create=True)
    _show(added, "remembered", as_json)


def edit(
    user: options.User,
    memory: MemoryId,
    text: Annotated[
        str | None, typer.Argument(metavar="[TEXT]", help="What it says from now on.", callback=_check_text)
    ] = None,
    restore: Annotated[
        bool, typer.Option("--restore", help="It holds again, although something has taken its place.")
    ] = False,
    tenant: options.Tenant = None,
    as_json: options.AsJson = False,
    server: options.ServerUrl = None,
    config: options.ConfigFile = None,
    data_dir: options.DataDir = None,
) -> None:
    """Correct a memory, or restore one that was superseded."""
    settings = options.load(config, data_dir)
    scope = Scope(user, options.require_tenant(settings, server, tenant))
    if text is None and not restore:
        options.fail("edit needs a TEXT, or --restore", options.USAGE)
    edited = opening.run(
        lambda memories: memories.edit(scope, memory, text, restore=restore), settings, server, tenant=tenant
    )
    _show(edited, "changed", as_json)


def forget(
    user: options.User,
    memory: Annotated[
        str | None, typer.Argument(metavar="[ID]", help="The memory's id; without one, the whole user.")
    ] = None,
    yes: options.Yes = False,
    tenant: options.Tenant = None,
    as_json: options.AsJson = False,
    server: options.ServerUrl = None,
    config: options.ConfigFile = None,
    data_dir: options.DataDir = None,
) -> None:
    """Erase one memory of a user, or everything about the user, for good."""
    settings = options.load(config, data_dir)
    scope = Scope(user, options.require_tenant(settings, server, tenant))
    if not yes:
        what = "everything about" if memory is None else f"memory {output.make_harmless(memory)} of"
        options.confirm(
            f"Erase {what} {output.make_harmless(user)}? This cannot be undone.",
            refused="nothing was erased",
            unasked="erasing a whole user without a terminal needs --yes" if memory is None else None,
        )
    receipt = opening.run(lambda memories: memories.erase(scope, memory), settings, server, tenant=tenant)
    if as_json:
        output.print_json(receipt)
    else:
        output.make_console().print(_format_receipt(receipt), soft_wrap=True)


def _show(memory: Memory, done: str, as_json: bool) -> None:
    if as_json:
        output.print_json(memory)
    else:
        user, name = output.make_harmless(memory.user_id), output.make_harmless(memory.id)
        output.make_console().print(f"{user}: {done}, as {name}", soft_wrap=True)


def _format_receipt(receipt: Receipt) -> str:
    waiting = f" and {receipt.journal_entries:,} waiting to be stored" if receipt.journal_entries else ""
    erased = f"{output.count(receipt.memories, 'memory')}{waiting} erased at {receipt.erased_at}"
    digest = f"\nreceipt: {receipt.digest}" if receipt.digest else ""
    return f"{output.make_harmless(receipt.user_id)}: {erased}{digest}"
