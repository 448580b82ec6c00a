"""What the control plane answers, as it is sent and as its document describes it."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Literal

import msgspec

from proxy.keeper.wire import UserRow
from proxy.models import Memory, Mode, Status
from proxy.observe.traces import Trace
from proxy.recall.why import Why

if TYPE_CHECKING:
    from proxy.recall.composing import Block  # with all of recall, which commands do not need


class UserList(msgspec.Struct, frozen=True):
    """Users, latest activity first. *cursor* leads to the next page; null with the last."""

    users: list[UserRow]
    cursor: str | None


class MemoryList(msgspec.Struct, frozen=True):
    """One user's memories, newest first. *cursor* leads to the next page; null with the last."""

    memories: list[Memory]
    cursor: str | None


class Scored(Memory, frozen=True, omit_defaults=True, kw_only=True):
    """A memory with what ranking gave it, and *why*; scores of different queries do not compare.

    What always holds has a score of 0 where nobody asked for it, and no reason.
    """

    score: float
    why: Why | None = None


class Found(msgspec.Struct, frozen=True):
    """What would be injected for a query. Memories are oldest first; *block* is null where nothing would be."""

    status: Status
    tokens: int
    elapsed_ms: float
    block: str | None
    memories: list[Scored]


class Word(msgspec.Struct, frozen=True):
    """A word that was looked for, as the index knows it, and what it weighs: the rarer, the more."""

    word: str
    weight: float


class SearchResult(msgspec.Struct, frozen=True):
    """Memories that have to do with a query, best first.

    *relevance*: from 0 on memory has something to say to the query, a little below nobody can tell.
    """

    elapsed_ms: float
    relevance: float
    words: list[Word]
    memories: list[Scored]


class TraceList(msgspec.Struct, frozen=True):
    """The last chats, newest first. *cursor* leads to the next page; null with the last."""

    traces: list[Trace]
    cursor: str | None


class Access(msgspec.Struct, frozen=True):
    """What this proxy is, and what whoever asks may do. *content*: traces have words. *tenants*: of the clients that
    are configured, empty without any.
    """

    version: str
    read_only: bool
    content: bool
    tenants: list[str]
    mode: Mode
    placement: str
    budget_tokens: int
    embedding: str


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


class Readiness(msgspec.Struct, frozen=True, omit_defaults=True):
    """Whether chats get their memory. *checks*: each part's state, "ok" where it is well. *embedding*: which models are
    in force and configured, where these are two; that makes nothing unready.
    """

    status: Literal["ready", "degraded"]
    checks: dict[str, str]
    journal: JournalHealth | None
    embedding: str | None = None


class Error(msgspec.Struct, frozen=True):
    """An error in OpenAI's shape."""

    message: str
    type: str
    param: str | None
    code: str


class ErrorBody(msgspec.Struct, frozen=True):
    """How every error is answered."""

    error: Error


def tell_score(memory: Memory, score: float, why: Why | None) -> Scored:
    """A memory that was found."""
    return Scored(**msgspec.structs.asdict(memory), score=round(score, 4), why=why)


def tell_block(status: Status, block: "Block | None", why: Mapping[str, Why], elapsed_ms: float) -> Found:
    """What would be injected. *why*: the reasons of memories that have some, by id."""
    if block is None:
        return Found(status, 0, round(elapsed_ms, 3), None, [])
    memories = [
        tell_score(memory, score, why.get(memory.id) if score else None)
        for memory, score in zip(block.memories, block.scores, strict=True)
    ]
    return Found(status, block.tokens, round(elapsed_ms, 3), block.text, memories)


def write_lines(memories: Iterable[Memory], *, superseded: bool) -> bytes:
    """*memories* as JSON Lines; without *superseded* only those that hold."""
    return b"".join(
        msgspec.json.encode(memory) + b"\n" for memory in memories if superseded or memory.superseded_by is None
    )
