"""Upstreams that fail: the client sees what happened, no more and no less, and nothing of it is stored."""

import asyncio

import pytest

from tests.conftest import Launch
from tests.harness import Gate, Proxy, Upstream, respond
from tests.harness.payloads import ask, completion, failure
from tests.harness.upstream import JSON, Visit

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.mark.parametrize("status", [400, 401, 404, 409, 422, 429, 500, 502, 503, 529])
async def test_errors_pass_untouched(proxy: Proxy, upstream: Upstream, user: str, status: int) -> None:
    """Status, headers and body of upstream's errors are the client's to see, and nothing is stored of them."""
    body = failure("No.", code="some_code") + b"  "
    upstream.script(respond(body, status=status, headers=[JSON, ("retry-after", "7")]))
    answer = await proxy.chat(user, ask("Hello there, I am Ada."))
    assert (answer.status, answer.body, answer.header("retry-after")) == (status, body, "7")
    assert await proxy.texts(user) == []


async def test_a_body_shorter_than_announced_is_seen_as_such(proxy: Proxy, upstream: Upstream, user: str) -> None:
    """A JSON answer that breaks off is cut for the client, too, and not stored, even where it is readable."""
    body = completion("All of it.")

    async def cut_short(visit: Visit) -> None:
        await visit.read()
        visit.start(200, [JSON, ("content-length", str(len(body) + 1))])
        visit.send(body)
        visit.close()

    upstream.script(cut_short)
    async with await proxy.open(
        "POST", "/v1/chat/completions", headers={"X-User-Id": user}, body=ask("Tell me all.")
    ) as wire:
        await wire.head()
        with pytest.raises(asyncio.IncompleteReadError):
            await wire.rest()
    assert await proxy.texts(user) == []


async def test_an_upstream_that_is_not_there_is_502(launch: Launch, user: str) -> None:
    """A refused connection is answered in OpenAI's shape."""
    proxy = await launch(ready=False, upstream={"base_url": "http://127.0.0.1:1/v1"})
    for answer in (await proxy.request("GET", "/v1/models"), await proxy.chat(user, ask("Hi, are you there?"))):
        assert (answer.status, answer.code) == (502, "memory_proxy_upstream_unreachable")
        assert "127.0.0.1" not in answer.json["error"]["message"]


async def test_an_upstream_that_hangs_up_without_a_word_is_502(proxy: Proxy, upstream: Upstream) -> None:
    """A connection closed before any answer is an error of the proxy's own, with nothing sent before."""

    async def drop(visit: Visit) -> None:
        visit.abort()

    upstream.script(drop, drop)
    answer = await proxy.request("POST", "/v1/embeddings", body=b"{}")
    assert (answer.status, answer.code) == (502, "memory_proxy_upstream_unreachable")


async def test_an_upstream_that_speaks_no_http_is_502(proxy: Proxy, upstream: Upstream) -> None:
    """Garbage in the place of a response is answered with 502."""

    async def babble(visit: Visit) -> None:
        visit.send(b"SSH-2.0-OpenSSH_9.9\r\n\r\n")
        visit.close()

    upstream.script(babble)
    answer = await proxy.request("POST", "/v1/embeddings", body=b"{}")
    assert (answer.status, answer.code) == (502, "memory_proxy_upstream_unreachable")


async def test_an_upstream_that_says_nothing_is_504(launch: Launch, upstream: Upstream) -> None:
    """The read timeout counts from the request to the first byte."""
    proxy = await launch(ready=False, upstream={"read_timeout_s": 0.05})
    gate = Gate()
    upstream.script(gate)
    answer = await proxy.request("POST", "/v1/embeddings", body=b"{}")
    assert (answer.status, answer.code) == (504, "memory_proxy_upstream_timeout")
    await gate.hung_up()


async def test_an_upstream_that_falls_silent_is_cut(launch: Launch, upstream: Upstream) -> None:
    """The read timeout between two chunks ends the stream without a proper end."""
    proxy = await launch(ready=False, upstream={"read_timeout_s": 0.2})
    gate = Gate()
    upstream.script(gate)
    async with await proxy.open("POST", "/v1/responses", body=b"{}") as wire:
        gate.start()
        gate.release(b"data: {}\n\n")
        await wire.head()
        assert await wire.piece() == b"data: {}\n\n"
        assert await wire.closed() == b""
    await gate.hung_up()


async def test_a_stale_connection_is_no_error(proxy: Proxy, upstream: Upstream) -> None:
    """A kept connection that upstream has closed meanwhile does not show: the request goes over a new one."""

    async def last_words(visit: Visit) -> None:
        await visit.read()
        visit.start(200, [JSON, ("content-length", "2")])
        visit.send(b"{}")
        visit.close()

    upstream.script(last_words)
    await proxy.request("GET", "/v1/models")
    assert (await proxy.request("GET", "/v1/models")).status == 200


async def test_an_early_answer_ends_the_upload(proxy: Proxy, upstream: Upstream) -> None:
    """Upstream may refuse an upload half-way: the client gets the answer, and the proxy goes on."""

    async def refuse(visit: Visit) -> None:
        visit.start(413, [JSON, ("content-length", "2"), ("connection", "close")])
        visit.send(b"{}")

    upstream.script(refuse)
    async with await proxy.open("POST", "/v1/files", headers=[("Content-Length", "1000000")]) as wire:
        await wire.send(b"x" * 1000)
        answer = await wire.answer()
        assert (answer.status, answer.body) == (413, b"{}")
    assert (await proxy.request("GET", "/v1/models")).status == 200
