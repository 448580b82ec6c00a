"""The worker: what is journaled is stored, in order, whatever fails on the way."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing, closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
import pytest_asyncio
import structlog

from proxy.errors import EmbedderError, JournalError, StoreError
from proxy.journal import JournalReader, JournalWriter
from proxy.models import Exchange, Memory, Message, Scope
from proxy.remember import worker as worker_module
from proxy.remember.worker import BATCH, Worker
from proxy.tasks import Tasks

AT = datetime(2026, 1, 2, tzinfo=UTC)


class Shelf:
    """Stands in for the store. *refuse* is asked for each batch, and its answer, if any, is raised."""

    def __init__(self) -> None:
        self.stored: list[str] = []
        self.batches: list[int] = []
        self.refuse: Callable[[list[str]], Exception | None] = lambda _: None
        self.news = asyncio.Event()

    async def remember(self, memories: Mapping[Scope, Sequence[Memory]]) -> None:
        texts = [memory.text for some in memories.values() for memory in some]
        self.batches.append(len(texts))
        if refusal := self.refuse(texts):
            raise refusal
        self.stored += texts
        self.news.set()


class Bench:
    """A worker between a real journal and a shelf."""

    def __init__(self, data_dir: Path) -> None:
        self.shelf = Shelf()
        self.writing = asyncio.Lock()
        self.reader = JournalReader(data_dir)
        self.worker = Worker(self.reader, self.shelf.remember, self.writing)
        self._data_dir = data_dir

    async def say(self, *texts: str, user: str = "ada") -> None:
        async with aclosing(JournalWriter(self._data_dir)) as writer:
            writer.start()
            for text in texts:
                await writer.append(Exchange(user, "c", 0, [Message("user", text)], AT))


@pytest_asyncio.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    made = Bench(tmp_path)
    with closing(made.reader):
        yield made


async def test_everything_is_stored_in_order(bench: Bench) -> None:
    """More than a batch goes in the order in which it was said, a batch at a time."""
    said = [f"remark {number}" for number in range(BATCH + 5)]
    await bench.say(*said)
    assert await bench.worker.step() == (BATCH, 0)
    assert await bench.worker.step() == (5, 0)
    assert await bench.worker.step() is None
    assert bench.shelf.stored == said
    assert bench.shelf.batches == [BATCH, 5]
    assert bench.reader.counts().pending == 0


async def test_a_poisoned_entry_stands_alone(bench: Bench) -> None:
    """One entry that cannot be stored is postponed; the rest of its batch is stored all the same."""
    await bench.say("a", "poison", "b", user="ada")
    await bench.say("c", user="bob")
    bench.shelf.refuse = lambda texts: StoreError("cannot take this") if "poison" in texts else None
    assert await bench.worker.step() == (3, 1)
    assert bench.shelf.stored == ["a", "b", "c"]
    assert bench.worker.trouble is None or "cannot take this" in bench.worker.trouble
    assert bench.reader.counts().pending == 1


async def test_a_store_that_is_down_is_not_asked_for_every_entry(bench: Bench) -> None:
    """After the batch and two single entries have failed, the rest waits without another attempt."""
    await bench.say(*(f"remark {number}" for number in range(20)))
    bench.shelf.refuse = lambda _: StoreError("down")
    assert await bench.worker.step() == (0, 20)
    assert bench.shelf.batches == [20, 1, 1]
    assert bench.worker.trouble == "down"
    assert bench.reader.counts().pending == 20
    assert await bench.worker.step() is None  # nothing is due yet


@pytest.mark.parametrize("error", [StoreError("down"), EmbedderError("no vectors")])
async def test_what_waits_is_stored_when_it_works_again(bench: Bench, error: Exception) -> None:
    """A flush does not wait for the back-off; order is kept, and the trouble is over."""
    said = [f"remark {number}" for number in range(3)]
    await bench.say(*said)
    bench.shelf.refuse = lambda _: error
    assert await bench.worker.flush() == (0, 3)
    bench.shelf.refuse = lambda _: None
    assert await bench.worker.step() is None
    assert await bench.worker.flush() == (3, 0)
    assert bench.shelf.stored == said
    assert bench.worker.trouble is None


async def test_the_reason_is_logged_once(bench: Bench) -> None:
    """A store that stays down is told of once, not once an attempt."""
    await bench.say("a", "b", "c")
    bench.shelf.refuse = lambda _: StoreError("down")
    with structlog.testing.capture_logs() as logs:
        await bench.worker.flush()
        await bench.worker.flush()
    assert [(line["event"], line["reason"]) for line in logs] == [("storing_failed", "down")]


async def test_a_flush_counts_what_was_there_before_it(bench: Bench) -> None:
    """An empty journal is flushed at once; a mixed one is counted as it comes out."""
    assert await bench.worker.flush() == (0, 0)
    await bench.say("a", "poison", "b")
    bench.shelf.refuse = lambda texts: StoreError("no") if "poison" in texts else None
    assert await bench.worker.flush() == (2, 1)
    assert await bench.worker.flush() == (0, 1)


async def test_a_flush_tells_of_what_a_broken_journal_keeps(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was stored but cannot be taken off the journal counts as failed, and is stored again later: it is kept."""
    await bench.say("a", "b")

    def fail(_: Sequence[int]) -> None:
        raise JournalError("disk I/O error")

    with monkeypatch.context() as patch:
        patch.setattr(bench.reader, "done", fail)
        assert await bench.worker.flush() == (0, 2)
        assert bench.worker.trouble == "journal: disk I/O error"
    assert await bench.worker.flush() == (2, 0)
    assert bench.worker.trouble is None


async def test_the_running_worker_hears_of_news(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Told of something new, the worker stores it without waiting for its own next look."""
    monkeypatch.setattr(worker_module, "IDLE_S", 3600)
    tasks = Tasks()
    tasks.spawn(bench.worker.run(), name="worker")
    try:
        for text in ("a", "b"):
            bench.shelf.news.clear()
            await bench.say(text)
            bench.worker.notice()
            await bench.shelf.news.wait()
        assert bench.shelf.stored == ["a", "b"]
    finally:
        await tasks.cancel()


async def test_the_running_worker_finds_what_nobody_told_of(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a crashed edge left in the journal is found by looking."""
    monkeypatch.setattr(worker_module, "IDLE_S", 0.01)
    tasks = Tasks()
    tasks.spawn(bench.worker.run(), name="worker")
    try:
        await bench.say("left behind")
        await bench.shelf.news.wait()
        assert bench.shelf.stored == ["left behind"]
    finally:
        await tasks.cancel()


async def test_an_erasure_waits_for_the_batch(bench: Bench) -> None:
    """While somebody else writes, no batch is taken; one that was taken before is not interrupted."""
    await bench.say("a")
    tasks = Tasks()
    async with bench.writing:
        step = tasks.spawn(bench.worker.step(), name="step")
        assert await asyncio.to_thread(bench.reader.erase, Scope("ada")) == 1
    assert await step is None
    assert bench.shelf.stored == []
