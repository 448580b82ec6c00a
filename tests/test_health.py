"""``/healthz``, ``/readyz`` and ``/metrics``."""

import pytest

from proxy.observe.metrics import CONTENT_TYPE
from tests.conftest import Launch
from tests.harness import Gate, Proxy, Upstream
from tests.harness.payloads import ask, events
from tests.harness.proxy import CHAT

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_proxy_that_is_well(proxy: Proxy) -> None:
    """Both probes answer 200; readiness names its parts."""
    assert (await proxy.control("GET", "/healthz")).json == {"status": "ok"}
    ready = await proxy.control("GET", "/readyz")
    assert (ready.status, ready.json) == (
        200,
        {"status": "ready", "checks": {"server": "ok", "journal": "ok", "keeper": "ok", "store": "ok"}},
    )


async def test_before_the_keeper_is_up(launch: Launch) -> None:
    """Alive at once, ready when memory is."""
    proxy = await launch(ready=False)
    assert (await proxy.control("GET", "/healthz")).status == 200
    ready = await proxy.control("GET", "/readyz")
    assert (ready.status, ready.json["status"], ready.json["checks"]["keeper"]) == (503, "degraded", "not up")
    await proxy.wait_ready()
    assert (await proxy.control("GET", "/readyz")).status == 200


async def test_while_draining(launch: Launch, upstream: Upstream) -> None:
    """Open streams go on to their end; probes and new requests get 503."""
    proxy = await launch(ready=False)
    gate = Gate()
    upstream.script(gate)
    async with await proxy.open("POST", CHAT, body=ask("Hi", stream=True)) as wire:
        gate.start()
        await wire.head()
        proxy.server.drain()
        assert (await proxy.control("GET", "/healthz")).json == {"status": "draining"}
        assert (await proxy.control("GET", "/readyz")).status == 503
        refused = await proxy.request("GET", "/v1/models")
        assert (refused.status, refused.code, refused.header("retry-after")) == (503, "memory_proxy_draining", "1")
        gate.release(*events("Hello"))
        gate.end()
        assert await wire.rest() == b"".join(events("Hello"))
    await proxy.stop()


async def test_metrics(proxy: Proxy, upstream: Upstream, user: str) -> None:
    """In Prometheus' format, counting what was asked, with nothing of what was said and nobody's name."""
    await proxy.chat(user, ask("My secret is Biscuit."))
    answer = await proxy.control("GET", "/metrics")
    text = answer.body.decode()
    assert answer.header("content-type") == CONTENT_TYPE
    assert 'memory_proxy_requests_total{code="200",route="chat"}' in text
    assert 'memory_proxy_memory_total{status="empty"}' in text
    assert "memory_proxy_keeper_up 1.0" in text
    assert "Biscuit" not in text
    assert user not in text
