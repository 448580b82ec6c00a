"""How the last hour went, in samples."""

import math

import pytest

from proxy.edge import history
from proxy.edge.history import History
from proxy.observe.exposition import Family
from proxy.observe.metrics import Metrics
from tests.harness import Proxy
from tests.harness.payloads import ask


class Counting:
    """Stands in for an exposition of one process."""

    def __init__(self) -> None:
        self.edge, self.keeper = Metrics(), Metrics("keeper")

    async def gather(self) -> list[Family]:
        return [*self.edge.snapshot(), *self.keeper.snapshot()]


async def test_a_sample_is_what_came_since() -> None:
    """Counts are differences, gauges are what there is, latencies are within their bucket."""
    counting = Counting()
    told = History(counting)  # type: ignore[arg-type]  # it only gathers
    edge, keeper = counting.edge, counting.keeper
    edge.count("requests_total", "chat", "200", by=5)
    edge.observe("recall_seconds", 8.0)
    await told.sample()
    edge.count("requests_total", "chat", "200", by=3)
    edge.count("requests_total", "chat", "502")
    edge.count("requests_total", "other", "200", by=9)
    edge.count("memory_total", "injected", by=2)
    for seconds in (0.0011, 0.0012, 0.0013, 0.06):
        edge.observe("recall_seconds", seconds)
    for tokens in (100, 300):
        edge.observe("block_tokens", tokens)
    edge.count("prompt_tokens_total", "with", by=100)
    edge.count("prompt_tokens_total", "without", by=50)
    edge.count("cached_prompt_tokens_total", "with", by=70)
    keeper.gauge("journal_pending").set(7)
    keeper.gauge("memories").set(42)
    await told.sample()
    await told.sample()
    busy, idle = told.samples
    assert (busy.codes, busy.memory) == ({"200": 3, "502": 1}, {"injected": 2})
    assert busy.recall_p50_ms is not None
    assert busy.recall_p99_ms is not None
    assert 1 < busy.recall_p50_ms <= 2
    assert 32 < busy.recall_p99_ms <= 64
    assert (busy.first_token_p50_ms, busy.block_tokens) == (None, 200)
    assert (busy.prompt_tokens, busy.cached_tokens, busy.journal_pending, busy.memories) == (150, 70, 7, 42)
    assert (idle.codes, idle.memory, idle.recall_p50_ms, idle.block_tokens, idle.prompt_tokens) == (
        {},
        {},
        None,
        None,
        0,
    )
    assert (idle.journal_pending, idle.memories) == (7, 42)


async def test_what_is_not_known_is_not_made_up() -> None:
    """Nobody has counted the memories; a process that was started anew counts from nothing; an endless bucket has no
    middle.
    """
    before, after = Counting(), Counting()
    before.edge.count("requests_total", "chat", "200", by=5)
    before.keeper.gauge("memories").set(math.nan)
    told = History(before)  # type: ignore[arg-type]
    await told.sample()
    told._exposition = after  # type: ignore[assignment]
    after.keeper.gauge("memories").set(math.nan)
    after.edge.observe("recall_seconds", 100.0)
    await told.sample()
    (sample,) = told.samples
    assert (sample.codes, sample.memories, sample.recall_p99_ms) == ({}, None, 10_000)


async def test_only_an_hour_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Older samples go."""
    monkeypatch.setattr(history, "KEPT", 2)
    told = History(Counting())  # type: ignore[arg-type]
    for _ in range(5):
        await told.sample()
    assert len(told.samples) == 2


@pytest.mark.asyncio(loop_scope="session")
async def test_the_route_tells_of_all_processes(proxy: Proxy, user: str) -> None:
    """The edge's chats and the keeper's memories."""
    await proxy.app.history.sample()
    await proxy.chat(user, ask("My dog is called Biscuit."))
    await proxy.flush()
    await proxy.app.history.sample()
    answer = (await proxy.control("GET", "/memory/history")).json
    assert answer["every_s"] == 10
    last = answer["samples"][-1]
    assert (last["codes"], last["memory"]) == ({"200": 1}, {"empty": 1})
    assert last["memories"] is not None
