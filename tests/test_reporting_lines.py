"""Charts of lines: well-formed whatever their labels are, in the right places, and as many points as there are."""

import math
import random
import re
from itertools import pairwise
from xml.etree.ElementTree import Element

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.reporting.charts import Axis, Bound, Lines, Point, Sample, Spreads
from proxy.reporting.drawing import draw, write_svg
from tests.pages import find_class, find_lines, list_told, parse_svg, read_places

RISING = [Point(100, 0.2, 0.1, 0.3), Point(1000, 0.6, 0.55, 0.7), Point(4000, 0.9, 0.85, 0.95)]
FALLING = [Point(100, 0.8, 0.7, 0.9), Point(4000, 0.4, 0.3, 0.5)]
MS = Axis(label="time", unit="ms")


def plot(
    series: dict[str, list[Point]],
    *,
    emphasis: str | None = None,
    labels: tuple[str, str, str] = ("Title", "budget", "share"),
) -> Element:
    title, x, y = labels
    chart = Lines(
        title=title, caption="", x=Axis(label=x), y=Axis(label=y, is_share=True), series=series, emphasis=emphasis
    )
    return parse_svg(write_svg(chart))


def plot_spreads(**series: Sample) -> Element:
    return parse_svg(write_svg(Spreads(title="Title", caption="", y=MS, what="chats", series=series)))


def texts(svg: Element) -> list[str]:
    return [element.text or "" for element in svg.iter("text")]


def test_what_it_says() -> None:
    """Title, axes, their numbers and the names of the lines are text that can be read and searched."""
    shown = texts(plot({"rising": RISING, "falling": FALLING}))
    assert {"Title", "budget", "share", "rising", "falling", "100", "1,000", "4,000", "10 %", "100 %"} <= set(shown)
    assert "0 %" not in shown


def test_every_point_tells_its_numbers() -> None:
    """A point's tooltip has the exact figures."""
    told = list(list_told(plot({"rising": RISING})))
    assert told[1] == "rising, 1,000: 60.0% (55.0% to 70.0%)"
    assert len(told) == len(RISING)


def test_lines_and_bands_are_where_their_values_are() -> None:
    """Up is more, a band lies around its line, and a wide range of x is logarithmic."""
    svg = plot({"rising": RISING})
    line, band = read_places(find_lines(svg)[0]), read_places(find_class(svg, "band")[0])
    assert len(line) == len(RISING)
    assert [y for _, y in line] == sorted((y for _, y in line), reverse=True)
    for (x, y), high, low in zip(line, band, reversed(band), strict=False):
        assert x == high[0] == low[0]
        assert high[1] < y < low[1]
    left, middle, right = (x for x, _ in line)
    assert (middle - left) / (right - left) == pytest.approx(math.log(10) / math.log(40), abs=0.001)


def test_a_narrow_range_is_linear() -> None:
    """Points need not come in order, and their distances are those of their values."""
    points = [Point(x, 0.5, 0.4, 0.6) for x in (500, 100, 200)]
    left, middle, right = (x for x, _ in read_places(find_lines(plot({"a": points}))[0]))
    assert (middle - left) / (right - left) == pytest.approx(0.25, abs=0.001)


def test_without_intervals_there_is_no_band() -> None:
    """Nor is one made up; the value stands alone in what is told."""
    svg = plot({"a": [Point(1, 0.25), Point(2, 0.5)]})
    assert find_class(svg, "band") == []
    assert list(list_told(svg)) == ["a, 1: 25.0%", "a, 2: 50.0%"]


def test_a_long_course_has_all_its_points() -> None:
    """They are on the line; dots would hide it. The axis has round numbers, and begins at 0 if it is to."""
    course = [Point(number / 7, 140 + number % 5) for number in range(200)]
    chart = Lines(
        title="",
        caption="",
        x=Axis(label="time", unit="min", scale="linear"),
        y=Axis(label="memory", unit="MB"),
        series={"edge": course},
        from_zero=True,
    )
    svg = draw(chart)
    assert len(read_places(find_lines(svg)[0])) == len(course)
    assert find_class(svg, "dot") == []
    assert {"0", "10", "30", "50", "100", "150", "time, min", "memory, MB"} <= set(texts(svg))


def test_bounds_are_drawn() -> None:
    """At their value, with their name, and the axis reaches as far."""
    points = [Point(1, 10.0), Point(2, 20.0)]
    bounds = [Bound(80, "must")]
    svg = draw(Lines(title="", caption="", x=Axis(label="x"), y=MS, series={"a": points}, bounds=bounds))
    ((_, y),) = re.findall(r"M([\d.]+),([\d.]+)H", find_class(svg, "bound")[0].get("d", ""))
    assert float(y) < min(place for _, place in read_places(find_lines(svg)[0]))
    assert "must" in texts(svg)


def test_numbers_below_the_axis_do_not_overlap() -> None:
    """Of values that are too close for their numbers, the first keeps its own."""
    shown = texts(plot({"a": [Point(x, 0.5, 0.4, 0.6) for x in (100, 101, 102, 300)]}))
    assert [text for text in shown if text in {"100", "101", "102", "300"}] == ["100", "300"]


def test_the_emphasised_line_is_above_the_others() -> None:
    """It is drawn last, and heavier; the others keep the colours of their places."""
    svg = plot({"all": RISING, "falling": FALLING}, emphasis="all")
    assert [line.get("class") for line in find_lines(svg)] == ["line c1", "line heavy"]
    assert {sample.get("class") for sample in find_class(svg, "key")} == {"line key c1", "line key heavy"}
    assert [name.text for name in find_class(svg, "name") if "heavy" in name.get("class", "")] == ["all"]


