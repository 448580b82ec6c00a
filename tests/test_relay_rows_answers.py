"""How other proxies spoilt answers, one test a failure: the rows of the list of known relay failures, 1 to 11.

Each holds for chat requests, which memory takes part in, and for those that only pass.
"""

import gzip
import zlib
from collections.abc import Callable

import brotli
import pytest
import zstandard

from proxy.config import Settings
from tests.conftest import Launch
from tests.harness import Driver, Gate, Proxy, Upstream, Visit, respond, stream
from tests.harness.payloads import DONE, ask, completion, event, events, failure
from tests.harness.routes import HOP, PASSED, STORY, both_routes
from tests.harness.upstream import EVENTS, JSON, Script, within

pytestmark = pytest.mark.asyncio(loop_scope="session")


@both_routes
async def test_row_01_retry_after_passes(proxy: Proxy, upstream: Upstream, user: str, path: str) -> None:
    """``retry-after`` dropped or renamed, clients retry in a storm: all that says when to retry passes verbatim."""
    told = [
        ("retry-after", "7"),
        ("retry-after-ms", "7100"),
        ("x-should-retry", "false"),
        ("x-ratelimit-reset-tokens", "6m0s"),
    ]
    upstream.script(respond(failure("Slow down."), status=429, headers=[JSON, *told]))
    answer = await proxy.request("POST", path, headers={"X-User-Id": user}, body=STORY)
    assert answer.status == 429
    assert answer.headers[:5] == [JSON, *told]


@both_routes
async def test_row_02_no_header_is_prefixed_or_hidden(proxy: Proxy, upstream: Upstream, user: str, path: str) -> None:
    """Headers prefixed or hidden: both ways, only those of one hop stay behind, the ones ``Connection`` names too."""
    hop = [("Connection", "keep-alive, X-Hop"), ("X-Hop", "1"), ("Keep-Alive", "timeout=9")]
    odd = [("X-Made-Up", "a, b"), ("llm_provider-x", "1"), ("X-Empty", ""), ("Via", "1.1 them"), ("Server", "them")]
    upstream.script(respond(b"{}", headers=[JSON, *hop, *odd]))
    answer = await proxy.request(
        "POST", path, headers=[*hop, ("TE", "trailers"), ("Proxy-Authorization", "x"), *odd], body=STORY
    )
    sent = lowered([(name.decode(), value.decode()) for name, value in upstream.last.headers])
    assert [pair for pair in sent if pair[0] not in ("host", "content-length", HOP)] == lowered(odd)
    passed = [(name, value) for name, value in lowered(answer.headers) if not name.startswith("x-memory-")]
    assert passed == lowered([JSON, *odd, ("content-length", "2")])


def lowered(headers: list[tuple[str, str]]) -> list[tuple[str, str]]:
    return [(name.lower(), value) for name, value in headers]


@pytest.mark.parametrize("status", [201, 400, 401, 403, 404, 409, 413, 422, 429, 451, 500, 502, 503, 504, 529, 599])
@both_routes
async def test_row_03_status_and_body_are_untouched(
    proxy: Proxy, upstream: Upstream, user: str, path: str, status: int
) -> None:
    """429 becomes 500, 400 becomes 429, an error comes as 200: no status is exchanged, no byte of a body changed."""
    body = b'{"error" : {"message":"No.","n":1.0}}\n \x00\xff'
    upstream.script(respond(body, status=status))
    answer = await proxy.request("POST", path, headers={"X-User-Id": user}, body=STORY)
    assert (answer.status, answer.body) == (status, body)


@both_routes
async def test_row_04_an_early_error_is_no_stream(proxy: Proxy, upstream: Upstream, user: str, path: str) -> None:
    """An error before the first byte becomes a 200 event stream: nothing is answered before upstream has answered."""

    async def fail_late(visit: Visit) -> None:
        await visit.read()
        await visit.go_on.wait()
        visit.start(503, [JSON, ("content-length", "2")])
        visit.send(b"{}")

    upstream.script(fail_late)
    driver = Driver(proxy.app, path, headers={"X-User-Id": user, "Content-Length": str(len(STORY))})
    driver.say(STORY)
    visit = await upstream.visited()
    assert driver.sent == []
    visit.go_on.set()
    head = await driver.next()
    assert (head["status"], dict(head["headers"])[b"content-type"]) == (503, b"application/json")
    await driver.served()


