"""The page of ``memory-proxy bench --report``."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec
from rich import table as rich

from proxy.bench.report import Report, Row
from proxy.cli import pages, webpage
from proxy.reporting.page import Column, Part, Section, Table, Tile

LEADS: Final = {
    "": "What the proxy costs on this machine, against a built-in upstream.",
    "--writing": "How fast memories are stored on this machine, and what chats notice of it.",
    "--kills": "What is lost when the proxy's processes are killed at random moments under load.",
    "--fleet": "What is lost when replicas, and the engines that they share, are killed at random moments under load.",
    "--reembed": "How fast memories move to another embedding model, and what chats notice of it.",
    "--watching": "What it costs to see what the proxy does, in CPU time a request.",
    "--soak": "Whether memory grows with time, under chats of all kinds.",
}
# Where the column is that says in words what colour says elsewhere: behind those of the bounds.
_VERDICT: Final = 4
# What a page shows first, as far as the run has it.
_FIRST: Final = (
    "relayed request",
    "relayed request: edge to floor",
    "relay latency, p50",
    "recall, p50",
    "recall, p99",
    "exchanges stored",
    "memories moved",
    "chats seen to their end",
    "lost",
    "stored twice",
    "leaks",
    "growth of the edge",
    "growth of the keeper",
    "stored request, usual",
)
_MOST_TILES: Final = 7


def write_bench_page(path: Path, run: webpage.Run, report: Report, printed: rich.Table, only: str) -> None:
    """The page of one run; *printed* is its table, *only* the option that says what alone was measured."""
    text = "Targets are what has to be, aims what should be. All hold for this machine and what it did meanwhile."
    sections = [Section(name="Figures", text=text, table=_tabulate(report, printed))]
    if report.charts:
        text = "What the figures sum up. A picture's numbers are below it; single values are told when pointed at."
        sections.append(Section(name="Distributions and courses", text=text, charts=report.charts))
    pages.write_report(
        path,
        run,
        title=f"memory-proxy bench {only}".rstrip(),
        lead=LEADS[only],
        facts={},
        tiles=list(_pick_tiles(report)),
        sections=sections,
    )


def _tabulate(report: Report, printed: rich.Table) -> Table:
    """The printed table, with what colour says there in words."""
    table = pages.convert(printed)
    columns = [*table.columns[:_VERDICT], Column("kept"), *table.columns[_VERDICT:]]
    rows = [
        msgspec.structs.replace(line, cells=[*line.cells[:_VERDICT], list(_judge(row)), *line.cells[_VERDICT:]])
        for line, row in zip(table.rows, report.rows, strict=True)
    ]
    return Table(columns, rows)


def _judge(row: Row) -> Iterator[Part]:
    if row.met is not None:
        yield Part("met", "good") if row.met else Part("missed", "bad")
    if row.aim_met is not None:
        yield Part("aim met" if row.aim_met else "aim missed", "dim")


def _pick_tiles(report: Report) -> Iterator[Tile]:
    for name, verdicts in (
        ("targets met", {row.name: row.met for row in report.rows if row.met is not None}),
        ("aims met", {row.name: row.aim_met for row in report.rows if row.aim_met is not None}),
    ):
        if verdicts:
            missed = [row for row, met in verdicts.items() if not met]
            value, note = f"{len(verdicts) - len(missed)} of {len(verdicts)}", _list_missed(missed)
            yield Tile(label=name, value=value, note=note, tone="bad" if missed else "good")
    known = {row.name: row for row in report.rows}
    for row in [known[name] for name in _FIRST if name in known][:_MOST_TILES]:
        note = f"target {row.asked}" if row.asked else ""
        yield Tile(label=row.name, value=row.measured, note=note, tone="bad" if row.met is False else "")


def _list_missed(names: Sequence[str]) -> str:
    more = len(names) - 3
    return ", ".join(names[:3]) + (f" and {more} more" if more > 0 else "")
