"""Each way in which an upstream fails before its answer begins: what the client, the metrics and the log are told."""

import asyncio
import re
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from tests.harness import Gate, Proxy
from tests.harness.network import Authority, Endpoint, Resolver, closed_port, reset, run_endpoint, silent_port
from tests.harness.payloads import ask
from tests.harness.relays import Start, expect_failure, run_relay
from tests.harness.upstream import Script, Visit

pytestmark = pytest.mark.asyncio(loop_scope="session")

CLIENT_KEY = "sk-of-the-client"
OWN_KEY = "sk-of-the-proxy"
# Long enough that a busy machine connects in time, short enough to be waited for.
PATIENCE_S = 0.3


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def broken_end() -> AsyncIterator[Endpoint]:
    async with run_endpoint(Endpoint()) as endpoint:
        yield endpoint


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def impatient(broken_end: Endpoint, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Proxy]:
    """A proxy with short patience and one connection: a failure that kept it would hold up every later test."""
    upstream = {"read_timeout_s": PATIENCE_S, "max_connections": 1, "api_key": OWN_KEY}
    async with run_relay(tmp_path_factory.mktemp("impatient"), f"{broken_end.url}/v1", **upstream) as proxy:
        yield proxy


@pytest_asyncio.fixture(loop_scope="session")
async def endpoint(broken_end: Endpoint) -> Endpoint:
    """The upstream of ``impatient``, with nothing scripted and no connection open: a kept one hides failures."""
    await broken_end.hang_up()
    broken_end.reset()
    return broken_end


async def hang_up(visit: Visit) -> None:
    """Ends the connection in good order, but without an answer."""
    await visit.read()
    visit.close()


async def babble(visit: Visit) -> None:
    """Answers in another protocol."""
    await visit.read()
    visit.send(b"SSH-2.0-OpenSSH_9.9\r\n\r\n")
    visit.close()


async def never_end_the_head(visit: Visit) -> None:
    """Sends headers without end."""
    await visit.read()
    visit.send(b"HTTP/1.1 200 OK\r\n" + b"x-long: %b\r\n" % (b"x" * 1000) * 1000)
    await visit.wait_for_leaving()


async def contradict(visit: Visit) -> None:
    """Sends two lengths, of which one must be a lie."""
    await visit.read()
    visit.send(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}")
    await visit.wait_for_leaving()


async def cut_the_head(visit: Visit) -> None:
    """Hangs up in the middle of a header."""
    await visit.read()
    visit.send(b"HTTP/1.1 200 OK\r\ncontent-le")
    visit.close()


async def fall_silent_in_the_head(visit: Visit) -> None:
    """Says half of a header and then nothing."""
    await visit.read()
    visit.send(b"HTTP/1.1 200 OK\r\ncontent-le")
    await visit.wait_for_leaving()


