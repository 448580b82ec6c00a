"""Embeddings from any OpenAI-compatible endpoint, through the official client."""

from collections.abc import Sequence
from typing import Final

import httpx2
import msgspec
import numpy as np
from openai import APIStatusError, AsyncOpenAI, OpenAIError

from proxy.config import Upstream as UpstreamSettings
from proxy.embedders.base import Vectors
from proxy.errors import EmbedderError
from proxy.upstream import Upstream
from proxy.upstream.transport import NO_KEY, Transport

# Models of this kind read 8,192 tokens; the densest scripts have about one token a character.
MAX_CHARACTERS: Final = 8_000
# The API takes 2,048 inputs and 300,000 tokens a call; 32 of the longest stay below both.
BATCH: Final = 32
TIMEOUT_S: Final = 30.0
# No model's numbers come near it, and squares of smaller ones have room in a double.
LARGEST: Final = 1e100


class _Item(msgspec.Struct):
    embedding: list[float]


class _Answer(msgspec.Struct):
    """What is read of an answer. The client's own models take anything for it that is JSON."""

    data: list[_Item]


_answers = msgspec.json.Decoder(_Answer)


class OpenAIEmbedder:
    """Vectors of unit length from ``POST {base_url}/embeddings``. Errors of any kind come out as EmbedderError.

    Their messages end up in logs and in ``/readyz``, so they repeat nothing of the provider's, who may quote the text
    or the key.
    """

    def __init__(self, *, model: str, upstream: UpstreamSettings, api_key: str) -> None:
        self.name: Final = f"openai:{model}"
        self.dim: int | None = None
        self._model = model
        self._client = AsyncOpenAI(
            base_url=upstream.address.origin + upstream.address.prefix,
            api_key=api_key or NO_KEY,
            timeout=TIMEOUT_S,
            max_retries=1,
            # Certificates, sockets and forward proxies are those of the upstream.
            http_client=httpx2.AsyncClient(transport=Transport(Upstream(upstream)), timeout=TIMEOUT_S),
        )

    async def embed(self, texts: Sequence[str]) -> Vectors:
        """One unit row a text."""
        rows: list[list[float]] = []
        for start in range(0, len(texts), BATCH):
            # The API refuses empty strings.
            rows += await self._ask([text[:MAX_CHARACTERS] or " " for text in texts[start : start + BATCH]])
        return self._unit_rows(rows, len(texts))

    async def _ask(self, batch: list[str]) -> list[list[float]]:
        try:
            raw = await self._client.embeddings.with_raw_response.create(
                model=self._model, input=batch, encoding_format="float"
            )
            return [item.embedding for item in _answers.decode(raw.content).data]
        except APIStatusError as exc:
            raise EmbedderError(f"{self.name}: {type(exc).__name__}, status {exc.status_code}") from exc
        except OpenAIError as exc:
            raise EmbedderError(f"{self.name}: {type(exc).__name__}") from exc
        except (msgspec.MsgspecError, UnicodeDecodeError) as exc:
            raise EmbedderError(f"{self.name}: what came is no list of embeddings") from exc

    def _unit_rows(self, rows: list[list[float]], expected: int) -> Vectors:
        lengths = {len(row) for row in rows}
        if len(rows) != expected or len(lengths) > 1 or 0 in lengths:
            raise EmbedderError(f"{self.name}: asked for {expected} vectors, got {len(rows)} of lengths {lengths}")
        if not rows:
            return np.zeros((0, self.dim or 0), np.float32)
        vectors = np.array(rows, np.float64)
        if not (np.abs(vectors) < LARGEST).all():
            raise EmbedderError(f"{self.name}: a vector is not finite")
        self.dim = vectors.shape[1]
        norms = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))[:, None]
        np.divide(vectors, norms, out=vectors, where=norms > 0)
        return vectors.astype(np.float32)

    async def aclose(self) -> None:
        """Closes the connections."""
        await self._client.close()
