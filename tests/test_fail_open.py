"""Memory fails open: whatever breaks in it, the chat goes on, the failure is told, and what was journaled is kept."""

import os
import resource
import signal
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from proxy.dialects.folding import Fold
from proxy.embedders.base import Vectors
from proxy.embedders.local import LocalEmbedder
from proxy.errors import EmbedderError
from proxy.keeper.lock import DataDirLock, Holder
from proxy.models import Scope
from proxy.observe import failopen
from proxy.recall import service
from proxy.recall.composing import Composer
from tests.conftest import Launch
from tests.doubles import FailingEmbedder, HeldEmbedder
from tests.harness import Answer, Proxy, Upstream, respond
from tests.harness.payloads import ask, completion

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.fixture(autouse=True)
def _tell_every_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failopen, "REPEAT_S", 0.0)


# Nothing that is true for good, which would be in every block.
FACT = "We met the beagle Biscuit at the lake."
QUESTION = "Where did we meet the beagle Biscuit?"
UNRELATED = "Which ocean is deepest?"


async def tell(proxy: Proxy, user: str) -> None:
    """Makes *user* one of whom something is stored, and warm."""
    await proxy.chat(user, ask(FACT))
    await proxy.flush()
    assert (await proxy.chat(user, ask(QUESTION), x_memory_mode="read")).memory == "injected"


@contextmanager
def told_once(proxy: Proxy, step: str) -> Iterator[list[Any]]:
    """Within it *step* fails exactly once: one metric counts it, and one log line, which is given, tells."""
    before = proxy.metric("memory_errors_total", step=step)
    told: list[Any] = []
    with capture_logs() as logs:
        yield told
    assert proxy.metric("memory_errors_total", step=step) == before + 1
    # That a keeper comes and goes is the supervisor's to tell, whenever it hears of it.
    told += [line for line in logs if line["log_level"] != "info" and not line["event"].startswith("keeper_")]
    assert [(line["event"], line.get("step")) for line in told] == [("memory_failed", step)]


async def chat_on(proxy: Proxy, upstream: Upstream, user: str, text: str, **headers: str) -> Answer:
    """A chat that must go on as if nothing were: 200, upstream's body."""
    body = completion("All is well.")
    upstream.script(respond(body))
    answer = await proxy.chat(user, ask(text), **headers)
    assert (answer.status, answer.body) == (200, body)
    return answer


async def test_a_keeper_that_cannot_start(launch: Launch, upstream: Upstream, user: str, tmp_path: Path) -> None:
    """Without a keeper recall fails and nothing is injected; what was said is stored when there is one."""
    data_dir = tmp_path / "data"
    with DataDirLock(data_dir, Holder(os.getpid(), "a test")):
        proxy = await launch(ready=False)
        with told_once(proxy, "recall"):
            answer = await chat_on(proxy, upstream, user, FACT)
        assert answer.memory == "error"
        assert upstream.last.body == ask(FACT)
    await proxy.wait_ready()
    assert await proxy.texts(user) == [FACT, "All is well."]


async def test_a_keeper_that_hangs(launch: Launch, upstream: Upstream, user: str) -> None:
    """A warm user still has their memories, a cold one is told of the timeout; both are stored when it goes on."""
    proxy = await launch(memory={"deadline_ms": 200})
    await tell(proxy, user)
    assert proxy.app.supervisor is not None
    keeper = proxy.app.supervisor.pid
    assert keeper is not None
    os.kill(keeper, signal.SIGSTOP)
    try:
        assert (await chat_on(proxy, upstream, user, QUESTION)).memory == "injected"
        assert (await chat_on(proxy, upstream, f"{user}-cold", FACT)).memory == "timeout"
        assert upstream.last.body == ask(FACT)
    finally:
        os.kill(keeper, signal.SIGCONT)
    assert await proxy.texts(f"{user}-cold") == [FACT, "All is well."]
    assert (await chat_on(proxy, upstream, f"{user}-cold", QUESTION)).memory == "injected"


async def test_a_keeper_that_is_killed(launch: Launch, upstream: Upstream, user: str) -> None:
    """A warm user does not notice; what was said meanwhile is stored by the next keeper."""
    proxy = await launch()
    await tell(proxy, user)
    assert proxy.app.supervisor is not None
    keeper = proxy.app.supervisor.pid
    assert keeper is not None
    os.kill(keeper, signal.SIGKILL)
    await proxy.app.keeper.closed.wait()
    assert (await chat_on(proxy, upstream, user, QUESTION)).memory == "injected"
    with told_once(proxy, "recall"):
        assert (await chat_on(proxy, upstream, f"{user}-cold", FACT)).memory == "error"
    await proxy.wait_ready()
    assert proxy.app.supervisor.pid != keeper
    assert await proxy.texts(f"{user}-cold") == [FACT, "All is well."]


