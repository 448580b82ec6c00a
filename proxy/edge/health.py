"""``/healthz``, ``/readyz`` and ``/metrics``."""

import asyncio
from collections.abc import Callable
from typing import Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from proxy.edge.answers import JournalHealth, Liveness, Readiness
from proxy.edge.dataplane import DataPlane
from proxy.edge.exposition import Exposition
from proxy.errors import KeeperError
from proxy.journal import Writer
from proxy.keeper import wire
from proxy.keeper.client import KeeperClient
from proxy.keeper.link import KeeperLink
from proxy.observe.metrics import CONTENT_TYPE

# Probes give up after a second, most of them.
PATIENCE_S: Final = 0.5
# What those are told who may not know why.
FAILING: Final = "failing"


class Health:
    """Tells orchestrators how the proxy is. Only ``/metrics`` is guarded: probes come from other machines.

    Reasons are for those who may use the control plane, as *may_see* has it: they tell of paths, addresses and users.
    """

    def __init__(
        self,
        dataplane: DataPlane,
        journal: Writer,
        link: KeeperLink,
        exposition: Exposition,
        keeper: KeeperClient,
        may_see: Callable[[Request], bool],
    ) -> None:
        self._dataplane = dataplane
        self._journal = journal
        self._keeper = keeper
        self._link = link
        self._exposition = exposition
        self._may_see = may_see

    async def live(self, _: Request) -> Response:
        """200 while the process should be left alone, 503 once it drains."""
        draining = self._dataplane.draining
        body = Liveness("draining" if draining else "ok")
        return Response(msgspec.json.encode(body), 503 if draining else 200, media_type="application/json")

    async def ready(self, request: Request) -> Response:
        """200 when chats get their memory; without it they are relayed all the same.

        What the journal has set aside is told of, and makes nothing unready: it waits for an operator, chats do not.
        """
        explained = self._may_see(request)
        checks = self._checks(explained)
        healthy = all(state == "ok" for state in checks.values())
        status = self._link.status
        embedding = status.embedding if status is not None and explained else None
        told = Readiness("ready" if healthy else "degraded", checks, await self._look_at_journal(explained), embedding)
        return Response(msgspec.json.encode(told), 200 if healthy else 503, media_type="application/json")

    def _checks(self, explained: bool) -> dict[str, str]:
        status = self._link.status
        journal, store = self._journal.state.failing, status.trouble if status is not None else None
        return {
            "server": "draining" if self._dataplane.draining else "ok",
            "journal": _explain(journal, explained),
            "keeper": "ok" if status is not None else "not up",
            "store": _explain(store, explained) if status is not None else "unknown",
        }

    async def _look_at_journal(self, explained: bool) -> JournalHealth | None:
        """None while the keeper is away, who alone can tell."""
        status = self._link.status
        if status is None:
            return None
        reason = await self._find_reason() if status.failed and explained else None
        return JournalHealth(status.pending, status.extracting, status.failed, reason)

    async def _find_reason(self) -> str | None:
        try:
            async with asyncio.timeout(PATIENCE_S):
                page: wire.JournalPage = await self._keeper.call(wire.ListJournal(1))
        except (KeeperError, TimeoutError):
            return None
        return page.entries[0].reason if page.entries else None

    async def metrics(self, _: Request) -> Response:
        """All metrics of all processes, for Prometheus."""
        return Response(await self._exposition.render(), headers={"content-type": CONTENT_TYPE})


def _explain(trouble: str | None, explained: bool) -> str:
    if not trouble:
        return "ok"
    return trouble if explained else FAILING
