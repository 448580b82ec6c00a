"""Whether the edge grows: memory use before and after many requests of all kinds."""

import asyncio
from typing import Final

from proxy.bench.chats import REMEMBERED, Chats
from proxy.bench.load import repeat
from proxy.bench.plan import Plan
from proxy.bench.processes import read_memory_bytes
from proxy.bench.report import Report, Row, difference
from proxy.bench.world import World
from proxy.reporting.charts import Axis, Lines, Point

FAILING: Final = {"X-Mock-Status": "429"}
CHUNKS: Final = 10
BATCH: Final = 250  # answers that this process holds at a time
FLAT_MB: Final = 1.0  # what the allocator keeps from one moment to the next differs by as much


async def measure_growth(world: World, plan: Plan) -> Report:
    """Proportional set size of the edge, after a warm-up and again after the requests that follow."""
    warming = await _mix(world, plan.warm_up, plan)
    before = await _read_memory(world, plan)
    enduring = await _mix(world, plan.endured, plan)
    grown = difference(await _read_memory(world, plan), before, scale=1e-6)
    kinds = "JSON, with memory, streams, errors and streams whose client leaves, in turn"
    meaning = f"of the edge over {plan.endured:,} requests after {plan.warm_up:,} to warm up: {kinds}"
    row = Row(name="memory growth", value=grown, unit="MB", target=5, aim=FLAT_MB, meaning=meaning)
    later = [Point(point.x + plan.warm_up, point.y) for point in enduring]
    return Report([row], _draw_growth(plan, [*warming, *later]))


def _draw_growth(plan: Plan, course: list[Point]) -> list[Lines]:
    """Nothing where the machine does not tell."""
    chart = Lines(
        title="Memory of the edge over many requests",
        caption=(
            f"Looked at after every {BATCH} requests of all kinds, while some may still be under way. What the first "
            f"{plan.warm_up:,} take, Python keeps; from then on the line should be level."
        ),
        x=Axis(label="requests", scale="linear"),
        y=Axis(label="proportional set size", unit="MB", scale="linear"),
        series={"edge": course},
        from_zero=True,
    )
    return [chart] if course else []


async def _mix(world: World, times: int, plan: Plan) -> list[Point]:
    """So many requests; memory use in MB, by how many there were so far, where the machine tells."""
    course = []
    chats, proxied = Chats(), world.proxied
    kinds = [
        chats.whole(proxied),
        chats.whole(proxied, REMEMBERED),
        chats.streamed(proxied, chunks=CHUNKS),
        chats.whole(proxied, FAILING, expected=429),
        # The gap, so that the stream is still under way when its client has seen the first byte and leaves.
        chats.streamed(proxied, chunks=CHUNKS, gap_ms=5, enough=1),
    ]
    for first in range(0, times, BATCH):
        some = min(BATCH, times - first)
        await repeat(lambda n: kinds[n % len(kinds)](n), times=some, concurrency=plan.concurrency, first=first)
        size = await asyncio.to_thread(read_memory_bytes, world.proxy.pid)
        if size is not None:
            course.append(Point(first + some, size / 1e6))
    return course


async def _read_memory(world: World, plan: Plan) -> int | None:
    await asyncio.sleep(plan.settle_s)  # what is abandoned takes a moment to end
    return await asyncio.to_thread(read_memory_bytes, world.proxy.pid)
