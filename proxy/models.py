"""The few things that flow through the house. Immutable, and free of behaviour that needs anything else.

``gc=False``: what there are many of holds no references that could form a cycle, so that Python's collector need not
walk over hundreds of thousands of memories, which would hold up every stream.
"""

import hashlib
from datetime import UTC, datetime
from functools import cached_property
from typing import Final, Literal
from zlib import crc32

import msgspec

from proxy.cues.base import StatementKind
from proxy.statements import Statement

Mode = Literal["full", "read", "write", "shadow", "off"]
Status = Literal["injected", "empty", "anonymous", "off", "shadow", "skipped", "timeout", "error"]
Kind = Literal["turn", "fact"]
Origin = Literal["said", "extracted", "hand"]

# Everybody's users are spread over so many parts: of the store (its shards), of a journal that replicas share, and of
# who may write at a time. A user's load costs the same with 1,000 and with 100,000 memories of others in the part.
PARTS: Final = 16


def now() -> datetime:
    """The current time, in UTC and with its zone."""
    return datetime.now(UTC)


def find_part(user_key: str) -> int:
    """The number of the part in which a user is."""
    return crc32(user_key.encode()) % PARTS


class Scope(msgspec.Struct, frozen=True, dict=True):
    """Whose memories: one user of one tenant. User ids are data: never a path, a query or a label."""

    user_id: str
    tenant: str = ""

    @cached_property
    def key(self) -> str:
        """What stores know the user by: 32 hexadecimal digits, so that no user id can be more than data to them."""
        raw = f"{self.tenant}\x00{self.user_id}".encode()
        return hashlib.blake2b(raw, digest_size=16, person=b"mp-user").hexdigest()

    @property
    def part(self) -> int:
        """The number of the part in which the user is."""
        return find_part(self.key)


class Message(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One thing said, as text. *name* is the speaker where a conversation names several."""

    role: str
    text: str
    name: str | None = None
    created_at: datetime | None = None


class Exchange(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one finished request adds to a conversation: the user's new messages and the assistant's reply.

    *first_index* is the position of ``messages[0]`` among the conversation's user and assistant texts; system,
    developer and tool messages do not count, so that a position does not move when a client adds one. *at*: when the
    request came, before its answer. *truncated*: of the reply, the last of *messages*, there is only the beginning.

    *chain*: from :mod:`proxy.chain`, of all that precedes ``messages[0]``, and *prior* the digests of the last of that,
    one after the other. *links*: the digests of *messages*, before anything in them was masked. *named*: the
    conversation's id is the client's own.

    *step*: the request handed a tool's result back, so that its question is known already, or is nobody's. A request
    that is answered with calls of tools has no reply. *echo*: the reply says little that the block of
    memories had not said. *block*: that block, where a model is to look for facts. *traceparent*: the span of the
    request, where it has one that somebody keeps.
    """

    user_id: str
    conversation_id: str
    first_index: int
    messages: list[Message]
    at: datetime
    tenant: str = ""
    truncated: bool = False
    chain: bytes = b""
    prior: bytes = b""
    links: bytes = b""
    named: bool = False
    step: bool = False
    echo: bool = False
    block: str = ""
    traceparent: str = ""

    @property
    def scope(self) -> Scope:
        return Scope(self.user_id, self.tenant)


class Memory(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One thing remembered, in the shape that the control plane and exported files show.

    A ``fact`` tells in *sources* which messages of which conversations it is from, and in *quote* what was said there,
    to the letter. *origin* ``hand``: somebody has written or corrected it. What *superseded_by* another memory held
    until *valid_until*. *seen*: how often it was said.
    """

    id: str
    user_id: str
    kind: Kind
    role: str
    text: str
    created_at: datetime
    conversation_id: str
    message_index: int
    name: str | None = None
    superseded_by: str | None = None
    valid_until: datetime | None = None
    sources: tuple[tuple[str, int], ...] = ()
    quote: str | None = None
    origin: Origin = "said"
    seen: int = 1


class Exported(Memory, frozen=True, omit_defaults=True, gc=False, kw_only=True):
    """A memory as a line of an export has it. Of a fact it tells, beside what lists show, what the fact *states* as a
    whole and about which *topic*, which its words alone do not tell.
    """

    states: StatementKind | None = None
    topic: str = ""


class Usage(msgspec.Struct, frozen=True, gc=False):
    """Tokens of one answer, as an upstream counts them.

    *prompt* includes *cached*, those that a prompt cache had; None where nobody says.
    """

    prompt: int
    completion: int
    cached: int | None = None


class Details(msgspec.Struct):
    """What an answer tells of itself, filled while it is read. *text*: what was said, if it came to its end."""

    id: str | None = None
    model: str | None = None
    finish_reason: str = ""
    usage: Usage | None = None
    text: str = ""


class EmbeddingModel(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """A model that vectors are made with, and where it answers; no key or password is in it.

    *name*: its embedder's. *dim*: numbers in a vector, 0 for words alone. *again*: tells vectors of models apart that
    went by the same name, see :class:`Embedding`.
    """

    provider: str
    name: str
    dim: int
    model: str | None = None
    base_url: str | None = None
    again: int = 0

    @property
    def label(self) -> str:
        """What records call it."""
        return f"{self.name}#{self.again}" if self.again else self.name

    def compares_with(self, other: "EmbeddingModel | None") -> bool:
        """Whether vectors of both can be held against each other, wherever they were made."""
        return other is not None and (self.name, self.dim, self.again) == (other.name, other.dim, other.again)

    def __str__(self) -> str:
        return f"{self.name} ({f'{self.dim} dimensions' if self.dim else 'words alone'})"


class Embedding(msgspec.Struct, frozen=True, omit_defaults=True):
    """By vectors of which model a store is *serving*, and to which *target* its memories are on their way, if to any.

    *misses*: how often something was written meanwhile that has no vector of the target. *again*: how often vectors
    were given up because behind a model's name there was another one, so that no label comes twice.
    """

    serving: EmbeddingModel
    target: EmbeddingModel | None = None
    misses: int = 0
    again: int = 0


class Record(msgspec.Struct, frozen=True, omit_defaults=True):
    """A memory with what is needed to find it.

    *vector*: little-endian float16, unit length, or empty where there is no embedder.
    *terms*: from :func:`proxy.text.pack_terms`, made by analysis version *analysis*.
    *model*: the label of the model that made the vector; vectors of different models do not compare.
    *statements*: what a user states in the text for good, by the same analysis as *terms*; of a fact, what it is about.
    *chain*, *parent*: of a turn, from :mod:`proxy.chain`: the conversation up to it, and up to what precedes it.
    *other_vector*, *other_model*: the same of a second model, while memories move from one to the other and after it.
    """

    memory: Memory
    vector: bytes
    terms: bytes
    analysis: int
    model: str = ""
    statements: tuple[Statement, ...] = ()
    chain: bytes = b""
    parent: bytes = b""
    other_vector: bytes = b""
    other_model: str = ""


class Pack(msgspec.Struct, frozen=True):
    """Many records side by side, as the keeper sends them: decoding is a handful of array views, not a loop.

    *vectors*: n × dim little-endian float16; *hashes*/*counts*: each memory's distinct terms one after the other as
    little-endian uint32 / uint16; *sizes*: uint32, how many distinct terms each memory has; *statements*: those of
    all memories, each with the number of its memory. *model*: what the vectors are of, where that is known.
    """

    memories: list[Memory]
    dim: int
    vectors: bytes
    hashes: bytes
    counts: bytes
    sizes: bytes
    statements: list[tuple[int, Statement]] = []
    model: EmbeddingModel | None = None
