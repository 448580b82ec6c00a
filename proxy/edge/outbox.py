"""The client's side of one response."""

from typing import Final, Protocol

from starlette.types import Send

from proxy.errors import ApiError
from proxy.upstream import RawHeaders

# The scope's extension under which our own server offers a Writer.
WRITER: Final = "memory_proxy.writer"


class Writer(Protocol):
    """A short cut to the client's connection, for pieces in the middle of a response body of unknown length."""

    def is_ready(self) -> bool:
        """Whether a piece can be written at once; if not, it has to go the long way, and wait there."""

    def write(self, piece: bytes) -> None:
        """Writes one, as the server would."""


class Outbox:
    """Sends a response. *writer* is what a server offers that can do without ASGI's messages."""

    def __init__(self, send: Send, writer: Writer | None = None) -> None:
        self.writer = writer
        self._send = send

    async def start(self, status: int, headers: RawHeaders) -> None:
        """Sends the head."""
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    async def write(self, piece: bytes, *, more: bool) -> None:
        """Sends a piece of the body, the last one with *more* false. Waits for a client that is slow."""
        await self._send({"type": "http.response.body", "body": piece, "more_body": more})

    async def fail(self, error: ApiError) -> None:
        """Answers with an error of the proxy's own."""
        await self.start(error.status, error.headers)
        await self.write(error.body(), more=False)
