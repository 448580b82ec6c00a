"""Logs of OpenAI-compatible APIs: what each request adds to its conversation, stored once however often it comes."""

import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from proxy import chain
from proxy.imports import FormatError, tracking
from proxy.imports.base import Said
from proxy.models import Message, Scope
from tests.imported import AT, Read, read, request, said, write, write_log

DOG, NICE, BERLIN, LOVELY = "My dog is called Rex.", "A fine name.", "I live in Berlin.", "Lovely."
ADA = Scope("ada")


def read_log(tmp_path: Path, *lines: Any, user: str | None = None) -> Read:
    return read(write_log(tmp_path / "log.jsonl", lines), user=user)


def texts(found: Read) -> list[str]:
    return [text for line in found.lines for _, text in said(line)]


def body(*texts: str, **more: Any) -> dict[str, Any]:
    """A request alone, without a user."""
    made: dict[str, Any] = request(*texts)["request"]
    return {key: value for key, value in made.items() if key != "user"} | more


ANSWER = request(DOG, answer=NICE)["response"]
DATED = {"created_at": "2024-05-01T10:00:00Z"}
SHAPES: list[dict[str, Any]] = [
    request(DOG, answer=NICE, **DATED),
    {**body(DOG, user="ada"), **DATED, "response": ANSWER},
    {**body(DOG, safety_identifier="ada"), **DATED, **ANSWER},
    {"request": body(DOG, metadata={"user_id": "ada"}), "response": ANSWER, "timestamp": 1714557600},
    {"request": json.dumps(body(DOG)), "response": json.dumps(ANSWER), "user_id": "ada", "created": 1714557600.0},
    {
        "request": {"method": "POST", "body": body(DOG)},
        "response": {"status_code": 200, "body": ANSWER},
        "end_user": "ada",
    },
    {"custom_id": "x", "method": "POST", "body": body(DOG, user="ada"), "response": {"body": ANSWER}},
    {"input": body(DOG, user="ada"), "output": {**ANSWER, "created": 1714557600000}},
    {"request_body": body(DOG), "response_body": ANSWER, "metadata": {"user_id": "ada"}},
    {"request": body(DOG, user="ada"), "response": NICE, "startTime": "2024-05-01 10:00:00+00:00"},
    {
        "request": body(DOG, user="ada"),
        "response": {"role": "assistant", "content": [{"type": "text", "text": NICE}]},
        **DATED,
    },
    {**body(DOG, NICE, user="ada"), **DATED},
    {
        "request": body(DOG, user="ada", stream=True),
        "response": [
            {"choices": [{"index": 0, "delta": {"role": "assistant", "content": "A fine "}}], "created": 1714557600},
            {"choices": [{"index": 0, "delta": {"content": "name."}, "finish_reason": "stop"}]},
        ],
        **DATED,
    },
]


@pytest.mark.parametrize("line", SHAPES, ids=range(len(SHAPES)))
def test_shapes(tmp_path: Path, line: dict[str, Any]) -> None:
    """Wherever the request, its answer, the user and the date are in a line; of a request alone, its last message."""
    found = read_log(tmp_path, line)
    assert (found.format, found.errors) == ("openai", [])
    (one,) = found.lines
    assert (one["user_id"], said(one)) == ("ada", [("user", DOG), ("assistant", NICE)])
    assert {message["created_at"] for message in one["messages"]} == {"2024-05-01T10:00:00Z"}
    spoken = [Message("user", DOG), Message("assistant", NICE)]
    assert one["conversation_id"] == chain.recognise(ADA, spoken)  # as the proxy would call it


@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize("answers", [False, True])
def test_a_conversation_that_grows_comes_once(tmp_path: Path, *, answers: bool, named: bool) -> None:
    """Each request brings the history along; with or without the answers, named or not, nothing comes twice."""
    history = [DOG, NICE, BERLIN, LOVELY, "I ski.", "So do I.", "I sing."]
    more = {"metadata": {"conversation_id": "talk"}} if named else {}
    lines = [
        request(*history[:end], answer=history[end] if answers and end < len(history) else None, **more)
        for end in (1, 3, 5, 7)
    ]
    found = read_log(tmp_path, *lines, lines[1])
    assert texts(found) == history
    places = [line.get("first_index", 0) + n for line in found.lines for n, _ in enumerate(line["messages"])]
    assert places == list(range(7))
    assert len({line["conversation_id"] for line in found.lines}) == 1


