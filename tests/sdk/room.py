"""The far end of WebSockets: a server that another library wrote."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

# What may differ on the way up: the hop's own headers, and a nonce.
OF_THE_HOP = frozenset({"host", "connection", "upgrade", "sec-websocket-key", "x-memory-proxy-hop"})
DONE = '{"type":"response.done","event_id":"e2","response":{"metadata":{"heard":"%d"}}}'


@dataclass
class Room:
    """A WebSocket server that answers each event with itself, and keeps what it was asked."""

    url: str = ""
    asked: list[tuple[str, list[tuple[str, str]]]] = field(default_factory=list)
    heard: list[str | bytes] = field(default_factory=list)

    def receive(self, connection: ServerConnection, request: Request) -> Response | None:
        """The handshake: refused where the query asks for it."""
        headers = [(name.lower(), value) for name, value in request.headers.raw_items()]
        self.asked.append((request.path, [(name, value) for name, value in headers if name not in OF_THE_HOP]))
        if "refuse" in request.path:
            return connection.respond(HTTPStatus.UNAUTHORIZED, '{"error":{"message":"No.","code":"bad_key"}}')
        return None

    async def talk(self, connection: ServerConnection) -> None:
        await connection.send('{"type":"session.created","event_id":"e1","session":{"type":"realtime"}}')
        async for message in connection:
            self.heard.append(message)
            if "response.cancel" in str(message):
                await connection.close(4001, "enough – bye")
            else:
                await connection.send(DONE % len(message))


def choose(_: ServerConnection, offered: Sequence[Subprotocol]) -> Subprotocol | None:
    """The last that the client offers: neither demanded nor made up."""
    return offered[-1] if offered else None


@asynccontextmanager
async def open_room() -> AsyncIterator[Room]:
    """A room on a free port."""
    room = Room()
    async with serve(
        room.talk,
        "127.0.0.1",
        0,
        process_request=room.receive,
        select_subprotocol=choose,
        max_size=None,
    ) as server:
        room.url = f"http://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}"
        yield room


@dataclass
class Rooms:
    """A WebSocket server, and the URL of a proxy in front of it."""

    far_end: Room
    proxy: str

    async def compare(self, steps: Callable[[str], Awaitable[Any]]) -> Any:
        """What *steps*, which get a base URL, gave both times; handshakes and messages are the same at the far end."""
        runs = []
        for url in (self.far_end.url, self.proxy):
            self.far_end.asked.clear()
            self.far_end.heard.clear()
            outcome = await steps(f"{url}/v1")
            runs.append((outcome, list(self.far_end.asked), list(self.far_end.heard)))
        direct, proxied = runs
        assert proxied == direct
        return proxied[0]
