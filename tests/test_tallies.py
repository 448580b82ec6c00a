"""What is counted without locks: it is told as the library itself would tell it."""

import pytest
from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.registry import Collector

from proxy.observe.exposition import Family, take_snapshot
from proxy.observe.tallies import Spreads, Tallies

BOUNDS = (0.00025, 0.5, 1, 10)


def snapshot(collector: Collector | None, registry: CollectorRegistry) -> list[Family]:
    if collector is not None:
        registry.register(collector)
    return take_snapshot(registry)


@pytest.mark.parametrize("labels", [(), ("route", "code")])
def test_a_counter(labels: tuple[str, ...]) -> None:
    """With labels and without, from its first zero on."""
    registry = CollectorRegistry()
    theirs, ours = Counter("a_total", "Help.", labels, registry=registry), Tallies("a_total", "Help.", labels)
    assert snapshot(ours, CollectorRegistry()) == snapshot(None, registry)
    for values, by in ((("chat", "200"), 1.0), (("chat", "500"), 2.5), (("chat", "200"), 3.0)):
        chosen = values[: len(labels)]
        (theirs.labels(*chosen) if labels else theirs).inc(by)
        ours.labels(*chosen).inc(by)
    assert snapshot(ours, CollectorRegistry()) == snapshot(None, registry)


@pytest.mark.parametrize("labels", [(), ("memory",)])
def test_a_histogram(labels: tuple[str, ...]) -> None:
    """A bound is part of its bucket, and what is beyond the last one counts as well."""
    registry = CollectorRegistry()
    theirs = Histogram("a", "Help.", labels, buckets=BOUNDS, registry=registry)
    ours = Spreads("a", "Help.", labels, BOUNDS)
    assert snapshot(ours, CollectorRegistry()) == snapshot(None, registry)
    for value in (0.0, 0.00025, 0.0003, 0.5, 0.7, 1, 10, 10.5, 1e9):
        (theirs.labels("with") if labels else theirs).observe(value)
        ours.labels(*("with",)[: len(labels)]).observe(value)
    assert snapshot(ours, CollectorRegistry()) == snapshot(None, registry)


def test_labels_have_to_fit() -> None:
    """Too few or too many are a mistake, not another series."""
    with pytest.raises(ValueError, match="has other labels: none"):
        Tallies("a_total", "Help.", ()).labels("with")
    with pytest.raises(ValueError, match="has other labels: memory"):
        Spreads("a", "Help.", ("memory",), BOUNDS).labels()
