"""A proxy's control plane, as the measurements ask it."""

import asyncio
import time
from collections.abc import Mapping
from urllib.parse import quote

import msgspec

from proxy.bench.load import Endpoint, LoadError
from proxy.bench.scrape import Scrape
from proxy.bench.servers import POLL_S
from proxy.errors import MemoryProxyError
from proxy.keeper.moves import ReembeddingState
from proxy.models import Memory


class MemoryPage(msgspec.Struct):
    """A page of the control plane's list of memories."""

    memories: list[Memory]
    cursor: str | None


class Flushed(msgspec.Struct):
    """How many journal entries were stored, and how many could not be."""

    stored: int
    failed: int


class Control:
    """Asks the proxy at *endpoint*, with what its control plane wants to see in *headers*."""

    def __init__(self, endpoint: Endpoint, headers: Mapping[str, str]) -> None:
        self._endpoint = endpoint
        self._headers = headers

    async def scrape(self) -> Scrape:
        return Scrape((await self._call("GET", "/metrics")).decode())

    async def is_ready(self) -> bool:
        """Whether ``/readyz`` answers 200: the keeper is up."""
        try:
            return (await self._endpoint.call("GET", "/readyz", self._headers)).status == 200
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

    async def flush(self) -> Flushed:
        """Waits until all that is journaled is stored, or has failed."""
        return msgspec.json.decode(await self._call("POST", "/memory/flush"), type=Flushed)

    async def memories(self, user_id: str) -> list[Memory]:
        """All memories of a user, page by page, also those that others have taken the place of."""
        found: list[Memory] = []
        path = f"/memory/users/{quote(user_id, safe='')}/memories?limit=1000&include=superseded"
        cursor = ""
        while True:
            page = msgspec.json.decode(await self._call("GET", path + cursor), type=MemoryPage)
            found += page.memories
            if not page.cursor:
                return found
            cursor = f"&cursor={quote(page.cursor, safe='')}"

    async def warm_up(self, user_id: str) -> None:
        """Returns when all that is stored of a user is in the edge's memory."""
        path = f"/memory/users/{quote(user_id, safe='')}/recall"
        await self._call("POST", path, msgspec.json.encode({"query": "What did I say?"}))

    async def reembed(self) -> ReembeddingState:
        """Has all memories moved to the configured embedding model, or what is left of that."""
        return msgspec.json.decode(await self._call("POST", "/memory/reembed"), type=ReembeddingState)

    async def reembedding(self) -> ReembeddingState:
        """How far that is."""
        return msgspec.json.decode(await self._call("GET", "/memory/reembed"), type=ReembeddingState)

    def hang_up(self) -> None:
        """Closes connections, while there is a loop to do it on."""
        self._endpoint.close()

    async def _call(self, method: str, path: str, body: bytes = b"") -> bytes:
        """Asks the control plane.

        Raises:
            LoadError: it did not answer, or not with success.
        """
        answer = await self._endpoint.call(method, path, self._headers, body)
        if answer.status not in (200, 202):
            raise LoadError(f"{method} {path}: answered {answer.status}: {answer.body[:200]!r}")
        return answer.body
