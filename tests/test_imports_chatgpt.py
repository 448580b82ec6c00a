"""ChatGPT's data export: which branch, which messages, and in whatever it is packed."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from proxy.errors import MemoryProxyError
from proxy.imports import FormatError
from tests.imported import Read, node, read, said, talk, tree, write, write_archive

DOG = "My dog is called Rex."


def read_one(tmp_path: Path, conversation: dict[str, Any]) -> Read:
    return read(write(tmp_path / "conversations.json", [conversation]), user="ada")


def test_a_conversation_is_the_branch_that_was_seen_last(tmp_path: Path) -> None:
    """From the root to ``current_node``; what was abandoned is counted, not stored."""
    conversation = tree(
        node("root", None),
        node("q1", "root", "user", DOG),
        node("a1", "q1", "assistant", "A fine name."),
        node("q2", "a1", "user", "I live in Berlin."),
        node("a2", "q2", "assistant", "Lovely."),
        node("q2b", "a1", "user", "I live in Munich.", at=1714557660),
        node("a2b", "q2b", "assistant", "Fine.", at=1714557661.125),
        node("t", "q2b", "tool", "not said"),
    )
    found = read_one(tmp_path, {**conversation, "current_node": "a2b"})
    assert (found.format, found.errors, found.skipped) == ("chatgpt", [], {"branch": 2})
    (line,) = found.lines
    assert (line["user_id"], line["conversation_id"]) == ("ada", "c-1")
    assert said(line) == [
        ("user", DOG),
        ("assistant", "A fine name."),
        ("user", "I live in Munich."),
        ("assistant", "Fine."),
    ]
    assert [message["created_at"] for message in line["messages"]] == [
        "2024-05-01T10:00:00.500000Z",
        "2024-05-01T10:00:00.500000Z",
        "2024-05-01T10:01:00Z",
        "2024-05-01T10:01:01.125000Z",
    ]


def test_what_nobody_said_is_left_out_and_counted(tmp_path: Path) -> None:
    """System, tools and their calls, reasoning, what is hidden, pictures without words."""
    picture = {"content_type": "image_asset_pointer", "asset_pointer": "file-service://x", "width": 1}
    spoken = {"content_type": "audio_transcription", "text": "And a cat.", "direction": "in"}
    hidden = {"is_visually_hidden_from_conversation": True}
    nodes = [
        node("0", None),
        node("1", "0", "system", "", metadata=hidden),
        node("2", "1", "user", content_type="user_editable_context", metadata=hidden),
        node("3", "2", "user", DOG),
        node("4", "3", "assistant", "print(1)", content_type="code", recipient="python"),
        node("5", "4", "tool", "1", content_type="execution_output"),
        node("6", "5", "assistant", content_type="thoughts"),
        node("7", "6", "assistant", "Let me see.", channel="analysis"),
        node("8", "7", "assistant", "Hidden.", metadata=hidden),
        node("9", "8", "user", "Weightless.", weight=0.0),
        node("10", "9", "user", picture, content_type="multimodal_text"),
        node("11", "10", "user", picture, spoken, "And fish.", content_type="multimodal_text"),
        node("12", "11", "assistant", "", content_type="text"),
        node("13", "12", "assistant", "x", content_type="tether_quote"),
        node("14", "13", "assistant", "Nice."),
    ]
    found = read_one(tmp_path, tree(*nodes))
    assert [text for _, text in said(found.lines[0])] == [DOG, "And a cat.\nAnd fish.", "Nice."]
    assert found.skipped == {"system": 2, "tool": 3, "reasoning": 2, "hidden": 2, "empty": 2}


def test_signs_of_the_application_are_no_words(tmp_path: Path) -> None:
    """Citations go; of names and links their text stays."""
    text = 'In \ue200entity\ue202["city","Berlin","capital"]\ue201 it rains\ue200cite\ue202turn0search1\ue201, says '
    text += "\ue200url\ue202the paper\ue202turn0\ue201.\ue200entity\ue202broken\ue201 \ue200 alone"
    found = read_one(tmp_path, talk("Is it raining?", text))
    assert said(found.lines[0])[1][1] == "In Berlin it rains, says the paper. \ue200 alone"


@pytest.mark.parametrize(
    ("conversation", "texts"),
    [
        ({"mapping": {"a": node("a", None, "user", DOG)}}, [DOG]),  # no dates, no id, no current node
        ({**talk(DOG, "Nice."), "current_node": "gone"}, [DOG, "Nice."]),
        ({**talk(DOG, "Nice."), "current_node": None, "conversation_id": None, "create_time": None}, [DOG, "Nice."]),
        (tree(node("a", "b", "user", DOG), node("b", "a", "assistant", "Nice."), current="b"), [DOG, "Nice."]),
        ({"mapping": {"a": {"message": {"author": {"role": "user"}, "content": {"parts": [DOG, None]}}}}}, [DOG]),
        (tree(node("a", "lost", "user", "Half an emoji: \ud83d")), ["Half an emoji: \ufffd"]),
        (tree(node("a", None, "user", DOG, at=None), node("b", "a", "user", "Yes.", at=0)), [DOG, "Yes."]),
        (tree(node("a", None, "user", DOG, content_type=["odd"], channel={}, weight="1")), [DOG]),
    ],
    ids=range(8),
)
def test_what_is_missing_does_not_matter(tmp_path: Path, conversation: dict[str, Any], texts: list[str]) -> None:
    """Exports of different years have different fields; a tree that is broken is followed as far as it goes."""
    found = read_one(tmp_path, conversation)
    assert found.errors == []
    assert [text for _, text in said(found.lines[0])] == texts
    assert found.lines[0]["conversation_id"]
    assert all(message["created_at"].endswith("Z") for message in found.lines[0]["messages"])


@pytest.mark.parametrize(
    ("conversation", "reason"),
    [
        ({**talk(DOG), "is_do_not_remember": True}, "unremembered"),
        (talk(), "blank"),
        ({"mapping": {}}, "blank"),
    ],
    ids=["not to be remembered", "nothing said", "nothing at all"],
)
def test_conversations_that_are_left_out(tmp_path: Path, conversation: dict[str, Any], reason: str) -> None:
    """By the user's wish, or because nothing is in them."""
    found = read_one(tmp_path, conversation)
    assert (found.lines, found.errors) == ([], [])
    assert found.skipped[reason] == 1


