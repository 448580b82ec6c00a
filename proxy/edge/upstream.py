"""The way to the upstream: an httpx2 transport whose engine is aiohttp, as the least costly one in CPU.

A transport and no client, because a client adds headers, keeps cookies and follows redirects, all wrong for a proxy.
"""

import ssl
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final
from urllib.parse import urlsplit
from weakref import WeakSet

import aiohttp
import httpx2
from aiohttp.connector import Connection
from aiohttp.tracing import Trace
from multidict import CIMultiDict
from yarl import URL

from proxy.config import Upstream as UpstreamSettings

# Everything that aiohttp would add by itself: a request leaves with the client's headers and no others.
OWN_HEADERS: Final = ("accept", "accept-encoding", "content-type", "user-agent")

# Shorter than the idle time of common servers and load balancers (nginx and AWS: 60 to 75 s), so that a kept
# connection is dropped here before it goes stale there.
KEEP_ALIVE_S: Final = 15.0

# A larger request body is handed to aiohttp in pieces: one write of a whole one would hold the event loop.
LARGE_BODY: Final = 1 << 20
PIECE: Final = 1 << 16

# Largest response head that is accepted: far above what APIs send, and a bound on what a broken one can make us hold.
MAX_HEAD_BYTES: Final = 65_536

# Set by the connector within the task that sends a request.
_reused: ContextVar[bool] = ContextVar("reused")


@contextmanager
def _translated(request: httpx2.Request) -> Iterator[None]:
    """aiohttp's exceptions as httpx2's; the order matters, because aiohttp's classes overlap."""
    try:
        yield
    except (aiohttp.ConnectionTimeoutError, aiohttp.ServerTimeoutError) as exc:
        kind = httpx2.ReadTimeout if isinstance(exc, aiohttp.SocketTimeoutError) else httpx2.ConnectTimeout
        raise kind(str(exc), request=request) from exc
    except aiohttp.ClientConnectorError as exc:
        raise httpx2.ConnectError(str(exc), request=request) from exc
    except (aiohttp.ClientPayloadError, aiohttp.ClientOSError) as exc:
        raise httpx2.ReadError(str(exc), request=request) from exc
    except aiohttp.ServerDisconnectedError as exc:
        raise httpx2.RemoteProtocolError("upstream closed the connection before it answered", request=request) from exc
    except (aiohttp.InvalidURL, aiohttp.ClientError, ValueError) as exc:
        raise httpx2.RemoteProtocolError(str(exc) or type(exc).__name__, request=request) from exc


def _environment_proxy(url: str) -> str | None:
    """The proxy that ``HTTPS_PROXY``, ``HTTP_PROXY`` and ``NO_PROXY`` name for *url*.

    Asked once, because aiohttp's own ``trust_env`` starts two threads' worth of look-ups for every request (half of a
    request's cost), and because it would also replace the client's key by one from a ``.netrc``.
    """
    parts = urlsplit(url)
    if urllib.request.proxy_bypass(parts.netloc):
        return None
    proxies = urllib.request.getproxies()
    return proxies.get(parts.scheme) or proxies.get("all")


def _text(value: bytes) -> str:
    # aiohttp writes header values as UTF-8; a value that is not UTF-8 can only be carried character by character.
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


def _url(url: httpx2.URL, target: bytes | None) -> URL:
    if target is None:
        return URL(str(url), encoded=True)
    origin = f"{url.scheme}://{url.netloc.decode('ascii')}"
    return URL(origin + target.decode("latin-1"), encoded=True)


def _data(request: httpx2.Request) -> bytes | AsyncIterator[bytes] | None:
    stream = request.stream
    if isinstance(stream, httpx2.ByteStream):
        body = b"".join(stream)
        return _slices(body) if len(body) > LARGE_BODY else body or None
    if not isinstance(stream, httpx2.AsyncByteStream):
        raise TypeError("an asynchronous transport needs an asynchronous request body")
    return aiter(stream)


