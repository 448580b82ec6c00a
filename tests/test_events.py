"""Event streams in any pieces."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.dialects.events import EventReader


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


@pytest.mark.parametrize(
    "long",
    [
        b"data: " + b"x" * 30 + b"\n\n",
        b"data: " + b"x" * 30 + b"\ndata: y\n\n",
        b"data: xxxxxxxx\n" * 4 + b"\n",
        b"data\n" * 40 + b"\n",
        b": " + b"x" * 30 + b"\r\n\r\n",
        b"x" * 300 + b"\n\n",
    ],
)
@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_too_long_events_are_dropped(long: bytes, size: int) -> None:
    """Events beyond the limit are left out and counted, those around them are not, and little is held meanwhile."""
    reader = EventReader(limit=24)
    stream = b"data: a\n\n" + long + b"data: b\n\n"
    events = [event for i in range(0, len(stream), size) for event in reader.feed(stream[i : i + size])]
    is_never_held = size > len(stream) and not long.startswith(b"data")  # a comment in one piece is just skipped
    assert events == [b"a", b"b"]
    assert reader.dropped == (0 if is_never_held else 1)


def test_an_endless_line_is_not_held() -> None:
    """A line without an end takes no more memory than the limit, however long it gets."""
    reader = EventReader(limit=100)
    for _ in range(1000):
        assert reader.feed(b"data: " + b"x" * 50) == []
        assert len(reader._line) <= 100
    assert reader.dropped == 1
    assert reader.feed(b"\n\ndata: a\n\n") == [b"a"]
