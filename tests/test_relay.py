"""The relay: whatever is under ``/v1/`` goes upstream and comes back byte for byte."""

import asyncio
import base64
import gzip

import pytest

from tests.conftest import Launch
from tests.harness import Gate, Proxy, Upstream, respond, stream
from tests.harness.payloads import ask, completion, events
from tests.harness.upstream import EVENTS, JSON, Visit, within

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_head_passes_with_the_length_of_what_is_not_sent(proxy: Proxy, upstream: Upstream) -> None:
    """HEAD is answered with upstream's headers, its content-length too, and no body; the connection goes on."""

    async def head_only(visit: Visit) -> None:
        visit.start(200, [JSON, ("content-length", "1234")])

    upstream.script(head_only)
    async with await proxy.open("HEAD", "/v1/models/m") as wire:
        answer = await wire.answer(bodiless=True)
        assert (answer.status, answer.header("content-length")) == (200, "1234")
        await wire.send(b"GET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await wire.answer()).status == 200


async def test_base_urls_have_any_path(launch: Launch, upstream: Upstream) -> None:
    """``/v1/X`` here is ``{base_url}/X`` there."""
    proxy = await launch(ready=False, upstream={"base_url": f"{upstream.url}/openai/v2/"})
    await proxy.request("GET", "/v1/models?a=1")
    assert upstream.last.target == b"/openai/v2/models?a=1"


async def test_request_headers_pass_and_none_is_added(proxy: Proxy, upstream: Upstream) -> None:
    """Upstream sees the client's end-to-end headers, repeated ones repeated; more are only ``Host`` and the hop's."""
    headers = [
        ("Authorization", "Bearer sk-client"),
        ("X-Twice", "one"),
        ("X-Twice", "two"),
        ("OpenAI-Beta", "assistants=v2"),
        ("Cookie", "a=1; b=2"),
        ("X-Empty", ""),
        ("X-Umlaut", "grün"),
    ]
    await proxy.request("GET", "/v1/models", headers=headers)
    names = [(name.decode().lower(), value.decode()) for name, value in upstream.last.headers]
    assert names[:-1] == [
        ("host", upstream.url.removeprefix("http://")),
        *((name.lower(), value) for name, value in headers),
    ]
    assert names[-1][0] == "x-memory-proxy-hop"
    assert upstream.last.every("x-twice") == [b"one", b"two"]


async def test_response_headers_pass_verbatim(proxy: Proxy, upstream: Upstream) -> None:
    """Repeated headers, cookies and those that only some clients read arrive in upstream's order; none is added."""
    headers = [
        ("content-type", "application/json"),
        ("set-cookie", "a=1; Path=/"),
        ("set-cookie", "b=2"),
        ("retry-after-ms", "17"),
        ("x-should-retry", "false"),
        ("x-ratelimit-remaining-tokens", "5"),
        ("openai-organization", "org"),
        ("date", "Thu, 01 Jan 1970 00:00:00 GMT"),
        ("server", "upstream"),
    ]
    upstream.script(respond(b"{}", headers=headers))
    answer = await proxy.request("GET", "/v1/models")
    assert answer.headers == [*headers, ("content-length", "2")]


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_redirects_are_not_followed(proxy: Proxy, upstream: Upstream, status: int) -> None:
    """A redirect is the client's to judge."""
    upstream.script(respond(b"", status=status, headers=[("location", "http://127.0.0.1:9/elsewhere")]))
    answer = await proxy.request("GET", "/v1/models")
    assert (answer.status, answer.header("location")) == (status, "http://127.0.0.1:9/elsewhere")
    assert len(upstream.visits) == 1


@pytest.mark.parametrize("status", [204, 304])
@pytest.mark.parametrize("headers", [(), (("content-length", "5"), ("etag", '"x"'))])
async def test_answers_without_a_body(
    proxy: Proxy, upstream: Upstream, status: int, headers: tuple[tuple[str, str], ...]
) -> None:
    """204 and 304 end with their head, also where upstream tells the length of what it does not send."""

    async def bodiless(visit: Visit) -> None:
        visit.start(status, headers)

    upstream.script(bodiless)
    async with await proxy.open("GET", "/v1/files/f") as wire:
        answer = await wire.answer(bodiless=True)
        assert answer.status == status
        assert answer.header("transfer-encoding") is None
        await wire.send(b"GET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await wire.answer()).status == 200


@pytest.mark.parametrize("coding", ["gzip", "identity"])
async def test_encoded_bodies_pass_raw_and_are_learnt_decoded(
    proxy: Proxy, upstream: Upstream, user: str, coding: str
) -> None:
    """The client gets upstream's very bytes with their encoding; memory reads a decoded copy."""
    plain = completion("The capital is Paris.")
    body = gzip.compress(plain) if coding == "gzip" else plain
    upstream.script(respond(body, headers=[JSON, ("content-encoding", coding)]))
    answer = await proxy.chat(user, ask("What is the capital of France?"), accept_encoding="gzip")
    assert (answer.body, answer.header("content-encoding")) == (body, coding)
    assert upstream.last.every("accept-encoding") == [b"gzip"]
    assert await proxy.texts(user) == ["What is the capital of France?", "The capital is Paris."]


async def test_encoded_streams_are_learnt_decoded(proxy: Proxy, upstream: Upstream, user: str) -> None:
    """A gzip-encoded event stream, cut anywhere, reaches the client as it is, and memory as text."""
    body = gzip.compress(b"".join(events("Bon", "jour")))
    pieces = [body[i : i + 7] for i in range(0, len(body), 7)]
    upstream.script(stream(pieces, headers=[EVENTS, ("content-encoding", "gzip")]))
    answer = await proxy.chat(user, ask("Say hello in French, please.", stream=True))
    assert answer.body == body
    assert await proxy.texts(user) == ["Say hello in French, please.", "Bonjour"]


async def test_uploads_stream_through(proxy: Proxy, upstream: Upstream) -> None:
    """A multipart upload of known length reaches upstream while the client still sends it, unparsed and unchanged."""
    first, second = b"--b\r\nContent-Disposition: form-data\r\n\r\n\x00\xff", b"rest\r\n--b--\r\n"
    arrived = asyncio.Event()

    async def read_slowly(visit: Visit) -> None:
        async for _ in visit.pieces():
            if visit.body == first:
                arrived.set()
        visit.start(200, [JSON, ("content-length", "2")])
        visit.send(b"{}")

    upstream.script(read_slowly)
    length = len(first) + len(second)
    headers = [("Content-Type", "multipart/form-data; boundary=b"), ("Content-Length", str(length))]
    async with await proxy.open("POST", "/v1/files", headers=headers) as wire:
        await wire.send(first)
        await within(arrived.wait())
        await wire.send(second)
        assert (await wire.answer()).body == b"{}"
    assert upstream.last.body == first + second
    assert upstream.last.every("content-length") == [str(length).encode()]
    assert upstream.last.every("content-type") == [b"multipart/form-data; boundary=b"]


async def test_chunked_uploads_stream_through(proxy: Proxy, upstream: Upstream) -> None:
    """A body of unknown length stays one: chunked in, chunked out, piece by piece."""
    arrived = asyncio.Event()

    async def read_slowly(visit: Visit) -> None:
        async for _ in visit.pieces():
            arrived.set()
        visit.start(200, [JSON, ("content-length", "2")])
        visit.send(b"{}")

    upstream.script(read_slowly)
    async with await proxy.open("POST", "/v1/audio", headers=[("Transfer-Encoding", "chunked")]) as wire:
        await wire.send(b"3\r\nabc\r\n")
        await within(arrived.wait())
        await wire.send(b"2;ext=1\r\nde\r\n0\r\nX-Trailer: t\r\n\r\n")
        assert (await wire.answer()).body == b"{}"
    assert upstream.last.body == b"abcde"
    assert upstream.last.every("content-length") == []


async def test_an_early_answer_needs_no_body(proxy: Proxy, upstream: Upstream) -> None:
    """A client that sends its head and waits gets what upstream has to say to the head alone."""

    async def refuse(visit: Visit) -> None:
        visit.start(401, [JSON, ("content-length", "2"), ("connection", "close")])
        visit.send(b"{}")

    upstream.script(refuse)
    async with await proxy.open("POST", "/v1/files", headers=[("Content-Length", "1000000")]) as wire:
        assert (await wire.answer()).status == 401


async def test_a_body_behind_its_head_is_sent_over_a_kept_connection(proxy: Proxy, upstream: Upstream) -> None:
    """Clients send head and body in two packets: what is small is still there as a whole, and can be sent twice."""

    async def drop(visit: Visit) -> None:
        await visit.read()
        visit.abort()

    upstream.script(respond(b"1"), drop, respond(b"2"))
    await proxy.request("GET", "/v1/models")
    async with await proxy.open("POST", "/v1/embeddings", headers=[("Content-Length", "2")]) as wire:
        await wire.send(b"{}")
        assert (await wire.answer()).body == b"2"
    assert [visit.body for visit in upstream.visits] == [b"", b"{}", b"{}"]


async def test_chunked_chat_requests_get_memory(proxy: Proxy, upstream: Upstream, user: str) -> None:
    """A chat request whose length is not known beforehand is understood, too, and has one when it goes on."""
    body = ask("I keep bees in the garden.")
    headers = [("Transfer-Encoding", "chunked"), ("X-User-Id", user)]
    async with await proxy.open("POST", "/v1/chat/completions", headers=headers) as wire:
        await wire.send(b"%x\r\n%b\r\n%x\r\n%b\r\n0\r\n\r\n" % (5, body[:5], len(body) - 5, body[5:]))
        assert (await wire.answer()).status == 200
    assert upstream.last.body == body
    assert upstream.last.every("content-length") == [str(len(body)).encode()]
    assert await proxy.texts(user) == ["I keep bees in the garden.", "Noted."]


async def test_the_expectation_is_answered_here(proxy: Proxy, upstream: Upstream) -> None:
    """``Expect: 100-continue`` gets its 100 from the proxy, and does not go upstream."""
    headers = [("Expect", "100-continue"), ("Content-Length", "2")]
    async with await proxy.open("POST", "/v1/embeddings", headers=headers) as wire:
        assert (await wire.head()).status == 100
        await wire.send(b"{}")
        assert (await wire.answer()).status == 200
    assert upstream.last.every("expect") == []
    assert upstream.last.body == b"{}"


async def test_chunks_leave_as_they_come(proxy: Proxy, upstream: Upstream, user: str) -> None:
    """The first chunk reaches the client while upstream still has the others, and none is split, joined or held."""
    gate = Gate()
    upstream.script(gate)
    pieces = [b'data: {"ch', *events("A", "né"[:1], "z"), b": a comment\n\n"]
    async with await proxy.open("POST", "/v1/responses", body=b"{}") as wire:
        await gate.asked()
        gate.start()
        head = await wire.head()
        assert head.header("x-accel-buffering") == "no"
        for piece in pieces:
            gate.release(piece)
            assert await wire.piece() == piece
        gate.end()
        assert await wire.piece() == b""


async def test_a_chat_stream_is_not_held_back(proxy: Proxy, upstream: Upstream, user: str) -> None:
    """With memory on, too, each chunk is with the client before upstream sends the next."""
    gate = Gate()
    upstream.script(gate)
    async with await proxy.open(
        "POST", "/v1/chat/completions", headers={"X-User-Id": user}, body=ask("Count for me, please.", stream=True)
    ) as wire:
        await gate.asked()
        gate.start()
        assert (await wire.head()).memory == "empty"
        for piece in events("one", "two", "three"):
            gate.release(piece)
            assert await wire.piece() == piece
        gate.end()
        assert await wire.piece() == b""
    assert await proxy.texts(user) == ["Count for me, please.", "onetwothree"]


async def test_events_cut_anywhere_are_understood(proxy: Proxy, upstream: Upstream, user: str) -> None:
    """Chunks that cut events and UTF-8 sequences pass as they are, and the reply is folded all the same."""
    whole = b"".join(events("Größe: ", "七\u2028度", " 🐝"))
    pieces = [whole[i : i + 1] for i in range(len(whole))]
    upstream.script(stream(pieces))
    answer = await proxy.chat(user, ask("How warm is it today?", stream=True))
    assert answer.body == whole
    assert (await proxy.texts(user))[1] == "Größe: 七\u2028度 🐝"


async def test_a_password_in_the_base_url_is_sent(launch: Launch, upstream: Upstream) -> None:
    """As any client would, in place of what the proxy's own client sends."""
    proxy = await launch(ready=False, upstream={"base_url": f"{upstream.url.replace('//', '//me:hush%21@')}/v1"})
    await proxy.request("GET", "/v1/models", headers={"Authorization": "Bearer sk-client"})
    assert upstream.last.every("authorization") == [b"Basic " + base64.b64encode(b"me:hush!")]


async def test_the_token_is_the_clients_or_the_configured_one(launch: Launch, upstream: Upstream, user: str) -> None:
    """With ``upstream.api_key`` set, upstream sees that key and never the client's."""
    proxy = await launch(ready=False, upstream={"api_key": "sk-configured"})
    for _ in range(2):
        await proxy.chat(user, ask("Hello!"), authorization="Bearer sk-client")
        assert upstream.last.every("authorization") == [b"Bearer sk-configured"]
    await proxy.request("GET", "/v1/models")
    assert upstream.last.every("authorization") == [b"Bearer sk-configured"]
