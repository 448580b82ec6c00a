"""``memory-proxy eval`` on the command line: tables, a picture, a page, and what it says when it cannot go on."""

import json
import shlex
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

import pytest
from typer.testing import Result

from proxy import __version__
from proxy.evaluation.stages import CURVE_BUDGETS
from proxy.evaluation.timing import RECALLS
from tests.commands import invoke
from tests.datasets import make_chat, make_conversation, make_question, write_set
from tests.pages import (
    Page,
    check_takes_over,
    find_class,
    find_lines,
    list_told,
    read_numbers,
    read_page,
    read_places,
    read_text,
)

REMARKS = [f"Let us talk about item {number} of the long list of the things to do" for number in range(12)]


# Neither a page nor a picture may take it for anything but a name.
TYPE = "a [red] <b>type</b> of long names, as long"


class Full(NamedTuple):
    """A run of everything, and the page that it wrote."""

    result: Result
    page: Page
    command: str


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    conversations = [
        make_chat(0, "The office kettle is red", "Noted"),
        make_chat(1, "The office kettle is green", "Noted"),
        make_chat(2, *REMARKS),
        make_conversation(0, "My dog is called Bo", user="carl"),
    ]
    questions = [
        make_question("Is the kettle green?", ("ann-0", 0), ("ann-1", 0), kind="knowledge-update", answer="green"),
        make_question("What is my dog called?", ("carl-0", 0), user="carl", kind=TYPE),
        make_question("Is the kettle red?", ("ann-0", 0), kind="adversarial"),
        make_question("What is my cat called?", kind="abstention"),
    ]
    return write_set(tmp_path_factory.mktemp("eval") / "set", conversations, questions)


@pytest.fixture(scope="module")
def full(folder: Path) -> Full:
    file = folder.parent / "report.html"
    arguments = (folder, "--others", folder, "--report", file)
    result = invoke("eval", *arguments)
    return Full(result, read_page(file.read_text("utf-8")), shlex.join(["memory-proxy", "eval", *map(str, arguments)]))


def test_every_topic_has_its_table(full: Full) -> None:
    """All that was measured is printed, for readers of a narrow terminal, too."""
    result = full.result
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


def test_the_page_says_what_is_printed(full: Full) -> None:
    """Every table with every number, every sentence, and how all that came about."""
    check_takes_over(full.page, full.result.stdout)
    facts = dict(zip(map(read_text, full.page.find("dt")), map(read_text, full.page.find("dd")), strict=True))
    assert (facts["version"], facts["command"]) == (__version__, full.command)
    assert facts["data set"] == "set: 2 users, 17 memories"
    assert facts.keys() >= {"date", "duration", "processor", "cores", "system", "Python"}
    shares = full.page.tables[0]
    assert shares[0] == ["question type", "questions", "share at 500", "share at 1,000", "share at 2,000", "R@10"]
    assert [row[0] for row in shares[1:]] == [TYPE, "knowledge-update", "all", "adversarial (apart)"]
    assert shares[2][1:3] == ["1", "1.000 .00–1.00"]
    assert {read_text(heading) for heading in full.page.find("h2")} == {
        *("Evidence", "Answers and tokens", "What changed", "Strangers", "Prompt cache", "Sudden questions", "Time")
    }


def test_the_page_has_a_chart_of_every_topic(full: Full) -> None:
    """Each with as many points as there are figures, and with the figures below it."""
    figures = full.page.figures
    assert list(figures) == [
        *("Evidence inside the block", "Evidence by type of question", "Where the evidence stands"),
        *("What strangers bring in", "What the provider's cache has", "A sudden question, by placement"),
        *("Recall against the user's memories", "Recalls, one by one"),
    ]
    curves = figures["Evidence inside the block"]
    assert [len(read_places(line)) for line in find_lines(curves)] == [len(CURVE_BUDGETS)] * 3
    assert read_numbers(curves)[0] == ["tokens of the block", TYPE, "knowledge-update", "all"]
    assert f"all, 1,000: 100.0% ({read_numbers(curves)[6][3].partition('(')[2]}" in list_told(curves)
    assert len(find_class(figures["Evidence by type of question"], "dot")) == 2 + 2 * 4  # with those of the legend
    ranks = {place: int(count) for place, count, _ in read_numbers(figures["Where the evidence stands"])[1:]}
    assert sum(ranks.values()) == 3
    assert ranks["1"] + ranks["2"] >= 2
    assert len(find_lines(figures["What strangers bring in"])) == 3
    cache = read_numbers(figures["What the provider's cache has"])
    assert [row[0] for row in cache[1:]] == ["system, prefix", "system, breakpoint", "tail, prefix", "tail, breakpoint"]
    assert [row[0] for row in read_numbers(figures["Recall against the user's memories"])[1:]] == [
        "100",
        "1,000",
        "10,000",
    ]
    recalls = {row[0]: row[1] for row in read_numbers(figures["Recalls, one by one"])[1:]}
    assert recalls == {
        "each question": "3",
        **dict.fromkeys(("100 memories", "1,000 memories", "10,000 memories"), f"{RECALLS}"),
        "right after an exchange": "100",
    }


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


def test_a_quick_page_says_less(folder: Path, tmp_path: Path) -> None:
    """And is as sound, beside JSON on standard output."""
    file = tmp_path / "report.html"
    result = invoke("eval", folder, "--quick", "--json", "--report", file)
    assert json.loads(result.stdout)["curves"].keys() == {TYPE, "knowledge-update", "all"}
    page = read_page(file.read_text("utf-8"))
    assert [read_text(heading) for heading in page.find("h2")][-2:] == ["Strangers", "Time"]
    assert [row[0] for row in read_numbers(page.figures["Recalls, one by one"])] == ["", "each question"]


def test_without_being_asked_nothing_is_drawn(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No file appears anywhere near."""
    monkeypatch.chdir(folder)
    assert invoke("eval", folder, "--quick").exit_code == 0
    assert {path.name for path in folder.iterdir()} == {"conversations.jsonl", "questions.json"}


@pytest.mark.parametrize("option", ["--plot", "--report"])
def test_a_file_that_cannot_be_written_is_told_at_once(option: str, tmp_path: Path) -> None:
    """Before anything is read: that the data set is missing, too, is not said."""
    result = invoke("eval", tmp_path / "nothing", option, tmp_path / "nowhere" / "file")
    assert result.exit_code == 2
    assert (
        result.stderr
        == f"memory-proxy: {option}: {tmp_path}/nowhere/file: cannot be written: No such file or directory\n"
    )


def test_a_failure_leaves_an_older_report(tmp_path: Path) -> None:
    """What was measured before is not lost to a data set that cannot be read."""
    file = tmp_path / "report.html"
    file.write_text("measured before")
    assert invoke("eval", tmp_path / "nothing", "--report", file).exit_code == 1
    assert file.read_text() == "measured before"


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