def test_conversations_are_kept_apart(tmp_path: Path) -> None:
    """Of several users, and of one, also where they begin alike and their requests are mixed."""
    talks = [
        (user, ["Hi", f"Hello {number}!", f"I have {number} dogs.", "Many.", f"And {number} cats.", "More."])
        for user in ("ada", "bob")
        for number in range(5)
    ]
    lines = [
        request(*history[:end], answer=history[end], user=user)
        for end in (1, 3, 5)
        for user, history in random.Random(7).sample(talks, len(talks))
    ]
    found = read_log(tmp_path, *lines)
    stored: dict[tuple[str, str], dict[int, str]] = {}
    for line in found.lines:
        talk = stored.setdefault((line["user_id"], line["conversation_id"]), {})
        for place, (_, text) in enumerate(said(line), line.get("first_index", 0)):
            assert place not in talk
            talk[place] = text
    ours = sorted((user, tuple(text for _, text in sorted(talk.items()))) for (user, _), talk in stored.items())
    # What is asked again within the hour replaces the answer that nothing followed.
    assert ours == sorted((user, tuple(history)) for user, history in talks)


def test_a_window_of_the_last_messages(tmp_path: Path) -> None:
    """A client that leaves out the beginning goes on with the same conversation."""
    history = [f"Message number {number}." for number in range(12)]
    lines = [request(*history[max(0, end - 5) : end], answer=history[end]) for end in range(1, 12, 2)]
    found = read_log(tmp_path, *lines)
    assert texts(found) == history
    assert [line.get("first_index", 0) for line in found.lines] == [0, 2, 4, 6, 8, 10]


def test_the_last_message_alone(tmp_path: Path) -> None:
    """Where the conversation is named, one is behind the other."""
    lines = [request(f"Number {n}.", answer=f"Good, {n}.", conversation_id="c") for n in range(3)]
    found = read_log(tmp_path, *lines, lines[2])
    assert texts(found) == [text for n in range(3) for text in (f"Number {n}.", f"Good, {n}.")]
    assert [line.get("first_index", 0) for line in found.lines] == [0, 2, 4]


def test_what_is_said_anew_says_where(tmp_path: Path) -> None:
    """An answer that was made again and a message that was edited stand where the old one stood."""
    found = read_log(
        tmp_path,
        request(DOG, answer=NICE),
        request(DOG, NICE, BERLIN, answer=LOVELY),
        request(DOG, NICE, BERLIN, answer="Nice city."),
        request(DOG, NICE, "I live in Munich.", answer="Fine."),
    )
    assert [(line.get("first_index", 0), [text for _, text in said(line)]) for line in found.lines] == [
        (0, [DOG, NICE]),
        (2, [BERLIN, LOVELY]),
        (3, ["Nice city."]),
        (2, ["I live in Munich.", "Fine."]),
    ]


def test_a_first_answer_that_was_made_again(tmp_path: Path) -> None:
    """Within an hour the last one holds; later it is another conversation that begins with the same question."""
    dates = ["2024-05-01T10:00:00Z", "2024-05-01T10:05:00Z", "2024-05-02T10:00:00Z"]
    lines = [request(DOG, answer=f"Answer {n}.", created_at=date) for n, date in enumerate(dates)]
    found = read_log(tmp_path, *lines)
    assert [[text for _, text in said(line)] for line in found.lines] == [[DOG, "Answer 1."], [DOG, "Answer 2."]]
    assert found.skipped == {"regenerated": 1}


def test_a_loop_of_tools_is_one_question_and_its_answer(tmp_path: Path) -> None:
    """Calls and results are nobody's words."""
    call = {"role": "assistant", "content": None, "tool_calls": [{"id": "t", "type": "function", "function": {}}]}
    result = {"role": "tool", "tool_call_id": "t", "content": "12 degrees"}
    first = {
        "request": {"messages": [{"role": "system", "content": "Be kind."}, *body(DOG)["messages"]], "user": "ada"}
    }
    second = {"request": {"messages": [*first["request"]["messages"], call, result], "user": "ada"}}
    found = read_log(
        tmp_path,
        {**first, "response": {"choices": [{"index": 0, "message": call, "finish_reason": "tool_calls"}]}},
        {**second, "response": ANSWER},
    )
    assert texts(found) == [DOG, NICE]
    assert found.skipped == {"system": 2, "tool": 2}


