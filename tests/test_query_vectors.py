"""Vectors of questions: asked for once, kept, and never waited for longer than the deadline."""

import asyncio
import math
from collections.abc import Sequence

import numpy as np
import pytest

from proxy.embedders.base import NoEmbedder, Vectors
from proxy.errors import EmbedderError
from proxy.observe.failopen import FailOpen
from proxy.observe.metrics import Metrics
from proxy.recall import vectors
from proxy.recall.vectors import QuestionVectors
from proxy.tasks import Tasks
from tests.doubles import FailingEmbedder, HeldEmbedder
from tests.harness.upstream import within

PASSED = 0.0


class Counting(HeldEmbedder):
    """Keeps what it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    async def embed(self, texts: Sequence[str]) -> Vectors:
        self.asked += texts
        return await super().embed(texts)


def asking(embedder: HeldEmbedder | FailingEmbedder | NoEmbedder, tasks: Tasks | None = None) -> QuestionVectors:
    return QuestionVectors(embedder, FailOpen(Metrics()), tasks or Tasks())


async def test_a_text_is_asked_for_once() -> None:
    """Also while its vector is on its way; afterwards it is there without waiting."""
    embedder = Counting()
    questions = asking(embedder)
    first, second = questions.ask("tea"), questions.ask("tea")
    embedder.free.set()
    for question in (first, second, questions.ask("tea")):
        trouble, vector = await within(question.wait(math.inf))
        assert trouble is None
        assert vector is not None
        assert vector.tolist() == [0.5] * 4
    assert not questions.ask("tea").late
    assert embedder.asked == ["tea"]


async def test_a_vector_that_is_late_is_kept() -> None:
    """The deadline ends the wait and not the asking."""
    embedder, tasks = Counting(), Tasks()
    questions = asking(embedder, tasks)
    question = questions.ask("tea")
    assert await within(question.wait(PASSED)) == ("timeout", None)
    embedder.free.set()
    await within(tasks.drain())
    again = questions.ask("tea")
    assert [one.late for one in (question, again)] == [False, False]
    assert (await again.wait(PASSED))[1] is not None
    assert embedder.asked == ["tea"]


async def test_a_failure_is_not_kept() -> None:
    """Everybody who waits hears ``error``, which is counted once; who asks later asks anew."""
    metrics = Metrics()
    embedder = FailingEmbedder(lambda: EmbedderError("no"))
    questions = QuestionVectors(embedder, FailOpen(metrics), Tasks())
    waiting = [questions.ask("tea").wait(math.inf) for _ in range(2)]
    assert await within(asyncio.gather(*waiting)) == [("error", None)] * 2
    assert metrics.registry.get_sample_value("memory_proxy_memory_errors_total", {"step": "embed"}) == 1
    embedder.failure = None
    assert (await questions.ask("tea").wait(math.inf))[1] is not None


async def test_the_last_ones_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bounded number of vectors: those not asked for the longest go first."""
    monkeypatch.setattr(vectors, "_KEPT", 2)
    embedder = Counting()
    embedder.free.set()
    questions = asking(embedder)
    for text in ("tea", "coffee", "tea", "milk", "tea", "coffee"):
        await questions.ask(text).wait(math.inf)
    assert embedder.asked == ["tea", "coffee", "milk", "coffee"]


async def test_no_embedder_is_no_trouble() -> None:
    """Words alone are then all that there is to wait for."""
    questions = asking(NoEmbedder())
    assert questions.is_immediate(None)
    assert await questions.ask("tea").wait(PASSED) == (None, None)


async def test_an_embedder_in_this_process_is_never_late() -> None:
    """Its vector is there when asked for; its failure is told as any other."""

    class Here(FailingEmbedder):
        def embed_now(self, texts: Sequence[str]) -> Vectors:
            if self.failure is not None:
                raise self.failure()
            return np.ones((len(texts), self.dim), np.float32)

    embedder = Here(None)
    questions = asking(embedder)
    question = questions.ask("tea")
    assert not question.late
    trouble, vector = await question.wait(PASSED)
    assert trouble is None
    assert vector is not None
    assert vector.tolist() == [1.0] * 4
    embedder.failure = lambda: EmbedderError("no")
    assert await questions.ask("tea").wait(PASSED) == ("error", None)
