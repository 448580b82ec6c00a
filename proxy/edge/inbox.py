"""The client's side of one request: its body, and the moment it leaves."""

import asyncio
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Final, Self

from starlette.types import Receive

from proxy.edge.connection import ClientConnection
from proxy.errors import ApiError
from proxy.tasks import Tasks

# Clients send head and body one after the other; who has sent nothing by then may be waiting for an early answer.
PATIENCE_S: Final = 0.02


class ClientGoneError(Exception):
    """The client left before its answer was complete. There is nobody to answer."""


class Inbox:
    """Reads the request, then watches for the client's leaving.

    Use it as a context manager around all that serves the request: once the body is read, a client that leaves cancels
    the surrounding task, which comes out as :class:`ClientGoneError`, in the way of :func:`asyncio.timeout`. Without
    it nobody would notice: a server does not cancel a handler that waits for its upstream.

    Where a server offers its *connection*, that tells of the leaving; elsewhere a task has to wait for the server's
    word, which costs a tenth of a request.
    """

    def __init__(self, receive: Receive, tasks: Tasks, connection: ClientConnection | None = None) -> None:
        self._receive = receive
        self._connection = connection
        self._tasks = tasks
        self._owner: asyncio.Task[object] | None = None
        self._watcher: asyncio.Task[object] | None = None
        self._gone = False

    async def body(self, limit: int) -> bytes:
        """The whole body.

        Raises:
            ApiError: 413 when it has more than *limit* bytes; what follows is not read.
            ClientGoneError: the client left half-way.
        """
        pieces: list[bytes] = []
        size = 0
        more = True
        while more:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientGoneError
            piece: bytes = message.get("body", b"")
            size += len(piece)
            if size > limit:
                raise ApiError(413, "body_too_large", f"The request body has more than {limit} bytes.")
            pieces.append(piece)
            more = message.get("more_body", False)
        self._watch()
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def open(self) -> bytes | AsyncIterator[bytes]:
        """The body, whole where all of it is here already, else piece by piece as it arrives.

        Raises:
            ClientGoneError: the client has left.
        """
        if self._connection is not None and not await self._connection.wait_for_body(PATIENCE_S):
            return self._stream(b"")
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        first: bytes = message.get("body", b"")
        if message.get("more_body", False):
            return self._stream(first)
        self._watch()
        return first

    async def _stream(self, piece: bytes) -> AsyncIterator[bytes]:
        more = True
        while more:
            if piece:
                yield piece
            message = await self._receive()
            if message["type"] == "http.disconnect":
                self._leave()
                raise ClientGoneError
            piece = message.get("body", b"")
            more = message.get("more_body", False)
        if piece:
            yield piece
        self._watch()

    def _watch(self) -> None:
        if self._owner is not None and self._connection is None:
            self._watcher = self._tasks.spawn(self._wait_for_leaving(), name="client-watch")

    async def _wait_for_leaving(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._leave()

    def _leave(self) -> None:
        if self._owner is not None and not self._gone:
            self._gone = True
            self._owner.cancel()

    def __enter__(self) -> Self:
        self._owner = asyncio.current_task()
        if self._connection is not None:
            self._connection.add_listener(self._leave)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        owner, self._owner = self._owner, None
        if self._connection is not None:
            self._connection.discard_listener(self._leave)
        if self._watcher is not None:
            self._watcher.cancel()
        # uncancel() counts: above zero somebody else, such as the server's shutdown, wants this task to end, too.
        if self._gone and owner is not None and owner.uncancel() == 0 and kind is asyncio.CancelledError:
            raise ClientGoneError from exc
