"""A real Chroma server, as its package brings it, that tests may kill, start again, and start without its data."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, Self

import httpx2

START_S: Final = 40.0
POLL_S: Final = 0.02
# Beside the interpreter that runs the tests.
COMMAND: Final = Path(sys.executable).with_name("chroma")


class ChromaServer:
    """One server on a free port of this machine."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            self.port: int = listener.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def store(self) -> dict[str, object]:
        """The section of the configuration that leads here."""
        return {"mode": "http", "host": "127.0.0.1", "port": self.port}

    def start(self) -> Self:
        """Starts it on what is in its directory; returns when it answers."""
        log = self.directory / "chroma.log"
        with log.open("ab") as out:
            where = ("--path", str(self.directory / "data"), "--host", "127.0.0.1", "--port", str(self.port))
            self._process = subprocess.Popen(
                [COMMAND, "run", *where], stdout=out, stderr=out, stdin=subprocess.DEVNULL, cwd=self.directory
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

    def empty(self) -> None:
        """Deletes all collections."""
        url = f"http://127.0.0.1:{self.port}/api/v2/tenants/default_tenant/databases/default_database/collections"
        with httpx2.Client(trust_env=False, timeout=START_S) as client:
            for collection in client.get(url).raise_for_status().json():
                client.delete(f"{url}/{collection['name']}").raise_for_status()

    def lose_data(self) -> None:
        """Deletes what it had. It must not be running."""
        shutil.rmtree(self.directory / "data", ignore_errors=True)

    @contextmanager
    def hanging(self) -> Iterator[None]:
        """Within the block it takes connections, and answers nobody."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self._process.pid, signal.SIGCONT)

    def _answers(self) -> bool:
        url = f"http://127.0.0.1:{self.port}/api/v2/heartbeat"
        with suppress(httpx2.HTTPError):
            return httpx2.get(url, trust_env=False, timeout=5).is_success
        return False


@contextmanager
def running_chroma() -> Iterator[ChromaServer]:
    """A server with an empty directory, which is deleted afterwards."""
    # Not pytest's tmp_path: a server that is shared by a session outlives those of its tests.
    with tempfile.TemporaryDirectory(prefix="chroma-") as directory:
        server = ChromaServer(Path(directory))
        try:
            yield server.start()
        finally:
            server.kill()
