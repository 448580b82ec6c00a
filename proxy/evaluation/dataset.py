"""Data sets with known answers: what was said, what is asked of it, and where the answers stand."""

import gzip
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Final

import msgspec

from proxy.errors import ConfigError
from proxy.models import Memory, Message, Scope
from proxy.remember.segment import make_turn

# Questions to which the right answer is that nothing was said. LoCoMo's adversarial ones have evidence all the same.
APART: Final = frozenset({"adversarial", "abstention"})

Position = tuple[str, int]


class _Said(msgspec.Struct):
    role: str
    content: str
    name: str | None = None
    created_at: datetime | None = None


class _Line(msgspec.Struct):
    user_id: str
    conversation_id: str
    started_at: datetime
    messages: list[_Said]


class Question(msgspec.Struct):
    """One entry of ``questions.json``; *evidence* are the messages that hold the answer."""

    user_id: str
    id: str
    type: str
    question: str
    evidence: list[Position]
    answer: str = ""
    asked_at: datetime | None = None

    @property
    def is_apart(self) -> bool:
        """Whether the question is left out of figures over all types."""
        return self.type in APART


@dataclass(frozen=True, slots=True)
class Conversation:
    """What a user's conversation left behind: every message as a verbatim memory."""

    id: str
    started_at: datetime
    memories: list[Memory]

    def list_messages(self) -> list[Message]:
        """The messages as a chat has them: where several people speak as "user", the first is the user, others answer.

        So LoCoMo's dialogues between two friends can be held again like any other chat.
        """
        first = self.memories[0].name if self.memories else None
        return [Message("assistant" if memory.name != first else memory.role, memory.text) for memory in self.memories]


@dataclass(frozen=True)
class DataSet:
    """Every user's conversations, in the order of the file, and the questions about them."""

    conversations: dict[str, list[Conversation]]
    questions: list[Question]

    @cached_property
    def memories(self) -> dict[str, list[Memory]]:
        """Every user's memories, in the order of the file."""
        return {
            user_id: [memory for conversation in conversations for memory in conversation.memories]
            for user_id, conversations in self.conversations.items()
        }

    def questions_of(self, user_id: str) -> list[Question]:
        """Those of the user's questions that have evidence."""
        return [question for question in self.questions if question.user_id == user_id and question.evidence]


def read_data_set(directory: Path) -> DataSet:
    """The data set in *directory*: ``conversations.jsonl`` or ``conversations.jsonl.gz``, and ``questions.json``.

    Raises ConfigError, naming file and line, when the files cannot be read or do not fit together.
    """
    conversations = _read_conversations(directory)
    path = directory / "questions.json"
    data_set = DataSet(conversations, read_questions(path))
    _check_evidence(path, data_set)
    if not any(question.evidence and not question.is_apart for question in data_set.questions):
        raise ConfigError(f"{path}: no question with evidence")
    return data_set


def read_questions(path: Path) -> list[Question]:
    """Questions alone, for a set whose conversations do not matter. Raises ConfigError."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=list[Question])
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise ConfigError(f"{path}: not a list of questions: {exc}") from exc


def _read_conversations(directory: Path) -> dict[str, list[Conversation]]:
    conversations: dict[str, list[Conversation]] = {}
    path = _find_conversations(directory)
    for number, raw in enumerate(_read_lines(path), start=1):
        if not raw.strip():
            continue
        try:
            line = msgspec.json.decode(raw, type=_Line)
        except (msgspec.DecodeError, UnicodeDecodeError) as exc:
            raise ConfigError(f"{path}, line {number}: not a conversation: {exc}") from exc
        conversations.setdefault(line.user_id, []).append(_make_conversation(line))
    return conversations


def _find_conversations(directory: Path) -> Path:
    for name in ("conversations.jsonl", "conversations.jsonl.gz"):
        if (directory / name).is_file():
            return directory / name
    raise ConfigError(f"{directory}: neither conversations.jsonl nor conversations.jsonl.gz is there")


def _read_lines(path: Path) -> Iterator[bytes]:
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            yield from file
    except (OSError, EOFError, zlib.error) as exc:
        raise ConfigError(f"{path}: cannot be read: {exc}") from exc


def _make_conversation(line: _Line) -> Conversation:
    scope, started = Scope(line.user_id), _in_utc(line.started_at)
    memories = [
        make_turn(
            scope,
            line.conversation_id,
            index,
            Message(said.role, said.content, said.name, said.created_at and _in_utc(said.created_at)),
            started,
        )
        for index, said in enumerate(line.messages)
    ]
    return Conversation(line.conversation_id, started, memories)


def _in_utc(when: datetime) -> datetime:
    return when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)


def _check_evidence(path: Path, data_set: DataSet) -> None:
    known = {user: {(m.conversation_id, m.message_index) for m in said} for user, said in data_set.memories.items()}
    for number, question in enumerate(data_set.questions, start=1):
        missing = set(question.evidence) - known.get(question.user_id, set())
        if missing:
            raise ConfigError(f"{path}, question {number} ({question.id}): no such message: {min(missing)}")
