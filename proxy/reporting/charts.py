"""What can be drawn: the numbers of a chart, what they mean, and how to read it. No chart knows how it looks.

A chart keeps no more than it shows: many measured values become their quantiles at once (:class:`Sample`).
"""

from collections.abc import Iterator, Mapping, Sequence
from statistics import NormalDist
from typing import Final, Literal, NamedTuple, Self

import msgspec
import numpy as np

_NORMAL: Final = NormalDist()
# From one in a thousand to all but one in a thousand, evenly on the axis that shows them.
_STEPS: Final = 121
_REACH: Final = _NORMAL.inv_cdf(0.999)
# What is read off a distribution, beside its ends.
MARKS: Final = (0.5, 0.99)
_TOLD: Final = (0.1, 0.5, 0.9, 0.99)
NOTHING: Final = "–"
# A run's seconds are shown in so many bins at the most.
_MOST_BINS: Final = 160

Numbers = tuple[Sequence[str], Sequence[Sequence[str]]]
Interval = tuple[float, float, float]  # a mean, and between what it lies


class Axis(msgspec.Struct, frozen=True, kw_only=True):
    """What is measured along one side. *auto*: logarithmic where values span more than a factor of ten.

    *is_share*: values are from 0 to 1, and are shown in percent.
    """

    label: str
    unit: str = ""
    scale: Literal["auto", "linear", "log"] = "auto"
    is_share: bool = False

    @property
    def title(self) -> str:
        return f"{self.label}, {self.unit}" if self.unit else self.label

    def tell(self, value: float) -> str:
        """*value* in a sentence, with its unit."""
        return self.count(value) if self.is_share else f"{self.count(value)} {self.unit}".rstrip()

    def count(self, value: float) -> str:
        """*value* in a table, whose head has the unit."""
        return f"{value:.1%}" if self.is_share else tell_number(value)


class Point(NamedTuple):
    """A measured *y*, with its interval where it has one."""

    x: float
    y: float
    low: float | None = None
    high: float | None = None


class Bound(NamedTuple):
    """What a value should not exceed, and what it is called."""

    value: float
    name: str


class Sample(msgspec.Struct, frozen=True):
    """Many values of one kind: how many, their quantiles by share, and their ends."""

    count: int
    least: float
    most: float
    quantiles: Sequence[tuple[float, float]]

    @classmethod
    def of(cls, values: Sequence[float], *, scale: float = 1) -> Self:
        """*values*, each times *scale*. ValueError if there are none."""
        numbers = np.asarray(values, np.float64) * scale
        if not len(numbers):
            raise ValueError("nothing was measured")
        # Of a hundred values, none tells where the slowest in a thousand is.
        edge = max(1 / (len(numbers) + 1), 1 - _NORMAL.cdf(_REACH))
        steps = [_NORMAL.cdf(z) for z in np.linspace(-_REACH, _REACH, _STEPS).tolist()]
        shares = sorted({edge, 1 - edge, *MARKS, *steps})
        shares = [share for share in shares if edge <= share <= 1 - edge]
        found = np.quantile(numbers, shares).tolist()
        return cls(len(numbers), float(numbers.min()), float(numbers.max()), list(zip(shares, found, strict=True)))

    def at(self, share: float) -> float | None:
        """The value that so many do not exceed; None where there are too few values to tell."""
        shares = [known for known, _ in self.quantiles]
        if not shares[0] <= share <= shares[-1]:
            return None
        return float(np.interp(share, shares, [value for _, value in self.quantiles]))


class Chart(msgspec.Struct, frozen=True, kw_only=True):
    """What every chart has. *caption*: how to read it."""

    title: str
    caption: str

    def list_numbers(self) -> Numbers:
        """The same as a table: its head and its rows."""
        raise NotImplementedError


class Lines(Chart, frozen=True, kw_only=True):
    """Values over something that grows. The series named *emphasis* stands out from the others.

    *from_zero*: the axis of the values begins at 0, whatever they are.
    """

    x: Axis
    y: Axis
    series: Mapping[str, Sequence[Point]]
    emphasis: str | None = None
    bounds: Sequence[Bound] = ()
    from_zero: bool = False

    def list_numbers(self) -> Numbers:
        xs = sorted({point.x for points in self.series.values() for point in points})
        known = {name: {point.x: point for point in points} for name, points in self.series.items()}
        rows = [
            [tell_number(x), *(self._tell(points[x]) if x in points else NOTHING for points in known.values())]
            for x in xs
        ]
        return [self.x.title, *(_name(name, self.y.unit) for name in self.series)], rows

    def _tell(self, point: Point) -> str:
        return tell_interval(self.y, point.y, point.low, point.high)


class Spreads(Chart, frozen=True, kw_only=True):
    """How values of several kinds are distributed; *what* has them: chats, gaps."""

    y: Axis
    what: str
    series: Mapping[str, Sample]

    def list_numbers(self) -> Numbers:
        head = ("", self.what, "least", *(tell_share(share) for share in _TOLD), "most")
        rows = [
            [name, f"{sample.count:,}", *(NOTHING if v is None else self.y.count(v) for v in _pick(sample))]
            for name, sample in self.series.items()
        ]
        return [*head[:2], *(_name(name, self.y.unit) for name in head[2:])], rows