async def test_a_store_that_is_broken(launch: Launch, upstream: Upstream, user: str, tmp_path: Path) -> None:
    """Rubbish in the place of the store's file: chats go on, and all is stored once it is out of the way."""
    broken = tmp_path / "data" / "chroma" / "chroma.sqlite3"
    broken.parent.mkdir(parents=True)
    broken.write_bytes(b"rubbish" * 1000)
    proxy = await launch(ready=False)
    with told_once(proxy, "recall"):
        assert (await chat_on(proxy, upstream, user, FACT)).memory == "error"
    assert (await proxy.control("GET", "/readyz")).status == 503
    broken.unlink()
    await proxy.wait_ready()
    assert await proxy.texts(user) == [FACT, "All is well."]


class Slow(HeldEmbedder):
    """In the place of the one whose vectors the keeper stores."""

    name = LocalEmbedder.name
    dim = LocalEmbedder.dim


class Failing(FailingEmbedder):
    """Likewise."""

    name = LocalEmbedder.name
    dim = LocalEmbedder.dim


async def test_a_slow_embedder(launch: Launch, upstream: Upstream, user: str) -> None:
    """Recall goes by words alone when the vector is late; it says ``timeout`` only where words find nothing."""
    embedder = Slow()
    proxy = await launch(embedder=embedder, memory={"deadline_ms": 200})
    await proxy.chat(user, ask(FACT))
    await proxy.flush()
    answer = await chat_on(proxy, upstream, user, QUESTION)
    assert answer.memory == "injected"
    assert 200 <= float(answer.header("x-memory-recall-ms") or 0) < 2000
    assert (await chat_on(proxy, upstream, user, UNRELATED)).memory == "timeout"
    assert upstream.last.body == ask(UNRELATED)
    embedder.free.set()
    assert (await chat_on(proxy, upstream, user, "Hi")).memory == "empty"


@pytest.mark.parametrize("failure", [EmbedderError("no such model"), ZeroDivisionError(FACT)])
async def test_a_failing_embedder(launch: Launch, upstream: Upstream, user: str, failure: Exception) -> None:
    """Recall goes by words alone; the log has our own errors' words, and of others only the type."""
    embedder = Failing(None)
    proxy = await launch(embedder=embedder)
    await tell(proxy, user)
    embedder.failure = lambda: failure
    with told_once(proxy, "embed") as told:  # asked in other words, whose vector nobody has yet
        assert (await chat_on(proxy, upstream, user, f"Well, {QUESTION}")).memory == "injected"
    reason = "no such model" if isinstance(failure, EmbedderError) else ""
    assert [(line["error"], line["reason"]) for line in told] == [(type(failure).__name__, reason)]
    with told_once(proxy, "embed"):
        assert (await chat_on(proxy, upstream, user, UNRELATED)).memory == "error"
    assert upstream.last.body == ask(UNRELATED)
    assert UNRELATED in await proxy.texts(user)


async def test_an_embedder_that_fails_at_once(launch: Launch, upstream: Upstream, user: str) -> None:
    """One that answers without being awaited, and fails, leaves recall to words as any other does."""

    class Broken(Failing):
        def embed_now(self, texts: Sequence[str]) -> Vectors:
            raise EmbedderError("no")

    proxy = await launch(embedder=Broken(None))
    with told_once(proxy, "embed"):
        assert (await chat_on(proxy, upstream, user, FACT)).memory == "error"
    assert await proxy.texts(user) == [FACT, "All is well."]
    assert (await chat_on(proxy, upstream, user, QUESTION)).memory == "injected"


