"""How the server starts, drains and ends."""

import asyncio
import gc
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from types import FrameType
from typing import Final, cast

import structlog
import uvicorn

from proxy.app import App
from proxy.edge.dataplane import DataPlane
from proxy.listening import BACKLOG, describe
from proxy.serving.protocol import Protocol
from proxy.serving.warden import Warden
from proxy.tasks import Tasks

log = structlog.get_logger(__name__)

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
# After the grace: how long the cut streams may take to end before the server stops waiting for them.
CUT_S: Final = 1
# uvicorn ticks ten times a second. Seconds are waited for, so twice a second is often enough.
SWEEP_TICKS: Final = 5
FLUSH_EVERY_S: Final = 0.05


class DrainingServer(uvicorn.Server):
    """uvicorn, with a stop that suits streams.

    The first SIGINT or SIGTERM: new requests are answered 503, ``/healthz`` says so, and open streams may go on for
    *grace_s*; then what is left is cut, the app's lifespan ends, and so does :meth:`serve`. The second one ends the
    process at once.
    """

    def __init__(self, config: uvicorn.Config, dataplane: DataPlane, warden: Warden, *, grace_s: float) -> None:
        super().__init__(config)
        self._dataplane = dataplane
        self._warden = warden
        self._grace_s = grace_s
        self._tasks = Tasks()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Tells where the server listens once it does."""
        await super().startup(sockets)
        # What is loaded by now stays: the collector need not look at it again.
        gc.collect()
        gc.freeze()
        self.announce()

    def announce(self) -> None:
        """The server accepts connections now."""
        log.info("listening", url=describe(self.servers[0].sockets[0]))

    @property
    def connections(self) -> Iterable[Protocol]:
        """The clients that are there."""
        return cast("Iterable[Protocol]", self.server_state.connections)

    async def on_tick(self, counter: int) -> bool:
        """As uvicorn's."""
        if counter % SWEEP_TICKS == 0:
            self.sweep(asyncio.get_running_loop().time())
        return await super().on_tick(counter)

    def sweep(self, now: float) -> None:
        """Ends the waiting for clients who have dawdled long enough at *now*, a time of the loop's clock."""
        self._warden.sweep(self.connections, now)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Replaces uvicorn's own, which raises the signal again at the end: a graceful stop exits with 0."""
        if threading.current_thread() is not threading.main_thread():
            yield  # signals are the main thread's business
            return
        loop = asyncio.get_running_loop()
        for number in SIGNALS:
            loop.add_signal_handler(number, self.handle_exit, number, None)
        try:
            yield
        finally:
            for number in SIGNALS:
                loop.remove_signal_handler(number)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Called for each signal."""
        if self._dataplane.draining:
            os._exit(128 + sig)  # nothing is lost: the journal is on disk, and the keeper sees its input end
        self.drain()

    def drain(self) -> None:
        """Begins the graceful stop."""
        log.info("draining", in_flight=self._dataplane.active, grace_s=self._grace_s)
        self._dataplane.drain()
        self._tasks.spawn(self._drain(), name="drain")

    async def _drain(self) -> None:
        try:
            async with asyncio.timeout(self._grace_s):
                await self._dataplane.idle.wait()
                # The app is through with an answer before a slow client has read it.
                while any(connection.transport.get_write_buffer_size() for connection in self.connections):  # noqa: ASYNC110
                    await asyncio.sleep(FLUSH_EVERY_S)
        except TimeoutError:
            log.warning("streams_cut", in_flight=self._dataplane.active)
        self.should_exit = True


def make_server(app: App, kind: type[DrainingServer] = DrainingServer) -> DrainingServer:
    """The server for *app*, of a *kind*, to be started with ``await server.serve([socket])``."""
    settings = app.settings
    warden = Warden(settings, partial(app.metrics.count, "clients_refused_total"))
    protocol = cast("type[asyncio.Protocol]", partial(Protocol, warden=warden))
    config = uvicorn.Config(
        app,
        # Upstream's own headers pass; a second server or date beside them would not be its answer any more.
        server_header=False,
        date_header=False,
        access_log=False,
        log_config=None,
        http=protocol,
        lifespan="on",
        ws="none",  # see Protocol
        # The app looks at forwarding headers itself: what they say must never make a stranger a client on this machine.
        proxy_headers=False,
        timeout_graceful_shutdown=CUT_S,
        backlog=BACKLOG,
    )
    server = kind(config, app.dataplane, warden, grace_s=settings.server.shutdown_grace_s)
    app.metrics.watch("client_connections", lambda: len(server.server_state.connections))
    return server


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    """What makes the fastest event loop that is installed."""
    try:
        import uvloop
    except ImportError:  # Windows, or a platform without a wheel
        return asyncio.new_event_loop
    return uvloop.new_event_loop
