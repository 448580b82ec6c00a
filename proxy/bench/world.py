"""Everything that one measurement needs: mock upstream, proxy, and a client with a connection pool to both."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from urllib.parse import quote

import aiohttp
import msgspec

from proxy.bench.load import Endpoint, LoadError
from proxy.bench.processes import Child, read_cpu_seconds
from proxy.bench.scrape import Scrape
from proxy.bench.servers import POLL_S
from proxy.errors import MemoryProxyError
from proxy.models import Memory


class MemoryPage(msgspec.Struct):
    """A page of the control plane's list of memories."""

    memories: list[Memory]
    cursor: str | None


class World:
    """Two ways to one upstream: :attr:`direct` and :attr:`proxied`. Made by :func:`open_world`."""

    def __init__(self, session: aiohttp.ClientSession, upstream_url: str, proxy: Child) -> None:
        self._session = session
        self.proxy = proxy
        self.url = proxy.url()
        self.direct = Endpoint(session, upstream_url)
        self.proxied = Endpoint(session, self.url)

    def cpu_seconds(self) -> float | None:
        """CPU time of the edge process so far: the keeper's is not on the way of a chat."""
        return read_cpu_seconds(self.proxy.pid)

    async def scrape(self) -> Scrape:
        return Scrape((await self._call("GET", "/metrics")).decode())

    async def is_ready(self) -> bool:
        """Whether ``/readyz`` answers 200: the keeper is up."""
        try:
            async with self._session.get(f"{self.url}/readyz") as response:
                return response.status == 200
        except aiohttp.ClientError:
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
        query = {"limit": "1000"}
        while True:
            answer = await self._call("GET", f"/memory/users/{quote(user_id, safe='')}/memories", query)
            page = msgspec.json.decode(answer, type=MemoryPage)
            found += page.memories
            if not page.cursor:
                return found
            query["cursor"] = page.cursor

    async def _call(self, method: str, path: str, query: Mapping[str, str] | None = None) -> bytes:
        """Asks the control plane.

        Raises:
            LoadError: it did not answer, or not with success.
        """
        try:
            async with self._session.request(method, self.url + path, params=query) as response:
                response.raise_for_status()
                return await response.read()
        except aiohttp.ClientError as exc:
            raise LoadError(f"{method} {path}: {exc}") from exc


@asynccontextmanager
async def open_world(upstream_url: str, proxy: Child, admin_headers: Mapping[str, str]) -> AsyncIterator[World]:
    """A world of servers that listen already; whether the keeper is up yet is the caller's to ask."""
    # No limit to the pool: waiting for a connection is not a latency of the proxy.
    connector = aiohttp.TCPConnector(limit=0)
    timeout = aiohttp.ClientTimeout(total=None)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout, headers=admin_headers) as session:
        yield World(session, upstream_url, proxy)
