"""``/healthz``, ``/readyz`` and ``/metrics``."""

import asyncio
from collections.abc import Callable
from typing import Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from proxy.edge.control import Handler
from proxy.edge.dataplane import DataPlane
from proxy.errors import KeeperError
from proxy.journal import Writer
from proxy.keeper import wire
from proxy.keeper.client import KeeperClient
from proxy.keeper.supervise import Supervisor
from proxy.observe.metrics import CONTENT_TYPE, Metrics

# Probes give up after a second, most of them.
PATIENCE_S: Final = 0.5


class JournalHealth(msgspec.Struct, frozen=True, omit_defaults=True):
    """The journal's part of ``/readyz``: how much waits to be stored, to be looked at by an extraction model, and was
    set aside; *reason*: why, of what was set aside first.
    """

    pending: int
    extracting: int
    failed: int
    reason: str | None = None


class Health:
    """Tells orchestrators how the proxy is. Only ``/metrics`` is guarded: probes come from other machines."""

    def __init__(
        self,
        dataplane: DataPlane,
        journal: Writer,
        supervisor: Supervisor,
        metrics: Metrics,
        keeper: KeeperClient,
    ) -> None:
        self._dataplane = dataplane
        self._journal = journal
        self._keeper = keeper
        self._supervisor = supervisor
        self._metrics = metrics

    def routes(self, guard: Callable[[Handler], Handler]) -> list[Route]:
        """*guard* lets pass who may see the metrics."""
        return [
            Route("/healthz", self.live, methods=["GET"]),
            Route("/readyz", self.ready, methods=["GET"]),
            Route("/metrics", guard(self.metrics), methods=["GET"]),
        ]

    async def live(self, _: Request) -> Response:
        """200 while the process should be left alone, 503 once it drains."""
        draining = self._dataplane.draining
        body = msgspec.json.encode({"status": "draining" if draining else "ok"})
        return Response(body, 503 if draining else 200, media_type="application/json")

    async def ready(self, _: Request) -> Response:
        """200 when chats get their memory; without it they are relayed all the same.

        What the journal has set aside is told of, and makes nothing unready: it waits for an operator, chats do not.
        """
        checks = self._checks()
        healthy = all(state == "ok" for state in checks.values())
        told = {
            "status": "ready" if healthy else "degraded",
            "checks": checks,
            "journal": await self._look_at_journal(),
        }
        return Response(msgspec.json.encode(told), 200 if healthy else 503, media_type="application/json")

    def _checks(self) -> dict[str, str]:
        status = self._supervisor.status
        return {
            "server": "draining" if self._dataplane.draining else "ok",
            "journal": self._journal.state.failing or "ok",
            "keeper": "ok" if status is not None else "not up",
            "store": (status.trouble or "ok") if status is not None else "unknown",
        }

    async def _look_at_journal(self) -> JournalHealth | None:
        """None while the keeper is away, who alone can tell."""
        status = self._supervisor.status
        if status is None:
            return None
        reason = await self._find_reason() if status.failed else None
        return JournalHealth(status.pending, status.extracting, status.failed, reason)

    async def _find_reason(self) -> str | None:
        try:
            async with asyncio.timeout(PATIENCE_S):
                page: wire.JournalPage = await self._keeper.call(wire.ListJournal(1))
        except (KeeperError, TimeoutError):
            return None
        return page.entries[0].reason if page.entries else None

    async def metrics(self, _: Request) -> Response:
        """All metrics, for Prometheus."""
        return Response(self._metrics.render(), headers={"content-type": CONTENT_TYPE})
