"""Whatever clients send: it goes upstream as it is, or is refused in OpenAI's shape; the server goes on."""

import pytest

from tests.harness import Proxy, Upstream
from tests.harness.payloads import ask
from tests.harness.proxy import CHAT

pytestmark = pytest.mark.asyncio(loop_scope="session")

HUGE = 65 << 20
NESTED = 100_000

# Bodies in which nobody says anything that memory could read. Upstream judges them.
UNREADABLE: dict[str, bytes] = {
    "empty": b"",
    "white space": b" \r\n",
    "no JSON": b"not JSON",
    "cut short": ask("I live in Lisbon.")[:-3],
    "two values": ask("I live in Lisbon.") * 2,
    "a byte order mark": b"\xef\xbb\xbf" + ask("I live in Lisbon."),
    "UTF-16": ask("I live in Lisbon.").decode().encode("utf-16"),
    "invalid UTF-8": b'{"messages":[{"role":"user","content":"caf\xe9 au lait"}]}',
    "an encoded surrogate": b'{"messages":[{"role":"user","content":"\xed\xa0\x80 I live"}]}',
    "a NUL": b'{"messages":[{"role":"user","content":"I live\x00"}]}',
    "an array": b"[]",
    "a number": b"42",
    "null": b"null",
    "an empty object": b"{}",
    "messages a number": b'{"messages": 3}',
    "messages null": b'{"messages": null}',
    "messages an object": b'{"messages": {"role":"user","content":"I live in Lisbon."}}',
    "no messages": b'{"messages": []}',
    "messages of strings": b'{"messages": ["I live in Lisbon."]}',
    "messages of nothing": b'{"messages": [null, {}, []]}',
    "a role that is a number": b'{"messages": [{"role": 1, "content": "I live in Lisbon."}]}',
    "content that is a number": b'{"messages": [{"role": "user", "content": 1}]}',
    "content that is an object": b'{"messages": [{"role": "user", "content": {"text": "I live in Lisbon."}}]}',
    "parts of wrong types": b'{"messages": [{"role": "user", "content": [1, null, {"type": 2, "text": 3}]}]}',
    "deep nesting": b'{"messages":' + b"[" * NESTED + b"]" * NESTED + b"}",
    "deep nesting elsewhere": b'{"x":' + b"[" * NESTED + b"]" * NESTED + b"," + ask("I live in Lisbon.")[1:],
    "NaN": b'{"temperature": NaN, "messages": [{"role": "user", "content": "I live in Lisbon."}]}',
}


@pytest.mark.parametrize("case", UNREADABLE)
async def test_unreadable_bodies_go_upstream(proxy: Proxy, upstream: Upstream, user: str, case: str) -> None:
    """They are forwarded byte for byte, and nothing is stored of them."""
    answer = await proxy.chat(user, UNREADABLE[case])
    assert (answer.status, answer.memory) == (200, "skipped")
    assert upstream.last.body == UNREADABLE[case]
    assert await proxy.texts(user) == []


# Odd bodies in which a user does say something, and what.
READABLE: dict[str, tuple[bytes, str]] = {
    "a 400-bit integer": (
        b'{"seed": %d, "messages": [{"role":"user","content":"I live in Lisbon."}]}' % (1 << 400),
        "I live in Lisbon.",
    ),
    "a huge exponent": (
        b'{"t": 1e999, "messages": [{"role":"user","content":"I live in Lisbon."}]}',
        "I live in Lisbon.",
    ),
    "a lone surrogate": (
        rb'{"messages":[{"role":"user","content":"I live \ud83d in Lisbon."}]}',
        "I live \ufffd in Lisbon.",
    ),
    "a lone surrogate elsewhere": (
        rb'{"x":"\udc00","messages":[{"role":"user","content":"I live in Lisbon."}]}',
        "I live in Lisbon.",
    ),
    "a NUL in a text": (rb'{"messages":[{"role":"user","content":"I live\u0000 here"}]}', "I live\x00 here"),
    "a key twice": (
        b'{"messages":[{"role":"user","content":"I live"}],"messages":[{"role":"user","content":"in Lisbon."}]}',
        "in Lisbon.",
    ),
    "white space around": (b"\r\n " + ask("I live in Lisbon.") + b"\t\n", "I live in Lisbon."),
    "many messages": (
        b'{"messages":[' + b'{"role":"tool","content":"x"},' * 5000 + b'{"role":"user","content":"I bake."}]}',
        "I bake.",
    ),
    "a long text": (ask("Lisbon " * 100_000), ("Lisbon " * 100_000)[:100_000]),
}