async def test_recall_that_raises_in_shadow_mode(
    proxy: Proxy, upstream: Upstream, user: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing would have been injected either way, but the status tells that memory failed."""

    def fail(*_: Any, **__: Any) -> None:
        raise IndexError

    await tell(proxy, user)
    monkeypatch.setattr(service, "rank", fail)
    assert (await proxy.chat(user, ask(QUESTION), x_memory_mode="shadow")).memory == "error"


@pytest.mark.parametrize(("place", "part"), [(service, "rank"), (Composer, "draft")])
async def test_recall_that_raises(
    proxy: Proxy, upstream: Upstream, user: str, place: Any, part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bug in recall costs the block and nothing else."""
    await tell(proxy, user)

    def fail(*_: Any, **__: Any) -> None:
        raise IndexError(FACT)

    with monkeypatch.context() as patch, told_once(proxy, "recall") as told:
        patch.setattr(place, part, fail)
        assert (await chat_on(proxy, upstream, user, QUESTION)).memory == "error"
    assert upstream.last.body == ask(QUESTION)
    assert FACT not in str(told)
    assert QUESTION in await proxy.texts(user)
    assert (await chat_on(proxy, upstream, user, QUESTION)).memory == "injected"


async def test_a_fold_that_raises(proxy: Proxy, upstream: Upstream, user: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bug in reading the answer costs the memory of it and nothing else."""

    def fail(*_: Any) -> bool:
        raise IndexError

    monkeypatch.setattr(Fold, "feed", fail)
    with told_once(proxy, "fold"):
        await chat_on(proxy, upstream, user, FACT)
    assert await proxy.texts(user) == []


async def test_a_change_that_cannot_be_followed(
    proxy: Proxy, upstream: Upstream, user: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A user whose memories in memory cannot be kept up to date is loaded anew with the next request."""
    await tell(proxy, user)

    def fail(*_: Any) -> None:
        raise ValueError

    with monkeypatch.context() as patch, told_once(proxy, "follow"):
        patch.setattr(proxy.app.recall.sets, "apply", fail)
        await proxy.chat(user, ask("My parrot is called Coco."), x_memory_mode="write")
        await proxy.flush()
    assert (await chat_on(proxy, upstream, user, "What is my parrot called?")).memory == "injected"
    assert "Coco" in upstream.last.system


@contextmanager
def locked_journal(data_dir: Path) -> Iterator[None]:
    """Somebody else writes to the journal and does not come to an end."""
    with closing(sqlite3.connect(data_dir / "journal.sqlite", isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield


@contextmanager
def full_disk(data_dir: Path) -> Iterator[None]:
    """No file of this process can grow beyond a size that the journal's log has nearly reached."""
    limit = (data_dir / "journal.sqlite-wal").stat().st_size + (1 << 20)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def wait_until_written(proxy: Proxy, user: str) -> None:
    """An append is written behind what is held: one that succeeds says that all of it is on disk."""
    while proxy.app.journal.state.failing:
        await proxy.chat(f"{user}-other", ask("Hello!"))


@pytest.mark.parametrize("fault", [locked_journal, full_disk])
async def test_a_journal_that_cannot_be_written(
    launch: Launch, upstream: Upstream, user: str, tmp_path: Path, fault: Any
) -> None:
    """Answers arrive in full, requests that inject nothing say ``error``, and all is stored when that is over."""
    proxy = await launch()
    await tell(proxy, user)
    long = "It was a long day. " * 100_000
    before = proxy.metric("memory_errors_total", step="journal")
    with fault(tmp_path / "data"):
        with capture_logs() as logs:
            await chat_on(proxy, upstream, user, long)
        assert [line["event"] for line in logs] == ["journal.failing", "memory_failed"]
        assert proxy.metric("memory_errors_total", step="journal") == before + 1
        assert (await chat_on(proxy, upstream, user, UNRELATED, x_memory_mode="read")).memory == "empty"
        assert (await chat_on(proxy, upstream, user, UNRELATED)).memory == "error"
        assert (await chat_on(proxy, upstream, user, QUESTION)).memory == "injected"
        assert (await proxy.control("GET", "/readyz")).json["checks"]["journal"] != "ok"
        assert proxy.metric("journal_held") == 3
    await wait_until_written(proxy, user)
    asked = [memory["text"] for memory in await proxy.memories(user) if memory["role"] == "user"]
    assert asked == [FACT, long[:100_000], UNRELATED, QUESTION]
    assert proxy.metric("journal_lost_total") == 0


async def test_a_flush_tells_what_is_held(launch: Launch, upstream: Upstream, user: str, tmp_path: Path) -> None:
    """Whoever waits for everything to be stored hears what the journal could not take."""
    proxy = await launch()
    await tell(proxy, user)
    with full_disk(tmp_path / "data"):
        await chat_on(proxy, upstream, user, "It was a long day. " * 100_000)
        assert await proxy.flush() == {"stored": 0, "failed": 1}


async def test_a_journal_that_is_rubbish(launch: Launch, upstream: Upstream, user: str, tmp_path: Path) -> None:
    """A damaged file is set aside and replaced before the first exchange; chats do not notice."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "journal.sqlite").write_bytes(b"rubbish" * 10_000)
    proxy = await launch()
    await tell(proxy, user)
    assert (await proxy.texts(user))[0] == FACT


async def test_erasing_reaches_what_is_held(launch: Launch, upstream: Upstream, user: str, tmp_path: Path) -> None:
    """What waits in memory because the journal fails is erased with its user."""
    proxy = await launch()
    with locked_journal(tmp_path / "data"):
        await chat_on(proxy, upstream, user, FACT)
        assert await proxy.app.journal.discard(Scope(user)) == 1
    await wait_until_written(proxy, user)
    assert await proxy.texts(user) == []


async def test_a_failure_that_repeats_is_told_once(
    proxy: Proxy, upstream: Upstream, user: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every failure is counted; the log has one line now, and later one with the number of those in between."""

    def fail(*_: Any, **__: Any) -> None:
        raise ArithmeticError

    monkeypatch.setattr(service, "rank", fail)
    monkeypatch.setattr(failopen, "REPEAT_S", 3600.0)
    before = proxy.metric("memory_errors_total", step="recall")
    with capture_logs() as logs:
        for _ in range(3):
            await chat_on(proxy, upstream, user, QUESTION)
        monkeypatch.setattr(failopen, "REPEAT_S", 0.0)
        await chat_on(proxy, upstream, user, QUESTION)
    assert proxy.metric("memory_errors_total", step="recall") == before + 4
    assert [line["since_last"] for line in logs] == [1, 3]
