"""A load client: asks one endpoint, as often and as concurrently as wanted, and times every byte that matters."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager

import aiohttp
import msgspec

from proxy.errors import MemoryProxyError


class LoadError(MemoryProxyError):
    """A chat under measurement failed, so that its time would mean nothing."""


class Answer(msgspec.Struct, frozen=True):
    """One response, read to its end.

    *seconds*: from the request to the last byte. *arrivals*: when each transfer chunk came, on the monotonic clock.
    """

    status: int
    seconds: float
    headers: Mapping[str, str]
    body: bytes
    arrivals: list[float]

    @property
    def gaps(self) -> list[float]:
        """Seconds between one chunk and the next."""
        return [later - earlier for earlier, later in zip(self.arrivals, self.arrivals[1:], strict=False)]

    @property
    def recall_ms(self) -> float | None:
        value = self.headers.get("X-Memory-Recall-Ms")
        return None if value is None else float(value)


class Endpoint:
    """One way to the upstream: straight or through the proxy. Connections are kept alive between chats."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = f"{url}/v1/chat/completions"

    async def chat(self, body: bytes, headers: Mapping[str, str]) -> Answer:
        """One chat.

        Raises:
            LoadError: it failed, was cut short, or did not answer 200.
        """
        try:
            answer = await self._ask(body, headers)
        except (aiohttp.ClientError, TimeoutError) as exc:
            raise LoadError(f"{self._url}: {exc!r}") from exc
        if answer.status != 200:
            raise LoadError(f"{self._url}: answered {answer.status}: {answer.body[:200]!r}")
        return answer

    async def _ask(self, body: bytes, headers: Mapping[str, str]) -> Answer:
        began = time.perf_counter()
        parts: list[bytes] = []
        arrivals: list[float] = []
        sent = {"Content-Type": "application/json", "Authorization": "Bearer mock", **headers}
        async with self._session.post(self._url, data=body, headers=sent) as response:
            async for part, ends_chunk in response.content.iter_chunks():
                parts.append(part)
                if ends_chunk:
                    arrivals.append(time.perf_counter())
            taken = time.perf_counter() - began
            return Answer(response.status, taken, response.headers, b"".join(parts), arrivals)


async def repeat(
    ask: Callable[[int], Awaitable[Answer]], *, times: int, concurrency: int = 1, first: int = 0
) -> list[Answer]:
    """``ask(first)``, ``ask(first + 1)``… *times* in all, so many at once; in the order in which they ended."""
    numbers = iter(range(first, first + times))
    answers: list[Answer] = []

    async def work() -> None:
        for number in numbers:
            answers.append(await ask(number))  # noqa: PERF401  # several workers fill one list

    async with work_together() as group:
        for _ in range(concurrency):
            group.create_task(work())
    return answers


@asynccontextmanager
async def work_together() -> AsyncIterator[asyncio.TaskGroup]:
    """A task group whose first failure comes out as itself; it has cancelled the other tasks by then."""
    try:
        async with asyncio.TaskGroup() as group:
            yield group
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from failures
