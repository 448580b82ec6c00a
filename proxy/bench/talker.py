"""An upstream that answers every message in words of its own, so that a client knows what it must have got.

The header ``X-Talk: n`` draws answer *n*. It comes in a few pieces with pauses between them, as a model's does: there
is always an answer that is only half told when a process is killed.
"""

import asyncio
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
    asked = msgspec.json.decode(await request.body(), type=ChatBody)
    if asked.stream:
        return StreamingResponse(_tell(number), media_type="text/event-stream")
    await asyncio.sleep(PAUSE_S * PIECES)
    return Response(render(number), media_type="application/json")


async def _tell(number: int) -> AsyncIterator[bytes]:
    for event in render_stream(number):
        await asyncio.sleep(PAUSE_S)
        yield event


def serve_talker() -> None:
    """Runs it on a free port in this process until a signal, and says on stderr where, as ``serve`` does."""
    listening = socket.create_server(("127.0.0.1", 0), backlog=1024)
    sys.stderr.write(f'{{"event":"listening","url":"http://127.0.0.1:{listening.getsockname()[1]}"}}\n')
    app = Starlette(routes=[Route("/v1/chat/completions", answer, methods=["POST"])])
    config = uvicorn.Config(app, lifespan="off", log_level="critical", timeout_graceful_shutdown=1)
    uvicorn.Server(config).run([listening])


if __name__ == "__main__":
    serve_talker()
