"""A simulated month: what it finds wrong with a memory, and that it finds nothing wrong with ours."""

import json
from collections import Counter
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any, Final

import pytest

from proxy.evaluation.client import Turn, list_turns
from proxy.evaluation.dataset import read_data_set
from proxy.evaluation.diary import Diary, Verdict, count_readable
from proxy.evaluation.disturbance import DISTURBANCES, deal
from proxy.evaluation.month import MonthPlan, MonthReport, evaluate_month
from proxy.evaluation.noise import Dice
from proxy.models import Kind, Memory
from tests.commands import invoke
from tests.datasets import make_chat, make_conversation, make_question, write_set
from tests.pages import check_takes_over, find_class, read_numbers, read_page
from tests.processes import run_command

DATA: Final = Path(__file__).parent / "data"
NOON: Final = datetime(2024, 3, 1, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def month() -> MonthReport:
    """All of our own conversations, with a disturbance in every turn."""
    return evaluate_month(DATA, MonthPlan(noise=1.0))


def test_nothing_is_remembered_that_the_user_did_not_say(month: MonthReport) -> None:
    """Neither jobs nor probes nor echoes, nor what was edited or answered anew, nor small talk, nor secrets."""
    verdict = month.noisy.verdict
    assert (verdict.unsupported, verdict.abandoned, verdict.junk) == ({}, {}, {})
    assert (verdict.secrets, month.noisy.readable) == (0, 0)
    assert month.noisy.secrets > 0


def test_hardly_anything_is_remembered_twice(month: MonthReport) -> None:
    """Less than one memory in a hundred says the same as another one."""
    assert month.noisy.verdict.copies < 0.01 * month.noisy.verdict.units


def test_noise_takes_nothing_from_recall(month: MonthReport) -> None:
    """The evidence of the questions is found as well as without it."""
    assert month.clean.share > 0.9
    assert month.share_lost <= 0.01
    assert month.first_lost <= 0.01


def test_a_clean_month_is_remembered_whole(month: MonthReport) -> None:
    """Every message of the data set is one memory, and nothing is wrong with any."""
    lines = (DATA / "conversations.jsonl").read_text("utf-8").splitlines()
    messages = sum(len(json.loads(line)["messages"]) for line in lines)
    assert month.clean.verdict == Verdict(units=messages)
    assert month.clean.requests * 2 == messages


def test_every_disturbance_took_place(month: MonthReport) -> None:
    """Turns are few, yet each kind has its turn; what no person sent was not recalled for."""
    assert month.disturbances.keys() == DISTURBANCES.keys()
    assert month.disturbances.total() == month.clean.requests
    assert month.noisy.requests > month.clean.requests
    for label in ("job", "probe"):
        assert month.noisy.statuses[label].keys() == {"skipped"}


def test_a_month_is_plain_data(month: MonthReport) -> None:
    """It can be written as JSON, differences included."""
    data = json.loads(json.dumps(month.to_dict()))
    assert (data["users"], data["conversations"], data["questions"]) == (2, 6, month.questions)
    assert data["clean"]["verdict"]["unsupported"] == {}
    assert data["clean"].keys() == {"requests", "verdict", "secrets", "readable", "share", "first", "statuses"}
    assert data.keys() >= {"share_lost", "first_lost", "disturbances"}


def test_the_command_shows_a_month(tmp_path: Path) -> None:
    """A sample of one user, as a table and as JSON."""
    conversations = [make_chat(0, "My dog is called Rex", "Noted"), make_chat(0, "I have a cat", "Noted", user="carl")]
    questions = [
        make_question("What is my dog called?", ("ann-0", 0)),
        make_question("Have I a cat?", ("carl-0", 0), user="carl"),
    ]
    folder = write_set(tmp_path / "set", conversations, questions)
    file = tmp_path / "month.html"
    shown = invoke("eval", folder, "--month", "--users", "1", "--report", file)
    assert (shown.exit_code, shown.stderr) == (0, "")
    assert "that no user message supports" in shown.stdout
    assert "1 user, 1 conversation" in shown.stdout
    page = read_page(file.read_text("utf-8"))
    check_takes_over(page, shown.stdout)
    assert [len(find_class(page.figures["Evidence, without and with noise"], "dot"))] == [2 + 2 * 2]
    statuses = read_numbers(page.figures["What memory said to each kind of request"])
    assert [row[0].split(" (")[0] for row in statuses[1:]] == [row[0] for row in page.tables[1][1:]]
    told = run_command("eval", str(folder), "--month", "--users", "1", "--json")
    assert (told.returncode, told.stderr) == (0, "")
    assert json.loads(told.stdout)["clean"]["verdict"]["units"] == 2


def test_the_command_names_a_bad_set(tmp_path: Path) -> None:
    """A folder without a data set is no crash."""
    result = invoke("eval", tmp_path, "--month")
    assert result.exit_code == 1
    assert "neither conversations.jsonl nor" in result.stderr


def remember(text: str, role: str = "user", *, kind: Kind = "turn", **more: Any) -> Memory:
    return Memory(text, "ann", kind, role, text, NOON, "c", 0, **more)


@pytest.fixture
def diary() -> Diary:
    """Of a user with one message of each kind."""
    diary = Diary()
    diary.note("user", "I moved  to Porto\nin spring.", "real", "said")
    diary.note("assistant", "How lovely, the light there is famous.", "real", "said")
    diary.note("user", "I moved to Braga in spring.", "abandoned", "draft")
    diary.note("assistant", "Thanks!", "chatter", "small talk")
    diary.note("user", "Generate a title for this chat, please.", "foreign", "job")
    diary.note("user", "My key is sk-abcdef0123 and nobody knows it.", "extra", "secret")
    diary.secrets.append("sk-abcdef0123")
    return diary


@pytest.mark.parametrize(
    ("memory", "expected"),
    [
        (remember("I moved to Porto in spring."), Verdict(units=1)),
        (remember("How lovely, the light there is […]", "assistant"), Verdict(units=1)),
        (remember("My key is [secret: openai] and nobody knows it."), Verdict(units=1)),
        (remember("The user lives in Porto.", kind="fact", quote="moved to Porto in spring"), Verdict(units=1)),
        (remember("The user lives in Rome.", kind="fact", quote="I moved to Rome"), "unsupported other"),
        (remember("I moved to Porto in spring.", "assistant"), "unsupported other"),
        (remember("I moved"), "unsupported other"),
        (remember("Generate a title for this chat, please."), "unsupported job"),
        (remember("I moved to Braga in spring."), "abandoned draft"),
        (remember("Thanks!", "assistant"), "junk small talk"),
        (remember("My key is sk-abcdef0123 and nobody knows it."), Verdict(units=1, secrets=1)),
    ],
)
def test_each_fault_is_seen(diary: Diary, memory: Memory, expected: Verdict | str) -> None:
    """And what is cut, masked or spaced otherwise is none."""
    if isinstance(expected, str):
        table, _, label = expected.partition(" ")
        found = diary.judge([memory])
        assert getattr(found, table) == Counter([label])
        expected = Verdict(units=1, unsupported=found.unsupported, abandoned=found.abandoned, junk=found.junk)
    assert diary.judge([memory]) == expected


def test_copies_are_counted(diary: Diary) -> None:
    """Two more of the same are two copies; other white space makes no other text."""
    said = remember("I moved to Porto in spring.")
    assert diary.judge([said, said, remember("I moved to  Porto in spring.")]).copies == 2


def test_evidence_is_found_by_place_and_by_text(diary: Diary) -> None:
    """A memory stands for every message that it has taken in, and for all that say the same."""
    diary.place("I moved to Porto!", ("talk", 4), ("c", 7))
    diary.place("I have a cat.", ("talk", 6), None)
    assert diary.locate(remember("i moved to Porto")) == {("talk", 4)}
    assert diary.locate(remember("Porto it is", sources=(("c", 7),))) == {("talk", 4)}
    assert diary.locate(remember("Porto it is", sources=(("d", 7),))) == set()


def test_secrets_are_looked_for_in_every_file(tmp_path: Path) -> None:
    """In folders, too, and whatever is around them."""
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "file.bin").write_bytes(b"\x00\xffsk-one\x00")
    (tmp_path / "file").write_bytes(b"sk-on")
    assert count_readable(tmp_path, ["sk-one", "sk-two"]) == 1


def test_turns_are_what_has_an_answer(tmp_path: Path) -> None:
    """What the assistant says first is history; what nobody answers, and a second answer, are left out."""
    texts = ("Welcome", "I am Ann", "and I ski", "Nice", "Really", "Bye")
    roles = ("assistant", "user", "user", "assistant", "assistant", "user")
    conversation = make_conversation(0, *texts, roles=roles)
    folder = write_set(tmp_path, [conversation], [make_question("Who am I?", ("ann-0", 1))])
    greeting, turns = list_turns(read_data_set(folder).conversations["ann"][0])
    assert greeting == ["Welcome"]
    assert turns == [Turn(["I am Ann", "and I ski"], "Nice", [("ann-0", 1), ("ann-0", 2), ("ann-0", 3)])]


def test_every_disturbance_is_dealt_as_often() -> None:
    """And in another order each time."""
    dealt = list(islice(deal(Dice("any")), 2 * len(DISTURBANCES)))
    assert Counter(dealt) == dict.fromkeys(DISTURBANCES, 2)
    assert dealt[: len(DISTURBANCES)] != dealt[len(DISTURBANCES) :]
