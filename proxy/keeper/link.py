"""An edge's connection to the keeper, whoever keeps that running: made again when it is lost, and asked how it is."""

import asyncio
from contextlib import suppress
from typing import Final

import structlog

from proxy.errors import KeeperError
from proxy.keeper import wire
from proxy.keeper.client import KeeperClient
from proxy.observe.metrics import Metrics

log = structlog.get_logger(__name__)

CONNECT_EVERY_S: Final = 0.02
# Of an edge that waits for somebody else to start a keeper, of which nobody tells. A look costs 50 µs.
LOOK_EVERY_S: Final = 0.1
PING_EVERY_S: Final = 2.0
HANGS_AFTER_S: Final = 15.0


class KeeperLink:
    """The keeper as one edge sees it. *status* is what it said last, None while there is none."""

    def __init__(self, client: KeeperClient, metrics: Metrics) -> None:
        self.status: wire.KeeperStatus | None = None
        self._client = client
        self._metrics = metrics

    async def run(self) -> None:
        """Connects to one keeper after the other that somebody else starts. Never returns."""
        while True:
            if await self.connect():
                log.info("keeper_connected")
                await self.watch()
                await self._client.aclose()
                log.warning("keeper_lost")
                self._metrics.count("keeper_restarts_total")
            await asyncio.sleep(LOOK_EVERY_S)

    async def connect(self, *, pid: int | None = None) -> bool:
        """Tries to connect once, with *pid* to that keeper and no other; answers whether the keeper is up.

        Once it is, *status* says so until :meth:`watch` returns.
        """
        try:
            async with asyncio.timeout(HANGS_AFTER_S):
                await self._client.connect()
                status: wire.KeeperStatus = await self._client.call(wire.Status())
        except (OSError, KeeperError):  # a timeout is an OSError
            await self._client.aclose()
            return False
        if pid is not None and status.pid != pid:
            # A predecessor that is just ending; ours waits for its lock.
            await self._client.aclose()
            return False
        self.status = status
        self._metrics.gauge("keeper_up").set(1)
        return True

    async def watch(self) -> None:
        """Returns when the connection is gone or the keeper has not answered for too long."""
        try:
            while not self._client.closed.is_set():
                try:
                    async with asyncio.timeout(HANGS_AFTER_S):
                        self.status = await self._client.call(wire.Status())
                except TimeoutError:
                    log.warning("keeper_hangs", silent_s=HANGS_AFTER_S)
                    return
                except KeeperError:
                    self.status = None
                with suppress(TimeoutError):
                    async with asyncio.timeout(PING_EVERY_S):
                        await self._client.closed.wait()
        finally:
            self._metrics.gauge("keeper_up").set(0)
            self.status = None
