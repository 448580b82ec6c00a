"""What the edge and the keeper say to each other, in the frames of :mod:`proxy.keeper.frames`.

A call carries one of the request structs below and is answered by an envelope of the same number, or several of them; a
push has number 0 and is answered by nothing.
"""

from typing import Any, ClassVar

import msgspec

from proxy.keeper.moves import ReembeddingState
from proxy.models import Exported, Memory, Pack, Scope
from proxy.observe.exposition import Family
from proxy.observe.traces import Trace

# Where a listing goes on: the sort key (time, name) of the last item shown, so that what is added or erased meanwhile
# moves no page.
Cursor = tuple[float, str]


class Request(msgspec.Struct, frozen=True, tag=True):
    """Base of all calls. *reply* is the type of a successful answer."""

    reply: ClassVar[Any] = None


class UserRow(msgspec.Struct, frozen=True):
    """One user in a listing. *tenant*: whose user it is, empty where no clients are configured."""

    user_id: str
    memories: int
    last_activity: str | None
    tenant: str = ""


class UserPage(msgspec.Struct, frozen=True):
    users: list[UserRow]
    cursor: Cursor | None


class MemoryPage(msgspec.Struct, frozen=True):
    memories: list[Memory]
    cursor: Cursor | None


class Receipt(msgspec.Struct, frozen=True, omit_defaults=True):
    """What an erasure removed. *digest*: SHA-256, in hexadecimal digits, of the other fields and of the ids of all that
    was erased: two receipts with the same one tell of the same erasure. *tenant*: as in :class:`UserRow`.
    """

    user_id: str
    memories: int
    journal_entries: int
    erased_at: str
    digest: str = ""
    tenant: str = ""


class FailedRow(msgspec.Struct, frozen=True, omit_defaults=True):
    """A journal entry that was set aside. *stage*: what failed, storing it or extracting facts from it."""

    seq: int | str
    user_id: str
    stage: str
    attempts: int
    reason: str
    created_at: str
    tenant: str = ""


class JournalPage(msgspec.Struct, frozen=True):
    """What waits, what was set aside (the oldest first), and why storing fails at present, if it does."""

    pending: int
    extracting: int
    failed: int
    oldest_age_s: float | None
    trouble: str | None
    entries: list[FailedRow]


class Settled(msgspec.Struct, frozen=True):
    """How many journal entries it concerned."""

    count: int


class Flushed(msgspec.Struct, frozen=True):
    """How many journal entries a flush stored, and how many it could not."""

    stored: int
    failed: int


class Imported(msgspec.Struct, frozen=True):
    """What an import did. *errors* are (line number, reason); *unnamed*: how many there are beyond these. *evicted*: of
    the memories that are stored now or were before, those that retention has removed for it.
    """

    stored: int
    known: int
    errors: list[tuple[int, str]]
    unnamed: int = 0
    evicted: int = 0


class KeeperStatus(msgspec.Struct, frozen=True):
    """How the keeper is: its process, queue lengths, and the last reason why storing failed (None when it works).

    *embedding*: what there is to tell of embedding models, if there is anything.
    """

    pid: int
    pending: int
    failed: int
    oldest_age_s: float | None
    trouble: str | None
    extracting: int = 0
    embedding: str | None = None


class Scraped(msgspec.Struct, frozen=True):
    """The keeper's own metrics, and what each of the other edges had to tell last, by its number."""

    keeper: list[Family]
    edges: dict[int, list[Family]] = {}


class Reports(msgspec.Struct, frozen=True):
    """What the other edges had to tell last of one thing."""

    reports: list[bytes]


class Part(msgspec.Struct, frozen=True):
    """Some of a user's memories, and how many more there are to come: 0 with the last. *off*: the user has switched
    memory off, and nothing is told of them.
    """

    pack: Pack
    left: int
    off: bool = False


class Load(Request, frozen=True, tag=True):
    """All memories of one user, newest first, in several answers of the same number. They are those that there were
    when the first was made, less what has been erased meanwhile; other changes are announced, as they always are.
    """

    scope: Scope
    reply: ClassVar[Any] = Part


class Journaled(Request, frozen=True, tag=True):
    """There is something new in the journal. Sent as a push."""


class Held(Request, frozen=True, tag=True):
    """An edge's answer to the :class:`Inquiry` of this number. Sent as a push."""

    number: int
    count: int


class ListUsers(Request, frozen=True, tag=True):
    """Users of a tenant, or with None of all, latest activity first; of these, those whose id has *part* in it."""

    limit: int
    cursor: Cursor | None
    tenant: str | None = None
    part: str = ""
    reply: ClassVar[Any] = UserPage


class ListMemories(Request, frozen=True, tag=True):
    """One user's memories, newest first."""

    scope: Scope
    limit: int
    cursor: Cursor | None
    include_superseded: bool
    reply: ClassVar[Any] = MemoryPage


class ListRows(Request, frozen=True, tag=True):
    """Where all memories of one user are, those first that were first stored: what :class:`ReadRows` takes."""

    scope: Scope
    reply: ClassVar[Any] = list[str]


