"""The answer to one request, while it arrives."""

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

from proxy.errors import UpstreamError
from proxy.upstream.request import RawHeaders

# Bytes of a body that wait for a slow client before the upstream is made to wait.
HIGH_WATER: Final = 1 << 16

SWITCHING_PROTOCOLS: Final = 101

# Takes a piece of a body, or says False and has done nothing. Called from the event loop: it must not raise.
Sink = Callable[[bytes], bool]


class Line(Protocol):
    """What a response needs of the connection on which it arrives."""

    def resume(self) -> None:
        """What was held has been taken."""

    def abort(self) -> None:
        """Nobody wants the rest."""

    def hand_over(self, protocol: asyncio.Protocol) -> asyncio.Transport:
        """Somebody else goes on."""


class Response:
    """The answer to one request, while it arrives. *headers*: names in lower case, repeated ones repeated, in order.

    Read it with :meth:`read` until that gives ``b""``, or give it up with :meth:`abort`; the connection goes back by
    itself at the end. :attr:`is_complete`: nothing more comes than what :meth:`read` gives next.
    """

    def __init__(self, line: Line, *, bodiless: bool, upgrade: bool) -> None:
        self.status = 0
        self.headers: RawHeaders = []
        self.is_complete = False
        self.bodiless = bodiless
        self.upgrade = upgrade
        self.early = b""
        self._line: Line | None = line
        self._pieces: list[bytes] = []
        self._held = 0
        self._failure: UpstreamError | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._sink: Sink | None = None
        self._is_offering = False
        self._loop = asyncio.get_running_loop()

    def header(self, name: bytes) -> bytes:
        """The value of the first header of that name (lower case), ``b""`` where there is none."""
        return next((value for key, value in self.headers if key == name), b"")

    async def head(self) -> None:
        """Returns when status and headers are here.

        Raises:
            UpstreamError: they will not come.
        """
        while not self.status:
            await self._wait()

    async def read(self, sink: Sink | None = None) -> bytes:
        """All of the body that has arrived since the last call, as soon as there is any; ``b""`` at the end.

        While it waits, what arrives is offered to *sink* first, straight from the socket: most of a stream passes so
        without waking a task. What *sink* does not take, and always the last of the body, is given here.

        Raises:
            UpstreamError: the body broke off; what had arrived before has been read.
        """
        while not self._pieces:
            if self.is_complete:
                return b""
            self._sink = sink
            await self._wait()
        self._sink = None
        return self._take_pieces()

    def _take_pieces(self) -> bytes:
        pieces, self._pieces = self._pieces, []
        if self._held > HIGH_WATER and self._line is not None:
            self._line.resume()
        self._held = 0
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def _wait(self) -> None:
        if self._failure is not None:
            raise self._failure
        self._waiter = self._loop.create_future()
        await self._waiter

    def abort(self) -> None:
        """Closes the connection unless the response is complete. Never waits; a second call does nothing."""
        line, self._line = self._line, None
        if line is not None:
            line.abort()

    def switch(self, protocol: asyncio.Protocol) -> asyncio.Transport:
        """The connection itself, after status 101, for *protocol* to go on with; it is nobody else's from now on."""
        line, self._line = self._line, None
        if line is None or self.status != SWITCHING_PROTOCOLS:
            raise RuntimeError("nothing was switched")
        return line.hand_over(protocol)

    # What follows is the connection's to call.

    def take(self, piece: bytes) -> bool:
        """Adds to the body; whether more is held now than should be."""
        self._pieces.append(piece)
        self._held += len(piece)
        return self._held > HIGH_WATER

    def finish(self) -> None:
        """The end was well-formed."""
        self.is_complete = True
        self._line = None

    def fail(self, failure: UpstreamError) -> None:
        """It will not be completed."""
        self._failure = self._failure or failure
        self._line = None
        self.wake()

    def wake(self) -> None:
        """There is something new for whoever waits."""
        if self._sink is None or self.is_complete or self._failure is not None:
            self._release()
        elif self._pieces and not self._is_offering:
            self._is_offering = True
            # What a busy upstream sends meanwhile goes along: one write instead of several.
            self._loop.call_soon(self._offer)

    def _offer(self) -> None:
        """Gives the sink what has arrived."""
        self._is_offering = False
        sink = self._sink
        if sink is None or self.is_complete or self._failure is not None:
            return  # it is up to the reader, who has been released
        piece = self._take_pieces()
        if not sink(piece):
            self._pieces.append(piece)
            self._held = len(piece)
            self._release()

    def _release(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)
