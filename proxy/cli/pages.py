"""Pages of tables as they are printed, beside charts of what they sum up."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from rich import table as rich
from rich.text import Text

from proxy.cli import webpage
from proxy.reporting.page import Column, Page, Part, Row, Section, Table, Tile, Tone, write_page

_TONES: Final[Mapping[str, Tone]] = {"dim": "dim", "green": "good", "red": "bad"}


def write_report(
    path: Path,
    run: webpage.Run,
    *,
    title: str,
    lead: str,
    facts: Mapping[str, str],
    tiles: Sequence[Tile],
    sections: Sequence[Section],
    closing: Sequence[str] = (),
) -> None:
    """Writes the page of one run; *facts* are those beside when and where."""
    page = Page(
        title=title,
        lead=lead,
        command=run.command,
        facts={**facts, **run.describe()},
        tiles=tiles,
        sections=sections,
        closing=closing,
    )
    webpage.write_file("--report", path, write_page(page))


def convert(table: rich.Table) -> Table:
    """A table as it is printed: the same rows, and the same texts in them."""
    columns = [Column(_plain(column.header), right=column.justify == "right") for column in table.columns]
    cells = [[list(_split(cell)) for cell in column.cells] for column in table.columns]
    begins = [False, *(row.end_section for row in table.rows)]
    rows = [
        Row(cells=of_row, strong=row.style == "bold", begins=begins[number])
        for number, (row, of_row) in enumerate(zip(table.rows, zip(*cells, strict=True), strict=True))
    ]
    return Table(columns, rows)


def _plain(cell: object) -> str:
    return cell.plain if isinstance(cell, Text) else str(cell)


def _split(cell: object) -> Iterator[Part]:
    """A cell by its styles; an interval below its mean is a part of its own."""
    if not isinstance(cell, Text):
        yield Part(str(cell))
        return
    tone, place = _TONES.get(str(cell.style), ""), 0
    for span in sorted(cell.spans):
        yield from _make_part(cell.plain[place : span.start], tone)
        yield from _make_part(cell.plain[span.start : span.end], _TONES.get(str(span.style), tone))
        place = span.end
    yield from _make_part(cell.plain[place:], tone)


def _make_part(text: str, tone: Tone) -> Iterator[Part]:
    if stripped := text.strip():
        yield Part(stripped, tone)
