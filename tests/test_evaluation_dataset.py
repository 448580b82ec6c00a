"""Reading data sets, and what is said of those that cannot be read."""

import gzip
import json
from pathlib import Path

import pytest

from proxy.errors import ConfigError
from proxy.evaluation.dataset import read_data_set
from tests.datasets import make_chat, make_conversation, make_question, write_set


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    conversations = [
        make_conversation(0, "My dog is called Rex", "I work as a baker"),
        make_conversation(1, "I moved to Berlin"),
        make_conversation(0, "My dog is called Bo", user="carl"),
    ]
    return write_set(tmp_path, conversations, [make_question("What is my dog called?", ("ann-0", 0))])


def test_conversations_may_be_compressed(folder: Path) -> None:
    """A .gz file is read like the plain one, empty lines and all."""
    plain = folder / "conversations.jsonl"
    (folder / "conversations.jsonl.gz").write_bytes(gzip.compress(plain.read_bytes() + b"\n\n"))
    plain.unlink()
    assert {user: len(said) for user, said in read_data_set(folder).memories.items()} == {"ann": 3, "carl": 1}


def test_messages_become_memories_with_place_and_date(folder: Path) -> None:
    """The evidence of a question names them by conversation and position; a message's own date goes first."""
    line = make_conversation(7, "Hello")
    line["messages"].append({"role": "user", "content": "Later", "created_at": "2025-03-04T05:06:07"})
    (folder / "conversations.jsonl").write_text(json.dumps(line))
    (folder / "questions.json").write_text(json.dumps([make_question("When?", ("ann-7", 1))]))
    first, second = read_data_set(folder).memories["ann"]
    assert (first.conversation_id, first.message_index, first.user_id) == ("ann-7", 0, "ann")
    assert [memory.created_at.isoformat() for memory in (first, second)] == [
        "2024-01-08T10:00:00+00:00",
        "2025-03-04T05:06:07+00:00",
    ]
    assert first.id != second.id


def test_friends_in_dialogue_become_user_and_assistant(folder: Path) -> None:
    """Of several speakers the first is the user; where nobody has a name, roles stay."""
    friends = make_conversation(3, "Hi Bo", "Hi Al", "How are you?")
    for message, name in zip(friends["messages"], ("Al", "Bo", "Al"), strict=True):
        message["name"] = name
    write_set(folder, [friends, make_chat(4, "Hi", "Hello")], [make_question("Who?", ("ann-3", 0))])
    held = [conversation.list_messages() for conversation in read_data_set(folder).conversations["ann"]]
    assert [[message.role for message in messages] for messages in held] == [
        ["user", "assistant", "user"],
        ["user", "assistant"],
    ]


def test_a_bad_line_is_named(folder: Path) -> None:
    """What is no conversation is reported with file and line."""
    path = folder / "conversations.jsonl"
    path.write_text(path.read_text() + '\n{"user_id": 5}')
    with pytest.raises(ConfigError, match=r"conversations\.jsonl, line 4: .*user_id"):
        read_data_set(folder)


def test_a_cut_archive_is_an_error(folder: Path) -> None:
    """A compressed file without its end cannot be read."""
    (folder / "conversations.jsonl").unlink()
    (folder / "conversations.jsonl.gz").write_bytes(gzip.compress(b"{}" * 99)[:-9])
    with pytest.raises(ConfigError, match=r"conversations\.jsonl\.gz"):
        read_data_set(folder)


def test_missing_files_are_errors(tmp_path: Path, folder: Path) -> None:
    """Each missing file is named."""
    (folder / "questions.json").unlink()
    with pytest.raises(ConfigError, match=r"questions\.json"):
        read_data_set(folder)
    with pytest.raises(ConfigError, match=r"neither conversations\.jsonl nor"):
        read_data_set(tmp_path / "nowhere")


def test_evidence_that_was_never_said_is_an_error(folder: Path) -> None:
    """A question about another user's message, which could never be found, is named."""
    (folder / "questions.json").write_text(json.dumps([make_question("Dog?", ("carl-0", 0))]))
    with pytest.raises(ConfigError, match=r"question 1 \(Dog\?\): no such message: \('carl-0', 0\)"):
        read_data_set(folder)


@pytest.mark.parametrize("kind", ["plain", "adversarial"])
def test_a_set_without_answerable_questions_is_an_error(folder: Path, kind: str) -> None:
    """Nothing to measure is not a score of zero."""
    questions = [make_question("Dog?", ("ann-0", 0), kind=kind)] if kind == "adversarial" else []
    (folder / "questions.json").write_text(json.dumps(questions))
    with pytest.raises(ConfigError, match="no question with evidence"):
        read_data_set(folder)
