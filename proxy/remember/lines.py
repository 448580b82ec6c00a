"""JSON Lines in: conversations, and memories as an export writes them."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import NamedTuple

import msgspec

from proxy.errors import ApiError
from proxy.identity import check_user_id
from proxy.models import Memory, Message, Scope
from proxy.remember.segment import make_turn


class _Line(msgspec.Struct):
    """What both kinds of line have."""

    user_id: str
    conversation_id: str


class _Said(msgspec.Struct):
    role: str
    content: str
    name: str | None = None
    created_at: datetime | None = None


class _Conversation(_Line):
    started_at: datetime
    messages: list[_Said]


class Parsed(NamedTuple):
    """Memories found in some lines, and what could not be read: (line number, reason)."""

    memories: dict[Scope, list[Memory]]
    errors: list[tuple[int, str]]


_kinds = msgspec.json.Decoder(dict[str, msgspec.Raw])
_conversations = msgspec.json.Decoder(_Conversation)
_memories = msgspec.json.Decoder(Memory)


def parse(lines: Iterable[bytes], *, first_line: int = 1, tenant: str = "") -> Parsed:
    """Memories of conversation lines and memory lines, mixed as they like. Empty lines are skipped.

    A line that cannot be read is reported with its number and does not stop the rest.
    """
    parsed = Parsed({}, [])
    for number, line in enumerate(lines, first_line):
        if not line.strip():
            continue
        try:
            scope, memories = _parse_line(line, tenant)
        except (msgspec.MsgspecError, ValueError, OverflowError, ApiError) as exc:
            parsed.errors.append((number, str(exc)))
        else:
            parsed.memories.setdefault(scope, []).extend(memories)
    return parsed


def _parse_line(line: bytes, tenant: str) -> tuple[Scope, list[Memory]]:
    line.decode()  # msgspec does not check what it skips
    if "messages" in _kinds.decode(line):
        conversation = _conversations.decode(line)
        scope = _scope(conversation.user_id, tenant)
        return scope, _turns(scope, conversation)
    memory = _memories.decode(line)
    if not 0 < len(memory.id) <= 128 or not memory.id.isprintable():
        raise ValueError("id: should have 1 to 128 printable characters")
    scope = _scope(memory.user_id, tenant)
    return scope, [msgspec.structs.replace(memory, created_at=_in_utc(memory.created_at))]


def _scope(user_id: str, tenant: str) -> Scope:
    return Scope(check_user_id(user_id), tenant)


def _in_utc(when: datetime) -> datetime:
    return when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)


def _turns(scope: Scope, conversation: _Conversation) -> list[Memory]:
    started = _in_utc(conversation.started_at)
    turns = []
    for index, said in enumerate(conversation.messages):
        if said.role in ("user", "assistant") and said.content.strip():
            at = _in_utc(said.created_at) if said.created_at else started
            message = Message(said.role, said.content, said.name)
            turns.append(make_turn(scope, conversation.conversation_id, index, message, at))
    return turns
