"""Several edges on one port, with one keeper: the small process that starts them all, and starts again who dies.

It serves nothing itself. All workers accept from one socket, which stays open here: what waits in it is taken by
whoever is there, also when one of them dies.
"""

import asyncio
import os
import signal
import socket
from asyncio.subprocess import PIPE, Process
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final, NamedTuple

import structlog

from proxy import children
from proxy.config import Settings
from proxy.errors import ConfigError
from proxy.keeper import frames
from proxy.keeper.client import KeeperClient
from proxy.keeper.link import KeeperLink
from proxy.keeper.supervise import Supervisor
from proxy.listening import describe
from proxy.observe.metrics import Metrics
from proxy.tasks import Tasks

log = structlog.get_logger(__name__)

MODULE: Final = "proxy.serving.worker"
SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
# A worker that served is started again at once; one that cannot start is given time.
FIRST_DELAY_S: Final = 0.1
LONGEST_DELAY_S: Final = 5.0
# Beyond the grace: for the cut streams to end and the journal to be stored.
STOP_S: Final = 15.0
# What a worker says when it serves. Anything else is why it never will: what is wrong with its configuration.
UP: Final = b"up\n"


class Post(NamedTuple):
    """What a worker is told: who it is, what it is to do, and the listening socket's number."""

    number: int
    settings: Settings
    listener: int


class Workers:
    """Keeps *settings*' number of workers running until the first SIGINT or SIGTERM, and has them drain then.

    The end of a worker's standard input is the word to drain, so that they also go when this process is killed; signals
    from others they ignore, because a terminal's or a service manager's reach everybody. The second signal ends all at
    once.
    """

    def __init__(self, settings: Settings, listener: socket.socket) -> None:
        self._settings = settings
        self._listener = listener
        self._ending = asyncio.Event()
        self._flaw: str | None = None
        self._is_listening = False
        self._processes: dict[int, Process] = {}
        self._tasks = Tasks()

    async def run(self) -> None:
        """Returns when all have ended.

        Raises:
            ConfigError: none can start.
        """
        metrics = Metrics()  # nobody reads them: the workers have their own
        client = KeeperClient(frames.socket_path(self._settings.data_dir), self._tasks)
        supervisor = Supervisor(self._settings, KeeperLink(client, metrics), metrics)
        numbers = range(1, self._settings.server.workers + 1)
        with self._signals():
            self._tasks.spawn(supervisor.run(), name="supervise-keeper")
            keeping = [self._tasks.spawn(self._keep(number), name=f"worker-{number}") for number in numbers]
            await self._ending.wait()
            log.info("stopping", workers=len(self._processes), grace_s=self._settings.server.shutdown_grace_s)
            await asyncio.wait(keeping)
            await self._tasks.cancel()  # the keeper last
        if self._flaw is not None:
            raise ConfigError(self._flaw)

    @contextmanager
    def _signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in SIGNALS:
            loop.add_signal_handler(number, self._hear, number)
        try:
            yield
        finally:
            for number in SIGNALS:
                loop.remove_signal_handler(number)

    def _hear(self, number: int) -> None:
        if not self._ending.is_set():
            self._ending.set()
            return
        for process in self._processes.values():
            with suppress(ProcessLookupError):
                process.kill()
        os._exit(128 + number)  # nothing is lost: the journal is on disk, and the keeper sees its input end

    async def _keep(self, number: int) -> None:
        """Runs one worker after the other until the end begins, and returns when the last one has ended."""
        delay = FIRST_DELAY_S
        loop = asyncio.get_running_loop()
        while not self._ending.is_set():
            began = loop.time()
            was_up = await self._run_one(number)
            delay = FIRST_DELAY_S if was_up else min(delay * 2, LONGEST_DELAY_S)
            if self._ending.is_set():
                return
            process = self._processes.get(number)
            log.warning(
                "worker_ended", of=number, code=process and process.returncode, lived_s=round(loop.time() - began, 3)
            )
            with suppress(TimeoutError):
                async with asyncio.timeout(delay):
                    await self._ending.wait()

    async def _run_one(self, number: int) -> bool:
        """One worker's life; whether it ever served."""
        post = Post(number, self._settings, self._listener.fileno())
        try:
            process = await children.start(MODULE, post, files=(post.listener,), stdout=PIPE)
        except OSError as exc:
            log.warning("worker_cannot_start", of=number, reason=str(exc))
            return False
        self._processes[number] = process
        end = self._tasks.spawn(self._end(process), name=f"end-worker-{number}")
        try:
            was_up = await self._greet(number, process)
            await process.wait()
        finally:
            end.cancel()
        return was_up

    async def _greet(self, number: int, process: Process) -> bool:
        """Waits until a worker serves, or has ended; whether it serves."""
        said = await process.stdout.readline() if process.stdout is not None else b""
        if said != UP:
            if said:
                self._flaw = said.decode().strip()
                self._ending.set()
            return False
        log.info("worker_up", of=number, pid=process.pid)
        if not self._is_listening:
            self._is_listening = True
            log.info("listening", url=describe(self._listener), workers=self._settings.server.workers)
        return True

    async def _end(self, process: Process) -> None:
        """Ends a worker once all are to end."""
        await self._ending.wait()
        await children.end(process, within_s=self._settings.server.shutdown_grace_s + STOP_S)


async def run(settings: Settings, listener: socket.socket) -> None:
    """Serves with as many workers as *settings* has. Raises as :meth:`Workers.run`."""
    await Workers(settings, listener).run()
