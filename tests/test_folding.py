"""Replies, folded out of recorded responses."""

import gzip
import json
import tracemalloc
import zlib
from collections.abc import Callable, Iterable

import brotli
import pytest
import zstandard

from proxy.dialects.answer import TEXT_LIMIT, Reply
from proxy.dialects.events import HEAD_LIMIT
from proxy.dialects.folding import BODY_LIMIT, Fold

STREAM = b"text/event-stream; charset=utf-8"
JSON = b"application/json"
DONE = b"data: [DONE]\n\n"
CODINGS: dict[bytes, Callable[[bytes], bytes]] = {
    b"": bytes,
    b"gzip": gzip.compress,
    b"deflate": zlib.compress,
    b"br": brotli.compress,
    b"zstd": zstandard.compress,
}


def fold(chunks: Iterable[bytes], content_type: bytes = STREAM, encoding: bytes = b"") -> Reply | None:
    reader = Fold.for_response(content_type, encoding)
    for chunk in chunks:
        reader.feed(chunk)
    return reader.finish()


def event(payload: object) -> bytes:
    return b"data: " + json.dumps(payload).encode() + b"\n\n"


def delta(content: object, *, finish: object = None, **choice: object) -> bytes:
    return event({"choices": [{"index": 0, "delta": {"content": content}, "finish_reason": finish, **choice}]})


def completion(content: object, finish: object = "stop", **message: object) -> dict[str, object]:
    said = {"role": "assistant", "content": content, **message}
    return {
        "id": "c",
        "choices": [{"index": 0, "message": said, "finish_reason": finish}],
        "usage": {"total_tokens": 9},
    }


def fold_body(body: object) -> Reply | None:
    return fold([json.dumps(body).encode()], JSON)


STOP = delta(None, finish="stop")
HELLO = delta("Hello") + STOP + DONE


@pytest.mark.parametrize(
    ("stream", "text"),
    [
        (HELLO, "Hello"),
        (delta("Hel") + delta("") + delta("lo") + STOP + DONE, "Hello"),
        (delta("Hello", finish="stop") + DONE, "Hello"),
        (delta(" a\n") + STOP + DONE, " a\n"),
        (delta("a\u2028b 😀") + STOP + DONE, "a\u2028b 😀"),
        (delta("\ud83d") + delta("\ude00") + STOP + DONE, "😀"),
        (delta("a\ud83d") + STOP + DONE, "a\ufffd"),
        (delta([{"type": "text", "text": "Hel"}]) + delta([{"type": "text", "text": "lo"}]) + STOP + DONE, "Hello"),
        (delta([{"type": "thinking", "thinking": []}]) + HELLO, "Hello"),
        (event({"choices": []}) + HELLO, "Hello"),
        (event({"choices": None, "usage": {}, "error": None}) + HELLO, "Hello"),
        (delta("Hello") + STOP + event({"choices": [], "usage": {"total_tokens": 1}}) + DONE, "Hello"),
        (event({"choices": [{"delta": {"content": "no index"}, "finish_reason": "stop"}]}) + DONE, "no index"),
        (delta("A") + delta("B", index=1) + delta("a") + delta(None, finish="length", index=1) + STOP + DONE, "Aa"),
        (event({"choices": [{"delta": {"reasoning_content": "hm", "content": None}}]}) + HELLO, "Hello"),
        (event({"choices": [{"delta": {"role": "assistant", "refusal": None, "tool_calls": None}}]}) + HELLO, "Hello"),
        (event({"choices": [{"delta": None}]}) + event({"choices": [{}]}) + event({}) + HELLO, "Hello"),
        (delta("Hel", logprobs=float("nan")) + delta("lo") + STOP + DONE, "Hello"),
        (b"data: garbage\n\ndata: []\n\ndata: 7\n\ndata: \xff\n\ndata:\n\n" + HELLO, "Hello"),
        (b"data: " + b"[" * 100_000 + b"\n\n" + HELLO, "Hello"),
        (event({"choices": "?"}) + event({"choices": [7]}) + delta(7) + delta({"text": "?"}) + HELLO, "Hello"),
        (b": keep-alive\n\nevent: message\nid: 7\n" + HELLO, "Hello"),
        (HELLO.rstrip(), "Hello"),
        (HELLO + delta("after the end") + b"data: {", "Hello"),
        (delta("Hello") + STOP, "Hello"),
        (delta("Hello", finish="stop").rstrip(), "Hello"),
        (delta("Hello") + STOP + event({"choices": [], "usage": {"total_tokens": 1}}), "Hello"),
    ],
)
def test_streams_that_are_kept(stream: bytes, text: str) -> None:
    """The reply is the text of choice 0, whatever comes between, with or without a terminating event at the end."""
    assert fold([stream]) == Reply(text, "stop", truncated=False)


