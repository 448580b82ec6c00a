"""What a client may send and how long it may take: who goes too far is refused, and nobody else notices."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from proxy.serving import protocol
from proxy.tasks import Tasks
from tests.harness import Answer, Proxy, Upstream, Wire, respond
from tests.harness.payloads import ask
from tests.harness.proxy import CHAT
from tests.harness.relays import run_relay
from tests.harness.upstream import JSON, Gate, Visit, chunk, within

pytestmark = pytest.mark.asyncio(loop_scope="session")

HEAD_KB = 4
PATIENCE_S = 10.0
KEEP_ALIVE_S = 100
MOST = 8
GET = b"GET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST %b HTTP/1.1\r\nHost: localhost\r\n"
CHUNKED = POST % b"/v1/files" + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def strict(far_end: Upstream, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Proxy]:
    """A proxy with low limits."""
    server = {
        "max_header_kb": HEAD_KB,
        "client_timeout_s": PATIENCE_S,
        "keep_alive_s": KEEP_ALIVE_S,
        "max_connections": MOST,
    }
    async with run_relay(tmp_path_factory.mktemp("strict"), f"{far_end.url}/v1", server=server) as proxy:
        yield proxy


@pytest_asyncio.fixture(loop_scope="session")
async def relay(strict: Proxy, upstream: Upstream) -> Proxy:
    """The proxy with nobody connected."""
    await settle(strict, lambda stages: not stages)
    return strict


async def settle(proxy: Proxy, until: Callable[[list[str]], bool]) -> None:
    """Returns when the stages of all connections are as wanted; every turn of the loop, which is shared, may do it."""

    async def turn() -> None:
        while not until([connection.stage for connection in proxy.server.connections]):  # noqa: ASYNC110
            await asyncio.sleep(0)

    await within(turn())


async def reach(proxy: Proxy, stage: str) -> None:
    """Returns when somebody has come to this *stage*."""
    await settle(proxy, lambda stages: stage in stages)


async def linger() -> None:
    """Lets everybody get on who can without waiting for anything."""
    for _ in range(50):
        await asyncio.sleep(0)


def let_pass(proxy: Proxy, seconds: float) -> None:
    """As if so much time had passed for all who are connected."""
    proxy.server.sweep(asyncio.get_running_loop().time() + seconds)


def refused(proxy: Proxy, reason: str) -> float:
    return proxy.metric("clients_refused_total", reason=reason)


async def expect_refusal(wire: Wire, status: int, code: str) -> Answer:
    """A refusal in OpenAI's shape, behind which the connection ends."""
    answer = await wire.answer()
    assert (answer.status, answer.code) == (status, f"memory_proxy_{code}")
    assert answer.header("connection") == "close"
    assert await wire.closed() == b""
    return answer


# Sizes.

LARGE: dict[str, bytes] = {
    "a large header": b"GET /v1/models HTTP/1.1\r\nHost: x\r\nA: %b\r\n\r\n" % (b"a" * 5000),
    "many headers": b"GET /v1/models HTTP/1.1\r\nHost: x\r\n%b\r\n" % (b"A: b\r\n" * 201),
    "an endless URL": b"GET /v1/%b" % (b"a" * 5000),
    "an endless name": b"GET /v1/models HTTP/1.1\r\nHost: x\r\n%b" % (b"a" * 5000),
    "an endless value": b"GET /v1/models HTTP/1.1\r\nHost: x\r\nA: %b" % (b"a" * 5000),
    "endless headers": b"GET /v1/models HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 800,
}


@pytest.mark.parametrize("case", LARGE)
async def test_large_heads_are_refused(relay: Proxy, upstream: Upstream, case: str) -> None:
    """431, whether the head is there in full or would never end, and nothing goes upstream."""
    before = refused(relay, "head_too_large")
    async with await relay.connect() as wire:
        await wire.send(LARGE[case])
        await expect_refusal(wire, 431, "head_too_large")
    assert refused(relay, "head_too_large") == before + 1
    assert upstream.visits == []


async def test_a_large_head_is_refused_however_small_its_pieces(relay: Proxy) -> None:
    """Bytes are counted as they arrive."""
    async with await relay.connect() as wire:
        await wire.send(GET[:-2] + b"A: ")
        for _ in range(5):
            await reach(relay, "head")
            await wire.send(b"a" * 1000)
        await expect_refusal(wire, 431, "head_too_large")


