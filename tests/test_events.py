"""Event streams in any pieces."""

import sys
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.dialects.events import CutEvent, EventReader


def read(*chunks: bytes) -> list[bytes]:
    reader = EventReader()
    return [event for chunk in chunks for event in reader.feed(chunk)] + reader.flush()


STREAMS = [
    (b"", []),
    (b"\n\n\n", []),
    (b"data: {}\n\n", [b"{}"]),
    (b"data:{}\n\n", [b"{}"]),
    (b"data:  two spaces\n\n", [b" two spaces"]),
    (b"data: a\n\ndata: b\n\n", [b"a", b"b"]),
    (b"data: a\ndata: b\n\n", [b"a\nb"]),
    (b"data: a\ndata\ndata:\ndata: b\n\n", [b"a\n\n\nb"]),
    (b"data\n\n", [b""]),
    (b"data: \n\n", [b""]),
    (b"data: a\r\n\r\ndata: b\r\n\r\n", [b"a", b"b"]),
    (b"data: a\r\rdata: b\r\r", [b"a", b"b"]),
    (b"data: a\r\n\ndata: b\n\r\n", [b"a", b"b"]),
    (b"data: a\r\ndata: b\r\n\r\n", [b"a\nb"]),
    (b": comment\n\ndata: a\n: between\ndata: b\n\n", [b"a\nb"]),
    (b"event: x\nid: 1\nretry: 5\ndata: a\n\n", [b"a"]),
    (b"event: ping\n\ndata: a\n\n", [b"a"]),
    (b" data: no\ndatax: no\nDATA: no\ndata: a\n\n", [b"a"]),
    (b"\xef\xbb\xbfdata: a\n\n", [b"a"]),
    (b"\xef\xbb\xbf\xef\xbb\xbfdata: no\n\n", []),
    (b"data: a\n\n\xef\xbb\xbfdata: no\n\n", [b"a"]),
    ("data: a\u2028b\u2029c\x85\x0b\x0c\x1cd\n\n".encode(), ["a\u2028b\u2029c\x85\x0b\x0c\x1cd".encode()]),
    ("data: 😀\n\n".encode(), ["😀".encode()]),
    (b"data: a\n\ndata: pending\n", [b"a", b"pending"]),
    (b"data: a\n\ndata: pending", [b"a", b"pending"]),
    (b"data: a\n\n: pending", [b"a"]),
]


@pytest.mark.parametrize(("stream", "events"), STREAMS)
def test_every_cut_gives_the_same_events(stream: bytes, events: list[bytes]) -> None:
    """A stream whole, byte by byte, and cut at any one place with an empty chunk there has the same events."""
    assert read(stream) == events
    assert read(*(stream[i : i + 1] for i in range(len(stream)))) == events
    for cut in range(len(stream)):
        assert read(stream[:cut], b"", stream[cut:]) == events


@settings(deadline=None, derandomize=True, max_examples=500)
@given(
    st.lists(st.sampled_from([b"\n", b"\r", b"data", b": ", b"data: ", b"x", b"\xef\xbb\xbf", b"\xff", b"data: y\n\n"]))
)
def test_pieces_do_not_matter(pieces: list[bytes]) -> None:
    """Any bytes give the same events in pieces as in one."""
    assert read(*pieces) == read(b"".join(pieces))


@pytest.mark.parametrize("chunk", [b"data: a\n\n", b"data: a\n", b"data: a\r\n\r\n"])
def test_an_event_is_given_at_its_empty_line(chunk: bytes) -> None:
    """An event is there with the chunk that ends it, not earlier or later."""
    assert EventReader().feed(chunk) == ([b"a"] if chunk != b"data: a\n" else [])


LIMIT = 24
LONG = [
    (b"data: " + b"x" * 30 + b"\n\n", b"x" * LIMIT),
    (b"data:" + b"x" * 25 + b"\r\n\r\n", b"x" * LIMIT),
    (b"data: " + b"x" * 30 + b"\ndata: y\n\n", b"x" * LIMIT),
    (b"data: xxxxxxxx\r" * 4 + b"\r", b"xxxxxxxx\nxxxxxxxx\nxxxxxx"),
    (b"data\n" * 40 + b"\n", b"\n" * LIMIT),
    (b"data: " + b"x" * 24 + b"\ndata\n\n", b"x" * LIMIT),
]


@pytest.mark.parametrize(("stream", "beginning"), LONG)
def test_of_too_long_events_there_is_the_beginning(stream: bytes, beginning: bytes) -> None:
    """An event beyond the limit is given as far as that, marked as cut; those around it are whole; at every cut."""
    stream = b"data: a\n\n" + stream + b"data: b\n\n"
    for cuts in [range(1, len(stream)), *([cut] for cut in range(len(stream)))]:
        reader = EventReader(limit=LIMIT)
        pieces = [stream[a:b] for a, b in pairwise([0, *cuts, len(stream)])]
        events = [event for piece in pieces for event in reader.feed(piece)]
        assert events == [b"a", beginning, b"b"]
        assert [isinstance(event, CutEvent) for event in events] == [False, True, False]


@pytest.mark.parametrize("line", [b"data: " + b"x" * 24, b"data:" + b"x" * 24, b": " + b"x" * 300, b"x" * 300])
def test_what_is_not_too_long(line: bytes) -> None:
    """An event of just the limit is whole, and lines that do not count may have any length."""
    stream = line + b"\ndata\n\ndata: b\n\n" if line[:1] != b"d" else line + b"\n\ndata: b\n\n"
    for size in (1, 7, 1000):
        reader = EventReader(limit=LIMIT)
        events = [event for i in range(0, len(stream), size) for event in reader.feed(stream[i : i + size])]
        assert events == [b"x" * 24 if line[:1] == b"d" else b"", b"b"]
        assert not any(isinstance(event, CutEvent) for event in events)


@settings(deadline=None, derandomize=True, max_examples=300)
@given(
    st.lists(st.sampled_from([b"\n", b"\r", b"data", b":", b" ", b"data: ", b"x" * 9, b"\xef\xbb\xbf"]), max_size=60)
)
def test_little_is_held(pieces: list[bytes]) -> None:
    """Any bytes in any pieces: what is held stays within the limit, and pieces do not matter to what is cut."""
    reader, whole = EventReader(limit=LIMIT), EventReader(limit=LIMIT)
    events = []
    for piece in pieces:
        events += reader.feed(piece)
        assert len(reader._line) + len(reader._data or b"") <= LIMIT + 8  # a line end, and what tells lines apart
    expected = [*whole.feed(b"".join(pieces)), *whole.flush()]
    assert [(type(event), event) for event in [*events, *reader.flush()]] == [(type(e), e) for e in expected]


def test_an_endless_line_is_not_held() -> None:
    """A line without an end takes no more memory than the limit, however long it gets."""
    reader = EventReader(limit=100)
    assert not any(reader.feed(b"data: " + b"x" * 50) for _ in range(1000))
    assert sys.getsizeof(reader._line) + sys.getsizeof(reader._data) < 1000
    cut, after = reader.feed(b"\n\ndata: a\n\n")
    assert (type(cut), len(cut), after) == (CutEvent, 100, b"a")
