"""How the measurements follow each other: first on a small store, then on a large one."""

import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from uvicorn.loops.auto import auto_loop_factory

from proxy.bench.abundance import (
    HOARDER,
    draw_recall,
    measure_large_store,
    measure_large_user,
    measure_sizes,
    name_climber,
)
from proxy.bench.chats import REMEMBERED, USER, Chats
from proxy.bench.cost import measure_cost, measure_paced_cost
from proxy.bench.dawdlers import measure_dawdlers
from proxy.bench.durability import Ordeal, draw_kills, list_keeper_rows, list_rows, run_ordeal
from proxy.bench.endurance import measure_growth
from proxy.bench.fleet import Siege, draw_siege, list_siege_rows, run_siege
from proxy.bench.latency import Samples, measure_first_token, measure_latency, measure_pictures
from proxy.bench.load import LoadError
from proxy.bench.plan import Plan
from proxy.bench.processes import read_memory_bytes
from proxy.bench.reembedding import Removal, run_removal
from proxy.bench.report import Report, Row
from proxy.bench.servers import POLL_S, Conditions, find_keeper, start_floor, start_proxy, start_upstream
from proxy.bench.soak import run_soak
from proxy.bench.stores import fill_store
from proxy.bench.streams import measure_crowd, measure_gaps
from proxy.bench.turmoil import measure_draining, measure_idle_lag, measure_journaling, measure_storing
from proxy.bench.watching import run_watching
from proxy.bench.world import World, open_world
from proxy.bench.writing import measure_writing
from proxy.errors import MemoryProxyError

Say = Callable[[str], None]
T = TypeVar("T")


def run_benchmark(plan: Plan, say: Say, conditions: Conditions, *, parent: Path | None = None) -> Report:
    """Measures everything, in a temporary folder inside *parent*; *say* hears what is being done.

    Raises:
        MemoryProxyError: a server did not start, or a chat failed where none may.
    """
    with _make_folder(parent) as folder:
        stages = Stages(plan, say, folder, conditions)
        report = stages.measure_small_store() + stages.measure_writing()
        return report + stages.measure_kills() + stages.measure_large_store()


def run_writing(plan: Plan, say: Say, conditions: Conditions, *, parent: Path | None = None) -> Report:
    """The write path alone: how fast it is, and what chats notice of it. Otherwise as :func:`run_benchmark`."""
    with _make_folder(parent) as folder:
        stages = Stages(plan, say, folder, conditions)
        return stages.measure_writing() + stages.measure_storing()


def run_kills(ordeal: Ordeal, say: Say, conditions: Conditions, *, parent: Path | None = None) -> Report:
    """What kills cost of what was said. Otherwise as :func:`run_benchmark`."""
    with _make_folder(parent) as folder:
        after = run_ordeal(ordeal, folder / "killed", conditions, say)
        return Report(list_rows(after), [draw_kills(after)])


def run_fleet(siege: Siege, say: Say, conditions: Conditions, *, parent: Path | None = None) -> Report:
    """What kills cost where several replicas share a store and a journal. Otherwise as :func:`run_benchmark`."""
    with _make_folder(parent) as folder:
        relief = run_siege(siege, folder / "fleet", conditions, say)
        return Report(list_siege_rows(relief), [draw_siege(relief)])


def run_reembedding(removal: Removal, say: Say, conditions: Conditions, *, parent: Path | None = None) -> Report:
    """How fast memories move to another embedding model, and what chats notice. Otherwise as :func:`run_benchmark`."""
    with _make_folder(parent) as folder:
        return run_removal(removal, folder / "moved", conditions, say)


def run_soaking(minutes: float, say: Say, conditions: Conditions, *, parent: Path | None = None) -> Report:
    """Whether anything grows with time. Otherwise as :func:`run_benchmark`."""
    say(f"soaking for {minutes:g} minutes")
    with _make_folder(parent) as folder:
        return run_soak(minutes, folder / "soaked", conditions)


def run_watch(plan: Plan, say: Say, conditions: Conditions, *, parent: Path | None = None) -> Report:
    """What it costs to see what the proxy does. Otherwise as :func:`run_benchmark`."""
    say("comparing with a proxy that counts nothing")
    with _make_folder(parent) as folder:
        return run_watching(plan, folder / "watched", conditions)


@contextmanager
def _make_folder(parent: Path | None) -> Iterator[Path]:
    if parent is not None:
        parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="memory-proxy-bench-", dir=parent) as folder:
        yield Path(folder)


