"""The edge's end of a journal in Redis: what append returned for is durable, whatever happens to Redis."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest

from proxy.config import Settings
from proxy.errors import JournalError
from proxy.journal import JournalReader
from proxy.journal.backoff import Backoff
from proxy.journal.shared_writer import SharedWriter
from proxy.journal.spill import Spill
from proxy.keeper.lock import Holder
from proxy.keeper.vault import open_vault
from proxy.keeper.wire import Flushed
from proxy.keeper.workshop import Workshop
from proxy.models import Exchange
from proxy.remember.courier import Courier
from proxy.tasks import Tasks
from tests.journals import ADA, BOB, shared_settings, talk
from tests.redis_server import RedisServer, running_redis
from tests.test_journal import ROOT

SOON = Backoff(0.01, 0.02)


@pytest.fixture
def server() -> Iterator[RedisServer]:
    """A Redis that the test may kill."""
    with running_redis() as running:
        yield running


@pytest.fixture
def settings(tmp_path: Path, server: RedisServer) -> Settings:
    return shared_settings(tmp_path, server.url)


@asynccontextmanager
async def writing(settings: Settings, **options: Any) -> AsyncIterator[SharedWriter]:
    writer = SharedWriter(settings, backoff=Backoff(0.01, 0.02), **options)
    writer.start()
    try:
        yield writer
    finally:
        await writer.aclose()


@asynccontextmanager
async def forwarding(settings: Settings) -> AsyncIterator[asyncio.Event]:
    """What a keeper does with what was spilled; the event tells that something was brought over."""
    tasks, delivered = Tasks(), asyncio.Event()
    spill = Spill(settings)
    courier = Courier(spill, delivered.set)
    tasks.spawn(courier.run(), name="courier")
    try:
        yield delivered
    finally:
        await tasks.cancel()
        spill.close()


def in_redis(server: RedisServer, user: Any = ADA) -> list[int]:
    """Which exchanges of a user are in the stream, in order."""
    from proxy.journal.layout import read_exchange

    with closing(server.client()) as client:
        key = f"memory-proxy:journal:{user.part:02}"
        rows: Any = client.xrange(key)
        values = [client.hget(f"{key}:said", place) for place, fields in rows if fields[b"user"] == user.key.encode()]
    return [read_exchange(value).first_index for value in values if isinstance(value, bytes)]


def spilled(settings: Settings) -> list[int]:
    """Which exchanges are in the local journal."""
    with closing(JournalReader(settings.data_dir)) as reader:
        return [entry.exchange.first_index for entry in reader.take(10_000)]


async def until(holds: Callable[[], bool]) -> None:
    """Returns when *holds*, looking whenever the loop has done something else."""
    while not holds():  # noqa: ASYNC110  # no event says so
        await asyncio.sleep(0.005)


async def test_what_append_returned_for_survives_redis_being_killed(settings: Settings, server: RedisServer) -> None:
    """One after the other and many at once; a written exchange is told of on the loop."""
    told: list[int] = []
    async with writing(settings, on_written=lambda: told.append(1)) as writer:
        for index in range(10):
            await writer.append(talk(index))
        await asyncio.gather(*(writer.append(talk(index)) for index in range(10, 400)))
        assert writer.state.failing is None
        server.kill()
    server.start()
    assert in_redis(server) == list(range(400))
    assert 10 < len(told) < 60
    assert spilled(settings) == []


async def test_redis_may_be_away_at_the_start(settings: Settings, server: RedisServer) -> None:
    """Exchanges are durable all the same, what is wrong is told, and everything gets there when Redis comes."""
    server.kill()
    async with writing(settings) as writer:
        for index in range(5):
            await writer.append(talk(index))
        assert writer.state.failing == "redis: ConnectionError"
        assert spilled(settings) == list(range(5))
        server.start()
        async with forwarding(settings):
            await until(lambda: writer.state.failing is None)
        await writer.append(talk(5))
        assert (writer.state.held, writer.state.lost) == (0, 0)
    assert in_redis(server) == list(range(6))
    assert spilled(settings) == []


class Talker:
    """A user who says the next thing as soon as the last one is durable."""

    def __init__(self) -> None:
        self.said = 0
        self._ended = False

    async def talk(self, writer: SharedWriter) -> None:
        while not self._ended:
            await writer.append(talk(self.said))
            self.said += 1

    async def go_on(self) -> None:
        """Until a good deal more was said."""
        more = self.said + 30
        await until(lambda: self.said > more)

    def end(self) -> None:
        self._ended = True


async def test_nothing_overtakes_through_outages(settings: Settings, server: RedisServer) -> None:
    """While a user goes on talking Redis is killed and comes back, again and again: all is there, each before what was
    said after it. What was on its way may be there twice, next to each other.
    """
    talker, tasks = Talker(), Tasks()
    async with writing(settings) as writer, forwarding(settings):
        talking = tasks.spawn(talker.talk(writer), name="talk")
        for _ in range(4):
            await talker.go_on()
            await until(lambda: writer.state.failing is None)
            await asyncio.to_thread(server.kill)
            await until(lambda: writer.state.failing is not None)
            await talker.go_on()
            await asyncio.to_thread(server.start)
        await until(lambda: writer.state.failing is None)
        talker.end()
        await talking
    found = in_redis(server)
    assert found == sorted(found)
    assert list(dict.fromkeys(found)) == list(range(talker.said))
    assert len(found) - talker.said <= 4
    assert spilled(settings) == []


async def test_a_redis_that_hangs_holds_nobody_up_for_long(settings: Settings, server: RedisServer) -> None:
    """Its exchange goes to the disk; when it goes on, everything gets there."""
    async with writing(settings, patience_s=0.05) as writer:
        await writer.append(talk(0))
        server.signal(signal.SIGSTOP)
        await writer.append(talk(1))
        assert writer.state.failing == "redis: no answer"
        await writer.append(talk(2))
        assert spilled(settings) == [1, 2]
        server.signal(signal.SIGCONT)
        async with forwarding(settings):
            await until(lambda: writer.state.failing is None)
        await writer.append(talk(3))
    assert list(dict.fromkeys(sorted(in_redis(server)))) == [0, 1, 2, 3]


async def test_what_neither_takes_is_held_and_goes_to_redis(
    settings: Settings, server: RedisServer, tmp_path: Path
) -> None:
    """With a broken disk, too, nothing is lost: in order, before what comes later, to the first that works again."""
    (tmp_path / "journal.sqlite").mkdir()  # no file can be there
    server.kill()
    async with writing(settings) as writer:
        for index in range(3):
            with pytest.raises(JournalError):
                await writer.append(talk(index))
        assert writer.state.held == 3
        assert "redis: ConnectionError; " in (writer.state.failing or "")
        await asyncio.to_thread(server.start)
        await until(lambda: writer.state.failing is None)
        await writer.append(talk(3))
        assert (writer.state.held, writer.state.lost) == (0, 0)
    assert in_redis(server) == [0, 1, 2, 3]


async def test_a_broken_disk_alone_disturbs_nobody(settings: Settings, server: RedisServer, tmp_path: Path) -> None:
    """As long as Redis is there, nothing needs it."""
    (tmp_path / "journal.sqlite").mkdir()
    async with writing(settings) as writer:
        await writer.append(talk(0))
        assert writer.state.failing is None
    assert in_redis(server) == [0]


async def test_a_user_s_exchanges_that_wait_can_be_taken_back(
    settings: Settings, server: RedisServer, tmp_path: Path
) -> None:
    """discard() reaches what is in memory only, of that user alone."""
    (tmp_path / "journal.sqlite").mkdir()
    server.kill()
    async with writing(settings) as writer:
        for user in (ADA, BOB):
            with pytest.raises(JournalError):
                await writer.append(talk(0, user=user))
        assert await writer.discard(ADA) == 1
        await asyncio.to_thread(server.start)
        await until(lambda: writer.state.failing is None)
    assert (in_redis(server, ADA), in_redis(server, BOB)) == ([], [0])


CRASH = """
import asyncio, os, sys
from pathlib import Path
from proxy.journal.shared_writer import SharedWriter
from tests.journals import shared_settings, talk

