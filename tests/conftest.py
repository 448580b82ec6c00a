"""Fixtures that every test may use: an upstream under the test's control, and proxies in front of it."""

import gc
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from itertools import count
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import pytest_asyncio
import structlog

from proxy.serving import server as serving
from tests.chroma_server import ChromaServer, running_chroma
from tests.harness import Proxy, Upstream, run_proxy, run_upstream
from tests.harness.network import Resolver
from tests.harness.nursery import forking_keepers
from tests.harness.relays import Start, starting_relays
from tests.processes import FOREIGN
from tests.redis_server import RedisServer, running_redis

Launch = Callable[..., Awaitable[Proxy]]

_numbers = count(1)


@pytest.fixture(scope="session", autouse=True)
def _environment() -> Iterator[None]:
    """Whoever runs the tests may have settings, proxies and certificates of his own; here nobody has."""
    with pytest.MonkeyPatch.context() as patch:
        for name in os.environ:
            if name.upper().startswith(FOREIGN):
                patch.delenv(name)
        yield


@pytest.fixture(scope="session", autouse=True)
def _garbage() -> Iterator[None]:
    """A server takes all that is loaded when it starts for what stays. Here one starts after the other, in a process
    that has half a million objects of its own: those stay.
    """
    gc.collect()
    gc.freeze()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(serving, "gc", Mock(spec=gc))
        yield
    gc.unfreeze()


@pytest.fixture(scope="session", autouse=True)
def _nursery() -> Iterator[None]:
    """Keepers start in a tenth of the time."""
    with forking_keepers():
        yield


@pytest.fixture(scope="session", autouse=True)
def _loggers() -> Iterator[None]:
    """Loggers ask for the configuration with every line: if they kept one that a command of an earlier test has left
    behind, ``capture_logs`` would not reach them.
    """
    with pytest.MonkeyPatch.context() as patch:
        configure = structlog.configure
        patch.setattr(structlog, "configure", lambda **how: configure(**how | {"cache_logger_on_first_use": False}))
        yield


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def far_end() -> AsyncIterator[Upstream]:
    """The one upstream of the session. Tests ask for ``upstream``."""
    async with run_upstream() as upstream:
        yield upstream


@pytest.fixture
def upstream(far_end: Upstream) -> Upstream:
    """The upstream, with nothing scripted and nothing seen."""
    far_end.reset()
    return far_end


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def shared_proxy(far_end: Upstream, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Proxy]:
    """The one proxy with default settings. Tests ask for ``proxy``."""
    async with run_proxy(tmp_path_factory.mktemp("shared"), far_end.url) as proxy:
        yield proxy


@pytest.fixture
def proxy(shared_proxy: Proxy, upstream: Upstream) -> Proxy:
    """A proxy with default settings, in front of ``upstream``. Others have used it: take a user of your own."""
    return shared_proxy


@pytest.fixture
def user() -> str:
    """A user id that no other test has."""
    return f"user-{next(_numbers)}"


@pytest_asyncio.fixture(loop_scope="session")
async def launch(upstream: Upstream, tmp_path: Path) -> AsyncIterator[Launch]:
    """Starts a proxy of the test's own, with the configuration given, on ``tmp_path / "data"``."""
    async with AsyncExitStack() as stack:

        async def start(**options: Any) -> Proxy:
            return await stack.enter_async_context(run_proxy(tmp_path / "data", upstream.url, **options))

        yield start


@pytest_asyncio.fixture(loop_scope="session")
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    """Starts a relay, which is a proxy without a keeper: see :func:`starting_relays`."""
    async with starting_relays(tmp_path / "data") as starter:
        yield starter


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Resolver]:
    """What names mean, for as long as the test runs."""
    with Resolver.installed(monkeypatch) as installed:
        yield installed


@pytest.fixture(scope="session")
def shared_redis() -> Iterator[RedisServer]:
    """The one Redis of the session. Tests ask for ``redis_url``."""
    with running_redis() as server:
        yield server


@pytest.fixture
def redis_url(shared_redis: RedisServer) -> str:
    """A Redis with nothing in it. Who wants to kill one starts it with :func:`running_redis`."""
    client = shared_redis.client()
    client.flushall()
    client.close()
    return shared_redis.url


@pytest.fixture(scope="session")
def shared_chroma() -> Iterator[ChromaServer]:
    """The one Chroma server of the session. Tests ask for ``chroma``."""
    with running_chroma() as server:
        yield server


@pytest.fixture
def chroma(shared_chroma: ChromaServer) -> ChromaServer:
    """A Chroma server with nothing in it. Who wants to kill one starts it with :func:`running_chroma`."""
    shared_chroma.empty()
    return shared_chroma
