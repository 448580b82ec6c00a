"""Bytes both ways. What comes from the upstream reaches the client as it came; nothing is buffered, added or ended
that the upstream did not end.
"""

import re
import secrets
from collections.abc import AsyncIterator
from typing import Final

import structlog
from starlette.types import Scope as AsgiScope

from proxy.config import Settings
from proxy.edge import headers
from proxy.edge.callers import Caller
from proxy.edge.connection import ClientConnection
from proxy.edge.heartbeat import HeartbeatReader
from proxy.edge.measures import Watch
from proxy.edge.outbox import Outbox
from proxy.errors import ApiError, Failure, LimitError, UpstreamError, UpstreamTruncatedError
from proxy.identity import find_own_headers
from proxy.observe.metrics import Metrics
from proxy.upstream import RawHeaders, Request, Response, Sink, Upstream

log = structlog.get_logger(__name__)

PREFIX: Final = b"/v1"
EVENT_STREAM: Final = b"text/event-stream"
# These end with their head. Upstreams tell a length with them all the same (a 304 may), but a server that was given
# one waits for the bytes.
BODILESS: Final = frozenset({204, 304})
# A chain of so many proxies, each with its own id, is a circle through a load balancer.
MOST_HOPS: Final = 8

# A segment "..", in whatever way an upstream might decode it.
CLIMBING: Final = re.compile(rb"(?i)(?:[/\\]|%2f|%5c)(?:\.|%2e){2}(?:$|[/\\;]|%2f|%5c)")

UNREACHABLE: Final = (502, "upstream_unreachable")
TIMED_OUT: Final = (504, "upstream_timeout")
# What a client is told of each failure, and whether asking again in a moment can help.
ANSWERS: Final[dict[Failure, tuple[tuple[int, str], str, bool | None]]] = {
    "refused": (UNREACHABLE, "The upstream cannot be reached: it does not accept connections.", True),
    "dns": (UNREACHABLE, "The upstream cannot be reached: its name cannot be resolved.", True),
    "tls": (UNREACHABLE, "The upstream cannot be reached: no secure (TLS) connection to it can be made.", False),
    "proxy": (UNREACHABLE, "The upstream cannot be reached through the forward proxy.", None),
    "reset": (UNREACHABLE, "The upstream closed the connection before it answered.", True),
    "protocol": (UNREACHABLE, "The upstream's answer is not valid HTTP.", None),
    "connect_timeout": (TIMED_OUT, "The upstream did not accept a connection in time.", True),
    "read_timeout": (TIMED_OUT, "The upstream did not answer in time.", None),
    "busy": ((429, "too_many_requests"), "All connections to the upstream are in use. Please try again.", True),
}


