"""An embedder whose calls are timed."""

import time
from collections.abc import Callable, Sequence

from proxy.embedders.base import Embedder, Vectors

Observe = Callable[[float], None]
EmbedNow = Callable[[Sequence[str]], Vectors]


class MeasuredEmbedder:
    """As *embedder*; *observe* hears how long each call took, also one that fails."""

    def __init__(self, embedder: Embedder, observe: Observe) -> None:
        self._embedder = embedder
        self._observe = observe

    @property
    def name(self) -> str:
        """As :class:`Embedder` has it."""
        return self._embedder.name

    @property
    def dim(self) -> int | None:
        """As :class:`Embedder` has it."""
        return self._embedder.dim

    async def embed(self, texts: Sequence[str]) -> Vectors:
        """As :class:`Embedder` has it."""
        began = time.perf_counter()
        try:
            return await self._embedder.embed(texts)
        finally:
            self._observe(time.perf_counter() - began)

    async def aclose(self) -> None:
        """As :class:`Embedder` has it."""
        await self._embedder.aclose()


class MeasuredImmediate(MeasuredEmbedder):
    """As an embedder that need not be waited for, which is told by its having ``embed_now``."""

    def __init__(self, embedder: Embedder, embed_now: EmbedNow, observe: Observe) -> None:
        super().__init__(embedder, observe)
        self._embed_now = embed_now

    def embed_now(self, texts: Sequence[str]) -> Vectors:
        """As :meth:`embed`, at once."""
        began = time.perf_counter()
        try:
            return self._embed_now(texts)
        finally:
            self._observe(time.perf_counter() - began)


def measure(embedder: Embedder, observe: Observe) -> Embedder:
    """*embedder* with its calls timed, at once where it is one that can do so."""
    embed_now: EmbedNow | None = getattr(embedder, "embed_now", None)
    if embed_now is None:
        return MeasuredEmbedder(embedder, observe)
    return MeasuredImmediate(embedder, embed_now, observe)
