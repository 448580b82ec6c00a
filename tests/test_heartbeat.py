"""``server.heartbeat_s``: comments between the events of silent streams, and nowhere else.

That something does not happen is seen beside something that does: one silent stream is the clock for the others.
"""

import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Final

import pytest
import pytest_asyncio

from tests.harness import Gate, Proxy, Upstream, Wire, run_proxy
from tests.harness.payloads import event, events
from tests.harness.routes import PASSED, STORY, both_routes
from tests.harness.upstream import EVENTS, JSON, within

pytestmark = pytest.mark.asyncio(loop_scope="session")

EVERY_S: Final = 0.02
COMMENT: Final = b": keep-alive\n\n"
# Enough for a heartbeat on any stream of the same age to have come.
BEATS: Final = 4


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def fast_heart(far_end: Upstream, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Proxy]:
    """The one proxy of this module. Tests ask for ``beating``."""
    async with run_proxy(tmp_path_factory.mktemp("heart"), far_end.url, server={"heartbeat_s": EVERY_S}) as proxy:
        yield proxy


@pytest.fixture
def beating(fast_heart: Proxy, upstream: Upstream) -> Proxy:
    """A proxy with a fast heart, in front of ``upstream``."""
    return fast_heart


async def open_stream(proxy: Proxy, upstream: Upstream, gate: Gate, *, path: str = PASSED, user: str = "") -> Wire:
    """A request that *gate* answers, sent in full and not answered yet."""
    upstream.script(gate)
    wire = await proxy.open("POST", path, headers={"X-User-Id": user} if user else {}, body=STORY)
    await gate.asked()
    return wire


async def wait_for_beats(proxy: Proxy, upstream: Upstream) -> None:
    """Returns when a stream that begins now, and is silent from its head on, has had some heartbeats."""
    gate = Gate()
    async with await open_stream(proxy, upstream, gate) as wire:
        gate.start()
        await wire.head()
        for _ in range(BEATS):
            assert await wire.piece() == COMMENT
        gate.end()
        assert await wire.rest() in (b"", COMMENT)


async def receive(wire: Wire, size: int) -> bytes:
    """At least so many bytes of a body, comments not counted."""
    received = b""
    while len(received.replace(COMMENT, b"")) < size:
        received += await wire.piece()
    return received


@both_routes
async def test_silent_streams_get_comments(beating: Proxy, upstream: Upstream, user: str, path: str) -> None:
    """Between two events, and before the first, comments come; without them the bytes are upstream's, and learnt."""
    pieces = events("At", " last")
    gate = Gate()
    async with await open_stream(beating, upstream, gate, path=path, user=user) as wire:
        gate.start()
        await wire.head()
        received = b""
        for piece in pieces:
            assert await wire.piece() == COMMENT
            gate.release(piece)
            received += await receive(wire, len(piece))
        gate.end()
        received += await wire.rest()
    assert received.replace(COMMENT, b"") == b"".join(pieces)
    learnt = [] if path == PASSED else ["Tell me a story, please.", "At last"]
    assert await beating.texts(user) == learnt


STREAMS = [
    b'data: {"a": 1}\n\ndata: b\n\n',
    b"event: x\r\ndata: 1\r\n\r\n: own\r\n\r\ndata: 2\r\n\r\n",
    b"data: 1\r\rdata: 2\rdata: 3\r\r",
    b"data: 1\n\r\ndata: \xf0\x9f\x90\x9d\r\n\n\ndata\n\n",
    b"id: 1\n: half\n\n\n\ndata: : keep\n\n",
]
# A line end that no other byte can belong to, after another one.
BOUNDARY: Final = re.compile(rb"(^|\n|\r)(\r\n|\n)$|^$")


