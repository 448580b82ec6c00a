"""Vectors of what is asked: at once where the embedder can tell at once, else within the deadline or later."""

import asyncio
import math
from collections import OrderedDict
from hashlib import blake2b
from typing import Final

import numpy as np
from numpy.typing import NDArray

from proxy.embedders.base import Embedder
from proxy.models import Status
from proxy.observe.failopen import FailOpen
from proxy.tasks import Tasks

Vector = NDArray[np.float32]

# Vectors of the questions asked last. With 3,072 numbers each, the largest that OpenAI has, these are 12 MB.
_KEPT: Final = 1024


class Question:
    """One text on its way to its vector. *task* is done at once where the embedder is in this process."""

    def __init__(self, task: asyncio.Task[Vector | None] | None, vector: Vector | None) -> None:
        self._task = task
        self._vector = vector

    @property
    def late(self) -> bool:
        """Whether the vector is still to come."""
        return self._task is not None and not self._task.done()

    async def wait(self, deadline: float) -> tuple[Status | None, Vector | None]:
        """The vector, or why there is none by *deadline*, a time of the loop's clock. None for an embedder without."""
        if self._task is not None:
            left = max(0.0, deadline - asyncio.get_running_loop().time())
            await asyncio.wait((self._task,), timeout=None if left == math.inf else left)
            if not self._task.done():
                return "timeout", None
            self._vector = self._task.result()
        if self._vector is None:
            return "error", None
        return None, self._vector if self._vector.size else None


# For a text that asks nothing: there is no vector, and none to wait for.
NOTHING_ASKED: Final = Question(None, np.zeros(0, np.float32))


class QuestionVectors:
    """Asks the embedder for vectors, each text once. A slow embedder's answer is kept for when it is asked again.

    Texts are known by their digests: what users have asked is kept nowhere.
    """

    def __init__(self, embedder: Embedder, fail_open: FailOpen, tasks: Tasks) -> None:
        self._embedder = embedder
        self._fail_open = fail_open
        self._tasks = tasks
        self._kept: OrderedDict[bytes, Vector] = OrderedDict()
        self._asked: dict[bytes, asyncio.Task[Vector | None]] = {}

    @property
    def model(self) -> str:
        """Whose vectors they are."""
        return self._embedder.name

    @property
    def immediate(self) -> bool:
        """Whether asking costs microseconds."""
        return hasattr(self._embedder, "embed_now")

    def ask(self, text: str) -> Question:
        """Starts what is to be done for the vector of *text*."""
        embed_now = getattr(self._embedder, "embed_now", None)
        if embed_now is not None:
            with self._fail_open("embed"):
                return Question(None, np.ravel(embed_now([text])))
            return Question(None, None)
        key = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
        known = self._kept.get(key)
        if known is not None:
            self._kept.move_to_end(key)
            return Question(None, known)
        task = self._asked.get(key)
        if task is None:
            task = self._asked[key] = self._tasks.spawn(self._embed(key, text), name="embed-query")
        return Question(task, None)

    async def _embed(self, key: bytes, text: str) -> Vector | None:
        try:
            with self._fail_open("embed"):
                vector: Vector = np.ravel(await self._embedder.embed([text]))
                self._kept[key] = vector
                if len(self._kept) > _KEPT:
                    self._kept.popitem(last=False)
                return vector
            return None
        finally:
            self._asked.pop(key, None)
