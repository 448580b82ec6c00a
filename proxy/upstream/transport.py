"""The same way for clients that want an httpx2 transport, the ``openai`` client among them."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final

import httpx2

from proxy.errors import Failure, UpstreamError
from proxy.upstream.pool import Upstream
from proxy.upstream.request import Request
from proxy.upstream.response import Response

# Without any key the ``openai`` client refuses to be made; endpoints that want none look at none.
NO_KEY: Final = "none"
# What this side of the connection writes itself.
FRAMING: Final = (b"host", b"connection", b"transfer-encoding")
EXCEPTIONS: Final[Mapping[Failure, type[httpx2.TransportError]]] = {
    "refused": httpx2.ConnectError,
    "dns": httpx2.ConnectError,
    "tls": httpx2.ConnectError,
    "proxy": httpx2.ProxyError,
    "reset": httpx2.ReadError,
    "protocol": httpx2.RemoteProtocolError,
    "connect_timeout": httpx2.ConnectTimeout,
    "read_timeout": httpx2.ReadTimeout,
    "busy": httpx2.PoolTimeout,
}


class Transport(httpx2.AsyncBaseTransport):
    """Every request goes to *upstream*, whatever host its URL names; failures are httpx2's exceptions."""

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """As httpx2's own transports do; a read timeout of the request's also bounds the wait for the head."""
        stream = request.stream
        if not isinstance(stream, httpx2.AsyncByteStream):
            raise TypeError("an asynchronous transport needs an asynchronous request body")
        body = b"".join(stream) if isinstance(stream, httpx2.ByteStream) else aiter(stream)
        headers = [(name.lower(), value) for name, value in request.headers.raw if name.lower() not in FRAMING]
        if any(b"\n" in value or b"\r" in value for _, value in headers):
            raise httpx2.LocalProtocolError("a header's value has more than one line", request=request)
        async with _translated(request):
            response = await self._upstream.send(Request(request.method, request.url.raw_path, headers, body))
        return httpx2.Response(response.status, headers=response.headers, stream=_Body(response, request))

    async def aclose(self) -> None:
        """Closes the connections."""
        await self._upstream.aclose()


class _Body(httpx2.AsyncByteStream):
    def __init__(self, response: Response, request: httpx2.Request) -> None:
        self._response = response
        self._request = request

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            async with _translated(self._request):
                piece = await self._response.read()
            if not piece:
                return
            yield piece

    async def aclose(self) -> None:
        self._response.abort()


@asynccontextmanager
async def _translated(request: httpx2.Request) -> AsyncIterator[None]:
    """The request's own patience, and failures in httpx2's words."""
    patience_s = request.extensions.get("timeout", {}).get("read")
    try:
        async with asyncio.timeout(patience_s):
            yield
    except TimeoutError as exc:
        raise httpx2.ReadTimeout(f"no answer within {patience_s:g} s", request=request) from exc
    except UpstreamError as exc:
        raise EXCEPTIONS[exc.kind](str(exc), request=request) from exc
