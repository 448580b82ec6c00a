"""256 slow clients and 64 fast ones: the fast ones are all served while the slow ones hang, and then these go."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from math import inf
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final
from unittest.mock import Mock

import pytest
import pytest_asyncio

from proxy.bench.dawdlers import Dawdler, list_scripts
from proxy.tasks import Tasks
from tests.harness import Proxy, Upstream, Visit
from tests.harness.payloads import ask
from tests.harness.relays import run_relay
from tests.harness.upstream import JSON, chunk, within

pytestmark = pytest.mark.asyncio(loop_scope="session")

SLOW: Final = 256
FAST: Final = 64
PATIENCE_S: Final = 10.0
STREAM: Final = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nX-Slow: 1\r\nContent-Length: 2\r\n\r\n{}"
# As in the benchmark, a fourth each: nothing, half a head, half a body, and a request whose answer is not read.
SAID: Final = (b"", STREAM[:20], STREAM[:-1], STREAM)


async def answer(visit: Visit) -> None:
    """Without end for a slow client, as fast as it is taken."""
    await visit.read()
    if visit.every("x-slow"):
        visit.start(200, [JSON, ("transfer-encoding", "chunked")])
        await visit.pour(chunk(bytes(1 << 16)), 1 << 20)
    visit.start(200, [JSON, ("content-length", "2")])
    visit.send(b"{}")


@pytest_asyncio.fixture(loop_scope="session")
async def relay(upstream: Upstream, tmp_path: Path) -> AsyncIterator[Proxy]:
    upstream.script(*[answer] * (SLOW + FAST))
    server = {"client_timeout_s": PATIENCE_S}
    async with run_relay(tmp_path, f"{upstream.url}/v1", server=server) as proxy:
        yield proxy


async def dawdle(proxy: Proxy, stack: AsyncExitStack) -> None:
    """Connects the slow clients; returns when each has come as far as it will."""
    for number in range(SLOW):
        wire = await stack.enter_async_context(await proxy.connect())
        wire.pause()
        await wire.send(SAID[number % len(SAID)])
    expected = sorted(["idle", "head", "body", "reader"] * (SLOW // 4))

    async def settle() -> None:
        while sorted(connection.stage for connection in proxy.server.connections) != expected:  # noqa: ASYNC110
            await asyncio.sleep(0)

    await within(settle(), 60)


async def test_the_fast_are_served_while_the_slow_hang(relay: Proxy) -> None:
    """Each of the fast ones gets its answer, all at once; no slow one is given up before its time, all are after it."""
    async with AsyncExitStack() as stack:
        await dawdle(relay, stack)
        tasks = Tasks()
        chats = [tasks.spawn(relay.chat(None, ask("Hi.")), name="fast", awaited=True) for _ in range(FAST)]
        assert [(await within(chat, 60)).status for chat in chats] == [200] * FAST
        loop = asyncio.get_running_loop()
        relay.server.sweep(loop.time() + PATIENCE_S / 2)
        assert len(list(relay.server.connections)) >= SLOW
        for rounds in range(1, 12):  # of what was not read, the kernel takes some by itself
            relay.server.sweep(loop.time() + rounds * (PATIENCE_S + 1))

        async def emptied() -> None:
            while list(relay.server.connections) or relay.app.dataplane.active:  # noqa: ASYNC110
                await asyncio.sleep(0)

        await within(emptied())
    assert (await relay.chat(None, ask("Hi."))).status == 200


async def test_the_benchmark_s_slow_clients_are_slow(relay: Proxy) -> None:
    """They say and read a byte at a time, and notice when they are given up."""
    host, _, port = relay.host.partition(":")
    for script, start in list_scripts(relay.host)[:-1]:  # the last has much to read before it notices anything
        dawdler = Dawdler((host, int(port)), script, start)
        with dawdler.socket:
            for _ in range(5):
                dawdler.act()
                await asyncio.sleep(0)
            assert not dawdler.is_served_out
            for rounds in range(1, 12):
                relay.server.sweep(asyncio.get_running_loop().time() + rounds * (PATIENCE_S + 100))

            async def given_up(dawdler: Dawdler = dawdler) -> None:
                while not dawdler.is_served_out:
                    dawdler.act()
                    await asyncio.sleep(0)

            await within(given_up(), 30)


async def test_a_stop_waits_for_who_still_reads(upstream: Upstream, tmp_path: Path) -> None:
    """The app is through with an answer before a slow client is: within the grace it is not cut off."""
    unread = [100_000]
    transport = SimpleNamespace(get_write_buffer_size=lambda: unread[-1])
    reading: Any = Mock(transport=transport, due=inf)
    async with run_relay(tmp_path, f"{upstream.url}/v1") as proxy:
        assert (await proxy.request("GET", "/v1/models")).status == 200
        proxy.server.server_state.connections.add(reading)
        proxy.server.drain()
        for _ in range(50):
            await asyncio.sleep(0)
        assert not proxy.server.should_exit
        unread.append(0)

        async def ended() -> None:
            while not proxy.server.should_exit:  # noqa: ASYNC110
                await asyncio.sleep(0)

        await within(ended())
        proxy.server.server_state.connections.discard(reading)