class Relay:
    """Sends requests to the one configured upstream."""

    def __init__(
        self, upstream: Upstream, settings: Settings, metrics: Metrics, *, replaced: frozenset[bytes] = frozenset()
    ) -> None:
        """*replaced*: headers of clients that give way to a caller's credentials."""
        self._upstream = upstream
        self._path = settings.upstream.address.prefix.encode("ascii")
        own = headers.OWN_REQUEST_HEADERS | find_own_headers(settings.identity)
        self._dropped = headers.NOT_FORWARDED | own | {headers.HOP} | replaced
        self._heartbeat_s = settings.server.heartbeat_s
        self._metrics = metrics
        self._id = secrets.token_hex(4).encode("ascii")

    def outgoing(
        self, scope: AsgiScope, body: bytes | AsyncIterator[bytes], caller: Caller, *, upgrade: bool = False
    ) -> Request:
        """The client's request as the upstream gets it, with the credentials that *caller* has there.

        Raises:
            ApiError: 508, when it has been here before; 400 for a path that leads an application, whose key is ours,
                out of what it was given.
        """
        sent: RawHeaders = scope["headers"]
        if caller.client is not None and CLIMBING.search(scope["raw_path"]):
            raise ApiError(400, "bad_path", "The path leads out of /v1/.")
        kept = headers.strip(sent, self._dropped)
        if isinstance(body, bytes) and body:
            kept = _with_length(kept, b"%d" % len(body))
        kept += caller.credentials
        kept.append((headers.HOP, self._hops(sent)))
        if upgrade:
            kept += headers.SWITCH_TO_WEBSOCKET
        target = self._path + scope["raw_path"][len(PREFIX) :]
        if scope["query_string"]:
            target += b"?" + scope["query_string"]
        return Request(scope["method"], target, kept, body, upgrade)

    def _hops(self, sent: RawHeaders) -> bytes:
        """The proxies that this request has passed, this one last."""
        if headers.first(sent, headers.HOP) is None:
            return self._id
        passed = [hop for hop in headers.tokens(sent, headers.HOP) if hop]
        if self._id in passed or len(passed) >= MOST_HOPS:
            message = "The proxy's upstream is the proxy itself: upstream.base_url should be the API's address."
            raise ApiError(508, "loop", message, should_retry=False)
        return b",".join([*passed, self._id])

    async def __call__(self, request: Request, outbox: Outbox, *, added: RawHeaders, watch: Watch | None = None) -> int:
        """Relays one request and its answer; returns the answer's status code.

        A caller that is cancelled, because the client left, leaves no connection open.

        Raises:
            ApiError: 502 or 504, when the upstream failed before its answer began.
            UpstreamTruncatedError: the upstream failed within its answer.
        """
        if watch is None:
            return await self.answer(await self.ask(request), outbox, added=added)
        watch.send()
        try:
            return await self.answer(await self.ask(request), outbox, added=added, watch=watch)
        finally:
            watch.end()

    async def ask(self, request: Request) -> Response:
        """The upstream's answer, as soon as its head is here.

        Raises:
            ApiError: 502 or 504, when there is none; 429 when no connection is free for it.
        """
        try:
            return await self._upstream.send(request)
        except UpstreamError as exc:
            self._note(exc, "upstream_failed")
            (status, code), message, again = ANSWERS[exc.kind]
            if exc.kind == "busy":
                raise LimitError("upstream_busy", code, message, retry_after=1) from exc
            retry_after = 1 if again else None
            should_retry = False if again is False else None
            raise ApiError(status, code, message, retry_after=retry_after, should_retry=should_retry) from exc

    def _note(self, exc: UpstreamError, event: str) -> None:
        self._metrics.count("upstream_errors_total", exc.kind)
        log.warning(event, kind=exc.kind, reason=str(exc))

    async def answer(self, response: Response, outbox: Outbox, *, added: RawHeaders, watch: Watch | None = None) -> int:
        """Relays *response* and returns its status code.

        Raises:
            UpstreamTruncatedError: it broke off.
        """
        try:
            kind = response.header(b"content-type").strip().lower()
            await outbox.start(response.status, _headers(response, kind, added))
            if watch is not None:
                encodings = b",".join(headers.every(response.headers, b"content-encoding"))
                watch.begin(response.status, kind, encodings.strip().lower())
            await _carry(self._reader(response, kind), outbox, watch)
        except UpstreamError as exc:
            self._note(exc, "upstream_truncated")
            raise UpstreamTruncatedError(str(exc)) from exc
        finally:
            response.abort()
        return response.status

    def _reader(self, response: Response, kind: bytes) -> Response | HeartbeatReader:
        if self._heartbeat_s is None or not kind.startswith(EVENT_STREAM) or response.header(b"content-encoding"):
            return response
        return HeartbeatReader(response, self._heartbeat_s)


def _headers(response: Response, kind: bytes, added: RawHeaders) -> RawHeaders:
    """Those of *response* for the client. *kind*: its content type in lower case."""
    if kind.startswith(EVENT_STREAM):
        added = [*added, (b"x-accel-buffering", b"no")]  # nginx holds event streams back unless told not to
    sent = headers.for_client(response.headers, added)
    if response.status in BODILESS:
        return [header for header in sent if header[0] != b"content-length"]
    return sent


async def _carry(reader: Response | HeartbeatReader, outbox: Outbox, watch: Watch | None) -> None:
    sink = None if outbox.connection is None else _make_sink(outbox.connection, watch)
    more = True
    while more:
        piece = await reader.read(sink)
        more = not reader.is_complete
        # A client may take the answer for complete with this piece, so it must be durable first.
        if watch is not None and (watch.feed(piece) or not more):
            await watch.close()
        await outbox.write(piece, more=more)


def _make_sink(client: ClientConnection, watch: Watch | None) -> Sink:
    """The short cut for pieces that need not wait for anything: from the upstream's socket to the client's."""

    def sink(piece: bytes) -> bool:
        if not client.is_ready() or (watch is not None and not watch.hold(piece)):
            return False
        client.write(piece)
        return True

    return sink


def _with_length(kept: RawHeaders, length: bytes) -> RawHeaders:
    if headers.first(kept, b"content-length") == length:
        return kept
    return [*(header for header in kept if header[0] != b"content-length"), (b"content-length", length)]