@pytest.mark.parametrize("end", [0.0, 0.5, 0.98])
def test_names_do_not_overlap(end: float) -> None:
    """Many lines that end together have their names one below the other, in the order of their ends, on the chart."""
    series = {f"line {i}": [Point(1, 0.5, 0.0, 1.0), Point(2, end + i / 1000, 0.0, 1.0)] for i in range(13)}
    svg = plot(series)
    names = find_class(svg, "name")
    assert [name.text for name in names] == [f"line {i}" for i in reversed(range(13))]
    rows = [float(name.get("y", "")) for name in names]
    assert all(below - above >= 19.9 for above, below in pairwise(rows))
    assert 60 <= rows[0] < rows[-1] <= float(svg.get("viewBox", "").split()[3])


def test_many_lines_can_be_told_apart() -> None:
    """More lines than colours: no two have both colour and dashes in common."""
    svg = plot({str(i): FALLING for i in range(20)})
    looks = {(line.get("class"), line.get("stroke-dasharray")) for line in find_lines(svg)}
    assert len(looks) == 20


def test_long_names_have_room() -> None:
    """The picture grows to the right with the longest name, and one without end is cut and told when pointed at."""
    usual, wide, endless = (plot({name: RISING}) for name in ("a", "a" * 40, "a" * 10_000))
    widths = [float(svg.get("viewBox", "").split()[2]) for svg in (usual, wide, endless)]
    assert widths[0] + 80 < widths[1] <= widths[2] < 1000
    (name,) = find_class(endless, "name")
    assert [title.text for title in name] == ["a" * 10_000]
    assert (name[0].tail or "").endswith("a…")


def test_one_point_is_a_chart() -> None:
    """A single value stands in the middle, with no range to divide by."""
    ((x, y),) = read_places(find_lines(plot({"a": [Point(5, 1, 1, 1)]}))[0])
    assert 150 < x < 350
    assert y == 74


@pytest.mark.parametrize(("low", "high"), [(0.0, 0.0), (7.0, 7.0), (-3.0, -3.0), (0.001, 5_000_000.0), (1.0, 1.0)])
def test_any_range_has_an_axis(low: float, high: float) -> None:
    """One value or eight powers of ten: numbers stand beside the axis, around the values."""
    svg = draw(Lines(title="", caption="", x=Axis(label="x"), y=MS, series={"a": [Point(1, low), Point(2, high)]}))
    places = [y for _, y in read_places(find_lines(svg)[0])]
    beside = [float(text.get("y", "")) for text in svg.iter("text") if text.get("text-anchor") == "end"]
    assert len(beside) >= 2
    assert min(beside) - 5 <= min(places) <= max(places) <= max(beside)


def test_no_points() -> None:
    """Series without points are left out; with no point at all there is nothing to draw."""
    assert "empty" not in texts(plot({"empty": [], "rising": RISING}))
    with pytest.raises(ValueError, match="point"):
        plot({"empty": []})
    with pytest.raises(ValueError, match="line"):
        plot_spreads()


def test_distributions_are_sorted_values() -> None:
    """A line rises from the least to the most, has a place for each quantile, and names its median and its p99."""
    draw_from = random.Random(5)
    slow, fast = (Sample.of([draw_from.lognormvariate(mean, 0.5) for _ in range(1000)]) for mean in (3, 0))
    svg = plot_spreads(slow=slow, fast=fast)
    lines = find_lines(svg)
    for line, sample in zip(lines, (slow, fast), strict=True):
        places = read_places(line)
        assert len(places) == len(sample.quantiles)
        assert [y for _, y in places] == sorted((y for _, y in places), reverse=True)
        assert [x for x, _ in places] == sorted(x for x, _ in places)
    assert {"p1", "p10", "p50", "p90", "p99", "time, ms", "chats, sorted by time"} <= set(texts(svg))
    told = list(list_told(svg))
    assert told[0] == f"slow, p50: {slow.at(0.5):.3g} ms"
    assert [entry.split(":")[0] for entry in told] == ["slow, p50", "slow, p99", "fast, p50", "fast, p99"]
    assert f"p50 {fast.at(0.5):.3g}, p99 {fast.at(0.99):.3g} ms" in texts(svg)


def test_few_values_have_no_p99() -> None:
    """It is neither drawn nor named."""
    svg = plot_spreads(few=Sample.of([float(number) for number in range(1, 20)]))
    assert not any("p99" in text for text in texts(svg))
    assert [entry.split(":")[0] for entry in list_told(svg)] == ["few, p50"]


def test_light_and_dark_and_nothing_else() -> None:
    """Colours follow the reader's scheme; there is no script, no link and nothing to load."""
    svg = plot({"rising": RISING})
    assert {element.tag for element in svg.iter()} == {"svg", "title", "style", "rect", "text", "path", "circle"}
    style = next(element.text or "" for element in svg.iter("style"))
    light, dark = style.split("@media screen and (prefers-color-scheme: dark)")
    for rule in (".paper", ".line.c0", ".line.heavy", ".dot.c7", ".band.heavy", ".grid", ".soft"):
        assert rule in light
        assert rule in dark
    assert not re.search(r"url|@import|http", style)


@settings(deadline=None, derandomize=True, max_examples=100)
@given(st.lists(st.text(st.characters(codec=None), max_size=9), min_size=4, max_size=6, unique=True))
def test_any_label_is_text(labels: list[str]) -> None:
    """Labels are escaped, and what XML cannot hold is replaced: any words make a chart, and none makes an element."""
    title, x_label, y_label, *names = ["</text><script>", *labels][:3] + labels
    svg = plot(dict.fromkeys(names, RISING), labels=(title, x_label, y_label))
    assert len(find_class(svg, "name")) == len(names)
    assert "</text><script>" in texts(svg)
    assert not list(svg.iter("script"))
