"""A store moved to another embedding model under load, while the process that does it is killed."""

import asyncio
import math
import random
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
from uvicorn.loops.auto import auto_loop_factory

from proxy.bench.chats import ANONYMOUS
from proxy.bench.corpus import Corpus, chat_body
from proxy.bench.latency import draw_times
from proxy.bench.load import Answer, Endpoint, LoadError, work_together
from proxy.bench.manager import Manager
from proxy.bench.processes import read_cpu_seconds
from proxy.bench.report import Report, Row, percentile, ratio, scaled
from proxy.bench.servers import USER_HEADER, Conditions, find_keeper, import_file, start_upstream
from proxy.config import ENV_PREFIX
from proxy.errors import MemoryProxyError
from proxy.keeper.moves import ReembeddingState
from proxy.reporting.charts import Axis, Chart, Span, Timeline

Hear = Callable[[str], None]

EACH: Final = 100  # memories of a user
TALKERS: Final = 50  # users who ask meanwhile
RATE: Final = 20.0  # chats in a second
IDLE_S: Final = 5.0
POLL_S: Final = 0.1
# What a memory may take: 500 a second.
TARGET_MS: Final = 2.0


class Removal(msgspec.Struct, frozen=True, kw_only=True):
    """So many memories are moved, and the keeper is killed so often meanwhile, at moments that *seed* decides."""

    memories: int = 100_000
    kills: int = 5
    seed: int = 5


class Asked(NamedTuple):
    """A chat: when it began, on the clock of :func:`time.perf_counter`, and its *answer*, None where it failed."""

    at: float
    answer: Answer | None

    @property
    def has_memory(self) -> bool:
        return self.answer is not None and self.answer.headers.get("x-memory-status") == "injected"

    def is_within(self, begin: float, end: float) -> bool:
        """Whether it was under way then."""
        return self.at <= end and (self.answer is None or self.at + self.answer.seconds >= begin)


class Talk:
    """Users who ask about what they have said, one after the other."""

    def __init__(self, endpoint: Endpoint, questions: list[tuple[str, bytes]]) -> None:
        self.asked: list[Asked] = []
        self.over = False
        self._endpoint = endpoint
        self._questions = questions

    async def go_on(self) -> None:
        """Asks at a steady rate until it is over."""
        due = time.perf_counter()
        while not self.over:
            due = max(due + 1 / RATE, time.perf_counter() - 1)
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            user, body = self._questions[len(self.asked) % len(self._questions)]
            began = time.perf_counter()
            try:
                headers = {**ANONYMOUS, USER_HEADER: user, "X-Memory-Mode": "read"}
                self.asked.append(Asked(began, await self._endpoint.chat(body, headers)))
            except LoadError:
                self.asked.append(Asked(began, None))

    def begin_anew(self) -> list[Asked]:
        """What was asked so far."""
        asked, self.asked = self.asked, []
        return asked


class Moved(NamedTuple):
    """How a move went. *away*: from when to when there was no keeper, *left*: what the last look found to do.

    *cpu_s*: CPU time of all keepers, None where the system does not tell.
    """

    took_s: float
    cpu_s: float | None
    idle: list[Asked]
    busy: list[Asked]
    away: list[tuple[float, float]]
    left: ReembeddingState


def run_removal(removal: Removal, folder: Path, conditions: Conditions, hear: Hear = lambda _: None) -> Report:
    """Fills a store by an embedding model behind an endpoint, and moves it to the one that comes along.

    Raises:
        MemoryProxyError: a process did not come up, or the move failed.
    """
    folder.mkdir()
    hear(f"storing {removal.memories:,} memories")
    with start_upstream() as upstream:
        questions = _fill(removal, folder, upstream.url(), conditions)
        manager = Manager(upstream.url(), folder / "data", conditions)
        with closing(manager), asyncio.Runner(loop_factory=auto_loop_factory()) as runner:
            moved = runner.run(_move(removal, manager, questions, hear))
    return Report(list_removal_rows(removal, moved), draw_removal(moved))


