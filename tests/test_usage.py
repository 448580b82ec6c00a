"""What an answer took, as upstream reports it: from whole answers, from streams, and from the end alone."""

import gzip
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.config import Settings
from proxy.dialects.folding import Fold
from proxy.dialects.usage import TAIL, find_usage, read_usage
from proxy.edge.measures import Measures, Tail, Watch
from proxy.models import Usage
from proxy.observe.failopen import FailOpen
from proxy.observe.metrics import Metrics
from tests.harness.payloads import DONE, completion, event, events

OPENAI = {
    "prompt_tokens": 1200,
    "completion_tokens": 30,
    "total_tokens": 1230,
    "prompt_tokens_details": {"cached_tokens": 1024, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 0},
}
TOLD = Usage(1200, 30, 1024)


def body(usage: Any, **fields: Any) -> bytes:
    """A whole answer that reports *usage*, with *fields* behind it."""
    return json.dumps({**json.loads(completion("In Portugal.")), "usage": usage, **fields}).encode()


def last_event(usage: Any, choices: tuple[()] = ()) -> bytes:
    return b"data: " + json.dumps({"id": "1", "choices": choices, "usage": usage}).encode() + b"\n\n"


def reporting(usage: Any) -> list[bytes]:
    """A stream that ends as OpenAI's do with ``include_usage``."""
    *pieces, done = events("In ", "Portugal.")
    return [*pieces, last_event(usage), done]


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (OPENAI, TOLD),
        ({"prompt_tokens": 10, "completion_tokens": 2}, Usage(10, 2)),
        ({"prompt_tokens": 10, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 0}}, Usage(10, 2, 0)),
        ({"prompt_tokens": 10, "completion_tokens": 2, "prompt_tokens_details": None}, Usage(10, 2)),
        # DeepSeek, Anthropic behind a gateway, Moonshot
        (
            {"prompt_tokens": 10, "completion_tokens": 2, "prompt_cache_hit_tokens": 8, "prompt_cache_miss_tokens": 2},
            Usage(10, 2, 8),
        ),
        (
            {
                "prompt_tokens": 10,
                "completion_tokens": 2,
                "cache_read_input_tokens": 7,
                "cache_creation_input_tokens": 1,
            },
            Usage(10, 2, 7),
        ),
        ({"prompt_tokens": 10, "completion_tokens": 2, "cached_tokens": 4}, Usage(10, 2, 4)),
        # What the gateway counts apart is no more than all of it.
        ({"prompt_tokens": 10, "completion_tokens": 2, "cache_read_input_tokens": 4000}, Usage(10, 2, 10)),
        ({"prompt_tokens": 10.0, "completion_tokens": None}, Usage(10, 0)),
        ({"prompt_tokens": 10}, Usage(10, 0)),
        ({"completion_tokens": 2}, None),
        ({"prompt_tokens": "10", "completion_tokens": 2}, None),
        ({"prompt_tokens": True}, None),
        ({"prompt_tokens": -1}, None),
        ({"prompt_tokens": 1.5}, None),
        ({"prompt_tokens": 10, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": "8"}}, Usage(10, 2)),
        ({"prompt_tokens": 10, "completion_tokens": 2, "prompt_tokens_details": [8]}, Usage(10, 2)),
        ({}, None),
        (None, None),
        ("many", None),
        ([1200, 30], None),
    ],
)
def test_shapes(raw: object, expected: Usage | None) -> None:
    """Cached tokens are found under the names that providers have for them; what makes no sense is not believed."""
    assert read_usage(raw) == expected


def fold(pieces: list[bytes], kind: bytes = b"text/event-stream", coding: bytes = b"") -> Usage | None:
    """As a capture does it."""
    folding = Fold.for_response(kind, coding)
    for piece in pieces:
        if not folding.hold(piece):
            folding.feed(piece)
    folding.finish()
    return folding.usage


def keep(pieces: list[bytes]) -> bytes:
    """As it is done where nothing is captured."""
    return b"".join(pieces)[-TAIL:]


STREAMS = {
    "OpenAI": reporting(OPENAI),
    "null until then": [
        *(b'data: {"choices":[{"index":0,"delta":{"content":"a"}}],"usage":null}\n\n' for _ in range(3)),
        *reporting(OPENAI),
    ],
    "null afterwards": [*reporting(OPENAI)[:-1], b'data: {"choices":[],"usage":null}\n\n', DONE],
    "adding up": [
        *events("In ", "Portugal.")[:-1],
        *(
            b'data: {"choices":[{"index":0,"delta":{"content":" a"}}],"usage":{"prompt_tokens":1200,'
            b'"completion_tokens":%d,"prompt_tokens_details":{"cached_tokens":1024}}}\n\n' % count
            for count in range(1, 31)
        ),
        DONE,
    ],
    "no terminating event": reporting(OPENAI)[:-1],
    "line ends of Windows": [piece.replace(b"\n", b"\r\n") for piece in reporting(OPENAI)],
    "with its choice": [
        event({"content": "a"}),
        event({}, "stop").replace(b"}\n", b',"usage":%b}\n' % json.dumps(OPENAI).encode()),
        DONE,
    ],
}


@pytest.mark.parametrize("name", STREAMS)
def test_streams(name: str) -> None:
    """The last that is reported counts; read as a whole and from its end alone the stream says the same."""
    assert fold(STREAMS[name]) == TOLD
    assert find_usage(keep(STREAMS[name])) == TOLD


