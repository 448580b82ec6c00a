"""The upstream as the rest of the edge sees it: send a request, get a response; connections are kept and shared."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Final

from proxy.config import Upstream as UpstreamSettings
from proxy.errors import UpstreamError
from proxy.tasks import Tasks
from proxy.upstream.connection import Connection
from proxy.upstream.dialing import Dialer
from proxy.upstream.request import Request
from proxy.upstream.response import Response

# Shorter than the idle time of common servers and load balancers (nginx and AWS: 60 to 75 s), so that a kept
# connection is dropped here before it goes stale there. Those that keep shorter either say so, or close it first.
KEEP_ALIVE_S: Final = 50.0
# How much earlier than announced: the announcement was made when the last response ended, as seen from there.
MARGIN_S: Final = 1.0
# No server closes what was idle for so short a time, but for a restart.
RECENT_S: Final = 1.0
# Until a connection is no longer kept, however busy: then its name is resolved anew.
MAX_AGE_S: Final = 300.0


class Upstream:
    """One origin. Any number of requests may be in flight, on at most ``max_connections`` connections.

    Raw in and out: no redirect is followed, nothing is decompressed, no cookie kept, no header added but ``Host`` and
    the framing. Belongs to the event loop that first uses it.
    """

    def __init__(self, settings: UpstreamSettings) -> None:
        """Reads the environment for proxies, and the certificates.

        Raises:
            ConfigError: one of them cannot be used.
        """
        self._dialer = Dialer(settings)
        self._read_timeout_s = settings.read_timeout_s
        self._connect_timeout_s = settings.connect_timeout_s
        self._limit = settings.max_connections
        self._open = 0
        self._idle: list[Connection] = []  # the last one used is the first to be used again
        self._all: set[Connection] = set()
        self._waiters: deque[asyncio.Future[Connection | None]] = deque()
        self._uploads = Tasks()
        self._sweeper: asyncio.TimerHandle | None = None

    @property
    def connections(self) -> int:
        """How many are open or being opened."""
        return self._open

    async def send(self, request: Request) -> Response:
        """The response as soon as its head is here. The caller reads it to its end or aborts it.

        Raises:
            UpstreamError: there will be none.
        """
        streamed = not isinstance(request.body, bytes)
        # What is streamed cannot be sent twice, so it does not go where it might have to be; and a tunnel through a
        # forward proxy is no ordinary connection.
        idle_s = 0.0 if request.upgrade else RECENT_S if streamed else KEEP_ALIVE_S
        connection = await self._acquire(idle_s, direct=request.upgrade)
        try:
            return await self._exchange(connection, request)
        except UpstreamError as exc:
            if not exc.unanswered or streamed:
                raise
        # Not on another kept one, which may be as stale.
        return await self._exchange(await self._acquire(0.0, direct=request.upgrade), request)

    async def _exchange(self, connection: Connection, request: Request) -> Response:
        response = connection.start(request, *self._dialer.around_target(direct=request.upgrade))
        upload = None
        if not connection.is_body_sent:
            upload = self._uploads.spawn(self._upload(connection, request), name="upload", awaited=True)
        try:
            await response.head()
        finally:
            if not response.status:
                response.abort()
                if upload is not None:
                    upload.cancel()
        return response

    async def _upload(self, connection: Connection, request: Request) -> None:
        try:
            await connection.upload(request)
        finally:
            if not connection.is_body_sent:
                connection.abort()  # upstream must not take half a body for a whole one
            if isinstance(request.body, AsyncIterator) and hasattr(request.body, "aclose"):
                await request.body.aclose()

    # Connections, from the cradle to the grave.

    async def _acquire(self, idle_s: float, *, direct: bool) -> Connection:
        """A connection that has not been idle for longer than so many seconds; with 0, a new one."""
        while True:
            if (kept := self._take_idle(idle_s)) is not None:
                return kept
            if self._open < self._limit or self._drop_idle():
                self._open += 1
                break
            given = await self._wait_for_turn()
            if given is None:
                break
            if given.is_closed:  # between being given and being taken: its slot is gone, too
                continue
            if idle_s:
                return given
            self._all.discard(given)  # its slot is ours
            given.transport.abort()
            break
        return await self._dial(direct=direct)

    async def _dial(self, *, direct: bool) -> Connection:
        """A new connection, in a slot that is counted already."""
        connection = Connection(read_timeout_s=self._read_timeout_s, on_idle=self._keep, on_lost=self._forget)
        try:
            async with asyncio.timeout(self._connect_timeout_s):
                await self._dialer.dial(connection, direct=direct)
            if not connection.is_closed:
                self._all.add(connection)
        except TimeoutError as exc:
            raise UpstreamError("connect_timeout", f"no connection in {self._connect_timeout_s:g} s") from exc
        finally:
            if connection not in self._all:
                self._free_slot()
        return connection

    def _take_idle(self, idle_s: float) -> Connection | None:
        now = asyncio.get_running_loop().time()
        while self._idle and now - self._idle[-1].idle_since < idle_s:
            connection = self._idle.pop()
            if _is_fit(connection, now):
                return connection
            connection.transport.abort()
            self._forget(connection)
        return None

    def _drop_idle(self) -> bool:
        """Makes room for a new connection by closing the one that has been idle for longest."""
        if not self._idle:
            return False
        connection = self._idle.pop(0)
        connection.transport.abort()
        self._forget(connection)
        return True

    async def _wait_for_turn(self) -> Connection | None:
        """A connection, or None for a slot in which to open one.

        Raises:
            UpstreamError: there was none for as long as making a connection may take.
        """
        waiter: asyncio.Future[Connection | None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            async with asyncio.timeout(self._connect_timeout_s):
                return await self._take_turn(waiter)
        except TimeoutError:
            reason = f"all {self._limit} connections were in use for {self._connect_timeout_s:g} s"
            raise UpstreamError("busy", reason) from None

    async def _take_turn(self, waiter: asyncio.Future[Connection | None]) -> Connection | None:
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():
                given = waiter.result()
                if given is None:
                    self._free_slot()
                else:
                    self._keep(given)
            else:
                with suppress(ValueError):
                    self._waiters.remove(waiter)
            raise

    def _next_waiter(self) -> asyncio.Future[Connection | None] | None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                return waiter
        return None

    def _keep(self, connection: Connection) -> None:
        if not _is_fit(connection, connection.idle_since):
            connection.transport.abort()
            self._forget(connection)
        elif (waiter := self._next_waiter()) is not None:
            waiter.set_result(connection)
        else:
            self._idle.append(connection)
            if self._sweeper is None:
                self._sweeper = asyncio.get_running_loop().call_later(KEEP_ALIVE_S, self._sweep)

    def _forget(self, connection: Connection) -> None:
        if connection in self._all:
            self._all.discard(connection)
            with suppress(ValueError):
                self._idle.remove(connection)
            self._free_slot()

    def _free_slot(self) -> None:
        if (waiter := self._next_waiter()) is not None:
            waiter.set_result(None)
        else:
            self._open -= 1

    def _sweep(self) -> None:
        """Closes what has been idle for too long."""
        loop = asyncio.get_running_loop()
        self._sweeper = None
        for connection in [kept for kept in self._idle if not _is_fit(kept, loop.time())]:
            connection.transport.abort()
            self._forget(connection)
        if self._idle:
            self._sweeper = loop.call_later(KEEP_ALIVE_S / 2, self._sweep)

    async def aclose(self) -> None:
        """Closes all connections; responses that are still read break off."""
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        await self._uploads.cancel()
        for connection in tuple(self._all):
            connection.abort()
            self._forget(connection)


def _is_fit(connection: Connection, now: float) -> bool:
    """Whether *connection* may serve another request."""
    announced_s = KEEP_ALIVE_S if connection.keep_alive_s is None else connection.keep_alive_s - MARGIN_S
    keeps_s = min(KEEP_ALIVE_S, announced_s)
    if connection.is_closed or connection.transport.is_closing():
        return False
    return now - connection.idle_since < keeps_s and now - connection.born < MAX_AGE_S