def drop(visit: Visit) -> None:
    visit.abort()


def hang_up(visit: Visit) -> None:
    visit.close()


@pytest.mark.parametrize("die", [drop, hang_up])
@pytest.mark.parametrize("pieces", [[], events("Half", done=False)[:2], events("All", done=False)])
@both_routes
async def test_row_05_a_dead_upstream_is_no_clean_end(
    proxy: Proxy, upstream: Upstream, user: str, path: str, pieces: list[bytes], die: Callable[[Visit], None]
) -> None:
    """Upstream dies mid-stream, the client sees a clean end: it sees the truncation, and nothing is stored."""

    async def die_midway(visit: Visit) -> None:
        await visit.read()
        visit.start(200, [EVENTS, ("transfer-encoding", "chunked")])
        for piece in pieces:
            visit.send(b"%x\r\n%b\r\n" % (len(piece), piece))
        await visit.go_on.wait()
        die(visit)

    upstream.script(die_midway)
    route = "other" if path == PASSED else "chat"
    before = proxy.metric("requests_total", route=route, code="truncated")
    async with await proxy.open("POST", path, headers={"X-User-Id": user}, body=STORY) as wire:
        assert (await wire.head()).status == 200
        received = b""
        while received != b"".join(pieces):
            received += await wire.piece()
        upstream.last.go_on.set()
        assert await wire.cut_off() == b""
    await within(proxy.app.dataplane.idle.wait())
    assert proxy.metric("requests_total", route=route, code="truncated") == before + 1
    assert await proxy.texts(user) == []


@both_routes
async def test_row_06_error_events_are_not_blanked(proxy: Proxy, upstream: Upstream, user: str, path: str) -> None:
    """Error payloads inside SSE blanked: they pass byte for byte, whatever their shape; such an answer is not kept."""
    pieces = [
        event({"content": "Half"}),
        b"data: " + failure("overloaded", kind="server_error") + b"\n\n",
        b'event: error\r\ndata: {"type": "error", "code":\r\ndata: "x"}\r\n\r\n',
        b"data: Internal error\n\n",
        DONE,
    ]
    upstream.script(stream(pieces))
    answer = await proxy.request("POST", path, headers={"X-User-Id": user}, body=STORY)
    assert answer.body == b"".join(pieces)
    assert await proxy.texts(user) == []


@both_routes
async def test_row_07_nothing_is_put_into_a_data_line(proxy: Proxy, upstream: Upstream, user: str, path: str) -> None:
    """Heartbeats injected inside a ``data:`` line: by default there are none, and half a line stays half a line."""
    assert Settings().server.heartbeat_s is None
    gate = Gate()
    upstream.script(gate)
    gate.start()
    async with await proxy.open("POST", path, headers={"X-User-Id": user}, body=STORY) as wire:
        await wire.head()
        for piece in (b'data: {"ch', b"oices", b'": []}', b"\n", b"\n", DONE):
            gate.release(piece)
            assert await wire.piece() == piece
        gate.end()
        assert await wire.piece() == b""


@both_routes
async def test_row_08_long_thinking_is_waited_for(launch: Launch, upstream: Upstream, user: str, path: str) -> None:
    """Zero bytes for long, and a load balancer hangs up: patience is generous, comments can be had between events."""
    assert Settings().upstream.read_timeout_s >= 600
    proxy = await launch(ready=False, server={"heartbeat_s": 0.02})
    gate = Gate()
    upstream.script(gate)
    gate.start()
    first, *others = events("At", " last")
    gate.release(first)
    async with await proxy.open("POST", path, headers={"X-User-Id": user}, body=STORY) as wire:
        await wire.head()
        assert await wire.piece() == first
        assert await wire.piece() == b": keep-alive\n\n"
        gate.release(*others)
        gate.end()
        rest = await wire.rest()
    assert rest.replace(b": keep-alive\n\n", b"") == b"".join(others)


