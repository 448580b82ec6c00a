"""An upstream that answers every message in words of its own, so that a client knows what it must have got.

The header ``X-Talk: n`` draws answer *n*. It comes in a few pieces with pauses between them, as a model's does: there
is always an answer that is only half told when a process is killed.

Users may mark what they say. A prompt with the marks of two users has reached the wrong model: ``GET /seen`` tells how
often that was.
"""

import asyncio
import re
import socket
import sys
from collections.abc import AsyncIterator, Sequence
from functools import lru_cache
from typing import Final

import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from proxy.bench.corpus import Babble
from proxy.mock.payloads import completion, events, split_words
from proxy.mock.upstream import ChatBody

HEADER: Final = "X-Talk"
MODEL: Final = "talker"
WORDS: Final = 24
PIECES: Final = 6
PAUSE_S: Final = 0.02  # between two pieces; a whole answer waits as long as a stream takes


_MARK: Final = re.compile(rb"(?i)badge-([0-9a-f]+)")


class Seen(msgspec.Struct):
    """What came upstream: chats, those with a block of memories, and those with the marks of several users."""

    chats: int = 0
    remembered: int = 0
    mixed: int = 0

    def note(self, body: bytes) -> None:
        self.chats += 1
        self.remembered += b"<memory>" in body
        self.mixed += len({mark.lower() for mark in _MARK.findall(body)}) > 1


def mark(user: str) -> str:
    """What tells whose a message is, wherever it turns up."""
    return f"Badge-{user.encode().hex()}."


@lru_cache(maxsize=1024)
def compose(number: int) -> str:
    """Answer *number*."""
    return Babble(f"answer {number}").text(WORDS)


@lru_cache(maxsize=1024)
def render(number: int) -> bytes:
    """The body of a whole answer."""
    return completion([compose(number)], MODEL)


@lru_cache(maxsize=1024)
def render_stream(number: int) -> Sequence[bytes]:
    """The events of a streamed answer."""
    words, size = split_words(compose(number)), WORDS // PIECES
    pieces = ["".join(words[start : start + size]) for start in range(0, WORDS, size)]
    return events(pieces, MODEL, usage=False)


async def answer(request: Request) -> Response:
    """The one route."""
    number = int(request.headers[HEADER])
    body = await request.body()
    request.app.state.seen.note(body)
    asked = msgspec.json.decode(body, type=ChatBody)
    if asked.stream:
        return StreamingResponse(_tell(number), media_type="text/event-stream")
    await asyncio.sleep(PAUSE_S * PIECES)
    return Response(render(number), media_type="application/json")


async def tell_seen(request: Request) -> Response:
    """``GET /seen``."""
    return Response(msgspec.json.encode(request.app.state.seen), media_type="application/json")


async def _tell(number: int) -> AsyncIterator[bytes]:
    for event in render_stream(number):
        await asyncio.sleep(PAUSE_S)
        yield event


def serve_talker() -> None:
    """Runs it on a free port in this process until a signal, and says on stderr where, as ``serve`` does."""
    listening = socket.create_server(("127.0.0.1", 0), backlog=1024)
    sys.stderr.write(f'{{"event":"listening","url":"http://127.0.0.1:{listening.getsockname()[1]}"}}\n')
    app = Starlette(
        routes=[
            Route("/v1/chat/completions", answer, methods=["POST"]),
            Route("/seen", tell_seen, methods=["GET"]),
        ]
    )
    app.state.seen = Seen()
    config = uvicorn.Config(app, lifespan="off", log_level="critical", timeout_graceful_shutdown=1)
    uvicorn.Server(config).run([listening])


if __name__ == "__main__":
    serve_talker()
