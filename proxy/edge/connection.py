"""What a server of our own offers beyond ASGI, for one request."""

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

# The scope's extension that holds it. On another server there is none, and everything goes by ASGI's messages.
CONNECTION: Final = "memory_proxy.connection"


class ClientConnection(Protocol):
    """The connection of the client that sent the request."""

    asks_for_websocket: bool

    async def wait_for_body(self, seconds: float) -> bool:
        """Whether anything of the request's body, or its end, has come within so many *seconds*."""

    def add_listener(self, listener: Callable[[], None]) -> None:
        """Has *listener* called when the client leaves."""

    def discard_listener(self, listener: Callable[[], None]) -> None:
        """It need not be called any more."""

    def is_ready(self) -> bool:
        """Whether :meth:`write` may be called: in the middle of a response body of unknown length, nothing waiting."""

    def write(self, piece: bytes) -> None:
        """Sends a piece of the response's body, as the server would."""

    def switch(self, protocol: asyncio.Protocol) -> tuple[asyncio.Transport, bytes]:
        """Hands the connection over to *protocol*: its transport, and what has been received already."""
