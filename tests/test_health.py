"""``/healthz``, ``/readyz`` and ``/metrics``."""

import json
from types import SimpleNamespace
from unittest.mock import AsyncMock

import msgspec
import pytest
from starlette.requests import Request

from proxy.edge.health import Health
from proxy.errors import KeeperError
from proxy.keeper import wire
from proxy.observe.metrics import CONTENT_TYPE
from tests.conftest import Launch
from tests.harness import Gate, Proxy, Upstream
from tests.harness.payloads import ask, events
from tests.harness.proxy import CHAT

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_proxy_that_is_well(proxy: Proxy) -> None:
    """Both probes answer 200; readiness names its parts, and what waits in the journal."""
    assert (await proxy.control("GET", "/healthz")).json == {"status": "ok"}
    ready = await proxy.control("GET", "/readyz")
    told = ready.json
    assert set(told.pop("journal")) == {"pending", "extracting", "failed"}
    assert (ready.status, told) == (
        200,
        {"status": "ready", "checks": {"server": "ok", "journal": "ok", "keeper": "ok", "store": "ok"}},
    )


async def test_what_was_set_aside_makes_nothing_unready(proxy: Proxy) -> None:
    """It is told with its reason; if the keeper does not say why, without."""
    status = proxy.app.link.status
    assert status is not None
    # Not the real one, which asks the keeper again every two seconds.
    link = SimpleNamespace(status=msgspec.structs.replace(status, pending=1, failed=2))
    row = wire.FailedRow(7, "ada", "store", 10, "the disk is full", "2024-05-01T10:00:00Z")
    for answer, told in (
        (wire.JournalPage(1, 0, 2, 3.0, None, [row]), {"reason": "the disk is full"}),
        (wire.JournalPage(1, 0, 0, 3.0, None, []), {}),
        (KeeperError("it went away"), {}),
        (TimeoutError(), {}),
    ):
        keeper = SimpleNamespace(call=AsyncMock(side_effect=[answer]))
        health = Health(proxy.app.dataplane, proxy.app.journal, link, proxy.app.metrics, keeper, bool)  # type: ignore[arg-type]
        ready = await health.ready(Request({"type": "http"}))
        told_of = json.loads(bytes(ready.body))
        assert (ready.status_code, told_of["status"]) == (200, "ready")
        assert told_of["journal"] == {"pending": 1, "extracting": 0, "failed": 2, **told}


async def test_before_the_keeper_is_up(launch: Launch) -> None:
    """Alive at once, ready when memory is."""
    proxy = await launch(ready=False)
    assert (await proxy.control("GET", "/healthz")).status == 200
    ready = await proxy.control("GET", "/readyz")
    assert (ready.status, ready.json["status"], ready.json["checks"]["keeper"]) == (503, "degraded", "not up")
    assert ready.json["journal"] is None
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
