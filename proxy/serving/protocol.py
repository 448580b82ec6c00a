"""uvicorn's HTTP/1.1 protocol, with what a transparent proxy needs beyond ASGI."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

import httptools
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from proxy.edge.connection import CONNECTION, ClientConnection
from proxy.edge.hangup import HangupWatch
from proxy.errors import ApiError

# What a client may say before it knows whether its WebSocket is accepted; more makes it wait.
EARLY_BYTES: Final = 1 << 16

UPGRADE_HEADERS: Final = (b"upgrade", b"http2-settings")


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
    """uvicorn's, which also notices that a client leaves while it is made to wait."""

    def __init__(self, transport: asyncio.Transport) -> None:
        super().__init__(transport)
        # As everywhere in uvicorn, a client that half-closes has left, whatever it had still to say.
        self.watch = HangupWatch(transport.abort, orderly=True)

    def pause_reading(self) -> None:
        """As uvicorn's."""
        if not self.read_paused:
            self.watch.begin(self._transport)
        super().pause_reading()

    def resume_reading(self) -> None:
        """As uvicorn's."""
        if self.read_paused:
            self.watch.end()
        super().resume_reading()


class CycleConnection:
    """:class:`ClientConnection` of one request."""

    def __init__(self, protocol: "Protocol", cycle: RequestResponseCycle, *, asks_for_websocket: bool) -> None:
        self.asks_for_websocket = asks_for_websocket
        self.add_listener = protocol.listeners.add
        self.discard_listener = protocol.listeners.discard
        self.switch = protocol.switch
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


class Protocol(HttpToolsProtocol):
    """One connection of a client. The scope of each request offers a :class:`ClientConnection`."""

    flow: WatchedFlow

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """A client has come."""
        super().connection_made(transport)
        self.flow = WatchedFlow(transport)
        self.listeners: set[Callable[[], None]] = set()
        self._early: bytes | None = None
        self._is_declined = False

    def connection_lost(self, exc: Exception | None) -> None:
        """It has gone."""
        super().connection_lost(exc)
        self.flow.watch.end()
        for listener in tuple(self.listeners):
            listener()

    def data_received(self, data: bytes) -> None:
        """Parses, or keeps for later what a client says behind a request for another protocol."""
        if self._early is not None:
            self._keep_early(data)
            return
        self._unset_keepalive_if_required()
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as exc:
            self._meet_upgrade(data[exc.args[0] :])
        except httptools.HttpParserError:
            self.send_400_response("Invalid HTTP request received.")

    def on_headers_complete(self) -> None:
        """The head is complete: the app may begin."""
        asks_for_upgrade = self.parser.should_upgrade()
        if asks_for_upgrade and self.parser.get_method() == b"CONNECT":
            raise ValueError("this is no forward proxy")
        is_websocket = asks_for_upgrade and self._get_upgrade() == b"websocket"
        if asks_for_upgrade and not is_websocket:
            self._is_declined = True
            return
        super().on_headers_complete()
        if self.parser.get_http_version() == "1.0":
            self.cycle.__class__ = UnframedCycle
        connection: ClientConnection = CycleConnection(self, self.cycle, asks_for_websocket=is_websocket)
        self.scope["extensions"] = {CONNECTION: connection}  # type: ignore[dict-item]  # extensions may be anything
        self.headers = []  # what follows a body are trailers, and no part of the head

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        if not self._is_declined:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is complete."""
        if self._is_declined:
            return
        super().on_message_complete()
        # A large body has stopped the reading; without it nobody would notice that the client leaves.
        if not self.pipeline:
            self.flow.resume_reading()

    def _should_upgrade(self) -> bool:
        return False  # not by uvicorn: a WebSocket is a request like any other until its upstream has agreed

    def _meet_upgrade(self, rest: bytes) -> None:
        """The parser has stopped behind a head that asks for another protocol; *rest* has not been parsed."""
        if not self._is_declined:
            self._early = b""
            self._keep_early(rest)
            return
        # Nobody here speaks what is asked for, HTTP/2 for example: then it is an ordinary request (RFC 9110, 7.8),
        # and its body is one. The parser can only be brought to read it by a head that does not ask.
        self._is_declined = False
        version = self.parser.get_http_version().encode("ascii")
        lines = [b"%b %b HTTP/%b" % (self.parser.get_method(), self.url, version)]
        lines += [b"%b: %b" % _without_upgrade(*header) for header in self.headers if header[0] not in UPGRADE_HEADERS]
        self.parser = httptools.HttpRequestParser(self)
        self.data_received(b"\r\n".join([*lines, b"", rest]))

    def _keep_early(self, data: bytes) -> None:
        self._early = (self._early or b"") + data
        if len(self._early) > EARLY_BYTES:
            self.flow.pause_reading()
        if self.cycle is not None:
            self.cycle.keep_alive = False  # what came early cannot be taken back

    def switch(self, protocol: asyncio.Protocol) -> tuple[asyncio.Transport, bytes]:
        """Hands the connection over to *protocol*: its transport, and what has been received already."""
        self._unset_keepalive_if_required()
        self.connections.discard(self)
        self.cycle.response_started = self.cycle.response_complete = True
        self.transport.set_protocol(protocol)
        self.flow.resume_reading()
        return self.transport, self._early or b""

    def send_400_response(self, msg: str) -> None:
        """Answers with 400 in OpenAI's shape and hangs up; in the middle of an answer it only hangs up."""
        if self.cycle is None or self.cycle.response_complete or not self.cycle.response_started:
            error = ApiError(400, "bad_request", msg)
            headers = [*error.headers, (b"connection", b"close")]
            lines = [b"HTTP/1.1 400 Bad Request", *(b"%b: %b" % header for header in headers)]
            self.transport.write(b"\r\n".join([*lines, b"", error.body()]))
        self.transport.close()


def _without_upgrade(name: bytes, value: bytes) -> tuple[bytes, bytes]:
    if name != b"connection":
        return name, value
    words = [word.strip() for word in value.split(b",")]
    return name, b", ".join(word for word in words if word.lower() not in UPGRADE_HEADERS)
