"""The worker: what is journaled is stored, in order, whatever fails on the way."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing, closing, suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest
import pytest_asyncio
import structlog

from proxy.errors import EmbedderError, JournalError, StoreError
from proxy.journal import JournalReader, JournalWriter
from proxy.models import Exchange, Message, Scope
from proxy.observe.failopen import FailOpen
from proxy.observe.metrics import Metrics
from proxy.remember import worker as worker_module
from proxy.remember.turns import LocalTurns
from proxy.remember.worker import BATCH, Worker
from proxy.tasks import Tasks

AT = datetime(2026, 1, 2, tzinfo=UTC)


class Shelf:
    """Stands in for the store. *refuse* is asked for each batch, and its answer, if any, is raised."""

    def __init__(self) -> None:
        self.stored: list[str] = []
        self.batches: list[int] = []
        self.refuse: Callable[[list[str]], BaseException | None] = lambda _: None
        self.news = asyncio.Event()

    async def learn(self, exchanges: Sequence[Exchange]) -> None:
        texts = [message.text for exchange in exchanges for message in exchange.messages]
        self.batches.append(len(texts))
        if refusal := self.refuse(texts):
            raise refusal
        self.stored += texts
        self.news.set()


class Bench:
    """A worker between a real journal and a shelf."""

    def __init__(self, data_dir: Path) -> None:
        self.shelf = Shelf()
        self.turns = LocalTurns()
        self.reader = JournalReader(data_dir)
        self.worker = self.hire()
        self._data_dir = data_dir

    def hire(self, *, max_attempts: int = 3, wait_s: float | None = None) -> Worker:
        """Another worker, as after a restart; *wait_s*: what is stored is to be looked at after that."""
        return Worker(
            self.reader,
            self.shelf.learn,
            self.turns,
            FailOpen(Metrics()),
            max_attempts=max_attempts,
            next_stage=lambda _: wait_s,
        )

    async def flush(self) -> tuple[int, int]:
        """How many entries are stored by a flush, and how many wait or are set aside after it."""
        before = len(self.shelf.stored)
        await self.worker.flush()
        counts = self.reader.counts()
        return len(self.shelf.stored) - before, counts.pending + counts.failed

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
    assert await bench.flush() == (0, 3)
    bench.shelf.refuse = lambda _: None
    assert await bench.worker.step() is None
    assert await bench.flush() == (3, 0)
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
    assert await bench.flush() == (0, 0)
    await bench.say("a", "poison", "b")
    bench.shelf.refuse = lambda texts: StoreError("no") if "poison" in texts else None
    assert await bench.flush() == (2, 1)
    assert await bench.flush() == (0, 1)


async def test_what_cannot_be_taken_off_the_journal_is_stored_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was stored, but nobody can say so: it is kept, and learnt once more, which changes nothing."""
    await bench.say("a", "b")

    def fail(_: Sequence[int]) -> None:
        raise JournalError("disk I/O error")

    with monkeypatch.context() as patch:
        patch.setattr(bench.reader, "done", fail)
        assert await bench.flush() == (2, 2)
        assert bench.worker.trouble == "journal: disk I/O error"
    await bench.flush()
    assert bench.reader.counts().pending == 0
    assert bench.worker.trouble is None


async def test_after_too_many_attempts_an_entry_is_set_aside(bench: Bench) -> None:
    """With its reason, to be seen; later ones of the same user go on; asked to, it is tried again."""
    await bench.say("poison", "b")
    bench.shelf.refuse = lambda texts: StoreError("cannot take this") if "poison" in texts else None
    for _ in range(3):
        await bench.worker.flush()
    (failed,) = bench.reader.failed(9)
    assert (failed.user_id, failed.reason, failed.attempts) == ("ada", "cannot take this", 3)
    assert bench.shelf.stored == ["b"]
    bench.shelf.refuse = lambda _: None
    assert bench.reader.retry_failed() == 1
    assert await bench.flush() == (1, 0)


async def test_after_an_outage_nobody_has_to_help(bench: Bench) -> None:
    """What was set aside while nothing at all could be stored is stored as soon as something can."""
    await bench.say("a", "b", user="ada")
    bench.shelf.refuse = lambda _: StoreError("down")
    for _ in range(3):
        await bench.worker.flush()
    assert bench.reader.counts().failed == 2
    bench.shelf.refuse = lambda _: None
    await bench.say("c", user="bob")
    assert await bench.worker.step() == (1, 0)
    assert await bench.worker.step() == (2, 0)
    assert bench.shelf.stored == ["c", "a", "b"]


async def test_its_own_fault_is_not_taken_for_an_outage(bench: Bench) -> None:
    """What fails while other entries are stored stays set aside."""
    await bench.say("poison", "b", user="ada")
    bench.shelf.refuse = lambda texts: StoreError("no") if "poison" in texts else None
    for number in range(4):
        await bench.say(f"other {number}", user="bob")
        await bench.worker.flush()
    assert bench.reader.counts().failed == 1
    assert "poison" not in bench.shelf.stored


async def test_what_nobody_foresaw_is_an_attempt_like_any_other(bench: Bench) -> None:
    """A bug that one entry brings to light ends no process, holds up nobody else, and is not told in its words."""
    await bench.say("poison", user="ada")
    await bench.say("c", user="bob")
    bench.shelf.refuse = lambda texts: ZeroDivisionError("poison") if "poison" in texts else None
    with structlog.testing.capture_logs() as logs:
        for _ in range(3):
            await bench.worker.flush()
    assert bench.shelf.stored == ["c"]
    (failed,) = bench.reader.failed(9)
    assert failed.reason == "something unforeseen; the keeper's log says what"
    assert "poison" not in str(logs)


async def test_an_entry_that_no_process_survives_is_set_aside(bench: Bench) -> None:
    """Handed out again and again and never settled: at first with others, then alone, then no more."""
    await bench.say("a", "poison", "b")
    bench.shelf.refuse = lambda texts: KeyboardInterrupt() if "poison" in texts else None
    for _ in range(9):
        with suppress(KeyboardInterrupt):
            while await bench.hire().step():
                pass
    assert bench.shelf.stored == ["a", "b"]
    (failed,) = bench.reader.failed(9)
    assert failed.reason == "the keeper ended each time while this was being stored"


@pytest.mark.parametrize("attempts", [1, 2])
async def test_who_is_only_near_a_crash_is_not_set_aside(bench: Bench, attempts: int) -> None:
    """Even where one attempt is all that is allowed: that a process ends is not the fault of all that it had."""
    await bench.say("a", "b")
    for _ in range(2):
        assert len(bench.reader.take(BATCH)) == 2  # and the process is killed
    while await bench.hire(max_attempts=attempts).step():
        pass
    assert bench.shelf.stored == ["a", "b"]
    assert bench.reader.counts().failed == 0


async def test_what_is_stored_goes_on_to_the_next_stage(bench: Bench) -> None:
    """Where a model is to look at it, it is not done yet."""
    await bench.say("a")
    assert await bench.hire(wait_s=0).step() == (1, 0)
    counts = bench.reader.counts()
    assert (counts.pending, counts.extracting) == (0, 1)


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
    async with bench.turns.hold(0):
        step = tasks.spawn(bench.worker.step(), name="step")
        assert await asyncio.to_thread(bench.reader.erase, Scope("ada")) == 1
    assert await step is None
    assert bench.shelf.stored == []
