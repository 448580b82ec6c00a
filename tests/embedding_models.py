"""Embedding models behind an OpenAI-compatible endpoint, whose vectors a test can tell, and tell apart."""

import asyncio
import json
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b
from typing import Any

import numpy as np
from starlette.types import Receive, Scope, Send

from proxy.config import Settings, load
from proxy.embedders.base import Vectors, pack_vector
from tests.processes import WAIT_S, read_body, send_json, serve_in_thread

# What is known of a model is the size of its vectors.
SIZES = {"old": 8, "new": 12, "newer": 8}


def vector(model: str, text: str, size: int | None = None) -> Vectors:
    """What *model* makes of *text*: a unit vector that hardly resembles any other one."""
    seed = int.from_bytes(blake2b(f"{model}\0{text}".encode(), digest_size=8).digest())
    drawn = np.random.default_rng(seed).normal(size=SIZES[model] if size is None else size)
    return (drawn / np.linalg.norm(drawn)).astype(np.float32)


def packed(model: str, *texts: str) -> bytes:
    """What is stored of these texts."""
    return b"".join(pack_vector(vector(model, text)) for text in texts)


class Models:
    """``POST /v1/embeddings``. *asked* counts texts by model.

    *broken*: models that refuse; *sizes*: those of which vectors have another size than they should; *shifting*:
    those that answer otherwise each time. A model in *held* answers when *free* is set; *entered* tells that it was
    asked.
    """

    def __init__(self) -> None:
        self.url = ""
        self.reset()

    def reset(self) -> None:
        self.asked: Counter[str] = Counter()
        self.broken: set[str] = set()
        self.sizes: dict[str, int] = {}
        self.shifting: set[str] = set()
        self.held: set[str] = set()
        self.entered = threading.Event()
        self.free = threading.Event()
        self.keys: set[str] = set()
        self.refused = 0

    def settings(self, data_dir: Any, model: str | None, **sections: Any) -> Settings:
        """A configuration with one of these models, or with None the one that comes along."""
        chosen = {} if model is None else {"provider": "openai", "model": model, "base_url": self.url, "api_key": "k"}
        return load(flags={"data_dir": data_dir, "embedding": chosen, **sections}, environ={})

    def variables(self, model: str) -> dict[str, str]:
        """The same for a process."""
        chosen = {"PROVIDER": "openai", "MODEL": model, "BASE_URL": self.url, "API_KEY": "k"}
        return {f"MEMORY_PROXY_EMBEDDING__{name}": value for name, value in chosen.items()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        asked = json.loads(await read_body(receive))
        model, texts = asked["model"], asked["input"]
        self.keys.add(dict(scope["headers"]).get(b"authorization", b"").decode())
        if model in self.held:
            self.entered.set()
            await asyncio.to_thread(self.free.wait, WAIT_S)
        if model in self.broken:
            self.refused += 1
            await send_json(send, b"{}", 400)  # which is not tried again
            return
        self.asked[model] += len(texts)
        mark = str(self.asked[model]) if model in self.shifting else ""
        rows = [vector(model, text + mark, self.sizes.get(model)).tolist() for text in texts]
        await send_json(send, json.dumps({"data": [{"embedding": row} for row in rows]}).encode())


@contextmanager
def serving_models() -> Iterator[Models]:
    """An endpoint with these models."""
    models = Models()
    with serve_in_thread(models) as url:
        models.url = f"{url}/v1"
        yield models
