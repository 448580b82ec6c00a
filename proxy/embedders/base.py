"""What an embedder is, and where to find them."""

from collections.abc import Sequence
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]

# ``embedding.provider`` → "module:Class", imported only when chosen.
EMBEDDERS: Final[dict[str, str]] = {
    "local": "proxy.embedders.local:LocalEmbedder",
    "openai": "proxy.embedders.openai:OpenAIEmbedder",
    "none": "proxy.embedders.base:NoEmbedder",
}


class Embedder(Protocol):
    """Turns texts into vectors of unit length."""

    @property
    def name(self) -> str:
        """Which model this is; recorded with the store, since vectors of different models do not compare."""

    @property
    def dim(self) -> int | None:
        """Numbers in a vector; None until the first answer of a model that does not tell before."""

    async def embed(self, texts: Sequence[str]) -> Vectors:
        """One unit row a text, or zeros for a text without anything to embed. Raises EmbedderError."""

    async def aclose(self) -> None:
        """Let go of connections and files."""


class NoEmbedder:
    """Words alone: every vector is empty."""

    name: Final = "none"
    dim: Final = 0

    async def embed(self, texts: Sequence[str]) -> Vectors:
        return self.embed_now(texts)

    def embed_now(self, texts: Sequence[str]) -> Vectors:
        return np.zeros((len(texts), 0), np.float32)

    async def aclose(self) -> None:
        pass


def pack_vector(row: Vectors) -> bytes:
    """A vector in stored form, little-endian float16: half the bytes, and cosines change by less than 0.001."""
    return row.astype("<f2").tobytes()
