"""Time: how much later an answer is for having gone through the proxy, one request at a time."""

from collections.abc import Callable, Mapping, Sequence

from proxy.bench.chats import REMEMBERED, Chats
from proxy.bench.load import Answer, Ask
from proxy.bench.plan import Plan
from proxy.bench.report import Report, Row, difference, percentile, scaled
from proxy.bench.world import World
from proxy.reporting.charts import Axis, Sample, Spreads


class Samples:
    """What direct, floored, relayed and remembered chats, asked in turn, took. Seconds; recall in milliseconds."""

    def __init__(self, world: World) -> None:
        chats = Chats()
        self.direct: list[float] = []
        self.floored: list[float] = []
        self.relayed: list[float] = []
        self.remembered: list[float] = []
        self.recall_ms: list[float] = []
        self.injected: list[bool] = []
        self._direct = chats.whole(world.direct)
        self._floored = chats.whole(world.floored)
        self._relayed = chats.whole(world.proxied)
        self._remembered = chats.whole(world.proxied, REMEMBERED)

    async def take(self, number: int) -> None:
        """Adds one chat of each way, one after the other."""
        self.direct.append((await self._direct(number)).seconds)
        self.floored.append((await self._floored(number)).seconds)
        self.relayed.append((await self._relayed(number)).seconds)
        answer = await self._remembered(number)
        self.remembered.append(answer.seconds)
        self.injected.append(answer.headers.get("x-memory-status") == "injected")
        if answer.recall_ms is not None:
            self.recall_ms.append(answer.recall_ms)

    def relay_ms(self, share: float) -> float | None:
        """How much later a chat without a user is than a direct one, at this percentile."""
        return _later_ms(self.relayed, self.direct, share)

    def chat_ms(self, share: float) -> float | None:
        """What a remembered chat takes in all, at this percentile."""
        return scaled(percentile(self.remembered, share), 1000)

    def added_ms(self, share: float) -> float | None:
        """How much later a remembered chat is than a direct one, at this percentile."""
        return _later_ms(self.remembered, self.direct, share)

    def recalled_ms(self, share: float) -> float | None:
        """Time spent before forwarding at this percentile, as the proxy itself reports it."""
        return percentile(self.recall_ms, share)


async def measure_latency(world: World, plan: Plan) -> tuple[Samples, Report]:
    """What a chat takes longer, without and with memory."""
    samples = Samples(world)
    for number in range(plan.samples):
        await samples.take(number)
    before, relayed = "memory's part before forwarding", "no user, proxied less direct, one at a time"
    against = "with memory, proxied less direct, one at a time"
    injected = 100 * sum(samples.injected) / plan.samples
    rows = [
        Row(name="recall, p50", value=samples.recalled_ms(50), unit="ms", target=2, meaning=before),
        Row(name="recall, p99", value=samples.recalled_ms(99), unit="ms", target=8, meaning=before),
        Row(name="relay latency, p50", value=samples.relay_ms(50), unit="ms", target=1, aim=0.6, meaning=relayed),
        Row(name="relay latency, p99", value=samples.relay_ms(99), unit="ms", target=3, aim=2, meaning=relayed),
        Row(name="added latency, p50", value=samples.added_ms(50), unit="ms", meaning=against),
        Row(name="added latency, p99", value=samples.added_ms(99), unit="ms", meaning=against),
        Row(name="chats with memory", value=injected, unit="%", meaning="below 100, the rows above flatter"),
    ]
    ways = {
        "direct": samples.direct,
        "through the floor": samples.floored,
        "through the proxy": samples.relayed,
        "with memory": samples.remembered,
    }
    return samples, Report(rows, [draw_times("Time of a chat, one at a time", "chats", ways)])


async def measure_first_token(world: World, plan: Plan) -> Report:
    """How much later the first bytes of a stream's body come."""
    chats = Chats()
    ways = [chats.streamed(endpoint, chunks=5) for endpoint in (world.direct, world.proxied)]
    direct, proxied = await _take_turns(ways, plan.samples, lambda answer: answer.first_s)
    meaning = "request to first bytes of the body, no user, proxied less direct, one at a time"
    name = "added time to first token"
    rows = [
        Row(name=f"{name}, p50", value=_later_ms(proxied, direct, 50), unit="ms", meaning=meaning),
        Row(name=f"{name}, p99", value=_later_ms(proxied, direct, 99), unit="ms", target=4, aim=2, meaning=meaning),
    ]
    times = {"direct": direct, "through the proxy": proxied}
    return Report(rows, [draw_times("Time to the first token of a stream", "streams", times)])


async def measure_pictures(world: World, plan: Plan) -> Report:
    """How much later a request with a large body is answered, without and with memory."""
    chats, size = Chats(), plan.picture_bytes
    ways = [
        chats.pictured(world.direct, size),
        chats.pictured(world.proxied, size),
        chats.pictured(world.proxied, size, REMEMBERED),
    ]
    direct, relayed, remembered = await _take_turns(ways, plan.picture_samples, lambda answer: answer.seconds)
    name = f"added by a picture of {size / 1e6:g} MB"
    rows = []
    for who, times in (("no user", relayed), ("with memory", remembered)):
        meaning = f"base64 in the body, {who}, proxied less direct, one at a time"
        value = _later_ms(times, direct, 50)
        rows.append(Row(name=f"{name}, {who}, p50", value=value, unit="ms", target=8, aim=4, meaning=meaning))
    taken = {"direct": direct, "through the proxy": relayed, "with memory": remembered}
    return Report(rows, [draw_times(f"Time of a chat with a picture of {size / 1e6:g} MB", "chats", taken)])


def draw_times(title: str, what: str, seconds: Mapping[str, Sequence[float]]) -> Spreads:
    """How times are distributed, by the way that chats went."""
    return Spreads(
        title=title,
        caption=(
            f"Each line has all {what} of one way, the fastest on the left, the slowest on the right: at p99 stands "
            "the time that 99 of 100 do not exceed. The distance between two lines is what one way takes longer."
        ),
        y=Axis(label="time", unit="ms"),
        what=what,
        series={name: Sample.of(times, scale=1000) for name, times in seconds.items() if times},
    )


async def _take_turns(ways: Sequence[Ask], times: int, measure: Callable[[Answer], float]) -> list[list[float]]:
    """Asks each way once, so many times over, after one turn that does not count; a list a way."""
    taken: list[list[float]] = [[] for _ in ways]
    for number in range(-1, times):
        for ask, values in zip(ways, taken, strict=True):
            value = measure(await ask(number))
            if number >= 0:
                values.append(value)
    return taken


def _later_ms(late: Sequence[float], early: Sequence[float], share: float) -> float | None:
    return difference(percentile(late, share), percentile(early, share), scale=1000)
