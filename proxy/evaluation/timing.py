"""How long recall takes, by how much a user has said, and what taking in one more exchange costs."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import cycle, islice
from typing import Final

import msgspec
import numpy as np

from proxy.embedders.base import Embedder
from proxy.evaluation.archive import MemoriesOf, make_findable, pick
from proxy.evaluation.chat import PackKeeper, make_service, recall
from proxy.models import Memory, Message, Pack, Scope
from proxy.reporting.charts import Sample
from proxy.tasks import Tasks

SIZES: Final = (100, 1_000, 10_000)
# p99 of so many is the fourth-slowest.
RECALLS: Final = 400
INSERTS: Final = 100
_WARM_UP: Final = 20
# An exchange: what the user said, and the answer.
_EXCHANGE: Final = 2
_SCOPE: Final = Scope("somebody")


@dataclass(frozen=True, slots=True)
class Spread:
    """Milliseconds: half of the times, and all but one in a hundred, are shorter than these."""

    p50: float
    p99: float


@dataclass(frozen=True, slots=True)
class SizeTiming:
    """Recalls of one user with so many memories: by the clock, and of the processor."""

    memories: int
    wall_ms: Spread
    cpu_ms: Spread


@dataclass(frozen=True, slots=True)
class Timing:
    """Recalls by size; and with the largest, adding an exchange, and the recall right after it."""

    sizes: list[SizeTiming]
    insert_ms: Spread
    next_ms: Spread


@dataclass(slots=True)
class _Watch:
    """Times what is done within it, in seconds."""

    wall_s: list[float] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)
    _began: tuple[float, float] = (0.0, 0.0)

    def __enter__(self) -> None:
        self._began = (time.perf_counter(), time.process_time())

    def __exit__(self, *_: object) -> None:
        wall, cpu = self._began
        self.wall_s.append(time.perf_counter() - wall)
        self.cpu_s.append(time.process_time() - cpu)


async def measure_timing(
    memories: MemoriesOf,
    questions: Sequence[str],
    embedder: Embedder,
    *,
    sizes: Sequence[int] = SIZES,
    progress: Callable[[int], None] = lambda _: None,
) -> tuple[Timing, dict[str, Sample]]:
    """Recall with one user's memories of each size, made of what everybody has said; *progress* hears of sizes done.

    The samples are of recalls by the clock, in milliseconds.
    """
    pack = await _make_pack(memories, max(sizes) + INSERTS * _EXCHANGE, embedder)
    measured: list[SizeTiming] = []
    samples: dict[str, Sample] = {}
    for done, size in enumerate(sizes, start=1):
        user = _User(pick(pack, range(size)), embedder)
        watch = await user.time_recalls(questions)
        measured.append(SizeTiming(size, summarise_ms(watch.wall_s), summarise_ms(watch.cpu_s)))
        samples[f"{size:,} memories"] = Sample.of(watch.wall_s, scale=1000)
        progress(done)
    inserts, following = await user.time_inserts(pack, questions)
    samples["right after an exchange"] = Sample.of(following.wall_s, scale=1000)
    return Timing(measured, summarise_ms(inserts.wall_s), summarise_ms(following.wall_s)), samples


class _User:
    """A user whose memories are warm, and who asks each question in a new conversation."""

    def __init__(self, pack: Pack, embedder: Embedder) -> None:
        self._size = len(pack.memories)
        tasks = Tasks()
        self._keeper = PackKeeper(pack, tasks)
        self._service = make_service(self._keeper, embedder, tasks, "system")

    async def time_recalls(self, questions: Sequence[str]) -> _Watch:
        watch = _Watch()
        asked = cycle(questions)
        for text in islice(asked, _WARM_UP):
            await self._recall(text)
        for text in islice(asked, RECALLS):
            with watch:
                await self._recall(text)
        return watch

    async def time_inserts(self, pack: Pack, questions: Sequence[str]) -> tuple[_Watch, _Watch]:
        """Adds what *pack* has beyond this user's memories, an exchange at a time, with a question after each."""
        inserts, following = _Watch(), _Watch()
        for first, text in zip(range(self._size, len(pack.memories), _EXCHANGE), cycle(questions), strict=False):
            exchange = pick(pack, range(first, first + _EXCHANGE))
            with inserts:
                self._keeper.add(_SCOPE, exchange)
            with following:
                await self._recall(text)
        return inserts, following

    async def _recall(self, text: str) -> None:
        await recall(self._service, _SCOPE, [Message("user", text)])


async def _make_pack(memories: MemoriesOf, size: int, embedder: Embedder) -> Pack:
    pooled = [memory for said in memories.values() for memory in said]
    return await make_findable([_repeat(pooled, number) for number in range(size)], embedder)


def _repeat(pooled: Sequence[Memory], number: int) -> Memory:
    """The one of that *number*; beyond what there is, the same again with a word more, in another conversation."""
    times, place = divmod(number, len(pooled))
    memory = pooled[place]
    return msgspec.structs.replace(
        memory,
        id=str(number),
        user_id=_SCOPE.user_id,
        conversation_id=f"{memory.user_id}/{memory.conversation_id}/{times}",
        text=f"{memory.text} word{times}" if times else memory.text,
    )


def summarise_ms(seconds: Sequence[float]) -> Spread:
    """Quantiles of *seconds*, in milliseconds."""
    p50, p99 = np.quantile(seconds, (0.5, 0.99)) * 1000
    return Spread(round(float(p50), 3), round(float(p99), 3))
