"""How the server starts, drains and ends."""

import asyncio
import gc
import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

import structlog
import uvicorn

from proxy.app import App
from proxy.edge.dataplane import DataPlane
from proxy.serving.protocol import Protocol
from proxy.tasks import Tasks

log = structlog.get_logger(__name__)

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
# After the grace: how long the cut streams may take to end before the server stops waiting for them.
CUT_S: Final = 1
BACKLOG: Final = 2048


class DrainingServer(uvicorn.Server):
    """uvicorn, with a stop that suits streams.

    The first SIGINT or SIGTERM: new requests are answered 503, ``/healthz`` says so, and open streams may go on for
    *grace_s*; then what is left is cut, the app's lifespan ends, and so does :meth:`serve`. The second one ends the
    process at once.
    """

    def __init__(self, config: uvicorn.Config, dataplane: DataPlane, *, grace_s: float) -> None:
        super().__init__(config)
        self._dataplane = dataplane
        self._grace_s = grace_s
        self._tasks = Tasks()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Tells where the server listens once it does."""
        await super().startup(sockets)
        # What is loaded by now stays: the collector need not look at it again.
        gc.collect()
        gc.freeze()
        host, port = self.servers[0].sockets[0].getsockname()[:2]
        log.info("listening", url=f"http://{f'[{host}]' if ':' in host else host}:{port}")

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
        self._dataplane.draining = True
        self._tasks.spawn(self._drain(), name="drain")

    async def _drain(self) -> None:
        try:
            async with asyncio.timeout(self._grace_s):
                await self._dataplane.idle.wait()
        except TimeoutError:
            log.warning("streams_cut", in_flight=self._dataplane.active)
        self.should_exit = True


def bind(host: str, port: int) -> socket.socket:
    """A listening socket, bound before anything else is started so that a port in use is told of at once.

    Raises:
        OSError: the address cannot be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
    except OSError:
        listener.close()
        raise
    listener.set_inheritable(False)
    return listener


def make_server(app: App) -> DrainingServer:
    """The server for *app*, to be started with ``await server.serve([socket])``."""
    settings = app.settings
    config = uvicorn.Config(
        app,
        # Upstream's own headers pass; a second server or date beside them would not be its answer any more.
        server_header=False,
        date_header=False,
        access_log=False,
        log_config=None,
        http=Protocol,
        lifespan="on",
        ws="none",  # see Protocol
        # The app looks at forwarding headers itself: what they say must never make a stranger a client on this machine.
        proxy_headers=False,
        timeout_keep_alive=settings.server.keep_alive_s,
        timeout_graceful_shutdown=CUT_S,
        backlog=BACKLOG,
    )
    return DrainingServer(config, app.dataplane, grace_s=settings.server.shutdown_grace_s)
