"""Several replicas on one Chroma server and one Redis: what one writes or erases, all others see."""

import asyncio
import json
import signal
from pathlib import Path

import pytest

from proxy.errors import KeeperError, StoreError
from proxy.keeper import wire
from proxy.keeper.lock import Holder
from proxy.keeper.server import REMOTE_THREADS
from proxy.keeper.vault import open_vault
from proxy.models import Scope
from proxy.sharing.channel import Channel
from tests.chroma_server import ChromaServer, running_chroma
from tests.redis_server import running_redis
from tests.replicas import WAIT_S, Edge, make_settings, reach, running_replica, running_replicas

ADA = Scope("ada")
# Long enough that nothing of it is waited for where no test is about it.
PATIENT: dict[str, object] = {"refresh_s": 60}
PROMPT: dict[str, object] = {"refresh_s": 1}


async def test_what_one_writes_the_others_see(tmp_path: Path, redis_url: str, chroma: ChromaServer) -> None:
    """Added, edited, erased: it reaches sets that are loaded, as it does at home, before the call is answered."""
    async with running_replicas(tmp_path, redis_url, chroma.store | PATIENT) as (one, other):
        assert await one.load("ada") == await other.load("ada") == set()
        memory = await one.add("ada", "She has a parrot.")
        assert one.texts("ada") == {"She has a parrot."}
        await other.until(lambda: other.texts("ada") == {"She has a parrot."})
        await other.client.call(wire.Edit(ADA, memory.id, "She has two parrots."))
        assert other.texts("ada") == {"She has two parrots."}
        await one.until(lambda: one.texts("ada") == {"She has two parrots."})
        receipt = await one.client.call(wire.Erase(ADA, [memory.id]))
        assert receipt.memories == 1
        await other.until(lambda: other.texts("ada") == set())
        assert (one.stale, other.stale) == ([wire.Stale()], [wire.Stale()])  # as they began to listen


async def test_who_is_erased_is_gone_everywhere(tmp_path: Path, redis_url: str, chroma: ChromaServer) -> None:
    """From sets, from the list of users, and from what is loaded anew; whoever comes again is known again."""
    async with running_replicas(tmp_path, redis_url, chroma.store | PATIENT) as (one, other):
        await one.add("ada", "She has a parrot.")
        assert await other.load("ada") == {"She has a parrot."}
        await one.client.call(wire.Erase(ADA, None))
        await other.until(lambda: not other.texts("ada"))
        assert await other.load("ada") == set()
        assert (await one.client.call(wire.ListUsers(9, None))).users == []
        await other.add("ada", "She has a cat.")
        assert await other.load("ada") == await one.load("ada") == {"She has a cat."}


async def test_a_switch_is_heard_of(tmp_path: Path, redis_url: str, chroma: ChromaServer) -> None:
    """Who turns memory off at one replica is told nothing by another."""
    async with running_replicas(tmp_path, redis_url, chroma.store | PATIENT) as (one, other):
        await one.add("ada", "She has a parrot.")
        await other.load("ada")
        await one.client.call(wire.Switch(ADA, off=True))
        await other.until(lambda: other.texts("ada") is None)
        assert (await other.loader.load(ADA)).off
        await other.client.call(wire.Switch(ADA, off=False))
        await one.until(lambda: one.texts("ada") is None)
        assert await one.load("ada") == {"She has a parrot."}


async def test_all_learn_the_same_in_the_same_order(tmp_path: Path, redis_url: str, chroma: ChromaServer) -> None:
    """Two replicas edit one memory at the same time: whatever they say last, both have what the store has."""
    async with running_replicas(tmp_path, redis_url, chroma.store | PATIENT) as edges:
        memory = await edges[0].add("ada", "It begins.")
        for edge in edges:
            await edge.load("ada")

        async def edit(edge: Edge, name: str) -> None:
            for number in range(8):
                await edge.client.call(wire.Edit(ADA, memory.id, f"{name} has said {number} times."))

        await asyncio.gather(edit(edges[0], "One"), edit(edges[1], "The other"))
        # Of what comes last both have heard when they have heard of this.
        await edges[0].add("ada", "It ends.")
        for edge in edges:
            await edge.until(lambda edge=edge: "It ends." in (edge.texts("ada") or ()))  # type: ignore[misc]
        stored = {
            memory.text for memory in (await edges[0].client.call(wire.ListMemories(ADA, 9, None, False))).memories
        }
        assert [edge.texts("ada") for edge in edges] == [stored, stored]


async def test_users_of_others_are_listed(tmp_path: Path, redis_url: str, chroma: ChromaServer) -> None:
    """Who has just been heard of elsewhere shows once the list is as old as it may be."""
    async with running_replicas(tmp_path, redis_url, chroma.store | {"refresh_s": 0.2}) as (one, other):
        assert (await other.client.call(wire.ListUsers(9, None))).users == []
        await one.add("ada", "She has a parrot.")
        while not (page := await other.client.call(wire.ListUsers(9, None))).users:
            await other.hear()
    assert [(row.user_id, row.memories) for row in page.users] == [("ada", 1)]


