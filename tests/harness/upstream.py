"""The far end: an HTTP server that keeps every byte it was sent, and answers as the test scripted it."""

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from http import HTTPStatus
from typing import Any

from tests.harness.payloads import completion

Headers = Sequence[tuple[str, str]]

JSON = ("content-type", "application/json")
EVENTS = ("content-type", "text/event-stream; charset=utf-8")
WAIT_S = 10.0


class Visit:
    """One request as it came off the socket, and the way to answer it. *body* grows as it is read."""

    def __init__(self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request_line, *lines = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
        self.head = head
        self.method, self.target, _ = request_line.split(b" ")
        self.headers = [(name, value.strip()) for name, _, value in (line.partition(b":") for line in lines)]
        self.body = b""
        self.hung_up = asyncio.Event()
        self.go_on = asyncio.Event()  # for scripts that wait for the test
        self._reader = reader
        self._writer = writer

    def every(self, name: str) -> list[bytes]:
        """The values of all headers of that name."""
        return [value for key, value in self.headers if key.decode().lower() == name]

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def system(self) -> str:
        """The text of the first message if that is an instruction, else ""."""
        first = self.json["messages"][0]
        return str(first["content"]) if first["role"] in ("system", "developer") else ""

    async def pieces(self) -> AsyncIterator[bytes]:
        """The body as it arrives."""
        if self.every("transfer-encoding") == [b"chunked"]:
            while size := int(await self._reader.readline(), 16):
                yield self._keep(await self._reader.readexactly(size))
                await self._reader.readexactly(2)
            await self._reader.readexactly(2)
            return
        left = int((self.every("content-length") or [b"0"])[0])
        while left:
            piece = await self._reader.read(left)
            if not piece:
                raise asyncio.IncompleteReadError(b"", left)
            left -= len(piece)
            yield self._keep(piece)

    def _keep(self, piece: bytes) -> bytes:
        self.body += piece
        return piece

    async def read(self) -> bytes:
        """The whole body."""
        async for _ in self.pieces():
            pass
        return self.body

    async def exactly(self, size: int) -> bytes:
        """The next bytes, whatever they mean: for what is no HTTP any more."""
        return await self._reader.readexactly(size)

    def send(self, data: bytes) -> None:
        self._writer.write(data)

    async def pour(self, piece: bytes, times: int) -> None:
        """Sends *piece* so often, as fast as the other side takes it."""
        for _ in range(times):
            self._writer.write(piece)
            await self._writer.drain()

    def start(self, status: int, headers: Headers) -> None:
        """Sends a response's head."""
        self.send(render_head(status, headers))

    def abort(self) -> None:
        """Drops the connection in the middle of things."""
        self._writer.transport.abort()

    def close(self) -> None:
        self._writer.close()

    async def wait_for_leaving(self) -> None:
        """Returns when the other side has hung up. Nothing else may be read meanwhile."""
        with suppress(ConnectionError):
            while await self._reader.read(4096):
                pass
        self.hung_up.set()


Script = Callable[[Visit], Awaitable[None]]


def render_head(status: int, headers: Headers) -> bytes:
    phrase = HTTPStatus(status).phrase if status in tuple(HTTPStatus) else ""
    lines = [f"HTTP/1.1 {status} {phrase}", *(f"{name}: {value}" for name, value in headers)]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def chunk(piece: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(piece), piece)


def respond(body: bytes = b"", *, status: int = 200, headers: Headers = (JSON,)) -> Script:
    """An answer of known length."""

    async def script(visit: Visit) -> None:
        await visit.read()
        visit.start(status, [*headers, ("content-length", str(len(body)))])
        visit.send(body)

    return script


def stream(pieces: Sequence[bytes], *, headers: Headers = (EVENTS,), cut: bool = False) -> Script:
    """A chunked answer; with *cut* the connection drops where its end should be."""

    async def script(visit: Visit) -> None:
        await visit.read()
        visit.start(200, [*headers, ("transfer-encoding", "chunked")])
        for piece in pieces:
            visit.send(chunk(piece))
        if cut:
            visit.close()
        else:
            visit.send(b"0\r\n\r\n")

    return script


class Gate:
    """A chunked answer that the test lets out piece by piece, its head included."""

    def __init__(self, *, headers: Headers = (EVENTS,)) -> None:
        self.visit: Visit | None = None
        self._headers = headers
        self._acts: asyncio.Queue[Callable[[Visit], None] | None] = asyncio.Queue()
        self._asked = asyncio.Event()

    async def asked(self) -> Visit:
        """The request, once it is here in full."""
        await within(self._asked.wait())
        assert self.visit is not None
        return self.visit

    def start(self) -> None:
        self._acts.put_nowait(lambda visit: visit.start(200, [*self._headers, ("transfer-encoding", "chunked")]))

    def release(self, *pieces: bytes) -> None:
        for piece in pieces:
            self._acts.put_nowait(lambda visit, piece=piece: visit.send(chunk(piece)))  # type: ignore[misc]

    def end(self) -> None:
        self._acts.put_nowait(lambda visit: visit.send(b"0\r\n\r\n"))
        self._acts.put_nowait(None)

    def cut(self) -> None:
        self._acts.put_nowait(None)

    async def hung_up(self) -> None:
        """Returns when the proxy has closed its connection here."""
        visit = await self.asked()
        await within(visit.hung_up.wait())

    async def __call__(self, visit: Visit) -> None:
        await visit.read()
        self.visit = visit
        self._asked.set()
        async with asyncio.TaskGroup() as group:
            leaving = group.create_task(visit.wait_for_leaving())
            acting = group.create_task(self._act(visit))
            await asyncio.wait((leaving, acting), return_when=asyncio.FIRST_COMPLETED)
            leaving.cancel()
            acting.cancel()
        visit.close()

    async def _act(self, visit: Visit) -> None:
        while act := await self._acts.get():
            act(visit)


class Upstream:
    """The server. Each request takes the next of the scripts; without one it gets a short completion."""

    def __init__(self) -> None:
        self.url = ""
        self.visits: list[Visit] = []
        self._scripts: deque[Script] = deque()
        self._open: set[asyncio.Task[None]] = set()
        self._arrived = asyncio.Event()

    @property
    def last(self) -> Visit:
        return self.visits[-1]

    def script(self, *scripts: Script) -> None:
        """What the next requests get, in this order."""
        self._scripts.extend(scripts)

    def reset(self) -> None:
        """Forgets scripts and visits."""
        self._scripts.clear()
        self.visits.clear()
        self._arrived.clear()

    async def visited(self) -> Visit:
        """The first request since the reset, as soon as its head is here."""
        await within(self._arrived.wait())
        return self.visits[0]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            with suppress(asyncio.IncompleteReadError, ConnectionError):
                while not writer.is_closing():
                    await self._answer(reader, writer)
        except asyncio.CancelledError:
            pass  # the end of the tests; asyncio's own callback would report a cancelled task as an error
        finally:
            self._open.discard(task)
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        visit = Visit(await reader.readuntil(b"\r\n\r\n"), reader, writer)
        self.visits.append(visit)
        self._arrived.set()
        script = self._scripts.popleft() if self._scripts else respond(completion("Noted."))
        await script(visit)

    async def end(self) -> None:
        for task in self._open:
            task.cancel()
        await asyncio.gather(*self._open)


async def within(awaitable: Awaitable[Any], seconds: float = WAIT_S) -> Any:
    """The result of *awaitable*; a test that waits in vain fails instead of hanging."""
    async with asyncio.timeout(seconds):
        return await awaitable


@asynccontextmanager
async def run_upstream() -> AsyncIterator[Upstream]:
    """An upstream on a free port."""
    upstream = Upstream()
    server = await asyncio.start_server(upstream.serve, "127.0.0.1", 0, limit=1 << 20)
    upstream.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield upstream
    finally:
        server.close()
        await upstream.end()
