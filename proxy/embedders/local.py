"""Static word vectors from the ``wordllama`` wheel: no network, no key, 20 µs a question."""

import asyncio
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file
from tokenizers import Tokenizer

from proxy.embedders.base import Vectors
from proxy.errors import EmbedderError

_WEIGHTS: Final = "weights/l2_supercat_256.safetensors"
_TOKENIZER: Final = "tokenizers/l2_supercat_tokenizer_config.json"
# 150 tokens at about four characters bound the cost. Against whole texts the share of evidence inside 500 / 1,000 /
# 2,000 tokens is .658/.687/.748 to .630/.676/.755 on BEAM and the same on LongMemEval, whose evidence is short.
_MAX_CHARS: Final = 600
# Texts that are cut into tokens together.
_AT_ONCE: Final = 64


class LocalEmbedder:
    """The mean of its tokens' static vectors stands for a text; only its first 600 characters are looked at.

    The weights are read with the libraries that ``wordllama`` itself reads them with. Importing the package would
    cost 44 MB more (pydantic, requests, the weights a second time as float32), call ``logging.basicConfig``, and give
    the same vectors to the last bit. Constructing reads 18 MB from disk in about 60 ms, and may be done in a thread.
    Raises EmbedderError when the wheel's files are missing.
    """

    name: Final = "wordllama-l2-supercat-256"
    dim: Final = 256

    def __init__(self) -> None:
        folder = _find_wheel()
        try:
            self._tokenizer = Tokenizer.from_file(str(folder / _TOKENIZER))
            self._weights = load_file(folder / _WEIGHTS)["embedding.weight"]
        except (OSError, SafetensorError, KeyError) as exc:
            raise EmbedderError(f"the word vectors in {folder} cannot be read: {exc}") from exc
        # It would keep 10,000 texts, what was erased among them, and how each is cut up: 60 MB. Few come twice.
        self._tokenizer.model._resize_cache(0)  # there is no other way
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()

    def embed_now(self, texts: Sequence[str]) -> Vectors:
        """As :meth:`embed`, at once: 20 µs for a question, up to 200 µs for a text of 600 characters or more."""
        vectors = np.zeros((len(texts), self.dim), np.float32)
        for start in range(0, len(texts), _AT_ONCE):
            some = [_cut(text) for text in texts[start : start + _AT_ONCE]]
            for tokens, vector in zip(self._tokenize(some), vectors[start:], strict=False):
                self._sum_into(vector, tokens)
        return vectors

    def _tokenize(self, texts: list[str]) -> list[list[int]]:
        if len(texts) == 1:
            return [self._tokenizer.encode(texts[0], add_special_tokens=False).ids]
        # Half the cost, and without the interpreter's lock.
        return [found.ids for found in self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)]

    async def embed(self, texts: Sequence[str]) -> Vectors:
        """In a thread, since a batch takes longer than an event loop should."""
        return await asyncio.to_thread(self.embed_now, texts)

    async def aclose(self) -> None:
        pass

    def _sum_into(self, vector: Vectors, tokens: list[int]) -> None:
        if not tokens:
            return
        total = self._weights.take(tokens, axis=0).astype(np.float32).sum(axis=0)
        length = np.sqrt(total @ total)
        if length > 0:
            np.divide(total, length, out=vector)


def _cut(text: str) -> str:
    """The beginning of *text*, without words nothing: white space has tokens, too."""
    text = text[:_MAX_CHARS]
    return text if text.strip() else ""


def _find_wheel() -> Path:
    spec = find_spec("wordllama")  # finds without importing
    if spec is None or not spec.submodule_search_locations:
        raise EmbedderError("wordllama is not installed: reinstall memory-proxy, or set embedding.provider: none")
    return Path(spec.submodule_search_locations[0])
