"""How other proxies spoilt requests and connections, one test a failure: the rows of the list of known relay
failures, 12 to 26.

Each holds for chat requests, which memory takes part in, and for those that only pass.
"""

import json
from typing import Final

import pytest
import pytest_asyncio

from tests.conftest import Launch
from tests.harness import Proxy, Upstream, Visit, respond, stream
from tests.harness.payloads import DONE, ask, completion, event, events
from tests.harness.proxy import CHAT
from tests.harness.routes import HOP, PASSED, STORY, both_routes
from tests.harness.upstream import EVENTS, JSON, within

pytestmark = pytest.mark.asyncio(loop_scope="session")

FACT: Final = "My dog is called Biscuit, a beagle."
QUESTION: Final = "What is the name of my dog?"
MESSAGES: Final = '"messages": [{"role":"user","content":"%s"}]' % QUESTION  # noqa: UP031  # braces all over


@pytest_asyncio.fixture(loop_scope="session")
async def knowing(proxy: Proxy, upstream: Upstream, user: str) -> str:
    """A user of whom something is remembered, so that chat requests get a block."""
    await proxy.chat(user, ask(FACT))
    await proxy.flush()
    upstream.visits.clear()
    return user


# Each is put on both sides of the messages.
FIELDS = [
    '"made_up_field": {"a": [1, {"b": null}]}',
    '"reasoning": {"effort": "high"}, "web_search_options": {}, "metadata": {"k": "v"}',
    '"temperature": "hot", "n": -1, "tools": {}, "stop": 5',
    '"extra_body": {"messages": [{"role": "user", "content": 1}]}',
]
# Re-serialising changes these.
DELICATE = [
    '"seed": 123456789012345678901234567890',
    '"temperature": 1.0, "top_p": 1e0, "x": -0.0, "y": 0.10000000000000000555',
    r'"note": "\u00e9 \ud800 \/ \u2028"',
    '"a": 1, "a": 2,\t"b"\r\n:\n[ ]',
]


@pytest.mark.parametrize("fields", FIELDS)
@both_routes
async def test_row_12_unknown_fields_pass(
    proxy: Proxy, upstream: Upstream, knowing: str, path: str, fields: str
) -> None:
    """Unknown fields rejected or dropped: there is no schema, what the proxy does not know passes as it is."""
    await assert_only_messages_change(proxy, upstream, knowing, path, fields)


async def assert_only_messages_change(proxy: Proxy, upstream: Upstream, user: str, path: str, fields: str) -> None:
    before, after = f"{{{fields}, ", f' ,"model": "m", {fields.replace("a", "z")}}}'
    sent = (before + MESSAGES + after).encode()
    answer = await proxy.request("POST", path, headers={"X-User-Id": user}, body=sent)
    received = upstream.last.body
    assert answer.status == 200
    if path == PASSED:
        assert received == sent
        return
    assert answer.memory == "injected"
    assert received.startswith(before.encode() + b'"messages": [')
    assert received.endswith(b'{"role":"user","content":"%b"}]' % QUESTION.encode() + after.encode())
    assert b"Biscuit" in received


@both_routes
async def test_row_13_our_own_fields_stay_here(proxy: Proxy, upstream: Upstream, knowing: str, path: str) -> None:
    """The proxy's own fields leak upstream: of our headers none goes there, in the body there is none of ours."""
    ours = {
        "X-User-Id": knowing,
        "x-conversation-id": "c",
        "X-MEMORY-MODE": "full",
        "X-User-Signature": "t=1,v1=00",
    }
    await proxy.request("POST", path, headers={**ours, "X-Other": "1"}, body=ask(QUESTION, user="body-user"))
    names = {name.decode().lower() for name, _ in upstream.last.headers}
    assert names - {"host", "content-length", HOP} == {"x-other"}
    assert upstream.last.json.keys() == {"model", "messages", "user"}
    assert knowing.encode() not in upstream.last.head + upstream.last.body


@pytest.mark.parametrize("options", [None, {"include_usage": True}, {"include_usage": False, "new": 1}])
@both_routes
async def test_row_14_usage_is_neither_lost_nor_forced(
    proxy: Proxy, upstream: Upstream, user: str, path: str, options: dict[str, object] | None
) -> None:
    """The usage chunk lost, or ``include_usage`` forced: ``stream_options`` pass, and so does the chunk."""
    usage = b'data: {"id":"chatcmpl-1","choices":[],"usage":{"total_tokens":2}}\n\n'
    pieces = [*events("Hi", done=False), usage, DONE]
    upstream.script(stream(pieces))
    fields = {} if options is None else {"stream_options": options}
    body = ask("Say hi to me, please.", stream=True, **fields)
    answer = await proxy.request("POST", path, headers={"X-User-Id": user}, body=body)
    assert upstream.last.body == body
    assert answer.body == b"".join(pieces)


