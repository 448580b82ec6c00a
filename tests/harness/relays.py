"""Proxies that only relay, started by the dozen, and how each failure of their upstream should look from outside."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from proxy import config
from proxy.app import App
from proxy.embedders.base import NoEmbedder
from proxy.serving import bind, make_server
from tests.harness.client import Wire, render_request
from tests.harness.network import Endpoint
from tests.harness.payloads import ask
from tests.harness.proxy import CHAT, Proxy
from tests.harness.upstream import JSON, Visit, within

Start = Callable[..., Awaitable[Proxy]]


@asynccontextmanager
async def run_relay(data_dir: Path, base_url: str, *, server: Any = None, **upstream: Any) -> AsyncIterator[Proxy]:
    """A proxy without its keeper, which takes longer to start than these tests take: it relays and remembers nothing.

    *server*, *upstream*: more settings of these sections.
    """
    flags = {"data_dir": data_dir, "server": server or {}, "upstream": {"base_url": base_url, **upstream}}
    app = App(config.load(flags=flags, environ={}), embedder=NoEmbedder())
    serving = make_server(app)
    serving.config.lifespan = "off"
    listener = bind("127.0.0.1", 0)
    listener.listen()  # whoever connects before the server is up waits, and is served
    proxy = Proxy(app, serving, listener)
    try:
        yield proxy
    finally:
        await proxy.stop()
        await app.upstream.aclose()


@asynccontextmanager
async def starting_relays(data_dir: Path) -> AsyncIterator[Start]:
    """What starts any number of relays, called with their ``base_url`` and more settings; all end with the context."""
    async with AsyncExitStack() as stack:

        async def start(base_url: str, **upstream: Any) -> Proxy:
            return await stack.enter_async_context(run_relay(data_dir, base_url, **upstream))

        yield start


async def in_flight(proxy: Proxy, number: int) -> None:
    """Returns when the proxy is busy with this many requests: what came last has gone as far as it can."""

    async def settle() -> None:
        # No event says so; every turn of the loop, which the proxy shares, brings it nearer.
        while proxy.app.dataplane.active != number:  # noqa: ASYNC110
            await asyncio.sleep(0)

    await within(settle())


def ask_for(target: str) -> bytes:
    """A request without a body."""
    return render_request("GET", target, [], None, host="proxy")


class Crowd:
    """Clients that wait for their answers, the first *limit* of them on all connections that the proxy may have."""

    def __init__(self, endpoint: Endpoint, proxy: Proxy, stack: AsyncExitStack, *, limit: int) -> None:
        self.wires: list[Wire] = []
        self.most_busy = 0  # how many requests the upstream had at a time
        self._busy = 0
        self._limit = limit
        self._endpoint = endpoint
        self._proxy = proxy
        self._stack = stack

    async def occupy(self) -> None:
        """Takes every connection that the proxy may have."""
        self._endpoint.script(*[self.hold] * self._limit)
        for number in range(self._limit):
            await self.join(ask_for(f"/v1/busy/{number}"))
        await self._endpoint.have_come(self._limit)

    async def join(self, request: bytes) -> Wire:
        """One client more, whose request has gone as far as it can."""
        wire = await self._stack.enter_async_context(await self._proxy.connect())
        await wire.send(request)
        self.wires.append(wire)
        await in_flight(self._proxy, len(self.wires))
        return wire

    async def hold(self, visit: Visit) -> None:
        """A script: answers when the test says so, and leaves the connection open."""
        self._busy += 1
        self.most_busy = max(self.most_busy, self._busy)
        await visit.read()
        await visit.go_on.wait()
        self._busy -= 1
        visit.start(200, [JSON, ("content-length", "2")])
        visit.send(b"{}")

    def let_go(self) -> None:
        """Lets the first ones' answers out."""
        for visit in self._endpoint.visits[: self._limit]:
            visit.go_on.set()

    async def answers(self) -> list[int]:
        """Everybody's status code."""
        self.let_go()
        return [(await wire.answer()).status for wire in self.wires]


@dataclass(frozen=True, slots=True)
class Failure:
    """How an upstream's failure looks to the client."""

    status: int
    code: str
    retry_after: str | None = None
    should_retry: str | None = None


UNREACHABLE: Final = "memory_proxy_upstream_unreachable"
TIMED_OUT: Final = "memory_proxy_upstream_timeout"
# By the label "kind" of memory_proxy_upstream_errors_total.
FAILURES: Final = {
    "refused": Failure(502, UNREACHABLE, retry_after="1"),
    "dns": Failure(502, UNREACHABLE, retry_after="1"),
    "reset": Failure(502, UNREACHABLE, retry_after="1"),
    "tls": Failure(502, UNREACHABLE, should_retry="false"),
    "protocol": Failure(502, UNREACHABLE),
    "proxy": Failure(502, UNREACHABLE),
    "connect_timeout": Failure(504, TIMED_OUT, retry_after="1"),
    "read_timeout": Failure(504, TIMED_OUT),
}


async def expect_failure(proxy: Proxy, kind: str, **headers: str) -> str:
    """The message with which *proxy* reports a failure of this kind, for an intercepted and a passed-through request.

    Fails where status, code, headers or metric are not those of the kind, or where the message tells an address.
    """
    before = proxy.metric("upstream_errors_total", kind=kind)
    messages = set()
    for target in (CHAT, "/v1/embeddings"):
        answer = await proxy.request("POST", target, headers=headers, body=ask("Hi."))
        seen = Failure(answer.status, answer.code, answer.header("retry-after"), answer.header("x-should-retry"))
        assert seen == FAILURES[kind], (target, seen, answer.body)
        messages.add(str(answer.json["error"]["message"]))
    assert proxy.metric("upstream_errors_total", kind=kind) == before + 2
    (message,) = messages
    assert not [address for address in ("127.0.0", "localhost", ".test", "://", ".sock", "Errno") if address in message]
    return message
