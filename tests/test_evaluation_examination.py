"""What is measured of single questions: the answer's words, and whether the newest statement is found."""

from pathlib import Path

import pytest

from proxy.evaluation.report import Report
from proxy.evaluation.stages import Plan, evaluate
from tests.datasets import make_chat, make_conversation, make_question, write_set

# More than any block here has room for.
FILLER = "and then we spoke about the weather of that week for quite a while, " * 90


def examine(folder: Path, conversations: list[dict[str, object]], *questions: dict[str, object]) -> Report:
    return evaluate(write_set(folder, conversations, list(questions)), Plan(quick=True, budgets=(100, 1000)))


def test_words_of_the_answer_that_a_cut_leaves_out_do_not_count(tmp_path: Path) -> None:
    """A message that is shown in part counts as found; how much of the answer that is, is told beside it."""
    long = f"My dog is called Rex. {FILLER} And the vet in Lindenau says that he needs no further medicine."
    question = make_question("What is my dog called?", ("ann-0", 0), answer="Rex, and the vet is in Lindenau.")
    report = examine(tmp_path, [make_conversation(0, long)], question)
    assert report.overall.share[1000].mean == 1
    answer = report.overall.answer[1000]
    assert answer is not None
    assert answer.mean == pytest.approx(1 / 3)  # Rex, but neither vet nor Lindenau


def test_words_that_the_evidence_has_not_are_not_asked_for(tmp_path: Path) -> None:
    """An answer that has to be worked out is no fault of the block; without any word of it there is no figure."""
    conversations = [make_conversation(0, "My dog is called Rex", "My cat is called Tom")]
    worked_out = make_question("How many pets have I got?", ("ann-0", 0), ("ann-0", 1), answer="two", kind="sum")
    spoken = make_question("What is my dog called?", ("ann-0", 0), answer="Surely Rex")
    report = examine(tmp_path, conversations, worked_out, spoken)
    assert report.types["sum"].answer == {100: None, 1000: None}
    answer = report.overall.answer[1000]
    assert answer is not None
    assert answer.mean == 1


def test_without_a_block_no_word_is_there(tmp_path: Path) -> None:
    """A question that finds nothing at all scores zero in everything."""
    missed = make_question("Have I got a yacht?", ("ann-0", 0), answer="shut", kind="knowledge-update")
    report = examine(tmp_path, [make_conversation(0, "The zoo was shut")], missed)
    answer, newest = report.overall.answer[1000], report.overall.newest
    assert answer is not None
    assert newest is not None
    assert (answer.mean, newest.mean, report.overall.tokens[1000]) == (0, 0, 0)


def test_the_newest_statement_is_the_one_that_counts(tmp_path: Path) -> None:
    """Of what changed, the last word must be in the block; that the old one is found does not help."""
    conversations = [
        make_conversation(0, "The kettle of the office is red"),
        make_conversation(1, "The kettle of the office is green"),
        make_conversation(2, "The zoo was shut"),
    ]
    found = make_question("Which colour has the office kettle?", ("ann-0", 0), ("ann-1", 0), kind="knowledge_update")
    missed = make_question("Which colour has the office kettle?", ("ann-0", 0), ("ann-2", 0), kind="knowledge_update")
    good, bad = (examine(tmp_path, conversations, question).overall for question in (found, missed))
    assert good.newest is not None
    assert good.newest.mean == 1
    assert bad.newest is not None
    assert bad.newest.mean == 0


def test_on_one_day_what_is_said_later_is_newer(tmp_path: Path) -> None:
    """Messages of one conversation have one date; their order tells."""
    conversations = [make_chat(0, "The office kettle is red", "Fine", "The office kettle is green now")]
    asked = make_question("Which colour has the office kettle?", ("ann-0", 2), ("ann-0", 0), kind="knowledge-update")
    newest = examine(tmp_path, conversations, asked).types["knowledge-update"].newest
    assert newest is not None
    assert newest.mean == 1


def test_other_types_have_no_newest_statement(tmp_path: Path) -> None:
    """Only where something changed is there one."""
    asked = make_question("What is my dog called?", ("ann-0", 0))
    assert examine(tmp_path, [make_conversation(0, "My dog is called Rex")], asked).overall.newest is None
