"""What goes into an extraction and what comes out of it."""

from datetime import datetime
from typing import Final, Literal, get_args

import msgspec

FactKind = Literal["fact", "preference", "instruction"]

# Why a fact that the model gave is not believed.
Reason = Literal[
    "malformed",  # no fact at all: wrong types, empty, too long
    "excess",  # more than a call may give
    "secret",  # has the mark of something masked
    "vague",  # says nothing, or not whom it is about
    "short",  # its quote says nothing
    "unquoted",  # its quote is not there
    "context",  # its quote was looked at before
    "assistant",  # the assistant's claim
    "restated",  # from the block of memories, or from what is known
    "echo",  # its quote repeats a line of the block
    "pretended",  # role play, supposition, quotation, code
    "question",  # only asked
    "translated",  # in another language than its quote
    "attributed",  # somebody else's, or somebody else's view
    "negated",  # one of both denies it
    "modal",  # wished or planned by one of both
    "past",  # over by one of both
    "dated",  # a date that what was said does not allow
    "unsupported",  # other words than the user's
]
REASONS: Final = frozenset(get_args(Reason))

MOST_FACTS: Final = 20
LONGEST_FACT: Final = 300
LONGEST_QUOTE: Final = 600
LONGEST_TOPIC: Final = 64


class Said(msgspec.Struct, frozen=True):
    """One message. *context*: was looked at before, and is there to understand the rest; no fact comes from it."""

    conversation_id: str
    index: int
    role: Literal["user", "assistant"]
    text: str
    at: datetime
    name: str | None = None
    context: bool = False


class Known(msgspec.Struct, frozen=True):
    """A fact of this user's that is stored already."""

    id: str
    text: str
    topic: str
    at: datetime


class Batch(msgspec.Struct, frozen=True):
    """What to look for facts in: messages of one conversation, in order.

    *block*: what of memory was injected into that conversation, "" if nothing. *spans*: those of the requests that had
    them, as ``traceparent`` has it.
    """

    messages: list[Said]
    block: str
    known: list[Known]
    spans: tuple[str, ...] = ()


class Fact(msgspec.Struct, frozen=True):
    """Something that the user's own words support.

    *quote*: a literal part of the message *source*. *topic*: a short key such as ``diet`` or ``pet:biscuit``, "" where
    it has none. *same_as*, *replaces*, *contradicts*: ids out of :attr:`Batch.known`.
    """

    text: str
    quote: str
    source: tuple[str, int]
    said_at: datetime
    kind: FactKind
    topic: str = ""
    same_as: str | None = None
    replaces: str | None = None
    contradicts: str | None = None


class Extraction(msgspec.Struct, frozen=True):
    """*dropped*: how many of the model's facts were not believed, by reason."""

    facts: list[Fact]
    dropped: dict[str, int]
    calls: int
    tokens: int


class Item(msgspec.Struct, frozen=True):
    """A fact as the model gives it; numbers are those of the prompt."""

    text: str
    quote: str
    message: int
    kind: FactKind = "fact"
    topic: str = ""
    same_as: int | None = None
    replaces: int | None = None
    contradicts: int | None = None
