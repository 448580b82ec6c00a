"""Reading our own ``/metrics``: counters, and what a histogram counted between two scrapes."""

from collections import defaultdict
from collections.abc import Mapping

from prometheus_client.parser import text_string_to_metric_families

Buckets = Mapping[float, float]


class Scrape:
    """One answer of ``/metrics``."""

    def __init__(self, text: str) -> None:
        self._families = {family.name: family for family in text_string_to_metric_families(text)}

    def buckets(self, name: str) -> Buckets:
        """Cumulative counts by upper bound, all label sets together; empty where there is no such histogram."""
        counts: dict[float, float] = defaultdict(float)
        family = self._families.get(name)
        for sample in family.samples if family else ():
            if sample.name == f"{name}_bucket":
                counts[float(sample.labels["le"])] += sample.value
        return counts

    def total(self, name: str) -> float:
        """Of a counter, all label sets together; 0 where there is no such counter."""
        family = self._families.get(name.removesuffix("_total"))
        return sum(sample.value for sample in family.samples if sample.name == name) if family else 0.0


def quantile_between(before: Scrape, after: Scrape, name: str, share: float) -> float | None:
    """The *share* (0 to 1) quantile of what was observed between two scrapes, in the histogram's unit.

    Interpolated inside its bucket, as Prometheus does; beyond the last bound it is that bound. ``None``: nothing seen.
    """
    earlier, later = before.buckets(name), after.buckets(name)
    return bucket_quantile({bound: count - earlier.get(bound, 0) for bound, count in later.items()}, share)


def bucket_quantile(buckets: Buckets, share: float) -> float | None:
    """The *share* (0 to 1) quantile of cumulative *buckets*, among them ``inf``."""
    bounds = sorted(buckets)
    if not bounds or buckets[bounds[-1]] <= 0:
        return None
    wanted = share * buckets[bounds[-1]]
    lower = below = 0.0
    for bound in bounds:
        if buckets[bound] >= wanted:
            inside = buckets[bound] - below
            return lower if bound == float("inf") else lower + (bound - lower) * (wanted - below) / inside
        lower, below = bound, buckets[bound]
    return lower
