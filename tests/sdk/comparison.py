"""The same client code twice: straight at the upstream, then through the proxy. Nothing may differ.

Compared are what the code returned, or the exception that ended it, and every request as the upstream read it.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import httpx2
import openai
from openai import AsyncOpenAI, OpenAI

from tests.harness import Proxy, Upstream, Visit
from tests.harness.upstream import Script

# What may differ on the way up: the hop's own headers, and what only the proxy reads.
OF_THE_HOP = frozenset({"host", "connection", "x-memory-proxy-hop", "x-user-id", "x-memory-mode"})
# What may differ on the way down: the hop's own headers, and what the proxy says of itself.
ADDED = re.compile(r"x-memory-.*|x-accel-buffering|connection|keep-alive|transfer-encoding")
BOUNDARY = re.compile(rb"boundary=\"?([^\s;\"]+)")


@dataclass(frozen=True)
class Seen:
    """A request as the upstream read it, without what belongs to the hop. Multipart boundaries, which are drawn by
    lot, read ``BOUNDARY``.
    """

    method: bytes
    target: bytes
    headers: list[tuple[str, bytes]]
    body: bytes

    @classmethod
    def of(cls, visit: Visit) -> "Seen":
        boundary = next((found[1] for value in visit.every("content-type") if (found := BOUNDARY.search(value))), b"\0")
        headers = [(name.decode().lower(), value.replace(boundary, b"BOUNDARY")) for name, value in visit.headers]
        return cls(
            visit.method,
            visit.target,
            [(name, value) for name, value in headers if name not in OF_THE_HOP],
            visit.body.replace(boundary, b"BOUNDARY"),
        )


@dataclass(frozen=True)
class Failed:
    """An exception of the client's, by all that it tells the program that catches it."""

    kind: type[openai.OpenAIError]
    message: str
    status: int | None = None
    code: str | None = None
    body: object = None
    request_id: str | None = None
    headers: tuple[tuple[str, str], ...] = ()
    cause: str = ""

    @classmethod
    def of(cls, exc: openai.OpenAIError) -> "Failed":
        told: dict[str, Any] = {"cause": f"{type(exc.__cause__).__name__}: {exc.__cause__}"}
        if isinstance(exc, openai.APIError):
            told |= {"code": exc.code, "body": exc.body}
        if isinstance(exc, openai.APIStatusError):
            told |= {"status": exc.status_code, "request_id": exc.request_id}
            told["headers"] = tuple(shown(exc.response.headers))
        return cls(type(exc), str(exc), **told)


def shown(headers: httpx2.Headers) -> list[tuple[str, str]]:
    """The response headers that came from the upstream, in its order, repeated ones repeated."""
    return [(name, value) for name, value in headers.multi_items() if not ADDED.fullmatch(name)]


class Comparison:
    """Runs what a test wants to see done with and without the proxy. *headers* are sent by every client made here."""

    def __init__(self, proxy: Proxy, upstream: Upstream, headers: Mapping[str, str]) -> None:
        self.proxy = proxy
        self.upstream = upstream
        self.headers = dict(headers)

    async def __call__(self, steps: Callable[[str], Awaitable[Any]], *scripts: Script) -> Any:
        """What *steps*, which get the server's URL, gave both times, with *scripts* answering both times.

        Where they ended in an exception of the client's, that is a ``Failed``.

        Afterwards ``upstream.visits`` are those of the run through the proxy.
        """
        direct, expected = await self._run(self.upstream.url, steps, scripts)
        proxied, visits = await self._run(self.proxy.url, steps, scripts)
        assert proxied == direct
        for passed_on, sent in zip(visits, expected, strict=True):
            assert passed_on == sent
        return proxied

    async def asynchronous(
        self, steps: Callable[[AsyncOpenAI], Awaitable[Any]], *scripts: Script, **options: Any
    ) -> Any:
        """Like calling, for *steps* that get an ``AsyncOpenAI`` made with *options*."""

        async def run(url: str) -> Any:
            async with AsyncOpenAI(**self._options(url, options)) as client:
                return await steps(client)

        return await self(run, *scripts)

    async def blocking(self, steps: Callable[[OpenAI], Any], *scripts: Script, **options: Any) -> Any:
        """Like calling, for *steps* that get an ``OpenAI`` made with *options*, in a thread of their own."""

        def run(url: str) -> Any:
            with OpenAI(**self._options(url, options)) as client:
                return steps(client)

        return await self(lambda url: asyncio.to_thread(run, url), *scripts)

    def _options(self, url: str, options: dict[str, Any]) -> dict[str, Any]:
        headers = self.headers | options.get("default_headers", {})
        defaults = {"api_key": "sk-test", "max_retries": 0, "base_url": f"{url}/v1"}
        return {**defaults, **options, "default_headers": headers}

    async def _run(
        self, url: str, steps: Callable[[str], Awaitable[Any]], scripts: tuple[Script, ...]
    ) -> tuple[Any, list[Seen]]:
        self.upstream.reset()
        self.upstream.script(*scripts)
        try:
            outcome = await steps(url)
        except openai.OpenAIError as exc:
            outcome = Failed.of(exc)
        return outcome, [Seen.of(visit) for visit in self.upstream.visits]
