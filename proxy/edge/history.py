"""How the last hour went, sample by sample: for people who look at a page and have no Prometheus beside it."""

import asyncio
import math
from collections import deque
from collections.abc import Iterable
from datetime import datetime
from typing import Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from proxy.edge.exposition import Exposition
from proxy.models import now
from proxy.observe.exposition import Family, Point
from proxy.observe.metrics import PREFIX

EVERY_S: Final = 10.0
KEPT: Final = 360


class Sample(msgspec.Struct, frozen=True):
    """What happened since the sample before, in all processes; and how much there is at its end.

    Latencies are quantiles out of a histogram's buckets, null where nothing happened. *block_tokens* is a mean.
    *memories*: stored altogether, null where nobody has counted.
    """

    at: datetime
    codes: dict[str, int]
    memory: dict[str, int]
    recall_p50_ms: float | None
    recall_p99_ms: float | None
    first_token_p50_ms: float | None
    first_token_p99_ms: float | None
    block_tokens: float | None
    prompt_tokens: int
    cached_tokens: int
    journal_pending: int
    journal_extracting: int
    journal_failed: int
    memories: int | None


class HistoryAnswer(msgspec.Struct, frozen=True):
    """Samples, oldest first, each of so many seconds."""

    every_s: float
    samples: list[Sample]


class History:
    """Takes *samples* of what all processes count, the last of which it keeps. For one event loop."""

    def __init__(self, exposition: Exposition) -> None:
        self._exposition = exposition
        self.samples: deque[Sample] = deque(maxlen=KEPT)
        self._before: _Totals | None = None

    async def run(self) -> None:
        """Takes a sample every :data:`EVERY_S` until cancelled."""
        while True:
            await self.sample()
            await asyncio.sleep(EVERY_S)

    async def sample(self) -> None:
        """Takes one now. The first one is only what the second is compared with."""
        totals = _Totals(await self._exposition.gather())
        if self._before is not None:
            self.samples.append(_compare(self._before, totals))
        self._before = totals

    async def tell(self, _: Request) -> Response:
        """``GET /memory/history``: all that there are."""
        answer = HistoryAnswer(EVERY_S, list(self.samples))
        return Response(msgspec.json.encode(answer), media_type="application/json")


class _Totals:
    """What of all metrics is sampled."""

    def __init__(self, families: Iterable[Family]) -> None:
        self._points: dict[str, list[Point]] = {family.name: family.points for family in families}

    def by_label(self, name: str, label: str, **wanted: str) -> dict[str, float]:
        """A counter by the values of one label, of the series that have the *wanted* labels."""
        found: dict[str, float] = {}
        for point in self._points.get(PREFIX + name, ()):
            if wanted.items() <= point.labels.items():
                value = point.labels.get(label, "")
                found[value] = found.get(value, 0.0) + point.value
        return found

    def total(self, name: str) -> float:
        """All series of a counter or a gauge together."""
        return sum(point.value for point in self._points.get(PREFIX + name, ()))

    def histogram(self, name: str) -> dict[float, float]:
        """How many were up to each bound, in ascending order."""
        found: dict[float, float] = {}
        for point in self._points.get(PREFIX + name, ()):
            if point.name.endswith("_bucket"):
                bound = float(point.labels["le"])
                found[bound] = found.get(bound, 0.0) + point.value
        return dict(sorted(found.items()))

    def sum(self, name: str, suffix: str) -> float:
        """The part of a histogram that ends in *suffix*, of all series together."""
        return sum(p.value for p in self._points.get(PREFIX + name, ()) if p.name == f"{PREFIX}{name}{suffix}")


def _compare(before: _Totals, after: _Totals) -> Sample:
    recall, first = (_subtract_all(before, after, name) for name in ("recall_seconds", "upstream_first_token_seconds"))
    blocks, tokens = (
        after.sum("block_tokens", suffix) - before.sum("block_tokens", suffix) for suffix in ("_count", "_sum")
    )
    memories = after.total("memories")
    return Sample(
        at=now(),
        codes=_subtract(
            before.by_label("requests", "code", route="chat"), after.by_label("requests", "code", route="chat")
        ),
        memory=_subtract(before.by_label("memory", "status"), after.by_label("memory", "status")),
        recall_p50_ms=_find_quantile(recall, 0.5),
        recall_p99_ms=_find_quantile(recall, 0.99),
        first_token_p50_ms=_find_quantile(first, 0.5),
        first_token_p99_ms=_find_quantile(first, 0.99),
        block_tokens=tokens / blocks if blocks > 0 else None,
        prompt_tokens=_grow(before, after, "prompt_tokens"),
        cached_tokens=_grow(before, after, "cached_prompt_tokens"),
        journal_pending=int(after.total("journal_pending")),
        journal_extracting=int(after.total("journal_extracting")),
        journal_failed=int(after.total("journal_failed")),
        memories=None if math.isnan(memories) else int(memories),
    )


def _subtract(before: dict[str, float], after: dict[str, float]) -> dict[str, int]:
    """What came between; a process that was started anew counts from nothing."""
    grown = {value: int(count - before.get(value, 0.0)) for value, count in after.items()}
    return {value: count for value, count in grown.items() if count > 0}


def _subtract_all(before: _Totals, after: _Totals, name: str) -> dict[float, float]:
    earlier = before.histogram(name)
    return {bound: max(0.0, count - earlier.get(bound, 0.0)) for bound, count in after.histogram(name).items()}


def _grow(before: _Totals, after: _Totals, name: str) -> int:
    return max(0, int(after.total(name) - before.total(name)))


def _find_quantile(buckets: dict[float, float], part: float) -> float | None:
    """Milliseconds: within its bucket, a quantile is where it would be were all in it spread evenly."""
    total = max(buckets.values(), default=0.0)
    if total <= 0:
        return None
    low, below = 0.0, 0.0
    for bound, count in buckets.items():
        if count >= part * total:
            if math.isinf(bound):
                break
            inside = (part * total - below) / (count - below) if count > below else 1.0
            return round((low + (bound - low) * inside) * 1000, 3)
        low, below = bound, count
    return round(low * 1000, 3)