BODIES = {
    "OpenAI": body(OPENAI, service_tier="default", system_fingerprint="fp_1"),
    "indented": json.dumps(json.loads(body(OPENAI)), indent=2).encode(),
    "with filters behind it": body(OPENAI, prompt_filter_results=[{"text": "ü" * 300}]),
    "not ASCII": json.dumps(json.loads(body(OPENAI, note="日本")), ensure_ascii=False).encode(),
    "with white space at its end": body(OPENAI) + b"\n\n",
}


@pytest.mark.parametrize("name", BODIES)
def test_bodies(name: str) -> None:
    """Whole answers, read as a whole and from their end alone."""
    assert fold([BODIES[name]], b"application/json") == TOLD
    assert find_usage(keep([BODIES[name]])) == TOLD


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 1000])
def test_pieces_of_any_size(size: int) -> None:
    """How a stream or a body is cut makes no difference."""
    for whole, kind in ((b"".join(reporting(OPENAI)), b"text/event-stream"), (body(OPENAI), b"application/json")):
        pieces = [whole[at : at + size] for at in range(0, len(whole), size)]
        assert fold(pieces, kind) == TOLD


def test_compressed() -> None:
    """Where the answer is captured, it is unpacked for that anyway."""
    assert fold([gzip.compress(body(OPENAI))], b"application/json", b"gzip") == TOLD
    packed = gzip.compress(b"".join(reporting(OPENAI)))
    assert fold([packed[:40], packed[40:]], coding=b"gzip") == TOLD


def test_nothing_reported() -> None:
    """Most streams say nothing, because nobody asked them to."""
    assert fold(events("In ", "Portugal.")) is None
    assert find_usage(keep(events("In ", "Portugal."))) is None
    assert find_usage(b"") is None
    assert fold([b'{"error":{"message":"no"}}'], b"application/json") is None


def test_a_usage_of_odd_shape_spoils_no_reply() -> None:
    """It counts for nothing, and the answer is an answer."""
    shapes: tuple[object, ...] = ("many", [1], {"prompt_tokens": {}}, 7)
    for odd in shapes:
        folding = Fold.for_response(b"application/json", b"")
        folding.feed(body(odd))
        reply = folding.finish()
        assert reply is not None
        assert (reply.text, folding.usage) == ("In Portugal.", None)


def test_what_is_said_is_no_usage() -> None:
    """A model that talks of usage in JSON reports none: its quotes are escaped."""
    forged = json.dumps({"usage": {"prompt_tokens": 10**6, "completion_tokens": 1}})
    assert find_usage(completion(forged).replace(b'"usage": {"prompt_tokens": 1', b'"x": {"y": 1')) is None
    assert find_usage(completion(forged)) == Usage(1, 1)


def test_a_usage_that_is_cut_is_none() -> None:
    """Its end is missing, or its beginning."""
    told = body(OPENAI)
    at = told.index(b'"usage"')
    assert find_usage(told[: at + 60]) is None
    assert find_usage(told[at + 3 :]) is None


@given(st.binary(max_size=300), st.integers(0, 300))
def test_any_bytes(noise: bytes, at: int) -> None:
    """Nothing raises, whatever stands around the word."""
    find_usage(noise[:at] + b'"usage"' + noise[at:])
    find_usage(b'"usage":' + b"[" * 3000 + noise)


async def watch(pieces: list[bytes], *, status: int = 200, coding: bytes = b"", held: int = 10**6) -> Usage | None:
    tail = Tail()
    tail.begin(status, b"", coding)
    for number, piece in enumerate(pieces):
        assert tail.hold(piece) if number < held else not tail.feed(piece)
    await tail.close()
    return tail.usage


async def test_the_end_is_kept() -> None:
    """Of a long stream the last pieces are enough, whichever way they came."""
    long = [event({"content": "word"})] * 500 + reporting(OPENAI)
    assert await watch(long) == TOLD
    assert await watch(long, held=len(long) - 2) == TOLD
    text = completion("x" * 100_000)
    assert await watch([text[at : at + 1000] for at in range(0, len(text), 1000)]) == Usage(1, 1)


async def test_what_the_end_does_not_tell_of() -> None:
    """Errors, and what is compressed; and nothing that broke off."""
    assert await watch([body(OPENAI)], status=400) is None
    assert await watch([gzip.compress(body(OPENAI))], coding=b"gzip") is None
    tail = Tail()
    tail.begin(200, b"", b"")
    tail.hold(body(OPENAI))
    assert tail.usage is None


async def test_the_end_is_all_that_is_held() -> None:
    """However long a stream is, no more than its last pieces are held on to."""
    tail = Tail()
    tail.begin(200, b"", b"")
    for _ in range(10_000):
        tail.hold(b"x" * 100)
    assert sum(len(piece) for piece in tail._pieces) < TAIL


@pytest.mark.parametrize(
    ("pieces", "seen"),
    [
        ([b": OPENROUTER PROCESSING\n\n"], False),
        ([b": keep-alive\n\n", b"\n\n", b""], False),
        ([b": keep-alive\n\n", event({"content": "Noted."})], True),
        ([b": keep-alive\n\n" + event({"content": "Noted."})], True),
        ([b"{"], True),
    ],
)
def test_a_sign_of_life_is_no_token(pieces: list[bytes], seen: bool) -> None:
    """Comments and blank lines come while the model still thinks."""
    metrics = Metrics()
    watch = Watch(Tail(), Measures(metrics, FailOpen(metrics), Settings()), None, ready=0.0, has_block=False)
    watch.send()
    watch.begin(200, b"text/event-stream", b"")
    for piece in pieces:
        watch.hold(piece)
    assert bool(watch.first) is seen
