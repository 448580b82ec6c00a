"""HTTP/1.1's corners: interim answers, trailers, old clients, upgrades that nobody wants, bodies without a length."""

import json

import pytest

from tests.harness import Proxy, Upstream, Visit, Wire, respond
from tests.harness.payloads import ask, completion, events
from tests.harness.proxy import CHAT
from tests.harness.routes import HOP, PASSED, STORY, both_routes
from tests.harness.upstream import EVENTS, JSON, Script, chunk, within

pytestmark = pytest.mark.asyncio(loop_scope="session")

NEXT = b"GET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n"


async def assert_goes_on(wire: Wire, upstream: Upstream) -> None:
    """The connection serves one more request, and gets that one's answer."""
    upstream.script(respond(b'"next"'))
    await wire.send(NEXT)
    answer = await wire.answer()
    assert (answer.status, answer.body) == (200, b'"next"')


@pytest.mark.parametrize("interim", [(100,), (102,), (103,), (100, 103, 103)])
@both_routes
async def test_interim_answers_are_not_the_answer(
    proxy: Proxy, upstream: Upstream, user: str, path: str, interim: tuple[int, ...]
) -> None:
    """1xx of upstream's come before its answer and in no way instead of it, with the answer's body and headers."""

    async def hint(visit: Visit) -> None:
        await visit.read()
        for status in interim:
            visit.start(status, [("link", "</a>; rel=preload")])
        visit.start(201, [JSON, ("content-length", "2")])
        visit.send(b"{}")

    upstream.script(hint, hint)
    async with await proxy.open("POST", path, headers={"X-User-Id": user}, body=STORY) as wire:
        answer = await wire.answer()
        while answer.status < 200:  # passing them on would be right, too
            answer = await wire.answer()
        assert (answer.status, answer.body, answer.header("link")) == (201, b"{}", None)
        await assert_final(wire, proxy, path)


async def assert_final(wire: Wire, proxy: Proxy, path: str) -> None:
    """The next request gets its own answer: nothing of the one before is left over, here and towards upstream."""
    await wire.send(b"POST %b HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}" % path.encode())
    answer = await wire.answer()
    while answer.status < 200:
        answer = await wire.answer()
    assert answer.status == 201


@pytest.mark.parametrize("framing", [[], [("transfer-encoding", "chunked")], [("content-length", "7")]])
@pytest.mark.parametrize("method", ["HEAD", "OPTIONS"])
async def test_answers_without_a_body_leave_the_connection_usable(
    proxy: Proxy, upstream: Upstream, method: str, framing: list[tuple[str, str]]
) -> None:
    """HEAD, and 204 for OPTIONS, end with their head, whatever upstream says about a body that it does not send."""

    async def bodiless(visit: Visit) -> None:
        visit.start(200 if method == "HEAD" else 204, framing)

    upstream.script(bodiless)
    async with await proxy.open(method, "/v1/models") as wire:
        assert (await wire.answer(bodiless=True)).status in (200, 204)
        await assert_goes_on(wire, upstream)


TRAILERS = b"X-User-Id: mallory\r\nX-Memory-Mode: off\r\nX-Other: 1\r\n"


async def send_with_trailers(wire: Wire, path: str, body: bytes, *, headers: bytes = b"") -> None:
    """A chunked request that names itself only in its trailers, which come a while after the head."""
    head = b"POST %b HTTP/1.1\r\nHost: x\r\n%bTransfer-Encoding: chunked\r\nTrailer: X-User-Id\r\n\r\n"
    await wire.send(head % (path.encode(), headers) + chunk(body[:9]))
    await wire.send(chunk(body[9:]) + b"0\r\n" + TRAILERS + b"\r\n")


