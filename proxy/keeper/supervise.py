"""Keeps the keeper running: starts it, notices when it dies or hangs, and starts it again."""

import asyncio
from asyncio.subprocess import Process
from typing import Final

import structlog

from proxy import children
from proxy.config import Settings
from proxy.keeper.link import CONNECT_EVERY_S, KeeperLink
from proxy.observe.metrics import Metrics
from proxy.versions import is_behind

log = structlog.get_logger(__name__)

# A keeper that was up is started again at once; one that cannot start is given time, so that a broken disk is not
# hammered.
FIRST_DELAY_S: Final = 0.1
LONGEST_DELAY_S: Final = 5.0
# Opening a large store may take a while; a keeper that listens to nobody for longer hangs.
START_S: Final = 60.0
# How long a keeper may take to finish its batch and end by itself.
STOP_S: Final = 5.0
# Of glibc's allocator the keeper has one arena: with one for each of Chroma's threads and ours, what a load leaves
# behind is a seventh of its memory. Chroma 1.5 adds to an index and deletes from it with several threads at once, of
# which one may delete the row from which another one, by then on its way, begins.
ENVIRONMENT: Final = {"MALLOC_ARENA_MAX": "1", "RAYON_NUM_THREADS": "1"}


class Supervisor:
    """Runs one keeper after the other until cancelled. The *link* is up whenever one is."""

    def __init__(self, settings: Settings, link: KeeperLink, metrics: Metrics) -> None:
        self._settings = settings
        self._link = link
        self._metrics = metrics
        self._process: Process | None = None

    @property
    def pid(self) -> int | None:
        """The keeper's process id while there is one."""
        return self._process.pid if self._process is not None and self._process.returncode is None else None

    async def run(self) -> None:
        """Never returns."""
        delay = FIRST_DELAY_S
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            was_up = await self._run_one()
            lived = loop.time() - began
            delay = FIRST_DELAY_S if was_up else min(delay * 2, LONGEST_DELAY_S)
            log.warning("keeper_ended", code=self._process and self._process.returncode, lived_s=round(lived, 3))
            self._metrics.count("keeper_restarts_total")
            await asyncio.sleep(delay)

    async def _run_one(self) -> bool:
        """One keeper's life; whether it ever was up."""
        try:
            process = self._process = await children.start("proxy.keeper", self._settings, environ=ENVIRONMENT)
        except OSError as exc:
            log.warning("keeper_cannot_start", reason=str(exc))
            return False
        try:
            if not await self._connect(process):
                return False
            log.info("keeper_up", pid=process.pid)
            await self._link.watch()
        finally:
            await children.end(process, within_s=STOP_S)
        return True

    async def _connect(self, process: Process) -> bool:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + START_S
        while process.returncode is None:
            if await self._link.connect(pid=process.pid):
                return True
            await asyncio.sleep(CONNECT_EVERY_S)
            if loop.time() >= deadline:
                # An older data directory is copied first, for as long as that takes.
                if not is_behind(self._settings.data_dir):
                    return False
                deadline = loop.time() + START_S
        return False
