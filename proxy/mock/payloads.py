"""What the mock upstream answers with: OpenAI's shapes, as bytes, made without a clock or chance."""

import base64
import hashlib
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any, Final

import msgspec
import numpy as np

MODEL: Final = "mock"
CREATED: Final = 1_700_000_000  # a fixed moment, so that equal requests get equal bytes
DIMENSIONS: Final = 64

_OWN_MODEL: Final = b'"model":"%b"' % MODEL.encode()


def split_words(text: str) -> list[str]:
    """Words with the space behind them, as a model's tokens come."""
    return re.findall(r"\S+\s*", text)


@lru_cache(maxsize=16)
def prebuilt_completion(chunks: int, model: str) -> bytes:
    """A completion of so many words, made once: under load the upstream must not be what is measured."""
    return completion(_numbered(chunks), model)


@lru_cache(maxsize=16)
def prebuilt_events(chunks: int, usage: bool) -> tuple[bytes, ...]:
    """A stream of so many words, made once; one entry is one event. The words are numbered, so that none can be lost
    or change places unnoticed.
    """
    return events(_numbered(chunks), MODEL, usage=usage)


def name_model(events: Iterable[bytes], model: str) -> Iterable[bytes]:
    """*events* of the mock's own model as *model*'s, so that a load test can tell its streams from each other."""
    if model == MODEL:
        return events
    wanted = b'"model":%b' % msgspec.json.encode(model)
    return (event.replace(_OWN_MODEL, wanted, 1) for event in events)


def _numbered(words: int) -> list[str]:
    return [f"word{number} " for number in range(words)]


def completion(words: Sequence[str], model: str) -> bytes:
    """The body of a ``chat.completion``."""
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": "".join(words), "refusal": None},
        "logprobs": None,
        "finish_reason": "stop",
    }
    return msgspec.json.encode(
        {**_head("chat.completion", model), "choices": [choice], "usage": _usage(len(words))},
    )


def events(words: Sequence[str], model: str, *, usage: bool) -> tuple[bytes, ...]:
    """The events of a ``chat.completion.chunk`` stream: role, one event a word, the end, usage if asked, ``[DONE]``."""
    deltas: list[tuple[dict[str, str], str | None]] = [({"role": "assistant", "content": ""}, None)]
    deltas += [({"content": word}, None) for word in words]
    deltas += [({}, "stop")]
    head = _head("chat.completion.chunk", model)
    chunks: list[dict[str, Any]] = [
        {**head, "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}]}
        for delta, reason in deltas
    ]
    if usage:
        chunks.append({**head, "choices": [], "usage": _usage(len(words))})
    return (*(b"data: %b\n\n" % msgspec.json.encode(chunk) for chunk in chunks), b"data: [DONE]\n\n")


def _head(kind: str, model: str) -> dict[str, Any]:
    return {"id": "chatcmpl-mock", "object": kind, "created": CREATED, "model": model}


def _usage(completion: int) -> dict[str, int]:
    return {"prompt_tokens": 0, "completion_tokens": completion, "total_tokens": completion}


def models() -> bytes:
    """The list of the one model there is."""
    model = {"id": MODEL, "object": "model", "created": CREATED, "owned_by": "memory-proxy"}
    return msgspec.json.encode({"object": "list", "data": [model]})


def embeddings(texts: Sequence[str], *, model: str, encoding: str) -> bytes:
    """One vector a text: the same words, the same vector."""
    rows = [
        {"object": "embedding", "index": index, "embedding": _encode_vector(text, encoding)}
        for index, text in enumerate(texts)
    ]
    usage = {"prompt_tokens": 0, "total_tokens": 0}
    return msgspec.json.encode({"object": "list", "data": rows, "model": model, "usage": usage})


def _encode_vector(text: str, encoding: str) -> str | list[float]:
    vector = np.zeros(DIMENSIONS, dtype="<f4")
    for word in text.lower().split() or [""]:
        vector[hashlib.blake2b(word.encode(), digest_size=1).digest()[0] % DIMENSIONS] += 1
    vector /= np.linalg.norm(vector)
    return base64.b64encode(vector.tobytes()).decode() if encoding == "base64" else vector.tolist()
