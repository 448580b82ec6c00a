"""Whatever strangers send, what reads it for the control plane refuses it in one way, and in a bounded time."""

import asyncio
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.requests import Request
from starlette.types import Message

from proxy.config import Redaction, load
from proxy.edge import attempts, parameters
from proxy.edge.admin import FORWARDING, Gatekeeper
from proxy.errors import ApiError, KeeperError
from proxy.keeper import frames, wire
from proxy.redaction import Redactor
from proxy.remember import lines
from tests.fuzz_hooks import LINES, OBJECT

FUZZED = settings(deadline=2000, derandomize=True, max_examples=300)

BYTES: Final = st.binary(max_size=300)
NAMES: Final = st.sampled_from(["limit", "cursor", "tenant", "include", "x", ""])
VALUES: Final = st.one_of(
    BYTES,
    st.integers().map(lambda number: str(number).encode()),
    st.sampled_from([b"superseded", b"shop", b"", b"%00", b"%ff", b"1e3", b"+1", b"\xd9\xa1", b"%D9%A1", b"9" * 5000]),
)
QUERIES: Final = st.one_of(
    BYTES, st.lists(st.tuples(NAMES, VALUES), max_size=5).map(lambda pairs: b"&".join(map(_pair, pairs)))
)
ANY_JSON: Final = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
)
FIELDS: Final = st.sampled_from(["text", "superseded_by", "query", "messages", "budget_tokens", "asked_at", "role"])
HOSTILE: Final = st.sampled_from(
    [
        b"[" * 100_000,
        b'{"text":' * 50_000,
        b'{"messages":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"text":"x","text":"y"}',
        b'{"query":"x","messages":[{"role":"user","role":"user"}]}',
        b'{"query":"x","budget_tokens":NaN}',
        b'{"query":"x","budget_tokens":1e999}',
        b'{"query":"x","budget_tokens":%b}' % (b"9" * 10_000),
        b'{"query":"x","other":%b}' % (b"9" * 10_000),
        rb'{"text":"\ud800"}',
        b'{"text":"\xed\xa0\x80"}',
        b"\xef\xbb\xbf{}",
        '{"text":"x"}'.encode("utf-16"),
        b'{"query":"x","asked_at":"9999-12-31T23:59:59-23:59"}',
    ]
)
BODIES: Final = st.one_of(
    BYTES,
    HOSTILE,
    ANY_JSON.map(lambda value: json.dumps(value).encode()),
    st.dictionaries(FIELDS, ANY_JSON, max_size=4).map(lambda value: json.dumps(value).encode()),
)
KINDS: Final = (parameters.NewMemory, parameters.MemoryChange, parameters.RecallRequest)


def _pair(pair: tuple[str, bytes]) -> bytes:
    return pair[0].encode() + b"=" + pair[1]


def _attempt(read: Callable[[Any], Any], given: object) -> tuple[Any, ApiError | None]:
    """What *read* returns, or with what it refuses. Anything else that it raises fails the test."""
    try:
        return read(given), None
    except ApiError as exc:
        return None, exc


def make_request(
    query: bytes = b"",
    *,
    headers: Iterable[tuple[bytes, bytes]] = (),
    client: str = "127.0.0.1",
    body: Iterable[bytes] = (),
    **path: str,
) -> Request:
    """A request as the server would hand it over."""
    pieces = [*body, b""]

    async def receive() -> Message:
        piece = pieces.pop(0)
        return {"type": "http.request", "body": piece, "more_body": bool(pieces)}

    scope = {
        "type": "http",
        "method": "GET",
        "path": "/",
        "query_string": query,
        "headers": list(headers),
        "client": (client, 1),
        "path_params": path,
    }
    return Request(scope, receive)


@FUZZED
@given(QUERIES)
def test_queries(query: bytes) -> None:
    """A value, or 400 that names the parameter."""
    request = make_request(query)
    readers: dict[str, Any] = {
        "limit": parameters.read_limit,
        "cursor": parameters.read_cursor,
        "tenant": parameters.read_tenant,
        "include": parameters.read_superseded,
    }
    for name, read in readers.items():
        value, refused = _attempt(read, request)
        if refused is not None:
            assert (refused.status, refused.code, refused.param) == (400, f"memory_proxy_bad_{name}", name)
        elif name == "limit":
            assert 1 <= value <= parameters.MAX_LIMIT


@FUZZED
@given(BYTES.map(lambda data: data.decode("latin-1")))
def test_paths(sent: str) -> None:
    """An id, or 400."""
    request = make_request(user=sent, memory=sent)
    parameters.read_memory_id(request)
    user, refused = _attempt(parameters.read_user_id, request)
    if refused is not None:
        assert (refused.status, refused.code) == (400, "memory_proxy_bad_user_id")
    else:
        assert 1 <= len(user) <= 256
        assert "\x00" not in user


@FUZZED
@given(st.tuples(st.floats(allow_nan=False, allow_infinity=False), st.text(st.characters(exclude_categories=["Cs"]))))
def test_cursors_come_back(cursor: wire.Cursor) -> None:
    """What a listing has given is understood."""
    written = parameters.write_cursor(cursor)
    assert written is not None
    query = b"cursor=" + written.replace("=", "%3D").encode()
    assert parameters.read_cursor(make_request(query)) == cursor


