"""Whether anything grows with time: both processes' memory over many minutes of chats of all kinds."""

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec
from uvicorn.loops.auto import auto_loop_factory

from proxy.bench.chats import stream_headers
from proxy.bench.corpus import Babble, chat_body
from proxy.bench.load import Ask, LoadError
from proxy.bench.processes import read_memory_bytes
from proxy.bench.report import Report, Row, difference, percentile
from proxy.bench.servers import USER_HEADER, Conditions, find_keeper, start_floor, start_proxy, start_upstream
from proxy.bench.world import World, open_world
from proxy.config import ENV_PREFIX
from proxy.observe.metrics import PREFIX
from proxy.reporting.charts import Axis, Lines, Point

USERS: Final = 50
# What each of them may have: reached within the first minutes, so that what is stored grows no more.
MEMORIES: Final = 100
# Chats that begin in a second.
RATE: Final = 40
SAMPLES: Final = 100
RESTARTS: Final = f"{PREFIX}keeper_restarts_total"
# What the allocator keeps from one moment to the next, and pages that Chroma's cache has touched.
FLAT_MB: Final = 5.0


class Sample(msgspec.Struct, frozen=True):
    """Bytes of memory (proportional set size) at one moment, so many minutes after the beginning."""

    minutes: float
    edge: int | None
    keeper: int | None


def run_soak(minutes: float, folder: Path, conditions: Conditions) -> Report:
    """Starts a proxy on a new *folder* and keeps it busy for so long. Memory is looked at a hundred times.

    Raises:
        MemoryProxyError: a server did not start, or a chat failed.
    """
    folder.mkdir()
    bounded = {**conditions.variables, f"{ENV_PREFIX}RETENTION__MAX_MEMORIES_PER_USER": str(MEMORIES)}
    conditions = msgspec.structs.replace(conditions, variables=bounded)
    with (
        start_upstream() as upstream,
        start_floor(upstream.url()) as floor,
        start_proxy(upstream.url(), folder, conditions) as proxy,
        asyncio.Runner(loop_factory=auto_loop_factory()) as runner,
    ):

        async def soak() -> Report:
            with open_world(upstream, floor, proxy, conditions.admin_headers, folder) as world:
                return await _soak(world, minutes)

        try:
            return runner.run(soak())
        except LoadError as exc:
            raise LoadError(proxy.describe(str(exc))) from exc


async def _soak(world: World, minutes: float) -> Report:
    await world.wait_ready()
    samples: list[Sample] = []
    every_s = minutes * 60 / SAMPLES
    until = time.monotonic() + minutes * 60
    kinds = _list_kinds(world)
    number = 0
    due = sampled = began = time.monotonic()
    running: set[asyncio.Task[object]] = set()
    async with asyncio.TaskGroup() as group:
        while time.monotonic() < until:
            due += 1 / RATE
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            task = group.create_task(_ask(kinds[number % len(kinds)], number))
            running.add(task)
            task.add_done_callback(running.discard)
            number += 1
            if time.monotonic() - sampled >= every_s:
                sampled += every_s
                samples.append(await asyncio.to_thread(_sample, world, began))
    await world.flush()
    restarts = (await world.scrape()).total(RESTARTS)
    what = f"{number:,} chats of all kinds in {minutes:g} minutes"
    rows = [
        Row(name="keepers that ended", value=restarts, unit="", target=0, meaning=f"over {what}"),
        describe_growth("edge", [sample.edge for sample in samples], what),
        describe_growth("keeper", [sample.keeper for sample in samples], what),
    ]
    return Report(rows, draw_samples(samples))


async def _ask(kind: Ask, number: int) -> object:
    return await kind(number)


def _list_kinds(world: World) -> list[Ask]:
    """Chats that are stored, streams, of nobody, errors, and streams whose client leaves."""
    babble, proxied = Babble("soak"), world.proxied

    def user(number: int) -> dict[str, str]:
        return {USER_HEADER: f"soak-{number % USERS}"}

    return [
        lambda n: proxied.chat(chat_body(babble.text(30)), {**user(n), **stream_headers(10)}),
        lambda n: proxied.chat(chat_body(babble.text(30), stream=True), {**user(n), **stream_headers(20, 5)}),
        lambda _: proxied.chat(chat_body(babble.text(20)), stream_headers(10)),
        lambda n: proxied.chat(chat_body("hi"), {**user(n), "X-Mock-Status": "429"}, expected=429),
        lambda n: proxied.chat(chat_body(babble.text(20), stream=True), {**user(n), **stream_headers(20, 5)}, enough=1),
    ]


def _sample(world: World, began: float) -> Sample:
    keeper = find_keeper(world.proxy)
    sizes = read_memory_bytes(world.proxy.pid), None if keeper is None else read_memory_bytes(keeper)
    return Sample((time.monotonic() - began) / 60, *sizes)


def describe_growth(process: str, sizes: Sequence[int | None], what: str) -> Row:
    """Growth between the second quarter of the time and the last one, medians: the first is for warming up."""
    known = [size for size in sizes if size is not None]
    quarter = len(known) // 4
    early, late = (percentile(some, 50) for some in (known[quarter : 2 * quarter], known[-quarter:] if quarter else []))
    size = "" if late is None else f"; {late / 1e6:.0f} MB at the end"
    return Row(
        name=f"growth of the {process}",
        value=difference(late, early, scale=1e-6),
        unit="MB",
        target=FLAT_MB,
        meaning=f"second quarter to last, medians, over {what}{size}",
    )


def draw_samples(samples: Sequence[Sample]) -> list[Lines]:
    """Memory over time; nothing where the machine does not tell."""
    sizes = {
        "edge": [Point(sample.minutes, sample.edge / 1e6) for sample in samples if sample.edge is not None],
        "keeper": [Point(sample.minutes, sample.keeper / 1e6) for sample in samples if sample.keeper is not None],
    }
    if not any(sizes.values()):
        return []
    return [
        Lines(
            title="Memory over time",
            caption=(
                f"Chats of all kinds begin all the time, {RATE} a second. Lines may rise while caches fill and users "
                f"reach the {MEMORIES} memories that each may have; from then on they should be level."
            ),
            x=Axis(label="time", unit="min", scale="linear"),
            y=Axis(label="proportional set size", unit="MB", scale="linear"),
            series=sizes,
            from_zero=True,
        )
    ]
