"""A report as one HTML file: it loads nothing, runs nothing, and is read on any screen and on paper."""

from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from typing import Final, Literal
from xml.etree.ElementTree import Element, tostring

import msgspec

from proxy.reporting.canvas import CHARACTER, add, clean, write_rules
from proxy.reporting.charts import Chart, Numbers
from proxy.reporting.drawing import draw
from proxy.reporting.frame import USUAL

Tone = Literal["", "dim", "good", "bad"]
# A picture that is wider than the usual one has a row of the page to itself: beside its caption, or above it.
_WHOLE: Final = 780
_TABLE: Final = 600  # a table that is wider has one, too
_PADDING: Final = 24  # of a cell, both sides


class Part(msgspec.Struct, frozen=True):
    """A piece of a cell: what matters less, or is good or bad, looks so and says so."""

    text: str
    tone: Tone = ""


class Column(msgspec.Struct, frozen=True):
    """What a column is called. Those of figures are set *right*."""

    name: str
    right: bool = False


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """Cells in the order of the columns. *begins*: a line stands above it."""

    cells: Sequence[Sequence[Part]]
    strong: bool = False
    begins: bool = False


class Table(msgspec.Struct, frozen=True):
    """Its first column names the rows."""

    columns: Sequence[Column]
    rows: Sequence[Row]


class Section(msgspec.Struct, frozen=True, kw_only=True):
    """One topic: what it is about, its table and its charts."""

    name: str
    text: str
    table: Table | None = None
    charts: Sequence[Chart] = ()


class Tile(msgspec.Struct, frozen=True, kw_only=True):
    """A figure that should be seen first."""

    label: str
    value: str
    note: str = ""
    tone: Tone = ""


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """A whole report. *facts* say what was measured, when and where; *closing* are sentences at the end."""

    title: str
    lead: str
    command: str
    facts: Mapping[str, str]
    tiles: Sequence[Tile]
    sections: Sequence[Section]
    closing: Sequence[str] = ()


def write_page(page: Page) -> str:
    """The file's text. Whatever texts the page has, none of them becomes markup."""
    html = Element("html", lang="en")
    head, body = add(html, "head"), add(html, "body")
    add(head, "meta", charset="utf-8")
    add(head, "meta", name="viewport", content="width=device-width, initial-scale=1")
    # Should a text become markup after all, no browser would run or load it.
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    add(head, "meta", http_equiv="Content-Security-Policy", content=policy)
    add(head, "title", f"{page.title}, {page.facts['date']}" if "date" in page.facts else page.title)
    add(head, "style", files("proxy.reporting").joinpath("page.css").read_text("utf-8") + write_rules())
    _write_header(body, page)
    sections = [(f"s{number}", section) for number, section in enumerate(page.sections, start=1)]
    if len(sections) > 1:
        _write_contents(body, sections)
    main = add(body, "main")
    for name, section in sections:
        _write_section(main, name, section)
    footer = add(body, "footer")
    for sentence in (*page.closing, "This file is all of it: it loads nothing and runs no script."):
        add(footer, "p", sentence)
    return f"<!doctype html>\n{tostring(html, 'unicode', method='html')}\n"


def _write_header(body: Element, page: Page) -> None:
    header = add(body, "header")
    add(header, "h1", page.title)
    add(header, "p", page.lead, class_="lead")
    facts = add(header, "dl", class_="facts")
    for name, value in page.facts.items():
        _write_fact(facts, name, value)
    _write_fact(facts, "command", page.command, class_="wide")
    if page.tiles:
        tiles = add(header, "ul", class_="tiles")
        for tile in page.tiles:
            item = add(tiles, "li")
            add(item, "span", tile.label, class_="label")
            add(item, "span", tile.value, class_=f"value {tile.tone}".rstrip())
            if tile.note:
                add(item, "span", tile.note, class_="note")


def _write_fact(facts: Element, name: str, value: str, class_: str = "") -> None:
    pair = add(facts, "div", class_=class_)
    add(pair, "dt", name)
    add(pair, "dd", value)


def _write_contents(body: Element, sections: Iterable[tuple[str, Section]]) -> None:
    names = add(add(body, "nav", aria_label="Contents"), "ul")
    for name, section in sections:
        add(add(names, "li"), "a", section.name, href=f"#{name}")


def _write_section(main: Element, name: str, section: Section) -> None:
    part = add(main, "section", id=name, aria_labelledby=f"{name}-h")
    add(part, "h2", section.name, id=f"{name}-h")
    if section.text:
        add(part, "p", section.text)
    figures = add(part, "div", class_="figures")
    if section.table is not None:
        # One that is as narrow as a chart has one beside it.
        is_narrow = section.charts and _estimate_width(section.table) <= _TABLE
        place = add(figures, "div", class_="table" if is_narrow else "table whole")
        _write_table(_make_scrollable(place, section.name), section.table)
    for chart in section.charts:
        _write_figure(figures, chart)


def _estimate_width(table: Table) -> float:
    """Of its columns side by side: heads may be broken at spaces, what is below them need not be."""
    width = 0.0
    for number, column in enumerate(table.columns):
        texts = [part.text for row in table.rows for part in row.cells[number]] + column.name.split()
        width += CHARACTER * max(map(len, texts), default=0) + _PADDING
    return width


def _write_figure(parent: Element, chart: Chart) -> None:
    svg = draw(chart)
    _, _, width, height = svg.get("viewBox", "").split()
    svg.set("width", width)
    svg.set("height", height)
    size = "whole" if float(width) > _WHOLE else "wide" if float(width) > USUAL else ""
    figure = add(parent, "figure", class_=size)
    add(figure, "h3", chart.title)
    _make_scrollable(figure, chart.title).append(svg)
    caption = add(figure, "figcaption")
    add(caption, "p", chart.caption)
    details = add(caption, "details")
    add(details, "summary", "The numbers")
    _write_table(_make_scrollable(details, f"{chart.title}, the numbers"), _make_table(chart.list_numbers()))


def _make_scrollable(parent: Element, name: str) -> Element:
    """What may be wider than the screen. It takes the focus, so that the keyboard can move it."""
    return add(parent, "div", class_="scroll", tabindex="0", role="region", aria_label=clean(name))


def _make_table(numbers: Numbers) -> Table:
    (first, *others), rows = numbers
    columns = [Column(first), *(Column(name, right=True) for name in others)]
    return Table(columns, [Row(cells=[[Part(text)] for text in row]) for row in rows])


def _write_table(parent: Element, table: Table) -> None:
    element = add(parent, "table")
    head = add(add(element, "thead"), "tr")
    for column in table.columns:
        add(head, "th", column.name, scope="col", class_="right" if column.right else "")
    body = add(element, "tbody")
    for row in table.rows:
        looks = " ".join(name for name, wanted in (("strong", row.strong), ("begins", row.begins)) if wanted)
        line = add(body, "tr", class_=looks)
        for number, (column, parts) in enumerate(zip(table.columns, row.cells, strict=True)):
            look = "right figure" if column.right else ""
            cell = add(line, "td", class_=look) if number else add(line, "th", scope="row", class_=look)
            for part in parts:
                add(cell, "span", part.text, class_=part.tone)