async def test_who_tells_nobody_is_noticed(tmp_path: Path, redis_url: str, chroma: ChromaServer) -> None:
    """A keeper that ends between writing and telling, as a command that never tells: what is here is loaded anew."""
    async with running_replicas(tmp_path, redis_url, chroma.store | PROMPT, count=1) as (edge,):
        await edge.load("ada")
        await edge.load("bob")
        settings = make_settings(tmp_path / "command", redis_url, chroma.store)
        async with open_vault(settings, Holder(1, "a test")) as vault:
            await vault.add(ADA, "She has a parrot.")
            await edge.until(lambda: edge.texts("ada") is None)
            assert edge.stale[1:] == [wire.Stale([ADA.key])]
            assert await edge.load("ada") == {"She has a parrot."}
            assert edge.texts("bob") == set()
            await vault.erase(ADA, None)
            await edge.until(lambda: edge.texts("ada") is None)
        assert await edge.load("ada") == set()


async def test_a_gap_in_what_is_told_is_noticed(
    tmp_path: Path, redis_url: str, chroma: ChromaServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A change of which Redis was not told: the next one shows that, and everybody loads anew."""
    async with running_replicas(tmp_path, redis_url, chroma.store | PATIENT) as edges:
        one, other = edges
        await one.add("ada", "She has a parrot.")
        for edge in edges:
            await edge.load("ada")
        publish = Channel.publish

        async def fail(*_: object) -> None:
            monkeypatch.setattr(Channel, "publish", publish)
            raise StoreError("redis: ConnectionError")

        monkeypatch.setattr(Channel, "publish", fail)
        await one.add("ada", "She has a cat.")
        await one.add("bob", "He has a dog.")
        for edge in edges:
            await edge.until(lambda edge=edge: len(edge.stale) == 2)  # type: ignore[misc]
            assert edge.texts("ada") is None
            assert await edge.load("ada") == {"She has a parrot.", "She has a cat."}
        await one.add("ada", "She has a fish.")
        await other.until(lambda: "She has a fish." in (other.texts("ada") or ()))


async def test_without_redis_nothing_is_used_for_long(tmp_path: Path, chroma: ChromaServer) -> None:
    """While it is away or hangs nobody is loaded, and what was is not relied on; then everything is loaded anew."""
    with running_redis() as redis:
        async with running_replicas(tmp_path, redis.url, chroma.store | PROMPT, count=1) as (edge,):
            await edge.add("ada", "She has a parrot.")
            assert await edge.load("ada") == {"She has a parrot."}
            redis.kill()
            with pytest.raises(KeeperError, match="redis"):
                await edge.load("bob")
            await edge.until(lambda: not edge.loader.is_true)
            redis.start()
            await edge.until(lambda: len(edge.stale) == 2)
            assert edge.texts("ada") is None
            assert await edge.load("ada") == {"She has a parrot."}
            redis.signal(signal.SIGSTOP)
            await edge.until(lambda: not edge.loader.is_true)
            with pytest.raises(KeeperError, match="redis"):
                await edge.load("bob")
            redis.signal(signal.SIGCONT)
            await edge.until(lambda: edge.loader.is_true)
            await reach(edge)
            assert await edge.load("ada") == {"She has a parrot."}


async def test_it_begins_with_nothing_there(tmp_path: Path) -> None:
    """Neither Redis nor Chroma: the keeper serves, says what is missing, and works once they are there."""
    with running_redis() as redis, running_chroma() as chroma:
        redis.kill()
        chroma.kill()
        async with running_replica(make_settings(tmp_path, redis.url, chroma.store | PROMPT)) as edge:
            assert (await edge.client.call(wire.Status())).pid
            with pytest.raises(KeeperError, match="redis"):
                await edge.load("ada")
            redis.start()
            await edge.until(lambda: edge.loader.is_true)
            with pytest.raises(KeeperError, match="chroma"):
                await edge.load("ada")
            chroma.start()
            await reach(edge)
            await edge.add("ada", "She has a parrot.")
            assert await edge.load("ada") == {"She has a parrot."}


async def test_a_server_that_hangs_does_not_hang_the_keeper(tmp_path: Path, redis_url: str) -> None:
    """However many ask for what it has: the keeper says how it is, and works again once the server does."""
    users = [f"user {number}" for number in range(REMOTE_THREADS + 8)]
    with running_chroma() as chroma:
        async with running_replicas(tmp_path, redis_url, chroma.store | PATIENT, count=1) as (edge,):
            lines = b"\n".join(_say(user, "I have a parrot.") for user in users)
            assert (await edge.client.call(wire.Import(lines, 1))).stored == len(users)
            with chroma.hanging():
                asking = [edge.load(user) for user in users]
                answers = asyncio.gather(*asking, return_exceptions=True)
                async with asyncio.timeout(WAIT_S / 3):
                    assert (await edge.client.call(wire.Status())).pid
                assert {repr(answer) for answer in await answers} <= {
                    repr(KeeperError(f"chroma at 127.0.0.1:{chroma.port}: it does not answer")),
                    repr(KeeperError("chroma: it does not answer")),
                }
            assert await edge.load(users[0]) == {"I have a parrot."}


def _say(user: str, text: str) -> bytes:
    messages = [{"role": "user", "content": text}]
    return json.dumps(
        {"user_id": user, "conversation_id": "c", "started_at": "2026-01-02T00:00:00Z", "messages": messages}
    ).encode()
