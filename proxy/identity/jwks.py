"""Where the keys that tokens are checked with come from: the configuration, a file, or a URL.

What is known stays in use while newer ones cannot be had. Nobody waits for anything as long as there are keys.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Protocol

import httpx2
import structlog

from proxy.config.access import Jwt
from proxy.errors import ConfigError, IdentityError
from proxy.identity.keys import KeySet, read_jwks, read_key
from proxy.tasks import Tasks

log = structlog.get_logger(__name__)

# A chat does not wait longer than that for keys; whoever fetches them may.
PATIENCE_S: Final = 2.0
FETCH_S: Final = 10.0
# Whoever publishes keys announces new ones for longer than that before tokens are signed with them.
REFRESH_S: Final = 3600.0
# Anybody can send a token with a key's name that nobody knows.
AGAIN_S: Final = 30.0
# While there are no keys at all, so that an outage is not made longer.
RETRY_S: Final = 5.0
# Ten keys take 10 kB.
LARGEST: Final = 1 << 18
# A look at a file takes 2 µs, where it is not on a network.
LOOK_S: Final = 1.0

Clock = Callable[[], float]


class KeySource(Protocol):
    """Has the keys."""

    def known(self) -> KeySet | None:
        """Those of now, without waiting; None where there are none yet. Sees to it that they do not grow old."""

    async def load(self) -> KeySet:
        """The keys, as soon as there are any.

        Raises:
            IdentityError: they cannot be had.
        """

    async def look_again(self) -> KeySet:
        """The keys after a look for newer ones, unless the last one was a moment ago."""

    async def aclose(self) -> None:
        """Ends what goes on in the background."""


def open_source(settings: Jwt, tasks: Tasks) -> KeySource:
    """The configured one.

    Raises:
        ConfigError: its key is none.
    """
    if settings.jwks_url is not None:
        return UrlSource(settings.jwks_url, settings.algorithms, tasks)
    if settings.jwks_file is not None:
        return FileSource(settings.jwks_file, settings.algorithms)
    try:
        key = "" if settings.key is None else settings.key.get_secret_value()
        return FixedSource(read_key(key, settings.algorithms))
    except ValueError as exc:
        raise ConfigError(f"identity.jwt.key: {exc}") from None


class FixedSource:
    """The key that the configuration has."""

    def __init__(self, keys: KeySet) -> None:
        self._keys = keys

    def known(self) -> KeySet:
        """It."""
        return self._keys

    async def load(self) -> KeySet:
        """It."""
        return self._keys

    async def look_again(self) -> KeySet:
        """It."""
        return self._keys

    async def aclose(self) -> None:
        """There is nothing."""


class FileSource:
    """A file on this machine, read again when it has changed. It may be replaced, and come later than the proxy."""

    def __init__(self, path: Path, algorithms: Sequence[str], *, clock: Clock = time.monotonic) -> None:
        self._path = path
        self._algorithms = algorithms
        self._clock = clock
        self._looked = -LOOK_S
        self._seen: tuple[int, int, int] | None = None
        self._told = ""
        self._keys: KeySet | None = None

    def known(self) -> KeySet | None:
        """The keys. A look at the file is worth one a second, and reading it takes less than a chat's own parsing."""
        if self._clock() >= self._looked + LOOK_S:
            self._look()
        return self._keys

    def _look(self) -> None:
        self._looked = self._clock()
        try:
            stat = self._path.stat()
            seen = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
            if seen != self._seen:
                self._keys = read_jwks(self._path.read_bytes(), self._algorithms)
                self._seen, self._told = seen, ""
        except (OSError, ValueError) as exc:
            self._tell((exc.strerror if isinstance(exc, OSError) else "") or str(exc))

    def _tell(self, reason: str) -> None:
        if reason != self._told:
            self._told = reason
            log.warning("jwks_unreadable", file=str(self._path), reason=reason, kept=self._keys is not None)

    async def load(self) -> KeySet:
        """The keys, if there are any."""
        if self._keys is None:
            raise IdentityError("the file of keys cannot be read")
        return self._keys

    async def look_again(self) -> KeySet:
        """The file may have been replaced within the last second."""
        self._look()
        return await self.load()

    async def aclose(self) -> None:
        """There is nothing."""


class UrlSource:
    """A URL. Requests share one fetch, which goes on in the background when none of them waits any more."""

    def __init__(self, url: str, algorithms: Sequence[str], tasks: Tasks, *, clock: Clock = time.monotonic) -> None:
        self._url = url
        self._algorithms = algorithms
        self._tasks = tasks
        self._clock = clock
        self._asked: float | None = None
        self._failed = False
        self._keys: KeySet | None = None
        self._fetching: asyncio.Task[None] | None = None

    def known(self) -> KeySet | None:
        """Those of the last fetch; the next begins when they are an hour old, or half a minute after one failed."""
        if self._keys is not None and self._is_due(AGAIN_S if self._failed else REFRESH_S):
            self._fetch()
        return self._keys

    async def load(self) -> KeySet:
        """Waits for the first fetch."""
        if self._keys is None and self._is_due(RETRY_S):
            self._fetch()
        await self._wait()
        if self._keys is None:
            raise IdentityError("the keys of tokens cannot be had from their URL")
        return self._keys

    async def look_again(self) -> KeySet:
        """Waits for another fetch, at most one in half a minute."""
        if self._is_due(AGAIN_S):
            self._fetch()
        await self._wait()
        return await self.load()

    def _is_due(self, seconds: float) -> bool:
        return self._asked is None or self._clock() >= self._asked + seconds

    def _fetch(self) -> None:
        if self._fetching is None or self._fetching.done():
            self._asked = self._clock()
            self._fetching = self._tasks.spawn(self._refresh(), name="jwks")

    async def _wait(self) -> None:
        # Not a wait for the task itself: a client that leaves must not take the keys of the others with it.
        if self._fetching is not None and not self._fetching.done():
            await asyncio.wait((self._fetching,), timeout=PATIENCE_S)

    async def _refresh(self) -> None:
        self._failed = True
        try:
            async with asyncio.timeout(FETCH_S):
                data = await fetch(self._url)
            self._keys, self._failed = read_jwks(data, self._algorithms), False
        except (OSError, httpx2.HTTPError, ValueError) as exc:  # TimeoutError is an OSError
            reason = str(exc) or type(exc).__name__
            log.warning("jwks_unreachable", url=self._url, reason=reason, kept=self._keys is not None)

    async def aclose(self) -> None:
        """A fetch that goes on ends with the app's other tasks."""


async def fetch(url: str) -> bytes:
    """What is at *url*: no redirect is followed, and no answer read that is too large.

    Raises:
        ValueError: it is no such answer.
        httpx2.HTTPError: there is none.
    """
    async with (
        httpx2.AsyncClient(timeout=FETCH_S / 2, trust_env=True, follow_redirects=False) as client,
        client.stream("GET", url, headers={"accept": "application/json"}) as answer,
    ):
        if answer.status_code != 200:
            raise ValueError(f"the answer is {answer.status_code}")
        data = b""
        async for piece in answer.aiter_bytes():
            data += piece
            if len(data) > LARGEST:
                raise ValueError(f"it has more than {LARGEST} bytes")
        return data
