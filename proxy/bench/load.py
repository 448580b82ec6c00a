"""A load client: asks one server, as often and as concurrently as wanted, and stamps every byte's arrival.

On sockets and a parser in C alone: on few cores, whatever the client spends is missing where something is measured.
"""

import asyncio
import time
from array import array
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Final, cast
from urllib.parse import urlsplit

import httptools
import msgspec

from proxy.errors import MemoryProxyError

CHAT: Final = "/v1/chat/completions"
CHAT_HEADERS: Final = {"Content-Type": "application/json", "Authorization": "Bearer mock"}


class LoadError(MemoryProxyError):
    """A request under measurement failed, so that its time would mean nothing."""


class Answer(msgspec.Struct, frozen=True):
    """One response, read to its end; names of *headers* are in lower case.

    *times*, *sizes*: that many seconds after the request, so many bytes of the body were there.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    times: "array[float]"
    sizes: "array[int]"
    seconds: float

    @property
    def first_s(self) -> float:
        """Seconds from the request to the first bytes of the body."""
        return self.times[0]

    @property
    def recall_ms(self) -> float | None:
        value = self.headers.get("x-memory-recall-ms")
        return None if value is None else float(value)


Ask = Callable[[int], Awaitable[Answer]]


class _Exchange:
    """One request under way. What the parser finds in its answer is collected here."""

    def __init__(self, *, enough: int | None) -> None:
        """*enough*: bytes of the body after which no more is wanted; by default all are."""
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.reusable = False
        self._parser = httptools.HttpResponseParser(self)
        self._enough = enough
        self._headers: dict[str, str] = {}
        self._body = bytearray()
        self._times = array("d")
        self._sizes = array("Q")
        self._began = self._now = time.perf_counter()

    def feed(self, data: bytes) -> None:
        self._now = time.perf_counter()
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as exc:
            self.fail(repr(exc))

    def fail(self, reason: str) -> None:
        if not self.done.done():
            self.done.set_exception(LoadError(reason))

    def answer(self) -> Answer:
        status, taken = self._parser.get_status_code(), self._now - self._began
        return Answer(status, self._headers, bytes(self._body), self._times, self._sizes, taken)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, data: bytes) -> None:
        self._body += data
        self._times.append(self._now - self._began)
        self._sizes.append(len(self._body))
        if self._enough is not None and len(self._body) >= self._enough:
            self._finish()

    def on_message_complete(self) -> None:
        self.reusable = self._parser.should_keep_alive()
        self._finish()

    def _finish(self) -> None:
        if not self.done.done():
            self.done.set_result(None)


class _Connection(asyncio.Protocol):
    """A connection that carries one exchange after the other."""

    def __init__(self) -> None:
        self._exchange: _Exchange | None = None
        self._transport: asyncio.WriteTransport | None = None

    @property
    def usable(self) -> bool:
        """Whether another exchange may follow."""
        return self._transport is not None and not self._transport.is_closing()

    async def ask(self, request: bytes, *, enough: int | None) -> Answer:
        """Sends a whole request and waits for its answer, or for so much of it as is *enough*.

        Raises:
            LoadError: the connection ended first, or what came is no HTTP.
        """
        exchange = self._exchange = _Exchange(enough=enough)
        try:
            if self._transport is None or self._transport.is_closing():
                raise LoadError("closed while it was idle")
            self._transport.write(request)
            await exchange.done
        finally:
            self._exchange = None
            if not exchange.reusable:
                self.close()
        return exchange.answer()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)  # as that of any socket is; uvloop's has no bases

    def data_received(self, data: bytes) -> None:
        if self._exchange is not None:
            self._exchange.feed(data)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._exchange is not None:
            self._exchange.fail(f"closed within the answer: {exc!r}")

    def close(self) -> None:
        """At once, whatever may still be on its way."""
        if self._transport is not None:
            self._transport.abort()


class Endpoint:
    """A server, and the connections to it: as many as there are requests at once, kept for those that follow."""

    def __init__(self, url: str) -> None:
        self.url = url
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "", parts.port or 80
        self._idle: list[_Connection] = []

    async def chat(
        self, body: bytes, headers: Mapping[str, str], *, expected: int = 200, enough: int | None = None
    ) -> Answer:
        """One chat; see :meth:`call`.

        Raises:
            LoadError: it failed, was cut short, or did not get the *expected* status.
        """
        answer = await self.call("POST", CHAT, {**CHAT_HEADERS, **headers}, body, enough=enough)
        if answer.status != expected:
            raise LoadError(f"{self.url}: answered {answer.status}: {answer.body[:200]!r}")
        return answer

    async def call(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes = b"", *, enough: int | None = None
    ) -> Answer:
        """Any request, whatever its status. With *enough*, the client leaves after so many bytes of the body.

        Raises:
            LoadError: there is no whole answer.
        """
        fields = {"Host": f"{self._host}:{self._port}", **headers, "Content-Length": str(len(body))}
        head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        request = f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode("latin-1") + body
        try:
            connection = await self._connect()
            answer = await connection.ask(request, enough=enough)
        except (OSError, LoadError) as exc:
            raise LoadError(f"{method} {self.url}{path}: {exc}") from exc
        if connection.usable:
            self._idle.append(connection)
        return answer

    def close(self) -> None:
        """Hangs up what is idle."""
        while self._idle:
            self._idle.pop().close()

    async def _connect(self) -> _Connection:
        while self._idle:
            if (kept := self._idle.pop()).usable:
                return kept
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(_Connection, self._host, self._port)
        return connection


async def repeat(ask: Ask, *, times: int, concurrency: int = 1, first: int = 0) -> list[Answer]:
    """``ask(first)``, ``ask(first + 1)``… *times* in all, so many at once; in the order in which they ended."""
    numbers = iter(range(first, first + times))
    answers: list[Answer] = []

    async def work() -> None:
        for number in numbers:
            answers.append(await ask(number))  # noqa: PERF401  # several workers fill one list

    async with work_together() as group:
        for _ in range(concurrency):
            group.create_task(work())
    return answers


@asynccontextmanager
async def work_together() -> AsyncIterator[asyncio.TaskGroup]:
    """A task group whose first failure comes out as itself; it has cancelled the other tasks by then."""
    try:
        async with asyncio.TaskGroup() as group:
            yield group
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from failures
