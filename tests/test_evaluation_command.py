"""``memory-proxy eval`` on the command line: tables, a picture, and what it says when it cannot go on."""

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.commands import invoke
from tests.datasets import make_chat, make_conversation, make_question, write_set

REMARKS = [f"Let us talk about item {number} of the long list of the things to do" for number in range(12)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    conversations = [
        make_chat(0, "The office kettle is red", "Noted"),
        make_chat(1, "The office kettle is green", "Noted"),
        make_chat(2, *REMARKS),
        make_conversation(0, "My dog is called Bo", user="carl"),
    ]
    questions = [
        make_question("Is the kettle green?", ("ann-0", 0), ("ann-1", 0), kind="knowledge-update", answer="green"),
        make_question("What is my dog called?", ("carl-0", 0), user="carl", kind="a [red] type of long names, as long"),
        make_question("Is the kettle red?", ("ann-0", 0), kind="adversarial"),
        make_question("What is my cat called?", kind="abstention"),
    ]
    return write_set(tmp_path / "set", conversations, questions)


def test_every_topic_has_its_table(folder: Path) -> None:
    """All that was measured is printed, for readers of a narrow terminal, too."""
    result = invoke("eval", folder, "--others", folder)
    assert (result.exit_code, result.stderr) == (0, "")
    rows = [" ".join(line.split()) for line in result.stdout.splitlines()]
    for begin in (
        "question type questions share at 500 share at 1,000 share at 2,000 R@10",
        "all 2 1.000 1.000 1.000 1.000",
        "adversarial (apart) 1 1.000",
        "knowledge-update 1 1.000 .00–1.00",
        "question of the other set over 100 tokens 0.000",
        "greeting, thanks anything",
        "system prefix",
        "system breakpoint",
        "system 1 1.000 .00–1.00",
        "recall 10,000",
        "taking in an exchange 10,000",
        "Other users' memories in a block: 0 (should be 0) of",
        "2 users, 17 memories, 3 questions, 1 without evidence left out. A recall takes",
    ):
        assert any(row.startswith(begin) for row in rows), begin
    *lines, _ = result.stdout.splitlines()  # the last one is a sentence, which may wrap
    assert max(map(len, lines)) <= 100


def test_a_quick_run_says_less(folder: Path) -> None:
    """No store, no replays, no clock; shares as ever."""
    result = invoke("eval", folder, "--quick")
    assert result.exit_code == 0
    assert "share at 1,000" in result.stdout
    assert "greeting" in result.stdout
    for absent in ("placement", "Other users'", "taking in", "other set"):
        assert absent not in result.stdout


def test_a_picture_is_drawn(folder: Path, tmp_path: Path) -> None:
    """Lines of share against budget, one a type that counts and one for all, as SVG where the user says."""
    file = tmp_path / "shares.svg"
    assert invoke("eval", folder, "--quick", "--plot", file).exit_code == 0
    picture = file.read_text("utf-8")
    assert ElementTree.fromstring(picture).tag.endswith("svg")
    assert "knowledge-update" in picture
    assert "adversarial" not in picture


def test_without_being_asked_nothing_is_drawn(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No file appears anywhere near."""
    monkeypatch.chdir(folder)
    assert invoke("eval", folder, "--quick").exit_code == 0
    assert {path.name for path in folder.iterdir()} == {"conversations.jsonl", "questions.json"}


def test_a_picture_that_cannot_be_written_is_told_at_once(tmp_path: Path) -> None:
    """Before anything is read: that the data set is missing, too, is not said."""
    result = invoke("eval", tmp_path / "nothing", "--plot", tmp_path / "nowhere" / "shares.svg")
    assert result.exit_code == 2
    assert (
        result.stderr
        == f"memory-proxy: --plot: {tmp_path}/nowhere/shares.svg: cannot be written: No such file or directory\n"
    )


def test_json_has_everything(folder: Path) -> None:
    """One document; what a quick run has not measured is null."""
    report = json.loads(invoke("eval", folder, "--quick", "--json").stdout)
    assert report["types"]["knowledge-update"]["newest_statement"] == 1
    assert report["apart"]["adversarial"]["questions"] == 1
    assert report["replays"] is None


def test_a_missing_other_data_set_is_a_failure(folder: Path, tmp_path: Path) -> None:
    """It is named, in one line."""
    result = invoke("eval", folder, "--quick", "--others", tmp_path / "nowhere")
    assert result.exit_code == 1
    assert f"{tmp_path}/nowhere/questions.json: not a list of questions" in result.stderr
    assert result.stderr.count("\n") == 1