class Strips(Chart, frozen=True, kw_only=True):
    """A row of dots for each kind, one a round, with their median; *bounds* of a row by its name."""

    x: Axis
    rows: Mapping[str, Sequence[float]]
    bounds: Mapping[str, Sequence[Bound]] = {}

    def list_numbers(self) -> Numbers:
        rows = [
            [name, f"{len(values):,}", *(self.x.count(v) for v in (min(values), float(np.median(values)), max(values)))]
            for name, values in self.rows.items()
        ]
        return ["", "rounds", *(_name(name, self.x.unit) for name in ("least", "median", "most"))], rows


class Whiskers(Chart, frozen=True, kw_only=True):
    """A row for each kind, in it a mean with its interval for each series."""

    x: Axis
    rows: Mapping[str, Mapping[str, Interval]]

    @property
    def series(self) -> Sequence[str]:
        """Of all rows, in order."""
        return list(dict.fromkeys(name for row in self.rows.values() for name in row))

    def list_numbers(self) -> Numbers:
        rows = [
            [name, *(tell_interval(self.x, *row[one]) if one in row else NOTHING for one in self.series)]
            for name, row in self.rows.items()
        ]
        return ["", *(_name(one, self.x.unit) for one in self.series)], rows


class Bars(Chart, frozen=True, kw_only=True):
    """A bar for each kind. *notes*: what stands below a name; all bars have one, or none."""

    x_label: str
    y: Axis
    bars: Mapping[str, float]
    notes: Mapping[str, str] = {}
    note_label: str = ""

    def list_numbers(self) -> Numbers:
        head = [self.x_label, self.y.title, *([self.note_label] if self.notes else [])]
        rows = [
            [name, self.y.count(value), *([self.notes[name]] if self.notes else [])]
            for name, value in self.bars.items()
        ]
        return head, rows


class Stacks(Chart, frozen=True, kw_only=True):
    """How the members of each kind divide into parts: every row is the whole of its kind."""

    x_label: str
    rows: Mapping[str, Mapping[str, int]]

    @property
    def parts(self) -> Sequence[str]:
        """Of all rows, the most frequent first."""
        totals: dict[str, int] = {}
        for row in self.rows.values():
            for name, count in row.items():
                totals[name] = totals.get(name, 0) + count
        return sorted(totals, key=lambda name: -totals[name])

    def list_numbers(self) -> Numbers:
        rows = [
            [name, f"{sum(row.values()):,}", *(f"{row.get(part, 0):,}" for part in self.parts)]
            for name, row in self.rows.items()
        ]
        return ["", self.x_label, *self.parts], rows


class Span(NamedTuple):
    """Something that lasted, in seconds since the beginning."""

    start: float
    end: float


class Timeline(Chart, frozen=True, kw_only=True):
    """What happened when: lanes with spans, below counts of *pulses* in each of equal bins of *bin_s*."""

    seconds: float
    lanes: Mapping[str, Sequence[Span]]
    y: Axis
    bin_s: float
    pulses: Mapping[str, Sequence[float]]

    @classmethod
    def of(
        cls,
        counts: Mapping[str, Mapping[int, int]],
        *,
        title: str,
        caption: str,
        lanes: Mapping[str, Sequence[Span]],
        y: Axis,
    ) -> Self:
        """Pulses are *counts* by second, put together where there are too many seconds, and become so many a second."""
        seconds = max((second for counted in counts.values() for second in counted), default=0) + 1
        bin_s = -(-seconds // _MOST_BINS)
        pulses: dict[str, list[float]] = {}
        for name, counted in counts.items():
            pulses[name] = [0.0] * -(-seconds // bin_s)
            for second, count in counted.items():
                pulses[name][second // bin_s] += count / bin_s
        return cls(title=title, caption=caption, seconds=seconds, lanes=lanes, y=y, bin_s=bin_s, pulses=pulses)

    def list_numbers(self) -> Numbers:
        rows = [
            [lane, tell_number(span.start), tell_number(span.end - span.start)]
            for lane, spans in self.lanes.items()
            for span in spans
        ]
        return ["", "after, s", "for, s"], sorted(rows, key=lambda row: float(row[1].replace(",", "")))


def tell_number(value: float) -> str:
    """Three digits that count; whole numbers as they are."""
    if value == int(value) or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.2g}" if abs(value) < 0.001 else f"{value:.3g}"


def tell_share(share: float) -> str:
    """A quantile's name."""
    return f"p{share * 100:g}"


def tell_interval(axis: Axis, mean: float, low: float | None, high: float | None) -> str:
    """A value and, if it is not all that is known, between what it lies."""
    if low is None or high is None or low == high:
        return axis.count(mean)
    return f"{axis.count(mean)} ({axis.count(low)} to {axis.count(high)})"


def _pick(sample: Sample) -> Iterator[float | None]:
    yield sample.least
    yield from (sample.at(share) for share in _TOLD)
    yield sample.most


def _name(name: str, unit: str) -> str:
    return f"{name}, {unit}" if unit else name