@FUZZED
@given(st.sampled_from(KINDS), BODIES)
def test_bodies(kind: type[Any], body: bytes) -> None:
    """What the route reads, or 400 with a reason that is short."""
    found, refused = _attempt(asyncio.run, parameters.read_body(make_request(body=[body]), kind))
    if refused is not None:
        assert (refused.status, refused.code) == (400, "memory_proxy_bad_request")
        assert len(refused.message) < 2 * parameters.LONGEST_REASON
    else:
        assert isinstance(found, kind)


@FUZZED
@given(st.lists(st.sampled_from([b"\n", b"a", b"bc", b"\r\n", b"x" * 9, b"\n\n"]), max_size=30), st.data())
async def test_lines_however_they_are_cut(parts: list[bytes], data: st.DataObject) -> None:
    """Every line is there once under its number, wherever the body was cut; long ones are named, and nothing of them
    is.
    """
    body = b"".join(parts)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=6)))
    pieces = [body[start:end] for start, end in zip([0, *cuts], [*cuts, len(body)], strict=True)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parameters, "IMPORT_BYTES", 4)
        patch.setattr(parameters, "LONGEST_LINE", 8)
        read = [some async for some in parameters.read_lines(make_request(body=[piece for piece in pieces if piece]))]
    expected, found, named = dict(enumerate(body.split(b"\n"), 1)), dict[int, bytes](), set[int]()
    for some in read:
        if some.too_long:
            named.add(some.first_line)
        else:
            found.update(enumerate(some.lines.removesuffix(b"\n").split(b"\n"), some.first_line))
    assert {number for number, line in expected.items() if len(line) > 8 and number not in named} <= found.keys()
    assert all(len(expected[number]) > 8 for number in named)
    assert {n: line for n, line in expected.items() if line and n not in named} == {
        n: line for n, line in found.items() if line
    }


@FUZZED
@given(st.one_of(LINES, BYTES, HOSTILE, st.lists(OBJECT, max_size=3).map(lambda found: json.dumps(found).encode())))
def test_import_lines(sent: bytes) -> None:
    """Memories that the store and the wire have room for, or a short reason for each line."""
    parsed = lines.parse(sent.split(b"\n"), Redactor(Redaction()))
    assert all(1 <= number <= sent.count(b"\n") + 1 and len(reason) <= 300 for number, reason in parsed.errors)
    for some in parsed.brought.values():
        for one in some:
            memory = one.memory
            assert msgspec.msgpack.decode(msgspec.msgpack.encode(memory), type=type(memory)) == memory
            assert memory.created_at.tzinfo is not None
            assert memory.valid_until is None or memory.valid_until.tzinfo is not None


CLIENTS: Final = st.sampled_from(["127.0.0.1", "192.0.2.1", "::1", "::ffff:127.0.0.1", "fe80::1%eth0", ""])
HEADERS: Final = st.lists(
    st.tuples(
        st.sampled_from(
            [b"authorization", b"host", b"origin", b"sec-fetch-site", b"sec-fetch-mode", *map(str.encode, FORWARDING)]
        ),
        st.one_of(
            BYTES,
            st.sampled_from(
                [b"Bearer s3cret", b"bearer s3cret ", b"localhost", b"null", b"[::1]", b"http://localhost"]
            ),
        ),
    ),
    max_size=4,
)


@FUZZED
@given(HEADERS, CLIENTS, st.booleans())
def test_headers(headers: list[tuple[bytes, bytes]], client: str, has_token: bool) -> None:
    """Whoever is not let in is told in one of four ways; nobody is without the token where there is one."""
    token = {"token": "s3cret"} if has_token else {}
    gatekeeper = Gatekeeper(load(flags={"data_dir": Path("/nowhere"), "admin": token}, environ={}))
    _, refused = _attempt(gatekeeper.check, make_request(headers=headers, client=client))
    if refused is not None:
        assert refused.status in (400, 401, 403)
    else:
        sent = [value.strip().lower() for name, value in headers if name == b"authorization"]
        assert not has_token or sent == [b"bearer s3cret"]


@FUZZED
@given(st.one_of(st.text(max_size=60), st.ip_addresses().map(str)))
def test_addresses(address: str) -> None:
    """Whatever the server calls a client counts for something."""
    failed = attempts.FailedAttempts(lambda: 0.0)
    for _ in range(attempts.MOST):
        assert failed.wait_s(address) == 0
        failed.note(address)
    assert failed.wait_s(address) == attempts.WINDOW_S


def _fits(value: object) -> bool:
    try:
        msgspec.msgpack.encode(value)
    except (OverflowError, UnicodeEncodeError):
        return False
    return True


REQUESTS: Final = msgspec.msgpack.Decoder(wire.AnyRequest)
FRAMES: Final = st.one_of(
    BYTES.map(lambda data: frames.LENGTH.pack(len(data)) + data),
    ANY_JSON.filter(_fits).map(lambda value: frames.frame(1, value)),
    BYTES,
)


@FUZZED
@given(FRAMES)
async def test_frames(sent: bytes) -> None:
    """A request, or one of the errors for which the keeper hangs up."""
    reader = asyncio.StreamReader()
    reader.feed_data(sent)
    reader.feed_eof()
    try:
        envelope = await frames.read_frame(reader)
        assert isinstance(REQUESTS.decode(envelope.payload), wire.Request)
    except (asyncio.IncompleteReadError, KeeperError, msgspec.MsgspecError):
        pass
