"""A real Redis, as Debian packages it, that tests may kill and start again on the same data."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Final, Self

import pytest
import redis

START_S: Final = 20.0
POLL_S: Final = 0.01


class RedisServer:
    """One server on a free port of this machine. What it has answered for is on its disk: it is killed, not stopped."""

    def __init__(self, directory: Path, *options: str) -> None:
        self.directory = directory
        self.port = _find_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Self:
        """Starts it on what is in its directory; returns when it has read all that and answers."""
        command = [_find_binary(), "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.directory)]
        command += ["--appendonly", "yes", "--appendfsync", "always", "--save", "", "--daemonize", "no"]
        log = self.directory / "redis.log"
        self._process = subprocess.Popen([*command, "--logfile", str(log), *self._options])
        deadline = time.monotonic() + START_S
        while not self._answers():
            assert self._process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(POLL_S)
        return self

    def kill(self) -> None:
        """Kills it with SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def signal(self, number: int) -> None:
        """Sends it a signal: SIGSTOP makes it hang, SIGCONT go on."""
        assert self._process is not None
        os.kill(self._process.pid, number)

    def client(self) -> "redis.Redis":
        """A client of the test's own; closing it is the test's, too."""
        return redis.Redis.from_url(self.url, protocol=2)

    def _answers(self) -> bool:
        with closing(self.client()) as client, suppress(redis.RedisError):
            try:
                return bool(client.ping())
            except redis.AuthenticationError:
                return True
        return False


@contextmanager
def running_redis(*options: str) -> Iterator[RedisServer]:
    """A server with an empty directory, which is deleted afterwards."""
    # Not pytest's tmp_path: a server that is shared by a module outlives those of its tests.
    with tempfile.TemporaryDirectory(prefix="redis-") as directory:
        server = RedisServer(Path(directory), *options)
        try:
            yield server.start()
        finally:
            server.kill()


def _find_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
    return port


def _find_binary() -> str:
    binary = shutil.which("redis-server")
    if binary is None:
        pytest.skip("redis-server is not installed")
    return binary
