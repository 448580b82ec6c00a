"""The floor of this stack: the least that a relay of raw ASGI and aiohttp can do, to measure the proxy against.

It knows no memory, no failure and no client that leaves; it is what one would write in forty lines, done well.
"""

import socket
import sys

import aiohttp
import uvicorn
from starlette.types import Receive, Scope, Send
from yarl import URL

HOP_BY_HOP = frozenset({b"connection", b"host", b"keep-alive", b"te", b"trailer", b"transfer-encoding", b"upgrade"})


class Floor:
    """The ASGI application; its one argument is the upstream's origin."""

    def __init__(self, upstream: str) -> None:
        self._upstream = upstream
        self._session: aiohttp.ClientSession | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        message = await receive()
        body: bytes = message.get("body", b"")
        while message.get("more_body"):
            message = await receive()
            body += message.get("body", b"")
        session = self._session = self._session or self._open()
        target = scope["raw_path"] + (b"?" + scope["query_string"] if scope["query_string"] else b"")
        url = URL(self._upstream + target.decode("latin-1"), encoded=True)
        sent = [(name.decode(), value.decode()) for name, value in scope["headers"] if name not in HOP_BY_HOP]
        async with session.request(scope["method"], url, headers=sent, data=body, allow_redirects=False) as response:
            headers = [(name, value) for name, value in response.raw_headers if name.lower() not in HOP_BY_HOP]
            await send({"type": "http.response.start", "status": response.status, "headers": headers})
            while piece := await response.content.readany():
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    def _open(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            skip_auto_headers={"Accept", "Accept-Encoding", "User-Agent", "Content-Type"},
            timeout=aiohttp.ClientTimeout(total=None),
        )


def serve_floor(upstream: str) -> None:
    """Runs it on a free port in this process until a signal, and says on stderr where, as ``serve`` does."""
    listening = socket.create_server(("127.0.0.1", 0), backlog=1024)
    sys.stderr.write(f'{{"event":"listening","url":"http://127.0.0.1:{listening.getsockname()[1]}"}}\n')
    # uvicorn picks uvloop and httptools where they are installed, as `serve` does.
    config = uvicorn.Config(
        Floor(upstream),
        lifespan="off",
        log_level="error",
        access_log=False,
        server_header=False,
        date_header=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=1,
    )
    uvicorn.Server(config).run([listening])


if __name__ == "__main__":
    serve_floor(*sys.argv[1:])
