"""Upstreams that speak TLS: whom the proxy trusts, what it shows of itself, and that nothing is said before."""

import asyncio
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest

from proxy.errors import ConfigError
from tests.harness import Gate, Wire, respond, stream
from tests.harness.client import render_request
from tests.harness.network import Authority, Endpoint, Resolver, run_endpoint, run_strict_tls
from tests.harness.payloads import ask, events
from tests.harness.proxy import CHAT
from tests.harness.relays import Start, expect_failure
from tests.harness.upstream import EVENTS, Visit, chunk
from tests.processes import Proxy as ProxyProcess
from tests.processes import run_command

pytestmark = pytest.mark.asyncio(loop_scope="session")

VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_configured_authority_is_trusted(start: Start, authority: Authority, version: ssl.TLSVersion) -> None:
    """``upstream.ca_file`` names it; chats and everything else pass, over one connection."""
    async with run_endpoint(Endpoint(), tls=authority.serve(version=version)) as endpoint:
        proxy = await start(f"{endpoint.url}/v1", ca_file=authority.bundle)
        for answer in (await proxy.chat(None, ask("Hi.")), await proxy.request("GET", "/v1/models")):
            assert answer.status == 200
        assert endpoint.connections == 1


async def test_the_environments_authority_is_trusted(
    start: Start, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``SSL_CERT_FILE`` stands in for the system's store."""
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.bundle))
    async with run_endpoint(Endpoint(), tls=authority.serve()) as endpoint:
        proxy = await start(f"{endpoint.url}/v1")
        assert (await proxy.request("GET", "/v1/models")).status == 200


async def test_a_configured_authority_is_the_only_one(
    start: Start, authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``upstream.ca_file`` does not add to the system's store, it replaces it."""
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.bundle))
    other = Authority(tmp_path, name="other")
    async with run_endpoint(Endpoint(), tls=authority.serve()) as endpoint:
        proxy = await start(f"{endpoint.url}/v1", ca_file=other.bundle)
        assert "TLS" in await expect_failure(proxy, "tls")
        assert endpoint.visits == []


async def test_a_certificate_for_another_name(start: Start, authority: Authority) -> None:
    """A trusted authority is not enough: the certificate must be for the upstream's name."""
    async with run_endpoint(Endpoint(), tls=authority.serve("upstream.test")) as endpoint:
        proxy = await start(f"{endpoint.url}/v1", ca_file=authority.bundle)
        assert "TLS" in await expect_failure(proxy, "tls")
        assert endpoint.visits == []


async def test_an_address_is_verified_too(start: Start, authority: Authority) -> None:
    """An upstream that is given by its address must have a certificate for it."""
    for name, status in (("127.0.0.1", 200), ("localhost", 502)):
        async with run_endpoint(Endpoint(), tls=authority.serve(name)) as endpoint:
            url = endpoint.url.replace("localhost", "127.0.0.1")
            proxy = await start(f"{url}/v1", ca_file=authority.bundle)
            assert (await proxy.request("GET", "/v1/models")).status == status
            await proxy.stop()


async def test_an_expired_certificate(start: Start, authority: Authority) -> None:
    """It was good until yesterday."""
    async with run_endpoint(Endpoint(), tls=authority.serve(expired=True)) as endpoint:
        proxy = await start(f"{endpoint.url}/v1", ca_file=authority.bundle)
        assert "TLS" in await expect_failure(proxy, "tls")
        assert endpoint.visits == []


async def test_the_server_is_told_its_name(start: Start, authority: Authority, resolver: Resolver) -> None:
    """Server name indication and ``Host`` say which upstream is meant."""
    resolver.addresses["upstream.test"] = ["127.0.0.1"]
    async with run_endpoint(Endpoint(), tls=authority.serve("upstream.test")) as endpoint:
        url = endpoint.url.replace("localhost", "upstream.test")
        proxy = await start(f"{url}/v1", ca_file=authority.bundle)
        assert (await proxy.request("GET", "/v1/models")).status == 200
        assert endpoint.server_names == ["upstream.test"]
        assert endpoint.last.every("host") == [url.removeprefix("https://").encode()]


async def test_only_http_1_is_offered(start: Start, authority: Authority) -> None:
    """A server that takes HTTP/2 from whoever offers it is not offered it."""
    async with run_endpoint(Endpoint(), tls=authority.serve()) as endpoint:
        proxy = await start(f"{endpoint.url}/v1", ca_file=authority.bundle)
        assert (await proxy.request("GET", "/v1/models")).status == 200
        assert endpoint.tls.selected_alpn_protocol() in ("http/1.1", None)


