"""One request on a connection: uvicorn's cycle and flow control, with what a transparent proxy needs beyond them."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any
from typing import Protocol as Interface

from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from proxy.edge.hangup import HangupWatch


class Host(Interface):
    """The protocol of the connection that a request came on."""

    listeners: set[Callable[[], None]]

    def switch(self, protocol: asyncio.Protocol) -> tuple[asyncio.Transport, bytes]:
        """Hands the connection over."""


class UnframedCycle(RequestResponseCycle):
    """For clients of HTTP/1.0, who know no chunks: a body of unknown length ends with the connection."""

    is_unframed = False

    async def send(self, message: Any) -> None:
        """As ASGI has it."""
        if message["type"] == "http.response.start":
            if all(name.lower() != b"content-length" for name, _ in message["headers"]):
                self.chunked_encoding = False
                self.is_unframed = True
        elif self.is_unframed:
            self.expected_content_length = len(message.get("body", b""))
        await super().send(message)


class WatchedFlow(FlowControl):
    """uvicorn's, which also notices that a client leaves while it is made to wait.

    *on_resume*: called when it may send again, after it was made to wait.
    """

    def __init__(self, transport: asyncio.Transport, on_resume: Callable[[], None]) -> None:
        super().__init__(transport)
        # As everywhere in uvicorn, a client that half-closes has left, whatever it had still to say.
        self.watch = HangupWatch(transport.abort, orderly=True)
        self._on_resume = on_resume

    def pause_reading(self) -> None:
        """As uvicorn's."""
        if not self.read_paused:
            self.watch.begin(self._transport)
        super().pause_reading()

    def resume_reading(self) -> None:
        """As uvicorn's."""
        if self.read_paused:
            self.watch.end()
            self._on_resume()
        super().resume_reading()


class CycleConnection:
    """:class:`proxy.edge.connection.ClientConnection` of one request."""

    def __init__(self, host: Host, cycle: RequestResponseCycle, *, asks_for_websocket: bool) -> None:
        self.asks_for_websocket = asks_for_websocket
        self.add_listener = host.listeners.add
        self.discard_listener = host.listeners.discard
        self.switch = host.switch
        self._cycle = cycle
        self._flow = cycle.flow
        self._transport = cycle.transport

    async def wait_for_body(self, seconds: float) -> bool:
        """As :class:`ClientConnection` has it."""
        cycle = self._cycle
        if not cycle.message_event.is_set() and not cycle.waiting_for_100_continue:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await cycle.message_event.wait()
        return cycle.message_event.is_set()

    def is_ready(self) -> bool:
        """As :class:`ClientConnection` has it."""
        cycle = self._cycle
        return bool(cycle.chunked_encoding) and not (
            self._flow.write_paused or cycle.disconnected or cycle.response_complete or cycle.scope["method"] == "HEAD"
        )

    def write(self, piece: bytes) -> None:
        """As :class:`ClientConnection` has it: what uvicorn does with a chunk, less the ceremony."""
        self._transport.write(b"%x\r\n%b\r\n" % (len(piece), piece))
