"""What could depend on how much there is: of others in the store, and of the user who asks."""

import time
from collections.abc import Mapping, Sequence
from typing import Final

from proxy.bench.chats import REMEMBERED, USER, Chats
from proxy.bench.latency import Samples, measure_latency
from proxy.bench.plan import Plan
from proxy.bench.report import Report, Row, percentile, ratio
from proxy.bench.servers import USER_HEADER
from proxy.bench.world import World
from proxy.reporting.charts import Axis, Chart, Lines, Point, Sample, Spreads

HOARDER: Final = "hoarder"
# Seconds until a large user is given up on.
PATIENCE_S: Final = 30.0
_SHARES: Final = (50, 99)

Recalls = dict[int, Sequence[float]]  # milliseconds, by how many memories the user has


async def measure_large_store(
    world: World, plan: Plan, others: Sequence[str], small: Samples | None
) -> tuple[Samples, Report]:
    """Whether other users' memories make a user's recall slower, and how long a first visit takes."""
    chats = Chats()
    visits = [(await chats.visit(world.proxied, user)).recall_ms for user in others[: plan.visits]]
    await chats.visit(world.proxied, USER)  # so that the same user is as warm as in the small store
    large, _ = await measure_latency(world, plan)
    grown = ratio(large.recalled_ms(50), None if small is None else small.recalled_ms(50))
    size = f"with {plan.store_size:,} memories in the store"
    known = [visit for visit in visits if visit is not None]
    first = percentile(known, 50)
    rows = [
        Row(name="recall in a large store, p50", value=large.recalled_ms(50), unit="ms", meaning=size),
        Row(name="… against a small one, p50", value=grown, unit="×", target=1.2, meaning=size),
        Row(name="first visit, p50", value=first, unit="ms", target=60, meaning=f"{len(visits)} cold users, {size}"),
    ]
    kinds = {
        "small store": [] if small is None else small.recall_ms,
        "large store": large.recall_ms,
        "first visits": known,
    }
    return large, Report(rows, [_draw_stores(plan, kinds)])


async def measure_large_user(world: World, plan: Plan) -> Report:
    """How soon somebody of very many memories is served, from those that are there by then."""
    chats = Chats()
    began = time.perf_counter()
    first = answer = await chats.visit(world.proxied, HOARDER)
    while answer.headers.get("x-memory-status") != "injected" and time.perf_counter() - began < PATIENCE_S:
        answer = await chats.visit(world.proxied, HOARDER)
    until = (time.perf_counter() - began) * 1000
    size = f"a cold user of {plan.hoard:,} memories"
    status = f"{size}: {first.headers.get('x-memory-status')}"
    rows = [
        Row(name="first visit of a large user", value=first.recall_ms, unit="ms", target=160, meaning=status),
        Row(name="… until memory is injected", value=until, unit="ms", target=1000, meaning=size),
    ]
    return Report(rows)


def name_climber(size: int) -> str:
    """The user of so many memories."""
    return f"climber-{size}"


async def measure_sizes(world: World, plan: Plan, sizes: Mapping[str, int]) -> Recalls:
    """Recall of users with so many memories each, once they are warm."""
    chats = Chats()
    recalls: Recalls = {}
    for user, size in sizes.items():
        await world.warm_up(user)
        ask = chats.whole(world.proxied, {**REMEMBERED, USER_HEADER: user})
        answers = [await ask(number) for number in range(plan.climbs)]
        recalls[size] = [answer.recall_ms for answer in answers if answer.recall_ms is not None]
    return recalls


def _draw_stores(plan: Plan, recalls: Mapping[str, Sequence[float]]) -> Spreads:
    return Spreads(
        title="Recall, in a small store and in a large one",
        caption=(
            f"Before a chat is forwarded, for a user of {plan.memories:,} memories: alone in the store, and among "
            f"{plan.store_size:,} of others. The two lines should be one. A first visit has to load the user."
        ),
        y=Axis(label="time until forwarded", unit="ms"),
        what="chats",
        series={name: Sample.of(values) for name, values in recalls.items() if values},
    )


def draw_recall(recalls: Recalls, store_size: int) -> list[Chart]:
    """Recall against how much the user has said."""
    sizes = sorted(size for size, values in recalls.items() if values)
    series = {
        f"p{share}": [Point(size, value) for size in sizes if (value := percentile(recalls[size], share)) is not None]
        for share in _SHARES
    }
    return [
        Lines(
            title="Recall against the user's memories",
            caption=(
                f"Warm users of so many memories each, in a store of {store_size:,}: what they wait before their chat "
                "is forwarded. Both axes are logarithmic: a line that rises less than the diagonal says that ten times "
                "the memories take less than ten times as long."
            ),
            x=Axis(label="memories of the user", scale="log"),
            y=Axis(label="time until forwarded", unit="ms", scale="log"),
            series=series,
        )
    ]
