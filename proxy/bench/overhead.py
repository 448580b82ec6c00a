"""What the proxy costs while all is well: CPU time, latency, and how evenly a stream flows."""

import itertools
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from proxy.bench.corpus import Corpus, chat_body
from proxy.bench.load import Answer, repeat
from proxy.bench.plan import Plan
from proxy.bench.report import Row, difference, percentile
from proxy.bench.servers import USER_HEADER
from proxy.bench.world import World

USER: Final = "bench-user"
ANONYMOUS: Final = {"X-Mock-Chunks": "20"}
REMEMBERED: Final = {**ANONYMOUS, USER_HEADER: USER, "X-Memory-Mode": "read"}

Ask = Callable[[int], Awaitable[Answer]]


class Chats:
    """The chats that are measured: each with a question of its own, direct, relayed or remembered."""

    def __init__(self, world: World, chunks: int) -> None:
        self._world = world
        corpus = Corpus(seed=1)
        questions = [corpus.question() for _ in range(200)]
        self._bodies = [chat_body(question) for question in questions]
        self._streams = [chat_body(question, stream=True) for question in questions]
        self._stream_headers = {"X-Mock-Chunks": str(chunks)}

    async def direct(self, number: int) -> Answer:
        return await self._world.direct.chat(self._body(number), ANONYMOUS)

    async def relayed(self, number: int) -> Answer:
        return await self._world.proxied.chat(self._body(number), ANONYMOUS)

    async def remembered(self, number: int) -> Answer:
        return await self._world.proxied.chat(self._body(number), REMEMBERED)

    async def visit(self, user_id: str) -> Answer:
        """A chat of any user of the store."""
        return await self._world.proxied.chat(self._bodies[0], {**REMEMBERED, USER_HEADER: user_id})

    async def streamed(self, number: int, *, gap_ms: int = 0) -> Answer:
        headers = {**self._stream_headers, "X-Mock-Gap-Ms": str(gap_ms)}
        return await self._world.proxied.chat(self._streams[number % len(self._streams)], headers)

    async def streamed_directly(self, number: int, *, gap_ms: int = 0) -> Answer:
        headers = {**self._stream_headers, "X-Mock-Gap-Ms": str(gap_ms)}
        return await self._world.direct.chat(self._streams[number % len(self._streams)], headers)

    def _body(self, number: int) -> bytes:
        return self._bodies[number % len(self._bodies)]


class Samples:
    """What direct, relayed and remembered chats, asked in turn, took. Seconds; recall in milliseconds."""

    def __init__(self) -> None:
        self.direct: list[float] = []
        self.relayed: list[float] = []
        self.remembered: list[float] = []
        self.recall_ms: list[float] = []
        self.injected: list[bool] = []

    async def take(self, chats: Chats, number: int) -> None:
        """Adds one chat of each way, one after the other."""
        self.direct.append((await chats.direct(number)).seconds)
        self.relayed.append((await chats.relayed(number)).seconds)
        answer = await chats.remembered(number)
        self.remembered.append(answer.seconds)
        self.injected.append(answer.headers.get("X-Memory-Status") == "injected")
        if answer.recall_ms is not None:
            self.recall_ms.append(answer.recall_ms)

    def relay_ms(self, share: float) -> float | None:
        """How much later a chat without a user is than a direct one, at this percentile."""
        return difference(percentile(self.relayed, share), percentile(self.direct, share), scale=1000)

    def added_ms(self, share: float) -> float | None:
        """How much later a remembered chat is than a direct one, at this percentile."""
        return difference(percentile(self.remembered, share), percentile(self.direct, share), scale=1000)

    def recalled_ms(self, share: float) -> float | None:
        """Time spent before forwarding at this percentile, as the proxy itself reports it."""
        return percentile(self.recall_ms, share)