async def test_old_tls_is_refused(start: Start, authority: Authority) -> None:
    """Nothing below TLS 1.2."""
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context = authority.serve(version=ssl.TLSVersion.TLSv1_1)
    context.set_ciphers("ALL:@SECLEVEL=0")
    with run_strict_tls(context) as url:
        proxy = await start(f"{url}/v1", ca_file=authority.bundle)
        assert "TLS" in await expect_failure(proxy, "tls")


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_client_certificate_is_shown(start: Start, authority: Authority, version: ssl.TLSVersion) -> None:
    """``upstream.client_cert_file`` and ``upstream.client_key_file``, for upstreams that ask for one."""
    certificate, key = authority.issue_client("gateway.test")
    async with run_endpoint(Endpoint(), tls=authority.require_clients(authority.serve(version=version))) as endpoint:
        proxy = await start(
            f"{endpoint.url}/v1", ca_file=authority.bundle, client_cert_file=certificate, client_key_file=key
        )
        assert (await proxy.request("GET", "/v1/models")).status == 200
        shown = endpoint.tls.getpeercert()
    assert shown is not None
    assert ("DNS", "gateway.test") in shown["subjectAltName"]


async def test_a_client_certificate_and_its_key_may_share_a_file(start: Start, authority: Authority) -> None:
    """Without ``upstream.client_key_file`` the key is looked for beside the certificate."""
    certificate, key = authority.issue_client("gateway.test")
    certificate.write_bytes(certificate.read_bytes() + key.read_bytes())
    async with run_endpoint(Endpoint(), tls=authority.require_clients(authority.serve())) as endpoint:
        proxy = await start(f"{endpoint.url}/v1", ca_file=authority.bundle, client_cert_file=certificate)
        assert (await proxy.request("GET", "/v1/models")).status == 200


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_missing_client_certificate(start: Start, authority: Authority, version: ssl.TLSVersion) -> None:
    """With TLS 1.3 the refusal comes after the handshake, in the place of an answer: it is one of TLS all the same."""
    with run_strict_tls(authority.require_clients(authority.serve(version=version))) as url:
        proxy = await start(f"{url}/v1", ca_file=authority.bundle)
        assert "TLS" in await expect_failure(proxy, "tls")


async def test_streams_and_uploads(start: Start, authority: Authority) -> None:
    """Many records each way, every byte in its place, and the first chunk before the last."""
    async with run_endpoint(Endpoint(), tls=authority.serve()) as endpoint:
        proxy = await start(f"{endpoint.url}/v1", ca_file=authority.bundle)
        gate = Gate()
        endpoint.script(gate)
        sent = bytes(range(256)) * 12_000
        async with await proxy.open("POST", "/v1/files", body=sent) as wire:
            assert (await gate.asked()).body == sent
            gate.start()
            await wire.head()
            for piece in (b"data: 1\n\n", b"x" * 100_000, b"data: [DONE]\n\n"):
                gate.release(piece)
                received = b""
                while len(received) < len(piece):
                    received += await wire.piece()
                assert received == piece
            gate.end()
            assert await wire.piece() == b""


async def test_a_large_chat_is_sent_whole(start: Start, authority: Authority) -> None:
    """A body of several megabytes, which the proxy has read before it sends it."""
    body = ask("Hi. " * 1_000_000)
    async with run_endpoint(Endpoint(), tls=authority.serve()) as endpoint:
        proxy = await start(f"{endpoint.url}/v1", ca_file=authority.bundle)
        assert (await proxy.chat(None, body)).status == 200
        assert endpoint.last.body == body


async def begin(visit: Visit) -> None:
    """The first event of a stream."""
    await visit.read()
    visit.start(200, [EVENTS, ("transfer-encoding", "chunked")])
    visit.send(chunk(b"data: half\n\n"))


async def read_half(wire: Wire) -> bytes:
    """What comes of a stream that breaks off; fails where it does not."""
    assert (await wire.head()).status == 200
    return await wire.cut_off()


async def test_an_idle_connection_that_is_closed(start: Start, authority: Authority) -> None:
    """TLS's farewell on an idle connection is seen, and the next request goes over a new one."""

    async def answer_and_close(visit: Visit) -> None:
        await respond(b"{}")(visit)
        visit.close()

    async with run_endpoint(Endpoint(), tls=authority.serve()) as endpoint:
        proxy = await start(f"{endpoint.url}/v1", ca_file=authority.bundle)
        endpoint.script(answer_and_close)
        assert (await proxy.request("GET", "/v1/models")).status == 200
        await endpoint.abandoned()
        assert (await proxy.request("GET", "/v1/models")).status == 200
        assert (len(endpoint.visits), endpoint.connections) == (2, 2)


@pytest.mark.parametrize("leave", [Visit.close, Visit.abort])
async def test_a_stale_connection_is_replaced(
    start: Start, authority: Authority, leave: Callable[[Visit], None]
) -> None:
    """Dropped as it was used, without a byte of answer: the request goes over a new one."""

    async def drop(visit: Visit) -> None:
        await visit.read()
        leave(visit)

    async with run_endpoint(Endpoint(), tls=authority.serve()) as endpoint:
        proxy = await start(f"{endpoint.url}/v1", ca_file=authority.bundle)
        endpoint.script(respond(b"1"), drop, respond(b"2"))
        for body in (b"1", b"2"):
            assert (await proxy.chat(None, ask("Hi."))).body == body
        assert (len(endpoint.visits), endpoint.connections) == (3, 2)


