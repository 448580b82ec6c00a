"""Embeddings from any OpenAI-compatible endpoint, through the official client."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from openai import AsyncOpenAI, OpenAIError

from proxy.embedders.base import Vectors
from proxy.errors import EmbedderError

# Models of this kind read 8,192 tokens; the densest scripts have about one token a character.
MAX_CHARACTERS: Final = 8_000
# The API takes 2,048 inputs and 300,000 tokens a call; 32 of the longest stay below both.
BATCH: Final = 32
TIMEOUT_S: Final = 30.0


class OpenAIEmbedder:
    """Vectors of unit length from ``POST {base_url}/embeddings``. Errors of any kind come out as EmbedderError."""

    def __init__(self, *, model: str, base_url: str, api_key: str) -> None:
        self.name: Final = f"openai:{model}"
        self.dim: int | None = None
        self._model = model
        self._client = AsyncOpenAI(base_url=base_url, api_key=api_key, timeout=TIMEOUT_S, max_retries=1)

    async def embed(self, texts: Sequence[str]) -> Vectors:
        """One unit row a text."""
        rows: list[list[float]] = []
        try:
            for start in range(0, len(texts), BATCH):
                # The API refuses empty strings.
                batch = [text[:MAX_CHARACTERS] or " " for text in texts[start : start + BATCH]]
                answer = await self._client.embeddings.create(model=self._model, input=batch, encoding_format="float")
                rows += [item.embedding for item in answer.data]
        except OpenAIError as exc:
            raise EmbedderError(f"{self.name}: {type(exc).__name__}: {exc}") from exc
        return self._unit_rows(rows, len(texts))

    def _unit_rows(self, rows: list[list[float]], expected: int) -> Vectors:
        lengths = {len(row) for row in rows}
        if len(rows) != expected or len(lengths) > 1 or 0 in lengths:
            raise EmbedderError(f"{self.name}: asked for {expected} vectors, got {len(rows)} of lengths {lengths}")
        vectors = np.array(rows, np.float32).reshape(expected, -1)
        if not np.isfinite(vectors).all():
            raise EmbedderError(f"{self.name}: a vector is not finite")
        if rows:
            self.dim = vectors.shape[1]
        norms = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))[:, None]
        unit: Vectors = np.divide(vectors, norms, out=np.zeros_like(vectors), where=norms > 0)
        return unit

    async def aclose(self) -> None:
        """Closes the connections."""
        await self._client.close()
