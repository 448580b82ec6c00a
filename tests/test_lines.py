"""JSON Lines in: both kinds, and lines that cannot be read."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec
import pytest

from proxy import chain
from proxy.config import Redaction
from proxy.models import Memory, Scope
from proxy.redaction import Redactor
from proxy.remember import lines

TALK: dict[str, Any] = {
    "user_id": "ada",
    "conversation_id": "c1",
    "started_at": "2026-01-02T03:04:05Z",
    "messages": [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "Hello", "name": "Ada"},
        {"role": "assistant", "content": "Hi", "created_at": "2026-01-02T04:00:00+01:00"},
        {"role": "tool", "content": "42"},
        {"role": "user", "content": "  "},
    ],
}
STARTED = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
MEMORY: dict[str, Any] = {
    "id": "m1",
    "user_id": "bob",
    "kind": "turn",
    "role": "user",
    "text": "I ski.",
    "created_at": "2026-01-02T03:04:05Z",
    "conversation_id": "c2",
    "message_index": 3,
}


class Parsed(NamedTuple):
    memories: dict[Scope, list[Memory]]
    errors: list[tuple[int, str]]


def parse(sent: Sequence[bytes], *, first_line: int = 1, tenant: str = "") -> Parsed:
    brought, errors = lines.parse(sent, Redactor(Redaction()), first_line=first_line, tenant=tenant)
    return Parsed({scope: [one.memory for one in some] for scope, some in brought.items()}, errors)


def line(record: dict[str, Any], **changes: Any) -> bytes:
    return json.dumps({**record, **changes}).encode()


def test_a_conversation_becomes_its_turns() -> None:
    """Only what user and assistant said, at its place among all messages; own dates go before the start's, in UTC."""
    parsed = parse([line(TALK)])
    assert not parsed.errors
    turns = parsed.memories[Scope("ada")]
    assert [(turn.role, turn.text, turn.name, turn.message_index) for turn in turns] == [
        ("user", "Hello", "Ada", 1),
        ("assistant", "Hi", None, 2),
    ]
    assert [turn.created_at for turn in turns] == [STARTED, datetime(2026, 1, 2, 3, tzinfo=UTC)]


def test_a_memory_is_taken_as_it_is() -> None:
    """An exported memory keeps its id."""
    assert parse([line(MEMORY)]).memories == {Scope("bob"): [msgspec.convert(MEMORY, Memory)]}


def test_both_kinds_mix_and_users_are_kept_apart() -> None:
    """Lines of several users and kinds in one file, with empty lines between."""
    parsed = parse([line(TALK), b"", b"  \r", line(MEMORY), line(TALK, user_id="bob")], tenant="acme")
    assert {scope: len(memories) for scope, memories in parsed.memories.items()} == {
        Scope("ada", "acme"): 2,
        Scope("bob", "acme"): 3,
    }


def test_what_is_exported_can_be_imported() -> None:
    """A memory written as JSON and read again is the same, whatever is in it."""
    memory = Memory(
        id="x-1",
        user_id="b\u00f6b \U0001f600 'quote' $ne",
        kind="fact",
        role="assistant",
        text='line one\nline two "quoted" \u2028 \u0000',
        created_at=datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC),
        conversation_id="c/1",
        message_index=0,
        name="N",
        superseded_by="y",
    )
    assert parse([msgspec.json.encode(memory)]).memories == {Scope(memory.user_id): [memory]}


def test_a_date_without_a_zone_is_utc() -> None:
    """Dates that do not say where they are from are taken as UTC."""
    (memory,) = parse([line(MEMORY, created_at="2026-01-02T03:04:05")]).memories[Scope("bob")]
    assert memory.created_at == STARTED


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (b"{", "truncated"),
        (b"no json", "malformed"),
        (b"[]", "object"),
        (b"\xff", "utf-8"),
        (b'{"user_id": "\xff", "messages": []}', "utf-8"),
        (line(TALK, user_id=""), "empty"),
        (line(TALK, user_id="x" * 257), "257"),
        (line(TALK, user_id="a\u0000b"), "control"),
        (line(TALK, user_id=7), "user_id"),
        (line(TALK, started_at="yesterday"), "started_at"),
        (line(TALK, started_at=None), "started_at"),
        (line(TALK, messages=[{"role": "user"}]), "content"),
        (line(TALK, messages=[{"role": "user", "content": None}]), "content"),
        (line(TALK, messages="hello"), "messages"),
        (line(MEMORY, id=""), "id"),
        (line(MEMORY, id="x" * 129), "id"),
        (line(MEMORY, id="a\nb"), "id"),
        (line(MEMORY, kind="opinion"), "kind"),
        (line(MEMORY, text=None), "text"),
        (b'{"user_id": "ada"}', "missing"),
        (line(MEMORY, text="half a pair: \ud83d"), ""),
        (line(TALK, messages=[{"role": "user", "content": "\ud83d"}]), ""),
        (b"[" * 100_000, ""),
        (line(TALK, first_index=-1), "first_index"),
        (line(TALK, first_index=1 << 40), "first_index"),
        (line(TALK, started_at="0001-01-01T00:00:00+14:00"), ""),
        (line(MEMORY, created_at="9999-12-31T23:59:59-14:00"), ""),
    ],
    ids=range(27),
)
def test_bad_lines_are_named_and_stop_nothing(bad: bytes, reason: str) -> None:
    """The number and the reason are told, counted from where the piece begins in its file; the rest is read."""
    parsed = parse([line(MEMORY), bad, line(MEMORY, id="m2")], first_line=100)
    assert [memory.id for memory in parsed.memories[Scope("bob")]] == ["m1", "m2"]
    ((number, why),) = parsed.errors
    assert number == 101
    assert reason.lower() in why.lower()
    assert "\n" not in why


def test_secrets_are_masked_in_both_kinds_of_line() -> None:
    """An import is no way around it."""
    secret = "ghp_" + "A1b2C3d4" * 4 + "E5f6"
    talk = line(TALK, messages=[{"role": "user", "content": f"It is {secret}."}])
    parsed = parse([talk, line(MEMORY, text=f"Kept: {secret}", quote=secret)])
    assert [memory.quote for some in parsed.memories.values() for memory in some] == [None, "[secret: github_token]"]
    assert [memory.text for some in parsed.memories.values() for memory in some] == [
        "It is [secret: github_token].",
        "Kept: [secret: github_token]",
    ]


def test_turns_of_a_line_are_chained() -> None:
    """A live conversation of the same name goes on from them."""
    brought, _ = lines.parse([line(TALK)], Redactor(Redaction()))
    first, second = brought[Scope("ada")]
    assert first.parent == chain.start(Scope("ada"), "c1")
    assert second.parent == first.chain
