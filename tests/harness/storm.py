"""Clients that hang up and upstreams that die, thousands of them, cheap enough to take seconds."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Final
from urllib.parse import urlsplit

from tests.harness.payloads import ask, event, events
from tests.harness.proxy import CHAT
from tests.harness.routes import PASSED
from tests.harness.upstream import chunk, within

CROWD: Final = 50
BODY: Final = ask("Tell me a story, please.", stream=True)
STREAM: Final = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
FIRST: Final = chunk(event({"content": "Once"}))
WHOLE: Final = b"".join(map(chunk, events("Once", " more"))) + b"0\r\n\r\n"

# What happens to a request, told to the upstream in a header.
LEAVE_BEFORE_HEADERS: Final = "leave-before-headers"
LEAVE_MIDSTREAM: Final = "leave-midstream"
LEAVE_DURING_UPLOAD: Final = "leave-during-upload"
DIE_BEFORE_HEADERS: Final = "die-before-headers"
DIE_MIDSTREAM: Final = "die-midstream"
NOTHING: Final = "nothing"
FATES: Final = (LEAVE_BEFORE_HEADERS, LEAVE_MIDSTREAM, DIE_MIDSTREAM, LEAVE_DURING_UPLOAD, DIE_BEFORE_HEADERS)


class FarEnd:
    """An upstream that does what each request says. *open*: connections that are open now."""

    def __init__(self) -> None:
        self.url = ""
        self.open = 0
        self._arrivals: dict[str, asyncio.Event] = {}
        self._gone = asyncio.Condition()

    async def arrival(self, number: str) -> None:
        """Returns when the request of this number is here."""
        await within(self._arrivals.setdefault(number, asyncio.Event()).wait())
        del self._arrivals[number]

    async def left_alone(self, most: int = 0) -> None:
        """Returns when no more than *most* connections are open."""
        async with self._gone:
            await within(self._gone.wait_for(lambda: self.open <= most))

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        try:
            with suppress(asyncio.IncompleteReadError, ConnectionError):
                while await self._answer(reader, writer):
                    pass
        finally:
            writer.transport.abort()
            self.open -= 1
            async with self._gone:
                self._gone.notify_all()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Serves one request; whether there may be another."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        fields = dict(line.split(": ", 1) for line in head.splitlines()[1:-1])
        fate = fields["x-fate"]
        if fate == LEAVE_BEFORE_HEADERS:
            self._arrivals.setdefault(fields["x-number"], asyncio.Event()).set()
        elif fate in (LEAVE_MIDSTREAM, DIE_MIDSTREAM):
            writer.write(STREAM + FIRST)
            await writer.drain()
        elif fate == NOTHING:
            await reader.readexactly(int(fields["content-length"]))
            writer.write(STREAM + WHOLE)
            return True
        if fate.startswith("leave"):
            while await reader.read(1 << 16):
                pass
        return False


@asynccontextmanager
async def run_far_end() -> AsyncIterator[FarEnd]:
    """One on a free port."""
    far_end = FarEnd()
    server = await asyncio.start_server(far_end.serve, "127.0.0.1", 0, backlog=1024)
    far_end.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield far_end
    finally:
        server.close()
        await far_end.left_alone()


class Storm:
    """What a crowd of clients does to the proxy at *url*. *seen*: how often each first line of an answer came."""

    def __init__(self, url: str, far_end: FarEnd) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname, parts.port
        self._far_end = far_end
        self.seen: Counter[bytes] = Counter()

    async def rage(self, size: int) -> None:
        """*size* requests, each with one of the fates, a crowd of them at a time."""
        numbers = iter(range(size))

        async def work() -> None:
            for number in numbers:
                await self.meet(FATES[number % len(FATES)], number)

        async with asyncio.TaskGroup() as group:
            for _ in range(CROWD):
                group.create_task(work())

    async def meet(self, fate: str, number: int) -> bytes:
        """One request; what came of its answer until the end, or until the client left."""
        reader, writer = await asyncio.open_connection(self._host, self._port)
        try:
            with suppress(ConnectionError):
                writer.write(_render(fate, number))
                answer: bytes = await within(self._watch(fate, number, reader))
                return answer
            return b""
        finally:
            writer.transport.abort()

    async def _watch(self, fate: str, number: int, reader: asyncio.StreamReader) -> bytes:
        if fate == LEAVE_BEFORE_HEADERS:
            await self._far_end.arrival(str(number))
            return b""
        if fate == LEAVE_DURING_UPLOAD:
            return b""
        received = b""
        is_enough = _ENOUGH[fate]
        while not is_enough(received) and (piece := await reader.read(1 << 16)):
            received += piece
        self.seen[received.partition(b"\r\n")[0]] += 1
        return received


_ENOUGH: Final[dict[str, Callable[[bytes], bool]]] = {
    LEAVE_MIDSTREAM: lambda received: received.endswith(FIRST),
    DIE_MIDSTREAM: lambda _: False,
    DIE_BEFORE_HEADERS: lambda received: received.endswith(b"}"),
    NOTHING: lambda received: received.endswith(b"0\r\n\r\n"),
}


def _render(fate: str, number: int) -> bytes:
    path = CHAT if number % 2 else PASSED
    length = len(BODY) * (2 if fate == LEAVE_DURING_UPLOAD else 1)
    lines = [f"POST {path} HTTP/1.1", "Host: x", f"X-User-Id: user-{number % 7}", f"Content-Length: {length}"]
    return "\r\n".join([*lines, f"X-Fate: {fate}", f"X-Number: {number}", "", ""]).encode() + BODY
