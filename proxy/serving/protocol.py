"""uvicorn's HTTP/1.1 protocol, with what a transparent proxy needs beyond ASGI, and what clients may not do."""

import asyncio
from collections.abc import Callable
from math import inf
from typing import Any, Final

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from proxy.edge.connection import CONNECTION, ClientConnection
from proxy.serving.cycles import CycleConnection, UnframedCycle, WatchedFlow
from proxy.serving.warden import (
    FRAMING_RATIO,
    LINGER_S,
    MOST_HEADERS,
    MOST_LINGERING,
    MOST_PIPELINED,
    Fault,
    Stage,
    Warden,
    count_unread,
    render,
)

# What a client may say before it knows whether its WebSocket is accepted; more makes it wait.
EARLY_BYTES: Final = 1 << 16

UPGRADE_HEADERS: Final = (b"upgrade", b"http2-settings")
# Headers that say how a request is to be read.
FRAMING_HEADERS: Final = frozenset({b"expect", b"host", b"transfer-encoding"})


class Protocol(HttpToolsProtocol):
    """One connection of a client. The scope of each request offers a :class:`ClientConnection`.

    *due*: when the client has dawdled enough, in seconds of the loop's clock; see :class:`Warden`.
    """

    flow: WatchedFlow

    def __init__(self, *args: Any, warden: Warden, **more: Any) -> None:
        super().__init__(*args, **more)
        self.due = inf
        self.listeners: set[Callable[[], None]] = set()
        self._warden = warden
        self._early: bytes | None = None
        self._is_declined = False
        self._is_refused = False
        # Of the request that is being received. Outside both, nothing of one has come yet.
        self._in_head = False
        self._in_body = False
        self._head_bytes = 0
        self._head_due = 0.0  # 0: nothing of it was late yet
        self._framing_bytes = 0  # beyond what its body is worth
        self._hosts = 0
        self._fault: Fault = "bad_request"
        self._unread = 0

    # The connection.

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """A client has come."""
        is_one_too_many = len(self.connections) >= self._warden.connections
        super().connection_made(transport)
        self.flow = WatchedFlow(transport, self._await_client)
        if is_one_too_many:
            self._turn_away("too_many")
            return
        self.due = self._head_due = self.loop.time() + self._warden.patience_s

    def connection_lost(self, exc: Exception | None) -> None:
        """It has gone."""
        super().connection_lost(exc)
        self._warden.leaving.discard(self)
        self.flow.watch.end()
        self._tell_listeners()

    def _tell_listeners(self) -> None:
        for listener in tuple(self.listeners):
            listener()

    def pause_writing(self) -> None:
        """The client does not read, or more slowly than the upstream answers."""
        super().pause_writing()
        self._await_reader()

    def resume_writing(self) -> None:
        """It has caught up."""
        super().resume_writing()
        self._await_client()

    # How long to wait for what.

    @property
    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _await_client(self) -> None:
        """Sets the time until which the client has to do what is its turn, if anything is."""
        if self._is_refused or self.transport.is_closing():
            return
        if self.flow.write_paused:
            self._await_reader()
        elif self._in_body:
            self.due = self.loop.time() + self._warden.patience_s
        elif self._in_head:
            self._head_due = self._head_due or self.loop.time() + self._warden.patience_s
            self.due = self._head_due
        elif self._is_answering:
            self.due = self.loop.time() + self._warden.patience_s  # when another look is due, in case it hangs up
        else:
            self.due = self.loop.time() + self._warden.keep_alive_s

    def _await_reader(self) -> None:
        self._unread = count_unread(self.transport)
        self.due = self.loop.time() + self._warden.patience_s

    @property
    def stage(self) -> Stage:
        """What is waited for."""
        if self._is_refused:
            return "leaving"
        if self.flow.write_paused or self.transport.is_closing():
            return "reader"
        if self._in_body and not self.cycle.response_complete:
            return "body"
        if self._is_answering:
            return "answer"
        return "head" if self._in_head else "idle"

    def expire(self, now: float) -> None:
        """It is *due*: the client has not done in time what was its turn, or it is time for another look."""
        stage = self.stage
        if stage == "leaving":
            self.transport.abort()
        elif stage == "reader":
            self._expire_reader()
        elif stage == "answer" or (stage == "body" and self._is_held_up):
            self.due = now + self._warden.patience_s  # it is not the client that takes its time
        elif stage == "idle":
            self._close()
        else:
            self._refuse("slow_head" if stage == "head" else "slow_body")

    @property
    def _is_held_up(self) -> bool:
        """Whether the client may not go on with its body for now."""
        return self.flow.read_paused or bool(self.cycle.waiting_for_100_continue)

    def _expire_reader(self) -> None:
        unread = self._unread
        self._await_reader()
        if not self._unread or self._unread >= unread:
            self._warden.refuse("slow_reader")
            self._is_refused = True
            self.due = inf
            self.transport.abort()

    def _close(self) -> None:
        """Closes it as soon as the client has read what it has been sent, and in time also if it does not."""
        self.transport.close()
        self._await_reader()

    # What comes.

    def data_received(self, data: bytes) -> None:
        """Parses, or keeps for later what a client says behind a request for another protocol."""
        if self._is_refused:
            return
        if self._early is not None:
            self._keep_early(data)
            return
        if self._in_body:
            self._framing_bytes += len(data)
        else:
            self._head_bytes += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as exc:
            self._meet_upgrade(data[exc.args[0] :])
        except httptools.HttpParserError:
            self._refuse(self._fault)
        else:
            if self._in_body or self._in_head:
                self._check_incomplete()

    def _check_incomplete(self) -> None:
        """Not all of a request has come yet: whether it may go on like this."""
        if self._in_body:
            self._framing_bytes = max(0, self._framing_bytes)
        if max(self._head_bytes, self._framing_bytes) > self._warden.head_bytes:
            self._refuse("head_too_large")
        else:
            self._await_client()

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self._in_head = True
        self._hosts = 0

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header, or behind a body a trailer."""
        name = name.lower()
        if name in FRAMING_HEADERS:
            self._note_framing(name, value)
        self.headers.append((name, value))

    def _note_framing(self, name: bytes, value: bytes) -> None:
        if name == b"host":
            self._hosts += 1
        elif name == b"expect":
            self.expect_100_continue = value.lower() == b"100-continue"
        # What else was done to the body, nobody would undo: the header goes no further. HTTP/1.0 knows none at all.
        elif value.strip().lower() != b"chunked" or self.parser.get_http_version() == "1.0":
            raise ValueError("an encoding that cannot be undone")

    def on_headers_complete(self) -> None:
        """The head is complete: the app may begin."""
        self._check_head()
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
        self._in_head, self._in_body = False, True

    def _check_head(self) -> None:
        """Raises for a head that is too large, or that others might read differently."""
        if len(self.headers) > MOST_HEADERS or self._head_bytes > self._warden.head_bytes < self._measure_head():
            self._fault = "head_too_large"
            raise ValueError("too large")
        version = self.parser.get_http_version()
        if (version != "1.1" or self._hosts != 1) and (version != "1.0" or self._hosts > 1):
            raise ValueError("not HTTP/1.1, or not for one host")
        if len(self.pipeline) >= MOST_PIPELINED:
            raise ValueError("too many requests at once")
        self._head_bytes = 0

    def _measure_head(self) -> int:
        return len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        self._framing_bytes -= FRAMING_RATIO * len(body)
        if not self._is_declined:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is complete."""
        if self._is_declined:
            return
        super().on_message_complete()
        self._in_body = False
        self._framing_bytes = 0
        self._head_due = 0.0
        if self.cycle.response_complete:  # before the body was here
            self._await_client()
        # A large body has stopped the reading; without it nobody would notice that the client leaves.
        if not self.pipeline:
            self.flow.resume_reading()

    def on_response_complete(self) -> None:
        """As uvicorn's, less the timer: one for each answer would cost more than all that is done for limits here."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            self._await_reader()
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        else:
            self._await_client()

    # Other protocols.

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
        self.connections.discard(self)
        self.cycle.response_started = self.cycle.response_complete = True
        self.transport.set_protocol(protocol)
        self.flow.resume_reading()
        return self.transport, self._early or b""

    # Refusing.

    def _refuse(self, fault: Fault) -> None:
        """Answers with an error in OpenAI's shape and hangs up; where another answer is due first, only hangs up."""
        concerns_current = self._in_body and not self.cycle.response_started
        if self.pipeline or (self._is_answering and not concerns_current):
            self._warden.refuse(fault)
            self._is_refused = True
            self._close()
            return
        if self._is_answering:
            self._abandon(self.cycle)
        self._turn_away(fault)

    def _abandon(self, cycle: RequestResponseCycle) -> None:
        """For the app, the client has left."""
        cycle.disconnected = True
        cycle.message_event.set()
        self._tell_listeners()

    def _turn_away(self, fault: Fault) -> None:
        self._is_refused = True
        error = self._warden.refuse(fault)
        if error is not None:
            self.transport.write(render(error))
        self.connections.discard(self)
        if len(self._warden.leaving) >= MOST_LINGERING:
            self.transport.close()
            return
        self.flow.resume_reading()
        self.transport.write_eof()
        self._warden.leaving.add(self)
        self.due = self.loop.time() + LINGER_S


def _without_upgrade(name: bytes, value: bytes) -> tuple[bytes, bytes]:
    if name != b"connection":
        return name, value
    words = [word.strip() for word in value.split(b",")]
    return name, b", ".join(word for word in words if word.lower() not in UPGRADE_HEADERS)