@pytest.mark.parametrize("leave", [Visit.close, Visit.abort])
async def test_a_drop_within_an_answer_is_truncation(
    start: Start, authority: Authority, leave: Callable[[Visit], None]
) -> None:
    """With TLS's own farewell or without: the client sees the same cut as over plain TCP."""

    async def cut(visit: Visit) -> None:
        await begin(visit)
        leave(visit)

    async with run_endpoint(Endpoint(), tls=authority.serve()) as endpoint:
        proxy = await start(f"{endpoint.url}/v1", ca_file=authority.bundle)
        for target in (CHAT, "/v1/responses"):
            endpoint.script(cut)
            async with await proxy.open("POST", target, body=ask("Hi.", stream=True)) as wire:
                assert b"data: half" in await read_half(wire)


async def test_as_a_process(authority: Authority, tmp_path: Path) -> None:
    """The same with the event loop of real life: trust, a client certificate, a kept connection, a stream's cut."""
    certificate, key = authority.issue_client("gateway.test")
    environ = {
        "SSL_CERT_FILE": str(authority.bundle),
        "MEMORY_PROXY_UPSTREAM__CLIENT_CERT_FILE": str(certificate),
        "MEMORY_PROXY_UPSTREAM__CLIENT_KEY_FILE": str(key),
    }

    async def cut(visit: Visit) -> None:
        await begin(visit)
        visit.abort()

    async with run_endpoint(Endpoint(), tls=authority.require_clients(authority.serve())) as endpoint:
        endpoint.script(stream(events("Whole")), cut)
        with ProxyProcess(tmp_path / "data", endpoint.url, environ=environ) as process:
            url = await asyncio.to_thread(lambda: process.url)
            request = render_request("POST", CHAT, [], ask("Hi.", stream=True), host="proxy")
            async with await Wire.open(url) as wire:
                await wire.send(request)
                assert (await wire.answer()).body == b"".join(events("Whole"))
                await wire.send(request)
                assert b"data: half" in await read_half(wire)
        assert endpoint.connections == 1


@pytest.mark.parametrize("version", VERSIONS)
async def test_distrust_as_a_process(authority: Authority, tmp_path: Path, version: ssl.TLSVersion) -> None:
    """That event loop, too, tells a certificate that is not trusted, or is asked for, from other failures."""
    with run_strict_tls(authority.require_clients(authority.serve(version=version))) as upstream:
        for environ in ({}, {"MEMORY_PROXY_UPSTREAM__CA_FILE": str(authority.bundle)}):
            with ProxyProcess(tmp_path / "data", upstream, environ=environ) as process:
                url = await asyncio.to_thread(lambda: process.url)
                async with await Wire.open(url) as wire:
                    await wire.send(render_request("GET", "/v1/models", [], None, host="proxy"))
                    answer = await wire.answer()
            assert (answer.status, answer.header("x-should-retry")) == (502, "false")
            assert "TLS" in answer.json["error"]["message"]


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        pytest.param({"ca_file": "missing.pem"}, "ca_file", id="no such bundle"),
        pytest.param({"ca_file": "text.pem"}, "ca_file", id="a bundle without certificates"),
        pytest.param({"ca_file": "."}, "ca_file", id="a folder"),
        pytest.param({"client_key_file": "client.key"}, "client_key_file", id="a key without a certificate"),
        pytest.param({"client_cert_file": "missing.pem"}, "client_cert_file", id="no such certificate"),
        pytest.param({"client_cert_file": "client.pem"}, "client_", id="a certificate without a key"),
        pytest.param(
            {"client_cert_file": "client.pem", "client_key_file": "other.key"}, "client_", id="another one's key"
        ),
    ],
)
async def test_what_cannot_be_used_is_refused(
    start: Start, authority: Authority, tmp_path: Path, settings: dict[str, str], key: str
) -> None:
    """One line names the key and the file."""
    authority.issue_client("client")
    authority.issue_client("other")
    (tmp_path / "text.pem").write_text("This is no certificate.\n")
    with pytest.raises(ConfigError) as caught:
        await start("https://upstream.test/v1", **{name: tmp_path / file for name, file in settings.items()})
    line = str(caught.value)
    assert f"upstream.{key}" in line
    assert any(str(tmp_path / file) in line for file in settings.values())
    assert "\n" not in line


@pytest.mark.parametrize("name", ["CA_FILE", "CLIENT_KEY_FILE"])
async def test_what_cannot_be_used_stops_the_start(tmp_path: Path, name: str) -> None:
    """Exit code 2 and that one line."""
    arguments = ("serve", "--port", "0", "--data-dir", str(tmp_path / "data"), "--upstream", "https://upstream.test/v1")
    environ = {f"MEMORY_PROXY_UPSTREAM__{name}": str(tmp_path / "missing")}
    result = await asyncio.to_thread(run_command, *arguments, **environ)
    assert result.returncode == 2, result.stderr
    (line,) = result.stderr.splitlines()
    assert f"upstream.{name.lower()}" in line
