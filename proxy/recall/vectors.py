"""Vectors of what is asked, by the model that has made those of memories: at once where it can tell at once, else
within the deadline or later.
"""

import asyncio
import math
from collections import OrderedDict
from collections.abc import Callable
from hashlib import blake2b
from typing import Final

import numpy as np
import structlog
from numpy.typing import NDArray

from proxy.embedders.base import Embedder, NoEmbedder
from proxy.errors import EmbedderError
from proxy.models import EmbeddingModel, Status
from proxy.observe.failopen import FailOpen
from proxy.tasks import Tasks

Vector = NDArray[np.float32]
Open = Callable[[EmbeddingModel], Embedder]

# Vectors of the questions asked last. With 3,072 numbers each, the largest that OpenAI has, these are 12 MB.
_KEPT: Final = 1024

log = structlog.get_logger(__name__)


class Question:
    """One text on its way to its vector. *task* is done at once where the embedder is in this process.

    *name*: the embedder's; None for what no embedder has to be asked for.
    """

    def __init__(self, name: str | None, task: asyncio.Task[Vector | None] | None, vector: Vector | None) -> None:
        self._name = name
        self._task = task
        self._vector = vector

    def suits(self, model: EmbeddingModel | None) -> bool:
        """Whether its vector is one that compares with those of *model*."""
        return model is None or self._name in (None, model.name)

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
NOTHING_ASKED: Final = Question(None, None, np.zeros(0, np.float32))


class QuestionVectors:
    """Asks embedders for vectors, each text once. A slow embedder's answer is kept for when it is asked again.

    *embedder* is the configured one; others are opened by *open_model*, aside, when they are first asked for. Texts are
    known by their digests: what users have asked is kept nowhere.
    """

    def __init__(self, embedder: Embedder, fail_open: FailOpen, tasks: Tasks, open_model: Open | None = None) -> None:
        self._configured = embedder
        self._fail_open = fail_open
        self._tasks = tasks
        self._open_model = open_model
        self._embedders: dict[str, Embedder] = {embedder.name: embedder}
        self._opening = asyncio.Lock()
        # Most likely the one that is meant where nobody knows yet.
        self._latest: EmbeddingModel | None = None
        self._kept: OrderedDict[bytes, Vector] = OrderedDict()
        self._asked: dict[bytes, asyncio.Task[Vector | None]] = {}

    @property
    def model(self) -> str:
        """Whose vectors are asked for, as far as is known."""
        return self._name(self._latest)

    def is_immediate(self, model: EmbeddingModel | None) -> bool:
        """Whether asking costs microseconds. *model*: that of the memories, None while they are not here."""
        return hasattr(self._embedders.get(self._name(model or self._latest)), "embed_now")

    def ask(self, text: str, model: EmbeddingModel | None = None) -> Question:
        """Starts what is to be done for the vector of *text*; *model* as in :meth:`is_immediate`."""
        self._latest = model = model or self._latest
        name = self._name(model)
        embed_now = getattr(self._embedders.get(name), "embed_now", None)
        if embed_now is not None:
            with self._fail_open("embed"):
                return Question(name, None, np.ravel(embed_now([text])))
            return Question(name, None, None)
        key = blake2b(f"{name}\0{text}".encode("utf-8", "surrogatepass"), digest_size=16).digest()
        known = self._kept.get(key)
        if known is not None:
            self._kept.move_to_end(key)
            return Question(name, None, known)
        task = self._asked.get(key)
        if task is None:
            task = self._asked[key] = self._tasks.spawn(self._embed(key, text, model), name="embed-query")
        return Question(name, task, None)

    async def wait(
        self, question: Question, model: EmbeddingModel | None, deadline: float
    ) -> tuple[Status | None, Vector | None]:
        """As :meth:`Question.wait`, for memories whose vectors are of *model*: one of another size is none."""
        trouble, vector = await question.wait(deadline)
        if vector is None or model is None or vector.size == model.dim:
            return trouble, vector
        with self._fail_open("embed"):
            raise EmbedderError(f"{model.name}: a question has {vector.size} dimensions, and memories have {model.dim}")
        return "error", None

    def _name(self, model: EmbeddingModel | None) -> str:
        return self._configured.name if model is None else model.name

    async def _embed(self, key: bytes, text: str, model: EmbeddingModel | None) -> Vector | None:
        try:
            with self._fail_open("embed"):
                embedder = self._configured if model is None else await self._find(model)
                vector: Vector = np.ravel(await embedder.embed([text]))
                self._kept[key] = vector
                if len(self._kept) > _KEPT:
                    self._kept.popitem(last=False)
                return vector
            return None
        finally:
            self._asked.pop(key, None)

    async def _find(self, model: EmbeddingModel) -> Embedder:
        async with self._opening:
            if model.name not in self._embedders:
                self._embedders[model.name] = await self._open(model)
            return self._embedders[model.name]

    async def _open(self, model: EmbeddingModel) -> Embedder:
        try:
            if self._open_model is not None:
                return await asyncio.to_thread(self._open_model, model)
        except EmbedderError as exc:
            log.warning("no_embedder", reason=str(exc), consequence="recall goes by words alone")
        return NoEmbedder()

    async def aclose(self) -> None:
        """Closes what was opened here."""
        for embedder in self._embedders.values():
            if embedder is not self._configured:
                await embedder.aclose()
