"""A process that makes vectors and terms, for one that stores thousands of memories.

Chroma holds Python's lock while it writes, so that within one process nothing else gets on meanwhile.
"""

import asyncio
import struct
from asyncio.subprocess import PIPE, Process
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType
from typing import Final, NamedTuple, Self

import msgspec
import numpy as np
import structlog

from proxy import children, cores
from proxy.embedders.base import Vectors
from proxy.models import EmbeddingModel
from proxy.tasks import Tasks

LENGTH: Final = struct.Struct(">I")
# Other models are asked over the network, which costs no processor's time.
LOCAL: Final = "local"
MODULE: Final = "proxy.remember.analysing"
END_S: Final = 2.0

log = structlog.get_logger(__name__)


class Order(NamedTuple):
    """What the process is to do: embed by the model that is called so, on these *cores* if there are any."""

    model: str
    cores: set[int]


class Task(msgspec.Struct, array_like=True, frozen=True):
    """*texts* to be embedded, and what was *said*, with the speaker's name, to find terms in."""

    texts: Sequence[str]
    said: Sequence[tuple[str, str | None]]


class Analysis(msgspec.Struct, array_like=True, frozen=True):
    """Vectors of the texts, as float32 one behind the other, and terms in stored form."""

    vectors: bytes
    terms: list[bytes]


_analyses: Final = msgspec.msgpack.Decoder(Analysis)


class Analyst:
    """A *process*, which is started when it is first needed. For one event loop."""

    def __init__(self) -> None:
        self.process: Process | None = None
        self._is_gone = False
        self._tasks = Tasks()
        # In the order in which they were asked for. Nobody may wait for one any more.
        self._answers: deque[asyncio.Future[bytes]] = deque()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_gone = True
        if self.process is not None:
            await children.end(self.process, within_s=END_S)
            await self._tasks.drain()

    async def analyse(self, model: EmbeddingModel, task: Task) -> tuple[Vectors, list[bytes]] | None:
        """Vectors by *model* and terms; None where they have to be made elsewhere. Always the same model."""
        if self._is_gone or model.provider != LOCAL:
            return None
        try:
            if self.process is None:
                self.process = await children.start(MODULE, Order(model.name, cores.find_spare()), stdout=PIPE)
                self._tasks.spawn(self._listen(self.process), name="analyst")
            analysis = _analyses.decode(await self._ask(self.process, msgspec.msgpack.encode(task)))
        except (OSError, RuntimeError, msgspec.MsgspecError) as exc:
            # RuntimeError: uvloop's word for a process that is gone already.
            self._give_up(type(exc).__name__)
            return None
        return np.frombuffer(analysis.vectors, np.float32).reshape(len(task.texts), model.dim), analysis.terms

    async def _ask(self, process: Process, task: bytes) -> bytes:
        if process.stdin is None:
            raise OSError("it has no standard input")
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._answers.append(answer)
        process.stdin.write(LENGTH.pack(len(task)) + task)
        return await answer

    async def _listen(self, process: Process) -> None:
        """Reads all that it says, whoever has given up: asyncio sees no end of a process whose pipe is full."""
        if process.stdout is None:
            raise OSError("it has no standard output")
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                (length,) = LENGTH.unpack(await process.stdout.readexactly(LENGTH.size))
                said = await process.stdout.readexactly(length)
                if not (answer := self._answers.popleft()).done():
                    answer.set_result(said)
        self._give_up("it has ended")
        for answer in self._answers:
            if not answer.done():
                answer.set_exception(ConnectionError("it has ended"))

    def _give_up(self, reason: str) -> None:
        if not self._is_gone:
            log.warning("analyst_gone", reason=reason)
        self._is_gone = True
