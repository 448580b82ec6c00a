"""Vectors of questions: asked for once, kept, and never waited for longer than the deadline."""

import asyncio
import math
import threading
from collections.abc import Sequence

import numpy as np
import pytest
from structlog.testing import capture_logs

from proxy.embedders.base import NoEmbedder, Vectors
from proxy.errors import EmbedderError
from proxy.models import EmbeddingModel
from proxy.observe.failopen import FailOpen
from proxy.observe.metrics import Metrics
from proxy.recall import vectors
from proxy.recall.vectors import Question, QuestionVectors
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


class Immediate(FailingEmbedder):
    """Of a name, and at once; each has vectors of its own."""

    def __init__(self, name: str, value: float) -> None:
        super().__init__(None)
        self.name = name
        self.value = value
        self.closed = False

    def embed_now(self, texts: Sequence[str]) -> Vectors:
        return np.full((len(texts), self.dim), self.value, np.float32)

    async def embed(self, texts: Sequence[str]) -> Vectors:
        return self.embed_now(texts)

    async def aclose(self) -> None:
        self.closed = True


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


FORMER = EmbeddingModel("local", "former", 4)


async def test_a_former_model_is_opened_aside_and_once() -> None:
    """It is asked where memories have its vectors, at once when it is open; and is most likely the next one's, too."""
    opened: list[str] = []
    former, configured = Immediate("former", 0.25), Immediate("configured", 0.5)

    def open_model(model: EmbeddingModel) -> Immediate:
        opened.append(model.name)
        assert threading.current_thread() is not threading.main_thread()
        return former

    tasks = Tasks()
    questions = QuestionVectors(configured, FailOpen(Metrics()), tasks, open_model)
    assert questions.is_immediate(None)
    assert not questions.is_immediate(FORMER)
    asked = [questions.ask(text, FORMER) for text in ("tea", "coffee")]
    assert all(question.late and question.suits(FORMER) for question in asked)
    for question in asked:
        assert await values(questions, question, FORMER) == [0.25] * 4
    assert questions.is_immediate(FORMER)
    again = questions.ask("milk")
    assert (again.late, again.suits(FORMER), opened) == (False, True, ["former"])
    assert await values(questions, again, FORMER) == [0.25] * 4
    current = EmbeddingModel("local", "configured", 4)
    assert await values(questions, questions.ask("tea", current), current) == [0.5] * 4
    assert not again.suits(current)
    await questions.aclose()
    assert (former.closed, configured.closed) == (True, False)


async def values(questions: QuestionVectors, question: Question, model: EmbeddingModel) -> list[float]:
    trouble, vector = await within(questions.wait(question, model, math.inf))
    assert trouble is None
    assert vector is not None
    found: list[float] = vector.tolist()
    return found


async def test_vectors_are_kept_by_model() -> None:
    """What one has made of a text is not what another would."""
    configured = Counting()
    configured.free.set()
    former = Counting()
    former.free.set()
    questions = QuestionVectors(configured, FailOpen(Metrics()), Tasks(), lambda _: former)
    for _ in range(2):
        for model in (FORMER, EmbeddingModel("held", "held", 4)):
            await within(questions.wait(questions.ask("tea", model), model, math.inf))
    assert (configured.asked, former.asked) == (["tea"], ["tea"])


async def test_a_model_that_cannot_be_opened_leaves_words_alone() -> None:
    """That is no trouble of the request's; a line says so once."""

    def refuse(model: EmbeddingModel) -> Immediate:
        raise EmbedderError(f"no {model.name}")

    questions = QuestionVectors(Immediate("configured", 0.5), FailOpen(Metrics()), Tasks(), refuse)
    with capture_logs() as logs:
        for text in ("tea", "coffee"):
            assert await within(questions.wait(questions.ask(text, FORMER), FORMER, math.inf)) == (None, None)
    assert [(line["event"], line["reason"]) for line in logs] == [("no_embedder", "no former")]


async def test_a_question_of_another_size_has_no_vector() -> None:
    """It would compare with nothing, and is told of with both sizes."""
    metrics = Metrics()
    questions = QuestionVectors(Immediate("former", 0.5), FailOpen(metrics), Tasks())
    other = EmbeddingModel("local", "former", 7)
    with capture_logs() as logs:
        assert await questions.wait(questions.ask("tea", other), other, PASSED) == ("error", None)
    assert logs[0]["reason"] == "former: a question has 4 dimensions, and memories have 7"
    assert metrics.registry.get_sample_value("memory_proxy_memory_errors_total", {"step": "embed"}) == 1