CALLS = [
    {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": ""}},
    {"index": 0, "function": {"arguments": "{"}},
    {"index": 0, "id": "call_2", "type": "function", "function": {"name": "time", "arguments": "}"}},
    {"index": None, "id": None, "function": None},
    {"index": "1", "id": "call_2", "function": {"arguments": 5}},
    {},
]


@both_routes
async def test_row_15_tool_calls_are_not_merged(proxy: Proxy, upstream: Upstream, user: str, path: str) -> None:
    """Tool-call deltas merged by ``index``: they pass raw, and the capture bears missing and repeated ones."""
    calls = [event({"tool_calls": [call]}) for call in CALLS]
    calls += [event({"tool_calls": CALLS}), *events("Let me look.")]
    none = [event({"tool_calls": []}), *events("It is sunny.")]
    upstream.script(stream(calls), stream(none))
    errors = proxy.metric("memory_errors_total", step="fold")
    for pieces in (calls, none):
        answer = await proxy.request("POST", path, headers={"X-User-Id": user}, body=ask("How is the weather?"))
        assert answer.body == b"".join(pieces)
    # A call of a tool is a step on the way to a reply, and none to remember.
    assert await proxy.texts(user) == ([] if path == PASSED else ["How is the weather?", "It is sunny."])
    assert proxy.metric("memory_errors_total", step="fold") == errors


@pytest.mark.parametrize("path", ["/v1/files", "/v1/audio/transcriptions", "/v1/images/edits", CHAT])
async def test_row_16_multipart_is_not_parsed(proxy: Proxy, upstream: Upstream, user: str, path: str) -> None:
    """Multipart parsed as JSON: what is no chat in JSON passes as it is."""
    body = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.bin"\r\n\r\n\x00\xff{\r\n--b--\r\n'
    headers = {"X-User-Id": user, "Content-Type": "multipart/form-data; boundary=b"}
    answer = await proxy.request("POST", path, headers=headers, body=body)
    assert answer.status == 200
    assert upstream.last.body == body
    assert upstream.last.every("content-type") == [b"multipart/form-data; boundary=b"]


async def test_row_16_bodies_stream_in_both_directions(proxy: Proxy, upstream: Upstream) -> None:
    """A passed body is not gathered first: upstream may answer the first half before the second is sent."""

    async def echo(visit: Visit) -> None:
        visit.start(200, [EVENTS, ("transfer-encoding", "chunked")])
        async for piece in visit.pieces():
            visit.send(b"%x\r\n%b\r\n" % (len(piece), piece))
        visit.send(b"0\r\n\r\n")

    upstream.script(echo)
    async with await proxy.open("POST", PASSED, headers=[("Transfer-Encoding", "chunked")]) as wire:
        for word in (b"one", b"two"):
            await wire.send(b"3\r\n%b\r\n" % word)
            if word == b"one":
                await wire.head()
            assert await wire.piece() == word
        await wire.send(b"0\r\n\r\n")
        assert await wire.piece() == b""


async def test_row_17_images_pass(proxy: Proxy, upstream: Upstream, user: str) -> None:
    """1 MB limits reject images: several megabytes in a chat are ordinary."""
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "iVBORw0K" * (1 << 19)}}
    content = [{"type": "text", "text": QUESTION}, image]
    body = json.dumps({"messages": [{"role": "user", "content": content}]}).encode()
    assert (await proxy.chat(user, body)).status == 200
    assert upstream.last.body == body


@pytest.mark.parametrize("chunked", [False, True])
@both_routes
async def test_row_17_memory_is_bounded(launch: Launch, upstream: Upstream, path: str, *, chunked: bool) -> None:
    """No limit exhausts memory: what is held in memory has one, what streams through needs none."""
    proxy = await launch(ready=False, server={"max_body_mb": 0.01})
    body = ask("x" * 20_000)
    framing = ("Transfer-Encoding", "chunked") if chunked else ("Content-Length", str(len(body)))
    async with await proxy.open("POST", path, headers=[framing]) as wire:
        await wire.send(b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) if chunked else body)
        answer = await wire.answer()
    if path == PASSED:
        assert (answer.status, upstream.last.body) == (200, body)
        return
    assert (answer.status, answer.code) == (413, "memory_proxy_body_too_large")
    assert upstream.visits == []