async def main():
    writer = SharedWriter(shared_settings(Path(sys.argv[1]), sys.argv[2]))
    writer.start()
    for index in range(int(sys.argv[3])):
        await writer.append(talk(index))
    os.kill(os.getpid(), 9)

asyncio.run(main())
"""


def crash(settings: Settings, server: RedisServer, exchanges: int) -> None:
    arguments = [sys.executable, "-c", CRASH, str(settings.data_dir), server.url, str(exchanges)]
    done = subprocess.run(arguments, cwd=ROOT, check=False, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr


async def test_an_edge_that_is_killed_while_redis_is_away_loses_nothing(
    settings: Settings, server: RedisServer
) -> None:
    """What it spilled is brought over by whoever has its data directory next, before anything new."""
    server.kill()
    await asyncio.to_thread(crash, settings, server, 20)
    await asyncio.to_thread(server.start)
    async with writing(settings) as writer:
        await writer.append(talk(20))
        assert spilled(settings)[-1] == 20  # behind what was left
        async with forwarding(settings):
            await until(lambda: in_redis(server) == list(range(21)))
            await writer.append(talk(21))
            await until(lambda: in_redis(server) == list(range(22)) and not spilled(settings))


async def test_what_another_edge_has_spilled_is_not_overtaken_either(settings: Settings, server: RedisServer) -> None:
    """Edges of one replica have one local journal: while one of them cannot reach Redis, the others follow it there."""
    with running_redis() as elsewhere:
        cut_off = shared_settings(settings.data_dir, elsewhere.url)
        async with writing(settings) as writer, writing(cut_off) as other:
            await writer.append(talk(0))
            elsewhere.kill()
            await other.append(talk(1))
            await writer.append(talk(2))
            assert (in_redis(server), spilled(settings)) == ([0], [1, 2])
            async with forwarding(settings):
                await writer.append(talk(3))
                await until(lambda: in_redis(server) == [0, 1, 2, 3])


async def test_a_flush_tells_what_it_could_not_bring_over(
    settings: Settings, server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is still in the local journal is not stored, whatever the shared one says."""
    server.kill()
    async with writing(settings) as writer:
        for index in range(3):
            await writer.append(talk(index))
    await asyncio.to_thread(server.start)
    async with open_vault(settings, Holder(os.getpid(), "a test")) as vault:
        workshop = Workshop(vault, settings, Tasks())
        with monkeypatch.context() as patch:
            patch.setattr(Spill, "forward", _refuse)
            assert await workshop.flush() == Flushed(0, 3)
        assert await workshop.flush() == Flushed(3, 0)