async def test_a_refusal_is_read_by_who_still_sends(relay: Proxy) -> None:
    """The client is heard out for a moment, so that the connection is not reset under its answer."""
    async with await relay.connect() as wire:
        await wire.send(b"GET /v1/%b" % (b"a" * 200_000))
        await wire.send(b"a" * 200_000)
        await expect_refusal(wire, 431, "head_too_large")
    await settle(relay, lambda stages: not stages)


async def test_a_head_of_just_the_size_passes(relay: Proxy, upstream: Upstream) -> None:
    """Up to the limit, with any body behind it in the same piece."""
    line = b"POST /v1/files HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\nA: "
    head = line + b"a" * (HEAD_KB * 1024 - len(line) - 4) + b"\r\n\r\n"
    async with await relay.connect() as wire:
        for _ in range(2):
            await wire.send(head + b"b" * 100_000)
            assert (await wire.answer()).status == 200
    assert [len(visit.body) for visit in upstream.visits] == [100_000] * 2


@pytest.mark.parametrize(
    "framing",
    [
        pytest.param(b"2;%b" % (b"a" * 200_000), id="an endless chunk extension"),
        pytest.param(b"0\r\n%b" % (b"A: b\r\n" * 40_000), id="an endless trailer section"),
        pytest.param(b"1;%b\r\na\r\n" % (b"a" * 400) * 1000, id="more extension than body"),
    ],
)
async def test_endless_framing_is_refused(relay: Proxy, framing: bytes) -> None:
    """What is no body counts as head, once it is more than a body is worth."""
    async with await relay.connect() as wire:
        await wire.send(CHUNKED)
        await reach(relay, "body")
        await wire.send(framing)
        await expect_refusal(wire, 431, "head_too_large")


async def test_small_chunks_are_a_body_like_any(relay: Proxy, upstream: Upstream) -> None:
    """A body in chunks of one byte passes, with a short extension, and a trailer at its end."""
    async with await relay.connect() as wire:
        await wire.send(CHUNKED)
        await reach(relay, "body")
        await wire.send(b"1;a=b\r\na\r\n" * 20_000 + b"0\r\nA: b\r\n\r\n")
        assert (await wire.answer()).status == 200
    assert upstream.last.body == b"a" * 20_000


# Time.


async def test_a_silent_connection_is_closed_without_a_word(relay: Proxy) -> None:
    """Who connects and says nothing has asked nothing."""
    async with await relay.connect() as wire:
        await reach(relay, "idle")
        let_pass(relay, PATIENCE_S - 1)
        await reach(relay, "idle")
        let_pass(relay, PATIENCE_S + 1)
        assert await wire.closed() == b""


@pytest.mark.parametrize("sent", [b"G", GET[:-2]], ids=["a byte", "all but the end"])
async def test_a_slow_head_is_given_up(relay: Proxy, sent: bytes) -> None:
    """408, counted from the connection on."""
    before = refused(relay, "slow_head")
    async with await relay.connect() as wire:
        await wire.send(sent)
        await reach(relay, "head")
        let_pass(relay, PATIENCE_S - 1)
        await reach(relay, "head")
        let_pass(relay, PATIENCE_S + 1)
        await expect_refusal(wire, 408, "request_timeout")
    assert refused(relay, "slow_head") == before + 1


async def test_bytes_now_and_then_do_not_make_a_head_last(relay: Proxy) -> None:
    """A further request has to be there in time from its first byte on, not from its last."""
    async with await relay.connect() as wire:
        await wire.send(GET)
        assert (await wire.answer()).status == 200
        await wire.send(GET[:5])
        await reach(relay, "head")
        (due,) = (connection.due for connection in relay.server.connections)
        await wire.send(GET[5:10])
        await wire.send(GET[10:20])
        await linger()
        assert [connection.due for connection in relay.server.connections] == [due]
        let_pass(relay, PATIENCE_S + 1)
        await expect_refusal(wire, 408, "request_timeout")


async def test_a_connection_is_kept_for_so_long(relay: Proxy) -> None:
    """An idle one is closed after server.keep_alive_s, without a word."""
    async with await relay.connect() as wire:
        await wire.send(GET)
        assert (await wire.answer()).status == 200
        await reach(relay, "idle")
        let_pass(relay, KEEP_ALIVE_S - 1)
        await wire.send(GET)
        assert (await wire.answer()).status == 200
        let_pass(relay, KEEP_ALIVE_S + 1)
        assert await wire.closed() == b""