class ReadRows(Request, frozen=True, tag=True):
    """One user's memories in some rows, as an export has them; those that were erased meanwhile are missing."""

    scope: Scope
    rows: list[str]
    reply: ClassVar[Any] = list[Exported]


class Erase(Request, frozen=True, tag=True):
    """Some memories, or with *memory_ids* None everything about a user."""

    scope: Scope
    memory_ids: list[str] | None
    reply: ClassVar[Any] = Receipt


class Add(Request, frozen=True, tag=True):
    """A memory written by hand."""

    scope: Scope
    text: str
    reply: ClassVar[Any] = Memory


class Edit(Request, frozen=True, tag=True):
    """Another text for a memory, and with *restore* one that was superseded holds again; None where there is none."""

    scope: Scope
    memory_id: str
    text: str | None
    restore: bool = False
    reply: ClassVar[Any] = Memory | None


class Switch(Request, frozen=True, tag=True):
    """Whether memory is off for a user: nothing is recalled and nothing is stored until it is on again."""

    scope: Scope
    off: bool
    reply: ClassVar[Any] = Settled


class ListJournal(Request, frozen=True, tag=True):
    """What waits and what failed."""

    limit: int
    reply: ClassVar[Any] = JournalPage


class RetryFailed(Request, frozen=True, tag=True):
    """Everything that was set aside is tried again."""

    reply: ClassVar[Any] = Settled


class DropFailed(Request, frozen=True, tag=True):
    """Everything that was set aside is deleted."""

    reply: ClassVar[Any] = Settled


class Import(Request, frozen=True, tag=True):
    """JSON Lines to take in, for users of *tenant*; *first_line* is the number of the first of them in its file."""

    lines: bytes
    first_line: int
    tenant: str = ""
    reply: ClassVar[Any] = Imported


class Flush(Request, frozen=True, tag=True):
    """Answered when everything journaled before it is stored or has failed, and with *extract* looked at by the model,
    where there is one.
    """

    extract: bool = True
    reply: ClassVar[Any] = Flushed


class Tell(Request, frozen=True, tag=True):
    """What an edge that is one of several has counted so far, for the others. Sent as a push.

    *reports*: whatever else they are to add to their own, by name; only they know what it means.
    """

    edge: int
    metrics: list[Family]
    reports: dict[str, bytes] = {}


class Traced(Request, frozen=True, tag=True):
    """Chats that an edge that is one of several has served, for the others. Sent as a push, and passed on as one."""

    traces: list[Trace]


class Scrape(Request, frozen=True, tag=True):
    """The metrics of all processes but the one that asks."""

    reply: ClassVar[Any] = Scraped


class GetReports(Request, frozen=True, tag=True):
    """What all edges but the one that asks had to tell under one name."""

    name: str
    reply: ClassVar[Any] = Reports


class Reembed(Request, frozen=True, tag=True):
    """How far memories are on their way to the configured embedding model, to which they are set out with *start*.

    *again*: also those that have vectors of a model of its name.
    """

    start: bool
    again: bool = False
    reply: ClassVar[Any] = ReembeddingState


class Status(Request, frozen=True, tag=True):
    """How are you?"""

    reply: ClassVar[Any] = KeeperStatus


_Pushed = Journaled | Held | Tell | Traced
_Reading = Load | ListUsers | ListMemories | ListRows | ReadRows | ListJournal
_Watching = Scrape | GetReports | Status
_Changing = Erase | Add | Edit | Switch | RetryFailed | DropFailed | Import | Flush | Reembed
AnyRequest = _Pushed | _Reading | _Watching | _Changing


class Changed(msgspec.Struct, frozen=True, tag=True):
    """Pushed by the keeper: a user's memories are different now. *everything*: forget what you have of the user; *off*:
    whether the user has memory switched off, where that has changed. *erased*: some of the *removed* are not only
    superseded but gone, and nothing may tell of them any more.
    """

    scope: Scope
    pack: Pack | None = None
    removed: list[str] = []
    everything: bool = False
    off: bool | None = None
    erased: bool = False


class Inquiry(msgspec.Struct, frozen=True, tag=True):
    """Pushed by the keeper to every edge: how many exchanges does it hold that it could not journal yet? With a user,
    how many of this user's, which it is to forget.
    """

    number: int
    erased: Scope | None = None


class Stale(msgspec.Struct, frozen=True, tag=True):
    """Pushed by the keeper: what you have of these users, named by :attr:`Scope.key`, or with None of all users, may
    not be what there is. It is to be loaded anew.
    """

    users: list[str] | None = None


class InTouch(msgspec.Struct, frozen=True, tag=True):
    """Pushed every now and then by a keeper that is not alone: *age_s* ago it knew all that others had written."""

    age_s: float


Sync = Stale | InTouch


class Failure(msgspec.Struct, frozen=True, tag=True):
    """The call failed; *message* is one line for a person."""

    message: str