@pytest.mark.parametrize("finish", ["stop", "length", "content_filter", "eos"])
def test_proper_ends(finish: str) -> None:
    """Every finish reason but a tool's is an end."""
    assert fold([delta("a"), delta(None, finish=finish), DONE]) == Reply("a", finish, truncated=False)
    assert fold_body(completion("a", finish)) == Reply("a", finish, truncated=False)


CALLS = [{"index": 0, "id": "1", "function": {"name": "f", "arguments": "{}"}}]


@pytest.mark.parametrize(
    "stream",
    [
        b"",
        DONE,
        STOP + DONE,
        delta(" \n") + STOP + DONE,
        delta("a") + DONE,
        delta("a"),
        delta("a", finish="") + DONE,
        delta("a", finish=7) + DONE,
        delta("a") + delta(None, finish="tool_calls") + DONE,
        delta("a") + delta(None, finish="function_call") + DONE,
        delta("a") + event({"choices": [{"delta": {"tool_calls": CALLS}}]}) + STOP + DONE,
        delta("a") + event({"choices": [{"delta": {"function_call": {"name": "f"}}}]}) + STOP + DONE,
        delta("a", index=1) + delta(None, finish="stop", index=1) + DONE,
        delta("a") + event({"error": {"message": "overloaded"}}) + STOP + DONE,
        delta("a") + event({"error": "overloaded", "choices": "?"}) + STOP + DONE,
        delta("a") + STOP + event({"error": {"message": "overloaded"}}),
    ],
)
def test_streams_that_are_not_kept(stream: bytes) -> None:
    """Without text, or without a proper end, there is no reply; a step of a tool has no text that counts."""
    reply = fold([stream])
    assert reply is None or (reply.is_step and not reply.text)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (completion("Hello"), "Hello"),
        (completion("Hello", tool_calls=[], refusal=None, reasoning_content="hm"), "Hello"),
        (completion([{"type": "text", "text": "a"}, {"type": "x"}, {"type": "text", "text": "b"}]), "a\nb"),
        (completion("\ud83d\ude00 \ud83d", tool_calls=None), "😀 \ufffd"),
        ({**completion("Hello"), "error": None, "score": float("nan")}, "Hello"),
        ({"choices": [*completion("no")["choices"], {"index": 0}]}, "no"),  # type: ignore[misc]  # a list, of course
        (
            {
                "choices": [
                    {"index": 1, "message": {"content": "B"}},
                    {"message": {"content": "A"}, "finish_reason": "stop"},
                ]
            },
            "A",
        ),
    ],
)
def test_bodies_that_are_kept(body: object, text: str) -> None:
    """A JSON body's reply is the message of choice 0."""
    assert fold_body(body) == Reply(text, "stop", truncated=False)


@pytest.mark.parametrize(
    "body",
    [
        completion(None),
        completion(""),
        completion("  "),
        completion(7),
        completion([{"type": "image"}]),
        completion("a", None),
        completion("a", ""),
        completion("a", "tool_calls"),
        completion("a", tool_calls=CALLS),
        completion(None, tool_calls=CALLS),
        {**completion("a"), "error": {"message": "no"}},
        {"error": {"message": "no"}},
        {"choices": []},
        [completion("a")],
        "a",
    ],
)
def test_bodies_that_are_not_kept(body: object) -> None:
    """Errors and other shapes are no reply; a tool's call has no text that counts."""
    reply = fold_body(body)
    assert reply is None or (reply.is_step and not reply.text)


def test_incomplete_bodies_are_not_kept() -> None:
    """A JSON body counts only when it is whole and nothing follows it."""
    body = json.dumps(completion("a")).encode()
    assert all(fold([body[:cut]], JSON) is None for cut in range(len(body)))
    assert fold([body, b"{}"], JSON) is None
    assert fold([body, b"\n"], JSON) is not None