def _is_stale(exc: aiohttp.ServerDisconnectedError | aiohttp.ClientOSError) -> bool:
    """Whether a kept connection was dropped before a byte of the answer: upstream hung up while it was idle.

    On a new connection the same may mean that upstream took the request and died of it.
    """
    partial = isinstance(exc, aiohttp.ServerDisconnectedError) and not isinstance(exc.message, str)
    return _reused.get() and not partial


async def _slices(body: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(body), PIECE):
        yield body[start : start + PIECE]


class ResponseStream(httpx2.AsyncByteStream):
    """The raw bytes of a response body, in the pieces in which they came off the socket."""

    def __init__(self, response: aiohttp.ClientResponse, request: httpx2.Request) -> None:
        self._response = response
        self._request = request

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with _translated(self._request):
            content = self._response.content
            while chunk := await content.readany():
                yield chunk

    async def aclose(self) -> None:
        """Gives the connection back when the body was read to its end, and closes it otherwise. Never waits."""
        self.abort()

    def abort(self) -> None:
        """The same as :meth:`aclose`, for callers that cannot await, such as a cancelled task's clean-up."""
        if self._response.content.is_eof():
            self._response.release()
        else:
            self._response.close()


class _Connector(aiohttp.TCPConnector):
    """Notes, for the task that asks, whether it was given a connection that has served before."""

    def __init__(self, *, limit: int, keepalive_timeout: float, ssl: ssl.SSLContext) -> None:
        super().__init__(limit=limit, keepalive_timeout=keepalive_timeout, ssl=ssl)
        self._served: WeakSet[object] = WeakSet()

    async def connect(
        self,
        req: aiohttp.ClientRequest,
        traces: list[Trace],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109  # aiohttp's signature
    ) -> Connection:
        connection = await super().connect(req, traces, timeout)
        _reused.set(connection.protocol in self._served)
        self._served.add(connection.protocol)
        return connection


class AiohttpTransport(httpx2.AsyncBaseTransport):
    """Sends one request at a time over pooled aiohttp connections; any number may be in flight.

    Raw in and out: no redirect is followed, nothing is decompressed, no cookie kept, no header added but ``Host`` and
    the framing. The request target is ``request.extensions["target"]`` where given, byte for byte, else the URL's.
    """

    def __init__(self, settings: UpstreamSettings, *, verify: ssl.SSLContext | None = None) -> None:
        self._settings = settings
        self._verify = verify
        self._proxy = _environment_proxy(settings.base_url)
        self._session: aiohttp.ClientSession | None = None
        self._timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=settings.connect_timeout_s, sock_read=settings.read_timeout_s
        )

    def _open(self) -> aiohttp.ClientSession:
        # Not in __init__: a session belongs to the running event loop.
        if self._session is None:
            connector = _Connector(
                limit=self._settings.max_connections,
                keepalive_timeout=KEEP_ALIVE_S,
                ssl=self._verify or ssl.create_default_context(),
            )
            self._session = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                proxy=self._proxy,
                auto_decompress=False,
                skip_auto_headers=OWN_HEADERS,
                timeout=self._timeout,
                max_line_size=MAX_HEAD_BYTES,
                max_field_size=MAX_HEAD_BYTES,
            )
        return self._session

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """The response as soon as its headers are there. The caller must close the response's stream.

        Raises:
            httpx2.TransportError: with the same subclasses as httpx2's own transport.
        """
        _reused.set(False)
        with _translated(request):
            try:
                response = await self._send(request)
            except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as exc:
                if not _is_stale(exc) or not isinstance(request.stream, httpx2.ByteStream):
                    raise
                response = await self._send(request)
        return httpx2.Response(
            response.status,
            headers=list(response.raw_headers),
            stream=ResponseStream(response, request),
            extensions={"reason_phrase": (response.reason or "").encode("latin-1", "replace")},
        )

    async def _send(self, request: httpx2.Request) -> aiohttp.ClientResponse:
        headers = CIMultiDict([(name.decode("ascii"), _text(value)) for name, value in request.headers.raw])
        url = _url(request.url, request.extensions.get("target"))
        return await self._open().request(
            request.method, url, headers=headers, data=_data(request), allow_redirects=False
        )

    async def aclose(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None
