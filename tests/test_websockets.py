"""WebSockets under ``/v1/``: relayed frame by frame, with upstream dialled first."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from statistics import median
from typing import Final

import pytest
import pytest_asyncio
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.connection import Connection
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Subprotocol

from proxy.tasks import Tasks
from tests.harness import Proxy, run_proxy
from tests.harness.routes import HOP
from tests.harness.sockets import PATH, SPOKEN, Ending, Refusal, SocketServer, dial, reset, run_socket_server, vanish
from tests.harness.stalling import wait_for_stall
from tests.harness.upstream import within

pytestmark = pytest.mark.asyncio(loop_scope="session")

AT_ONCE_S: Final = 0.1
TRIES: Final = 5


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def running_server() -> AsyncIterator[SocketServer]:
    async with run_socket_server() as running:
        yield running


@pytest.fixture
def server(running_server: SocketServer) -> SocketServer:
    """The upstream, open to everybody."""
    running_server.reset()
    return running_server


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def relay(running_server: SocketServer, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Proxy]:
    """A proxy in front of it."""
    async with run_proxy(tmp_path_factory.mktemp("sockets"), running_server.url, ready=False) as proxy:
        yield proxy


class Pair:
    """Both ends of one relayed WebSocket."""

    def __init__(self, client: ClientConnection, server: ServerConnection) -> None:
        self.client = client
        self.server = server

    def ends(self, *, from_client: bool) -> tuple[Connection, Connection]:
        """Who speaks and who listens."""
        return (self.client, self.server) if from_client else (self.server, self.client)


@pytest_asyncio.fixture(loop_scope="session")
async def pair(relay: Proxy, server: SocketServer) -> AsyncIterator[Pair]:
    async with dial(relay) as client:
        yield Pair(client, await server.accepted())


both_ways = pytest.mark.parametrize("from_client", [True, False], ids=["from client", "from upstream"])


@pytest.mark.parametrize("message", ["Grüße 🐝", "", b"\x00\xff", b"", "x" * 2_000_000, bytes(2_000_000)])
@both_ways
async def test_messages_pass(pair: Pair, message: str | bytes, *, from_client: bool) -> None:
    """Text stays text, bytes stay bytes, whatever their size."""
    speaker, listener = pair.ends(from_client=from_client)
    sending = Tasks().spawn(speaker.send(message), name="send")
    assert await within(listener.recv()) == message
    await sending


@both_ways
async def test_fragments_are_not_joined(pair: Pair, *, from_client: bool) -> None:
    """A message in three frames arrives in three frames, each before the next is sent."""
    speaker, listener = pair.ends(from_client=from_client)
    heard: asyncio.Queue[object] = asyncio.Queue()

    async def speak() -> AsyncIterator[str]:
        for word in ("one", "two", "three"):
            yield word
            assert await within(heard.get()) == word

    sending = Tasks().spawn(speaker.send(speak()), name="send")
    async for fragment in listener.recv_streaming():
        if fragment:  # the library ends with an empty one
            heard.put_nowait(fragment)
    await within(sending)
    assert heard.empty()


@both_ways
async def test_pings_are_answered_by_the_other_end(pair: Pair, *, from_client: bool) -> None:
    """A ping goes all the way: its pong comes back with its payload, and only because the other end lives."""
    speaker, _ = pair.ends(from_client=from_client)
    await within(await speaker.ping(b"are you there?"))


@pytest.mark.parametrize(
    ("code", "reason"), [(1000, ""), (1001, "bye"), (1008, "policy"), (3000, "é"), (4001, "x" * 123)]
)
@both_ways
async def test_close_codes_pass(pair: Pair, code: int, reason: str, *, from_client: bool) -> None:
    """Who is closed on learns the other end's code and reason, not one of the proxy's."""
    speaker, listener = pair.ends(from_client=from_client)
    closing = Tasks().spawn(speaker.close(code, reason), name="close")
    with pytest.raises(ConnectionClosed) as closed:
        await within(listener.recv())
    assert closed.value.rcvd is not None
    assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (code, reason)
    await within(closing)
    assert (speaker.close_code, listener.close_code) == (code, code)


async def test_subprotocols_are_negotiated_with_upstream(relay: Proxy, server: SocketServer) -> None:
    """What the client offers, keys included, reaches upstream, and the client hears what upstream chose."""
    offered = [SPOKEN, Subprotocol("openai-insecure-api-key.sk-1"), Subprotocol("openai-beta.realtime-v1")]
    async with dial(relay, subprotocols=offered) as client:
        assert client.subprotocol == SPOKEN
        assert (await server.accepted()).subprotocol == SPOKEN
    assert server.requests[0].headers["Sec-WebSocket-Protocol"] == ", ".join(offered)


@pytest.mark.parametrize("compression", ["deflate", None])
async def test_compression_is_between_the_ends(relay: Proxy, server: SocketServer, compression: str | None) -> None:
    """``permessage-deflate`` is agreed on by client and upstream, and compressed frames pass as they are."""
    async with dial(relay, compression=compression) as client:
        upstream = await server.accepted()
        for end in (client, upstream):
            assert [extension.name for extension in end.protocol.extensions] == (
                ["permessage-deflate"] if compression else []
            )
        await client.send("squeeze me " * 10_000)
        assert await within(upstream.recv()) == "squeeze me " * 10_000


async def test_headers_and_query_are_kept(relay: Proxy, server: SocketServer) -> None:
    """Upstream sees the client's end-to-end headers, none of the proxy's own, and the target as it was written."""
    ours = [("X-User-Id", "ada"), ("X-Conversation-Id", "c"), ("X-Memory-Mode", "off"), ("X-User-Signature", "t=1")]
    theirs = [
        ("Authorization", "Bearer sk-client"),
        ("Cookie", "a=1; b=2"),
        ("OpenAI-Beta", "realtime=v1"),
        ("X-Twice", "1"),
        ("X-Twice", "2"),
    ]
    async with dial(relay, additional_headers=[*ours, *theirs], user_agent_header="ua", origin="https://o") as client:
        assert client.response is not None
        assert client.response.headers.get_all("Set-Cookie") == ["a=1", "b=2"]
        assert client.response.headers["X-Request-Id"] == "req_1"
    (request,) = server.requests
    assert request.path == PATH
    assert [(name.lower(), value) for name, value in theirs] == [
        (name.lower(), value) for name, value in request.headers.raw_items() if (name.title(), value) in titled(theirs)
    ]
    assert (request.headers["Origin"], request.headers["User-Agent"]) == ("https://o", "ua")
    assert request.headers["Host"] == server.url.removeprefix("http://")
    assert not [name for name, _ in ours if name in request.headers]
    assert HOP in request.headers


def titled(headers: list[tuple[str, str]]) -> list[tuple[str, str]]:
    return [(name.title(), value) for name, value in headers]


async def test_the_configured_key_replaces_the_clients(server: SocketServer, tmp_path: Path) -> None:
    """``upstream.api_key`` is what upstream gets, here too."""
    key = {"base_url": f"{server.url}/v1", "api_key": "sk-configured"}
    sent = {"Authorization": "Bearer sk-client"}
    async with (
        run_proxy(tmp_path, server.url, ready=False, upstream=key) as proxy,
        dial(proxy, additional_headers=sent),
    ):
        pass
    assert server.requests[0].headers.get_all("Authorization") == ["Bearer sk-configured"]


@pytest.mark.parametrize("status", [401, 403, 404, 429, 500])
async def test_a_refusal_is_upstreams(relay: Proxy, server: SocketServer, status: int) -> None:
    """Where upstream does not upgrade, the client gets its answer: status, headers and body."""
    body = json.dumps({"error": {"message": "No."}})
    server.refusal = Refusal(status, body, (("Retry-After", "7"), ("Content-Type", "application/json")))
    with pytest.raises(InvalidStatus) as refused:
        async with dial(relay):
            pass
    response = refused.value.response
    assert (response.status_code, response.body, response.headers["Retry-After"]) == (status, body.encode(), "7")


async def test_an_upstream_that_is_not_there_is_502(tmp_path: Path) -> None:
    """Nobody is accepted for an upstream that cannot be reached: the answer is an error in OpenAI's shape."""
    async with run_proxy(tmp_path, "http://127.0.0.1:1", ready=False) as proxy:
        with pytest.raises(InvalidStatus) as refused:
            async with dial(proxy):
                pass
    response = refused.value.response
    assert response.status_code == 502
    assert json.loads(response.body)["error"]["code"] == "memory_proxy_upstream_unreachable"


