"""Charts of rows and of bars: as many marks as values, each where its value is, and each telling what it is."""

from xml.etree.ElementTree import Element

import pytest

from proxy.reporting.charts import Axis, Bars, Bound, Chart, Span, Stacks, Strips, Timeline, Whiskers
from proxy.reporting.drawing import draw, write_svg
from tests.pages import find_class, find_lines, list_told, parse_svg

COST = Axis(label="cost", unit="µs")
SHARE = Axis(label="share", is_share=True)


def plot(chart: Chart) -> Element:
    return parse_svg(write_svg(chart))


def numbers(elements: list[Element], name: str) -> list[float]:
    return [float(element.get(name, "")) for element in elements]


def texts(svg: Element) -> list[str]:
    return ["".join(element.itertext()) for element in svg.iter("text")]


def test_a_strip_has_a_dot_a_round() -> None:
    """In the order of their values, with a mark at the median and the bound at its place."""
    rows = {"edge": [300.0, 100.0, 200.0], "floor": [150.0]}
    svg = plot(Strips(title="T", caption="", x=COST, rows=rows, bounds={"edge": [Bound(450, "must")]}))
    dots = find_class(svg, "dot")
    assert len(dots) == 4
    first, second, third, _ = numbers(dots, "cx")
    assert second < third < first
    assert dots[0].get("cy") == dots[1].get("cy") != dots[3].get("cy")
    told = list(list_told(svg))
    assert {"edge: 300 µs", "edge, median: 200 µs", "floor: 150 µs", "must: 450 µs"} <= set(told)
    assert {"edge", "floor", "cost, µs", "must"} <= set(texts(svg))
    assert float(find_class(svg, "bound")[0].get("d", "M0")[1:].split(",")[0]) > first


def test_whiskers_are_intervals() -> None:
    """A dot at the mean, on a line from end to end; several series have a legend, and one has none."""
    rows = {"one": {"then": (0.5, 0.4, 0.7), "now": (0.6, 0.6, 0.6)}, "two": {"now": (0.1, 0.0, 0.3)}}
    svg = plot(Whiskers(title="T", caption="", x=SHARE, rows=rows))
    assert len(find_lines(svg)) == 3
    assert list(list_told(svg)) == [
        "one, then: 50.0% (40.0% to 70.0%)",
        "one, now: 60.0%",
        "two, now: 10.0% (0.0% to 30.0%)",
    ]
    assert {"then", "now", "one", "two", "0 %", "70 %"} <= set(texts(svg))
    alone = plot(Whiskers(title="T", caption="", x=SHARE, rows={"one": {"share": (0.5, 0.4, 0.6)}}))
    assert "share" in texts(alone)[-1:]  # the axis, and nobody else
    assert list(list_told(alone)) == ["one: 50.0% (40.0% to 60.0%)"]


def test_stacks_fill_their_rows() -> None:
    """Each row is as long as the next, its parts are as long as their shares, and what is not there is not drawn."""
    svg = plot(Stacks(title="T", caption="", x_label="requests", rows={"a": {"x": 1, "y": 3}, "b": {"y": 7}}))
    parts = find_class(svg, "rim")
    widths = numbers(parts, "width")
    assert widths[0] == pytest.approx(3 * widths[1], rel=0.001)
    assert widths[0] + widths[1] == pytest.approx(widths[2], rel=0.001)
    assert list(list_told(svg)) == ["a, y: 3 of 4", "a, x: 1 of 4", "b, y: 7 of 7"]
    assert {"x", "y", "a", "b", "share of requests"} <= set(texts(svg))


def test_many_parts_have_room_for_their_names() -> None:
    """The picture is as wide as the row of names above it."""
    rows = {"a": {f"a part of the whole number {number}": 1 for number in range(9)}}
    usual, wide = (
        float(plot(Stacks(title="T", caption="", x_label="r", rows=some)).get("viewBox", "").split()[2])
        for some in ({"a": {"x": 1}}, rows)
    )
    assert wide > 2 * usual


def test_bars_are_as_high_as_their_values() -> None:
    """From 0 on, with the number above and the note below."""
    bars = Bars(
        title="T",
        caption="",
        x_label="place",
        y=Axis(label="pieces"),
        bars={"1": 40, "2": 10, "later": 0},
        notes={"1": "80%", "2": "100%", "later": "100%"},
        note_label="found by there",
    )
    svg = plot(bars)
    first, second, none = numbers(find_class(svg, "dot"), "height")
    assert first == pytest.approx(4 * second, rel=0.001)
    assert none == 0
    assert {"40", "10", "1", "later", "80%", "place; below it found by there", "pieces"} <= set(texts(svg))
    assert list(list_told(svg)) == ["1: 40", "2: 10", "later: 0"]


