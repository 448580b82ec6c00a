"""One connection to the upstream, byte by byte: whatever the pieces, the response is the same; whatever the bytes, it
is a response or a failure, and never an exception in the event loop.
"""

import asyncio
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.errors import UpstreamError
from proxy.upstream.connection import MAX_HEAD_BYTES, Connection
from proxy.upstream.request import Request
from proxy.upstream.response import HIGH_WATER, Response

Outcome = tuple[int, list[tuple[bytes, bytes]], bytes, str, bool]

# What an upstream sends, whether it then closes the connection, and what that makes.
JSON = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nX-A: 1\r\nx-a: 2\r\nContent-Length: 7\r\n\r\n{"a":1}'
BEGUN = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\ndata:\r\n3\r\n \xff"
CHUNKS = BEGUN + b"\n\r\n0\r\nX-User-Id: eve\r\n\r\n"
INTERIM = b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n"
SLOPPY = b"HTTP/1.1 200\nx-a:  1 \t\ntransfer-encoding: chunked \n\n5  \r\ndata:\r\n0\r\n\r\n"
UNTIL_CLOSED = b"HTTP/1.1 200 Fine\r\n\r\nall that there is"
RECORDED = {
    "length": (JSON, False, (200, b'{"a":1}', "", True)),
    "chunks with a trailer": (CHUNKS, False, (200, b"data: \xff\n", "", True)),
    "interim answers": (INTERIM + CHUNKS, False, (200, b"data: \xff\n", "", True)),
    "sloppy ends of lines": (SLOPPY, False, (200, b"data:", "", True)),
    "an offer of HTTP/2": (
        JSON.replace(b"X-A: 1", b"Upgrade: h2c\r\nConnection: Upgrade"),
        False,
        (200, b'{"a":1}', "", True),
    ),
    "no content": (b"HTTP/1.1 204 No Content\r\n\r\n", False, (204, b"", "", True)),
    "not modified": (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", False, (304, b"", "", True)),
    "its last": (JSON.replace(b"X-A: 1", b"Connection: close"), False, (200, b'{"a":1}', "", False)),
    "HTTP/1.0": (JSON.replace(b"HTTP/1.1", b"HTTP/1.0"), True, (200, b'{"a":1}', "", False)),
    "until it is closed": (UNTIL_CLOSED, True, (200, b"all that there is", "", False)),
    "cut in its body": (JSON[:-1], True, (200, b'{"a":1', "reset", False)),
    "cut in a chunk": (BEGUN, True, (200, b"data: \xff", "reset", False)),
    "cut in its head": (JSON[:20], True, (0, b"", "reset", False)),
    "no HTTP": (b"SSH-2.0-OpenSSH_9.9\r\n", False, (0, b"", "protocol", False)),
}


class Transport(asyncio.Transport):
    """Takes what is written, and closes when told to."""

    def __init__(self, connection: Connection) -> None:
        super().__init__()
        self.written = b""
        self.closing = False
        self.is_paused = False
        self._connection = connection

    def write(self, data: Any) -> None:
        self.written += data

    def pause_reading(self) -> None:
        self.is_paused = True

    def resume_reading(self) -> None:
        self.is_paused = False

    def is_closing(self) -> bool:
        return self.closing

    def abort(self) -> None:
        if not self.closing:
            self.closing = True
            asyncio.get_running_loop().call_soon(self._connection.connection_lost, None)


class Line:
    """A connection, with what its owner heard of it."""

    def __init__(self, *, read_timeout_s: float = 60) -> None:
        self.idle = self.lost = 0
        self.connection = Connection(read_timeout_s=read_timeout_s, on_idle=self._note_idle, on_lost=self._note_lost)
        self.transport = Transport(self.connection)
        self.connection.connection_made(self.transport)

    def _note_idle(self, _: Connection) -> None:
        self.idle += 1

    def _note_lost(self, _: Connection) -> None:
        self.lost += 1

    def ask(self, method: str = "GET") -> Response:
        return self.connection.start(Request(method, b"/v1/x", []), b"", b" HTTP/1.1\r\nhost: h\r\n")

    def hear(self, pieces: list[bytes], *, closes: bool = False) -> None:
        for piece in pieces:
            if not self.transport.closing:
                self.connection.data_received(piece)
        if closes and not self.transport.closing:
            self.transport.closing = True
            self.connection.connection_lost(None)


async def read_all(response: Response) -> tuple[bytes, str]:
    """The body, and the kind of the failure that ended it."""
    body = b""
    try:
        await response.head()
        while piece := await response.read():
            body += piece
    except UpstreamError as exc:
        return body, exc.kind
    return body, ""


async def play(pieces: list[bytes], *, closes: bool) -> Outcome:
    line = Line()
    response = line.ask()
    line.hear(pieces, closes=closes)
    async with asyncio.timeout(5):
        body, failure = await read_all(response)
    response.abort()
    await asyncio.sleep(0)
    assert line.lost == (0 if line.idle and not closes else 1)
    line.transport.abort()
    await asyncio.sleep(0)
    return response.status, response.headers, body, failure, bool(line.idle)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return [data[a:b] for a, b in pairwise(edges)]


@pytest.mark.parametrize("name", RECORDED)
def test_what_comes_of_it(name: str) -> None:
    """Status, body, failure and whether the connection can be used again; the same for a cut at every byte."""
    data, closes, expected = RECORDED[name]

    async def play_all() -> list[Outcome]:
        cuts = [[data], *([data[:place], data[place:]] for place in range(1, len(data)))]
        cuts.append([data[i : i + 1] for i in range(len(data))])
        return [await play(pieces, closes=closes) for pieces in cuts]

    first, *others = asyncio.run(play_all())
    assert (first[0], *first[2:]) == expected
    assert all(name != b"x-user-id" for name, _ in first[1])
    assert [other for other in others if other != first] == []


@settings(deadline=None, derandomize=True, max_examples=200)
@given(st.sampled_from(sorted(RECORDED)), st.lists(st.integers(0, 10_000), max_size=8))
def test_pieces_do_not_matter(name: str, places: list[int]) -> None:
    """However the network cuts it."""
    data, closes, _ = RECORDED[name]

    async def compare() -> tuple[Outcome, Outcome]:
        return await play([data], closes=closes), await play(cut(data, places), closes=closes)

    whole, pieces = asyncio.run(compare())
    assert whole == pieces


@settings(deadline=None, derandomize=True, max_examples=300)
@given(
    st.sampled_from(sorted(RECORDED)),
    st.lists(st.tuples(st.integers(0, 10_000), st.binary(max_size=6)), max_size=5),
    st.lists(st.integers(0, 10_000), max_size=4),
)
def test_noise_is_an_answer_or_a_failure(name: str, noise: list[tuple[int, bytes]], places: list[int]) -> None:
    """Bytes put into an answer, or over it, make another answer or a failure, and nothing hangs or raises."""
    data = bytearray(RECORDED[name][0])
    for place, piece in noise:
        data[place % (len(data) + 1) : place % (len(data) + 1) + len(piece) // 2] = piece
    status, _, _, failure, _ = asyncio.run(play(cut(bytes(data), places), closes=True))
    assert failure or 200 <= status < 600


async def test_space_around_a_value_is_no_part_of_it() -> None:
    """As HTTP has it."""
    status, headers, *_ = await play([SLOPPY], closes=False)
    assert (status, headers) == (200, [(b"x-a", b"1"), (b"transfer-encoding", b"chunked")])


async def test_a_head_is_bounded() -> None:
    """Neither one long field nor many short ones nor interim answers without end are taken."""
    endless = [b"HTTP/1.1 200 OK\r\nx: ", *[b"y" * 1000] * 100]
    crowded = [b"HTTP/1.1 200 OK\r\n", *[b"x: y\r\n" * 100] * 300]
    hesitant = [b"HTTP/1.1 102 Processing\r\n\r\n"] * 10_000
    for pieces in (endless, crowded, hesitant):
        line = Line()
        response = line.ask()
        line.hear(pieces)
        assert (await read_all(response))[1] == "protocol"
        assert len(b"".join(k + v for k, v in response.headers)) <= 2 * MAX_HEAD_BYTES


async def test_what_waits_is_bounded() -> None:
    """With nobody reading, the upstream is made to wait; with somebody, it may go on."""
    line = Line()
    response = line.ask()
    line.hear([b"HTTP/1.1 200 OK\r\ncontent-length: 200000\r\n\r\n"])
    paused = []
    for size in (HIGH_WATER, 1):
        line.hear([bytes(size)])
        paused.append(line.transport.is_paused)
    assert len(await response.read()) == HIGH_WATER + 1
    paused.append(line.transport.is_paused)
    assert paused == [False, True, False]
    response.abort()


async def test_a_sink_gets_the_middle_in_order() -> None:
    """What comes while somebody waits goes to the sink, joined; what it refuses, and the end, to who waits."""
    line = Line()
    response = line.ask()
    line.hear([b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"])
    passed: list[bytes] = []

    def sink(piece: bytes) -> bool:
        if piece.startswith(b"!"):
            return False
        passed.append(piece)
        return True

    async def say(*pieces: bytes) -> None:
        line.hear([b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces])
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    reading = asyncio.ensure_future(response.read(sink))  # noqa: TID251  # the test is its owner
    await asyncio.sleep(0)
    await say(b"a", b"b")
    await say(b"c")
    assert (passed, reading.done()) == ([b"ab", b"c"], False)
    await say(b"!d")
    assert await reading == b"!d"
    await say(b"e")
    reading = asyncio.ensure_future(response.read(sink))  # noqa: TID251
    await asyncio.sleep(0)
    assert await reading == b"e"
    reading = asyncio.ensure_future(response.read(sink))  # noqa: TID251
    await asyncio.sleep(0)
    line.hear([b"1\r\nf\r\n0\r\n\r\n"])
    assert await reading == b"f"
    assert (response.is_complete, passed, line.idle) == (True, [b"ab", b"c"], 1)


async def test_a_connection_that_is_closed_serves_nobody() -> None:
    """One that was lost before it could be used says so at once, and not after the read timeout."""
    line = Line()
    line.connection.connection_lost(None)
    response = line.ask()
    with pytest.raises(UpstreamError) as caught:
        await response.head()
    assert caught.value.kind == "reset"
    assert line.transport.written == b""


async def test_what_nobody_has_asked_for_closes_it() -> None:
    """An idle connection on which something comes is of no use any more."""
    line = Line()
    line.hear([JSON])
    await asyncio.sleep(0)
    assert (line.idle, line.lost) == (0, 1)