async def test_upstream_accepts_before_the_client_is_accepted(relay: Proxy, server: SocketServer) -> None:
    """As long as upstream has not answered, the client has no answer either."""
    server.gate.clear()
    opened = asyncio.Event()

    async def open_and_close() -> None:
        async with dial(relay):
            opened.set()

    dialling = Tasks().spawn(open_and_close(), name="dial", awaited=True)
    await within(server.asked.wait())
    assert not opened.is_set()
    server.gate.set()
    await within(opened.wait())
    await within(dialling)


@pytest.mark.parametrize("end", [vanish, reset])
@both_ways
async def test_who_vanishes_is_missed_at_once(
    relay: Proxy, server: SocketServer, end: Ending, *, from_client: bool
) -> None:
    """A connection that is gone, reset or not, takes the other one along within 100 ms, without a made-up code."""
    times = []
    for _ in range(TRIES):
        async with dial(relay) as client:
            leaver, other = Pair(client, await server.accepted()).ends(from_client=from_client)
            began = asyncio.get_running_loop().time()
            end(leaver)
            with pytest.raises(ConnectionClosed) as closed:
                await within(other.recv())
            times.append(asyncio.get_running_loop().time() - began)
            assert closed.value.rcvd is None
    assert median(times) < AT_ONCE_S, times
    await within(relay.app.dataplane.idle.wait())


