"""Bytes both ways. What comes from the upstream reaches the client as it came; nothing is buffered, added or ended
that the upstream did not end.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass

import httpx2
import structlog
from starlette.types import Scope as AsgiScope
from starlette.types import Send

from proxy.config import Settings
from proxy.edge import headers
from proxy.edge.capture import Capture
from proxy.edge.headers import RawHeaders
from proxy.edge.upstream import ResponseStream
from proxy.errors import ApiError, UpstreamTruncatedError
from proxy.observe.metrics import Metrics

log = structlog.get_logger(__name__)

PREFIX = b"/v1"
# These end with their head. Upstreams tell a length with them all the same (a 304 may), but a server that was given
# one waits for the bytes.
BODILESS = frozenset({204, 304})


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One request on its way upstream. *body*: all of it, a stream of it, or nothing."""

    method: str
    target: bytes
    headers: RawHeaders
    body: bytes | AsyncIterator[bytes] | None


class _Body(httpx2.AsyncByteStream):
    def __init__(self, pieces: AsyncIterator[bytes]) -> None:
        self._pieces = pieces

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._pieces


class Relay:
    """Sends requests to the one configured upstream."""

    def __init__(self, transport: httpx2.AsyncBaseTransport, settings: Settings, metrics: Metrics) -> None:
        self._transport = transport
        self._base = httpx2.URL(settings.upstream.base_url)
        self._path = self._base.raw_path.rstrip(b"/")
        secret = settings.upstream.api_key
        self._api_key = secret.get_secret_value() if secret is not None else None
        self._own = headers.OWN_REQUEST_HEADERS | {settings.identity.header.lower().encode("ascii")}
        self._metrics = metrics

    def outgoing(self, scope: AsgiScope, body: bytes | AsyncIterator[bytes] | None) -> Outgoing:
        """The client's request as the upstream gets it. The length of a *body* in bytes replaces the client's word."""
        kept = headers.for_upstream(scope["headers"], own=self._own, api_key=self._api_key)
        if isinstance(body, bytes):
            kept = [(k, v) for k, v in kept if k != b"content-length"]
            kept.append((b"content-length", str(len(body)).encode()))
        target = self._path + scope["raw_path"][len(PREFIX) :]
        if scope["query_string"]:
            target += b"?" + scope["query_string"]
        return Outgoing(scope["method"], target, kept, body)

    async def __call__(
        self, outgoing: Outgoing, send: Send, *, added: RawHeaders, capture: Capture | None = None
    ) -> int:
        """Relays one request and its answer; returns the answer's status code.

        A caller that is cancelled, because the client left, leaves no connection open.

        Raises:
            ApiError: 502 or 504, when the upstream failed before its answer began.
            UpstreamTruncatedError: the upstream failed within its answer.
        """
        response = await self._ask(outgoing)
        stream = response.stream
        if not isinstance(stream, ResponseStream):
            raise TypeError("the relay needs a transport whose streams can be aborted")
        try:
            await self._answer(response, stream, send, added, capture)
        finally:
            stream.abort()
        return response.status_code

    async def _ask(self, outgoing: Outgoing) -> httpx2.Response:
        body = outgoing.body
        stream: httpx2.AsyncByteStream = (
            httpx2.ByteStream(body or b"") if body is None or isinstance(body, bytes) else _Body(body)
        )
        request = httpx2.Request(
            outgoing.method,
            self._base,
            headers=outgoing.headers,
            stream=stream,
            extensions={"target": outgoing.target},
        )
        try:
            return await self._transport.handle_async_request(request)
        except httpx2.TimeoutException as exc:
            raise self._failure(exc, 504, "upstream_timeout", "The upstream did not answer in time.") from exc
        except httpx2.TransportError as exc:
            raise self._failure(exc, 502, "upstream_unreachable", "The upstream cannot be reached.") from exc

    def _failure(self, exc: httpx2.TransportError, status: int, code: str, message: str) -> ApiError:
        self._metrics.count("upstream_errors_total", type(exc).__name__)
        log.warning("upstream_failed", error=type(exc).__name__, reason=str(exc))
        return ApiError(status, code, message)

    async def _answer(
        self,
        response: httpx2.Response,
        stream: ResponseStream,
        send: Send,
        added: RawHeaders,
        capture: Capture | None,
    ) -> None:
        raw = response.headers.raw
        if response.status_code in BODILESS:
            raw = [(key, value) for key, value in raw if key.lower() != b"content-length"]
        await send(
            {
                "type": "http.response.start",
                "status": response.status_code,
                "headers": headers.for_client(raw, _added(response, added)),
            }
        )
        if capture is not None:
            capture.begin(response.status_code, *_content(response))
        left = _length(response)
        try:
            async for piece in stream:
                left -= len(piece)
                # A client may take the answer for complete with this piece, so it must be durable first.
                if capture is not None and (capture.feed(piece) or left == 0):
                    await capture.close()
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        except httpx2.TransportError as exc:
            self._metrics.count("upstream_errors_total", type(exc).__name__)
            log.warning("upstream_truncated", error=type(exc).__name__, reason=str(exc))
            raise UpstreamTruncatedError(str(exc)) from exc
        if capture is not None:
            await capture.close()
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def _added(response: httpx2.Response, added: RawHeaders) -> RawHeaders:
    # nginx holds event streams back unless told not to.
    if _content(response)[0].startswith(b"text/event-stream"):
        return [*added, (b"x-accel-buffering", b"no")]
    return added


def _content(response: httpx2.Response) -> tuple[bytes, bytes]:
    """Content type and content encoding, empty where absent."""
    raw = [(key.lower(), value) for key, value in response.headers.raw]
    encodings = b",".join(headers.every(raw, b"content-encoding"))
    return (headers.first(raw, b"content-type") or b"").strip().lower(), encodings.strip().lower()


def _length(response: httpx2.Response) -> int:
    """The announced length of the body; -1 where there is none."""
    value = response.headers.get("content-length", "")
    return int(value) if value.isascii() and value.isdigit() else -1
