"""Several keepers on one Redis: everything is stored once, in order, by one of them at a time."""

import asyncio
import json
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from proxy.config import Settings
from proxy.embedders.base import NoEmbedder
from proxy.errors import StoreError
from proxy.journal.shared import SharedReader
from proxy.keeper.vault import Vault
from proxy.ledger import open_ledger
from proxy.models import Exchange, Scope
from proxy.observe.failopen import FailOpen
from proxy.observe.metrics import Metrics
from proxy.remember.access import Access
from proxy.remember.shared_turns import SharedTurns
from proxy.remember.worker import Worker
from proxy.stores.base import open_store
from proxy.tasks import Tasks
from tests.journals import ADA, shared_settings, talk, write
from tests.redis_server import running_redis

AT = datetime(2026, 1, 2, tzinfo=UTC)
USERS = [Scope(f"user-{number}") for number in range(40)]


class Shop:
    """What all keepers store in. It notices when two of them store for users of one part at the same time."""

    def __init__(self) -> None:
        self.stored: dict[str, list[int]] = defaultdict(list)
        self.by: dict[str, int] = defaultdict(int)
        self.refuse = False
        self._at_work: set[int] = set()

    async def store(self, name: str, exchanges: Sequence[Exchange]) -> None:
        parts = {exchange.scope.part for exchange in exchanges}
        assert len(parts) == 1
        assert parts.isdisjoint(self._at_work)
        self._at_work |= parts
        await asyncio.sleep(0.001)  # others' turn
        if self.refuse:
            self._at_work -= parts
            raise StoreError("down")
        for exchange in exchanges:
            self.stored[exchange.user_id].append(exchange.first_index)
        self.by[name] += len(exchanges)
        self._at_work -= parts


class Keeper:
    """A worker of a replica of its own."""

    def __init__(self, settings: Settings, name: str, shop: Shop) -> None:
        self.turns = SharedTurns(settings, name)
        self.reader = SharedReader(settings, name, fence=self.turns.fence)
        self.worker = Worker(
            self.reader,
            lambda exchanges: shop.store(name, exchanges),
            self.turns,
            FailOpen(Metrics()),
            max_attempts=3,
        )


@asynccontextmanager
async def keepers(settings: Settings, shop: Shop, *names: str) -> AsyncIterator[list[Keeper]]:
    made = [Keeper(settings, name, shop) for name in names]
    try:
        yield made
    finally:
        for keeper in made:
            keeper.reader.close()
            await keeper.turns.aclose()


@pytest.fixture
def settings(tmp_path: Path, redis_url: str) -> Settings:
    return shared_settings(tmp_path, redis_url)


def say(settings: Settings, first: int, last: int, users: Sequence[Scope] = USERS) -> None:
    write(settings, *(talk(index, user=user) for index in range(first, last) for user in users))


async def test_two_keepers_never_write_a_part_at_the_same_time(settings: Settings) -> None:
    """Both store, everything once and of each user in order, while exchanges go on coming."""
    shop, tasks = Shop(), Tasks()
    async with keepers(settings, shop, "first", "second") as made:
        running = [tasks.spawn(keeper.worker.run(), name="worker") for keeper in made]
        for start in range(0, 20, 5):
            await asyncio.to_thread(say, settings, start, start + 5)
            for keeper in made:
                keeper.worker.notice()
        await made[0].worker.flush()
        for task in running:
            task.cancel()
        await tasks.drain()
    assert {user: shop.stored[user.user_id] for user in USERS} == {user: list(range(20)) for user in USERS}
    assert min(shop.by.values()) > 0
    assert set(shop.by) == {"first", "second"}


async def test_a_flush_waits_for_what_another_keeper_has_taken(settings: Settings) -> None:
    """It is not done before that one is."""
    shop = Shop()
    await asyncio.to_thread(say, settings, 0, 1, [ADA])
    async with keepers(settings, shop, "first", "second") as (first, second):
        tasks = Tasks()
        async with first.turns.hold(ADA.part):
            (entry,) = await asyncio.to_thread(first.reader.take, 9, part=ADA.part)
            flushing = tasks.spawn(second.worker.flush(), name="flush")
            assert await second.worker.step() is None
            await first.worker._learn([entry.exchange])
            await asyncio.to_thread(first.reader.done, [entry.seq])
            assert not flushing.done()
        await flushing
    assert shop.by == {"first": 1}


async def test_what_a_killed_keeper_left_is_stored_by_another(settings: Settings) -> None:
    """As soon as its turn has ended, once, and before what came later."""
    shop = Shop()
    await asyncio.to_thread(say, settings, 0, 3, [ADA])
    async with keepers(settings, shop, "killed", "other") as (killed, other):
        async with killed.turns.hold(ADA.part):
            assert len(await asyncio.to_thread(killed.reader.take, 9, part=ADA.part)) == 3
        await asyncio.to_thread(say, settings, 3, 5, [ADA])
        while await other.worker.step():
            pass
    assert shop.stored["ada"] == [0, 1, 2, 3, 4]