@pytest.mark.parametrize(
    ("content_type", "sample", "is_kept"),
    [
        (b"text/event-stream", HELLO, True),
        (b"Text/Event-Stream;charset=utf-8", HELLO, True),
        (b"application/json; charset=utf-8", json.dumps(completion("Hello")).encode(), True),
        (b"application/vnd.api+json", json.dumps(completion("Hello")).encode(), True),
        (b"", b"\r\n" + json.dumps(completion("Hello")).encode(), True),
        (b"", b"\n: hi\n\n" + HELLO, True),
        (b"text/plain", HELLO, True),
        (b"application/json", HELLO, False),
        (b"text/event-stream", json.dumps(completion("Hello")).encode(), False),
        (b"text/html", b"<html>", False),
        (b"", b"", False),
        (b"", b" \n", False),
    ],
)
@pytest.mark.parametrize("size", [1, 10_000])
def test_the_content_type_decides(content_type: bytes, sample: bytes, is_kept: bool, size: int) -> None:
    """The header says which of the two a response is; without one its first byte does."""
    reply = fold((sample[i : i + size] for i in range(0, len(sample), size)), content_type)
    assert reply == (Reply("Hello", "stop", truncated=False) if is_kept else None)


def test_feed_says_when_the_stream_has_ended() -> None:
    """From the chunk with the terminating event on the answer is True, and finish works before the body's end."""
    reader = Fold.for_response(STREAM, b"")
    chunks = [delta("a"), STOP, DONE[:-1], DONE[-1:], b"\n"]
    assert [reader.feed(chunk) for chunk in chunks] == [False, False, True, True, True]
    assert reader.finish() == reader.finish() == Reply("a", "stop", truncated=False)


def test_a_body_never_says_that_it_ended() -> None:
    """A JSON body is complete only when the response is."""
    reader = Fold.for_response(JSON, b"")
    assert reader.feed(json.dumps(completion("a")).encode()) is False


def test_a_line_end_that_is_still_missing_does_not_hide_the_end() -> None:
    """A stream whose last empty line is missing has ended properly when the body has."""
    reader = Fold.for_response(STREAM, b"")
    assert reader.feed(HELLO[:-2]) is False
    assert reader.finish() == Reply("Hello", "stop", truncated=False)


