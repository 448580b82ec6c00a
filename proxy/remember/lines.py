"""JSON Lines in: conversations, and memories as an export writes them."""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Final, NamedTuple

import msgspec

from proxy import chain
from proxy.errors import ApiError
from proxy.identity import check_user_id
from proxy.models import Exported, Memory, Message, Scope
from proxy.redaction import Redactor
from proxy.remember.exported import strip
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
    """*first_index*: where in the conversation its messages begin, of which the first were in an earlier line."""

    started_at: datetime
    messages: list[_Said]
    first_index: int = 0


class Brought(NamedTuple):
    """A memory that a line brings, before it has its place among those that are stored.

    *chain* and *parent* as of a record, where the line has all that precedes it; of another turn *link* is the digest
    by which it is known wherever it stands. *told*: the line of an exported memory. *goes_on*: it is of a conversation
    as its client has it now, so that another version of the same is abandoned.
    """

    memory: Memory
    chain: bytes = b""
    parent: bytes = b""
    link: bytes = b""
    told: Exported | None = None
    goes_on: bool = False


class Parsed(NamedTuple):
    """Memories found in some lines, each once, and what could not be read: (line number, reason)."""

    brought: dict[Scope, list[Brought]]
    errors: list[tuple[int, str]]


_kinds = msgspec.json.Decoder(dict[str, msgspec.Raw])
_conversations = msgspec.json.Decoder(_Conversation)
_memories = msgspec.json.Decoder(Exported)


def parse(lines: Iterable[bytes], redactor: Redactor, *, first_line: int = 1, tenant: str = "") -> Parsed:
    """Memories of conversation lines and memory lines, mixed as they like, without secrets. Empty lines are skipped.

    A line that cannot be read is reported with its number and does not stop the rest.
    """
    found: dict[Scope, dict[str, Brought]] = {}
    errors: list[tuple[int, str]] = []
    for number, line in enumerate(lines, first_line):
        if not line.strip():
            continue
        try:
            scope, some = _parse_line(line, tenant, redactor)
        except RecursionError:
            errors.append((number, "it is nested too deeply"))
        except (msgspec.MsgspecError, ValueError, OverflowError, ApiError) as exc:
            errors.append((number, str(exc)[:LONGEST_REASON]))
        else:
            found.setdefault(scope, {}).update((brought.memory.id, brought) for brought in some)
    return Parsed({scope: list(some.values()) for scope, some in found.items()}, errors)


def _parse_line(line: bytes, tenant: str, redactor: Redactor) -> tuple[Scope, list[Brought]]:
    line.decode()  # msgspec does not check what it skips
    if "messages" in _kinds.decode(line):
        conversation = _conversations.decode(line)
        if not 0 <= conversation.first_index <= LARGEST_NUMBER:
            raise ValueError(f"first_index: should be a number from 0 to {LARGEST_NUMBER:,}")
        scope = _scope(conversation.user_id, tenant)
        return scope, list(_read_turns(scope, conversation, redactor))
    told = _memories.decode(line)
    scope = _scope(told.user_id, tenant)
    return scope, [_read_memory(scope, told, redactor)]


def _read_memory(scope: Scope, told: Exported, redactor: Redactor) -> Brought:
    if not 0 < len(told.id) <= 128 or not told.id.isprintable():
        raise ValueError("id: should have 1 to 128 printable characters")
    numbers = [told.message_index, told.seen, *(index for _, index in told.sources)]
    if not all(abs(number) <= LARGEST_NUMBER for number in numbers):
        raise ValueError(f"message_index, seen, sources: should be no number beyond {LARGEST_NUMBER:,}")
    memory = msgspec.structs.replace(
        strip(told),
        created_at=_in_utc(told.created_at),
        valid_until=told.valid_until and _in_utc(told.valid_until),
        text=redactor.redact(told.text).text,
        quote=told.quote and redactor.redact(told.quote).text,
    )
    link = chain.digest(scope, Message(told.role, told.text)) if told.kind == "turn" else b""
    return Brought(memory, link=link, told=told)


def _scope(user_id: str, tenant: str) -> Scope:
    return Scope(check_user_id(user_id), tenant)


def _in_utc(when: datetime) -> datetime:
    return when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)


def _read_turns(scope: Scope, conversation: _Conversation, redactor: Redactor) -> Iterator[Brought]:
    started = _in_utc(conversation.started_at)
    said = [
        (index, one)
        for index, one in enumerate(conversation.messages, conversation.first_index)
        if one.role in ("user", "assistant") and one.content.strip()
    ]
    end = b"" if conversation.first_index else _start(scope, conversation, [one for _, one in said])
    for index, one in said:
        at = _in_utc(one.created_at) if one.created_at else started
        link = chain.digest(scope, Message(one.role, one.content))
        start, end = end, chain.extend(end, [link]) if end else b""
        message = Message(one.role, redactor.redact(one.content).text, one.name)
        memory = make_turn(scope, conversation.conversation_id, index, message, at)
        yield Brought(memory, end, start, link, goes_on=True)


def _start(scope: Scope, conversation: _Conversation, said: list[_Said]) -> bytes:
    """What the chain begins with: as in the requests of a client, that names the conversation or does not."""
    name = conversation.conversation_id
    if chain.is_recognised(name):
        texts = [Message(one.role, one.content) for one in said]
        return chain.start(scope, None if chain.recognise(scope, texts) == name else name)
    return chain.start(scope, name)
