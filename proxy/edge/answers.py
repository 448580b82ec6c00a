"""What the control plane answers, as it is sent and as its document describes it."""

from collections.abc import Iterable
from typing import Literal

import msgspec

from proxy.keeper.wire import UserRow
from proxy.models import Memory, Status


class UserList(msgspec.Struct, frozen=True):
    """Users, latest activity first. *cursor* leads to the next page; null with the last."""

    users: list[UserRow]
    cursor: str | None


class MemoryList(msgspec.Struct, frozen=True):
    """One user's memories, newest first. *cursor* leads to the next page; null with the last."""

    memories: list[Memory]
    cursor: str | None


class Scored(Memory, frozen=True, omit_defaults=True, kw_only=True):
    """A memory with what ranking gave it; scores of different queries do not compare."""

    score: float


class Found(msgspec.Struct, frozen=True):
    """What would be injected for a query. Memories are oldest first; *block* is null where nothing would be."""

    status: Status
    tokens: int
    elapsed_ms: float
    block: str | None
    memories: list[Scored]


class BadLine(msgspec.Struct, frozen=True):
    """A line of an import that could not be read. Lines are numbered from 1."""

    line: int
    reason: str


class ImportReport(msgspec.Struct, frozen=True, omit_defaults=True):
    """What an import did. *unnamed*: bad lines beyond those that *errors* names. *evicted*: memories that retention has
    removed for it.
    """

    stored: int
    known: int
    errors: list[BadLine]
    unnamed: int = 0
    evicted: int = 0


class Retried(msgspec.Struct, frozen=True):
    """How many journal entries are tried again."""

    retried: int


class Dropped(msgspec.Struct, frozen=True):
    """How many journal entries were given up."""

    dropped: int


class Liveness(msgspec.Struct, frozen=True):
    """Whether the process should be left alone."""

    status: Literal["ok", "draining"]


class JournalHealth(msgspec.Struct, frozen=True, omit_defaults=True):
    """The journal's part of ``/readyz``: how much waits to be stored, to be looked at by an extraction model, and was
    set aside; *reason*: why, of what was set aside first.
    """

    pending: int
    extracting: int
    failed: int
    reason: str | None = None


class Readiness(msgspec.Struct, frozen=True):
    """Whether chats get their memory. *checks*: each part's state, "ok" where it is well."""

    status: Literal["ready", "degraded"]
    checks: dict[str, str]
    journal: JournalHealth | None


class Error(msgspec.Struct, frozen=True):
    """An error in OpenAI's shape."""

    message: str
    type: str
    param: str | None
    code: str


class ErrorBody(msgspec.Struct, frozen=True):
    """How every error is answered."""

    error: Error


def write_lines(memories: Iterable[Memory], *, superseded: bool) -> bytes:
    """*memories* as JSON Lines; without *superseded* only those that hold."""
    return b"".join(
        msgspec.json.encode(memory) + b"\n" for memory in memories if superseded or memory.superseded_by is None
    )
