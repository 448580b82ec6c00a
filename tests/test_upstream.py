"""The way to the upstream: errors by kind, bytes as they are."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from proxy.config import Upstream as UpstreamSettings
from proxy.errors import UpstreamError
from proxy.upstream import Request, Upstream
from tests.harness import Gate, Visit, respond
from tests.harness import Upstream as FarEnd
from tests.harness.network import silent_port
from tests.harness.upstream import JSON, within

pytestmark = pytest.mark.asyncio(loop_scope="session")


def open_upstream(url: str) -> Upstream:
    """One with short patience."""
    return Upstream(UpstreamSettings(base_url=url, read_timeout_s=0.5, connect_timeout_s=0.5))


@pytest_asyncio.fixture(loop_scope="session")
async def way(upstream: FarEnd) -> AsyncIterator[Upstream]:
    """The way to the far end."""
    opened = open_upstream(upstream.url)
    yield opened
    await opened.aclose()


async def fetch(way: Upstream, request: Request) -> bytes:
    response = await way.send(request)
    pieces = []
    try:
        while piece := await response.read():
            pieces.append(piece)
    finally:
        response.abort()
    return b"".join(pieces)


async def fail(way: Upstream, request: Request) -> UpstreamError:
    with pytest.raises(UpstreamError) as caught:
        await fetch(way, request)
    return caught.value


def post(body: bytes = b"{}") -> Request:
    return Request("POST", b"/v1/x", [(b"content-length", b"%d" % len(body))], body)


GET = Request("GET", b"/v1/x", [])


async def test_a_request_is_sent_as_given(way: Upstream, upstream: FarEnd) -> None:
    """Target and headers byte for byte, in their order, behind a ``Host``."""
    target = b"/v1/%7e/a%2Fb?q=%20+&q"
    await fetch(way, Request("GET", target, [(b"x-b", b"\xff"), (b"X-A", b""), (b"x-b", b"2")]))
    host = upstream.url.removeprefix("http://").encode()
    assert upstream.last.head == b"GET %b HTTP/1.1\r\nhost: %b\r\nx-b: \xff\r\nX-A: \r\nx-b: 2\r\n\r\n" % (target, host)


async def test_bodies_of_any_size(way: Upstream, upstream: FarEnd) -> None:
    """A body of several megabytes arrives whole, with its length and not in chunks."""
    body = bytes(range(256)) * 20_000
    await fetch(way, post(body))
    assert upstream.last.body == body
    assert upstream.last.every("content-length") == [str(len(body)).encode()]
    assert upstream.last.every("transfer-encoding") == []


async def test_no_connection_in_time() -> None:
    """Where the other side neither accepts nor refuses."""
    with silent_port() as port:
        assert (await fail(open_upstream(f"http://127.0.0.1:{port}"), GET)).kind == "connect_timeout"


async def test_no_answer_in_time(way: Upstream, upstream: FarEnd) -> None:
    """Before the head and within the body; what had come of the body is read before."""
    for started in (False, True):
        gate = Gate()
        upstream.script(gate)
        if started:
            gate.start()
            gate.release(b"x")
            response = await way.send(GET)
            assert await response.read() == b"x"
            with pytest.raises(UpstreamError) as caught:
                await response.read()
            assert caught.value.kind == "read_timeout"
        else:
            assert (await fail(way, GET)).kind == "read_timeout"
        await gate.hung_up()


async def test_a_body_that_breaks_off(way: Upstream, upstream: FarEnd) -> None:
    """A length that is not kept, and a chunk that does not come."""

    async def break_off(visit: Visit) -> None:
        visit.start(200, [JSON, ("content-length", "10")])
        visit.send(b"12345")
        visit.close()

    async def break_off_in_chunks(visit: Visit) -> None:
        visit.start(200, [JSON, ("transfer-encoding", "chunked")])
        visit.send(b"5\r\n12345\r\n")
        visit.close()

    for script in (break_off, break_off_in_chunks):
        upstream.script(script)
        assert (await fail(way, GET)).kind == "reset"


async def test_a_body_without_a_length_ends_with_the_connection(way: Upstream, upstream: FarEnd) -> None:
    """Nothing tells it from a broken one, so it is complete."""

    async def speak_and_leave(visit: Visit) -> None:
        visit.start(200, [JSON])
        visit.send(b"12345")
        visit.close()

    upstream.script(speak_and_leave)
    assert await fetch(way, GET) == b"12345"


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/9.9 nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx-long: " + b"x" * 200_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx-long: " + b"x" * 200_000,
        b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 100_000,
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n",
        b"HTTP/1.1 099 Odd\r\n\r\n",
        b"HTTP/1.1 700 Odd\r\n\r\n",
    ],
)
async def test_garbage(way: Upstream, upstream: FarEnd, answer: bytes) -> None:
    """What is no HTTP, has no end, or was not asked for."""

    async def babble(visit: Visit) -> None:
        visit.send(answer)
        visit.close()

    upstream.script(babble)
    assert (await fail(way, post())).kind == "protocol"


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_more_than_was_asked_for(way: Upstream, upstream: FarEnd, method: str) -> None:
    """What follows an answer belongs to nobody: the answer counts, and the connection is not used again."""

    async def say_more(visit: Visit) -> None:
        visit.start(200, [("content-length", "0" if method == "GET" else "5")])
        visit.send(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil")

    upstream.script(say_more)
    assert await fetch(way, Request(method, b"/", [])) == b""
    upstream.script(respond(b"good"))
    assert await fetch(way, GET) == b"good"


async def test_interim_answers_are_passed_over(way: Upstream, upstream: FarEnd) -> None:
    """Their headers are not the answer's."""

    async def hesitate(visit: Visit) -> None:
        visit.send(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n")
        visit.start(200, [("content-length", "2")])
        visit.send(b"ok")

    upstream.script(hesitate)
    response = await way.send(GET)
    assert (response.status, response.headers) == (200, [(b"content-length", b"2")])
    assert await response.read() == b"ok"


async def test_a_response_that_is_not_read_is_closed(way: Upstream, upstream: FarEnd) -> None:
    """Giving it up half-way closes the connection instead of reading on."""
    gate = Gate()
    upstream.script(gate)
    gate.start()
    gate.release(b"x")
    response = await way.send(GET)
    response.abort()
    response.abort()
    await gate.hung_up()


async def test_a_reader_that_is_slow_slows_the_upstream(way: Upstream, upstream: FarEnd) -> None:
    """What nobody has read yet stays where it is, but for some."""
    sent = asyncio.Event()
    total = 32 << 20

    async def pour(visit: Visit) -> None:
        visit.start(200, [("content-length", str(total))])
        await visit.pour(bytes(1 << 20), total >> 20)
        sent.set()

    upstream.script(pour)
    response = await way.send(GET)
    received = len(await response.read())
    assert received < total // 2
    assert not sent.is_set()
    while piece := await response.read():
        received += len(piece)
    assert received == total
    await within(sent.wait())


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_kept_connection_that_went_stale(way: Upstream, upstream: FarEnd, method: str) -> None:
    """Where upstream drops a reused connection without a word, the request is sent once more on a new one."""

    async def drop(visit: Visit) -> None:
        await visit.read()
        visit.abort()

    for _ in range(2):
        upstream.script(respond(b"1"), drop, respond(b"2"))
        request = Request(method, b"/", [(b"content-length", b"2")], b"{}")
        assert await fetch(way, request) == b"1"
        assert await fetch(way, request) == b"2"
    assert upstream.last.body == b"{}"


async def test_a_new_connection_that_is_dropped_is_an_error(way: Upstream, upstream: FarEnd) -> None:
    """Upstream may have done what it was asked: that is not for a proxy to ask again."""

    async def drop(visit: Visit) -> None:
        await visit.read()
        visit.abort()

    upstream.script(drop)
    assert (await fail(way, post())).kind == "reset"
    assert len(upstream.visits) == 1


async def test_a_stale_connection_that_has_begun_to_answer_is_an_error(way: Upstream, upstream: FarEnd) -> None:
    """Half a head says that upstream has worked on the request."""

    async def begin(visit: Visit) -> None:
        await visit.read()
        visit.send(b"HTTP/1.1 200 OK\r\ncontent-le")
        visit.close()

    upstream.script(respond(b"1"), begin)
    await fetch(way, post())
    assert (await fail(way, post())).kind == "reset"
    assert len(upstream.visits) == 2
