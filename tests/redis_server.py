"""A real Redis, as Debian packages it, that tests may kill and start again on the same data."""

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Final

import pytest
import redis

from tests.engine import Engine

# What it has answered for is on its disk.
DURABLE: Final = ("--appendonly", "yes", "--appendfsync", "always", "--save", "", "--daemonize", "no")


class RedisServer(Engine):
    """One server: it is killed, not stopped. It answers when it has read all that is in its directory."""

    def __init__(self, directory: Path, *options: str) -> None:
        super().__init__(directory)
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._options = options

    def client(self) -> "redis.Redis":
        """A client of the test's own; closing it is the test's, too."""
        return redis.Redis.from_url(self.url, protocol=2)

    def _command(self) -> Sequence[str | Path]:
        binary = shutil.which("redis-server")
        if binary is None:
            pytest.skip("redis-server is not installed")
        where = ("--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.directory))
        return [binary, *where, *DURABLE, *self._options]

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
