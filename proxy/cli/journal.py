"""``memory-proxy journal``: what waits to be stored, what was set aside, and why."""

from datetime import datetime
from typing import Annotated, Literal

import typer
from rich.table import Table

from proxy.cli import opening, options, output
from proxy.config import Settings
from proxy.keeper.wire import FailedRow, JournalPage
from proxy.models import now

# Of an age, two units at most: nobody needs the seconds of a day.
_UNITS = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))


def journal(
    action: Annotated[
        Literal["retry", "drop"] | None,
        typer.Argument(
            metavar="[retry|drop]", help="Try again what was set aside, or delete it; without either, show it."
        ),
    ] = None,
    limit: options.Limit = options.DEFAULT_LIMIT,
    yes: options.Yes = False,
    as_json: options.AsJson = False,
    server: options.ServerUrl = None,
    config: options.ConfigFile = None,
    data_dir: options.DataDir = None,
) -> None:
    """Show what waits to be stored, and what was set aside after too many attempts and why."""
    settings = options.load(config, data_dir)
    if action == "retry":
        retried = opening.run(lambda memories: memories.retry_failed(), settings, server)
        _tell("retried", retried, as_json)
    elif action == "drop":
        _drop(settings, server, yes=yes, as_json=as_json)
    else:
        page = opening.run(lambda memories: memories.journal(limit), settings, server)
        _show(page, as_json)


def _drop(settings: Settings, server: str | None, *, yes: bool, as_json: bool) -> None:
    if not yes:
        options.confirm(
            "Delete everything that was set aside? What was said there is never remembered.",
            refused="nothing was dropped",
            unasked="dropping what was set aside without a terminal needs --yes",
        )
    _tell("dropped", opening.run(lambda memories: memories.drop_failed(), settings, server), as_json)


def _tell(done: str, count: int, as_json: bool) -> None:
    if as_json:
        output.print_json({done: count})
    else:
        output.make_console().print(f"{output.count(count, 'entry')} {done}")


def _show(page: JournalPage, as_json: bool) -> None:
    if as_json:
        output.print_json(page)
        return
    console = output.make_console()
    console.print(_summarise(page), soft_wrap=True)
    if page.entries:
        console.print(_tabulate(page.entries))
        options.tell_of_more(
            len(page.entries) < page.failed, f"Only the oldest {len(page.entries):,} are shown; see --limit."
        )


def _summarise(page: JournalPage) -> str:
    oldest = "" if page.oldest_age_s is None else f" (the oldest for {format_age(page.oldest_age_s)})"
    told = f"{page.pending:,} waiting{oldest}, {page.extracting:,} to be looked at for facts, {page.failed:,} failed"
    return told if page.trouble is None else f"{told}\nStoring fails: {output.make_harmless(page.trouble)}"


def _tabulate(entries: list[FailedRow]) -> Table:
    table = output.make_table()
    table.add_column("number", justify="right", no_wrap=True)
    table.add_column("user", overflow="fold")
    table.add_column("stage", no_wrap=True)
    table.add_column("attempts", justify="right", no_wrap=True)
    table.add_column("reason", overflow="fold", min_width=24)
    table.add_column("age", justify="right", no_wrap=True)
    at = now()
    for entry in entries:
        age = (at - datetime.fromisoformat(entry.created_at)).total_seconds()
        table.add_row(
            str(entry.seq),
            output.make_id_cell(entry.user_id),
            output.make_cell(entry.stage),
            f"{entry.attempts:,}",
            output.make_cell(entry.reason),
            format_age(age),
        )
    return table


def format_age(seconds: float) -> str:
    """``3 min 20 s`` and the like."""
    left, parts = max(0, int(seconds)), []
    for unit, size in _UNITS:
        number, left = divmod(left, size)
        if number:
            parts.append(f"{number} {unit}")
    return " ".join(parts[:2]) or "0 s"
