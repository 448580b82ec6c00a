"""Replicas in this process: each a keeper as ``serve`` runs it, on a socket, with an edge that follows it."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final

from proxy import config
from proxy.config import Settings
from proxy.errors import KeeperError
from proxy.keeper import frames, wire
from proxy.keeper.client import KeeperClient
from proxy.keeper.server import run
from proxy.models import Memory, Scope
from proxy.observe.failopen import FailOpen
from proxy.observe.metrics import Metrics
from proxy.recall.loading import Loader
from proxy.tasks import Tasks

WAIT_S: Final = 30.0
POLL_S: Final = 0.02


def make_settings(folder: Path, redis_url: str, store: dict[str, object], **sections: Any) -> Settings:
    """A replica's configuration."""
    folder.mkdir(exist_ok=True)
    flags = {"data_dir": folder, "embedding": {"provider": "none"}, "journal": {"url": redis_url}, "store": store}
    return config.load(flags=flags | sections)


class Edge:
    """What an edge knows of users, and when it hears something."""

    def __init__(self, settings: Settings, tasks: Tasks) -> None:
        self.client = KeeperClient(frames.socket_path(settings.data_dir), tasks)
        self.loader = Loader(self.client, FailOpen(Metrics()), tasks, stale_s=settings.store.refresh_s)
        self.stale: list[wire.Stale] = []
        self._news = asyncio.Condition()
        self._tasks = tasks
        self.client.on_change = self._hearing(self.loader.follow)
        self.client.on_sync = self._hearing(self._sync)

    def _sync(self, sync: wire.Sync) -> None:
        self.loader.sync(sync)
        if isinstance(sync, wire.Stale):
            self.stale.append(sync)

    def _hearing(self, hear: Callable[[Any], None]) -> Callable[[Any], None]:
        def heard(push: Any) -> None:
            hear(push)
            self._tasks.spawn(self._notify(), name="notify")

        return heard

    async def _notify(self) -> None:
        async with self._news:
            self._news.notify_all()

    async def until(self, holds: Callable[[], bool]) -> None:
        """Returns when it does, looking whenever the edge has heard something."""
        async with asyncio.timeout(WAIT_S), self._news:
            await self._news.wait_for(holds)

    async def hear(self) -> None:
        """Returns when the edge hears something."""
        async with asyncio.timeout(WAIT_S), self._news:
            await self._news.wait()

    async def load(self, user: str) -> set[str]:
        """The texts of a user's memories, from the keeper if they are not here."""
        return {memory.text for memory in (await self.loader.load(Scope(user))).memories}

    def texts(self, user: str) -> set[str] | None:
        """The texts that are here; None where the user is not."""
        found = self.loader.sets.get(Scope(user))
        return None if found is None else {memory.text for memory in found.memories}

    async def add(self, user: str, text: str) -> Memory:
        memory: Memory = await self.client.call(wire.Add(Scope(user), text))
        return memory


async def reach(edge: Edge) -> None:
    """Returns when the edge's keeper reaches all that it needs."""
    async with asyncio.timeout(WAIT_S):
        while True:
            try:
                await edge.client.call(wire.ListUsers(1, None))
                await edge.load("nobody")
            except KeeperError:
                await edge.hear()
            else:
                return


@asynccontextmanager
async def running_replica(settings: Settings) -> AsyncIterator[Edge]:
    """A replica, up to its end: its keeper serves, whether or not there is anything behind it."""
    tasks = Tasks()
    ours, theirs = os.pipe()
    with os.fdopen(ours, "rb") as lifeline:
        keeper = tasks.spawn(run(settings, lifeline), name="keeper", awaited=True)
        edge = Edge(settings, tasks)
        try:
            async with asyncio.timeout(WAIT_S):
                while not edge.client.connected.is_set():
                    assert not keeper.done(), keeper.exception()
                    with suppress(OSError):
                        await edge.client.connect()
                    await asyncio.sleep(POLL_S)
            yield edge
        finally:
            await edge.client.aclose()
            os.close(theirs)
            await keeper
            await tasks.cancel()


@asynccontextmanager
async def running_replicas(
    folder: Path, redis_url: str, store: dict[str, object], *, count: int = 2, **sections: Any
) -> AsyncIterator[list[Edge]]:
    """So many replicas that share a Redis and a Chroma server, and know of each other."""
    async with AsyncExitStack() as stack:
        edges = []
        for number in range(count):
            settings = make_settings(folder / str(number), redis_url, store, **sections)
            edges.append(await stack.enter_async_context(running_replica(settings)))
        for edge in edges:
            await reach(edge)
        yield edges