def test_what_no_user_said_is_left_out(tmp_path: Path) -> None:
    """Jobs of chat applications, what failed, requests without a user's word."""
    picture = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,"}}]}
    title = "### Task:\nGenerate a concise title summarizing the chat history.\n### Guidelines:\n- The title should "
    title += "clearly represent the main theme.\n<chat_history>\nUSER: Which bread?\nASSISTANT: Rye.\n</chat_history>\n"
    found = read_log(
        tmp_path,
        request(title, answer="Dogs"),
        {"request": body(DOG, user="ada"), "response": {"error": {"message": "rate limited"}}},
        {"request": body(DOG, user="ada"), "response": {"status_code": 500, "body": {}}},
        {"request": {"messages": [{"role": "system", "content": "x"}, picture], "user": "ada"}, "response": ANSWER},
    )
    assert found.lines == []
    assert {"job": 1, "failed": 2, "blank": 1, "empty": 1, "system": 1}.items() <= found.skipped.items()


def test_lines_to_tune_a_model_with(tmp_path: Path) -> None:
    """Every line is a conversation of the user who is given; its date is the file's where nothing says more."""
    lines = [
        {"messages": [{"role": "system", "content": "S"}, *body(DOG, NICE)["messages"]]},
        {"messages": body(BERLIN, LOVELY)["messages"]},
    ]
    path = write_log(tmp_path / "tune.jsonl", lines)
    with pytest.raises(FormatError, match=r"--user: .* is a log of requests and does not say whose it is"):
        read(path)
    found = read(path, user="ada")
    assert [said(line)[0][1] for line in found.lines] == [DOG, BERLIN]
    assert read(path, user="ada") == found


def test_dates_go_on_where_there_are_none(tmp_path: Path) -> None:
    """What has no date has that of the line before."""
    lines = [request(DOG, NICE, **DATED), request(BERLIN, LOVELY), request("I ski.", "So do I.", timestamp="nonsense")]
    found = read_log(tmp_path, *lines)
    assert {line["started_at"] for line in found.lines} == {DATED["created_at"]}


@pytest.mark.parametrize(
    "line",
    [
        {"request": {"messages": "none"}, "user": "ada"},
        {"request": {"prompt": "x"}, "user": "ada"},
        {"request": body(DOG)},
        {"request": body(DOG, user="ada"), "response": {"choices": 3}},
        {"request": body(DOG, user="ada"), "response": {"choices": [{"message": {"content": 3}}]}},
        {"a": 1},
        [1],
        "x",
    ],
    ids=range(8),
)
def test_what_cannot_be_read_is_named(tmp_path: Path, line: Any) -> None:
    """By its line, and does not stop the next one."""
    found = read_log(tmp_path, request(DOG, answer=NICE), line, request(BERLIN, answer=LOVELY))
    assert texts(found) == [DOG, NICE, BERLIN, LOVELY]
    ((number, reason),) = found.errors
    assert number == 2
    assert reason


def test_an_array_of_requests(tmp_path: Path) -> None:
    """Instead of a line each."""
    lines = [request(DOG, answer=NICE), request(DOG, NICE, BERLIN, answer=LOVELY)]
    assert texts(read(write(tmp_path / "log.json", lines, indent=2))) == [DOG, NICE, BERLIN, LOVELY]


def test_what_is_remembered_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A conversation that was forgotten meanwhile comes whole once more, under the same name and at the same place."""
    monkeypatch.setattr(tracking, "MOST_DIGESTS", 6)
    monkeypatch.setattr(tracking, "MOST_OPENINGS", 2)
    others = [request(f"Other {n}.", answer="Yes.") for n in range(8)]
    grown = [request(DOG, answer=NICE), *others, request(DOG, NICE, BERLIN, answer=LOVELY)]
    found = read_log(
        tmp_path, *grown, *(request(f"More {n}.", "Yes.", "And?", answer="No.") for n in range(4)), grown[-1]
    )
    ours = [line for line in found.lines if said(line)[0][1] in (DOG, BERLIN)]
    assert len({line["conversation_id"] for line in ours}) == 1
    placed = {(place, text) for line in ours for place, (_, text) in enumerate(said(line), line.get("first_index", 0))}
    assert placed == set(enumerate([DOG, NICE, BERLIN, LOVELY]))


def test_what_is_forgotten_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither digests nor pairs of conversations that nobody goes on with stay in memory."""
    monkeypatch.setattr(tracking, "MOST_DIGESTS", 10)
    tracker = tracking.Tracker(Counter())
    for number in range(50):
        talk = [Said(role, f"{role} {number}", AT) for role in ("user", "assistant", "user", "assistant")]
        assert len(list(tracker.take(ADA, f"c {number}", talk, number))) == 1
    assert sum(map(len, tracker._known.values())) <= 10
    assert len(tracker._pairs) <= 10
