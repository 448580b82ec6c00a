"""Everything that one measurement needs: the mock upstream, and the floor and the proxy in front of it."""

import asyncio
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from urllib.parse import quote

import msgspec

from proxy.bench.load import Endpoint, LoadError
from proxy.bench.processes import Child
from proxy.bench.scrape import Scrape
from proxy.bench.servers import POLL_S
from proxy.errors import MemoryProxyError
from proxy.models import Memory


class MemoryPage(msgspec.Struct):
    """A page of the control plane's list of memories."""

    memories: list[Memory]
    cursor: str | None


class World:
    """Three ways to one upstream: :attr:`direct`, :attr:`floored` and :attr:`proxied`. Made by :func:`open_world`."""

    def __init__(self, upstream: Child, floor: Child, proxy: Child, admin_headers: Mapping[str, str]) -> None:
        self.floor = floor
        self.proxy = proxy
        self.direct = Endpoint(upstream.url())
        self.floored = Endpoint(floor.url())
        self.proxied = Endpoint(proxy.url())
        self._admin_headers = admin_headers

    async def scrape(self) -> Scrape:
        return Scrape((await self._call("GET", "/metrics")).decode())

    async def is_ready(self) -> bool:
        """Whether ``/readyz`` answers 200: the keeper is up."""
        try:
            return (await self.proxied.call("GET", "/readyz", self._admin_headers)).status == 200
        except LoadError:
            return False

    async def wait_ready(self, *, within_s: float = 60) -> None:
        """Returns as soon as the keeper is up.

        Raises:
            MemoryProxyError: it is not within *within_s*.
        """
        deadline = time.perf_counter() + within_s
        while not await self.is_ready():
            if time.perf_counter() > deadline:
                raise MemoryProxyError(f"not ready within {within_s:g} s")
            await asyncio.sleep(POLL_S)

    async def flush(self) -> None:
        """Waits until all that is journaled is stored, or has failed."""
        await self._call("POST", "/memory/flush")

    async def memories(self, user_id: str) -> list[Memory]:
        """All memories of a user, page by page."""
        found: list[Memory] = []
        path = f"/memory/users/{quote(user_id, safe='')}/memories?limit=1000"
        cursor = ""
        while True:
            page = msgspec.json.decode(await self._call("GET", path + cursor), type=MemoryPage)
            found += page.memories
            if not page.cursor:
                return found
            cursor = f"&cursor={quote(page.cursor, safe='')}"

    def close(self) -> None:
        for endpoint in (self.direct, self.floored, self.proxied):
            endpoint.close()

    async def _call(self, method: str, path: str) -> bytes:
        """Asks the control plane.

        Raises:
            LoadError: it did not answer, or not with success.
        """
        answer = await self.proxied.call(method, path, self._admin_headers)
        if answer.status != 200:
            raise LoadError(f"{method} {path}: answered {answer.status}: {answer.body[:200]!r}")
        return answer.body


@contextmanager
def open_world(upstream: Child, floor: Child, proxy: Child, admin_headers: Mapping[str, str]) -> Iterator[World]:
    """A world of servers that listen already; whether the keeper is up yet is the caller's to ask."""
    world = World(upstream, floor, proxy, admin_headers)
    try:
        yield world
    finally:
        world.close()
