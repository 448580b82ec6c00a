"""The exception tree, one class for each thing a caller does differently, and the one renderer of API errors.

MemoryProxyError
├── ConfigError        the process does not start: exit code 2
├── ApiError           answered to the client, in OpenAI's shape
│   ├── UnauthorizedError   who asks is not known, or not who they say: counted by reason
│   └── LimitError          too much at a time, or too often: counted by limit
├── StoreError         the vector store failed; the journal keeps the work and it is tried again
├── EmbedderError      no vector for now; recall goes on with words alone, storing is tried again
├── ExtractionError    no facts for now; what was said is kept and looked at again
├── JournalError       an exchange could not be made durable
├── IdentityError      nobody can say for now whose request it is; the chat goes on without memory
├── KeeperError        the keeper process is away or answered with a failure
├── UpstreamError      the upstream cannot be reached, or failed before its answer was complete
└── LockedError        another process holds this data directory
"""

from types import TracebackType
from typing import Final, Literal

import msgspec


class MemoryProxyError(Exception):
    """Root of all errors that this project raises on purpose."""


def tell(exc: BaseException) -> str:
    """What a log may say of an exception: its type and, if it is one of ours, its words. Others may quote a user."""
    name = type(exc).__name__
    return f"{name}: {exc}" if isinstance(exc, MemoryProxyError) and str(exc) else name


def find_place(trace: TracebackType | None) -> str:
    """File and line of the innermost frame, "" without any."""
    if trace is None:
        return ""
    while trace.tb_next is not None:
        trace = trace.tb_next
    return f"{trace.tb_frame.f_code.co_filename.rpartition('/')[2]}:{trace.tb_lineno}"


class ConfigError(MemoryProxyError):
    """Bad configuration. The message names the key, the value and what would be right."""


class StoreError(MemoryProxyError):
    """The vector store failed."""


class EmbedderError(MemoryProxyError):
    """No vector could be had."""


class ExtractionError(MemoryProxyError):
    """No facts could be had from the model. *after_s*: when to ask again, where that is known.

    *counted*: it was an attempt, and not a budget that is used up.
    """

    def __init__(self, reason: str, *, after_s: float | None = None, counted: bool = True) -> None:
        super().__init__(reason)
        self.after_s: Final = after_s
        self.counted: Final = counted


class JournalError(MemoryProxyError):
    """The journal could not be written or read."""


class KeeperError(MemoryProxyError):
    """The keeper process is away, too slow, or failed at what it was asked."""


class IdentityError(MemoryProxyError):
    """Whose request it is cannot be found out for now: the keys that tokens are checked with cannot be had."""


class LockedError(MemoryProxyError):
    """Another process has this data directory open."""


Failure = Literal["refused", "dns", "tls", "proxy", "reset", "protocol", "connect_timeout", "read_timeout", "busy"]
Limit = Literal[
    "in_flight", "uploads", "client_rate", "client_in_flight", "user_rate", "user_in_flight", "upstream_busy"
]


class UpstreamError(MemoryProxyError):
    """The upstream cannot be reached, or failed before its answer was complete. *kind* is one word for metrics.

    *unanswered*: a connection that had served before was dropped without a byte of answer, which happens when the
    upstream closes an idle connection at the very moment it is used; asking once more is safe.
    """

    def __init__(self, kind: Failure, reason: str, *, unanswered: bool = False) -> None:
        super().__init__(reason)
        self.kind: Final = kind
        self.unanswered = unanswered


class UpstreamTruncatedError(MemoryProxyError):
    """The upstream died after its answer began. Raised out of the ASGI app, because a server that sees a handler
    fail closes the connection without a proper end, and the client must see exactly that truncation.
    """


class ApiError(MemoryProxyError):
    """An error that the proxy itself answers with.

    *code* is the last part of the public code: ``bad_user_id`` is sent as ``memory_proxy_bad_user_id``. *retry_after*
    (seconds) and *should_retry* tell clients what to do; OpenAI's own heed both.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        param: str | None = None,
        retry_after: int | None = None,
        should_retry: bool | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code: Final = f"memory_proxy_{code}"
        self.message = message
        self.param = param
        self.retry_after = retry_after
        self.should_retry = should_retry

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """Raw response headers that go with :meth:`body`."""
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(self.body())).encode())]
        if self.retry_after is not None:
            headers.append((b"retry-after", str(self.retry_after).encode()))
        if self.should_retry is not None:
            headers.append((b"x-should-retry", b"true" if self.should_retry else b"false"))
        return headers

    def body(self) -> bytes:
        """The error in OpenAI's shape."""
        kind = "requests" if self.status == 429 else "invalid_request_error" if self.status < 500 else "api_error"
        error = {"message": self.message, "type": kind, "param": self.param, "code": self.code}
        return msgspec.json.encode({"error": error})


class UnauthorizedError(ApiError):
    """Who asks is not known, or has not proven to be who they say. *reason* is one word for metrics."""

    def __init__(self, reason: str, code: str, message: str, *, status: int = 401, param: str | None = None) -> None:
        super().__init__(status, code, message, param=param)
        self.reason: Final = reason


class LimitError(ApiError):
    """Over a limit: to be tried again after so many seconds. *limit* is one word for metrics."""

    def __init__(self, limit: Limit, code: str, message: str, *, retry_after: int) -> None:
        super().__init__(429, code, message, retry_after=retry_after)
        self.limit: Final = limit
