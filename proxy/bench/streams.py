"""Many streams at once, at the pace of a model: whether all bytes come, in order, and how evenly."""

import asyncio
import time
from collections.abc import Sequence
from typing import Final

import msgspec
import numpy as np

from proxy.bench.chats import stream_headers
from proxy.bench.corpus import chat_body
from proxy.bench.load import Answer, Endpoint, LoadError, work_together
from proxy.bench.plan import Plan
from proxy.bench.processes import read_cpu_seconds
from proxy.bench.report import Report, Row, difference, percentile, ratio
from proxy.bench.world import World
from proxy.mock.payloads import name_model, prebuilt_events
from proxy.reporting.charts import Axis, Sample, Spreads

# Models do not answer in step: starts that are spread over a second spread what is to do over every gap.
SPREAD_S: Final = 1.0


class Crowd(msgspec.Struct, frozen=True):
    """So many streams at once, of so many chunks each."""

    streams: int
    chunks: int
    gap_ms: int

    def __str__(self) -> str:
        seconds = self.chunks * self.gap_ms / 1000
        return f"{self.streams} streams at once, {self.gap_ms} ms between chunks, for {seconds:g} s"


class Outcome(msgspec.Struct):
    """How they went: gaps between chunks in milliseconds, and bytes that were not where they belong."""

    gaps_ms: list[float]
    failed: int = 0
    misplaced: int = 0
    total: int = 0

    def jitter_ms(self, gap_ms: int) -> float | None:
        """How far gaps are from what they should be, at the 99th percentile."""
        return percentile([abs(gap - gap_ms) for gap in self.gaps_ms], 99)


async def measure_gaps(world: World, plan: Plan) -> Report:
    """Whether chunks flow on as they come, while there is little to do.

    Both ways run at the same time: a busy moment of the machine makes the gaps of both longer, not those of one.
    """
    crowd = Crowd(plan.few, plan.chunks, plan.gap_ms)
    direct: list[float] = []
    proxied: list[float] = []
    for _ in range(plan.paced_rounds):
        async with work_together() as group:
            runs = [group.create_task(_run(endpoint, crowd)) for endpoint in (world.direct, world.proxied)]
        direct += runs[0].result().gaps_ms
        proxied += runs[1].result().gaps_ms
    rows = []
    for share, target in ((50, None), (99, 1)):
        added = difference(percentile(proxied, share), percentile(direct, share))
        meaning = f"{crowd}, proxied less as many direct ones at the same time"
        rows.append(Row(name=f"chunk gap added, p{share}", value=added, unit="ms", target=target, meaning=meaning))
    return Report(rows, _draw_gaps(crowd, direct, proxied))


async def measure_crowd(world: World, plan: Plan) -> Report:
    """Many streams through the proxy, byte by byte, beside as many that go straight to the upstream."""
    crowd = Crowd(plan.crowd, plan.crowd_chunks, plan.gap_ms)
    direct = await _run(world.direct, crowd)
    before, began = read_cpu_seconds(world.proxy.pid), time.perf_counter()
    proxied = await _run(world.proxied, crowd)
    spent = difference(read_cpu_seconds(world.proxy.pid), before, scale=100)
    rows = _crowd_rows(crowd, direct, proxied, busy=ratio(spent, time.perf_counter() - began))
    return Report(rows, _draw_gaps(crowd, direct.gaps_ms, proxied.gaps_ms))


def _draw_gaps(crowd: Crowd, direct: Sequence[float], proxied: Sequence[float]) -> list[Spreads]:
    """Nothing where no stream came to its end."""
    ways = {"direct": direct, "through the proxy": proxied}
    series = {name: Sample.of(gaps) for name, gaps in ways.items() if gaps}
    chart = Spreads(
        title=f"Gaps between chunks, {crowd.streams} streams at once",
        caption=(
            f"The upstream sends a chunk every {crowd.gap_ms} ms. A line that is level there passes every chunk on as "
            "it comes; where it bends up at the right end, chunks were late, and where it bends down at the left end, "
            "others followed at once. Lines that bend alike do so for the machine's sake."
        ),
        y=Axis(label="time between two chunks", unit="ms", scale="linear"),
        what="gaps",
        series=series,
    )
    return [chart] if series else []


async def _run(endpoint: Endpoint, crowd: Crowd) -> Outcome:
    answers: list[Answer | None] = [None] * crowd.streams

    async def stream(number: int) -> None:
        await asyncio.sleep(SPREAD_S * number / crowd.streams)
        body = chat_body("Tell me a long story.", stream=True, model=_name(number))
        try:
            answers[number] = await endpoint.chat(body, stream_headers(crowd.chunks, crowd.gap_ms))
        except LoadError:
            return  # counted as the answer that is missing

    async with work_together() as group:
        for number in range(crowd.streams):
            group.create_task(stream(number))
    return _review(answers, crowd.chunks)


def _name(number: int) -> str:
    return f"mock-{number:03}"


def _review(answers: Sequence[Answer | None], chunks: int) -> Outcome:
    outcome = Outcome([], failed=answers.count(None))
    for number, answer in enumerate(answers):
        if answer is None:
            continue
        events = list(name_model(prebuilt_events(chunks, usage=False), _name(number)))
        expected = b"".join(events)
        outcome.gaps_ms += find_gaps_ms(answer, events)
        outcome.misplaced += count_misplaced(answer.body, expected)
        outcome.total += len(expected)
    return outcome


def count_misplaced(body: bytes, expected: bytes) -> int:
    """Bytes of *expected* that are missing or that others stand in for, and bytes too many."""
    length = min(len(body), len(expected))
    wrong = np.frombuffer(body, "u1", length) != np.frombuffer(expected, "u1", length)
    return int(wrong.sum()) + abs(len(body) - len(expected))


def find_gaps_ms(answer: Answer, events: Sequence[bytes]) -> list[float]:
    """Milliseconds between the moments at which one event and the next were there to their last byte.

    Events that came with one read came at one moment; of an answer that is too short, nothing is known.
    """
    ends = np.cumsum([len(event) for event in events])
    if len(answer.body) < ends[-1]:
        return []
    arrived = np.asarray(answer.times)[np.searchsorted(np.asarray(answer.sizes), ends)]
    gaps: list[float] = (np.diff(arrived) * 1000).tolist()
    return gaps


def _crowd_rows(crowd: Crowd, direct: Outcome, proxied: Outcome, *, busy: float | None) -> list[Row]:
    through = f"{crowd}, through the proxy"
    lost = f"of {proxied.total:,}, compared one by one with what was sent; {through}"
    jitter = f"how far the time between two chunks is from {crowd.gap_ms} ms; {through}"
    bare = "the same straight to the upstream: what client, mock and machine account for"
    values = proxied.jitter_ms(crowd.gap_ms), direct.jitter_ms(crowd.gap_ms)
    return [
        Row(name="failed streams", value=proxied.failed, unit="", target=0, aim=0, meaning=through),
        Row(name="lost or reordered bytes", value=proxied.misplaced, unit="", target=0, aim=0, meaning=lost),
        Row(name="chunk jitter, p99", value=values[0], unit="ms", aim=5, meaning=jitter),
        Row(name="… of direct streams, p99", value=values[1], unit="ms", meaning=bare),
        Row(name="CPU of these streams", value=busy, unit="%", meaning=f"the edge's, of one core; {through}"),
    ]