async def test_who_waits_for_an_answer_may_wait(relay: Proxy, upstream: Upstream) -> None:
    """However long the upstream takes; also if half of the next request has come by then."""
    gate = Gate(headers=(JSON,))
    upstream.script(gate)
    async with await relay.connect() as wire:
        await wire.send(GET + GET[:10])
        await gate.asked()
        for hours in range(1, 5):
            let_pass(relay, hours * 3600)
        gate.start()
        gate.release(b"{}")
        gate.end()
        assert (await wire.answer()).status == 200
        await wire.send(GET[10:])
        assert (await wire.answer()).status == 200


@pytest.mark.parametrize("path", [CHAT.encode(), b"/v1/files", b"/memory/users/ada/memories"])
async def test_a_slow_body_is_given_up(
    relay: Proxy, upstream: Upstream, caplog: pytest.LogCaptureFixture, path: bytes
) -> None:
    """408 where nothing has been answered yet, wherever the request was going, and no error of ours."""
    gate = Gate()
    upstream.script(gate)
    before = refused(relay, "slow_body")
    with capture_logs() as logs:
        async with await relay.connect() as wire:
            await wire.send(POST % path + b"Content-Length: 100\r\n\r\n" + b"a" * 50)
            await reach(relay, "body")
            await linger()
            let_pass(relay, PATIENCE_S - 1)
            await wire.send(b"a")
            await reach(relay, "body")
            let_pass(relay, PATIENCE_S + 1)
            await expect_refusal(wire, 408, "request_timeout")
            await linger()
    assert refused(relay, "slow_body") == before + 1
    assert relay.app.dataplane.active == 0
    assert [line for line in logs if line["log_level"] == "error"] == []
    assert caplog.records == []


async def test_an_upload_that_stops_is_given_up_upstream(relay: Proxy, upstream: Upstream) -> None:
    """The upstream sees that the rest of the body will not come."""
    ended = asyncio.Event()

    async def take(visit: Visit) -> None:
        try:
            await visit.read()
        finally:
            ended.set()

    upstream.script(take)
    async with await relay.connect() as wire:
        await wire.send(POST % b"/v1/files" + b"Content-Length: 200000\r\n\r\n" + b"a" * 100_000)
        await within(upstream.visited())
        await reach(relay, "body")
        let_pass(relay, PATIENCE_S + 1)
        await expect_refusal(wire, 408, "request_timeout")
        await within(ended.wait())
    assert len(upstream.last.body) < 200_000


async def test_who_is_made_to_wait_is_not_slow(relay: Proxy, upstream: Upstream) -> None:
    """An upstream that does not take an upload: the client could not go on if it wanted to."""
    taking = asyncio.Event()
    size = 24 << 20

    async def take_later(visit: Visit) -> None:
        await taking.wait()
        for _ in range(size >> 20):
            await visit.exactly(1 << 20)
        visit.start(200, [JSON, ("content-length", "2")])
        visit.send(b"{}")

    upstream.script(take_later)
    async with await relay.connect() as wire:
        head = POST % b"/v1/files" + b"Content-Length: %d\r\n\r\n" % size
        sending = Tasks().spawn(wire.send(head + bytes(size)), name="upload", awaited=True)
        await settle(relay, lambda _: any(connection.flow.read_paused for connection in relay.server.connections))
        for hours in range(1, 5):
            let_pass(relay, hours * 3600)
        taking.set()
        await within(sending)
        assert (await wire.answer()).status == 200


async def test_who_waits_to_be_asked_for_a_body_is_not_slow(relay: Proxy, upstream: Upstream) -> None:
    """``Expect: 100-continue``, and nobody has asked yet."""
    head = POST % CHAT.encode() + b"Content-Length: 2\r\nExpect: 100-continue\r\n\r\n"
    async with await relay.connect() as wire:
        await wire.send(head)
        assert await within(wire.reader.readuntil(b"\r\n\r\n")) == b"HTTP/1.1 100 Continue\r\n\r\n"
        await wire.send(b"{}")
        assert (await wire.answer()).status == 200


# Readers.


async def flood(visit: Visit) -> None:
    """Answers without end, as fast as it is taken."""
    await visit.read()
    visit.start(200, [JSON, ("transfer-encoding", "chunked")])
    try:
        await visit.pour(chunk(bytes(1 << 16)), 1 << 20)
    finally:
        visit.hung_up.set()


