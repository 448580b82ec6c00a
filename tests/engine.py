"""A server that is not ours, on a free port of this machine, that tests may kill, stop for a while and start again."""

import os
import signal
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Self

START_S: Final = 40.0
POLL_S: Final = 0.02


class Engine(ABC):
    """It keeps what it has in *directory*, and its port."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            self.port: int = listener.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def _command(self) -> Sequence[str | Path]:
        """What runs it."""

    @abstractmethod
    def _answers(self) -> bool:
        """Whether it is up."""

    def start(self) -> Self:
        """Starts it on what is in its directory; returns when it answers."""
        log = self.directory / "server.log"
        with log.open("ab") as out:
            self._process = subprocess.Popen(
                self._command(), stdout=out, stderr=out, stdin=subprocess.DEVNULL, cwd=self.directory
            )
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

    @contextmanager
    def hanging(self) -> Iterator[None]:
        """Within the block it takes connections, and answers nobody."""
        self.signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.signal(signal.SIGCONT)