def test_a_timeline_has_each_event_at_its_time() -> None:
    """Counts above, one bar a bin and kind, what is 0 left out; below a lane for each who was away."""
    lanes = {"edge": [Span(10, 20), Span(80, 81)], "keeper": [Span(50, 50)]}
    pulses = {"answered": [5.0, 0.0, 4.0, 5.0], "failed": [0.0, 3.0]}
    svg = plot(
        Timeline(
            title="T", caption="", seconds=100, lanes=lanes, y=Axis(label="chats", unit="/s"), bin_s=25, pulses=pulses
        )
    )
    told = list(list_told(svg))
    assert told == [
        "answered, after 0 s: 5 /s",
        "failed, after 25 s: 3 /s",
        "answered, after 50 s: 4 /s",
        "answered, after 75 s: 5 /s",
        "edge, after 10.0 s: for 10.00 s",
        "edge, after 80.0 s: for 1.00 s",
        "keeper, after 50.0 s: for 0.00 s",
    ]
    spans = [rect for rect in svg.iter("rect") if rect.get("height") == "16"]
    starts, widths = numbers(spans, "x"), numbers(spans, "width")
    assert (starts[1] - starts[0]) / (starts[2] - starts[0]) == pytest.approx(70 / 40, rel=0.01)
    assert widths[0] == pytest.approx(10 * widths[1], rel=0.01)
    assert widths[2] > 2  # a moment can be seen
    assert {"edge", "keeper", "answered", "failed", "chats, /s"} <= set(texts(svg))


def test_many_seconds_are_put_together() -> None:
    """Of hours there are no more bins than can be told apart, and what is in them is so much a second."""
    counts = {"answered": dict.fromkeys(range(7200), 3), "failed": {7199: 9}}
    chart = Timeline.of(counts, title="", caption="", lanes={}, y=Axis(label="chats", unit="/s"))
    assert (chart.seconds, chart.bin_s, len(chart.pulses["answered"])) == (7200, 45, 160)
    assert chart.pulses["answered"] == pytest.approx([3.0] * 160)
    assert chart.pulses["failed"] == [0.0] * 159 + [9 / 45]
    short = Timeline.of({"answered": {0: 1, 4: 2}}, title="", caption="", lanes={}, y=Axis(label="chats"))
    assert (short.bin_s, short.pulses["answered"]) == (1, [1, 0, 0, 0, 2])


def test_a_timeline_without_events() -> None:
    """Nothing was killed, and nobody chatted: an empty picture, and no error."""
    chart = Timeline(title="T", caption="", seconds=0.5, lanes={}, y=Axis(label="chats"), bin_s=1, pulses={})
    assert list(list_told(plot(chart))) == []


@pytest.mark.parametrize(
    "chart",
    [
        Strips(title="", caption="", x=COST, rows={}),
        Whiskers(title="", caption="", x=SHARE, rows={}),
        Stacks(title="", caption="", x_label="", rows={}),
        Bars(title="", caption="", x_label="", y=COST, bars={}),
    ],
)
def test_nothing_is_no_chart(chart: Chart) -> None:
    """Whoever draws it has to leave it out."""
    with pytest.raises(ValueError, match="a chart needs a"):
        draw(chart)


def test_names_are_cut_to_what_fits() -> None:
    """Of rows, lanes and bars alike; the whole name is told when it is pointed at, and is text whatever it holds."""
    name = "<script>" + "type of question " * 9
    charts = [
        Strips(title="", caption="", x=COST, rows={name: [1.0, 2.0]}),
        Whiskers(title="", caption="", x=SHARE, rows={name: {name: (0.5, 0.4, 0.6), "b": (0.5, 0.4, 0.6)}}),
        Stacks(title="", caption="", x_label="", rows={name: {name: 1}}),
        Bars(title="", caption="", x_label="", y=COST, bars={name: 1}),
        Timeline(title="", caption="", seconds=1, lanes={name: []}, y=COST, bin_s=1, pulses={}),
    ]
    for chart in charts:
        svg = plot(chart)
        cut = [text for text in svg.iter("text") if any(title.text == name for title in text)]
        assert cut, type(chart)
        assert all(len(text[0].tail or "") == 44 for text in cut)
        assert not list(svg.iter("script"))