@pytest.mark.parametrize("method", ["OPTIONS", "HEAD", "GET", "PUT", "DELETE", "PATCH", "TRACE", "PROPFIND"])
@both_routes
async def test_row_18_every_method_goes_upstream(proxy: Proxy, upstream: Upstream, path: str, method: str) -> None:
    """OPTIONS and HEAD answered by the proxy: it answers none by itself, on the chat's path neither."""

    async def allow(visit: Visit) -> None:
        visit.start(203, [("allow", "POST"), ("content-length", "0" if method != "HEAD" else "99")])

    upstream.script(allow)
    answer = await proxy.request(method, path)
    assert answer.status == 203
    assert (upstream.last.method.decode(), upstream.last.target.decode()) == (method, path)
    assert answer.headers[:2] == [("allow", "POST"), ("content-length", "0" if method != "HEAD" else "99")]


async def test_row_19_websockets_pass(proxy: Proxy, upstream: Upstream) -> None:
    """Upgrades get 403: upstream is dialled first, its 101 accepts the client, and then bytes pass verbatim."""

    async def accept(visit: Visit) -> None:
        await visit.go_on.wait()
        visit.start(101, [("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Accept", "abc=")])
        visit.send(b"\x81\x05hello")
        visit.send((await visit.exactly(9))[::-1])
        visit.close()

    upstream.script(accept)
    wanted = [("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")]
    wire = await proxy.open("GET", "/v1/realtime?model=m", headers=[*wanted, ("Sec-WebSocket-Version", "13")])
    async with wire:
        visit = await upstream.visited()
        assert (visit.target, visit.every("upgrade")) == (b"/v1/realtime?model=m", [b"websocket"])
        visit.go_on.set()
        answer = await wire.head()
        assert (answer.status, answer.header("sec-websocket-accept")) == (101, "abc=")
        await wire.send(b"\x81\x83abcd123")
        assert await within(wire.reader.read(-1)) == b"\x81\x05hello321dcba\x83\x81"


@both_routes
async def test_row_20_nginx_is_told_not_to_buffer(proxy: Proxy, upstream: Upstream, path: str) -> None:
    """nginx buffers SSE: event streams, and only these, get the one header that helps; upstream's own stays."""
    upstream.script(
        stream(events("Hi")),
        stream(events("Hi"), headers=[EVENTS, ("X-Accel-Buffering", "yes")]),
        respond(completion("Hi"), headers=[JSON]),
    )
    answers = [await proxy.request("POST", path, body=STORY) for _ in range(3)]
    assert [answer.every("x-accel-buffering") for answer in answers] == [["no"], ["yes"], []]
    added = [name for name, _ in answers[0].headers if not name.startswith("x-memory-")]
    assert sorted(added) == ["content-type", "transfer-encoding", "x-accel-buffering"]


async def drop(visit: Visit) -> None:
    """Takes the request and closes the connection without a word."""
    await visit.read()
    visit.abort()


@both_routes
async def test_row_21_a_stale_connection_does_not_show(
    launch: Launch, upstream: Upstream, user: str, path: str
) -> None:
    """A stale kept-alive connection surfaces as 500: the request is sent once more, on a new connection, unchanged."""
    proxy = await launch(ready=False)
    method, body = ("POST", ask("Are you still there?")) if path == CHAT else ("GET", None)
    upstream.script(respond(completion("1")), drop, respond(completion("2")))
    for text in ("1", "2"):
        answer = await proxy.request(method, path, body=body)
        assert (answer.status, answer.body) == (200, completion(text))
    assert [visit.body for visit in upstream.visits] == [body or b""] * 3


@both_routes
async def test_row_21_a_request_that_may_have_counted_is_not_repeated(
    launch: Launch, upstream: Upstream, path: str
) -> None:
    """Repeating is for reused connections without a byte of an answer only: a model may have been paid already."""

    async def begin(visit: Visit) -> None:
        await visit.read()
        visit.send(b"HTTP/1.1 200 OK\r\ncontent-le")
        visit.close()

    proxy = await launch(ready=False)
    upstream.script(drop, respond(completion("1")), begin)
    answers = [await proxy.request("POST", path, body=STORY) for _ in range(3)]
    assert [answer.status for answer in answers] == [502, 200, 502]
    assert len(upstream.visits) == 3


@both_routes
async def test_row_22_duplicate_headers_stay_two(proxy: Proxy, upstream: Upstream, user: str, path: str) -> None:
    """Duplicate headers (``set-cookie``) merged: both ways, what comes twice goes on twice, in its order."""
    cookies = [("set-cookie", "a=1; Expires=Wed, 21 Oct 2099 07:28:00 GMT"), ("set-cookie", "b=2, c")]
    upstream.script(respond(b"{}", headers=[JSON, *cookies, ("vary", "a"), ("vary", "b")]))
    twice = [("X-Twice", "two"), ("Cookie", "a=1"), ("X-Twice", "one, 3"), ("Cookie", "b=2")]
    answer = await proxy.request("POST", path, headers=twice, body=STORY)
    assert upstream.last.every("x-twice") == [b"two", b"one, 3"]
    assert upstream.last.every("cookie") == [b"a=1", b"b=2"]
    assert [pair for pair in answer.headers if pair[0] == "set-cookie"] == cookies
    assert answer.every("vary") == ["a", "b"]