@both_routes
async def test_row_09_who_leaves_early_is_noticed(proxy: Proxy, upstream: Upstream, user: str, path: str) -> None:
    """The client leaves before the first token, upstream goes on generating: its connection is closed at once."""
    gate = Gate()
    upstream.script(gate)
    wire = await proxy.open("POST", path, headers={"X-User-Id": user}, body=STORY)
    await gate.asked()
    wire.leave()
    await gate.hung_up()
    await within(proxy.app.dataplane.idle.wait())


@both_routes
async def test_row_10_connections_come_back_on_every_path(
    launch: Launch, upstream: Upstream, user: str, path: str
) -> None:
    """Leaked connections starve the pool: with room for one, errors, broken answers and leaving all give it back."""
    proxy = await launch(ready=False, upstream={"max_connections": 1})
    headers = {"X-User-Id": user}
    for begun in (False, True) * 3:
        await leave(proxy, upstream, path, begun=begun)
    for status in (204, 400, 429, 500):
        upstream.script(respond(failure("No.") if status != 204 else b"", status=status))
        async with await proxy.open("POST", path, headers=headers, body=STORY) as wire:
            assert (await wire.answer(bodiless=status == 204)).status == status
    upstream.script(stream([DONE], cut=True))
    async with await proxy.open("POST", path, headers=headers, body=STORY) as wire:
        await wire.head()
        await wire.cut_off()
    upstream.script(babble)
    assert (await proxy.request("POST", path, headers=headers, body=STORY)).status == 502
    assert (await proxy.request("POST", path, headers=headers, body=STORY)).status == 200


async def leave(proxy: Proxy, upstream: Upstream, path: str, *, begun: bool) -> None:
    """A client that leaves before the head of its answer, or in the middle of its stream."""
    gate = Gate()
    upstream.script(gate)
    wire = await proxy.open("POST", path, body=STORY)
    await gate.asked()
    if begun:
        gate.start()
        gate.release(event({"content": "Once"}))
        await wire.head()
        await wire.piece()
    wire.leave()
    await gate.hung_up()


async def babble(visit: Visit) -> None:
    visit.send(b"SSH-2.0-OpenSSH_9.9\r\n\r\n")
    visit.close()


CODINGS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "br": brotli.compress,
    "zstd": zstandard.compress,
    "deflate": zlib.compress,
}


def whole(body: bytes, coding: str) -> Script:
    return respond(body, headers=[JSON, ("content-encoding", coding)])


def in_pieces(body: bytes, coding: str) -> Script:
    return stream([body[i : i + 5] for i in range(0, len(body), 5)], headers=[EVENTS, ("content-encoding", coding)])


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize(
    ("plain", "answering"), [(completion("Bonjour"), whole), (b"".join(events("Bon", "jour")), in_pieces)]
)
@both_routes
async def test_row_11_encoded_bodies_pass_raw(
    proxy: Proxy,
    upstream: Upstream,
    user: str,
    path: str,
    plain: bytes,
    answering: Callable[[bytes, str], Script],
    coding: str,
) -> None:
    """Body decoded but ``content-encoding`` kept: both pass as they are, and memory reads a decoded copy."""
    body = CODINGS[coding](plain)
    upstream.script(answering(body, coding))
    headers = {"X-User-Id": user, "Accept-Encoding": coding}
    answer = await proxy.request("POST", path, headers=headers, body=ask("Say hello in French, please."))
    assert (answer.body, answer.every("content-encoding")) == (body, [coding])
    assert upstream.last.every("accept-encoding") == [coding.encode()]
    learnt = [] if path == PASSED else ["Say hello in French, please.", "Bonjour"]
    assert await proxy.texts(user) == learnt
