"""How much clients may send, and how long they may take: what the connections of a server share."""

import fcntl
import struct
import sys
import termios
from asyncio import Transport
from collections.abc import Callable, Iterable
from typing import Final, Literal
from typing import Protocol as Interface

from proxy.config import Settings
from proxy.errors import ApiError

Fault = Literal["bad_request", "head_too_large", "slow_head", "slow_body", "slow_reader", "too_many"]
# What is waited for: the first byte of a request, the rest of its head, of its body, the app's answer, that the client
# reads it, or that it leaves.
Stage = Literal["idle", "head", "body", "answer", "reader", "leaving"]

# Clients send a dozen or two. All are looked at several times.
MOST_HEADERS: Final = 200
# Nobody is known to pipeline requests to an API; whoever does waits for answers now and then.
MOST_PIPELINED: Final = 16
# Bytes around the body (sizes and extensions of chunks, trailers) are worth so many of the body; a body in chunks of
# one byte has five of them for each, and more with extensions.
FRAMING_RATIO: Final = 16
# A connection that is closed while the client still sends is reset, and the client may never read why. So it may go on
# for a while, unheard.
LINGER_S: Final = 2.0
MOST_LINGERING: Final = 256


class Guest(Interface):
    """A connection of a client."""

    due: float

    def expire(self, now: float) -> None:
        """It is *due*: what should have happened has not."""


class Warden:
    """The limits of a server, and one clock for all its connections: each says when it is due, and one look at all of
    them twice a second finds those that are. A timer of its own for each request would cost more than that.

    *leaving*: connections that have been refused and are not served any more.
    """

    def __init__(self, settings: Settings, count: Callable[[Fault], None]) -> None:
        server = settings.server
        self.head_bytes: Final = int(server.max_header_kb * 1024)
        self.connections: Final = server.max_connections
        self.patience_s: Final = server.client_timeout_s
        self.keep_alive_s: Final = server.keep_alive_s
        self.leaving: Final[set[Guest]] = set()
        self._count = count

    def sweep(self, connections: Iterable[Guest], now: float) -> None:
        """Ends the waiting for whom it is time."""
        for guest in [guest for guest in connections if guest.due <= now]:
            guest.expire(now)
        for guest in [guest for guest in self.leaving if guest.due <= now]:
            guest.expire(now)

    def refuse(self, fault: Fault) -> ApiError | None:
        """Counts a *fault*; answers what the client is told of it, if anything."""
        self._count(fault)
        return REFUSALS[fault]


REFUSALS: Final[dict[Fault, ApiError | None]] = {
    "bad_request": ApiError(400, "bad_request", "Invalid HTTP request received."),
    "head_too_large": ApiError(431, "head_too_large", "The request line and headers are larger than the proxy takes."),
    "slow_head": ApiError(408, "request_timeout", "The request's headers did not arrive in time."),
    "slow_body": ApiError(408, "request_timeout", "The request's body did not arrive in time."),
    "slow_reader": None,  # it is in the middle of an answer
    "too_many": ApiError(503, "too_many_connections", "The proxy has too many connections open.", retry_after=1),
}
PHRASES: Final = {
    400: b"Bad Request",
    408: b"Request Timeout",
    431: b"Request Header Fields Too Large",
    503: b"Service Unavailable",
}


def render(error: ApiError) -> bytes:
    """The whole response."""
    headers = [*error.headers, (b"connection", b"close")]
    lines = [b"HTTP/1.1 %d %b" % (error.status, PHRASES[error.status]), *(b"%b: %b" % header for header in headers)]
    return b"\r\n".join([*lines, b"", error.body()])


def count_unread(transport: Transport) -> int:
    """Bytes that the client has not taken yet: those that wait here, and on Linux those in the kernel, of which there
    may be megabytes before anything waits here.
    """
    waiting: int = transport.get_write_buffer_size()
    sock = transport.get_extra_info("socket")
    if sock is None or sys.platform != "linux":
        return waiting
    try:
        return waiting + int(struct.unpack("i", fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, b"\0" * 4))[0])
    except OSError:
        return waiting
