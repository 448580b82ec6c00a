"""The benchmark's load client, and its arithmetic on what arrived when."""

import asyncio
from array import array
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, suppress

import pytest

from proxy.bench.chats import picture_body, stream_headers
from proxy.bench.corpus import chat_body
from proxy.bench.load import Answer, Endpoint, LoadError, repeat
from proxy.bench.streams import Outcome, count_misplaced, find_gaps_ms
from proxy.mock.payloads import name_model, prebuilt_events
from proxy.mock.upstream import UpstreamThread

HELLO = chat_body("Hello", stream=True)


@pytest.fixture(scope="module")
def mock() -> Iterator[UpstreamThread]:
    with UpstreamThread() as upstream:
        yield upstream


@asynccontextmanager
async def serve(*answers: bytes) -> AsyncIterator[tuple[Endpoint, list[bytes]]]:
    """A server that gives each connection all of *answers*, one a request, then hangs up; and the requests it saw."""
    seen: list[bytes] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with closing(writer), suppress(asyncio.IncompleteReadError):  # the client may leave first
            for answer in answers:
                seen.append(await reader.readuntil(b"\r\n\r\n"))
                writer.write(answer)

    async with await asyncio.start_server(talk, "127.0.0.1", 0) as server:
        endpoint = Endpoint(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        yield endpoint, seen
        endpoint.close()


def make_answer(arrivals: list[tuple[float, int]], body: bytes = b"") -> Answer:
    times = array("d", [time for time, _ in arrivals])
    sizes = array("Q", [size for _, size in arrivals])
    return Answer(200, {"x-memory-recall-ms": "1.5"}, body, times, sizes, 1.0)


async def test_a_stream_is_read_to_its_end(mock: UpstreamThread) -> None:
    """Every byte is there, and for each the moment at which it came."""
    endpoint = Endpoint(mock.url)
    answer = await endpoint.chat(HELLO, stream_headers(50, gap_ms=1))
    endpoint.close()
    assert answer.body == b"".join(prebuilt_events(50, usage=False))
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert answer.sizes[-1] == len(answer.body)
    assert list(answer.times) == sorted(answer.times)
    assert 0 < answer.first_s <= answer.seconds
    assert len(find_gaps_ms(answer, prebuilt_events(50, usage=False))) == 52


async def test_an_unexpected_status_is_a_failure(mock: UpstreamThread) -> None:
    """And an expected one is none, even if it is an error."""
    endpoint = Endpoint(mock.url)
    with pytest.raises(LoadError, match="answered 429"):
        await endpoint.chat(HELLO, {"X-Mock-Status": "429"})
    assert (await endpoint.chat(HELLO, {"X-Mock-Status": "429"}, expected=429)).status == 429
    endpoint.close()


async def test_a_client_may_leave_early(mock: UpstreamThread) -> None:
    """Enough is enough: what is there is returned, and the connection is not used again."""
    endpoint = Endpoint(mock.url)
    answer = await endpoint.chat(HELLO, stream_headers(1000, gap_ms=1), enough=1)
    assert 0 < len(answer.body) < len(b"".join(prebuilt_events(1000, usage=False)))
    assert (await endpoint.chat(HELLO, stream_headers(3))).body.endswith(b"data: [DONE]\n\n")
    endpoint.close()


async def test_connections_are_kept() -> None:
    """The second request goes over the first one's connection; when that has ended, the third one gets a new one."""
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    async with serve(answer, answer.replace(b"OK\r\n", b"OK\r\nConnection: close\r\n")) as (endpoint, seen):
        bodies = [(await endpoint.call("GET", f"/{number}", {"X-Name": "value"})).body for number in range(3)]
    assert bodies == [b"ok"] * 3
    assert seen[2].startswith(b"GET /2 HTTP/1.1\r\nHost: 127.0.0.1:")
    assert b"\r\nX-Name: value\r\nContent-Length: 0\r\n" in seen[2]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"", "closed within the answer"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwo", "closed within the answer"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nwo\r\n", "closed within the answer"),
        (b"nonsense\r\n\r\n", "HttpParserError"),
    ],
)
async def test_a_broken_answer_is_a_failure(answer: bytes, reason: str) -> None:
    """A body that is cut short is never taken for a whole one."""
    async with serve(answer) as (endpoint, _):
        with pytest.raises(LoadError, match=reason):
            await endpoint.call("GET", "/", {})


async def test_a_server_that_is_not_there_is_a_failure() -> None:
    """The message says which request it was."""
    async with serve() as (endpoint, _):
        pass
    with pytest.raises(LoadError, match=r"GET http://127\.0\.0\.1:[0-9]+/there: "):
        await endpoint.call("GET", "/there", {})


async def test_a_failed_chat_stops_the_measurement() -> None:
    """The first failure comes out as itself, so that the command line can explain it."""

    async def fail(number: int) -> Answer:
        raise LoadError(f"chat {number}")

    with pytest.raises(LoadError, match="chat 0"):
        await repeat(fail, times=5, concurrency=2)


async def test_chats_are_repeated_as_often_as_asked() -> None:
    """Each number is asked once, however many ask at a time."""
    asked: list[int] = []

    async def ask(number: int) -> Answer:
        asked.append(number)
        return make_answer([(0.1, 1)])

    answers = await repeat(ask, times=10, concurrency=3, first=5)
    assert sorted(asked) == list(range(5, 15))
    assert (len(answers), answers[0].recall_ms) == (10, 1.5)


@pytest.mark.parametrize(
    ("arrivals", "gaps"),
    [
        ([(0.02, 2), (0.04, 4), (0.07, 6)], [20, 30]),
        ([(0.02, 1), (0.03, 2), (0.05, 6)], [20, 0]),  # half an event first; then two events with one read
        ([(0.02, 6)], [0, 0]),
    ],
)
def test_gaps_are_between_whole_events(arrivals: list[tuple[float, int]], gaps: list[float]) -> None:
    """However the bytes were cut on their way, an event is there when its last byte is."""
    found = find_gaps_ms(make_answer(arrivals, b"aabbcc"), [b"aa", b"bb", b"cc"])
    assert found == pytest.approx(gaps)


def test_a_short_answer_has_no_gaps() -> None:
    """Its bytes are counted as lost instead."""
    assert find_gaps_ms(make_answer([(0.1, 3)], b"aab"), [b"aa", b"bb"]) == []


def test_jitter_is_measured_both_ways() -> None:
    """A chunk that comes early is as uneven as one that comes late."""
    assert Outcome([15.0, 25.0]).jitter_ms(20) == 5
    assert Outcome([]).jitter_ms(20) is None


@pytest.mark.parametrize(
    ("body", "misplaced"),
    [(b"0123", 0), (b"012", 1), (b"01234", 1), (b"0213", 2), (b"123", 4), (b"", 4)],
)
def test_no_byte_is_lost_unnoticed(body: bytes, misplaced: int) -> None:
    """Missing, additional and exchanged bytes count."""
    assert count_misplaced(body, b"0123") == misplaced


def test_no_two_chunks_are_alike() -> None:
    """Neither within a stream nor between two streams, so that no chunk can stand in for another."""
    streams = [list(name_model(prebuilt_events(100, usage=False), model)) for model in ("mock", "mock-001", "mock-002")]
    content = [event for stream in streams for event in stream if b"word" in event]
    assert len(content) == len(set(content)) == 300
    assert b'"model":"mock-002"' in streams[2][7]


def test_pictures_are_as_large_as_asked() -> None:
    """To a hundredth."""
    assert len(picture_body("What is this?", 1_000_000)) == pytest.approx(1_000_000, rel=0.01)
