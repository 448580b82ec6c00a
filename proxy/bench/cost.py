"""CPU time: what a request and a stream cost the edge, and what they cost the floor of this stack in the same run."""

from collections.abc import Mapping
from typing import Final

import msgspec

from proxy.bench.chats import REMEMBERED, Chats
from proxy.bench.control import Control
from proxy.bench.load import Ask, repeat
from proxy.bench.plan import Plan
from proxy.bench.processes import Child, read_cpu_seconds
from proxy.bench.report import Report, Row, difference, percentile, ratio
from proxy.bench.servers import find_keeper
from proxy.bench.world import World
from proxy.reporting.charts import Axis, Bound, Strips

FLOOR: Final = "a 40-line raw-ASGI + aiohttp relay"


class Way(msgspec.Struct, frozen=True):
    """Requests, and the process whose CPU time they are to be charged to.

    *control*: that of a proxy whose keeper's time is part of it, until all of it is stored.
    """

    ask: Ask
    process: Child
    times: int
    concurrency: int
    control: Control | None = None

    async def read_cpu_seconds(self) -> float | None:
        """What has been spent until now."""
        spent = read_cpu_seconds(self.process.pid)
        if self.control is None or spent is None:
            return spent
        await self.control.flush()
        keeper = find_keeper(self.process)
        stored = None if keeper is None else read_cpu_seconds(keeper)
        spent = read_cpu_seconds(self.process.pid)
        return None if stored is None or spent is None else spent + stored


Spent = dict[str, list[float | None]]


async def measure_cost(world: World, plan: Plan) -> Report:
    """Of a request, with and without a user, and of a stream whose chunks come as fast as they can."""
    chats, chunks, at_once = Chats(), plan.chunks, plan.concurrency
    proxy, floor = world.proxy, world.floor
    ways = {
        "direct": Way(chats.whole(world.direct), proxy, plan.chats, at_once),
        "floored": Way(chats.whole(world.floored), floor, plan.chats, at_once),
        "relayed": Way(chats.whole(world.proxied), proxy, plan.chats, at_once),
        "remembered": Way(chats.whole(world.proxied, REMEMBERED), proxy, plan.chats, at_once),
        "floor streamed": Way(chats.streamed(world.floored, chunks=chunks), floor, plan.streams, at_once),
        "streamed": Way(chats.streamed(world.proxied, chunks=chunks), proxy, plan.streams, at_once),
    }
    spent = await alternate(ways, plan.rounds)
    request, stream = "relayed request", f"relayed stream of {chunks} chunks"
    alone = f"no user, {at_once} at a time"
    fast = f"{alone}, chunks without a pause between them"
    rows = [
        *_against_floor(request, spent["relayed"], spent["floored"], what=alone, target=450, aim=1.15),
        *_against_floor(stream, spent["streamed"], spent["floor streamed"], what=fast, target=1300, aim=1.1),
        *_other_rows(spent, plan),
    ]
    spent = {
        "request, floor": spent["floored"],
        "request, edge": spent["relayed"],
        "request with memory": spent["remembered"],
        "stream, floor": spent["floor streamed"],
        "stream, edge": spent["streamed"],
    }
    musts = {"request, edge": 450, "stream, edge": 1300}
    return Report(rows, _draw_rounds("CPU time of a request, and of a stream that comes at once", spent, musts))


async def measure_paced_cost(world: World, plan: Plan) -> Report:
    """Of a stream whose chunks come one by one, as a model's do, so that none can be taken together."""
    chats = Chats()
    ways = {}
    for name, endpoint, process in (("floor", world.floored, world.floor), ("proxy", world.proxied, world.proxy)):
        ask = chats.streamed(endpoint, chunks=plan.chunks, gap_ms=plan.gap_ms)
        ways[name] = Way(ask, process, plan.paced_streams, plan.paced_streams)
    spent = await alternate(ways, plan.paced_rounds)
    name = f"paced stream of {plan.chunks} chunks"
    what = f"no user, {plan.paced_streams} streams at once, {plan.gap_ms} ms between chunks"
    rows = _against_floor(name, spent["proxy"], spent["floor"], what=what, target=None, aim=1.1)
    rounds = {"paced stream, floor": spent["floor"], "paced stream, edge": spent["proxy"]}
    return Report(rows, _draw_rounds(f"CPU time of a stream at {plan.gap_ms} ms a chunk", rounds, {}))


async def alternate(ways: dict[str, Way], rounds: int) -> Spent:
    """Microseconds of CPU time a request, for each way one number a round, after a round that does not count."""
    spent: Spent = {name: [] for name in ways}
    for number in range(-1, rounds):
        for name, way in ways.items():
            cost = await _spend(way, first=(number + 1) * way.times)
            if number >= 0:
                spent[name].append(cost)
    return spent


async def _spend(way: Way, *, first: int) -> float | None:
    before = await way.read_cpu_seconds()
    await repeat(way.ask, times=way.times, concurrency=way.concurrency, first=first)
    return difference(await way.read_cpu_seconds(), before, scale=1e6 / way.times)


def _against_floor(
    name: str,
    proxy: list[float | None],
    floor: list[float | None],
    *,
    what: str,
    target: float | None,
    aim: float,
) -> list[Row]:
    ratios = [ratio(cost, base) for cost, base in zip(proxy, floor, strict=True)]
    cost = f"CPU time of the edge process, median of {len(proxy)} rounds; {what}"
    against = f"edge : floor ({FLOOR}) in the same round, median of the rounds; {what}"
    return [
        Row(name=name, value=_median(proxy), unit="µs", target=target, meaning=cost),
        Row(name=f"{name}: floor", value=_median(floor), unit="µs", meaning=f"the same through {FLOOR}"),
        Row(name=f"{name}: edge to floor", value=_median(ratios), unit="×", target=1.35, aim=aim, meaning=against),
    ]


def _other_rows(spent: Spent, plan: Plan) -> list[Row]:
    memory = [difference(more, less) for more, less in zip(spent["remembered"], spent["relayed"], strict=True)]
    of_user = f"CPU time more for a user of {plan.memories:,} memories, mode read"
    noise = "the edge idles: the noise in the rows of a request"
    return [
        Row(name="memory on top", value=_median(memory), unit="µs", target=800, meaning=of_user),
        Row(name="while all go direct", value=_median(spent["direct"]), unit="µs", meaning=noise),
    ]


def _draw_rounds(title: str, spent: Spent, musts: Mapping[str, float]) -> list[Strips]:
    """Nothing where the machine does not tell."""
    known = {name: [cost for cost in rounds if cost is not None] for name, rounds in spent.items()}
    if not all(known.values()):
        return []
    return [
        Strips(
            title=title,
            caption=(
                "A dot is one round, the stroke their median. Left is less. The floor does the same with as little as "
                "this stack can; dots of the edge that lie as far apart as those of the floor say that the machine was "
                "busy, not the edge."
            ),
            x=Axis(label="CPU time of the process", unit="µs"),
            rows=known,
            bounds={name: [Bound(value, "must")] for name, value in musts.items()},
        )
    ]


def _median(values: list[float | None]) -> float | None:
    return percentile([value for value in values if value is not None], 50)