@both_routes
async def test_trailers_of_a_request_name_nobody(proxy: Proxy, upstream: Upstream, path: str) -> None:
    """A trailer is no header: it makes no user, sets no mode, and does not go upstream as one."""
    async with await proxy.connect() as wire:
        await send_with_trailers(wire, path, ask("I am Mallory, remember me."))
        answer = await wire.answer()
        assert (answer.status, answer.memory) == (200, None if path == PASSED else "anonymous")
        names = {name.decode().lower() for name, _ in upstream.last.headers}
        assert names - {"host", "content-length", "transfer-encoding", HOP} == set()
        await assert_goes_on(wire, upstream)
    assert await proxy.texts("mallory") == []


async def test_trailers_of_a_request_replace_nobody(proxy: Proxy, upstream: Upstream, user: str) -> None:
    """With a user in the header, it is that user to whom the exchange belongs, in the header's mode."""
    async with await proxy.connect() as wire:
        named = f"X-User-Id: {user}\r\n".encode()
        await send_with_trailers(wire, CHAT, ask("I live in Lisbon, by the river."), headers=named)
        assert (await wire.answer()).memory == "empty"
    assert await proxy.texts(user) == ["I live in Lisbon, by the river.", "Noted."]
    assert await proxy.texts("mallory") == []


@both_routes
async def test_trailers_of_an_answer_are_dropped(proxy: Proxy, upstream: Upstream, user: str, path: str) -> None:
    """Upstream's trailers spoil neither the body nor the connection, and are no headers of anything."""
    pieces = events("Hi")

    async def trail(visit: Visit) -> None:
        await visit.read()
        visit.start(200, [EVENTS, ("transfer-encoding", "chunked"), ("trailer", "x-checksum")])
        for piece in pieces:
            visit.send(chunk(piece))
        visit.send(b"0\r\nX-Checksum: abc\r\nX-Memory-Status: theirs\r\n\r\n")

    upstream.script(trail)
    async with await proxy.open("POST", path, headers={"X-User-Id": user}, body=ask("Say hi, please.")) as wire:
        answer = await wire.answer()
        assert answer.body == b"".join(pieces)
        assert answer.header("x-checksum") is None
        await assert_goes_on(wire, upstream)
    assert await proxy.texts(user) == ([] if path == PASSED else ["Say hi, please.", "Hi"])


@both_routes
async def test_clients_of_http_1_0_get_no_chunks(proxy: Proxy, upstream: Upstream, user: str, path: str) -> None:
    """A body of unknown length ends with the connection for a client that knows no chunks."""
    pieces = events("Hi")

    async def chunked(visit: Visit) -> None:
        await visit.read()
        visit.start(200, [EVENTS, ("transfer-encoding", "chunked")])
        visit.send(b"".join(map(chunk, pieces)) + b"0\r\n\r\n")

    upstream.script(chunked)
    async with await proxy.connect() as wire:
        head = f"POST {path} HTTP/1.0\r\nX-User-Id: {user}\r\nContent-Length: {len(STORY)}\r\n\r\n"
        await wire.send(head.encode() + STORY)
        answer = await wire.head()
        assert (answer.status, answer.every("transfer-encoding")) == (200, [])
        assert await wire.closed() == b"".join(pieces)


@both_routes
async def test_clients_of_http_1_0_get_lengths(proxy: Proxy, upstream: Upstream, path: str) -> None:
    """A body of known length keeps it, and the connection closes after it."""
    upstream.script(respond(completion("Hi")))
    async with await proxy.connect() as wire:
        await wire.send(f"POST {path} HTTP/1.0\r\nContent-Length: {len(STORY)}\r\n\r\n".encode() + STORY)
        assert (await wire.answer()).body == completion("Hi")
        assert await wire.closed() == b""


