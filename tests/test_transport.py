"""The way to the upstream for clients of httpx2, the official ``openai`` client among them."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest
from openai import AsyncOpenAI

from proxy.config import Upstream as UpstreamSettings
from proxy.upstream import Upstream
from proxy.upstream.transport import Transport
from tests.harness import Gate, Visit, respond, stream
from tests.harness import Upstream as FarEnd
from tests.harness.network import closed_port, run_unix_endpoint
from tests.harness.payloads import events
from tests.harness.upstream import JSON

pytestmark = pytest.mark.asyncio(loop_scope="session")


def connect(url: str) -> httpx2.AsyncClient:
    """A client that knows nothing of where its requests go."""
    settings = UpstreamSettings(base_url=url, read_timeout_s=5, connect_timeout_s=5)
    return httpx2.AsyncClient(transport=Transport(Upstream(settings)), base_url="http://elsewhere/v1")


async def test_requests_and_answers(upstream: FarEnd) -> None:
    """Target, headers and bodies are the client's; the host is the upstream's; the answer is whole."""
    upstream.script(respond(b'{"a": 1}', headers=[JSON, ("x-twice", "1"), ("x-twice", "2")]))
    async with connect(upstream.url) as client:
        response = await client.post("/x?y=%20", json={"b": 2}, headers={"X-C": "3"})
    assert (response.status_code, response.json(), response.headers.get_list("x-twice")) == (200, {"a": 1}, ["1", "2"])
    visit = upstream.last
    assert (visit.method, visit.target, visit.json) == (b"POST", b"/v1/x?y=%20", {"b": 2})
    assert (visit.every("x-c"), visit.every("host")) == ([b"3"], [upstream.url.removeprefix("http://").encode()])


async def test_streams_both_ways(upstream: FarEnd) -> None:
    """A body of unknown length goes in chunks, and an answer can be read as it comes."""

    async def body() -> AsyncIterator[bytes]:
        yield b"ab"
        yield b"c"

    upstream.script(stream([b"one", b"two"]))
    async with connect(upstream.url) as client, client.stream("POST", "/x", content=body()) as response:
        assert b"".join([piece async for piece in response.aiter_raw()]) == b"onetwo"
    assert (upstream.last.body, upstream.last.every("transfer-encoding")) == (b"abc", [b"chunked"])


async def test_who_does_not_read_on_hangs_up(upstream: FarEnd) -> None:
    """A response that is closed half-way closes its connection."""
    gate = Gate()
    upstream.script(gate)
    gate.start()
    gate.release(b"x")
    async with connect(upstream.url) as client:
        async with client.stream("GET", "/x") as response:
            assert response.status_code == 200
        await gate.hung_up()


async def test_failures_are_httpx2s(upstream: FarEnd) -> None:
    """So that clients that know these handle them as ever: nobody there, no HTTP, a body cut, too late."""

    async def babble(visit: Visit) -> None:
        visit.send(b"SSH-2.0\r\n\r\n")
        visit.close()

    async def cut(visit: Visit) -> None:
        visit.start(200, [JSON, ("content-length", "10")])
        visit.send(b"123")
        visit.close()

    with closed_port() as port:
        client = connect(f"http://127.0.0.1:{port}")
        with pytest.raises(httpx2.ConnectError):
            await client.get("/x")
    async with connect(upstream.url) as client:
        upstream.script(babble)
        with pytest.raises(httpx2.RemoteProtocolError):
            await client.get("/x")
        upstream.script(cut)
        with pytest.raises(httpx2.ReadError):
            await client.get("/x")
        upstream.script(Gate())
        with pytest.raises(httpx2.ReadTimeout):
            await client.get("/x", timeout=0.05)


async def test_a_header_cannot_bring_another(upstream: FarEnd) -> None:
    """A value with a line end in it is refused before anything is sent."""
    async with connect(upstream.url) as client:
        with pytest.raises(httpx2.LocalProtocolError):
            await client.get("/x", headers={"Authorization": "Bearer k\r\nX-Evil: 1"})
    assert upstream.visits == []


async def test_the_official_client_over_a_socket(tmp_path: Path) -> None:
    """Where the upstream is a Unix socket, its models and embeddings are had there, too."""
    async with run_unix_endpoint(tmp_path / "llm.sock") as endpoint:
        endpoint.script(stream(events("Hi", " there")))
        settings = UpstreamSettings(base_url=endpoint.url)
        http = httpx2.AsyncClient(transport=Transport(Upstream(settings)))
        base = settings.address.origin + settings.address.prefix
        async with AsyncOpenAI(base_url=base, api_key="k", http_client=http) as client:
            chunks = await client.chat.completions.create(
                model="m", messages=[{"role": "user", "content": "hi"}], stream=True
            )
            said = [chunk.choices[0].delta.content async for chunk in chunks]
        assert "".join(text or "" for text in said) == "Hi there"
        assert endpoint.last.target == b"/v1/chat/completions"
