"""``memory-proxy users``, ``memories``, ``search`` and ``forget``: look and erase."""

import sys
from datetime import datetime
from typing import Annotated, Final

import typer
from rich.table import Table
from rich.text import Text

from proxy.cli import opening, options, output
from proxy.cli.backend import Found
from proxy.errors import ApiError
from proxy.identity import check_user_id
from proxy.keeper.wire import Receipt
from proxy.models import Memory, Scope

DEFAULT_LIMIT: Final = 50
# Of the ids that are made here; imported ones may be longer.
ID_WIDTH: Final = 32

Limit = Annotated[int, typer.Option(min=1, help="Show at most so many.")]
All = Annotated[bool, typer.Option("--all", help="Show all.")]


def _check_user(user: str) -> str:
    try:
        return check_user_id(user)
    except ApiError as exc:
        options.fail(str(exc), options.USAGE)


User = Annotated[str, typer.Argument(metavar="USER", help="The user's id.", callback=_check_user)]


def list_users(
    limit: Limit = DEFAULT_LIMIT,
    everyone: All = False,
    as_json: options.AsJson = False,
    server: options.ServerUrl = None,
    config: options.ConfigFile = None,
    data_dir: options.DataDir = None,
) -> None:
    """List users with how many memories they have, latest activity first."""
    settings = options.load(config, data_dir)
    found = opening.run(lambda memories: memories.users(None if everyone else limit), settings, server)
    if as_json:
        output.print_json(found)
        return
    table = output.make_table()
    table.add_column("user", overflow="fold")
    table.add_column("memories", justify="right", no_wrap=True)
    table.add_column("last activity")
    for row in found.users:
        table.add_row(output.make_id_cell(row.user_id), f"{row.memories:,}", _format_text_date(row.last_activity))
    console = output.make_console()
    console.print(table if found.users else "Nobody is remembered yet.")
    _tell_of_more(found.more, len(found.users))


def list_memories(
    user: User,
    limit: Limit = DEFAULT_LIMIT,
    everything: All = False,
    as_json: options.AsJson = False,
    server: options.ServerUrl = None,
    config: options.ConfigFile = None,
    data_dir: options.DataDir = None,
) -> None:
    """List a user's memories, newest first."""
    settings, scope = options.load(config, data_dir), Scope(user)
    found = opening.run(lambda memories: memories.memories(scope, None if everything else limit), settings, server)
    if as_json:
        output.print_json(found)
        return
    table = output.make_table()
    table.add_column("id", overflow="fold", min_width=ID_WIDTH)
    _add_memory_columns(table)
    for memory in found.memories:
        table.add_row(output.make_id_cell(memory.id), *_describe(memory))
    console = output.make_console()
    console.print(table if found.memories else "This user has no memories.")
    _tell_of_more(found.more, len(found.memories))


def search(
    user: User,
    query: Annotated[str, typer.Argument(metavar="QUERY", help="What the user would say.")],
    budget: Annotated[
        int | None,
        typer.Option(min=1, metavar="TOKENS", help="Most tokens of the block.", show_default="memory.budget_tokens"),
    ] = None,
    as_json: options.AsJson = False,
    server: options.ServerUrl = None,
    config: options.ConfigFile = None,
    data_dir: options.DataDir = None,
) -> None:
    """Show what would be recalled if the user said QUERY, with scores, and the block that would be injected."""
    settings, scope = options.load(config, data_dir), Scope(user)
    budget_tokens = settings.memory.budget_tokens if budget is None else budget
    found = opening.run(lambda memories: memories.search(scope, query, budget_tokens), settings, server)
    if as_json:
        output.print_json(found)
    else:
        _show_found(found)


def forget(
    user: User,
    memory: Annotated[
        str | None, typer.Argument(metavar="[ID]", help="The memory's id; without one, the whole user.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: options.AsJson = False,
    server: options.ServerUrl = None,
    config: options.ConfigFile = None,
    data_dir: options.DataDir = None,
) -> None:
    """Erase one memory of a user, or everything about the user, for good."""
    settings, scope = options.load(config, data_dir), Scope(user)
    if not yes:
        _confirm(user, memory)
    receipt = opening.run(lambda memories: memories.erase(scope, memory), settings, server)
    if as_json:
        output.print_json(receipt)
    else:
        output.make_console().print(_format_receipt(receipt), soft_wrap=True)


def _confirm(user: str, memory: str | None) -> None:
    """Returns if it may be erased. What is asked for on a terminal only a person can have meant otherwise."""
    if sys.stdin.isatty():
        what = "everything about" if memory is None else f"memory {output.make_harmless(memory)} of"
        if not typer.confirm(f"Erase {what} {output.make_harmless(user)}? This cannot be undone.", err=True):
            options.fail("nothing was erased")
    elif memory is None:
        options.fail("erasing a whole user without a terminal needs --yes", options.USAGE)


def _format_receipt(receipt: Receipt) -> str:
    waiting = f" and {receipt.journal_entries:,} waiting to be stored" if receipt.journal_entries else ""
    return f"{output.make_harmless(receipt.user_id)}: {output.count(receipt.memories, 'memory')}{waiting} erased"


def _show_found(found: Found) -> None:
    console = output.make_console()
    if found.block is None:
        console.print(f"Nothing would be injected ({found.status}; {found.elapsed_ms:.1f} ms).")
        return
    table = output.make_table()
    table.add_column("score", justify="right", no_wrap=True)
    _add_memory_columns(table)
    for memory in sorted(found.memories, key=lambda memory: -memory.score):
        table.add_row(f"{memory.score:.3f}", *_describe(memory))
    console.print(table)
    console.print(f"The block, {found.tokens:,} tokens, found in {found.elapsed_ms:.1f} ms:\n")
    console.print(output.make_harmless(found.block), soft_wrap=True)


def _add_memory_columns(table: Table) -> None:
    table.add_column("when")
    table.add_column("who", overflow="fold", max_width=20)
    table.add_column("text", overflow="fold", min_width=24)


def _describe(memory: Memory) -> tuple[Text, ...]:
    who = memory.role if memory.name is None else f"{memory.role} {memory.name}"
    return output.make_cell(_format_date(memory.created_at)), output.make_cell(who), output.make_cell(memory.text)


def _format_date(when: datetime) -> str:
    return when.strftime("%Y-%m-%d %H:%M")


def _format_text_date(when: str | None) -> str:
    return "" if when is None else _format_date(datetime.fromisoformat(when))


def _tell_of_more(more: bool, shown: int) -> None:
    if more:
        output.make_console(stderr=True).print(f"Only the first {shown:,} are shown; --all shows all.")
