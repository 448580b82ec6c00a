"""Upstreams behind a forward proxy that the environment names: tunnels, absolute-form, credentials and exceptions."""

import asyncio
import base64
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from proxy.errors import ConfigError
from tests.harness import Gate, Wire
from tests.harness.client import render_request
from tests.harness.network import Authority, Endpoint, ForwardProxy, Resolver, closed_port, run_endpoint, silent_port
from tests.harness.payloads import ask
from tests.harness.relays import Start, expect_failure
from tests.harness.upstream import Script, Visit, respond
from tests.processes import Proxy as ProxyProcess
from tests.processes import run_command

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.usefixtures("resolver")]

# Known to the forward proxy alone.
NAME = "upstream.test"
CLIENT_KEY = "Bearer sk-of-the-client"
USER, PASSWORD = "ada", "p@ss:w/rd"
IN_URL = "ada:p%40ss%3Aw%2Frd"
CREDENTIALS = f"{USER}:{PASSWORD}"
BASIC = b"Basic " + base64.b64encode(CREDENTIALS.encode())


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest_asyncio.fixture(loop_scope="session")
async def secure(authority: Authority) -> AsyncIterator[Endpoint]:
    """An upstream of https, by a name that nobody but the forward proxy can resolve."""
    async with run_endpoint(Endpoint(), tls=authority.serve(NAME)) as endpoint:
        endpoint.url = endpoint.url.replace("localhost", NAME)
        yield endpoint


@pytest_asyncio.fixture(loop_scope="session")
async def forward(secure: Endpoint) -> AsyncIterator[ForwardProxy]:
    """A forward proxy that knows the way to ``secure``."""
    async with run_endpoint(ForwardProxy(routes=routes_to(secure))) as running:
        yield running


def routes_to(endpoint: Endpoint) -> dict[str, str]:
    authority = endpoint.url.partition("://")[2]
    return {authority: authority.replace(NAME, "127.0.0.1")}


