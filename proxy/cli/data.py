"""``memory-proxy users``, ``memories`` and ``search``: look, and change nothing."""

from datetime import datetime
from typing import Annotated, Final

import typer
from rich.table import Table
from rich.text import Text

from proxy.cli import opening, options, output
from proxy.edge.answers import Found
from proxy.models import Memory, Scope
from proxy.recall.why import Why

# Of the ids that are made here; imported ones may be longer.
ID_WIDTH: Final = 32

All = Annotated[bool, typer.Option("--all", help="Show all.")]


def list_users(
    limit: options.Limit = options.DEFAULT_LIMIT,
    everyone: All = False,
    tenant: options.Tenant = None,
    as_json: options.AsJson = False,
    server: options.ServerUrl = None,
    config: options.ConfigFile = None,
    data_dir: options.DataDir = None,
) -> None:
    """List users with how many memories they have, latest activity first."""
    settings = options.load(config, data_dir)
    found = opening.run(lambda memories: memories.users(None if everyone else limit), settings, server, tenant=tenant)
    if as_json:
        output.print_json(found)
        return
    table = output.make_table()
    has_tenants = any(row.tenant for row in found.users)
    if has_tenants:
        table.add_column("tenant", overflow="fold")
    table.add_column("user", overflow="fold")
    table.add_column("memories", justify="right", no_wrap=True)
    table.add_column("last activity")
    for row in found.users:
        tenants = [output.make_id_cell(row.tenant)] if has_tenants else []
        date = _format_text_date(row.last_activity)
        table.add_row(*tenants, output.make_id_cell(row.user_id), f"{row.memories:,}", date)
    console = output.make_console()
    console.print(table if found.users else "Nobody is remembered yet.")
    _tell_of_more(found.more, len(found.users))


def list_memories(
    user: options.User,
    limit: options.Limit = options.DEFAULT_LIMIT,
    everything: All = False,
    superseded: Annotated[
        bool, typer.Option("--superseded", help="Show those as well that no longer hold, and what took their place.")
    ] = False,
    tenant: options.Tenant = None,
    as_json: options.AsJson = False,
    server: options.ServerUrl = None,
    config: options.ConfigFile = None,
    data_dir: options.DataDir = None,
) -> None:
    """List a user's memories, newest first."""
    settings = options.load(config, data_dir)
    scope = Scope(user, options.require_tenant(settings, server, tenant))
    most = None if everything else limit
    found = opening.run(
        lambda memories: memories.memories(scope, most, superseded=superseded), settings, server, tenant=tenant
    )
    if as_json:
        output.print_json(found)
        return
    table = output.make_table()
    table.add_column("id", overflow="fold", min_width=ID_WIDTH)
    _add_memory_columns(table)
    if superseded:
        table.add_column("replaced by", overflow="fold", min_width=ID_WIDTH)
    for memory in found.memories:
        replaced = [_describe_end(memory)] if superseded else []
        table.add_row(output.make_id_cell(memory.id), *_describe(memory), *replaced)
    console = output.make_console()
    console.print(table if found.memories else "This user has no memories.")
    _tell_of_more(found.more, len(found.memories))


def search(
    user: options.User,
    query: Annotated[str, typer.Argument(metavar="QUERY", help="What the user would say.")],
    budget: Annotated[
        int | None,
        typer.Option(min=1, metavar="TOKENS", help="Most tokens of the block.", show_default="memory.budget_tokens"),
    ] = None,
    tenant: options.Tenant = None,
    as_json: options.AsJson = False,
    server: options.ServerUrl = None,
    config: options.ConfigFile = None,
    data_dir: options.DataDir = None,
) -> None:
    """Show what would be recalled if the user said QUERY, with scores, and the block that would be injected."""
    settings = options.load(config, data_dir)
    scope = Scope(user, options.require_tenant(settings, server, tenant))
    budget_tokens = settings.memory.budget_tokens if budget is None else budget
    found = opening.run(lambda memories: memories.search(scope, query, budget_tokens), settings, server, tenant=tenant)
    if as_json:
        output.print_json(found)
    else:
        _show_found(found)


def _show_found(found: Found) -> None:
    console = output.make_console()
    if found.block is None:
        console.print(f"Nothing would be injected ({found.status}; {found.elapsed_ms:.1f} ms).")
        return
    table = output.make_table()
    table.add_column("score", justify="right", no_wrap=True)
    _add_memory_columns(table)
    table.add_column("why", overflow="fold", max_width=40)
    for memory in sorted(found.memories, key=lambda memory: -memory.score):
        table.add_row(f"{memory.score:.3f}", *_describe(memory), output.make_cell(_explain(memory.why)))
    console.print(table)
    console.print(f"The block, {found.tokens:,} tokens, found in {found.elapsed_ms:.1f} ms:\n")
    console.print(output.make_harmless(found.block), soft_wrap=True)


def _explain(why: Why | None) -> str:
    """What a score is made of, in a few words; of what holds without being asked for, that it does."""
    if why is None:
        return "always holds"
    words = ", ".join(f"{word} {part:.1f}" for word, part in why.words) or "no word in it"
    factors = "".join(f", {name} ×{factor:g}" for name, factor in why.factors.items())
    return f"words {why.lexical:.2f} ({words}), vector {why.vector:.2f} (cosine {why.cosine:.2f}){factors}"


def _add_memory_columns(table: Table) -> None:
    table.add_column("when")
    table.add_column("who", overflow="fold", max_width=20)
    table.add_column("text", overflow="fold", min_width=24)


def _describe(memory: Memory) -> tuple[Text, ...]:
    who = memory.role if memory.name is None else f"{memory.role} {memory.name}"
    return output.make_cell(_format_date(memory.created_at)), output.make_cell(who), output.make_cell(memory.text)


def _describe_end(memory: Memory) -> Text:
    """What took the memory's place, and when."""
    if memory.superseded_by is None:
        return Text()
    until = "" if memory.valid_until is None else f"\non {_format_date(memory.valid_until)}"
    return Text.assemble(output.make_id_cell(memory.superseded_by), until)


def _format_date(when: datetime) -> str:
    return when.strftime("%Y-%m-%d %H:%M")


def _format_text_date(when: str | None) -> str:
    return "" if when is None else _format_date(datetime.fromisoformat(when))


def _tell_of_more(more: bool, shown: int) -> None:
    options.tell_of_more(more, f"Only the first {shown:,} are shown; --all shows all.")
