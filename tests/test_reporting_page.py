"""Report pages: one file that loads nothing, whatever its texts are, and that everybody can read."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.table import Table as Printed
from rich.text import Text

from proxy.cli.pages import convert
from proxy.reporting import machine
from proxy.reporting.canvas import DARK, LIGHT, Palette
from proxy.reporting.charts import Axis, Chart, Lines, Point, Sample, Spreads, Stacks
from proxy.reporting.page import Column, Page, Part, Row, Section, Table, Tile, write_page
from tests.pages import find_class, find_lines, read_numbers, read_page, read_places, read_text

TABLE = Table(
    [Column("what"), Column("share\nat 500", right=True)],
    [
        Row(cells=[[Part("one")], [Part("0.823"), Part(".77–.86", "dim")]]),
        Row(cells=[[Part("all")], [Part("7", "bad")]], strong=True, begins=True),
    ],
)
POINTS = [Point(number, number / 10) for number in range(1, 8)]


def make_chart(title: str = "A chart", name: str = "a line") -> Chart:
    return Lines(
        title=title,
        caption="Up is better.",
        x=Axis(label="tokens"),
        y=Axis(label="share", is_share=True),
        series={name: POINTS},
    )


def make_page(*sections: Section, **changes: object) -> Page:
    fields: dict[str, object] = {
        "title": "memory-proxy eval",
        "lead": "How well.",
        "command": "memory-proxy eval 'a b'",
        "facts": {"date": "2026-11-30", "processor": "Fast"},
        "tiles": [Tile(label="lost", value="0", note="should be 0", tone="good")],
        "sections": sections,
        "closing": ["2 users."],
    }
    return Page(**{**fields, **changes})  # type: ignore[arg-type]  # a few of many fields


def test_a_page_is_one_file() -> None:
    """Well-formed, nothing to load, nothing that runs; and browsers are told to keep it so."""
    page = read_page(write_page(make_page(Section(name="One", text="t", table=TABLE, charts=[make_chart()]))))
    policy = next(meta for meta in page.find("meta") if meta.get("http-equiv") == "Content-Security-Policy")
    assert policy.get("content") == "default-src 'none'; style-src 'unsafe-inline'"
    assert read_text(page.find("title")[0]) == "memory-proxy eval, 2026-11-30"
    assert page.find("html")[0].get("lang") == "en"


def test_everything_is_said() -> None:
    """When and where, the command, what comes first, tables, charts with how to read them, and the last sentences."""
    sections = [
        Section(name="One", text="About one.", table=TABLE, charts=[make_chart()]),
        Section(name="Two", text="", charts=[make_chart("Another")]),
    ]
    page = read_page(write_page(make_page(*sections)))
    facts = dict(zip(map(read_text, page.find("dt")), map(read_text, page.find("dd")), strict=True))
    assert facts == {"date": "2026-11-30", "processor": "Fast", "command": "memory-proxy eval 'a b'"}
    assert [read_text(part) for part in page.find("ul")[0][0]] == ["lost", "0", "should be 0"]
    assert page.tables == [[["what", "share at 500"], ["one", "0.823 .77–.86"], ["all", "7"]]]
    assert [read_text(link) for link in page.find("a")] == ["One", "Two"]
    assert [link.get("href", "")[1:] for link in page.find("a")] == [part.get("id") for part in page.find("section")]
    assert list(page.figures) == ["A chart", "Another"]
    assert "Up is better." in read_text(page.find("figcaption")[0])
    assert "2 users." in read_text(page.find("footer")[0])
    (strong,) = find_class(page.root, "strong")
    assert "begins" in strong.get("class", "")


def test_a_chart_has_all_its_points() -> None:
    """On the line, as marks, and as numbers below it."""
    (figure,) = read_page(write_page(make_page(Section(name="One", text="", charts=[make_chart()])))).figures.values()
    assert len(read_places(find_lines(figure)[0])) == len(find_class(figure, "dot")) == len(POINTS)
    rows = [[f"{number}", f"{number / 10:.1%}"] for number in range(1, 8)]
    assert read_numbers(figure) == [["tokens", "a line"], *rows]
    (svg,) = figure.iter("svg")
    assert (svg.get("role"), svg.get("aria-label")) == ("img", "A chart")


def test_pictures_of_any_width_have_their_place() -> None:
    """Two beside each other, a wide one beside its caption, and one that is wider than that above it."""
    sample = Sample.of([1.0, 2.0, 3.0])
    charts = [
        make_chart(),
        Spreads(title="Wide", caption="", y=Axis(label="t"), what="c", series={"a name that is long" * 2: sample}),
        Stacks(title="Whole", caption="", x_label="r", rows={"a": {f"part {n} of it all": 1 for n in range(9)}}),
    ]
    figures = read_page(write_page(make_page(Section(name="One", text="", charts=charts)))).figures
    assert [figure.get("class") for figure in figures.values()] == [None, "wide", "whole"]


@settings(deadline=None, derandomize=True, max_examples=60)
@given(st.lists(st.text(st.characters(codec=None), max_size=20), min_size=9, max_size=9))
def test_any_text_is_text(texts: list[str]) -> None:
    """Titles, names, cells, captions: none becomes an element or an attribute, and none is lost."""
    hostile = "</style></title><script>alert(1)</script><img src=//x onerror='a'>\" onload=\"b"
    one, two, three, four, five, six, seven, eight, nine = [text + hostile for text in texts]
    table = Table([Column(one), Column(two)], [Row(cells=[[Part(three)], [Part(four), Part(five, "dim")]])])
    section = Section(name=six, text=seven, table=table, charts=[make_chart(eight, nine)])
    page = make_page(section, title=one, lead=two, command=three, facts={four: five}, closing=[six])
    read = read_page(write_page(page))
    assert read.text.count("alert(1)") > 10
    assert read_text(read.find("h2")[0]).endswith(hostile)
    assert len(read.find("tr")) == 2 + 1 + len(POINTS)


def test_printed_tables_are_taken_over() -> None:
    """The same rows and texts; what is dim, green or red there is told from the rest, and a number stays one."""
    printed = Printed()
    printed.add_column("what")
    printed.add_column("share\nat 500", justify="right")
    printed.add_row(Text("[red] type"), Text.assemble("0.8", "\n", (".7–.9", "dim")))
    printed.add_section()
    printed.add_row("all", Text("3 ms", style="green"), style="bold")
    printed.add_row("none", Text("–", style="red"))
    table = convert(printed)
    assert [(column.name, column.right) for column in table.columns] == [("what", False), ("share\nat 500", True)]
    first, second, third = table.rows
    assert first == Row(cells=([Part("[red] type")], [Part("0.8"), Part(".7–.9", "dim")]))
    assert second == Row(cells=([Part("all")], [Part("3 ms", "good")]), strong=True, begins=True)
    assert third.cells[1] == [Part("–", "bad")]


def luminance(colour: str) -> float:
    """As WCAG 2 defines it."""
    channels = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("palette", [LIGHT, DARK], ids=["light", "dark"])
def test_colours_can_be_seen(palette: Palette) -> None:
    """Text has a contrast of 4.5 to 1 (WCAG AA) to the paper, and so has the text inside of a coloured part."""
    for colour in (palette.ink, palette.soft, palette.good, palette.bad, *palette.lines):
        assert contrast(colour, palette.paper) >= 4.5, colour


def test_the_page_has_the_colours_of_its_charts() -> None:
    """The style sheet of pages names them once more: for light and for dark paper."""
    style = read_text(read_page(write_page(make_page())).find("style")[0])
    light, dark = (dict(re.findall(r"--(\w+): (#\w+)", part)) for part in style.split("@media screen", 1))
    for found, palette in ((light, LIGHT), (dark, DARK)):
        names = ("paper", "ink", "soft", "grid", "good", "bad")
        assert [found[name] for name in names] == [getattr(palette, name) for name in names]
        assert found["accent"] == palette.lines[0]


def test_the_machine_is_described(monkeypatch: pytest.MonkeyPatch) -> None:
    """By what figures depend on; where the system does not tell, that is said or left out."""
    told = machine.describe_machine()
    assert list(told) == ["processor", "cores", "memory", "system", "Python"]
    assert re.fullmatch(r"\d+", told["cores"])
    assert re.fullmatch(r"[\d.]+ GB", told["memory"])
    monkeypatch.setattr(machine, "_read", lambda _: [])
    monkeypatch.setattr("platform.processor", str)
    told = machine.describe_machine()
    assert told["processor"] == "not known"
    assert "memory" not in told
