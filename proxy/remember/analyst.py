"""A process that makes vectors and terms, for one that stores thousands of memories.

Chroma holds Python's lock while it writes, so that within one process nothing else gets on meanwhile.
"""

import asyncio
import struct
from asyncio.subprocess import PIPE, Process
from collections.abc import Sequence
from types import TracebackType
from typing import Final, NamedTuple, Self

import msgspec
import numpy as np
import structlog

from proxy import children, cores
from proxy.embedders.base import Vectors
from proxy.models import EmbeddingModel

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
    """A *process*, which is started when it is first needed. For one event loop, and one caller at a time."""

    def __init__(self) -> None:
        self.process: Process | None = None
        self._is_gone = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process is not None and self.process.stdout is not None:
            # What it still says is read: asyncio sees no end of a process whose pipe is full.
            await asyncio.gather(children.end(self.process, within_s=END_S), self.process.stdout.read())

    async def analyse(self, model: EmbeddingModel, task: Task) -> tuple[Vectors, list[bytes]] | None:
        """Vectors by *model* and terms; None where they have to be made elsewhere. Always the same model."""
        if self._is_gone or model.provider != LOCAL:
            return None
        try:
            if self.process is None:
                self.process = await children.start(MODULE, Order(model.name, cores.find_spare()), stdout=PIPE)
            analysis = _analyses.decode(await _ask(self.process, msgspec.msgpack.encode(task)))
        except (OSError, asyncio.IncompleteReadError, RuntimeError, msgspec.MsgspecError) as exc:
            # RuntimeError: uvloop's word for a process that is gone already.
            log.warning("analyst_gone", reason=type(exc).__name__)
            self._is_gone = True
            return None
        return np.frombuffer(analysis.vectors, np.float32).reshape(len(task.texts), model.dim), analysis.terms


async def _ask(process: Process, task: bytes) -> bytes:
    if process.stdin is None or process.stdout is None:
        raise OSError("no pipes")
    process.stdin.write(LENGTH.pack(len(task)) + task)
    await process.stdin.drain()
    (length,) = LENGTH.unpack(await process.stdout.readexactly(LENGTH.size))
    return await process.stdout.readexactly(length)