@pytest.mark.parametrize("query", ["", "?q=%7e&x=%2F&y=a+b&y=&&empty", "?a[]='\"|{}", "?%zz"])
@both_routes
async def test_row_23_nothing_is_added_or_rewritten(proxy: Proxy, upstream: Upstream, path: str, query: str) -> None:
    """The client library adds ``accept-encoding``, rewrites ``%7e``: line and headers are the client's."""
    await proxy.request("POST", path + query, headers=[("X-Only", "1")], body=STORY)
    request_line = upstream.last.head.partition(b"\r\n")[0]
    assert request_line == f"POST {path}{query} HTTP/1.1".encode()
    names = sorted(name.decode().lower() for name, _ in upstream.last.headers)
    assert names == sorted(["host", "x-only", "content-length", HOP])


TARGETS = [
    "/v1/files/a%2Fb%20c%7E~%C3%A9/content?x=%2F&y=a+b&x=2&empty=&q=%7e",
    "/v1/../v1/./models",
    "/v1//double//slash/",
    "/v1/%2e%2e/%2E",
    "/v1/a;b=c,d:e@f!$&'()*+?a[]=1&b='\"|{}",
    "/v1/chat/completions/extra",
    "/v1/chat/completions/",
    "/v1/CHAT/completions",
]


@pytest.mark.parametrize("target", TARGETS)
async def test_row_23_paths_are_not_rewritten(proxy: Proxy, upstream: Upstream, target: str) -> None:
    """Nothing of a target is decoded, encoded or normalised."""
    assert (await proxy.request("GET", target)).status == 200
    assert upstream.last.target == target.encode()


@both_routes
async def test_row_24_there_is_no_cookie_jar(proxy: Proxy, upstream: Upstream, user: str, path: str) -> None:
    """One user's upstream cookies sent with another's request: none is kept, those of the client pass."""
    upstream.script(respond(b"{}", headers=[JSON, ("set-cookie", "session=1; Path=/")]))
    await proxy.request("POST", path, headers={"X-User-Id": user}, body=STORY)
    await proxy.request("POST", path, headers={"X-User-Id": f"{user}-other"}, body=STORY)
    assert upstream.last.every("cookie") == []
    await proxy.request("POST", path, headers={"Cookie": "session=2"}, body=STORY)
    assert upstream.last.every("cookie") == [b"session=2"]


@pytest.mark.parametrize("fields", DELICATE)
@both_routes
async def test_row_25_nothing_is_reserialised(
    proxy: Proxy, upstream: Upstream, knowing: str, path: str, fields: str
) -> None:
    """Re-serialising changed numbers and lone surrogates: outside the messages not a byte changes."""
    await assert_only_messages_change(proxy, upstream, knowing, path, fields)


@pytest.mark.parametrize(
    "body",
    [
        b'{"messages": [{"role": "user", "content": "Biscuit?"}], "x": NaN}',
        b'{"messages": [{"role": "user", "content": "Biscuit?"}], "x": Infinity',
        b'{"messages": [{"role": "user", "content": "\xff\xfe"}]}',
        b'\xef\xbb\xbf{"messages": []}',
        b'{"messages": "all"}',
        b"[]",
        b"",
        b"model=m&stream=1",
    ],
)
@both_routes
async def test_row_25_what_cannot_be_parsed_passes(
    proxy: Proxy, upstream: Upstream, knowing: str, path: str, body: bytes
) -> None:
    """Where the body cannot be parsed, upstream gets it unmodified, and says itself what it thinks of it."""
    assert (await proxy.request("POST", path, headers={"X-User-Id": knowing}, body=body)).status == 200
    assert upstream.last.body == body


@both_routes
async def test_row_26_a_loop_ends_at_its_second_pass(proxy: Proxy, upstream: Upstream, path: str) -> None:
    """A proxy pointed at itself loops: a request that it has sent on already is answered with 508."""
    await proxy.request("POST", path, body=STORY)
    (hop,) = upstream.last.every(HOP)
    upstream.visits.clear()
    answer = await proxy.request("POST", path, headers={HOP: hop.decode()}, body=STORY)
    assert (answer.status, answer.code) == (508, "memory_proxy_loop")
    assert upstream.visits == []
