"""What chats notice while memories are being stored, and while the keeper is killed."""

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from typing import Final

import msgspec

from proxy.bench.corpus import Corpus, chat_body
from proxy.bench.latency import Samples
from proxy.bench.load import LoadError, work_together
from proxy.bench.plan import Plan
from proxy.bench.processes import kill_process
from proxy.bench.report import Row, ratio, scaled
from proxy.bench.scrape import Scrape, quantile_between
from proxy.bench.servers import POLL_S, USER_HEADER, find_keeper
from proxy.bench.world import World

SAID_AT_ONCE: Final = 49  # messages of one chat that feeds the store; with the reply, fifty memories
FEEDERS: Final = 20
TALKERS: Final = 8
LAG: Final = "memory_proxy_loop_lag_seconds"
JOURNALING: Final = "memory_proxy_journal_loop_seconds"


async def measure_idle_lag(world: World, plan: Plan) -> list[Row]:
    """Event-loop lag with nothing to do: what timers and a busy machine account for in the rows that follow."""
    before = await world.scrape()
    await asyncio.sleep(plan.settle_s)
    return _lag_rows(before, await world.scrape(), when="idle", targets=(None, None))


async def measure_storing(world: World, plan: Plan, idle: Samples) -> list[Row]:
    """Event-loop lag and latency of chats while the keeper stores as fast as it can."""
    before, began = await world.scrape(), time.perf_counter()
    samples = Samples(world)
    async with work_together() as group:
        storing = group.create_task(_store(world, plan.stored))
        while not storing.done():
            await samples.take(len(samples.direct))
    rate = plan.stored / (time.perf_counter() - began)
    return [
        *_lag_rows(before, await world.scrape(), when="storing", targets=(2, 8)),
        *_storing_rows(samples, idle, rate),
    ]


async def measure_journaling(world: World, plan: Plan) -> list[Row]:
    """What making an exchange durable costs the event loop, for ordinary chats."""
    before = await world.scrape()
    corpus = Corpus(seed=3)
    for number in range(plan.samples):
        body = chat_body(corpus.text())
        await world.proxied.chat(body, _writing(f"journal-{number % FEEDERS}", f"journal-{number}"))
    after = await world.scrape()
    await world.flush()
    value = scaled(quantile_between(before, after, JOURNALING, 0.99), 1e6)
    return [Row(name="journaling, p99", value=value, unit="µs", target=150, meaning="on the event loop, an exchange")]


async def measure_kills(world: World, plan: Plan) -> list[Row]:
    """The keeper killed under load: failed chats, lost exchanges, and how soon it is back."""
    if await asyncio.to_thread(find_keeper, world.proxy) is None:
        return _kill_rows(Aftermath())
    talk = Talk(world)
    away: list[float] = []
    async with work_together() as group:
        for number in range(TALKERS):
            group.create_task(talk.go_on(number))
        for _ in range(plan.kills):
            await asyncio.sleep(plan.kill_load_s)
            away.append(await _replace_keeper(world))
        await asyncio.sleep(plan.kill_load_s)
        talk.over = True
    await world.flush()
    return _kill_rows(await talk.review(away))


class Aftermath(msgspec.Struct, frozen=True):
    """What the kills did; ``None`` on a system where no process can be found to be killed."""

    chats: int = 0
    failed: int | None = None
    lost: int | None = None
    twice: int | None = None
    away_s: float | None = None


class Talk:
    """Users who chat without a pause until :attr:`over`. What was answered must be in memory afterwards."""

    def __init__(self, world: World) -> None:
        self.over = False
        self.failed = 0
        self.said: set[str] = set()
        self._world = world

    async def go_on(self, user: int) -> None:
        """Chats of one user, each a conversation of its own with a text that nobody else says."""
        # The delay is a fast model's: without one, the chats would mostly measure how long the backlog takes.
        headers = _writing(f"talk-{user}", "") | {"X-Mock-Delay-Ms": "20"}
        number = 0
        while not self.over:
            number += 1
            text = f"Parcel {number} of user {user} waits at the harbour."
            try:
                await self._world.proxied.chat(chat_body(text), headers | {"X-Conversation-Id": f"{user}-{number}"})
            except LoadError:
                self.failed += 1
            else:
                self.said.add(text)

    async def review(self, away: Sequence[float]) -> Aftermath:
        """Compares what was said with what is stored."""
        pages = [await self._world.memories(f"talk-{user}") for user in range(TALKERS)]
        stored = Counter(memory.text for page in pages for memory in page if memory.role == "user")
        return Aftermath(
            chats=len(self.said) + self.failed,
            failed=self.failed,
            lost=sum(1 for text in self.said if not stored[text]),
            twice=sum(1 for count in stored.values() if count > 1),
            away_s=max(away),
        )


def _writing(user_id: str, conversation_id: str) -> dict[str, str]:
    return {
        "X-Mock-Chunks": "20",
        "X-Memory-Mode": "write",
        USER_HEADER: user_id,
        "X-Conversation-Id": conversation_id,
    }


async def _store(world: World, memories: int) -> None:
    """Has so many memories made, in as few chats as is reasonable: the edge's part in it should be small."""
    corpus = Corpus(seed=2)
    for number in range(memories // (SAID_AT_ONCE + 1)):
        body = chat_body(*(corpus.text() for _ in range(SAID_AT_ONCE)))
        await world.proxied.chat(body, _writing(f"feed-{number % FEEDERS}", f"feed-{number}"))
    await world.flush()


async def _replace_keeper(world: World) -> float:
    """Kills the keeper; returns the seconds until another one is at work."""
    killed = await asyncio.to_thread(find_keeper, world.proxy)
    began = time.perf_counter()
    if killed is not None:
        kill_process(killed)
    # Another process is waited for, so no event could tell.
    while await asyncio.to_thread(find_keeper, world.proxy) in (None, killed):  # noqa: ASYNC110
        await asyncio.sleep(POLL_S)
    await world.wait_ready()
    return time.perf_counter() - began


def _lag_rows(before: Scrape, after: Scrape, *, when: str, targets: tuple[float | None, float | None]) -> list[Row]:
    rows = []
    for share, target in zip((50, 99), targets, strict=True):
        lag = scaled(quantile_between(before, after, LAG, share / 100), 1000)
        name = f"event-loop lag {when}, p{share}"
        rows.append(Row(name=name, value=lag, unit="ms", target=target, meaning="of the edge"))
    return rows


def _storing_rows(samples: Samples, idle: Samples, rate: float) -> list[Row]:
    busy = samples.added_ms(99)
    meaning = "while memories are stored"
    return [
        Row(name="added latency while storing, p99", value=busy, unit="ms", meaning=meaning),
        Row(name="… against idle, p99", value=ratio(busy, idle.added_ms(99)), unit="×", target=1.5, meaning=meaning),
        Row(name="recall while storing, p99", value=samples.recalled_ms(99), unit="ms", meaning=meaning),
        Row(name="memories stored", value=rate, unit="/s", meaning="through chats, journal and keeper"),
    ]


def _kill_rows(after: Aftermath) -> list[Row]:
    chats = f"of {after.chats:,} chats while the keeper is killed"
    back = "killed until ready again, the longest"
    return [
        Row(name="failed chats", value=after.failed, unit="", target=0, meaning=chats),
        Row(name="lost exchanges", value=after.lost, unit="", target=0, meaning=chats),
        Row(name="stored twice", value=after.twice, unit="", target=0, meaning=chats),
        Row(name="keeper back", value=after.away_s, unit="s", target=3, meaning=back),
    ]