def _refuse(_: Spill) -> int:
    raise JournalError("redis: BusyLoadingError")


async def test_a_journal_that_is_full_spills(tmp_path: Path, server: RedisServer) -> None:
    """What is to be stored is never pushed out; there is room again when something was stored."""
    from proxy.journal.shared import SharedReader

    settings = shared_settings(tmp_path, server.url, journal={"max_mb": 1})
    large = "x" * 100_000
    async with writing(settings) as writer, forwarding(settings):
        for index in range(15):
            await writer.append(talk(index, text=large))
        assert writer.state.failing == "redis: the journal has reached its largest size"
        assert 8 <= len(in_redis(server)) < 15
        with closing(SharedReader(settings, "one")) as reader:
            found: list[int] = []
            while len(found) < 15:
                entries = await asyncio.to_thread(reader.take, 3, part=ADA.part)
                found += [entry.exchange.first_index for entry in entries]
                await asyncio.to_thread(reader.done, [entry.seq for entry in entries])
            assert found == list(range(15))
        await until(lambda: writer.state.failing is None)


async def test_the_local_journal_of_an_earlier_configuration_is_taken_along(
    settings: Settings, server: RedisServer
) -> None:
    """Whatever has become of its entries: they go through all of it once more."""
    from proxy import config
    from tests.journals import write

    local = config.load(flags={"data_dir": settings.data_dir}, environ={})
    await asyncio.to_thread(write, local, *(talk(index) for index in range(5)))
    with closing(JournalReader(settings.data_dir)) as reader:
        reader.postpone([1], "store is away", 1000)
        reader.advance([2], 1000)
        reader.park([3], "no", "store")
    async with forwarding(settings):
        await until(lambda: sorted(in_redis(server)) == list(range(5)) and not spilled(settings))


async def test_before_the_start_and_after_the_end_an_exchange_is_lost(settings: Settings) -> None:
    """Nobody waits for a writer that does not run, and what it could not take is counted."""
    writer = SharedWriter(settings)
    with pytest.raises(JournalError, match="lost"):
        await writer.append(talk(0))
    writer.start()
    await writer.aclose()
    with pytest.raises(JournalError, match="lost"):
        await writer.append(talk(1))
    assert writer.state.lost == 2


async def test_text_that_is_not_unicode_is_refused_alone(settings: Settings, server: RedisServer) -> None:
    """A lone surrogate has no UTF-8 form: its exchange is refused and counted, the next one is written."""
    async with writing(settings) as writer:
        with pytest.raises(JournalError, match="not Unicode"):
            await writer.append(talk(1, text="\ud800"))
        await writer.append(talk(2))
        assert writer.state.lost == 1
    assert in_redis(server) == [2]


async def test_a_cancelled_append_is_written_all_the_same(settings: Settings, server: RedisServer) -> None:
    """A client that leaves while its exchange is being journaled is remembered."""
    async with writing(settings) as writer:
        waiting: Awaitable[object] = asyncio.gather(writer.append(talk(1)))
        await asyncio.sleep(0)
        waiting.cancel()  # type: ignore[attr-defined]
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await writer.append(talk(2))
    assert in_redis(server) == [1, 2]


async def test_an_erasure_reaches_what_was_spilled(settings: Settings, server: RedisServer) -> None:
    """What this replica could not append is erased and amended like what it could."""
    from proxy.journal.shared import SharedReader

    def strike(said: Exchange) -> Exchange | None:
        return None if said.first_index == 0 else said

    server.kill()
    async with writing(settings) as writer:
        for index in range(3):
            await writer.append(talk(index))
            await writer.append(talk(index, user=BOB))
    await asyncio.to_thread(server.start)
    with closing(SharedReader(settings, "one", spill=Spill(settings))) as reader:
        assert reader.counts().pending == 6
        assert reader.forget(BOB, strike) == 1
        assert reader.erase(ADA) == 3
        assert reader.counts().pending == 2
    assert spilled(settings) == [1, 2]
