"""Whose turn it is to write, among keepers that share a Redis."""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, aclosing, closing
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from proxy.config import Settings
from proxy.errors import StoreError
from proxy.remember.shared_turns import SharedTurns
from proxy.remember.turns import LocalTurns, Turns
from proxy.tasks import Tasks
from tests.journals import ADA, shared_settings
from tests.redis_server import running_redis

Open = Callable[..., SharedTurns]


@pytest.fixture
def settings(tmp_path: Path, redis_url: str) -> Settings:
    return shared_settings(tmp_path, redis_url)


@pytest_asyncio.fixture
async def keeper(settings: Settings) -> AsyncIterator[Open]:
    """Opens the turns of a keeper of the name given."""
    async with AsyncExitStack() as stack:

        def open_turns(name: str, **options: Any) -> SharedTurns:
            turns = SharedTurns(settings, name, **options)
            stack.push_async_callback(turns.aclose)
            return turns

        yield open_turns


async def test_one_at_a_time(keeper: Open) -> None:
    """Within a keeper and between keepers: who has a part has it alone; other parts are others'."""
    first, second = keeper("first"), keeper("second")
    async with first.hold(3) as mine:
        assert mine
        async with second.hold(3, patient=False) as theirs:
            assert not theirs
        async with second.hold(4, patient=False) as theirs:
            assert theirs
    async with second.hold(3, patient=False) as theirs:
        assert theirs


@pytest.mark.parametrize("kind", ["local", "shared"])
async def test_the_tasks_of_a_keeper_wait_for_each_other(keeper: Open, kind: str) -> None:
    """In the order in which they came, patient or not; a pause waits for all of them and lets nobody begin."""
    turns: Turns = keeper("one") if kind == "shared" else LocalTurns()
    order: list[str] = []
    tasks = Tasks()

    async def work(name: str, *, patient: bool) -> None:
        async with turns.hold(0, patient=patient) as mine:
            order.append(f"{name} {mine}")

    async with turns.hold(0):
        for name, patient in (("a", True), ("b", False), ("c", True)):
            tasks.spawn(work(name, patient=patient), name=name)
        await asyncio.sleep(0)
        assert order == []
    await tasks.drain()
    assert order == ["a True", "b True", "c True"]
    async with turns.pause():
        tasks.spawn(work("d", patient=False), name="d")
        await asyncio.sleep(0)
        assert order[3:] == []
    await tasks.drain()
    assert order[3:] == ["d True"]


async def test_who_needs_a_turn_gets_it_before_who_could_wait(keeper: Open) -> None:
    """A worker that takes one batch after the other leaves the part to an operator of another replica."""
    worker, operator = keeper("worker"), keeper("operator")
    tasks, served = Tasks(), asyncio.Event()

    async def ask() -> None:
        async with operator.hold(0):
            served.set()

    refused = 0
    async with worker.hold(0):
        tasks.spawn(ask(), name="ask")
        async with operator.hold(1), operator.hold(2):  # round trips, within which the operator has asked
            pass
    while not served.is_set():
        async with worker.hold(0, patient=False) as mine:
            refused += not mine
    assert refused > 0
    await tasks.drain()


async def test_patience_has_an_end(keeper: Open) -> None:
    """Somebody who waits for another replica for too long is told so."""
    async with keeper("first").hold(0):
        with pytest.raises(StoreError, match="another replica is writing"):
            async with keeper("second", patience_s=0.1).hold(0):
                pass


async def test_a_keeper_hears_that_another_one_has_written(keeper: Open) -> None:
    """Not the first one that comes back to its own work, and of that part only."""
    heard: list[tuple[str, int]] = []
    first, second = keeper("first"), keeper("second")
    for name, turns in (("first", first), ("second", second)):
        turns.on_return = lambda part, name=name: heard.append((name, part))  # type: ignore[misc]
    for turns in (first, first, second, second, first):
        async with turns.hold(5):
            assert turns.fence(5)
        assert turns.fence(5) == ""
    assert heard == [("first", 5), ("second", 5), ("first", 5)]


async def test_a_turn_that_is_kept_lasts(keeper: Open, settings: Settings) -> None:
    """Longer than it would without its keeper's saying so."""
    first, second = keeper("first", turn_s=0.3), keeper("second", patience_s=1)
    async with first.hold(0):
        with pytest.raises(StoreError, match="another replica"):
            async with second.hold(0):
                pass
        first.check(0)


async def test_a_turn_that_was_lost_is_told_of(keeper: Open, redis_url: str) -> None:
    """A keeper that was stopped while it had its turn finds it with another one, and writes no more in it."""
    first, second = keeper("first", turn_s=0.3), keeper("second")
    with closing(RedisClient(redis_url)) as client:
        async with first.hold(0):
            first.check(0)
            client.expire_turn(0)  # as by the clock while the process was stopped
            async with second.hold(0):
                await lose(first, 0)
                second.check(0)
            token = first.fence(0)
            assert token
        # It does not end somebody else's turn either.
        async with second.hold(0):
            second.check(0)


async def test_a_turn_that_cannot_be_kept_is_lost(tmp_path: Path) -> None:
    """Cut off from Redis, a keeper counts its turn as lost before another one can have it."""
    with running_redis() as server:
        async with aclosing(SharedTurns(shared_settings(tmp_path, server.url), "one", turn_s=0.3)) as turns:
            async with turns.hold(0):
                turns.check(0)
                server.signal(signal.SIGSTOP)
                await lose(turns, 0)
                server.signal(signal.SIGCONT)
            async with turns.hold(0):
                turns.check(0)


async def test_without_redis_nobody_writes(tmp_path: Path) -> None:
    """It cannot be told whose turn it is: said without the URL, and over as soon as Redis is there again."""
    with running_redis() as server:
        async with aclosing(SharedTurns(shared_settings(tmp_path, server.url), "one")) as turns:
            server.kill()
            for patient in (True, False):
                with pytest.raises(StoreError, match=r"^redis: ConnectionError$"):
                    async with turns.hold(0, patient=patient):
                        pass
            server.start()
            async with turns.hold(0):
                turns.check(0)
            with pytest.raises(StoreError, match="lost"):
                turns.check(0)


async def test_a_user_s_part(keeper: Open) -> None:
    """One for all where there is one keeper; else that of the journal and the store."""
    assert (LocalTurns().find_part(ADA), keeper("one").find_part(ADA)) == (0, ADA.part)


class RedisClient:
    """Redis behind the keepers' back."""

    def __init__(self, url: str) -> None:
        import redis

        self._client = redis.Redis.from_url(url, protocol=2)

    def expire_turn(self, part: int) -> None:
        assert self._client.delete(f"memory-proxy:turn:{part:02}") == 1

    def close(self) -> None:
        self._client.close()


async def lose(turns: SharedTurns, part: int) -> None:
    """Returns when a keeper knows that it has lost its turn."""
    try:
        while True:
            turns.check(part)
            await asyncio.sleep(0)
    except StoreError:
        return