async def test_who_does_not_read_is_cut_off(relay: Proxy, upstream: Upstream) -> None:
    """The connection ends, and with it the request upstream, after a while in which nothing was read."""
    before = refused(relay, "slow_reader")
    upstream.script(flood)
    async with await relay.connect() as wire:
        wire.pause()
        await wire.send(GET)
        await reach(relay, "reader")
        let_pass(relay, PATIENCE_S - 1)
        await reach(relay, "reader")
        for rounds in range(1, 9):  # what the kernel still takes by itself counts as read
            let_pass(relay, rounds * (PATIENCE_S + 1))
        await within(upstream.last.hung_up.wait())
    assert refused(relay, "slow_reader") == before + 1
    assert relay.app.dataplane.active == 0


async def test_who_reads_slowly_is_served(relay: Proxy, upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever has taken anything since has more time, down to the last byte that the kernel still has."""
    unread = iter([5000, 4000, 3999, 10, 10])
    monkeypatch.setattr(protocol, "count_unread", lambda _: next(unread))
    upstream.script(flood)
    async with await relay.connect() as wire:
        wire.pause()
        await wire.send(GET)
        await reach(relay, "reader")
        for rounds in range(1, 4):
            let_pass(relay, rounds * (PATIENCE_S + 1))
            await reach(relay, "reader")
        let_pass(relay, 4 * (PATIENCE_S + 1))
        await settle(relay, lambda stages: not stages)


# Numbers.


async def test_connections_beyond_the_limit_are_turned_away(relay: Proxy) -> None:
    """503 with Retry-After for who is one too many; the others are served, and when one leaves there is room."""
    wires = [await relay.connect() for _ in range(MOST)]
    try:
        await settle(relay, lambda stages: len(stages) == MOST)
        before = refused(relay, "too_many")
        async with await relay.connect() as wire:
            answer = await expect_refusal(wire, 503, "too_many_connections")
            assert answer.header("retry-after") == "1"
        assert refused(relay, "too_many") == before + 1
        assert relay.metric("client_connections") == MOST
        for wire in wires:
            await wire.send(GET)
            assert (await wire.answer()).status == 200
        wires.pop().leave()
        await settle(relay, lambda stages: len(stages) == MOST - 1)
        assert (await relay.request("GET", "/v1/models")).status == 200
    finally:
        for wire in wires:
            wire.leave()


async def test_who_was_refused_and_stays_is_cut_off(relay: Proxy) -> None:
    """Its connection is not kept for long."""
    async with await relay.connect() as wire:
        await wire.send(LARGE["many headers"])
        assert (await wire.answer()).status == 431
        await wire.send(b"a")
        let_pass(relay, 3)
        assert await wire.cut_off() == b""


async def test_a_few_pipelined_requests_are_answered_in_order(relay: Proxy, upstream: Upstream) -> None:
    """As HTTP has it, though nobody should."""
    upstream.script(*(respond(b"%d" % number) for number in range(10)))
    async with await relay.connect() as wire:
        await wire.send(GET * 10)
        assert [(await wire.answer()).body for _ in range(10)] == [b"%d" % number for number in range(10)]


async def test_many_pipelined_requests_are_not_kept(relay: Proxy, upstream: Upstream) -> None:
    """The connection ends instead of holding what may never be served."""
    async with await relay.connect() as wire:
        await wire.send(GET * 1000)
        assert b"HTTP/1.1 4" not in await wire.cut_off()
    assert len(upstream.visits) < 20


async def test_nonsense_behind_a_request_is_no_part_of_its_answer(relay: Proxy, upstream: Upstream) -> None:
    """An error about what follows never stands where the first answer is expected: the connection just ends."""
    gate = Gate()
    upstream.script(gate)
    async with await relay.connect() as wire:
        await wire.send(POST % CHAT.encode() + b"Content-Length: 2\r\n\r\n{}")
        await gate.asked()
        await wire.send(b"nonsense\r\n\r\n")
        assert await wire.closed() == b""


async def test_others_do_not_notice(relay: Proxy) -> None:
    """In front of all that dawdle, a chat is answered."""
    async with await relay.connect() as slow, await relay.connect() as silent:
        await slow.send(GET[:10])
        await reach(relay, "head")
        assert (await relay.chat(None, ask("Hi."))).status == 200
        silent.leave()
