"""The request that is being served, for whoever tells of it: the log, the traces, an error's answer."""

import random
import re
import time
from collections.abc import Sequence
from contextvars import ContextVar
from typing import Final, Protocol, Self

from opentelemetry.trace import Span

from proxy.models import Details, Memory, Message, Scope, Usage

RawHeaders = list[tuple[bytes, bytes]]

REQUEST_ID: Final = b"x-request-id"
# What a log can have on one line and a person can search for.
_PRINTABLE: Final = re.compile(rb"[\x20-\x7e]{1,128}")

# Of a user's key: enough to tell users apart, too few to be looked for in a store.
_USER_DIGITS: Final = 12


class Watch(Protocol):
    """Who follows an answer: *first*, when its body began, 0.0 without one, and *usage*, once it has ended."""

    first: float
    usage: Usage | None


class Served:
    """One request, from its head to its end. Whoever finds out something of it that is worth telling notes it here.

    *began*, *first*: by ``time.perf_counter``; the first byte of its answer's body, 0.0 without one. *memory*: what
    ``X-Memory-Status`` says, "" where memory was not asked. *recalled*: the memories that it was given, by id, with
    their scores. *client*: whose key it came with, where clients are configured. *error*: what of our own it was
    refused with. *watch*: who follows its answer.

    For spans, where there are any: *span* with *traceparent*, which is its name for others; *recalled_at*: when recall
    began, if it did; *details* of the answer. The words that follow are noted only where spans or traces may have them.

    What comes last is for a request that has *ended*, with this *code*: see :class:`~proxy.observe.traces.Trace`.
    """

    memory = ""
    count = 0
    tokens = 0
    recall_s = 0.0
    scope: Scope | None = None
    conversation_id: str | None = None
    model: str | None = None
    is_streamed = False
    recalled: Sequence[tuple[str, float]] = ()
    first = 0.0
    watch: Watch | None = None
    client = ""
    error = ""
    span: Span | None = None
    traceparent = ""
    recalled_at: float | None = None
    details: Details | None = None
    dialogue: Sequence[Message] = ()
    instructions: Sequence[str] = ()
    memories: Sequence[tuple[Memory, float]] = ()
    block = ""
    question = ""
    answer = ""
    code = ""
    number = 0
    ended = 0.0
    usage: Usage | None = None
    _id: str | None = None

    def __init__(self, method: str, headers: RawHeaders) -> None:
        self.method = method
        self.headers = headers
        self.began = time.perf_counter()

    @property
    def user(self) -> str:
        """By what their user is told from others, and found in no store; never their id. Empty for nobody's."""
        return "" if self.scope is None else self.scope.key[:_USER_DIGITS]

    @classmethod
    def known_as(cls, request_id: str) -> Self:
        """One that another process serves, for which this one does something."""
        served = cls("", [])
        served._id = request_id
        return served

    @property
    def id(self) -> str:
        """The client's ``X-Request-Id`` where it can be told, else one of our own. Made when first asked for."""
        if self._id is None:
            self.keep_id()
        if self._id is None:
            self._id = _make_id()
        return self._id

    def keep_id(self) -> None:
        """Reads what there is of it in the headers, which may be let go of then."""
        if self._id is None:
            for name, value in self.headers:
                if name == REQUEST_ID:
                    self._id = value.decode("ascii") if _PRINTABLE.fullmatch(value) else None
                    return

    @property
    def id_header(self) -> tuple[bytes, bytes]:
        """For answers of our own, so that what somebody reports can be found in the log."""
        return REQUEST_ID, self.id.encode("ascii")


def _make_id() -> str:
    # Nobody need fail to guess it, and asking the system for better ones takes as long as writing the line.
    return f"{random.getrandbits(64):016x}"


# Set once a request, by the task that serves it. What is started meanwhile inherits it.
SERVED: Final[ContextVar[Served | None]] = ContextVar("served", default=None)