def _fill(removal: Removal, folder: Path, upstream_url: str, conditions: Conditions) -> list[tuple[str, bytes]]:
    """Stores everything; answers who may ask for what, and will be told."""
    corpus, questions, path = Corpus(), [], folder / "conversations.jsonl"
    with path.open("wb") as file:
        for number in range(removal.memories // EACH):
            for conversation in corpus.conversations(f"user-{number}", EACH):
                file.write(msgspec.json.encode(conversation) + b"\n")
            said = conversation["messages"][0]["content"].split()
            name = next(word for word in said if word.startswith("name"))
            questions.append((f"user-{number}", chat_body(f"What did I say about {name} and {' '.join(said[:5])}?")))
    former = {"PROVIDER": "openai", "MODEL": "former", "BASE_URL": f"{upstream_url}/v1", "API_KEY": "mock"}
    chosen = {f"{ENV_PREFIX}EMBEDDING__{name}": value for name, value in former.items()}
    variables = {**conditions.variables, **chosen}
    import_file(path, folder / "data", msgspec.structs.replace(conditions, variables=variables))
    path.unlink()
    return random.Random(removal.seed).sample(questions, min(TALKERS, len(questions)))  # noqa: S311  # repeatable


async def _move(removal: Removal, manager: Manager, questions: list[tuple[str, bytes]], hear: Hear) -> Moved:
    await manager.start()
    await manager.wait_ready()
    endpoint = Endpoint(manager.url)
    talk = Talk(endpoint, questions)
    async with work_together() as group:
        group.create_task(talk.go_on())
        hear("chats alone")
        await asyncio.sleep(IDLE_S)  # until everybody's memories are here
        talk.begin_anew()
        await asyncio.sleep(IDLE_S)
        idle = talk.begin_anew()
        spent = [-_read_cpu(manager)]
        began = time.perf_counter()
        away = await _kill_meanwhile(removal, manager, spent, hear)
        took_s = time.perf_counter() - began
        spent.append(_read_cpu(manager))
        busy = talk.begin_anew()
        talk.over = True
    await manager.control.reembed()
    left = await _wait(manager, lambda state: state.state not in ("moving", "verifying"))
    endpoint.close()
    manager.control.hang_up()
    return Moved(took_s, None if math.isnan(sum(spent)) else sum(spent), idle, busy, away, left)


def _read_cpu(manager: Manager) -> float:
    """CPU time of the keeper that there is; not a number where the system does not tell."""
    keeper = find_keeper(manager.edge)
    spent = None if keeper is None else read_cpu_seconds(keeper)
    return math.nan if spent is None else spent


async def _kill_meanwhile(
    removal: Removal, manager: Manager, spent: list[float], hear: Hear
) -> list[tuple[float, float]]:
    chance = random.Random(removal.seed)  # noqa: S311  # repeatable, not secret
    moments = sorted(chance.uniform(0.02, 0.98) * removal.memories for _ in range(removal.kills))
    away: list[tuple[float, float]] = []
    await manager.control.reembed()
    for number, moment in enumerate(moments, 1):
        hear(f"moving, until kill {number} of {removal.kills}")
        await _wait(manager, lambda state, moment=moment: state.done >= moment or state.state == "settled")  # type: ignore[misc]  # a moment of its own each
        spent.append(_read_cpu(manager))
        began = time.perf_counter()
        await manager.kill("keeper")
        await _wait(manager, lambda _: True)
        await manager.wait_ready()
        away.append((began, time.perf_counter()))
        await manager.control.reembed()
    hear("moving")
    state = await _wait(manager, lambda state: state.state not in ("moving", "verifying"))
    if state.state != "settled":
        raise MemoryProxyError(f"the move came to nothing: {state.error or state.state}")
    return away


async def _wait(manager: Manager, holds: Callable[[ReembeddingState], bool]) -> ReembeddingState:
    """The state in which it does. A keeper that is away is waited for."""
    while True:
        try:
            state = await manager.control.reembedding()
        except LoadError:
            pass
        else:
            if holds(state):
                return state
        await asyncio.sleep(POLL_S)


def list_removal_rows(removal: Removal, moved: Moved) -> list[Row]:
    """What there is to tell of it."""
    away_s = sum(end - begin for begin, end in moved.away)
    each_ms = (moved.took_s - away_s) * 1000 / removal.memories
    what = f"{removal.memories:,} memories, verified, less {away_s:.1f} s in which there was no keeper"
    without = [asked for asked in moved.busy if asked.answer is not None and not asked.has_memory]
    killed = [asked for asked in without if any(asked.is_within(begin, end) for begin, end in moved.away)]
    meanwhile = f"of {len(moved.busy):,} chats meanwhile, {RATE:g} a second"
    slow, fast = (_find_p99(asked) for asked in (moved.busy, moved.idle))
    return [
        Row(name="memories moved", value=1000 / each_ms, unit="/s", meaning=what),
        Row(name="moving a memory", value=each_ms, unit="ms", target=TARGET_MS, meaning=what),
        Row(
            name="… CPU time of the keepers",
            value=scaled(moved.cpu_s, 1000 / removal.memories),
            unit="ms",
            meaning=what,
        ),
        Row(name="keepers killed", value=len(moved.away), unit="", meaning="at random moments of the move"),
        Row(
            name="left to do afterwards", value=moved.left.moved, unit="", target=0, meaning="vectors that were missing"
        ),
        Row(name="chats failed", value=_count_failed(moved.busy), unit="", target=0, meaning=meanwhile),
        Row(name="… without memory", value=len(without) - len(killed), unit="", target=0, meaning=meanwhile),
        Row(name="… while there was no keeper", value=len(killed), unit="", meaning="and nothing loaded of the user"),
        Row(name="chat meanwhile, p99", value=slow, unit="ms", meaning=meanwhile),
        Row(
            name="… against before, p99", value=ratio(slow, fast), unit="×", meaning=f"{len(moved.idle):,} chats before"
        ),
    ]


def draw_removal(moved: Moved) -> list[Chart]:
    """What chats noticed of it."""
    times = {
        name: [each.answer.seconds for each in asked if each.answer is not None]
        for name, asked in (("before the move", moved.idle), ("meanwhile", moved.busy))
    }
    began = min((each.at for each in moved.busy), default=0.0)
    kinds: dict[str, Counter[int]] = {"with memory": Counter(), "without": Counter(), "failed": Counter()}
    for each in moved.busy:
        kind = "failed" if each.answer is None else "with memory" if each.has_memory else "without"
        kinds[kind][int(each.at - began)] += 1
    moves = Timeline.of(
        kinds,
        title="The move, and what became of chats meanwhile",
        caption=(
            "Above: chats by when they began. Below: from the kill of a keeper until one is at work again. No chat may "
            "fail; only while there is no keeper may one be without memory."
        ),
        lanes={"keeper away": [Span(begin - began, end - began) for begin, end in moved.away]},
        y=Axis(label="chats", unit="/s"),
    )
    return [draw_times("Time of a chat", "chats", times), moves]


def _count_failed(asked: list[Asked]) -> int:
    return sum(each.answer is None for each in asked)


def _find_p99(asked: list[Asked]) -> float | None:
    return percentile([each.answer.seconds * 1000 for each in asked if each.answer is not None], 99)
