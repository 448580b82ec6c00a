"""Keeps the keeper running: starts it, connects to it, notices when it dies or hangs, and starts it again."""

import asyncio
import os
import pickle
import sys
from asyncio.subprocess import PIPE, Process
from contextlib import suppress
from pathlib import Path
from typing import Final

import structlog

from proxy.config import Settings
from proxy.errors import KeeperError
from proxy.keeper import wire
from proxy.keeper.client import KeeperClient
from proxy.observe.metrics import Metrics

log = structlog.get_logger(__name__)

# A keeper that was up is started again at once; one that cannot start is given time, so that a broken disk is not
# hammered.
FIRST_DELAY_S: Final = 0.1
LONGEST_DELAY_S: Final = 5.0
# Opening a large store may take a while; a keeper that listens to nobody for longer hangs.
START_S: Final = 60.0
CONNECT_EVERY_S: Final = 0.02
PING_EVERY_S: Final = 2.0
HANGS_AFTER_S: Final = 15.0
# Where this package lies.
PACKAGES: Final = Path(__file__).parents[2]
# How long a keeper may take to finish its batch and end by itself.
STOP_S: Final = 5.0


class Supervisor:
    """Runs one keeper after the other until cancelled. The client is connected whenever one is up."""

    def __init__(self, settings: Settings, client: KeeperClient, metrics: Metrics) -> None:
        self.status: wire.KeeperStatus | None = None
        self._settings = settings
        self._client = client
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
            process = self._process = await self._start()
        except OSError as exc:
            log.warning("keeper_cannot_start", reason=str(exc))
            return False
        try:
            if not await self._connect(process):
                return False
            self._metrics.gauge("keeper_up").set(1)
            log.info("keeper_up", pid=process.pid)
            await self._watch()
        finally:
            self._metrics.gauge("keeper_up").set(0)
            self.status = None
            await _end(process)
        return True

    async def _start(self) -> Process:
        # A session of its own: a terminal's Ctrl-C is for the edge, which drains before the keeper goes.
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-P", "-m", "proxy.keeper", stdin=PIPE, start_new_session=True, env=_environment()
        )
        if process.stdin is None:
            raise KeeperError("the keeper was started without standard input")
        with suppress(RuntimeError):  # uvloop's word for a process that is gone already, which _connect sees
            process.stdin.write(pickle.dumps(self._settings))
        return process

    async def _connect(self, process: Process) -> bool:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + START_S
        while process.returncode is None and loop.time() < deadline:
            try:
                async with asyncio.timeout_at(deadline):
                    await self._client.connect()
                    status: wire.KeeperStatus = await self._client.call(wire.Status())
                if status.pid == process.pid:
                    self.status = status
                    return True
                # A predecessor that is just ending; ours waits for its lock.
                await self._client.aclose()
            except (OSError, KeeperError):
                pass
            await asyncio.sleep(CONNECT_EVERY_S)
        return False

    async def _watch(self) -> None:
        """Returns when the connection is gone or the keeper has not answered for too long."""
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


def _environment() -> dict[str, str]:
    """This process's environment, in which a keeper finds this package, and no other folder of the same name.

    Without ``-P`` it would take a ``proxy`` in the working directory for ours. Of glibc's allocator it has one arena:
    with one for each of Chroma's threads and ours, what a load leaves behind is a seventh of the keeper's memory.
    """
    paths = (str(PACKAGES), os.environ.get("PYTHONPATH"))
    own = {"PYTHONPATH": os.pathsep.join(path for path in paths if path)}
    return {"MALLOC_ARENA_MAX": "1", **os.environ, **own}


async def _end(process: Process) -> None:
    """Ends a keeper: kindly, by the end of its standard input, and after a while by force."""
    if process.stdin is not None:
        process.stdin.close()
    try:
        async with asyncio.timeout(STOP_S):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
