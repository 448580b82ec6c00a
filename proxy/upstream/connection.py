"""One connection to the upstream: a request goes out, its response comes in, then the next.

A protocol and no streams of asyncio's: the bytes of a body go from the parser to whoever reads the response, and a
chunk that arrives costs one turn of the event loop.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from typing import Final

import httptools

from proxy.errors import Failure, UpstreamError
from proxy.upstream.request import Request
from proxy.upstream.response import SWITCHING_PROTOCOLS, Response

# A larger request body is written in pieces, because one write of it all (of TLS, above all) would hold the event loop.
LARGE_BODY: Final = 1 << 20
PIECE: Final = 1 << 16

# Largest response head that is accepted: far above what APIs send, and a bound on what a broken one can make us hold.
MAX_HEAD_BYTES: Final = 1 << 16


class Connection(asyncio.Protocol):
    """Serves one request at a time.

    *on_idle* is called when it may serve the next one, *on_lost* when it is closed, for whatever reason.
    """

    transport: asyncio.Transport

    def __init__(
        self,
        *,
        read_timeout_s: float,
        on_idle: "Callable[[Connection], None]",
        on_lost: "Callable[[Connection], None]",
    ) -> None:
        self.served = 0
        self.born = self.idle_since = 0.0
        self.keep_alive_s: float | None = None  # as the upstream announced it
        self.is_closed = False
        self._loop = asyncio.get_running_loop()
        self._read_timeout_s = read_timeout_s
        self._on_idle = on_idle
        self._on_lost = on_lost
        self._response: Response | None = None
        self._parser: httptools.HttpResponseParser | None = None
        self._head_bytes = 0  # of reads that did not bring its end
        self._header_bytes = 0
        self._in_head = True
        self._keeps_alive = False
        self._ends_with_connection = False
        self._is_message_complete = False
        self._is_body_sent = True
        self._is_silent_by_right = False  # while it is not the upstream's turn
        self._is_paused = False
        self._heard_at = 0.0
        self._alarm: asyncio.TimerHandle | None = None
        self._writable: asyncio.Future[None] | None = None

    # What is asked of it.

    def start(self, request: Request, before: bytes, after: bytes) -> Response:
        """Sends *request*, all but a body that is streamed or large: that is :meth:`upload`'s."""
        response = Response(self, bodiless=request.method == "HEAD", upgrade=request.upgrade)
        if self.is_closed:
            response.fail(UpstreamError("reset", "the connection was closed before it could be used"))
            return response
        self.served += 1
        self._response = response
        self._parser = httptools.HttpResponseParser(self)
        # Small servers write these, and every client reads them.
        self._parser.set_dangerous_leniencies(lenient_optional_cr_before_lf=True, lenient_spaces_after_chunk_size=True)
        self._head_bytes = self._header_bytes = 0
        self._in_head = True
        self._is_message_complete = False
        self._ends_with_connection = False
        self._is_silent_by_right = False
        head = request.render_head(before, after)
        self._is_body_sent = isinstance(request.body, bytes) and len(request.body) <= LARGE_BODY
        if isinstance(request.body, bytes) and self._is_body_sent:
            self.transport.write(head + request.body)
        else:
            self.transport.write(head)
        self._watch()
        return response

    @property
    def is_body_sent(self) -> bool:
        return self._is_body_sent

    async def upload(self, request: Request) -> None:
        """Sends the body of *request*, as fast as the upstream takes it."""
        chunked = request.is_chunked
        pieces = _cut(request.body) if isinstance(request.body, bytes) else request.body
        self._is_silent_by_right = True
        async for piece in pieces:
            self._is_silent_by_right = False
            if self.is_closed:
                return
            self.transport.write(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
            self._heard_at = self._loop.time()
            if self._writable is not None:
                await self._writable
            self._is_silent_by_right = True
        self._is_silent_by_right = False
        if chunked and not self.is_closed:
            self.transport.write(b"0\r\n\r\n")
        self._heard_at = self._loop.time()
        self._is_body_sent = True
        if self._is_message_complete:
            self._end_exchange()

    def resume(self) -> None:
        """The client has taken what was held for it."""
        if self._is_paused:
            self._is_paused = False
            self._heard_at = self._loop.time()
            self.transport.resume_reading()

    def abort(self) -> None:
        """Closes it at once."""
        self._fail("reset", "given up")
        self.transport.abort()

    def hand_over(self, protocol: asyncio.Protocol) -> asyncio.Transport:
        """Lets go of the transport."""
        self._forget()
        self.transport.set_protocol(protocol)
        return self.transport

    # What asyncio tells it.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]  # it is one that reads and writes
        self.born = self._loop.time()

    def data_received(self, data: bytes) -> None:
        response, parser = self._response, self._parser
        if response is None or parser is None:
            self.transport.abort()  # nobody has asked
            return
        self._heard_at = self._loop.time()
        try:
            parser.feed_data(data)
        except httptools.HttpParserUpgrade as exc:
            self._upgrade(response, data[exc.args[0] :])
        except httptools.HttpParserError as exc:
            self._keeps_alive = False
            if not self._is_message_complete:  # else only what follows it is wrong
                self._fail("protocol", _describe(exc))
                self.transport.abort()
                return
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self._fail("protocol", "the response head has no end")
                self.transport.abort()
        elif self._is_message_complete:
            self._complete(response)
        response.wake()

    def eof_received(self) -> None:
        """The transport closes itself then."""

    def connection_lost(self, exc: Exception | None) -> None:
        response = self._response
        if response is not None and exc is None and self._ends_with_connection and not self._in_head:
            self._response = self._parser = None
            response.finish()
            response.wake()
        else:
            # Of TLS 1.3, the upstream's verdict on our certificate comes only now.
            kind: Failure = "tls" if isinstance(exc, ssl.SSLError) else "reset"
            untouched = self.served > 1 and self._in_head and self._head_bytes == 0
            self._fail(kind, str(exc or "the upstream closed the connection"), unanswered=untouched)
        self._forget()

    def pause_writing(self) -> None:
        self._writable = self._loop.create_future()

    def resume_writing(self) -> None:
        writable, self._writable = self._writable, None
        if writable is not None and not writable.done():
            writable.set_result(None)

    # What the parser tells it.

    def on_message_begin(self) -> None:
        if self._is_message_complete:
            raise ValueError("more than one response")

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._in_head or self._response is None:
            return  # a trailer: no field of ours may come that late
        name, value = name.lower(), value.rstrip(b" \t")  # space around a value is no part of it
        self._response.headers.append((name, value))
        self._header_bytes += len(name) + len(value)
        if self._header_bytes > MAX_HEAD_BYTES:
            raise ValueError("the response head is too large")

    def on_headers_complete(self) -> None:
        response, parser = self._response, self._parser
        if response is None or parser is None:
            return
        status = parser.get_status_code()
        if not 100 <= status < 600:
            raise ValueError(f"there is no status {status}")
        if status < 200 and not (status == SWITCHING_PROTOCOLS and response.upgrade):
            if status == SWITCHING_PROTOCOLS:
                raise ValueError("the upstream switched protocols unasked")
            response.headers.clear()  # an interim response: the real one follows
            return
        self._in_head = False
        self._keeps_alive = parser.should_keep_alive()
        self._read_framing(response)
        response.status = status
        if response.bodiless:
            self._is_message_complete = True

    def on_body(self, piece: bytes) -> None:
        if self._is_message_complete or self._response is None:
            raise ValueError("a body where none belongs")
        if self._response.take(piece) and not self._is_paused:
            self._is_paused = True
            self.transport.pause_reading()

    def on_message_complete(self) -> None:
        self._is_message_complete = not self._in_head

    # What it does by itself.

    def _read_framing(self, response: Response) -> None:
        has_length = False
        self.keep_alive_s = None
        for name, value in response.headers:
            if name in (b"content-length", b"transfer-encoding"):
                has_length = True
            elif name == b"keep-alive":
                self.keep_alive_s = _read_keep_alive(value)
        self._ends_with_connection = not has_length

    def _upgrade(self, response: Response, early: bytes) -> None:
        """After 101: what comes from now on is another protocol's."""
        response.early = early
        self._is_message_complete = False
        self._keeps_alive = False
        self._stop_watch()
        self.transport.pause_reading()
        self._is_paused = True

    def _complete(self, response: Response) -> None:
        response.finish()
        self.resume()
        if self._is_body_sent:
            self._end_exchange()
        else:
            # It has answered without having read all: what is left of the body would be taken for the next request.
            self.transport.abort()

    def _end_exchange(self) -> None:
        self._response = self._parser = None
        if self._keeps_alive and not self.is_closed:
            self.idle_since = self._loop.time()
            self._on_idle(self)
        else:
            self.transport.abort()

    def _fail(self, kind: Failure, reason: str, *, unanswered: bool = False) -> None:
        response, self._response = self._response, None
        self._parser = None
        if response is not None:
            response.fail(UpstreamError(kind, reason, unanswered=unanswered))

    def _forget(self) -> None:
        if not self.is_closed:
            self.is_closed = True
            self._stop_watch()
            self.resume_writing()
            self._on_lost(self)

    # One timer a connection, set anew only when it rings: arming one for every chunk would cost more than the chunk.

    def _watch(self) -> None:
        self._heard_at = self._loop.time()
        if self._alarm is None:
            self._alarm = self._loop.call_later(self._read_timeout_s, self._check_silence)

    def _stop_watch(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None

    def _check_silence(self) -> None:
        self._alarm = None
        if self._response is None:
            return
        now = self._loop.time()
        if self._is_paused or self._is_silent_by_right:
            self._heard_at = now
        left = self._heard_at + self._read_timeout_s - now
        if left > 0:
            self._alarm = self._loop.call_later(left, self._check_silence)
            return
        self._fail("read_timeout", f"the upstream said nothing for {self._read_timeout_s:g} s")
        self.transport.abort()


async def _cut(body: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(body), PIECE):
        yield body[start : start + PIECE]


def _describe(exc: httptools.HttpParserError) -> str:
    """The parser's words, or ours where it was one of the callbacks that objected."""
    return str(exc.__context__ or exc) or type(exc).__name__


def _read_keep_alive(value: bytes) -> float | None:
    """The seconds of ``timeout=5, max=100``."""
    for parameter in value.split(b","):
        name, _, number = parameter.partition(b"=")
        if name.strip().lower() == b"timeout" and number.strip().isdigit():
            return float(number)
    return None
