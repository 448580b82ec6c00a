"""``/healthz``, ``/readyz`` and ``/metrics``."""

from collections.abc import Callable

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from proxy.edge.control import Handler
from proxy.edge.dataplane import DataPlane
from proxy.journal import JournalWriter
from proxy.keeper.supervise import Supervisor
from proxy.observe.metrics import CONTENT_TYPE, Metrics


class Health:
    """Tells orchestrators how the proxy is. Only ``/metrics`` is guarded: probes come from other machines."""

    def __init__(self, dataplane: DataPlane, journal: JournalWriter, supervisor: Supervisor, metrics: Metrics) -> None:
        self._dataplane = dataplane
        self._journal = journal
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
        """200 when chats get their memory; without it they are relayed all the same."""
        checks = self._checks()
        healthy = all(state == "ok" for state in checks.values())
        body = msgspec.json.encode({"status": "ready" if healthy else "degraded", "checks": checks})
        return Response(body, 200 if healthy else 503, media_type="application/json")

    def _checks(self) -> dict[str, str]:
        status = self._supervisor.status
        return {
            "server": "draining" if self._dataplane.draining else "ok",
            "journal": self._journal.state.failing or "ok",
            "keeper": "ok" if status is not None else "not up",
            "store": (status.trouble or "ok") if status is not None else "unknown",
        }

    async def metrics(self, _: Request) -> Response:
        """All metrics, for Prometheus."""
        return Response(self._metrics.render(), headers={"content-type": CONTENT_TYPE})
