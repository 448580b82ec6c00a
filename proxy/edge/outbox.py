"""The client's side of one response."""

from starlette.types import Send

from proxy.edge.connection import ClientConnection
from proxy.errors import ApiError
from proxy.upstream import RawHeaders


class Outbox:
    """Sends a response. *connection*: the short cut, where a server offers one."""

    def __init__(self, send: Send, connection: ClientConnection | None = None) -> None:
        self.connection = connection
        self._send = send

    async def start(self, status: int, headers: RawHeaders) -> None:
        """Sends the head."""
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    async def write(self, piece: bytes, *, more: bool) -> None:
        """Sends a piece of the body, the last one with *more* false. Waits for a client that is slow."""
        await self._send({"type": "http.response.body", "body": piece, "more_body": more})

    async def fail(self, error: ApiError, *headers: tuple[bytes, bytes]) -> None:
        """Answers with an error of the proxy's own, and *headers* beside its own."""
        await self.start(error.status, [*error.headers, *headers])
        await self.write(error.body(), more=False)
