"""Metrics as values: what a process has counted, to be sent to another one, put together with its own, and rendered."""

from collections.abc import Iterable, Iterator
from typing import Final

import msgspec
from prometheus_client import generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

# When a series began is the business of Prometheus, which notices; these would double the series.
_CREATED: Final = "_created"


class Point(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One series' value. *name*: the family's, with the suffix that a histogram's parts have."""

    name: str
    labels: dict[str, str]
    value: float


class Family(msgspec.Struct, frozen=True, array_like=True):
    """All series of one metric, by the name that Prometheus has for it, which lacks a counter's ``_total``."""

    name: str
    kind: str
    help: str
    points: list[Point]


def take_snapshot(registry: Collector) -> list[Family]:
    """What *registry* has now."""
    return [
        Family(
            metric.name,
            metric.type,
            metric.documentation,
            [Point(s.name, s.labels, s.value) for s in metric.samples if not s.name.endswith(_CREATED)],
        )
        for metric in registry.collect()
    ]


def label(families: Iterable[Family], **labels: str) -> list[Family]:
    """*families* with these labels on every series."""
    return [
        Family(
            family.name,
            family.kind,
            family.help,
            [Point(point.name, {**point.labels, **labels}, point.value) for point in family.points],
        )
        for family in families
    ]


def merge(*processes: Iterable[Family]) -> list[Family]:
    """The families of several processes, each family once: Prometheus refuses one that is told of twice.

    The values of a series that several of them have are added up.
    """
    merged: dict[str, tuple[Family, dict[tuple[str, frozenset[tuple[str, str]]], Point]]] = {}
    for families in processes:
        for family in families:
            _, points = merged.setdefault(family.name, (family, {}))
            for point in family.points:
                key = (point.name, frozenset(point.labels.items()))
                known = points.get(key)
                points[key] = point if known is None else Point(point.name, point.labels, known.value + point.value)
    return [Family(name, first.kind, first.help, list(points.values())) for name, (first, points) in merged.items()]


def render(families: Iterable[Family]) -> bytes:
    """Prometheus' text format."""
    return generate_latest(_Collected(families))


class _Collected(Collector):
    """Families as the library's renderer takes them."""

    def __init__(self, families: Iterable[Family]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        for family in self._families:
            metric = Metric(family.name, family.help, family.kind)
            metric.samples = [Sample(point.name, point.labels, point.value) for point in family.points]
            yield metric
