"""A proxy that is its own upstream, at once or by way of others: told at the start, or answered with 508."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from websockets.exceptions import InvalidStatus

from tests.harness import Proxy, Upstream, run_proxy
from tests.harness.payloads import ask, completion
from tests.harness.proxy import CHAT
from tests.harness.routes import HOP, both_routes
from tests.harness.sockets import dial
from tests.processes import run_command

pytestmark = pytest.mark.asyncio(loop_scope="session")


class Forwarder:
    """Passes connections on to *target*, ``host:port``, which may be set later. *count*: how many there were."""

    def __init__(self) -> None:
        self.url = ""
        self.target = ""
        self.count = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.count += 1
        host, _, port = self.target.rpartition(":")
        far_reader, far_writer = await asyncio.open_connection(host, int(port))
        try:
            await asyncio.gather(_carry(reader, far_writer), _carry(far_reader, writer))
        except asyncio.CancelledError:
            pass  # the end of the test
        finally:
            far_writer.transport.abort()
            writer.transport.abort()


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    writer.transport.abort()


@asynccontextmanager
async def run_forwarder() -> AsyncIterator[Forwarder]:
    """A way to the proxy that its start cannot know for one."""
    forwarder = Forwarder()
    server = await asyncio.start_server(forwarder.serve, "127.0.0.1", 0)
    forwarder.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield forwarder
    finally:
        server.close()


async def assert_loop(proxy: Proxy, path: str) -> None:
    answer = await proxy.request("POST", path, headers={"X-User-Id": "ada"}, body=ask("Is there anybody?"))
    assert (answer.status, answer.code) == (508, "memory_proxy_loop")
    assert answer.header("x-should-retry") == "false"


@both_routes
async def test_a_proxy_that_calls_itself(tmp_path: Path, path: str) -> None:
    """Its own upstream, by a detour that nobody sees at the start: 508 after one round, and nothing stored."""
    async with run_forwarder() as forwarder, run_proxy(tmp_path, forwarder.url) as proxy:
        forwarder.target = proxy.host
        await assert_loop(proxy, path)
        assert forwarder.count == 1
        assert await proxy.texts("ada") == []


async def test_a_websocket_that_calls_itself(tmp_path: Path) -> None:
    """The same for a WebSocket: it is refused before it is accepted."""
    async with run_forwarder() as forwarder, run_proxy(tmp_path, forwarder.url, ready=False) as proxy:
        forwarder.target = proxy.host
        with pytest.raises(InvalidStatus) as refused:
            async with dial(proxy):
                pass
        assert refused.value.response.status_code == 508
        assert forwarder.count == 1


@both_routes
async def test_two_proxies_that_call_each_other(tmp_path: Path, path: str) -> None:
    """A asks B and B asks A: 508, whomever one asks, after one round."""
    async with (
        run_forwarder() as forwarder,
        run_proxy(tmp_path / "a", forwarder.url, ready=False) as a,
        run_proxy(tmp_path / "b", a.url, ready=False) as b,
    ):
        forwarder.target = b.host
        await assert_loop(a, path)
        await assert_loop(b, path)
        assert forwarder.count == 1  # kept for the second; another round would have needed another connection


@both_routes
async def test_two_proxies_in_a_row_are_no_loop(tmp_path: Path, upstream: Upstream, path: str) -> None:
    """A asks B and B asks the API: each adds itself to the header, and the answer comes back."""
    async with (
        run_proxy(tmp_path / "b", upstream.url, ready=False) as b,
        run_proxy(tmp_path / "a", b.url, ready=False) as a,
    ):
        for _ in range(2):  # a proxy may be passed by many requests, by each of them once
            answer = await a.request("POST", path, body=ask("Is there anybody?"))
            assert (answer.status, answer.body) == (200, completion("Noted."))
    for visit in upstream.visits:
        (hops,) = visit.every(HOP)
        assert len(set(hops.split(b","))) == 2


@pytest.mark.parametrize("hop", ["", ",", " , ,", "0" * 8, "a,b,c", "é", "x" * 5000])
async def test_foreign_hops_are_no_loop(proxy: Proxy, upstream: Upstream, hop: str) -> None:
    """Whatever others have written there stops nobody."""
    answer = await proxy.request("POST", CHAT, headers=[(HOP, hop)], body=ask("Is there anybody?"))
    assert answer.status == 200


def free_port(host: str) -> int:
    """A port that was free a moment ago."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as taken:
        taken.bind((host, 0))
        port: int = taken.getsockname()[1]
        return port


@pytest.mark.parametrize(
    ("host", "upstream_host"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("127.0.0.1", "LocalHost"),
        ("127.0.0.1", "0.0.0.0"),
        ("0.0.0.0", "127.0.0.1"),
        ("0.0.0.0", "localhost"),
        ("localhost", "127.0.0.1"),
        ("::1", "[::1]"),
        ("::", "[::1]"),
    ],
)
async def test_an_upstream_that_is_the_proxy_stops_the_start(tmp_path: Path, host: str, upstream_host: str) -> None:
    """Exit code 2, and one line that says what is wrong."""
    port = free_port(host)
    where = ("--host", host, "--port", str(port), "--upstream", f"http://{upstream_host}:{port}/v1")
    done = await asyncio.to_thread(run_command, "serve", "--data-dir", str(tmp_path), *where)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("memory-proxy: upstream.base_url: ")
    assert done.stderr.count("\n") == 1
