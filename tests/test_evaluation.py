"""Scoring recall on a data set."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from proxy.bench.evaluation import evaluate
from proxy.errors import ConfigError


def make_conversation(number: int, *texts: str, user: str = "ann") -> dict[str, Any]:
    messages = [{"role": "user", "content": text} for text in texts]
    return {
        "user_id": user,
        "conversation_id": f"{user}-{number}",
        "started_at": "2024-01-01T10:00:00Z",
        "messages": messages,
    }


def make_question(text: str, *evidence: tuple[str, int], kind: str = "plain", user: str = "ann") -> dict[str, Any]:
    return {
        "user_id": user,
        "id": text[:8],
        "type": kind,
        "asked_at": "2024-02-01T10:00:00Z",
        "question": text,
        "answer": "",
        "evidence": evidence,
    }


def write_set(folder: Path, conversations: list[dict[str, Any]], questions: list[dict[str, Any]]) -> Path:
    (folder / "conversations.jsonl").write_text("\n".join(map(json.dumps, conversations)))
    (folder / "questions.json").write_text(json.dumps(questions))
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    conversations = [
        make_conversation(0, "My dog is called Rex", "I work as a baker"),
        make_conversation(1, "I moved to Berlin", "I moved to Bonn"),
        make_conversation(0, "My dog is called Bo", user="carl"),
    ]
    questions = [
        make_question("What is my dog called?", ("ann-0", 0)),
        make_question("What is my dog called?", ("carl-0", 0), user="carl"),
        make_question("Where did I move?", ("ann-1", 0), ("ann-1", 1), kind="several"),
        make_question("Have I got a yacht?", ("ann-0", 1), kind="missed"),
        make_question("What is my cat called?", kind="plain"),
        make_question("Is my dog a cat?", ("ann-0", 0), kind="adversarial"),
    ]
    return write_set(tmp_path, conversations, questions)


def test_evidence_is_counted_by_type_and_overall(folder: Path) -> None:
    """Shares are means over questions; those without evidence and adversarial ones are left out."""
    seen: list[tuple[int, int]] = []
    report = evaluate(folder, budgets=(60, 1000), progress=lambda done, total: seen.append((done, total)))
    assert (report.users, report.memories, report.left_out) == (2, 5, 2)
    assert report.types.keys() == {"plain", "several", "missed"}
    assert report.types["plain"].questions == 2
    assert report.types["several"].share == {60: 1.0, 1000: 1.0}
    assert report.types["missed"].recall_at_10 == 0.0
    assert report.overall.recall_at_10 == pytest.approx(0.75)
    assert report.overall.share[1000] == pytest.approx(0.75)
    assert seen == [(1, 2), (2, 2)]


def test_a_small_budget_finds_less(folder: Path) -> None:
    """A budget without room for any line finds nothing, while the ranking still does."""
    report = evaluate(folder, budgets=(5,))
    assert report.overall.share == {5: 0.0}
    assert report.overall.recall_at_10 > 0


def test_a_report_is_plain_data(folder: Path) -> None:
    """The report can be written as JSON, with times in milliseconds."""
    data = json.loads(json.dumps(evaluate(folder).to_dict()))
    assert data["overall"]["questions"] == 4
    assert 0 < data["recall_ms"]["p50"] <= data["recall_ms"]["p99"]
    assert data["cpu_ms"].keys() == {"p50", "p99"}


def test_conversations_may_be_compressed(folder: Path) -> None:
    """A .gz file is read like the plain one, empty lines and all."""
    plain = folder / "conversations.jsonl"
    (folder / "conversations.jsonl.gz").write_bytes(gzip.compress(plain.read_bytes() + b"\n\n"))
    plain.unlink()
    assert evaluate(folder).memories == 5


def test_a_bad_line_is_named(folder: Path) -> None:
    """What is no conversation is reported with file and line."""
    path = folder / "conversations.jsonl"
    path.write_text(path.read_text() + '\n{"user_id": 5}')
    with pytest.raises(ConfigError, match=r"conversations\.jsonl, line 4: .*user_id"):
        evaluate(folder)


def test_a_cut_archive_is_an_error(folder: Path) -> None:
    """A compressed file without its end cannot be read."""
    (folder / "conversations.jsonl").unlink()
    (folder / "conversations.jsonl.gz").write_bytes(gzip.compress(b"{}" * 99)[:-9])
    with pytest.raises(ConfigError, match=r"conversations\.jsonl\.gz"):
        evaluate(folder)


def test_missing_files_are_errors(tmp_path: Path, folder: Path) -> None:
    """Each missing file is named."""
    (folder / "questions.json").unlink()
    with pytest.raises(ConfigError, match=r"questions\.json"):
        evaluate(folder)
    with pytest.raises(ConfigError, match=r"neither conversations\.jsonl nor"):
        evaluate(tmp_path / "nowhere")


def test_evidence_that_was_never_said_is_an_error(folder: Path) -> None:
    """A question about another user's message, which could never be found, is named."""
    (folder / "questions.json").write_text(json.dumps([make_question("Dog?", ("carl-0", 0))]))
    with pytest.raises(ConfigError, match=r"question 1 \(Dog\?\): no such message: \('carl-0', 0\)"):
        evaluate(folder)


def test_a_set_without_answerable_questions_is_an_error(folder: Path) -> None:
    """Nothing to measure is not a score of zero."""
    (folder / "questions.json").write_text("[]")
    with pytest.raises(ConfigError, match="no question with evidence"):
        evaluate(folder)
