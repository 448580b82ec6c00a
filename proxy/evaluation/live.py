"""The proxy as it is in production, inside a measurement: only the date, and what upstream says, are laid down."""

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager, contextmanager
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import Any, Final

import httpx2
import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from proxy.app import App
from proxy.errors import MemoryProxyError
from proxy.evaluation.conditions import make_settings
from proxy.keeper import wire
from proxy.mock.payloads import completion, events
from proxy.models import Exchange, Memory, Scope
from proxy.tasks import Tasks
from proxy.workingset import Arrival, WorkingSet

_LINE: Final = "X-Line"
_MODEL: Final = "scripted"
_PIECE: Final = 200  # characters of an answer in one event
_PAGE: Final = 1000
_START_S: Final = 60.0

Message = dict[str, Any]
# What upstream says to instructions such as these.
Compose = Callable[[str], str]


class Line(msgspec.Struct):
    """What upstream is to say to one request: a text, or a call of a tool. *heard* and *said* are known afterwards:
    the instructions that it was given, and its text.
    """

    compose: Compose
    is_call: bool = False
    heard: str = ""
    said: str = ""


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """One request of a client. *more*: other fields of its body."""

    user_id: str
    at: datetime
    messages: Sequence[Message]
    line: Line
    conversation_id: str | None = None
    stream: bool = False
    more: Mapping[str, Any] = {}


class Upstream:
    """Answers each request with the line that was laid down for it."""

    def __init__(self) -> None:
        self._lines: dict[str, Line] = {}
        self._numbers = count()

    def lay_down(self, line: Line) -> str:
        """The number under which *line* is to be asked for, once."""
        number = str(next(self._numbers))
        self._lines[number] = line
        return number

    async def answer(self, request: Request) -> Response:
        """The one route."""
        line = self._lines.pop(request.headers[_LINE])
        asked = msgspec.json.decode(await request.body())
        systems = (message["content"] for message in asked["messages"] if message["role"] == "system")
        line.heard = "\n".join(systems)
        line.said = line.compose(line.heard)
        if line.is_call:
            return Response(_call_tool(line.said), media_type="application/json")
        if not asked.get("stream"):
            return Response(completion([line.said], _MODEL), media_type="application/json")
        pieces = [line.said[start : start + _PIECE] for start in range(0, len(line.said), _PIECE)]
        return StreamingResponse(_stream(events(pieces, _MODEL, usage=False)), media_type="text/event-stream")


async def _stream(pieces: Iterable[bytes]) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


def make_call(arguments: str) -> Message:
    """The assistant's message that calls a tool."""
    call = {"id": "call_1", "type": "function", "function": {"name": "look_up", "arguments": arguments}}
    return {"role": "assistant", "content": None, "tool_calls": [call]}


def _call_tool(arguments: str) -> bytes:
    choice = {"index": 0, "message": make_call(arguments), "finish_reason": "tool_calls"}
    return msgspec.json.encode({"id": "x", "object": "chat.completion", "model": _MODEL, "choices": [choice]})


class LiveProxy:
    """Takes clients' requests, and tells what is stored. Made by :func:`open_live_proxy`."""

    def __init__(self, app: App, upstream: Upstream) -> None:
        self._app = app
        self._upstream = upstream
        self._dates: dict[str, datetime] = {}
        self._append = app.journal.append
        app.journal.append = self._append_dated  # type: ignore[method-assign]  # all that is not as in production
        transport = httpx2.ASGITransport(app)
        self._client = httpx2.AsyncClient(transport=transport, base_url="http://proxy", timeout=None)

    async def ask(self, asked: Asked) -> str:
        """The answer's memory status; its words are in the request's line. One request of a user at a time.

        Raises:
            MemoryProxyError: it was no success.
        """
        self._dates[asked.user_id] = asked.at
        number = self._upstream.lay_down(asked.line)
        headers = [(_LINE.encode(), number.encode()), (b"X-User-Id", asked.user_id.encode())]
        if asked.conversation_id is not None:
            headers.append((b"X-Conversation-Id", asked.conversation_id.encode()))
        body = {"model": _MODEL, "messages": asked.messages, "stream": asked.stream, **asked.more}
        content = msgspec.json.encode(body)
        response = await self._client.post("/v1/chat/completions", content=content, headers=headers)
        if response.status_code != 200:
            raise MemoryProxyError(f"a chat was answered {response.status_code}")
        return str(response.headers.get("x-memory-status", ""))

    async def flush(self) -> None:
        """Returns when all that was said is stored.

        Raises:
            MemoryProxyError: some of it cannot be.
        """
        done: wire.Flushed = await self._app.keeper.call(wire.Flush())
        if done.failed:
            raise MemoryProxyError(f"{done.failed} exchanges could not be stored")

    async def memories(self, user_id: str) -> list[Memory]:
        """All that is remembered of a user and holds."""
        found: list[Memory] = []
        cursor: wire.Cursor | None = None
        while True:
            page = await self._app.keeper.call(
                wire.ListMemories(Scope(user_id), _PAGE, cursor, include_superseded=False)
            )
            found += page.memories
            cursor = page.cursor
            if cursor is None:
                return found

    async def load(self, user_id: str) -> WorkingSet:
        """What recall works with."""
        arrival = Arrival()
        async with aclosing(self._app.keeper.load(Scope(user_id))) as parts:
            async for part in parts:
                arrival.take(part.pack, left=part.left)
        return arrival.working_set

    async def _append_dated(self, exchange: Exchange) -> None:
        await self._append(msgspec.structs.replace(exchange, at=self._dates[exchange.user_id]))


@asynccontextmanager
async def open_live_proxy(folder: Path) -> AsyncIterator[LiveProxy]:
    """A proxy with its keeper, on an empty data directory and with the default configuration.

    Raises:
        MemoryProxyError: it does not start.
    """
    upstream = Upstream()
    with _serve(upstream) as url:
        app = App(make_settings(folder, f"{url}/v1"))
        async with _run_lifespan(app):
            async with asyncio.timeout(_START_S):
                await app.keeper.connected.wait()
            yield LiveProxy(app, upstream)


@asynccontextmanager
async def _run_lifespan(app: App) -> AsyncIterator[None]:
    """What a server does with an app before its first request and after its last."""
    tasks, said, heard = Tasks(), asyncio.Queue[Any](), asyncio.Queue[Any]()
    tasks.spawn(app({"type": "lifespan", "asgi": {"version": "3.0"}}, said.get, heard.put), name="lifespan")
    said.put_nowait({"type": "lifespan.startup"})
    if (await heard.get())["type"] != "lifespan.startup.complete":
        raise MemoryProxyError("the proxy does not start")
    try:
        yield
    finally:
        said.put_nowait({"type": "lifespan.shutdown"})
        await tasks.drain()


@contextmanager
def _serve(upstream: Upstream) -> Iterator[str]:
    """The upstream on a free port, in a thread; gives its URL."""
    app = Starlette(routes=[Route("/v1/chat/completions", upstream.answer, methods=["POST"])])
    config = uvicorn.Config(app, lifespan="off", log_config=None, timeout_keep_alive=600, timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    listening = socket.create_server(("127.0.0.1", 0), backlog=128)
    thread = threading.Thread(target=server.run, args=([listening],), name="scripted-upstream")
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