@pytest.mark.parametrize("case", READABLE)
async def test_odd_bodies_go_upstream_and_are_understood(
    proxy: Proxy, upstream: Upstream, user: str, case: str
) -> None:
    """They, too, are forwarded byte for byte, and what was said in them is stored."""
    body, said = READABLE[case]
    answer = await proxy.chat(user, body)
    assert (answer.status, answer.memory) == (200, "empty")
    assert upstream.last.body == body
    assert (await proxy.texts(user))[0] == said


async def test_a_block_goes_into_a_body_with_lone_surrogates(proxy: Proxy, upstream: Upstream, user: str) -> None:
    """Memory works for such a body, and its own bytes stay as they are."""
    await proxy.chat(user, ask("My dog is called Biscuit, a beagle."))
    await proxy.flush()
    body = rb'{"messages":[{"role":"user","content":"\ud83d What is the name of my dog? \udc00"}]}'
    assert (await proxy.chat(user, body)).memory == "injected"
    assert upstream.last.body.startswith(b'{"messages":[{"role":"system","content":"<memory>')
    assert upstream.last.body.endswith(body.removeprefix(b'{"messages":['))


BAD_IDS: dict[str, list[bytes]] = {
    "empty": [b""],
    "257 characters": [b"x" * 257],
    "257 characters of four bytes": ["🐝".encode() * 257],
    "a tab": [b"a\tb"],
    "a C1 control character": ["a\x85b".encode()],
    "invalid UTF-8": [b"ad\xe9"],
    "an encoded surrogate": [b"\xed\xa0\x80"],
    "two ids": [b"ada", b"bob"],
    "an id and an empty one": [b"ada", b""],
}


@pytest.mark.parametrize("case", BAD_IDS)
async def test_bad_user_ids_are_refused(proxy: Proxy, upstream: Upstream, case: str) -> None:
    """400 with a reason that does not repeat the id, and nothing goes upstream."""
    lines = b"".join(b"X-User-Id: %b\r\n" % value for value in BAD_IDS[case])
    async with await proxy.connect() as wire:
        await wire.send(b"POST %b HTTP/1.1\r\nHost: x\r\n%bContent-Length: 2\r\n\r\n{}" % (CHAT.encode(), lines))
        answer = await wire.answer()
    assert (answer.status, answer.code) == (400, "memory_proxy_bad_user_id")
    assert answer.json["error"]["type"] == "invalid_request_error"
    assert b"ada" not in answer.body
    assert upstream.visits == []


@pytest.mark.parametrize("user_id", ["x" * 256, "🐝" * 256, "a b", "%00", "a,b"])
async def test_unusual_user_ids_are_ids(proxy: Proxy, user_id: str) -> None:
    """Up to 256 characters of any script, and whatever would mean something elsewhere."""
    assert (await proxy.chat(user_id, ask("Hello!"))).memory == "empty"


async def test_an_id_sent_twice_is_refused(proxy: Proxy) -> None:
    """Even if both are equal: somebody on the way adds what somebody else has said, and may not always say the same."""
    headers = [("X-User-Id", "ada"), ("X-User-Id", "ada")]
    answer = await proxy.request("POST", CHAT, headers=headers, body=ask("Hello!"))
    assert (answer.status, answer.code) == (400, "memory_proxy_bad_user_id")


@pytest.mark.parametrize("user_id", ["", "x" * 257, "a\nb", "\x00"])
async def test_bad_ids_in_the_body(proxy: Proxy, user_id: str) -> None:
    """A bad ``user`` in the body is told as well; an empty one is none."""
    answer = await proxy.chat(None, ask("Hello!", user=user_id))
    assert (answer.status, answer.memory) == ((400, None) if user_id else (200, "anonymous"))


@pytest.mark.parametrize("value", [12, None, ["ada"], {"id": "ada"}])
async def test_users_that_are_no_strings_are_nobody(proxy: Proxy, value: object) -> None:
    """What is not a string names nobody; upstream may complain."""
    assert (await proxy.chat(None, ask("Hello!", user=value))).memory == "anonymous"