async def measure_cost(world: World, plan: Plan) -> list[Row]:
    """CPU time of the edge for a request, with and without a user, and for a stream."""
    chats = Chats(world, plan.chunks)
    await repeat(chats.remembered, times=plan.chats, concurrency=plan.concurrency)  # connections, caches
    ways: dict[str, tuple[Ask, int]] = {
        "direct": (chats.direct, plan.chats),
        "relayed": (chats.relayed, plan.chats),
        "remembered": (chats.remembered, plan.chats),
        "streamed": (chats.streamed, plan.streams),
    }
    spent: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(plan.rounds):
        for name, (ask, times) in ways.items():
            cost = await _spend(world, ask, times=times, plan=plan, first=number * times)
            spent[name] += [] if cost is None else [cost]
    return _cost_rows({name: percentile(costs, 50) for name, costs in spent.items()}, plan)


async def measure_latency(world: World, plan: Plan) -> tuple[Samples, list[Row]]:
    """What a chat with memory takes longer, one at a time."""
    samples, chats = Samples(), Chats(world, plan.chunks)
    for number in range(plan.samples):
        await samples.take(chats, number)
    before, relayed = "memory's part before forwarding", "no user, proxied less direct, one at a time"
    against = "with memory, proxied less direct, one at a time"
    injected = 100 * sum(samples.injected) / plan.samples
    return samples, [
        Row(name="recall, p50", value=samples.recalled_ms(50), unit="ms", target=2, meaning=before),
        Row(name="recall, p99", value=samples.recalled_ms(99), unit="ms", target=8, meaning=before),
        Row(name="relay latency, p50", value=samples.relay_ms(50), unit="ms", meaning=relayed),
        Row(name="relay latency, p99", value=samples.relay_ms(99), unit="ms", meaning=relayed),
        Row(name="added latency, p50", value=samples.added_ms(50), unit="ms", meaning=against),
        Row(name="added latency, p99", value=samples.added_ms(99), unit="ms", meaning=against),
        Row(name="chats with memory", value=injected, unit="%", meaning="below 100, the rows above flatter"),
    ]


async def measure_gaps(world: World, plan: Plan) -> list[Row]:
    """Whether chunks flow on as they come: gaps between them, at a pace that the upstream keeps."""
    chats = Chats(world, plan.chunks)
    direct: list[float] = []
    proxied: list[float] = []
    for _ in range(plan.paced_rounds):
        direct += await _gaps(lambda n: chats.streamed_directly(n, gap_ms=plan.gap_ms), plan)
        proxied += await _gaps(lambda n: chats.streamed(n, gap_ms=plan.gap_ms), plan)
    meaning = f"{plan.paced_streams} streams at {plan.gap_ms} ms, proxied less direct"
    return [
        Row(name="chunk gap added, p50", value=_added_gap(direct, proxied, 50), unit="ms", meaning=meaning),
        Row(name="chunk gap added, p99", value=_added_gap(direct, proxied, 99), unit="ms", target=1, meaning=meaning),
    ]


async def _spend(world: World, ask: Ask, *, times: int, plan: Plan, first: int) -> float | None:
    """Microseconds of the edge's CPU time for one of *times* chats."""
    before = world.cpu_seconds()
    await repeat(ask, times=times, concurrency=plan.concurrency, first=first)
    return difference(world.cpu_seconds(), before, scale=1e6 / times)


def _cost_rows(spent: dict[str, float | None], plan: Plan) -> list[Row]:
    meaning = "CPU time of the edge process, median of the rounds"
    return [
        Row(name="relayed request", value=spent["relayed"], unit="µs", target=450, meaning=f"no user; {meaning}"),
        Row(
            name=f"relayed stream of {plan.chunks} chunks",
            value=spent["streamed"],
            unit="µs",
            target=1300,
            meaning="no user, chunks without a pause between them",
        ),
        Row(
            name="memory on top",
            value=difference(spent["remembered"], spent["relayed"]),
            unit="µs",
            target=800,
            meaning=f"more for a user of {plan.memories:,} memories, mode read",
        ),
        Row(
            name="while all go direct",
            value=spent["direct"],
            unit="µs",
            meaning="the edge idles: the noise in the above",
        ),
    ]


async def _gaps(ask: Ask, plan: Plan) -> list[float]:
    answers = await repeat(ask, times=plan.paced_streams, concurrency=plan.paced_streams)
    return list(itertools.chain.from_iterable(answer.gaps for answer in answers))


def _added_gap(direct: Sequence[float], proxied: Sequence[float], share: float) -> float | None:
    return difference(percentile(proxied, share), percentile(direct, share), scale=1000)