def test_long_replies_are_truncated() -> None:
    """Text beyond the limit is cut off and the reply says so."""
    half = "é" * (TEXT_LIMIT // 2)
    exact = Reply(half * 2, "stop", truncated=False)
    assert fold([delta(half), delta(half), STOP, DONE]) == exact
    assert fold([delta(half), delta(half), delta("x"), STOP, DONE]) == Reply(exact.text, "stop", truncated=True)
    assert fold_body(completion(exact.text + "x")) == Reply(exact.text, "stop", truncated=True)


def test_of_a_huge_event_the_beginning_counts() -> None:
    """An event too large to be held gives what text its beginning has, and the reply is not whole."""
    image = {"url": "A" * 9_000_000}
    assert fold([delta("Look: ", images=[image]) + HELLO]) == Reply("Look: Hello", "stop", truncated=True)
    assert fold([delta("x" * 9_000_000) + HELLO]) == Reply("x" * TEXT_LIMIT, "stop", truncated=True)
    assert fold([b"data: " + b"x" * 9_000_000 + b"\n\n" + HELLO]) == Reply("Hello", "stop", truncated=True)


def test_a_huge_event_may_have_had_the_finish_reason() -> None:
    """A stream whose finish reason can have been in what was not read is kept without one; steps are not."""
    large = {"logprobs": "x" * 9_000_000}
    choice = {"index": 0, "delta": {"content": "Hello"}, **large, "finish_reason": "stop"}
    assert fold([event({"choices": [choice]}), DONE]) == Reply("Hello", "", truncated=True)
    assert fold([event({"choices": [{"finish_reason": "tool_calls", **choice, **large}]}), DONE]) is not None
    step = fold([event({"choices": [{"index": 0, "finish_reason": "tool_calls", "delta": {}, **large}]}), DONE])
    assert step is not None
    assert step.is_step


def in_pieces(data: bytes) -> Iterable[bytes]:
    return (data[i : i + 65_536] for i in range(0, len(data), 65_536))


LARGE = "A" * (BODY_LIMIT + 100_000)


@pytest.mark.parametrize(
    ("body", "reply"),
    [
        ({**completion("Hello"), "audio": LARGE}, Reply("Hello", "stop", truncated=True)),
        (completion("Hello", audio={"data": LARGE}), Reply("Hello", "", truncated=True)),
        (completion("é" * BODY_LIMIT), Reply("é" * TEXT_LIMIT, "", truncated=True)),
        ({"audio": LARGE, **completion("Hello")}, None),
        (completion("Hello", tool_calls=[{"id": LARGE}]), Reply("", "", truncated=False, is_step=True)),
        ({"error": {"message": LARGE}}, None),
        ([LARGE], None),
        (LARGE, None),
    ],
    ids=["audio after", "audio within", "text", "audio before", "a step", "an error", "an array", "a string"],
)
@pytest.mark.parametrize("encoding", [b"", b"gzip", b"br"])
def test_of_huge_bodies_the_beginning_counts(body: object, reply: Reply | None, encoding: bytes) -> None:
    """A JSON body beyond the limit gives the text at its beginning, marked, also if one chunk decodes to all of it."""
    packed = CODINGS[encoding](json.dumps(body, ensure_ascii=False).encode())
    assert fold(in_pieces(packed), JSON, encoding) == reply


@pytest.mark.parametrize("content_type", [STREAM, b""])
@pytest.mark.parametrize("encoding", [b"gzip", b"br", b"zstd", b"deflate"])
def test_of_a_chunk_that_decodes_to_too_much_the_beginning_counts(content_type: bytes, encoding: bytes) -> None:
    """A stream that explodes gives what was said before, marked."""
    stream = delta("Hello") + b": " + b" " * BODY_LIMIT + b"\n\n" + delta(", you") + STOP + DONE
    assert fold([CODINGS[encoding](stream)], content_type, encoding) == Reply("Hello", "", truncated=True)
    ended = CODINGS[encoding](HELLO + b": " + b" " * BODY_LIMIT)
    assert fold([ended], content_type, encoding) == Reply("Hello", "stop", truncated=False)
    assert fold([CODINGS[encoding](b" " * BODY_LIMIT)], content_type, encoding) is None


def test_huge_bodies_are_not_held() -> None:
    """Beyond the limit only the beginning stays, however much follows."""
    reader = Fold.for_response(JSON, b"")
    tracemalloc.start()
    try:
        for _ in range(100):
            reader.feed(bytes(1 << 20))
        held, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < HEAD_LIMIT + 100_000
    assert peak < 2 * BODY_LIMIT + HEAD_LIMIT


@pytest.mark.parametrize("encoding", [b"compress", b"gzip, zz"])
def test_unknown_codings_give_no_reply(encoding: bytes) -> None:
    """A response that cannot be decoded is not folded."""
    reader = Fold.for_response(STREAM, encoding)
    assert [reader.feed(HELLO), reader.finish()] == [False, None]


def test_corrupt_content_gives_no_reply() -> None:
    """A response that stops making sense is given up for good."""
    packed = gzip.compress(HELLO)
    reader = Fold.for_response(STREAM, b"gzip")
    assert [reader.feed(chunk) for chunk in (packed[:12], b"\xff" * 50, packed[12:])] == [False] * 3
    assert reader.finish() is None


def test_corruption_after_the_end_is_ignored() -> None:
    """Once the terminating event was seen, a bad checksum changes nothing."""
    packed = gzip.compress(HELLO)
    reader = Fold.for_response(STREAM, b"gzip")
    assert [reader.feed(chunk) for chunk in (packed[:-8], b"\xff" * 8)] == [True, True]
    assert reader.finish() == Reply("Hello", "stop", truncated=False)


def test_nothing_is_read_after_the_end() -> None:
    """Chunks that come after the terminating event change nothing, whatever they are."""
    reader = Fold.for_response(STREAM, b"")
    assert [reader.feed(chunk) for chunk in (HELLO, delta("more"), b"data: ", b"")] == [True] * 4
    assert reader.hold(delta("more")) is False
    assert reader.finish() == Reply("Hello", "stop", truncated=False)


def test_done_ends_a_reply_before_its_empty_line_has_arrived() -> None:
    """A client that reads line by line may leave after the line, so the answer counts as complete with it."""
    fold = Fold.for_response(b"text/event-stream", b"")
    said = b'data: {"choices": [{"index": 0, "delta": {"content": "Hi"}, "finish_reason": "stop"}]}\n\n'
    assert not fold.feed(said + b"data: [DONE")
    assert fold.feed(b"]\n")
    reply = fold.finish()
    assert reply is not None
    assert reply.text == "Hi"
