"""Upstreams on a Unix socket, as model servers and side-cars on the same machine offer them."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from proxy import config
from proxy.errors import ConfigError
from tests.harness import Gate, Wire, stream
from tests.harness.client import render_request
from tests.harness.network import Endpoint, ForwardProxy, run_endpoint, run_unix_endpoint
from tests.harness.payloads import ask, events
from tests.harness.proxy import CHAT
from tests.harness.relays import Start, expect_failure
from tests.processes import Proxy as ProxyProcess

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the socket is."""
    return tmp_path / "llm.sock"


@pytest_asyncio.fixture(loop_scope="session")
async def endpoint(path: Path) -> AsyncIterator[Endpoint]:
    """An upstream that listens there."""
    async with run_unix_endpoint(path) as running:
        yield running


@pytest.mark.parametrize(
    ("suffix", "target"),
    [
        ("", b"/v1/models?a=%7e"),
        (":/v1", b"/v1/models?a=%7e"),
        (":/v1/", b"/v1/models?a=%7e"),
        (":/api/openai", b"/api/openai/models?a=%7e"),
        (":/", b"/models?a=%7e"),
    ],
)
async def test_the_prefix_follows_the_path(start: Start, endpoint: Endpoint, suffix: str, target: bytes) -> None:
    """``unix:/path`` means the usual ``/v1``, ``unix:/path:/prefix`` another one; ``Host`` is ``localhost``."""
    proxy = await start(f"{endpoint.url}{suffix}")
    assert (await proxy.request("GET", "/v1/models?a=%7e")).status == 200
    assert endpoint.last.target == target
    assert endpoint.last.every("host") == [b"localhost"]


async def test_slashes_as_in_a_url(start: Start, endpoint: Endpoint, path: Path) -> None:
    """``unix:///path`` is the same socket."""
    proxy = await start(f"unix://{path}")
    assert (await proxy.request("GET", "/v1/models")).status == 200
    assert endpoint.last.target == b"/v1/models"


async def test_chats_and_others_share_a_connection(start: Start, endpoint: Endpoint) -> None:
    """Sockets are kept like connections over a network."""
    proxy = await start(endpoint.url)
    for _ in range(2):
        assert (await proxy.chat(None, ask("Hi."))).status == 200
        assert (await proxy.request("GET", "/v1/models")).status == 200
    assert (len(endpoint.visits), endpoint.connections) == (4, 1)


async def test_streams_and_uploads(start: Start, endpoint: Endpoint) -> None:
    """Megabytes go up, chunks come down as they are made."""
    proxy = await start(endpoint.url)
    gate = Gate()
    endpoint.script(gate)
    sent = bytes(range(256)) * 12_000
    async with await proxy.open("POST", "/v1/files", body=sent) as wire:
        assert (await gate.asked()).body == sent
        gate.start()
        gate.release(b"data: 1\n\n")
        await wire.head()
        assert await wire.piece() == b"data: 1\n\n"
        gate.release(b"data: 2\n\n")
        assert await wire.piece() == b"data: 2\n\n"
        gate.end()
        assert await wire.piece() == b""


async def test_a_stream_that_breaks_off(start: Start, endpoint: Endpoint) -> None:
    """The client sees the cut."""
    proxy = await start(endpoint.url)
    endpoint.script(stream(events("Half", done=False), cut=True))
    async with await proxy.open("POST", CHAT, body=ask("Hi.", stream=True)) as wire:
        assert (await wire.head()).status == 200
        assert b"Half" in await wire.cut_off()


async def test_a_client_that_leaves(start: Start, endpoint: Endpoint) -> None:
    """The upstream is hung up on."""
    proxy = await start(endpoint.url)
    gate = Gate()
    endpoint.script(gate)
    async with await proxy.open("POST", CHAT, body=ask("Hi.")) as wire:
        await gate.asked()
        wire.leave()
        await gate.hung_up()


async def test_a_socket_that_appears_later(start: Start, path: Path) -> None:
    """Until it is there it is 502 and worth another try; nothing has to be started again, also when it comes anew."""
    proxy = await start(f"unix:{path}")
    await expect_failure(proxy, "refused")
    for _ in range(2):
        async with run_unix_endpoint(path):
            assert (await proxy.request("GET", "/v1/models")).status == 200
        await expect_failure(proxy, "refused")


def leave_behind(path: Path) -> None:
    """What a server that was killed leaves of its socket."""
    with socket.socket(socket.AF_UNIX) as abandoned:
        abandoned.bind(str(path))


@pytest.mark.parametrize("make", [leave_behind, Path.touch, Path.mkdir])
async def test_a_path_that_nobody_listens_on(start: Start, path: Path, make: Callable[[Path], None]) -> None:
    """A socket without a server, a file that is none, a folder: refused, all of them."""
    make(path)
    proxy = await start(f"unix:{path}")
    await expect_failure(proxy, "refused")


async def test_no_forward_proxy_is_asked(start: Start, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the environment says: the socket is here, and nowhere else."""
    async with run_endpoint(ForwardProxy()) as forward:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, forward.url)
        proxy = await start(endpoint.url)
        assert (await proxy.request("GET", "/v1/models")).status == 200
        assert forward.visits == []


async def test_as_a_process(endpoint: Endpoint, tmp_path: Path) -> None:
    """With the event loop of real life."""
    endpoint.script(stream(events("Whole")))
    with ProxyProcess(tmp_path / "data", f"{endpoint.url}:") as process:  # which appends /v1
        listening = await asyncio.to_thread(process.log.wait_for, "listening")
        async with await Wire.open(listening["url"]) as wire:
            await wire.send(render_request("POST", CHAT, [], ask("Hi.", stream=True), host="proxy"))
            assert (await wire.answer()).body == b"".join(events("Whole"))
    assert endpoint.last.target == b"/v1/chat/completions"


@pytest.mark.parametrize("url", ["unix:", "unix:llm.sock", "unix:/run/", "unix:/run/llm.sock:v1", "unix:/a:/v1?b=c"])
async def test_what_is_no_socket_is_refused(url: str) -> None:
    """The line names the key, the value and what would be right."""
    with pytest.raises(ConfigError, match=r"^upstream\.base_url: .*should") as caught:
        config.load(flags={"upstream": {"base_url": url}}, environ={})
    assert url in str(caught.value)
    assert "\n" not in str(caught.value)
