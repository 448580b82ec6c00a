"""The near end: a client that sends given bytes and hands out those that come back."""

import asyncio
import json
import socket
import struct
from contextlib import suppress
from typing import Any, Self
from urllib.parse import urlsplit

from tests.harness.upstream import within

Pairs = list[tuple[str, str]]


class Answer:
    """A whole response. Header names as they came."""

    def __init__(self, head: bytes, body: bytes) -> None:
        status_line, *lines = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
        self.status = int(status_line.split(b" ")[1])
        self.headers = [(name.decode(), value.decode("latin-1").strip()) for name, value in map(_split, lines)]
        self.body = body

    def every(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name]

    def header(self, name: str) -> str | None:
        return next(iter(self.every(name)), None)

    @property
    def memory(self) -> str | None:
        """``X-Memory-Status``."""
        return self.header("x-memory-status")

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The code of an error of the proxy's own; fails for a body of another shape."""
        error = self.json["error"]
        assert set(error) == {"message", "type", "param", "code"}
        assert self.header("content-type") == "application/json"
        return str(error["code"])


def _split(line: bytes) -> tuple[bytes, bytes]:
    name, _, value = line.partition(b":")
    return name, value


class Wire:
    """One connection to a server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self._writer = writer
        self._chunked = False
        self._left = 0

    @classmethod
    async def open(cls, url: str) -> Self:
        parts = urlsplit(url)
        return cls(*await asyncio.open_connection(parts.hostname, parts.port, limit=1 << 24))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.leave()

    def leave(self) -> None:
        """Hangs up at once."""
        self._writer.transport.abort()

    def crash(self) -> None:
        """Ends with a TCP reset, which overtakes what the other side has not read."""
        endpoint = self._writer.get_extra_info("socket")
        endpoint.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()

    def pause(self) -> None:
        """Reads nothing from now on."""
        self._writer.transport.pause_reading()  # type: ignore[attr-defined]  # a socket's transport reads, too

    def resume(self) -> None:
        """Reads again."""
        self._writer.transport.resume_reading()  # type: ignore[attr-defined]

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await within(self._writer.drain())

    async def head(self) -> Answer:
        """A response without its body."""
        head = await within(self.reader.readuntil(b"\r\n\r\n"))
        answer = Answer(head, b"")
        self._chunked = answer.header("transfer-encoding") == "chunked"
        self._left = int(answer.header("content-length") or 0)
        return answer

    async def piece(self) -> bytes:
        """The next chunk of a chunked body, just as the server wrote it; b"" at its end."""
        size = int(await within(self.reader.readuntil(b"\r\n")), 16)
        data: bytes = await within(self.reader.readexactly(size + 2))
        return data[:-2]

    async def rest(self) -> bytes:
        """The body of a response whose head has been read.

        Raises:
            asyncio.IncompleteReadError: the server closed the connection before its end.
        """
        if not self._chunked:
            whole: bytes = await within(self.reader.readexactly(self._left))
            return whole
        pieces = []
        while piece := await self.piece():
            pieces.append(piece)
        return b"".join(pieces)

    async def answer(self, *, bodiless: bool = False) -> Answer:
        """A whole response."""
        answer = await self.head()
        if not bodiless:
            answer.body = await self.rest()
        return answer

    async def cut_off(self) -> bytes:
        """What came until the connection broke, by whatever sign; fails where the body came to its proper end."""
        data = b""
        with suppress(ConnectionError):
            while piece := await within(self.reader.read(1 << 16)):
                data += piece
        assert not (self._chunked and data.endswith(b"0\r\n\r\n")), data
        return data

    async def closed(self) -> bytes:
        """What came until the server closed the connection."""
        data: bytes = await within(self.reader.read())
        return data


def render_request(method: str, target: str, headers: Pairs, body: bytes | None, *, host: str) -> bytes:
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}"]
    lines += [f"{name}: {value}" for name, value in headers]
    if body is not None:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + (body or b"")