async def switch_unasked(visit: Visit) -> None:
    """Answers with another protocol that nobody has asked for."""
    await visit.read()
    visit.send(b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n")
    await visit.wait_for_leaving()


async def say_nothing(visit: Visit) -> None:
    await visit.read()
    await visit.wait_for_leaving()


SCRIPTED: dict[str, tuple[Script, str, str]] = {
    "it hangs up": (hang_up, "reset", "closed|dropped|reset"),
    "it resets": (reset, "reset", "closed|dropped|reset"),
    "it hangs up within the head": (cut_the_head, "reset", "closed|dropped|reset"),
    "it speaks no HTTP": (babble, "protocol", "HTTP"),
    "its head has no end": (never_end_the_head, "protocol", "HTTP"),
    "its lengths differ": (contradict, "protocol", "HTTP"),
    "it switches protocols": (switch_unasked, "protocol", "HTTP"),
    "it says nothing": (say_nothing, "read_timeout", "answer|respon"),
    "it falls silent within the head": (fall_silent_in_the_head, "read_timeout", "answer|respon"),
}


@pytest.mark.parametrize("name", SCRIPTED)
async def test_failures_of_an_upstream_that_was_reached(impatient: Proxy, endpoint: Endpoint, name: str) -> None:
    """Each has its status, its code, a message that says what happened, and headers that say whether to ask again."""
    script, kind, pattern = SCRIPTED[name]
    endpoint.script(script, script)
    assert re.search(pattern, await expect_failure(impatient, kind))
    await endpoint.abandoned()
    assert len(endpoint.visits) == 2
    assert (await impatient.request("GET", "/v1/models")).status == 200


@pytest.mark.parametrize("name", ["it resets", "it speaks no HTTP", "it says nothing"])
async def test_the_log_tells_the_kind_and_no_secret(impatient: Proxy, endpoint: Endpoint, name: str) -> None:
    """One line a failure names its kind; neither key, nor query, nor what was said is in it."""
    script, kind, _ = SCRIPTED[name]
    endpoint.script(script)
    with capture_logs() as lines:
        await impatient.request(
            "POST",
            "/v1/chat/completions?secret=of-the-query",
            headers={"Authorization": f"Bearer {CLIENT_KEY}"},
            body=ask("What I say is mine."),
        )
    (line,) = [line for line in lines if line["event"].startswith("upstream")]
    assert kind in line.values()
    assert not [secret for secret in (CLIENT_KEY, OWN_KEY, "of-the-query", "is mine") if secret in str(line)]


async def test_the_answer_to_a_failure_can_be_followed_by_another_request(impatient: Proxy, endpoint: Endpoint) -> None:
    """An error of the proxy's own leaves the client's connection open."""
    endpoint.script(hang_up)
    async with await impatient.connect() as wire:
        for status in (502, 200):
            await wire.send(b"GET /v1/models HTTP/1.1\r\nHost: proxy\r\n\r\n")
            assert (await wire.answer()).status == status


async def test_a_slow_upload_is_no_silence_of_the_upstream(impatient: Proxy, endpoint: Endpoint) -> None:
    """The read timeout does not run while it is the client that is slow."""
    async with await impatient.open("POST", "/v1/files", headers=[("Content-Length", "4")]) as wire:
        await wire.send(b"ab")
        visit = await endpoint.visited()
        # Twice the patience: an answer of the proxy's own within it would be the error.
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(2 * PATIENCE_S):
                await wire.head()
        await wire.send(b"cd")
        assert (await wire.answer()).status == 200
    assert visit.body == b"abcd"


async def test_silence_after_the_head_is_truncation(impatient: Proxy, endpoint: Endpoint) -> None:
    """Once the answer has begun there is no status left to tell the failure with: the connection is cut."""
    gate = Gate()
    endpoint.script(gate)
    before = impatient.metric("upstream_errors_total", kind="read_timeout")
    async with await impatient.open("POST", "/v1/responses", body=b"{}") as wire:
        gate.start()
        assert (await wire.head()).status == 200
        assert await wire.closed() == b""
    assert impatient.metric("upstream_errors_total", kind="read_timeout") == before + 1


async def test_refused(start: Start) -> None:
    """Nobody listens: 502, and soon somebody may; the one connection allowed is free for the next try."""
    with closed_port() as port:
        proxy = await start(f"http://127.0.0.1:{port}/v1", max_connections=1)
        assert re.search("refused|not accept", await expect_failure(proxy, "refused"))


async def test_a_name_that_is_none(start: Start, resolver: Resolver) -> None:
    """The upstream's name is not known: 502, and the message speaks of a name."""
    proxy = await start("http://upstream.test/v1")
    assert re.search("name|DNS", await expect_failure(proxy, "dns"))
    assert resolver.asked == ["upstream.test"] * 2


async def test_no_connection_in_time(start: Start) -> None:
    """The other side neither accepts nor refuses: 504 after ``upstream.connect_timeout_s``."""
    with silent_port() as port:
        url = f"http://127.0.0.1:{port}/v1"
        proxy = await start(url, connect_timeout_s=PATIENCE_S, max_connections=1)
        assert "connect" in await expect_failure(proxy, "connect_timeout")


async def test_a_tls_handshake_that_hangs(start: Start) -> None:
    """The handshake belongs to connecting: 504 after ``upstream.connect_timeout_s``."""
    async with run_endpoint(Endpoint()) as mute:
        url = mute.url.replace("http:", "https:")
        proxy = await start(f"{url}/v1", connect_timeout_s=PATIENCE_S)
        await expect_failure(proxy, "connect_timeout")
        await mute.abandoned()


async def test_no_tls_where_it_was_expected(start: Start) -> None:
    """An upstream that answers the handshake with plain HTTP fails as TLS, and asking again does not help."""
    async with run_endpoint(Endpoint()) as plain:
        plain.greeting = b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
        proxy = await start(plain.url.replace("http:", "https:") + "/v1")
        assert "TLS" in await expect_failure(proxy, "tls")


async def test_tls_where_it_was_not_expected(start: Start, tmp_path: Path) -> None:
    """An upstream of https that is spoken to as http fails without hanging."""
    async with run_endpoint(Endpoint(), tls=Authority(tmp_path).serve()) as endpoint:
        proxy = await start(endpoint.url.replace("https:", "http:") + "/v1")
        answer = await proxy.request("GET", "/v1/models")
        assert (answer.status, answer.code) == (502, "memory_proxy_upstream_unreachable")
        assert endpoint.visits == []


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_an_untrusted_certificate(start: Start, tmp_path: Path, version: ssl.TLSVersion) -> None:
    """502, the message says TLS, and the client is told not to ask again."""
    async with run_endpoint(Endpoint(), tls=Authority(tmp_path).serve(version=version)) as endpoint:
        proxy = await start(f"{endpoint.url}/v1", api_key=OWN_KEY)
        with capture_logs() as lines:
            assert "TLS" in await expect_failure(proxy, "tls", Authorization=CLIENT_KEY)
        assert endpoint.visits == []
    assert not [secret for secret in (CLIENT_KEY, OWN_KEY) if secret in str(lines)]
