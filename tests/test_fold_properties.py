"""One recorded stream in every spelling and coding, cut in every way, and any bytes at all."""

import gzip
import json
import sys
import zlib
from collections.abc import Callable, Iterable
from itertools import pairwise

import brotli
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.dialects.answer import Reply
from proxy.dialects.folding import HELD_LIMIT, Fold

STREAM, JSON = b"text/event-stream", b"application/json"


def event(payload: object) -> bytes:
    return b"data: " + json.dumps(payload, ensure_ascii=False).encode() + b"\n\n"


def delta(content: str, **choice: object) -> bytes:
    return event({"choices": [{"delta": {"content": content}, **choice}]})


END = b"data: [DONE]"
# Choices interleaved, an index that is missing or null, comments, other fields, garbage, data in several lines, the
# terminating word where it terminates nothing, and an emoji in two halves.
RECORDED = (
    event({"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}]})
    + b": ping\n\n"
    + delta("Grüße", index=0)
    + delta("other", index=1)
    + b"id: 7\nevent: x\nretry: 5\n"
    + delta(" 日本", index=None)
    + b"data: garbage\n\ndata\n\ndata: {\n\n: [DONE]\nevent: [DONE]\n\n"
    + delta(" 😀 [DONE] data: [DONE]")
    + delta(" a\u2028b\u2029\x85\x0b")
    + b'data: {"choices":\ndata: [{"delta":\ndata:{"content":"\\ud83d"}}]}\n: amid\n\n'
    + b'data:{"choices": [{"delta": {"content": "\\ude00\\r\\n"}}]}\n\n'
    + event({"choices": [{"index": 1, "delta": {}, "finish_reason": "length"}]})
    + event({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    + event({"choices": [], "usage": {"total_tokens": 12}})
    + END
    + b"\n\n: bye\n\n"
)
SPOKEN = Reply("Grüße 日本 😀 [DONE] data: [DONE] a\u2028b\u2029\x85\x0b😀\r\n", "stop", truncated=False)


SPELLINGS: dict[str, Callable[[bytes], bytes]] = {
    "lf": bytes,
    "crlf": lambda data: data.replace(b"\n", b"\r\n"),
    "cr": lambda data: data.replace(b"\n", b"\r"),
    "bom": b"\xef\xbb\xbf".__add__,
    "bom crlf": lambda data: b"\xef\xbb\xbf" + data.replace(b"\n", b"\r\n"),
    "alternating": lambda data: data.replace(b"\n\n", b"\r\n\n"),
}


def deflate_raw(data: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-15)
    return compressor.compress(data) + compressor.flush()


def in_members(compress: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
    return lambda data: b"".join(compress(data[i : i + 300]) for i in range(0, len(data), 300))


CODINGS: dict[str, tuple[bytes, Callable[[bytes], bytes]]] = {
    "identity": (b"identity", bytes),
    "gzip": (b"gzip", gzip.compress),
    "gzip members": (b"x-gzip", in_members(gzip.compress)),
    "deflate": (b"deflate", zlib.compress),
    "raw deflate": (b"deflate", deflate_raw),
    "br": (b"br", brotli.compress),
    "zstd": (b"zstd", zstandard.compress),
    "zstd frames": (b"zstd", in_members(zstandard.compress)),
    "gzip in br": (b"gzip, br", lambda data: brotli.compress(gzip.compress(data))),
}


def watch(chunks: Iterable[bytes], content_type: bytes = STREAM, encoding: bytes = b"") -> tuple[Reply | None, int]:
    """The reply, and how many bytes had been fed when it was complete; as the relay does it."""
    fold = Fold.for_response(content_type, encoding)
    fed = complete = 0
    for chunk in chunks:
        fed += len(chunk)
        if not fold.hold(chunk) and fold.feed(chunk) and not complete:
            complete = fed
    return fold.finish(), complete


def cut(data: bytes, *places: int) -> list[bytes]:
    return [data[a:b] for a, b in pairwise([0, *sorted(places), len(data)])]


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_every_cut_folds_to_the_same_reply(spelling: str) -> None:
    """Cut at any one place or byte by byte, a stream folds to one reply, complete with the line that terminates it."""
    stream = SPELLINGS[spelling](RECORDED)
    end = stream.rindex(END) + len(END) + 1
    assert watch(stream[i : i + 1] for i in range(len(stream))) == (SPOKEN, end)
    for place in range(len(stream) + 1):
        assert watch(cut(stream, place)) == (SPOKEN, place if place >= end else len(stream))


@pytest.mark.parametrize("coding", CODINGS)
def test_every_cut_of_a_coded_stream_folds_to_the_same_reply(coding: str) -> None:
    """What holds for a stream holds for each of its codings."""
    encoding, encode = CODINGS[coding]
    coded = encode(RECORDED)
    assert watch((coded[i : i + 1] for i in range(len(coded))), encoding=encoding)[0] == SPOKEN
    for place in range(len(coded) + 1):
        assert watch(cut(coded, place), encoding=encoding)[0] == SPOKEN


@settings(deadline=None, derandomize=True, max_examples=300)
@given(st.data(), st.sampled_from(sorted(SPELLINGS)), st.sampled_from(sorted(CODINGS)))
def test_any_cuts_fold_to_the_same_reply(data: st.DataObject, spelling: str, coding: str) -> None:
    """In every spelling and coding, cut into any number of pieces, the reply is complete as early as it can be."""
    encoding, encode = CODINGS[coding]
    stream = SPELLINGS[spelling](RECORDED)
    coded = encode(stream)
    places = sorted(data.draw(st.lists(st.integers(0, len(coded)), max_size=20)))
    reply, complete = watch(cut(coded, *places), encoding=encoding)
    assert reply == SPOKEN
    if coding == "identity":
        end = stream.rindex(END) + len(END) + 1
        assert complete == next(place for place in [*places, len(coded)] if place >= end)


BODY = json.dumps(
    {
        "choices": [
            {"index": 1, "message": {"content": "no"}, "finish_reason": "length"},
            {"index": 0, "message": {"role": "assistant", "content": "Grüße 日本 😀 \u2028"}, "finish_reason": "stop"},
        ]
    },
    ensure_ascii=False,
).encode()


@pytest.mark.parametrize("coding", CODINGS)
def test_every_cut_of_a_body_folds_to_the_same_reply(coding: str) -> None:
    """A JSON body, too, in every coding."""
    encoding, encode = CODINGS[coding]
    coded = encode(BODY)
    for place in range(len(coded) + 1):
        reply, complete = watch(cut(coded, place), JSON, encoding)
        assert (reply, complete) == (Reply("Grüße 日本 😀 \u2028", "stop", truncated=False), 0)


# Lines of a stream in any order, with every one that may end it or seem to.
ENDINGS = [b"data: [DONE]", b"data:[DONE] ", b": [DONE]", b"[DONE]", b"data: [DONE"]
WORDS = [delta("word").rstrip(), delta("x", finish_reason="stop").rstrip(), delta("[DONE]").rstrip()]
lines = st.sampled_from([b"", b"", b"data", b"data: ", b"data: x", *ENDINGS, *WORDS])
ends = st.sampled_from([b"\n", b"\n", b"\n", b"\r\n", b"\r"])
streams = st.lists(st.tuples(lines, ends).map(b"".join), max_size=14)


@settings(deadline=None, derandomize=True, max_examples=500)
@given(st.data(), streams)
def test_where_a_stream_is_cut_makes_no_difference(data: st.DataObject, pieces: list[bytes]) -> None:
    """Line by line, whole or in other pieces: the same reply, and no piece that completes it is only put aside."""
    stream = b"".join(pieces)
    reply, complete = watch(stream[i : i + 1] for i in range(len(stream)))
    places = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    in_time = next((place for place in [*places, len(stream)] if place >= complete), 0) if complete else 0
    assert watch(cut(stream, *places)) == (reply, in_time)
    assert watch([stream]) == (reply, len(stream) if complete else 0)
    assert watch(pieces)[0] == reply


def test_pieces_are_put_aside_up_to_a_limit() -> None:
    """Most pieces of a long stream are only put aside, and never more than so many bytes."""
    fold = Fold.for_response(STREAM, b"")
    pieces = [delta("word " * 20)] * 2000
    held = 0
    for piece in pieces:
        held += fold.hold(piece) or fold.feed(piece)
        assert sys.getsizeof(fold._reader._held) < 1.2 * HELD_LIMIT  # type: ignore[union-attr]  # a stream's reader
    assert held > 0.99 * len(pieces)
    assert fold.feed(delta("", finish_reason="stop") + END + b"\n")
    assert fold.finish() == Reply("word " * 40_000, "stop", truncated=False)


jsonish = st.recursive(
    st.none() | st.integers() | st.floats() | st.text(st.characters(codec=None), max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["choices", "delta", "message", "content", "index", "finish_reason", "error", "tool_calls", "text"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
nonsense = (
    st.binary(max_size=60)
    | jsonish.map(lambda value: b"data: " + json.dumps(value).encode() + b"\n\n")
    | jsonish.map(lambda value: json.dumps(value).encode())
    | streams.map(b"".join)
)


@settings(deadline=None, derandomize=True, max_examples=500)
@given(
    st.lists(nonsense, max_size=6),
    st.sampled_from([STREAM, JSON, b"", b"\xff"]),
    st.sampled_from([b"", b"gzip", b"deflate", b"br", b"zstd", b"gzip, br", b"\xff"]),
)
def test_any_bytes_are_survived(chunks: list[bytes], content_type: bytes, encoding: bytes) -> None:
    """Whatever a response holds, folding does not raise, and a reply has words."""
    reply, _ = watch([*chunks, RECORDED], content_type, encoding)
    assert reply is None or not reply.text.isspace()
