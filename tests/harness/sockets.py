"""WebSockets with somebody else's library at both ends: what it makes of the relay is what users will see."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.connection import Connection
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from tests.harness.proxy import Proxy
from tests.harness.upstream import within

PATH: Final = "/v1/realtime?model=m&x=%7e"
SPOKEN: Final = Subprotocol("realtime")


@dataclass
class Refusal:
    """An answer in the place of the upgrade."""

    status: int
    body: str
    headers: tuple[tuple[str, str], ...] = ()


class SocketServer:
    """An upstream that takes WebSockets. Accepts when *gate* is set, unless there is a *refusal*."""

    def __init__(self) -> None:
        self.url = ""
        self.requests: list[Request] = []
        self.gate = asyncio.Event()
        self.asked = asyncio.Event()
        self.refusal: Refusal | None = None
        self._accepted: asyncio.Queue[ServerConnection] = asyncio.Queue()

    def reset(self) -> None:
        self.requests.clear()
        self.gate.set()
        self.asked.clear()
        self.refusal = None
        while not self._accepted.empty():
            self._accepted.get_nowait()

    async def accepted(self) -> ServerConnection:
        """The next connection."""
        connection: ServerConnection = await within(self._accepted.get())
        return connection

    async def judge(self, connection: ServerConnection, request: Request) -> Response | None:
        """Says whether a client is let in."""
        self.requests.append(request)
        self.asked.set()
        await self.gate.wait()
        if self.refusal is None:
            return None
        refused = self.refusal
        headers = Headers([("Content-Length", str(len(refused.body))), ("Connection", "close"), *refused.headers])
        return Response(refused.status, HTTPStatus(refused.status).phrase, headers, refused.body.encode())

    async def greet(self, connection: ServerConnection, request: Request, response: Response) -> None:
        """Adds to the 101."""
        response.headers["X-Request-Id"] = "req_1"
        response.headers["Set-Cookie"] = "a=1"
        response.headers["Set-Cookie"] = "b=2"

    async def handle(self, connection: ServerConnection) -> None:
        self._accepted.put_nowait(connection)
        await connection.wait_closed()


def choose(connection: ServerConnection, offered: Sequence[Subprotocol]) -> Subprotocol | None:
    """The one subprotocol that is spoken here, if the client offers it."""
    return SPOKEN if SPOKEN in offered else None


@asynccontextmanager
async def run_socket_server(**options: Any) -> AsyncIterator[SocketServer]:
    """One on a free port; *options* are of the library's ``serve``."""
    running = SocketServer()
    options = {"select_subprotocol": choose, "max_size": None, "ping_interval": None} | options
    server: Server
    async with serve(
        running.handle, "127.0.0.1", 0, process_request=running.judge, process_response=running.greet, **options
    ) as server:
        (bound,) = server.sockets
        running.url = f"http://127.0.0.1:{bound.getsockname()[1]}"
        yield running


@asynccontextmanager
async def dial(proxy: Proxy, target: str = PATH, **options: Any) -> AsyncIterator[ClientConnection]:
    """A client's connection through *proxy*; *options* are of the library's ``connect``."""
    options = {"proxy": None, "max_size": None, "ping_interval": None, "close_timeout": 5} | options
    async with connect(f"ws://{proxy.host}{target}", **options) as connection:
        yield connection


def reset(connection: Connection) -> None:
    """Ends the connection with a TCP reset, as a crashed peer does."""
    endpoint = connection.transport.get_extra_info("socket")
    endpoint.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.transport.abort()


def vanish(connection: Connection) -> None:
    """Ends the connection without a closing frame."""
    connection.transport.abort()


Ending = Callable[[Connection], None]
