"""The chart: well-formed whatever its labels are, in the right places, and without anything that runs or loads."""

import math
import re
from itertools import pairwise
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.evaluation.plot import Point, draw_lines

RISING = [Point(100, 0.2, 0.1, 0.3), Point(1000, 0.6, 0.55, 0.7), Point(4000, 0.9, 0.85, 0.95)]
FALLING = [Point(100, 0.8, 0.7, 0.9), Point(4000, 0.4, 0.3, 0.5)]


def draw(series: dict[str, list[Point]], **options: str) -> Element:
    return ElementTree.fromstring(draw_lines("Title", "budget", "share", series, **options))


def find(svg: Element, look: str) -> list[Element]:
    """The elements of one class; an element may have several."""
    return [element for element in svg.iter() if look in element.get("class", "").split()]


def texts(svg: Element) -> list[str]:
    return [element.text or "" for element in svg.iter() if element.tag.endswith("}text")]


def places(path: Element) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in re.findall(r"([\d.]+),([\d.]+)", path.get("d", ""))]


def test_what_it_says() -> None:
    """Title, axes, their numbers and the names of the lines are text that can be read and searched."""
    shown = texts(draw({"rising": RISING, "falling": FALLING}))
    assert {"Title", "budget", "share", "rising", "falling", "100", "1,000", "4,000", "10 %", "100 %"} <= set(shown)
    assert "0 %" not in shown


def test_every_point_tells_its_numbers() -> None:
    """A point's tooltip has the exact figures."""
    titles = [dot[0].text for dot in find(draw({"rising": RISING}), "dot")]
    assert titles[1] == "rising, 1,000: 60.0% (55.0% to 70.0%)"
    assert len(titles) == len(RISING)


def test_lines_and_bands_are_where_their_values_are() -> None:
    """Up is more, a band lies around its line, and a wide range of x is logarithmic."""
    svg = draw({"rising": RISING})
    line, band = places(find(svg, "line")[0]), places(find(svg, "band")[0])
    assert [y for _, y in line] == sorted((y for _, y in line), reverse=True)
    for (x, y), high, low in zip(line, band, reversed(band), strict=False):
        assert x == high[0] == low[0]
        assert high[1] < y < low[1]
    left, middle, right = (x for x, _ in line)
    assert (middle - left) / (right - left) == pytest.approx(math.log(10) / math.log(40), abs=0.001)


def test_a_narrow_range_is_linear() -> None:
    """Points need not come in order, and their distances are those of their values."""
    points = [Point(x, 0.5, 0.4, 0.6) for x in (500, 100, 200)]
    left, middle, right = (x for x, _ in places(find(draw({"a": points}), "line")[0]))
    assert (middle - left) / (right - left) == pytest.approx(0.25, abs=0.001)


def test_numbers_below_the_axis_do_not_overlap() -> None:
    """Of values that are too close for their numbers, the first keeps its own."""
    shown = texts(draw({"a": [Point(x, 0.5, 0.4, 0.6) for x in (100, 101, 102, 300)]}))
    assert [text for text in shown if text in {"100", "101", "102", "300"}] == ["100", "300"]


def test_the_emphasised_line_is_above_the_others() -> None:
    """It is drawn last, and heavier; the others keep the colours of their places."""
    svg = draw({"all": RISING, "falling": FALLING}, emphasis="all")
    looks = [line.get("class") for line in find(svg, "line")]
    assert looks[:2] == ["line c1", "line heavy"]
    assert [name.text for name in find(svg, "name") if "heavy" in name.get("class", "")] == ["all"]


@pytest.mark.parametrize("end", [0.0, 0.5, 0.98])
def test_names_do_not_overlap(end: float) -> None:
    """Many lines that end together have their names one below the other, in the order of their ends, on the chart."""
    series = {f"line {i}": [Point(1, 0.5, 0.0, 1.0), Point(2, end + i / 1000, 0.0, 1.0)] for i in range(18)}
    names = find(draw(series), "name")
    assert [name.text for name in names] == [f"line {i}" for i in reversed(range(18))]
    rows = [float(name.get("y", "")) for name in names]
    assert all(below - above >= 19.9 for above, below in pairwise(rows))
    assert 60 <= rows[0] < rows[-1] <= 450


def test_many_lines_can_be_told_apart() -> None:
    """More lines than colours: no two have both colour and dashes in common."""
    svg = draw({str(i): FALLING for i in range(20)})
    looks = {(line.get("class"), line.get("stroke-dasharray")) for line in find(svg, "line")}
    assert len(looks) == 20


def test_long_names_have_room() -> None:
    """The picture grows to the right with the longest name."""
    usual, wide = (float(draw({name: RISING}).get("viewBox", "").split()[2]) for name in ("a", "a" * 100))
    assert wide > usual + 400


def test_one_point_is_a_chart() -> None:
    """A single value stands in the middle, with no range to divide by."""
    assert places(find(draw({"a": [Point(5, 1, 1, 1)]}), "line")[0]) == [(361.0, 60.0)]


def test_no_points() -> None:
    """Series without points are left out; with no point at all there is nothing to draw."""
    assert "empty" not in texts(draw({"empty": [], "rising": RISING}))
    with pytest.raises(ValueError, match="point"):
        draw({"empty": []})


def test_light_and_dark_and_nothing_else() -> None:
    """Colours follow the reader's scheme; there is no script, no link and nothing to load."""
    svg = draw({"rising": RISING})
    assert {element.tag.rpartition("}")[2] for element in svg.iter()} == {
        *("svg", "title", "style", "rect", "text", "path", "circle")
    }
    style = next(element.text or "" for element in svg.iter() if element.tag.endswith("}style"))
    light, dark = style.split("@media (prefers-color-scheme: dark)")
    for rule in (".paper", ".line.c0", ".line.heavy", ".dot.c7", ".band.heavy", ".grid", ".soft"):
        assert rule in light
        assert rule in dark
    assert not re.search(r"url|@import|http", style)


@settings(deadline=None, derandomize=True, max_examples=100)
@given(st.lists(st.text(st.characters(codec=None), max_size=9), min_size=4, max_size=6, unique=True))
def test_any_label_is_text(labels: list[str]) -> None:
    """Labels are escaped, and what XML cannot hold is replaced: any words make a chart, and none makes an element."""
    title, x_label, y_label, *names = ["</text><script>", *labels][:3] + labels
    svg = ElementTree.fromstring(draw_lines(title, x_label, y_label, dict.fromkeys(names, RISING)))
    assert len(find(svg, "name")) == len(names)
    assert "</text><script>" in texts(svg)
    assert not any(element.tag.endswith("script") for element in svg.iter())