def test_a_conversation_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """By its number, and why; the others are there, each with its own."""
    path = tmp_path / "conversations.json"
    good = json.dumps(talk(DOG))
    path.write_text(f'[{good}, {{"mapping": 3}}, {{"mapping": {{"a": oops}}}}, 7, {good}]')
    found = read(path, user="ada")
    assert found.numbers == [1, 5]
    assert [(number, reason.split(" - ")[-1]) for number, reason in found.errors] == [
        (2, "at `$.mapping`"),
        (3, "JSON is malformed: invalid character (byte 18)"),
        (4, "Expected `object`, got `int`"),
    ]


def test_a_long_conversation_comes_in_several_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """None is longer than what a server takes; each says where it goes on."""
    monkeypatch.setattr("proxy.imports.base.LONGEST_TALK", 50)
    texts = [f"This is number {number}." for number in range(7)]
    found = read_one(tmp_path, talk(*texts))
    assert [line.get("first_index", 0) for line in found.lines] == [0, 2, 4, 6]
    assert [text for line in found.lines for _, text in said(line)] == texts
    assert found.numbers == [1] * 4


def test_however_it_is_packed(tmp_path: Path) -> None:
    """The file alone, gzipped, with a mark of its encoding, on many lines, an archive of it or of numbered parts."""
    conversations = [talk(DOG, name="c-1"), talk("I ski.", name="c-2"), talk("I sing.", name="c-3")]
    plain = write(tmp_path / "plain.json", conversations)
    packed = tmp_path / "packed.bin"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    marked = tmp_path / "marked.json"
    marked.write_bytes(b"\xef\xbb\xbf" + plain.read_bytes())
    files: list[Path] = [plain, packed, marked, write(tmp_path / "indented.json", conversations, indent=2)]
    archive = {"user.json": {"id": "u"}, "chat.html": "x", "conversations.json": conversations}
    parts = {f"export/conversations-00{n}.json": [one] for n, one in reversed(list(enumerate(conversations)))}
    parts["__MACOSX/export/conversations-000.json"] = [talk("junk")]
    files += [write_archive(tmp_path / "whole.zip", **archive), write_archive(tmp_path / "parts.zip", **parts)]
    lines = tmp_path / "lines.jsonl"
    lines.write_text("\n".join(map(json.dumps, conversations)))
    for file in [*files, lines]:
        found = read(file, user="ada")
        assert (found.format, found.numbers, found.errors) == ("chatgpt", [1, 2, 3], []), file
        assert [line["conversation_id"] for line in found.lines] == ["c-1", "c-2", "c-3"], file


@pytest.mark.parametrize("indent", [None, 1])
def test_one_conversation_by_itself(tmp_path: Path, indent: int | None) -> None:
    """As other exporters save a single one."""
    found = read(write(tmp_path / "one.json", talk(DOG), indent=indent), user="ada")
    assert (found.format, [said(line) for line in found.lines]) == ("chatgpt", [[("user", DOG)]])


def test_what_comes_before_a_cut_is_read(tmp_path: Path) -> None:
    """All whole conversations come, and then where the file ends."""
    path = write(tmp_path / "conversations.json", [talk(DOG, name=f"c-{number}") for number in range(30)])
    whole = path.read_bytes()
    for keep, last in ((0.95, 28), (0.2, 6)):
        path.write_bytes(whole[: int(len(whole) * keep)])
        with pytest.raises(MemoryProxyError, match=f"cannot be read on from conversation {last + 1}: it is cut short"):
            read(path, user="ada")


def test_whose_it_is_has_to_be_said(tmp_path: Path) -> None:
    """There is no user's id in it."""
    with pytest.raises(FormatError, match=r"--user: .* is an export of ChatGPT's and does not say whose it is; add"):
        read(write(tmp_path / "conversations.json", [talk(DOG)]))