class Stages:
    """One run: its two stores, each filled before a server opens it."""

    def __init__(self, plan: Plan, say: Say, folder: Path, conditions: Conditions) -> None:
        self._plan = plan
        self._say = say
        self._folder = folder
        self._conditions = conditions
        self._small: Samples | None = None  # of the small store
        self._others = [f"user-{number}" for number in range(plan.store_size // plan.memories - 1)]

    def measure_small_store(self) -> Report:
        """Everything for which the remembered user is alone in the store."""
        return self._measure({USER: self._plan.memories}, self._visit_small)

    def measure_large_store(self) -> Report:
        """What could depend on how much others have in the store."""
        users = dict.fromkeys([USER, *self._others], self._plan.memories)
        climbers = {name_climber(size): size for size in self._plan.ladder}
        return self._measure({**users, **climbers, HOARDER: self._plan.hoard}, self._visit_large)

    def measure_storing(self) -> Report:
        """What chats of the remembered user notice while others' memories are stored."""
        return self._measure({USER: self._plan.memories}, self._visit_storing)

    def measure_writing(self) -> Report:
        """How fast a backlog is stored."""
        self._say("storing a backlog")
        data_dir = self._folder / "backlog"
        data_dir.mkdir()
        with _run_on_server_loop() as runner:
            return runner.run(measure_writing(self._plan, data_dir, self._conditions))

    def measure_kills(self) -> Report:
        """What a keeper that is killed costs: no chat, and nothing that was said."""
        self._say("killing the keeper")
        ordeal = Ordeal(kills=self._plan.kills, rate=self._plan.kill_rate, victims=("keeper",), patience=1)
        return Report(list_keeper_rows(run_ordeal(ordeal, self._folder / "killed", self._conditions)))

    def _measure(self, users: dict[str, int], visit: Callable[[World], Awaitable[Report]]) -> Report:
        """Starts the servers on a store in which each of *users* has so many memories, and visits them."""

        async def measure() -> Report:
            with open_world(upstream, floor, proxy, self._conditions.admin_headers, data_dir) as world:
                return await visit(world)

        self._say(f"filling a store with {sum(users.values()):,} memories")
        data_dir = self._folder / str(len(users))
        fill_store(data_dir, users, self._conditions)
        with start_upstream() as upstream, start_floor(upstream.url()) as floor:
            floor.url()  # waits until it listens: the proxy's start is measured, and should have the machine for itself
            with start_proxy(upstream.url(), data_dir, self._conditions) as proxy:
                proxy.url()
                try:
                    with _run_on_server_loop() as runner:
                        return runner.run(measure())
                except LoadError as exc:
                    raise LoadError(proxy.describe(str(exc))) from exc

    async def _visit_small(self, world: World) -> Report:
        plan = self._plan
        report = await self._do("starting", measure_start(world, plan))
        report += await self._do("relaying and recalling: CPU time", measure_cost(world, plan))
        report += await self._do("streaming at a steady pace: CPU time", measure_paced_cost(world, plan))
        self._small, latency = await self._do("relaying and recalling: latency", measure_latency(world, plan))
        report += latency
        report += await self._do("streaming: first tokens", measure_first_token(world, plan))
        report += await self._do("sending pictures", measure_pictures(world, plan))
        report += await self._do("streaming at a steady pace: gaps", measure_gaps(world, plan))
        report += await self._do("streaming to a crowd", measure_crowd(world, plan))
        report += await self._do("serving beside slow clients", measure_dawdlers(world, plan))
        report += await self._do("enduring", measure_growth(world, plan))
        report += await self._do("idling", measure_idle_lag(world, plan))
        report += await self._do("journaling", measure_journaling(world, plan))
        report += await self._do("storing a backlog while chats go on", measure_draining(world, plan))
        return report + await self._do("storing while chats go on", measure_storing(world, plan))

    async def _visit_storing(self, world: World) -> Report:
        await world.wait_ready()
        await Chats().visit(world.proxied, USER)  # loads the user's memories, which is not what is measured
        report = await self._do("storing a backlog while chats go on", measure_draining(world, self._plan))
        return report + await self._do("storing while chats go on", measure_storing(world, self._plan))

    async def _visit_large(self, world: World) -> Report:
        await world.wait_ready()
        plan = self._plan
        visiting = measure_large_store(world, plan, self._others, self._small)
        large, report = await self._do("visiting a large store", visiting)
        report += await self._do("visiting a large user", measure_large_user(world, plan))
        sizes = {name_climber(size): size for size in plan.ladder} | {HOARDER: plan.hoard}
        climbing = measure_sizes(world, plan, sizes)
        recalls = {plan.memories: large.recall_ms} | await self._do("recalling, by how much was said", climbing)
        return report + Report([], draw_recall(recalls, plan.store_size))

    async def _do(self, what: str, measuring: Awaitable[T]) -> T:
        self._say(what)
        return await measuring


def _run_on_server_loop() -> asyncio.Runner:
    """The loop that servers have, too: uvloop where it is installed."""
    return asyncio.Runner(loop_factory=auto_loop_factory())


async def measure_start(world: World, plan: Plan) -> Report:
    """Times since the proxy's process was started, and memory use once all is up and idle."""
    first_answer = await _wait_for_chat(world, status=None)
    first_memory = await _wait_for_chat(world, status="injected")
    await asyncio.sleep(plan.settle_s)
    edge, keeper = await asyncio.to_thread(_read_memory, world)
    both = None if edge is None or keeper is None else (edge + keeper) / 1e6
    idle = "proportional set size, idle"
    rows = [
        Row(name="first answer", value=first_answer, unit="s", target=2, meaning="since the process was started"),
        Row(name="first memory", value=first_memory, unit="s", target=5, meaning="a user's memory, since the start"),
        Row(name="memory of both processes", value=both, unit="MB", target=350, meaning=idle),
        Row(name="memory of the edge", value=edge and edge / 1e6, unit="MB", meaning=idle),
    ]
    return Report(rows)


async def _wait_for_chat(world: World, *, status: str | None) -> float:
    """Seconds from the start of the proxy until a chat succeeds, with this memory status where one is given."""
    ask = Chats().whole(world.proxied, REMEMBERED)
    deadline = time.perf_counter() + 60
    while time.perf_counter() < deadline:
        try:
            answer = await ask(0)
        except LoadError:
            await asyncio.sleep(POLL_S)
            continue
        if status in (None, answer.headers.get("x-memory-status")):
            return time.perf_counter() - world.proxy.started
        await asyncio.sleep(POLL_S)
    raise MemoryProxyError(f"no chat with memory status {status or 'at all'} within 60 s")


def _read_memory(world: World) -> tuple[int | None, int | None]:
    """Of the edge and of the keeper."""
    keeper = find_keeper(world.proxy)
    return read_memory_bytes(world.proxy.pid), None if keeper is None else read_memory_bytes(keeper)