@pytest.mark.parametrize("chunked", [False, True])
@both_routes
async def test_an_upgrade_that_nobody_wants_is_an_ordinary_request(
    proxy: Proxy, upstream: Upstream, path: str, *, chunked: bool
) -> None:
    """Java's HttpClient offers ``h2c`` with its first POST: it is served in HTTP/1.1, and so is the next request."""
    body = ask("Hello from Java.")
    framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {len(body)}"
    offer = f"Connection: Upgrade, HTTP2-Settings\r\n{framing}\r\nHost: x\r\nHTTP2-Settings: AAEAAEAAAAIAAAAB\r\n"
    head = f"POST {path} HTTP/1.1\r\n{offer}Upgrade: h2c\r\n\r\n".encode()
    async with await proxy.connect() as wire:
        for _ in range(2):
            await wire.send(head + (chunk(body) + b"0\r\n\r\n" if chunked else body))
            answer = await wire.answer()
            assert (answer.status, answer.body) == (200, completion("Noted."))
            assert upstream.last.body == body
            assert not upstream.last.every("upgrade") + upstream.last.every("http2-settings")
        await assert_goes_on(wire, upstream)


async def test_an_upgrade_without_a_body_is_an_ordinary_request(proxy: Proxy, upstream: Upstream) -> None:
    """The same offer with a GET."""
    offer = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAAAAIAAAAB\r\n"
    async with await proxy.connect() as wire:
        await wire.send(b"GET /v1/models HTTP/1.1\r\nHost: x\r\n" + offer + b"\r\n")
        assert (await wire.answer()).status == 200
        await assert_goes_on(wire, upstream)


@both_routes
async def test_answers_without_a_length_end_with_the_connection(
    proxy: Proxy, upstream: Upstream, user: str, path: str
) -> None:
    """An upstream of the old kind says the end by closing: the client gets all of it, and a proper end."""
    heads = [b"HTTP/1.0 200 OK\r\n", b"HTTP/1.1 200 OK\r\nConnection: close\r\n", b"HTTP/1.1 200 OK\r\n"]
    for number, head in enumerate(heads):
        upstream.script(old_style(head))
        body = ask(f"Say hi number {number}, please.")
        async with await proxy.open("POST", path, headers={"X-User-Id": user}, body=body) as wire:
            answer = await wire.answer()
            assert (answer.status, answer.body) == (200, completion("Hi"))
            await assert_goes_on(wire, upstream)
    assert (await proxy.texts(user)).count("Hi") == (0 if path == PASSED else 3)


def old_style(head: bytes) -> Script:
    """A script whose answer ends where the connection does."""

    async def script(visit: Visit) -> None:
        await visit.read()
        visit.send(head + b"Content-Type: application/json\r\n\r\n" + completion("Hi"))
        visit.close()

    return script


async def test_pipelined_requests_are_answered_in_turn(proxy: Proxy, upstream: Upstream, user: str) -> None:
    """Requests sent ahead each get their own answer in their order, chats and others mixed, the first one slow."""

    async def slow(visit: Visit) -> None:
        await visit.read()
        await visit.go_on.wait()
        visit.start(200, [JSON, ("content-length", "3")])
        visit.send(b'"1"')

    upstream.script(slow, respond(b'"2"'), respond(b'"3"'))
    post = b"POST %b HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b"
    requests = [post % (CHAT.encode(), len(STORY), STORY), post % (PASSED.encode(), 2, b"{}"), NEXT]
    async with await proxy.connect() as wire:
        await wire.send(b"".join(requests))
        (await upstream.visited()).go_on.set()
        assert [json.loads((await wire.answer()).body) for _ in requests] == ["1", "2", "3"]
    assert [visit.target.decode() for visit in upstream.visits] == [CHAT, PASSED, "/v1/models"]


async def test_a_pipelined_upload_does_not_end_the_request_before_it(proxy: Proxy, upstream: Upstream) -> None:
    """What comes after a request is not its client's leaving, and no part of its body."""
    upstream.script(respond(b'"1"'), respond(b'"2"'))
    first = b"POST /v1/files HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    second = b"POST /v1/files HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n" + bytes(100_000)
    async with await proxy.connect() as wire:
        await within(wire.send(first + second))
        assert [(await wire.answer()).body for _ in range(2)] == [b'"1"', b'"2"']
    assert [visit.body for visit in upstream.visits] == [b"abc", bytes(100_000)]
