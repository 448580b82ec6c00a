"""JSON Lines in: conversations, and memories as an export writes them."""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import NamedTuple

import msgspec

from proxy import chain
from proxy.errors import ApiError
from proxy.identity import check_user_id
from proxy.models import Memory, Message, Scope
from proxy.redaction import Redactor
from proxy.remember.plan import Draft
from proxy.remember.records import find_stated
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
    """Memories found in some lines, each once, and what could not be read: (line number, reason)."""

    drafts: dict[Scope, list[Draft]]
    errors: list[tuple[int, str]]


_kinds = msgspec.json.Decoder(dict[str, msgspec.Raw])
_conversations = msgspec.json.Decoder(_Conversation)
_memories = msgspec.json.Decoder(Memory)


def parse(lines: Iterable[bytes], redactor: Redactor, *, first_line: int = 1, tenant: str = "") -> Parsed:
    """Memories of conversation lines and memory lines, mixed as they like, without secrets. Empty lines are skipped.

    A line that cannot be read is reported with its number and does not stop the rest.
    """
    drafts: dict[Scope, dict[str, Draft]] = {}
    errors: list[tuple[int, str]] = []
    for number, line in enumerate(lines, first_line):
        if not line.strip():
            continue
        try:
            scope, found = _parse_line(line, tenant, redactor)
        except (msgspec.MsgspecError, ValueError, OverflowError, ApiError) as exc:
            errors.append((number, str(exc)))
        else:
            drafts.setdefault(scope, {}).update((draft.memory.id, draft) for draft in found)
    return Parsed({scope: list(some.values()) for scope, some in drafts.items()}, errors)


def _parse_line(line: bytes, tenant: str, redactor: Redactor) -> tuple[Scope, list[Draft]]:
    line.decode()  # msgspec does not check what it skips
    if "messages" in _kinds.decode(line):
        conversation = _conversations.decode(line)
        scope = _scope(conversation.user_id, tenant)
        return scope, list(_turns(scope, conversation, redactor))
    memory = _memories.decode(line)
    if not 0 < len(memory.id) <= 128 or not memory.id.isprintable():
        raise ValueError("id: should have 1 to 128 printable characters")
    scope = _scope(memory.user_id, tenant)
    text, at = redactor.redact(memory.text).text, _in_utc(memory.created_at)
    memory = msgspec.structs.replace(memory, created_at=at, text=text)
    return scope, [Draft(memory, statements=find_stated(memory))]


def _scope(user_id: str, tenant: str) -> Scope:
    return Scope(check_user_id(user_id), tenant)


def _in_utc(when: datetime) -> datetime:
    return when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)


def _turns(scope: Scope, conversation: _Conversation, redactor: Redactor) -> Iterator[Draft]:
    started = _in_utc(conversation.started_at)
    end = chain.start(scope, conversation.conversation_id)
    for index, said in enumerate(conversation.messages):
        if said.role in ("user", "assistant") and said.content.strip():
            at = _in_utc(said.created_at) if said.created_at else started
            start, end = end, chain.extend(end, [chain.digest(scope, Message(said.role, said.content))])
            message = Message(said.role, redactor.redact(said.content).text, said.name)
            memory = make_turn(scope, conversation.conversation_id, index, message, at)
            yield Draft(memory, end, start, find_stated(memory))
