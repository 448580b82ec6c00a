"""What chats notice while memories are being stored."""

import asyncio
import time
from collections.abc import Iterator, Sequence
from typing import Final

from proxy.bench.corpus import Corpus, chat_body
from proxy.bench.latency import Samples, draw_times
from proxy.bench.load import work_together
from proxy.bench.plan import Plan
from proxy.bench.report import Report, Row, ratio, scaled
from proxy.bench.scrape import Scrape, quantile_between
from proxy.bench.servers import USER_HEADER
from proxy.bench.world import World
from proxy.bench.writing import draw_backlog, follow_backlog, journal_backlog
from proxy.reporting.charts import Spreads

SAID_AT_ONCE: Final = 49  # messages of one chat that feeds the store; with the reply, fifty memories
FEEDERS: Final = 20
LAG: Final = "memory_proxy_loop_lag_seconds"
JOURNALING: Final = "memory_proxy_journal_loop_seconds"


async def measure_idle_lag(world: World, plan: Plan) -> Report:
    """Event-loop lag with nothing to do: what timers and a busy machine account for in the rows that follow."""
    before = await world.scrape()
    await asyncio.sleep(plan.settle_s)
    return Report(_lag_rows(before, await world.scrape(), when="idle", targets=(None, None)))


async def measure_storing(world: World, plan: Plan) -> Report:
    """Event-loop lag and latency of chats while the keeper stores as fast as it can, and idly before and after."""
    idle, busy = Samples(world), Samples(world)
    await _take_idle(idle, plan.samples // 2)
    bodies = [chat_body(*texts) for texts in _draw_texts(plan.stored)]
    before, began = await world.scrape(), time.perf_counter()
    async with work_together() as group:
        storing = group.create_task(_store(world, bodies))
        while not storing.done():
            await busy.take(len(busy.direct))
    rate = plan.stored / (time.perf_counter() - began)
    rows = _lag_rows(before, await world.scrape(), when="storing", targets=(2, 8))
    await _take_idle(idle, plan.samples // 2)
    return Report(
        [*rows, *_storing_rows(busy, idle, rate)], [_draw_chats("Time of a chat while memories are stored", idle, busy)]
    )


async def measure_draining(world: World, plan: Plan) -> Report:
    """Latency of chats while the keeper empties a full journal, against that before and after: the worker's part alone,
    since nothing that is stored comes through the edge.
    """
    idle, busy = Samples(world), Samples(world)
    await _take_idle(idle, plan.samples // 2)
    await journal_backlog(world.data_dir, plan.backlog)
    began = time.perf_counter()
    async with work_together() as group:
        storing = group.create_task(world.flush())
        following = group.create_task(follow_backlog(world.data_dir, storing))
        while not storing.done():
            await busy.take(len(busy.direct))
    rate = plan.backlog / (time.perf_counter() - began)
    await _take_idle(idle, plan.samples // 2)
    meaning = f"while {plan.backlog:,} exchanges of a backlog are stored"
    chat = ratio(busy.chat_ms(99), idle.chat_ms(99))
    rows = [
        Row(name="chat while a backlog is stored, p99", value=busy.chat_ms(99), unit="ms", meaning=meaning),
        Row(name="chat, a backlog stored against idle, p99", value=chat, unit="×", target=1.2, meaning=meaning),
        Row(name="backlog stored", value=rate, unit="/s", meaning="exchanges, while chats go on"),
    ]
    charts = [
        _draw_chats("Time of a chat while a backlog is stored", idle, busy),
        *draw_backlog("A backlog that is stored while chats go on", following.result()),
    ]
    return Report(rows, charts)


def _draw_chats(title: str, idle: Samples, busy: Samples) -> Spreads:
    times = {
        "direct, idle": idle.direct,
        "direct, storing": busy.direct,
        "with memory, idle": idle.remembered,
        "with memory, storing": busy.remembered,
    }
    return draw_times(title, "chats", times)


async def _take_idle(idle: Samples, times: int) -> None:
    for number in range(times):
        await idle.take(number)


async def measure_journaling(world: World, plan: Plan) -> Report:
    """What making an exchange durable costs the event loop, for ordinary chats."""
    before = await world.scrape()
    corpus = Corpus(seed=3)
    for number in range(plan.samples):
        body = chat_body(corpus.text())
        await world.proxied.chat(body, _writing(f"journal-{number % FEEDERS}", f"journal-{number}"))
    after = await world.scrape()
    await world.flush()
    value = scaled(quantile_between(before, after, JOURNALING, 0.99), 1e6)
    meaning = "on the event loop, an exchange"
    return Report([Row(name="journaling, p99", value=value, unit="µs", target=150, meaning=meaning)])


def _writing(user_id: str, conversation_id: str) -> dict[str, str]:
    return {
        "X-Mock-Chunks": "20",
        "X-Memory-Mode": "write",
        USER_HEADER: user_id,
        "X-Conversation-Id": conversation_id,
    }


def _draw_texts(memories: int) -> Iterator[list[str]]:
    """Texts of chats that make so many memories; drawn before the clock runs, which this process would hold up."""
    corpus = Corpus(seed=2)
    for _ in range(memories // (SAID_AT_ONCE + 1)):
        yield [corpus.text() for _ in range(SAID_AT_ONCE)]


async def _store(world: World, bodies: Sequence[bytes]) -> None:
    """Has memories made of few chats that say much at once: the edge's part in it should be small."""
    for number, body in enumerate(bodies):
        await world.proxied.chat(body, _writing(f"feed-{number % FEEDERS}", f"feed-{number}"))
    await world.flush()


def _lag_rows(before: Scrape, after: Scrape, *, when: str, targets: tuple[float | None, float | None]) -> list[Row]:
    rows = []
    for share, target in zip((50, 99), targets, strict=True):
        lag = scaled(quantile_between(before, after, LAG, share / 100), 1000)
        name = f"event-loop lag {when}, p{share}"
        rows.append(Row(name=name, value=lag, unit="ms", target=target, meaning="of the edge"))
    return rows


def _storing_rows(busy: Samples, idle: Samples, rate: float) -> list[Row]:
    meaning = "while memories are stored"
    chat = ratio(busy.chat_ms(99), idle.chat_ms(99))
    added = ratio(busy.added_ms(99), idle.added_ms(99))
    less = f"{meaning}, proxied less direct"
    return [
        Row(name="chat while storing, p99", value=busy.chat_ms(99), unit="ms", meaning=f"{meaning}, with memory"),
        Row(name="chat, storing against idle, p99", value=chat, unit="×", meaning=meaning),
        Row(name="added latency while storing, p99", value=busy.added_ms(99), unit="ms", meaning=less),
        Row(name="added, storing against idle, p99", value=added, unit="×", target=1.5, aim=1.2, meaning=less),
        Row(name="recall while storing, p99", value=busy.recalled_ms(99), unit="ms", meaning=meaning),
        Row(name="memories stored", value=rate, unit="/s", meaning="through chats, journal and keeper"),
    ]
