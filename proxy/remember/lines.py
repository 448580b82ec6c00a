"""JSON Lines in: conversations, and memories as an export writes them."""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Final, NamedTuple

import msgspec

from proxy import chain
from proxy.errors import ApiError
from proxy.identity import check_user_id
from proxy.models import Memory, Message, Scope
from proxy.redaction import Redactor
from proxy.remember.plan import Draft
from proxy.remember.records import find_stated
from proxy.remember.segment import make_turn

# Of what is said of a bad line: it quotes the line.
LONGEST_REASON: Final = 300
# What every place that a memory goes through has room for.
LARGEST_NUMBER: Final = (1 << 31) - 1


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
        except RecursionError:
            errors.append((number, "it is nested too deeply"))
        except (msgspec.MsgspecError, ValueError, OverflowError, ApiError) as exc:
            errors.append((number, str(exc)[:LONGEST_REASON]))
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
    numbers = [memory.message_index, memory.seen, *(index for _, index in memory.sources)]
    if not all(abs(number) <= LARGEST_NUMBER for number in numbers):
        raise ValueError(f"message_index, seen, sources: should be no number beyond {LARGEST_NUMBER:,}")
    scope = _scope(memory.user_id, tenant)
    text, at = redactor.redact(memory.text).text, _in_utc(memory.created_at)
    until = memory.valid_until and _in_utc(memory.valid_until)
    memory = msgspec.structs.replace(memory, created_at=at, valid_until=until, text=text)
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
