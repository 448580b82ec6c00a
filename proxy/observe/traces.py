"""What is told of one chat that was served, to people who look at requests as they come."""

from datetime import datetime

import msgspec
from msgspec import UNSET, UnsetType

from proxy.models import Usage


class Recalled(msgspec.Struct, frozen=True, gc=False):
    """A memory that a chat was given. Not its text, which may be erased by the time that somebody looks."""

    id: str
    score: float


class Trace(msgspec.Struct, frozen=True):
    """One chat, from its head to its end.

    *number*: when it ended, in microseconds since 1970, and a little later where another one has that number already.
    *code*: its status, or ``gone`` where the client left and ``truncated`` where the upstream died. *memory*: what
    ``X-Memory-Status`` said, "" where memory was not asked. *error*: what of the proxy's own it was refused with.
    *first_token_ms*: from the request's coming to the first byte of its answer's body; null without one.

    The words are there only with ``traces.content``: *block* as upstream saw it, *question* and *answer* without
    secrets.
    """

    id: str
    number: int
    at: datetime
    user_id: str | None
    tenant: str
    client: str
    conversation_id: str | None
    model: str | None
    stream: bool
    code: str
    memory: str
    error: str
    count: int
    tokens: int
    memories: list[Recalled]
    recall_ms: float
    first_token_ms: float | None
    total_ms: float
    usage: Usage | None
    block: str | UnsetType = UNSET
    question: str | UnsetType = UNSET
    answer: str | UnsetType = UNSET

    def without_words(self) -> "Trace":
        """The same, without what was said."""
        return msgspec.structs.replace(self, block=UNSET, question=UNSET, answer=UNSET)