@pytest.mark.parametrize("whole", STREAMS)
async def test_comments_never_cut_an_event(beating: Proxy, upstream: Upstream, whole: bytes) -> None:
    """Silence after every byte of a stream: where no event has just ended there is no comment."""
    cuts = range(len(whole) + 1)
    gates = [Gate() for _ in cuts]
    async with AsyncExitStack() as stack:
        wires = [await stack.enter_async_context(await open_stream(beating, upstream, gate)) for gate in gates]
        for cut, gate in zip(cuts, gates, strict=True):
            gate.start()
            if cut:
                gate.release(whole[:cut])
        for wire in wires:
            await wire.head()
        heads = [await receive(wire, cut) for cut, wire in zip(cuts, wires, strict=True)]
        await wait_for_beats(beating, upstream)
        for cut, gate in zip(cuts, gates, strict=True):
            if cut < len(whole):
                gate.release(whole[cut:])
            gate.end()
        bodies = [head + await wire.rest() for head, wire in zip(heads, wires, strict=True)]
    for cut, body in zip(cuts, bodies, strict=True):
        assert body.replace(COMMENT, b"") == whole
        places = {match.start() - len(COMMENT) * n for n, match in enumerate(re.finditer(COMMENT, body))}
        assert all(BOUNDARY.search(whole[:place]) for place in places), (cut, places)
        assert (cut in places) or not whole[:cut].endswith((b"\n\n", b"\n\r\n")), "no heartbeat where one belongs"


async def silent(proxy: Proxy, upstream: Upstream, gate: Gate, piece: bytes) -> AsyncIterator[Wire]:
    """A stream that said *piece* and then nothing."""
    async with await open_stream(proxy, upstream, gate) as wire:
        gate.start()
        await wire.head()
        gate.release(piece)
        assert await wire.piece() == piece
        yield wire


@pytest.mark.parametrize(
    "headers",
    [
        (JSON,),
        (("content-type", "text/plain"),),
        (),
        (EVENTS, ("content-encoding", "gzip")),
        (EVENTS, ("content-encoding", "br")),
    ],
)
async def test_other_answers_get_none(beating: Proxy, upstream: Upstream, headers: tuple[tuple[str, str], ...]) -> None:
    """Only event streams have comments, and only those that can be read: into compressed ones nothing can be put."""
    gate = Gate(headers=headers)
    async for wire in silent(beating, upstream, gate, b"one\n\n"):
        await wait_for_beats(beating, upstream)
        gate.release(b"two\n\n")
        assert await wire.piece() == b"two\n\n"
        gate.end()
        assert await wire.piece() == b""


async def test_there_is_none_before_the_head(beating: Proxy, upstream: Upstream) -> None:
    """An upstream that thinks before its head may still answer with an error: nothing is said before."""
    gate = Gate(headers=(JSON,))
    async with await open_stream(beating, upstream, gate) as wire:
        await wait_for_beats(beating, upstream)
        gate.start()
        gate.release(b"{}")
        gate.end()
        answer = await wire.answer()
        assert (answer.header("content-type"), answer.body) == ("application/json", b"{}")


async def test_there_is_none_by_default(proxy: Proxy, beating: Proxy, upstream: Upstream) -> None:
    """Without the setting a silent stream stays silent."""
    gate = Gate()
    async for wire in silent(proxy, upstream, gate, event({"content": "Once"})):
        await wait_for_beats(beating, upstream)
        gate.release(event({"content": "more"}))
        assert await wire.piece() == event({"content": "more"})
        gate.end()
        assert await wire.piece() == b""


async def test_a_dead_upstream_is_no_clean_end(beating: Proxy, upstream: Upstream, user: str) -> None:
    """A stream that breaks off between heartbeats is cut for the client, too."""
    gate = Gate()
    async for wire in silent(beating, upstream, gate, event({"content": "Once"})):
        assert await wire.piece() == COMMENT
        gate.cut()
        await wire.cut_off()


async def test_who_leaves_a_silent_stream_is_noticed(beating: Proxy, upstream: Upstream) -> None:
    """A client that hangs up between heartbeats frees its upstream connection."""
    gate = Gate()
    async for wire in silent(beating, upstream, gate, event({"content": "Once"})):
        assert await wire.piece() == COMMENT
        wire.leave()
        await gate.hung_up()
    await within(beating.app.dataplane.idle.wait())


async def test_a_busy_stream_gets_none(beating: Proxy, upstream: Upstream) -> None:
    """Where events come one upon the other, there is no silence to fill."""
    pieces = events(*map(str, range(200)))
    gate = Gate()
    gate.start()
    gate.release(*pieces)
    gate.end()
    async with await open_stream(beating, upstream, gate) as wire:
        assert (await wire.answer()).body == b"".join(pieces)
