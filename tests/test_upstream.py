"""The transport: errors in httpx2's classes, bytes as they are."""

import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, contextmanager

import httpx2
import pytest
import pytest_asyncio

from proxy.config import Upstream as UpstreamSettings
from proxy.edge.upstream import AiohttpTransport
from tests.harness import Gate, Upstream, Visit, respond
from tests.harness.upstream import JSON

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(loop_scope="session")
async def transport(upstream: Upstream) -> AsyncIterator[AiohttpTransport]:
    """A transport with short patience."""
    settings = UpstreamSettings(base_url=upstream.url, read_timeout_s=0.1, connect_timeout_s=0.1)
    opened = AiohttpTransport(settings)
    yield opened
    await opened.aclose()


@contextmanager
def full_socket() -> Iterator[int]:
    """A port whose queue of connections is full, so that the system leaves new ones without an answer."""
    with socket.socket() as listener, ExitStack() as stack:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            filling = stack.enter_context(socket.socket())
            filling.setblocking(False)
            filling.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


async def fetch(transport: AiohttpTransport, request: httpx2.Request) -> bytes:
    response = await transport.handle_async_request(request)
    try:
        return b"".join([piece async for piece in response.stream])  # type: ignore[union-attr]
    finally:
        await response.aclose()


async def test_the_target_is_sent_as_given(transport: AiohttpTransport, upstream: Upstream) -> None:
    """With a target the URL gives only the address."""
    target = b"/v1/%7e/a%2Fb?q=%20+&q"
    await fetch(transport, httpx2.Request("GET", upstream.url, extensions={"target": target}))
    assert upstream.last.target == target


async def test_a_client_may_stand_in_front(transport: AiohttpTransport, upstream: Upstream) -> None:
    """It is a transport like any other: httpx2's own client works on it."""
    upstream.script(respond(b'{"a": 1}'))
    async with httpx2.AsyncClient(transport=transport) as client:
        response = await client.post(f"{upstream.url}/v1/x?y=1", json={"b": 2})
    assert (response.status_code, response.json()) == (200, {"a": 1})
    assert (upstream.last.target, upstream.last.json) == (b"/v1/x?y=1", {"b": 2})


async def test_bodies_of_any_size(transport: AiohttpTransport, upstream: Upstream) -> None:
    """A body of several megabytes arrives whole, with its length and not in chunks."""
    body = bytes(range(256)) * 20_000
    headers = {"content-length": str(len(body))}
    await fetch(transport, httpx2.Request("POST", f"{upstream.url}/v1/x", headers=headers, content=body))
    assert upstream.last.body == body
    assert upstream.last.every("content-length") == [str(len(body)).encode()]
    assert upstream.last.every("transfer-encoding") == []


async def test_nobody_listens(transport: AiohttpTransport) -> None:
    """ConnectError."""
    with pytest.raises(httpx2.ConnectError):
        await fetch(transport, httpx2.Request("GET", "http://127.0.0.1:1/"))


async def test_a_name_that_is_none(transport: AiohttpTransport) -> None:
    """ConnectError, too."""
    with pytest.raises(httpx2.ConnectError):
        await fetch(transport, httpx2.Request("GET", "http://name.invalid/"))


async def test_no_connection_in_time(transport: AiohttpTransport, upstream: Upstream) -> None:
    """ConnectTimeout where the other side neither accepts nor refuses."""
    with full_socket() as port, pytest.raises(httpx2.ConnectTimeout):
        await fetch(transport, httpx2.Request("GET", f"http://127.0.0.1:{port}/"))


async def test_no_answer_in_time(transport: AiohttpTransport, upstream: Upstream) -> None:
    """ReadTimeout, before the head and within the body."""
    for started in (False, True):
        gate = Gate()
        upstream.script(gate)
        if started:
            gate.start()
        with pytest.raises(httpx2.ReadTimeout):
            await fetch(transport, httpx2.Request("GET", upstream.url))


async def test_a_body_that_breaks_off(transport: AiohttpTransport, upstream: Upstream) -> None:
    """ReadError."""

    async def break_off(visit: Visit) -> None:
        visit.start(200, [JSON, ("content-length", "10")])
        visit.send(b"12345")
        visit.close()

    upstream.script(break_off)
    with pytest.raises(httpx2.ReadError):
        await fetch(transport, httpx2.Request("GET", upstream.url))


async def test_garbage(transport: AiohttpTransport, upstream: Upstream) -> None:
    """RemoteProtocolError for what is no HTTP, and for a head without an end."""

    async def babble(visit: Visit) -> None:
        visit.send(b"HTTP/9.9 nonsense\r\n\r\n")
        visit.close()

    async def babble_on(visit: Visit) -> None:
        visit.send(b"HTTP/1.1 200 OK\r\nx-long: " + b"x" * 100_000 + b"\r\n\r\n")
        visit.close()

    for script in (babble, babble_on):
        upstream.script(script)
        with pytest.raises(httpx2.RemoteProtocolError):
            await fetch(transport, httpx2.Request("GET", upstream.url))


async def test_a_response_that_is_not_read_is_closed(transport: AiohttpTransport, upstream: Upstream) -> None:
    """Closing half-way closes the connection instead of reading on."""
    gate = Gate()
    upstream.script(gate)
    gate.start()
    gate.release(b"x")
    response = await transport.handle_async_request(httpx2.Request("GET", upstream.url))
    await response.aclose()
    assert response.is_closed
    await gate.hung_up()


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_kept_connection_that_went_stale(transport: AiohttpTransport, upstream: Upstream, method: str) -> None:
    """Where upstream drops a reused connection without a word, the request is sent once more on a new one."""

    async def drop(visit: Visit) -> None:
        await visit.read()
        visit.abort()

    for _ in range(2):
        upstream.script(respond(b"1"), drop, respond(b"2"))
        request = httpx2.Request(method, upstream.url, content=b"{}", headers={"content-length": "2"})
        assert await fetch(transport, request) == b"1"
        assert await fetch(transport, request) == b"2"
    assert upstream.last.body == b"{}"


async def test_a_new_connection_that_is_dropped_is_an_error(transport: AiohttpTransport, upstream: Upstream) -> None:
    """Upstream may have done what it was asked: that is not for a proxy to ask again."""

    async def drop(visit: Visit) -> None:
        await visit.read()
        visit.abort()

    upstream.script(drop)
    with pytest.raises((httpx2.ReadError, httpx2.RemoteProtocolError)):
        await fetch(transport, httpx2.Request("POST", upstream.url, content=b"{}"))
    assert len(upstream.visits) == 1


async def test_a_stale_connection_that_has_begun_to_answer_is_an_error(
    transport: AiohttpTransport, upstream: Upstream
) -> None:
    """Half a head says that upstream has worked on the request."""

    async def begin(visit: Visit) -> None:
        await visit.read()
        visit.send(b"HTTP/1.1 200 OK\r\ncontent-le")
        visit.close()

    upstream.script(respond(b"1"), begin)
    request = httpx2.Request("POST", upstream.url, content=b"{}", headers={"content-length": "2"})
    await fetch(transport, request)
    with pytest.raises((httpx2.ReadError, httpx2.RemoteProtocolError)):
        await fetch(transport, request)
    assert len(upstream.visits) == 2