async def test_https_goes_through_a_tunnel(
    start: Start,
    secure: Endpoint,
    forward: ForwardProxy,
    authority: Authority,
    resolver: Resolver,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One CONNECT for many requests; it names the upstream and says nothing of the client; the proxy resolves."""
    monkeypatch.setenv("HTTPS_PROXY", forward.url)
    proxy = await start(f"{secure.url}/v1", ca_file=authority.bundle)
    headers = {"Authorization": CLIENT_KEY, "Cookie": "mine=1", "User-Agent": "me"}
    for target in ("/v1/models?a=%7e", "/v1/files"):
        assert (await proxy.request("GET", target, headers=headers)).status == 200
    name = secure.url.removeprefix("https://").encode()
    assert [visit.head for visit in forward.visits] == [b"CONNECT %b HTTP/1.1\r\nhost: %b\r\n\r\n" % (name, name)]
    assert [visit.target for visit in secure.visits] == [b"/v1/models?a=%7e", b"/v1/files"]
    assert secure.last.every("authorization") == [CLIENT_KEY.encode()]
    assert secure.server_names == [NAME]
    assert resolver.asked == []


async def test_http_is_asked_for_in_absolute_form(
    start: Start, forward: ForwardProxy, resolver: Resolver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole URL goes to the forward proxy, byte for byte as the client wrote its part; connections are kept."""
    monkeypatch.setenv("HTTP_PROXY", forward.url)
    proxy = await start(f"http://{NAME}:8080/v1")
    assert (await proxy.chat(None, ask("Hi."))).status == 200
    assert forward.last.target == f"http://{NAME}:8080/v1/chat/completions".encode()
    assert (await proxy.request("GET", "/v1/%7e/a%2Fb?q=%20+")).status == 200
    assert forward.last.target == f"http://{NAME}:8080/v1/%7e/a%2Fb?q=%20+".encode()
    assert forward.last.every("host") == [f"{NAME}:8080".encode()]
    assert forward.connections == 1
    assert resolver.asked == []


@pytest.mark.parametrize("scheme", ["https", "http"])
async def test_credentials_are_for_the_forward_proxy_alone(
    start: Start, secure: Endpoint, authority: Authority, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    """Taken from its URL; what a client sends of the kind is dropped; they are in no log and reach no upstream."""
    async with run_endpoint(ForwardProxy(routes=routes_to(secure), credentials=CREDENTIALS)) as forward:
        monkeypatch.setenv(f"{scheme.upper()}_PROXY", forward.url.replace("://", f"://{IN_URL}@"))
        proxy = await start(secure.url.replace("https:", f"{scheme}:") + "/v1", ca_file=authority.bundle)
        with capture_logs() as lines:
            answer = await proxy.request("GET", "/v1/models", headers={"Proxy-Authorization": "Basic of-the-client"})
        assert answer.status == 200
        assert [visit.every("proxy-authorization") for visit in forward.visits] == [[BASIC]]
    assert not [visit for visit in secure.visits if visit.every("proxy-authorization")]
    assert not [secret for secret in (PASSWORD, IN_URL, BASIC.decode()) if secret in str(lines)]


@pytest.mark.parametrize("password", ["", f"{USER}:wrong@"])
async def test_a_forward_proxy_that_wants_other_credentials(
    start: Start, secure: Endpoint, monkeypatch: pytest.MonkeyPatch, password: str
) -> None:
    """Its 407 is no answer of the upstream's: 502, the client is not asked for credentials, and none are told."""
    async with run_endpoint(ForwardProxy(credentials=CREDENTIALS)) as forward:
        monkeypatch.setenv("HTTPS_PROXY", forward.url.replace("://", f"://{password}"))
        proxy = await start(f"{secure.url}/v1")
        with capture_logs() as lines:
            assert "proxy" in await expect_failure(proxy, "proxy")
            answer = await proxy.request("GET", "/v1/models")
    assert answer.every("proxy-authenticate") == []
    assert "407" in str(lines)
    assert "wrong" not in str(lines)


async def stay_silent(visit: Visit) -> None:
    await visit.wait_for_leaving()


async def hang_up(visit: Visit) -> None:
    visit.close()


async def babble(visit: Visit) -> None:
    visit.send(b"SSH-2.0-OpenSSH_9.9\r\n\r\n")
    await visit.wait_for_leaving()


async def never_end_the_head(visit: Visit) -> None:
    visit.send(b"HTTP/1.1 200 OK\r\n" + b"x-long: %b\r\n" % (b"x" * 1000) * 1000)
    await visit.wait_for_leaving()


@pytest.mark.parametrize(
    ("script", "kind"),
    [
        pytest.param(respond(b"<html>Not from here.</html>", status=403), "proxy", id="403"),
        pytest.param(respond(b"", status=302, headers=[("location", "http://portal.test/")]), "proxy", id="redirect"),
        pytest.param(respond(b"", status=503), "proxy", id="503"),
        pytest.param(hang_up, "proxy", id="hangs up"),
        pytest.param(babble, "proxy", id="no HTTP"),
        pytest.param(never_end_the_head, "proxy", id="no end"),
        pytest.param(stay_silent, "connect_timeout", id="silence"),
    ],
)
async def test_a_forward_proxy_that_opens_no_tunnel(
    start: Start, secure: Endpoint, forward: ForwardProxy, monkeypatch: pytest.MonkeyPatch, script: Script, kind: str
) -> None:
    """Nothing of its answer reaches the client; the upstream sees nothing; no connection is left open."""
    monkeypatch.setenv("HTTPS_PROXY", forward.url)
    proxy = await start(f"{secure.url}/v1", connect_timeout_s=0.3 if kind == "connect_timeout" else 5)
    forward.script(script, script)
    await expect_failure(proxy, kind)
    await forward.abandoned()
    assert secure.connections == 0


async def test_a_forward_proxy_that_is_down(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refused: 502, for tunnels and for absolute-form."""
    with closed_port() as port:
        for scheme in ("http", "https"):
            monkeypatch.setenv(f"{scheme.upper()}_PROXY", f"http://127.0.0.1:{port}")
            proxy = await start(f"{scheme}://{NAME}/v1")
            await expect_failure(proxy, "refused")
            await proxy.stop()


async def test_a_forward_proxy_that_does_not_answer_the_door(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither accepting nor refusing: 504 after ``upstream.connect_timeout_s``."""
    with silent_port() as port:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{port}")
        proxy = await start(f"https://{NAME}/v1", connect_timeout_s=0.3)
        await expect_failure(proxy, "connect_timeout")


async def test_an_upstream_that_is_not_trusted_in_the_tunnel(
    start: Start, secure: Endpoint, forward: ForwardProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tunnel changes nothing about whom the proxy trusts."""
    monkeypatch.setenv("HTTPS_PROXY", forward.url)
    proxy = await start(f"{secure.url}/v1")
    assert "TLS" in await expect_failure(proxy, "tls")
    assert secure.visits == []


async def test_a_tunnel_that_breaks_within_an_answer(
    start: Start, secure: Endpoint, forward: ForwardProxy, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Chunks pass as they come; the end of the tunnel is the truncation of the answer."""
    monkeypatch.setenv("HTTPS_PROXY", forward.url)
    proxy = await start(f"{secure.url}/v1", ca_file=authority.bundle)
    gate = Gate()
    secure.script(gate)
    async with await proxy.open("POST", "/v1/responses", body=b"{}") as wire:
        gate.start()
        gate.release(b"data: 1\n\n")
        await wire.head()
        assert await wire.piece() == b"data: 1\n\n"
        forward.writers[-1].transport.abort()
        assert b"0\r\n\r\n" not in await wire.cut_off()


@pytest.mark.parametrize("scheme", ["https", "http"])
async def test_a_forward_proxy_that_speaks_tls_itself(
    start: Start, secure: Endpoint, authority: Authority, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    """With an https upstream it is TLS within TLS; the forward proxy is verified by the system's store."""
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.bundle))
    async with run_endpoint(ForwardProxy(routes=routes_to(secure)), tls=authority.serve()) as forward:
        monkeypatch.setenv(f"{scheme.upper()}_PROXY", forward.url)
        proxy = await start(secure.url.replace("https:", f"{scheme}:") + "/v1")
        body = ask("Hi. " * 100_000)
        assert (await proxy.chat(None, body)).status == 200
        assert (secure if scheme == "https" else forward).last.body == body
        assert forward.server_names == ["localhost"]


async def test_a_forward_proxy_that_is_not_trusted(
    start: Start, secure: Endpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not even asked for a tunnel: the request for one may hold credentials."""
    async with run_endpoint(ForwardProxy(), tls=Authority(tmp_path, name="other").serve()) as forward:
        monkeypatch.setenv("HTTPS_PROXY", forward.url.replace("://", f"://{IN_URL}@"))
        proxy = await start(f"{secure.url}/v1")
        assert "TLS" in await expect_failure(proxy, "tls")
        assert forward.visits == []


@pytest.mark.parametrize(
    ("variables", "scheme", "used"),
    [
        pytest.param(["HTTPS_PROXY"], "https", True, id="https"),
        pytest.param(["https_proxy"], "https", True, id="https in lower case"),
        pytest.param(["http_proxy"], "http", True, id="http in lower case"),
        pytest.param(["ALL_PROXY"], "https", True, id="all"),
        pytest.param(["all_proxy"], "http", True, id="all in lower case"),
        pytest.param(["HTTP_PROXY"], "https", False, id="one for http is none for https"),
        pytest.param(["HTTPS_PROXY"], "http", False, id="one for https is none for http"),
        pytest.param([], "https", False, id="none"),
    ],
)
async def test_which_variable_counts(
    start: Start, resolver: Resolver, monkeypatch: pytest.MonkeyPatch, variables: list[str], scheme: str, used: bool
) -> None:
    """The one of the upstream's scheme, then the one for all; in upper and in lower case."""
    async with run_endpoint(ForwardProxy()) as forward:
        forward.script(respond(b"", status=403))
        for name in variables:
            monkeypatch.setenv(name, forward.url)
        proxy = await start(f"{scheme}://{NAME}:8443/v1")
        await proxy.request("GET", "/v1/models")
        assert bool(forward.visits) == used
        assert resolver.asked == ([] if used else [NAME])


@pytest.mark.parametrize(
    ("exceptions", "used"),
    [
        (NAME, False),
        ("other.test, UPSTREAM.test", False),
        ("test", False),
        (".test", False),
        (f"{NAME}:8080", False),
        ("*", False),
        (f"{NAME}:9090", True),
        ("stream.test", True),
        ("other.test", True),
        ("", True),
    ],
)
async def test_exceptions(
    start: Start, resolver: Resolver, monkeypatch: pytest.MonkeyPatch, exceptions: str, used: bool
) -> None:
    """``NO_PROXY``: hosts, the ends of hosts, hosts with a port, or all; then the upstream is asked directly."""
    async with run_endpoint(ForwardProxy()) as forward:
        forward.script(respond(b"", status=403))
        monkeypatch.setenv("HTTP_PROXY", forward.url)
        monkeypatch.setenv("NO_PROXY", exceptions)
        proxy = await start(f"http://{NAME}:8080/v1")
        await proxy.request("GET", "/v1/models")
        assert bool(forward.visits) == used
        assert resolver.asked == ([] if used else [NAME])


async def test_an_address_without_a_scheme(
    start: Start, forward: ForwardProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``HTTP_PROXY=host:port`` is what many environments say."""
    monkeypatch.setenv("HTTP_PROXY", forward.url.removeprefix("http://"))
    proxy = await start(f"http://{NAME}/v1")
    assert (await proxy.request("GET", "/v1/models")).status == 200
    assert forward.last.every("host") == [NAME.encode()]


async def test_a_websocket_goes_through_a_tunnel_always(
    start: Start, secure: Endpoint, forward: ForwardProxy, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Few forward proxies pass an upgrade on, so it is CONNECT for upstreams of http, too."""

    async def echo(visit: Visit) -> None:
        visit.send(b"HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n")
        visit.send(await visit.exactly(4))
        await visit.wait_for_leaving()

    monkeypatch.setenv("HTTP_PROXY", forward.url)
    async with run_endpoint(Endpoint()) as endpoint:
        proxy = await start(f"{endpoint.url}/v1")
        endpoint.script(echo)
        wanted = [("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13")]
        key = ("Sec-WebSocket-Key", base64.b64encode(bytes(16)).decode())
        async with await proxy.open("GET", "/v1/realtime", headers=[*wanted, key]) as wire:
            assert (await wire.head()).status == 101
            await wire.send(b"ping")
            assert await wire.reader.readexactly(4) == b"ping"
    assert forward.visits[0].method == b"CONNECT"


async def test_as_a_process(secure: Endpoint, authority: Authority, tmp_path: Path) -> None:
    """With the event loop of real life and the environment from the start: a tunnel, and TLS within TLS."""
    for context in (None, authority.serve()):
        async with run_endpoint(
            ForwardProxy(routes=routes_to(secure), credentials=CREDENTIALS), tls=context
        ) as forward:
            url = forward.url.replace("://", f"://{IN_URL}@")
            environ = {"HTTPS_PROXY": url, "SSL_CERT_FILE": str(authority.bundle), "NO_PROXY": "other.test"}
            with ProxyProcess(tmp_path / "data", secure.url, environ=environ) as process:
                where = await asyncio.to_thread(process.log.wait_for, "listening")
                body = ask("Hi. " * 100_000)
                async with await Wire.open(where["url"]) as wire:
                    for _ in range(2):
                        await wire.send(render_request("POST", "/v1/chat/completions", [], body, host="proxy"))
                        assert (await wire.answer()).status == 200
                        assert secure.last.body == body
                assert PASSWORD not in process.log.text
            assert [visit.method for visit in forward.visits] == [b"CONNECT"]


@pytest.mark.parametrize("url", ["socks5://ada:secret@127.0.0.1:1080", "ftp://ada:secret@127.0.0.1", "http://:0"])
async def test_what_is_no_http_proxy_is_refused(start: Start, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """The line names the variable but not the credentials; to go without the proxy would be worse than not to start."""
    monkeypatch.setenv("ALL_PROXY", url)
    with pytest.raises(ConfigError, match="ALL_PROXY") as caught:
        await start(f"https://{NAME}/v1")
    assert "secret" not in str(caught.value)


async def test_what_is_no_http_proxy_stops_the_start(tmp_path: Path) -> None:
    """Exit code 2 and one line."""
    arguments = ("serve", "--port", "0", "--data-dir", str(tmp_path), "--upstream", f"https://{NAME}/v1")
    result = await asyncio.to_thread(run_command, *arguments, ALL_PROXY="socks5://127.0.0.1:1080")
    assert result.returncode == 2, result.stderr
    (line,) = result.stderr.splitlines()
    assert "ALL_PROXY" in line
