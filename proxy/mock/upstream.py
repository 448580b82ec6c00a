"""A small OpenAI-compatible upstream: the far end of ``demo`` and ``bench``; offline and deterministic.

What a request may ask of it, in headers that a proxy passes on:

=================  =====================================================================================
``X-Mock-Chunks``  answer with this many prebuilt, numbered chunks instead of the assistant's words (load tests)
``X-Mock-Gap-Ms``  wait so long before each chunk of a stream; one that is late does not make the next one late
``X-Mock-Delay-Ms``  wait so long before the response starts
``X-Mock-Status``  answer with this error status, in OpenAI's shape
=================  =====================================================================================
"""

import asyncio
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Final, Self

import msgspec
import uvicorn
from starlette.types import Receive, Scope, Send

from proxy.mock.assistant import compose_reply
from proxy.mock.payloads import (
    MODEL,
    completion,
    embeddings,
    events,
    models,
    name_model,
    prebuilt_completion,
    prebuilt_events,
    split_words,
)
from proxy.models import Message

Headers = Sequence[tuple[bytes, bytes]]
KEEP_ALIVE_S: Final = 120


class Wish(msgspec.Struct, frozen=True):
    """What the ``X-Mock-*`` headers of one request ask for. Seconds; no *chunks*: the assistant's words."""

    chunks: int = 0
    gap: float = 0.0
    delay: float = 0.0
    status: int = 200

    @classmethod
    def from_headers(cls, headers: Headers) -> Self:
        given = {name: value for name, value in headers if name.startswith(b"x-mock-")}
        return cls(
            chunks=int(given.get(b"x-mock-chunks", 0)),
            gap=float(given.get(b"x-mock-gap-ms", 0)) / 1000,
            delay=float(given.get(b"x-mock-delay-ms", 0)) / 1000,
            status=int(given.get(b"x-mock-status", 200)),
        )


class Part(msgspec.Struct):
    """One part of a message's content; only text parts are read."""

    text: str | None = None


class Turn(msgspec.Struct):
    """One message as the client or the proxy wrote it."""

    role: str
    content: str | list[Part] | None = None

    def as_message(self) -> Message:
        if isinstance(self.content, list):
            return Message(self.role, "\n".join(part.text for part in self.content if part.text))
        return Message(self.role, self.content or "")


class StreamOptions(msgspec.Struct):
    """Of the stream's options, the one that changes what is sent."""

    include_usage: bool = False


class ChatBody(msgspec.Struct):
    """What is read of a chat request; everything else is ignored."""

    messages: list[Turn]
    model: str = MODEL
    stream: bool = False
    stream_options: StreamOptions | None = None

    @property
    def wants_usage(self) -> bool:
        return self.stream_options is not None and self.stream_options.include_usage


class EmbeddingBody(msgspec.Struct):
    """What is read of an embedding request."""

    input: str | list[str]
    model: str = MODEL
    encoding_format: str = "float"

    @property
    def texts(self) -> list[str]:
        return [self.input] if isinstance(self.input, str) else self.input


class MockUpstream:
    """The ASGI application. Keeps the last *keep* chat bodies, exactly as received, in :attr:`bodies` (newest last)."""

    def __init__(self, *, keep: int = 16) -> None:
        self.bodies: deque[bytes] = deque(maxlen=keep)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await _read_body(receive)
        wish = Wish.from_headers(scope["headers"])
        await asyncio.sleep(wish.delay)
        if wish.status != 200:
            await _send_error(send, wish.status, "an error, as asked for")
            return
        try:
            await self._route(scope, body, wish, send)
        except msgspec.MsgspecError as error:
            await _send_error(send, 400, str(error))

    async def _route(self, scope: Scope, body: bytes, wish: Wish, send: Send) -> None:
        match scope["path"]:
            case "/v1/chat/completions":
                self.bodies.append(body)
                await _chat(msgspec.json.decode(body, type=ChatBody), wish, send)
            case "/v1/embeddings":
                asked = msgspec.json.decode(body, type=EmbeddingBody)
                await _send_json(send, 200, embeddings(asked.texts, model=asked.model, encoding=asked.encoding_format))
            case "/v1/models":
                await _send_json(send, 200, models())
            case path:
                await _send_error(send, 404, f"no such route: {path}")


class UpstreamThread:
    """The mock upstream on a free loopback port, served by a thread of this process while the context is open."""

    def __init__(self) -> None:
        self.app = MockUpstream()
        self._socket = _listen()
        self._server = _server(self.app)
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],), name="mock-upstream")

    @property
    def url(self) -> str:
        """Where it answers. The socket listens already: whoever connects early waits, and is served."""
        return _url(self._socket)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join()


async def _chat(body: ChatBody, wish: Wish, send: Send) -> None:
    text = "" if wish.chunks else compose_reply([turn.as_message() for turn in body.messages])
    if not body.stream:
        payload = prebuilt_completion(wish.chunks, body.model) if wish.chunks else completion([text], body.model)
        await _send_json(send, 200, payload)
    elif wish.chunks:
        prebuilt = prebuilt_events(wish.chunks, body.wants_usage)
        await _send_stream(send, name_model(prebuilt, body.model), wish.gap)
    else:
        await _send_stream(send, events(split_words(text), body.model, usage=body.wants_usage), wish.gap)


async def _read_body(receive: Receive) -> bytes:
    message = await receive()
    pieces: list[bytes] = [message.get("body", b"")]
    while message.get("more_body"):
        message = await receive()
        pieces.append(message.get("body", b""))
    return b"".join(pieces)


async def _send_json(send: Send, status: int, payload: bytes, headers: Headers = ()) -> None:
    length = str(len(payload)).encode()
    head = [(b"content-type", b"application/json"), (b"content-length", length), *headers]
    await send({"type": "http.response.start", "status": status, "headers": head})
    await send({"type": "http.response.body", "body": payload})


async def _send_error(send: Send, status: int, message: str) -> None:
    kind = "invalid_request_error" if status < 500 else "server_error"
    payload = {"error": {"message": message, "type": kind, "param": None, "code": None}}
    headers = [(b"retry-after", b"1")] if status in (429, 503) else []
    await _send_json(send, status, msgspec.json.encode(payload), headers)


async def _send_stream(send: Send, events: Iterable[bytes], gap: float) -> None:
    """Each event is its own write: even without a gap the loop turns once between two."""
    headers = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    due = time.perf_counter()
    for event in events:
        due += gap
        await asyncio.sleep(max(0.0, due - time.perf_counter()) if gap else 0)
        await send({"type": "http.response.body", "body": event, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


def _listen() -> socket.socket:
    return socket.create_server(("127.0.0.1", 0), backlog=1024)


def _url(listening: socket.socket) -> str:
    return f"http://127.0.0.1:{listening.getsockname()[1]}"


def _server(app: MockUpstream) -> uvicorn.Server:
    # A stream that still waits for its gaps must not keep the command from ending. Connections are kept longer than any
    # measurement leaves them idle: one that is closed just when it is used again would look like a failure.
    config = uvicorn.Config(
        app, lifespan="off", log_level="error", timeout_graceful_shutdown=1, timeout_keep_alive=KEEP_ALIVE_S
    )
    return uvicorn.Server(config)


def serve_upstream() -> None:
    """Runs the mock upstream in this process until a signal, and says on stderr where, as ``serve`` does."""
    listening = _listen()
    line = msgspec.json.encode({"event": "listening", "url": _url(listening)})
    sys.stderr.write(line.decode() + "\n")
    _server(MockUpstream()).run([listening])


if __name__ == "__main__":
    serve_upstream()