async def test_after_an_outage_nobody_has_to_help(settings: Settings) -> None:
    """What was set aside while nothing could be stored comes back by itself, in order, whichever keeper is first."""
    shop, users = Shop(), USERS[:5]
    await asyncio.to_thread(say, settings, 0, 4, users)
    async with keepers(settings, shop, "first", "second") as (first, second):
        shop.refuse = True
        for keeper in (first, second, first):
            await keeper.worker.flush()
        assert (await asyncio.to_thread(first.reader.counts)).failed == 4 * len(users)
        shop.refuse = False
        await asyncio.to_thread(say, settings, 4, 5, users[:1])
        while await second.worker.step():
            pass
    assert shop.stored == {user.user_id: [4, 0, 1, 2, 3] if user == users[0] else [0, 1, 2, 3] for user in users}


async def test_a_worker_lives_through_redis_being_killed(tmp_path: Path) -> None:
    """It does nothing twice, and goes on when Redis is back."""
    with running_redis() as server:
        settings, shop = shared_settings(tmp_path, server.url), Shop()
        await asyncio.to_thread(say, settings, 0, 2)
        async with keepers(settings, shop, "one") as (keeper,):
            assert await keeper.worker.step()
            server.kill()
            assert await keeper.worker.step() is None
            server.start()
            while await keeper.worker.step():
                pass
    assert all(shop.stored[user.user_id] == [0, 1] for user in USERS)


async def test_trouble_passes_when_there_is_nothing_to_store(tmp_path: Path) -> None:
    """An idle keeper whose Redis is back does not go on telling that it is away."""
    with running_redis() as server:
        async with keepers(shared_settings(tmp_path, server.url), Shop(), "one") as (keeper,):
            server.kill()
            assert await keeper.worker.step() is None
            told = keeper.worker.trouble
            server.start()
            assert await keeper.worker.step() is None
            assert (told, keeper.worker.trouble) == ("journal: redis: ConnectionError", None)


@asynccontextmanager
async def vaults(settings: Settings, *names: str) -> AsyncIterator[list[Vault]]:
    """Keepers of several replicas with one store and one ledger."""
    async with AsyncExitStack() as stack:
        ledger = open_ledger(settings)
        stack.callback(ledger.close)
        store = open_store(settings, ledger)
        stack.callback(store.close)
        made = []
        for name in names:
            turns = SharedTurns(settings, name)
            stack.push_async_callback(turns.aclose)
            reader = SharedReader(settings, name, fence=turns.fence)
            stack.callback(reader.close)
            made.append(Vault(store, NoEmbedder(), Access(reader, turns), ledger, settings, Metrics("keeper")))
        yield made


def lines(*texts: str) -> list[bytes]:
    """A conversation of ada's, to be imported."""
    messages = [{"role": "user", "content": text} for text in texts]
    told = {"user_id": "ada", "conversation_id": "c", "started_at": AT.isoformat(), "messages": messages}
    return [json.dumps(told).encode()]


async def test_what_another_keeper_has_written_is_known(settings: Settings) -> None:
    """A keeper does not go by what it remembers of a user from before another one's turn."""
    async with vaults(settings, "first", "second") as (first, second):
        assert (await first.take_in(lines("one"))).stored == 1
        assert (await second.take_in(lines("one", "two"))).stored == 1
        again = await first.take_in(lines("one", "two"))
        assert (again.stored, again.known) == (0, 2)
        await second.erase(ADA, None)
        assert (await first.catalogue.memories(ADA, 9, None)).memories == []
        assert (await first.take_in(lines("one", "two"))).stored == 2


async def test_who_has_lost_the_turn_writes_nothing(settings: Settings) -> None:
    """Found out before the store is written to, not after."""
    async with vaults(settings, "stopped", "other") as (stopped, other):
        client = stopped.turns._client  # type: ignore[attr-defined]
        async with stopped.turns.hold(ADA.part):
            await client.delete(f"memory-proxy:turn:{ADA.part:02}")
            assert (await other.take_in(lines("theirs"))).stored == 1
            stopped.turns._turns[ADA.part].until = 0  # type: ignore[attr-defined]  # as the clock says by now
            with pytest.raises(StoreError, match="lost"):
                await stopped.learn([talk(0)])
        assert [memory.text for memory in (await other.catalogue.memories(ADA, 9, None)).memories] == ["theirs"]


async def test_storing_an_exchange_once_more_after_a_later_one_changes_nothing(settings: Settings) -> None:
    """As it happens when the answer of Redis was lost."""
    async with vaults(settings, "one") as (vault,):
        exchanges = [talk(2 * index, text=f"I moved to city number {index}") for index in range(3)]
        async with vault.writing(ADA):
            await vault.learn(exchanges)
            before = (await vault.catalogue.memories(ADA, 9, None, include_superseded=True)).memories
            for exchange in (exchanges[0], exchanges[1], exchanges[0]):
                await vault.learn([exchange])
        after = (await vault.catalogue.memories(ADA, 9, None, include_superseded=True)).memories
    assert len(before) >= 3
    assert after == before