PIECE: Final = bytes(range(256)) * 256
PIECES: Final = 800
# Kernel buffers of two hops at their largest, 6 + 4 MB each, and what the library queues.
IN_FLIGHT: Final = 24 << 20


async def speak(speaker: Connection, sent: list[int]) -> None:
    """Says 50 MB, and counts what it could say."""
    for _ in range(PIECES):
        await speaker.send(PIECE)
        sent.append(len(PIECE))


@both_ways
async def test_a_slow_reader_slows_the_writer(relay: Proxy, server: SocketServer, *, from_client: bool) -> None:
    """50 MB to somebody who does not read: the writer has to wait, and then all of it arrives."""
    async with dial(relay, compression=None) as client:
        speaker, listener = Pair(client, await server.accepted()).ends(from_client=from_client)
        sent: list[int] = []
        speaking = Tasks().spawn(speak(speaker, sent), name="speak", awaited=True)
        assert await wait_for_stall(sent, speaking) < IN_FLIGHT
        for _ in range(PIECES):
            assert await within(listener.recv()) == PIECE
        await within(speaking)


@both_ways
async def test_who_crashes_before_a_slow_reader_is_missed_at_once(
    relay: Proxy, server: SocketServer, *, from_client: bool
) -> None:
    """A writer that has been made to wait, and crashes, ends the tunnel within 100 ms, though nobody reads from it."""
    async with dial(relay, compression=None) as client:
        speaker, listener = Pair(client, await server.accepted()).ends(from_client=from_client)
        sent: list[int] = []
        speaking = Tasks().spawn(speak(speaker, sent), name="speak", awaited=True)
        await wait_for_stall(sent, speaking)
        began = asyncio.get_running_loop().time()
        reset(speaker)
        try:
            await within(relay.app.dataplane.idle.wait())
        finally:
            vanish(listener)
        assert asyncio.get_running_loop().time() - began < AT_ONCE_S


async def test_a_graceful_stop_ends_tunnels_after_the_grace(server: SocketServer, tmp_path: Path) -> None:
    """A stop lets open WebSockets go on for the grace, takes no new ones, and then cuts them."""
    async with (
        run_proxy(tmp_path, server.url, ready=False, server={"shutdown_grace_s": 0.5}) as proxy,
        dial(proxy) as client,
    ):
        upstream = await server.accepted()
        proxy.server.drain()
        with pytest.raises(InvalidStatus) as refused:
            async with dial(proxy):
                pass
        assert refused.value.response.status_code == 503
        await client.send("still here")
        assert await within(upstream.recv()) == "still here"
        await within(proxy.stop())
        for end in (client, upstream):
            with pytest.raises(ConnectionClosed):
                await within(end.recv())


@pytest.mark.parametrize("target", ["/", "/ui", "/v1", "/memory/users", "/v2/realtime"])
async def test_outside_of_v1_there_are_none(relay: Proxy, server: SocketServer, target: str) -> None:
    """The control plane has no WebSockets, and nothing outside ``/v1/`` goes upstream: the request is as any other."""
    with pytest.raises(InvalidStatus) as refused:
        async with dial(relay, target):
            pass
    assert refused.value.response.status_code in (200, 404)
    assert server.requests == []


async def test_many_tunnels_leave_nothing(relay: Proxy, server: SocketServer) -> None:
    """A hundred WebSockets, open at a time and ended in every way, leave no request and no task behind."""
    ends: list[Callable[[Connection], None]] = [vanish, reset]
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(dial(relay)) for _ in range(100)]
        assert relay.metric("requests_in_flight") == 100
        for number, client in enumerate(clients[:50]):
            ends[number % 2](client)
    await within(relay.app.dataplane.idle.wait())
    await within(relay.app.requests.drain())
