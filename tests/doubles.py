"""Stand-ins for parts that tests want to be slow, or broken."""

import asyncio
from collections.abc import Callable, Sequence

import numpy as np

from proxy.embedders.base import Vectors


class HeldEmbedder:
    """Does not answer until *free* is set; *entered* tells that it was asked, *cancelled* that its caller gave up."""

    name = "held"
    dim = 4

    def __init__(self) -> None:
        self.entered = asyncio.Event()
        self.cancelled = asyncio.Event()
        self.free = asyncio.Event()

    async def embed(self, texts: Sequence[str]) -> Vectors:
        self.entered.set()
        try:
            await self.free.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return np.full((len(texts), self.dim), 0.5, np.float32)

    async def aclose(self) -> None:
        pass


class FailingEmbedder:
    """Raises what *failure* makes, as long as there is one."""

    name = "failing"
    dim = 4

    def __init__(self, failure: Callable[[], Exception] | None) -> None:
        self.failure = failure

    async def embed(self, texts: Sequence[str]) -> Vectors:
        if self.failure is not None:
            raise self.failure()
        return np.full((len(texts), self.dim), 0.5, np.float32)

    async def aclose(self) -> None:
        pass
