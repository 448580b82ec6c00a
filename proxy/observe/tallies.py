"""Counters and histograms that are counted with every request, by the event loop alone.

The library's are for any thread: each number behind a lock, and buckets looked through one by one. Without both, an
observation takes 0.3 instead of 1.3 to 1.8 µs, and to count 0.15 instead of 0.8; a chat has a dozen of them.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from typing import Final, Generic, TypeVar

from prometheus_client.metrics_core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

S = TypeVar("S")


class Tally:
    """One series of a counter."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0.0

    def inc(self, by: float = 1) -> None:
        """Adds to it."""
        self.value += by


class Spread:
    """One series of a histogram. *bounds* ascend, and each is part of its bucket; the last count is beyond them."""

    __slots__ = ("_bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Adds one."""
        self.counts[bisect_left(self._bounds, value)] += 1
        self.total += value


class _Series(Collector, Generic[S]):
    """All series of a metric, by the values of its labels."""

    def __init__(self, name: str, text: str, labels: Sequence[str], make: Callable[[], S]) -> None:
        self._name: Final = name
        self._text: Final = text
        self._labels: Final = labels
        self._make = make
        self._series: dict[tuple[str, ...], S] = {}
        if not labels:
            self.labels()  # which shows from the start, so that a rate has its zero

    def labels(self, *values: str) -> S:
        """The series with these values. ValueError for too few of them, or too many."""
        if len(values) != len(self._labels):
            raise ValueError(f"{self._name} has other labels: {', '.join(self._labels) or 'none'}")
        return self._series.setdefault(values, self._make())


class Tallies(_Series[Tally]):
    """A counter."""

    def __init__(self, name: str, text: str, labels: Sequence[str]) -> None:
        super().__init__(name, text, labels, Tally)

    def collect(self) -> Iterator[Metric]:
        """As the library has it."""
        family = CounterMetricFamily(self._name, self._text, labels=self._labels)
        for values, series in self._series.items():
            family.add_metric(values, series.value)
        yield family


class Spreads(_Series[Spread]):
    """A histogram."""

    def __init__(self, name: str, text: str, labels: Sequence[str], bounds: Sequence[float]) -> None:
        self._edges: Final = [*map(floatToGoString, bounds), "+Inf"]
        super().__init__(name, text, labels, lambda: Spread(bounds))

    def collect(self) -> Iterator[Metric]:
        """As the library has it."""
        family = HistogramMetricFamily(self._name, self._text, labels=self._labels)
        for values, series in self._series.items():
            buckets = list(zip(self._edges, accumulate(series.counts), strict=True))
            family.add_metric(values, buckets, series.total)
        yield family
