"""A real Chroma server, as its package brings it, that tests may kill, start again, and start without its data."""

import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import httpx2

from tests.engine import START_S, Engine

# Beside the interpreter that runs the tests.
COMMAND: Final = Path(sys.executable).with_name("chroma")


class ChromaServer(Engine):
    """One server."""

    @property
    def store(self) -> dict[str, object]:
        """The section of the configuration that leads here."""
        return {"mode": "http", "host": "127.0.0.1", "port": self.port}

    def empty(self) -> None:
        """Deletes all collections."""
        url = f"http://127.0.0.1:{self.port}/api/v2/tenants/default_tenant/databases/default_database/collections"
        with httpx2.Client(trust_env=False, timeout=START_S) as client:
            for collection in client.get(url).raise_for_status().json():
                client.delete(f"{url}/{collection['name']}").raise_for_status()

    def lose_data(self) -> None:
        """Deletes what it had. It must not be running."""
        shutil.rmtree(self.directory / "data", ignore_errors=True)

    def _command(self) -> Sequence[str | Path]:
        return [COMMAND, "run", "--path", self.directory / "data", "--host", "127.0.0.1", "--port", str(self.port)]

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
