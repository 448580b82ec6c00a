"""What has nothing to do with a user, and whether it brings memories in."""

from pathlib import Path

import pytest

from proxy.embedders.local import LocalEmbedder
from proxy.evaluation.asking import DEFAULT_BUDGET, Asker, Witness
from proxy.evaluation.stages import Plan, evaluate
from proxy.evaluation.strangers import ASKED, GREETINGS, MUCH, QUESTIONS, Relevance, Strangers
from proxy.recall.composing import Block
from proxy.recall.query import Query
from proxy.workingset import WorkingSet
from tests.datasets import make_conversation, make_question, write_set


def measure(folder: Path, *texts: str) -> Relevance:
    asked = make_question("What did I say?", ("ann-0", 0))
    return evaluate(write_set(folder, [make_conversation(0, *texts)], [asked]), Plan(quick=True)).relevance


def test_nothing_in_common_brings_nothing_in(tmp_path: Path) -> None:
    """To somebody with one short memory neither a question nor a greeting brings in much."""
    relevance = measure(tmp_path, "Rex barks")
    assert (relevance.questions.mean, relevance.greetings.mean, relevance.others) == (0, 0, None)


def test_what_is_pulled_in_is_counted(tmp_path: Path) -> None:
    """Somebody who has talked of just these things gets them."""
    told = [f"{question.removesuffix('?')}. " * 8 for question in QUESTIONS]
    assert measure(tmp_path, *told).questions.mean > 0.9


class Replying(Asker):
    """Answers to *text* with a block of *tokens*, and to nothing else."""

    def __init__(self, text: str, tokens: int) -> None:
        super().__init__("ann", WorkingSet(), LocalEmbedder(), Witness())
        self._reply = text, Block("…", tokens, [], [])

    def find(self, query: Query, budget_tokens: int = DEFAULT_BUDGET) -> Block | None:
        text, block = self._reply
        return block if query.text == text else None


def test_a_greeting_may_bring_in_nothing_at_all() -> None:
    """Of a greeting any block counts; of a question only one of more than a hundred tokens."""
    greeted, asked = Strangers(), Strangers(others=["Who?", "Where?"])
    greeted.visit(Replying("Thanks!", 1))
    assert greeted.report().greetings.mean == pytest.approx(1 / len(GREETINGS))
    for tokens in (MUCH, MUCH + 1):
        asked.visit(Replying("Who?", tokens))
    others = asked.report().others
    assert others is not None
    assert others.mean == pytest.approx(1 / 4)


def test_every_run_asks_the_same(tmp_path: Path) -> None:
    """What is drawn is drawn by a fixed seed."""
    told = [f"We met {question.split()[-1]} in {number}" for number, question in enumerate(QUESTIONS)]
    assert measure(tmp_path, *told) == measure(tmp_path, *told)


def test_the_questions_are_many_and_distinct() -> None:
    """About sixty, of which each user meets some."""
    assert len(set(QUESTIONS)) == len(QUESTIONS) >= 60
    assert len(QUESTIONS) > ASKED
    assert len(set(GREETINGS)) == len(GREETINGS)
