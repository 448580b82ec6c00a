"""Keepers of apps in the tests' own process, forked from a process that has imported all that a keeper imports.

A keeper spends nine tenths of its start on imports, and the tests start hundreds. These are keepers like any other but
for that; those of proxies that are processes of their own (:mod:`tests.processes`) are started as in real life.
"""

import asyncio
import gc
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pickle import dumps
from threading import Lock
from typing import Any, Final

import pytest

from proxy import children
from proxy.keeper.supervise import ENVIRONMENT

MODULE: Final = "proxy.keeper"
# Whatever stands in for its file at the moment.
STANDARD_ERROR: Final = 2
# How processes are started in real life.
start_anew: Final = children.start


class Pipe:
    """A process's standard input."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def close(self) -> None:
        """The process sees its end."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


class Forked:
    """As much of asyncio's ``Process`` as :mod:`proxy.children` and those who call it use."""

    def __init__(self, nursery: "Nursery", pid: int, pidfd: int, stdin: Pipe) -> None:
        self.pid: Final = pid
        self.stdin: Final = stdin
        self.returncode: int | None = None
        self._nursery = nursery
        self._pidfd = pidfd
        self._ended = asyncio.Event()
        asyncio.get_running_loop().add_reader(pidfd, self._end)

    def _end(self) -> None:
        asyncio.get_running_loop().remove_reader(self._pidfd)
        os.close(self._pidfd)
        self.returncode = self._nursery.reap(self.pid)
        self._ended.set()

    async def wait(self) -> int | None:
        """Until it has ended."""
        await self._ended.wait()
        return self.returncode

    def kill(self) -> None:
        """SIGKILL."""
        if self.returncode is None:
            os.kill(self.pid, signal.SIGKILL)


class Nursery:
    """The process that keepers are forked from."""

    def __init__(self, line: socket.socket) -> None:
        self._line = line
        self._lock = Lock()

    @classmethod
    @contextmanager
    def running(cls) -> "Iterator[Nursery]":
        """Until the end of the block."""
        line, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = [sys.executable, "-P", "-m", __name__, str(other.fileno())]
        environ = {**os.environ, **ENVIRONMENT, "PYTHONPATH": str(children.PACKAGES)}
        with line, subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=[other.fileno()], env=environ):
            other.close()
            yield cls(line)
            line.shutdown(socket.SHUT_RDWR)

    async def start(self, order: object, environ: Mapping[str, str]) -> Forked:
        """A keeper that finds *order* on its standard input."""
        reading, writing = os.pipe()
        try:
            os.write(writing, dumps(order))  # which is less than a pipe holds
            pid = await asyncio.to_thread(self._fork, reading, {**environ, **os.environ})
        finally:
            os.close(reading)
        return Forked(self, pid, os.pidfd_open(pid), Pipe(writing))

    def _fork(self, stdin: int, environ: Mapping[str, str]) -> int:
        with self._lock:
            socket.send_fds(self._line, [json.dumps(environ).encode()], [stdin, STANDARD_ERROR])
            return int(self._line.recv(32))

    def reap(self, pid: int) -> int:
        """The code that a process has ended with."""
        with self._lock:
            self._line.send(json.dumps(pid).encode())
            return os.waitstatus_to_exitcode(int(self._line.recv(32)))


@contextmanager
def forking_keepers() -> Iterator[None]:
    """Keepers that this process starts come from a nursery, where the system has what that takes."""
    if not hasattr(os, "pidfd_open"):
        yield
        return
    with Nursery.running() as nursery, pytest.MonkeyPatch.context() as patch:

        async def fork(module: str, order: object, **how: Any) -> Any:
            if module != MODULE:
                return await start_anew(module, order, **how)
            return await nursery.start(order, how.get("environ", {}))

        patch.setattr(children, "start", fork)
        yield


def _serve(line: socket.socket) -> None:
    while True:
        message, fds, _, _ = socket.recv_fds(line, 1 << 17, 2)
        if not message:
            return
        wanted = json.loads(message)
        if isinstance(wanted, int):
            _, status = os.waitpid(wanted, 0)
            line.send(str(status).encode())
            continue
        pid = os.fork()
        if not pid:
            _become_keeper(line, wanted, *fds)
        for fd in fds:
            os.close(fd)
        line.send(str(pid).encode())


def _become_keeper(line: socket.socket, environ: Mapping[str, str], stdin: int, stderr: int) -> None:
    from proxy.keeper.__main__ import main

    line.close()
    os.setsid()
    for fd, place in ((stdin, 0), (stderr, STANDARD_ERROR)):
        os.dup2(fd, place)
        os.close(fd)
    os.environ.clear()
    os.environ.update(environ)
    code = 1
    try:
        code = main()
    finally:
        with suppress(OSError):
            sys.stderr.flush()
        os._exit(code)


def _load() -> None:
    import chromadb

    import proxy.embedders.local
    import proxy.keeper.__main__
    import proxy.stores.embedded  # noqa: F401

    _ = chromadb.__version__
    gc.collect()
    gc.freeze()


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _load()
    _serve(socket.socket(fileno=int(sys.argv[1])))