@pytest.mark.parametrize("conversation_id", ["c" * 257, "a\tb", "\u2028"])
async def test_bad_conversation_ids_are_refused(proxy: Proxy, upstream: Upstream, conversation_id: str) -> None:
    """400, and nothing goes upstream."""
    answer = await proxy.chat("ada", ask("Hello!"), x_conversation_id=conversation_id)
    assert (answer.status, answer.code) == (400, "memory_proxy_bad_conversation_id")
    assert upstream.visits == []


async def test_a_body_announced_too_large_is_refused_at_once(proxy: Proxy, upstream: Upstream) -> None:
    """413 before a byte of it is sent."""
    for length in (HUGE, 10**18):
        async with await proxy.open("POST", CHAT, headers={"Content-Length": str(length)}) as wire:
            answer = await wire.answer()
        assert (answer.status, answer.code) == (413, "memory_proxy_body_too_large")
    assert upstream.visits == []


async def test_a_body_that_turns_out_too_large_is_refused(proxy: Proxy, upstream: Upstream) -> None:
    """413 for 65 MB of unknown length, and the connection is of use again when they are through."""
    piece = bytes(1 << 20)
    async with await proxy.open("POST", CHAT, headers={"Transfer-Encoding": "chunked"}) as wire:
        for _ in range(HUGE // len(piece)):
            await wire.send(b"%x\r\n%b\r\n" % (len(piece), piece))
        await wire.send(b"0\r\n\r\nGET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await wire.answer()).status == 413
        assert (await wire.answer()).status == 200
    assert [visit.target for visit in upstream.visits] == [b"/v1/models"]


MALFORMED: dict[str, bytes] = {
    "a length that is no number": b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: abc\r\n\r\n",
    "a negative length": b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    "a length beyond 64 bits": b"POST /v1/files HTTP/1.1\r\nHost: x\r\nContent-Length: %b\r\n\r\n" % (b"9" * 400),
    "two lengths": b"POST /v1/files HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "a length and chunks": (
        b"POST /v1/files HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    ),
    "a chunk size that is none": b"POST /v1/files HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    "a NUL in a header": b"GET /v1/models HTTP/1.1\r\nHost: x\r\nX-User-Id: a\x00b\r\n\r\n",
    "a header without a colon": b"GET /v1/models HTTP/1.1\r\nHost: x\r\nnonsense\r\n\r\n",
    "no HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "a path that is not ASCII": b"GET /v1/\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
}


@pytest.mark.parametrize("case", MALFORMED)
async def test_malformed_requests_are_refused(proxy: Proxy, upstream: Upstream, case: str) -> None:
    """What is no HTTP gets a 400 in OpenAI's shape and its connection closed; the server goes on."""
    async with await proxy.connect() as wire:
        await wire.send(MALFORMED[case])
        answer = await wire.answer()
        assert (answer.status, answer.code) == (400, "memory_proxy_bad_request")
        assert answer.header("connection") == "close"
        assert await wire.closed() == b""
    assert (await proxy.request("GET", "/v1/models")).status == 200


async def test_a_post_without_a_length_has_no_body(proxy: Proxy, upstream: Upstream) -> None:
    """Neither length nor chunks: HTTP says that there is no body, so none is waited for."""
    async with await proxy.open("POST", CHAT) as wire:
        answer = await wire.answer()
    assert (answer.status, upstream.last.body) == (200, b"")


@pytest.mark.parametrize(
    ("target", "code"),
    [
        ("/", "memory_proxy_not_found"),
        ("/v1", "memory_proxy_not_found"),
        ("/v2/models", "memory_proxy_not_found"),
        ("//v1/models", "memory_proxy_not_found"),
        ("/%761/models", "memory_proxy_not_found"),
        ("/memory", "memory_proxy_not_found"),
    ],
)
async def test_other_paths_are_not_relayed(proxy: Proxy, upstream: Upstream, target: str, code: str) -> None:
    """Only what begins with ``/v1/`` goes upstream; all else that is not ours is 404 in OpenAI's shape."""
    answer = await proxy.request("GET", target)
    assert (answer.status, answer.code) == (404, code)
    assert upstream.visits == []
