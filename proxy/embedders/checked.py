"""An embedder that is held to the size of its vectors."""

from collections.abc import Sequence

from proxy.embedders.base import Embedder, Vectors
from proxy.embedders.measured import EmbedNow
from proxy.errors import EmbedderError


class CheckedEmbedder:
    """As *embedder*, but for vectors that have not *dim* numbers, which no caller gets to see: EmbedderError says so.

    With None they have as many as the first ones had. What an endpoint calls by one name may become another model.
    """

    def __init__(self, embedder: Embedder, dim: int | None) -> None:
        self._embedder = embedder
        self.dim = dim

    @property
    def name(self) -> str:
        """As :class:`Embedder` has it."""
        return self._embedder.name

    async def embed(self, texts: Sequence[str]) -> Vectors:
        """As :class:`Embedder` has it."""
        return self._check(await self._embedder.embed(texts))

    async def aclose(self) -> None:
        """As :class:`Embedder` has it."""
        await self._embedder.aclose()

    def _check(self, vectors: Vectors) -> Vectors:
        if not len(vectors):
            return vectors
        size = vectors.shape[1]
        if self.dim is None:
            self.dim = size
        if size != self.dim:
            raise EmbedderError(
                f"{self.name}: its vectors have {size} dimensions, and those that memories have been given {self.dim}: "
                "see that it is the same model, or run memory-proxy reembed"
            )
        return vectors


class CheckedImmediate(CheckedEmbedder):
    """As an embedder that need not be waited for, which is told by its having ``embed_now``."""

    def __init__(self, embedder: Embedder, embed_now: EmbedNow, dim: int | None) -> None:
        super().__init__(embedder, dim)
        self._embed_now = embed_now

    def embed_now(self, texts: Sequence[str]) -> Vectors:
        """As :meth:`embed`, at once."""
        return self._check(self._embed_now(texts))


def check(embedder: Embedder, dim: int | None = None) -> Embedder:
    """*embedder* held to *dim*, at once where it is one that can do so."""
    embed_now: EmbedNow | None = getattr(embedder, "embed_now", None)
    return CheckedEmbedder(embedder, dim) if embed_now is None else CheckedImmediate(embedder, embed_now, dim)
