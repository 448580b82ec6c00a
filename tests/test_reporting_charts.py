"""Charts before they are drawn: numbers in words, samples of bounded size, and the tables that pictures stand for."""

import math
import random

import pytest

from proxy.reporting.charts import (
    Axis,
    Bars,
    Chart,
    Lines,
    Point,
    Sample,
    Span,
    Spreads,
    Stacks,
    Strips,
    Timeline,
    Whiskers,
    tell_number,
)

MS = Axis(label="time", unit="ms")
SHARE = Axis(label="share", is_share=True)


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (0, "0"),
        (3.0, "3"),
        (0.0000512, "5.1e-05"),
        (0.12345, "0.123"),
        (1.2345, "1.23"),
        (99.96, "100"),
        (123.456, "123"),
        (1234567.8, "1,234,568"),
        (-2.5, "-2.5"),
    ],
)
def test_three_digits_tell_a_number(value: float, told: str) -> None:
    """No more of them than a reader can use, and none of whole numbers lost."""
    assert tell_number(value) == told


def test_units_are_told() -> None:
    """In sentences with the number; shares in percent."""
    assert (MS.title, MS.tell(1.234), MS.count(1.234)) == ("time, ms", "1.23 ms", "1.23")
    assert (SHARE.title, SHARE.tell(0.1234)) == ("share", "12.3%")


def test_a_sample_keeps_quantiles_and_no_more() -> None:
    """A hundred thousand values take as much room as two hundred, and its quantiles are those of the values."""
    draw = random.Random(3)
    many, few = ([draw.expovariate(1) for _ in range(count)] for count in (100_000, 200))
    sample = Sample.of(many, scale=1000)
    assert (sample.count, sample.least, sample.most) == (100_000, min(many) * 1000, max(many) * 1000)
    assert len(sample.quantiles) <= len(Sample.of(few).quantiles) + 40 < 200
    assert sample.at(0.5) == pytest.approx(1000 * math.log(2), rel=0.03)
    assert sample.at(0.99) == pytest.approx(1000 * math.log(100), rel=0.05)
    shares, values = zip(*sample.quantiles, strict=True)
    assert list(shares) == sorted(shares)
    assert list(values) == sorted(values)


def test_few_values_tell_no_extremes() -> None:
    """Of ten values none says where the slowest in a hundred is; one value is all that is known."""
    ten = Sample.of([float(number) for number in range(10)])
    assert (ten.at(0.99), ten.at(0.01), ten.at(0.5)) == (None, None, 4.5)
    one = Sample.of([7.0])
    assert (one.quantiles, one.at(0.5)) == ([(0.5, 7.0)], 7.0)
    with pytest.raises(ValueError, match="nothing was measured"):
        Sample.of([])


NUMBERS: list[tuple[Chart, list[str], list[list[str]]]] = [
    (
        Lines(
            title="",
            caption="",
            x=Axis(label="tokens"),
            y=SHARE,
            series={"a": [Point(200, 0.5, 0.4, 0.6), Point(100, 0.25, 0.2, 0.3)], "b": [Point(200, 1.0)]},
        ),
        ["tokens", "a", "b"],
        [["100", "25.0% (20.0% to 30.0%)", "–"], ["200", "50.0% (40.0% to 60.0%)", "100.0%"]],
    ),
    (
        Spreads(title="", caption="", y=MS, what="chats", series={"direct": Sample.of([1, 2, 3, 4, 5])}),
        ["", "chats", "least, ms", "p10, ms", "p50, ms", "p90, ms", "p99, ms", "most, ms"],
        [["direct", "5", "1", "–", "3", "–", "–", "5"]],
    ),
    (
        Strips(title="", caption="", x=Axis(label="cost", unit="µs"), rows={"edge": [3.0, 1.0, 10.0]}),
        ["", "rounds", "least, µs", "median, µs", "most, µs"],
        [["edge", "3", "1", "3", "10"]],
    ),
    (
        Whiskers(
            title="", caption="", x=SHARE, rows={"one": {"now": (0.5, 0.4, 0.6)}, "two": {"then": (0.1, 0.1, 0.1)}}
        ),
        ["", "now", "then"],
        [["one", "50.0% (40.0% to 60.0%)", "–"], ["two", "–", "10.0%"]],
    ),
    (
        Bars(
            title="",
            caption="",
            x_label="rank",
            y=Axis(label="times"),
            bars={"1": 12},
            notes={"1": "60%"},
            note_label="so far",
        ),
        ["rank", "times", "so far"],
        [["1", "12", "60%"]],
    ),
    (
        Stacks(title="", caption="", x_label="requests", rows={"a": {"x": 1, "y": 20}, "b": {"x": 3}}),
        ["", "requests", "y", "x"],
        [["a", "21", "20", "1"], ["b", "3", "0", "3"]],
    ),
    (
        Timeline(
            title="",
            caption="",
            seconds=30,
            lanes={"edge": [Span(20, 21.5)], "keeper": [Span(3, 3)]},
            y=Axis(label="chats"),
            bin_s=1,
            pulses={},
        ),
        ["", "after, s", "for, s"],
        [["keeper", "3", "0"], ["edge", "20", "1.5"]],
    ),
]


@pytest.mark.parametrize(("chart", "head", "rows"), NUMBERS, ids=[type(chart).__name__ for chart, *_ in NUMBERS])
def test_each_chart_is_a_table_too(chart: Chart, head: list[str], rows: list[list[str]]) -> None:
    """All that is drawn can be read as text."""
    found_head, found_rows = chart.list_numbers()
    assert (list(found_head), [list(row) for row in found_rows]) == (head, rows)
