"""The composition root: settings → parts → one ASGI app. It only wires; nothing is built at import."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import structlog
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Send
from starlette.types import Scope as AsgiScope

from proxy.config import Settings
from proxy.edge.admission import Admission
from proxy.edge.callers import Callers
from proxy.edge.capture import Recorder
from proxy.edge.commands import Commands
from proxy.edge.control import ControlPlane, render_error
from proxy.edge.dataplane import DataPlane
from proxy.edge.health import Health
from proxy.edge.intercept import Interceptor
from proxy.edge.relay import Relay
from proxy.embedders import open_embedder
from proxy.embedders.base import Embedder, NoEmbedder
from proxy.errors import ApiError, EmbedderError, KeeperError
from proxy.identity import open_identifier
from proxy.journal import JournalWriter
from proxy.keeper import wire
from proxy.keeper.client import KeeperClient
from proxy.keeper.supervise import Supervisor
from proxy.observe.failopen import FailOpen
from proxy.observe.metrics import Metrics
from proxy.recall.frame import Frame
from proxy.recall.service import RecallService
from proxy.redaction import Redactor
from proxy.tasks import Tasks
from proxy.tokens import TokenCounter
from proxy.upstream import Upstream

log = structlog.get_logger(__name__)

DATA_PREFIX: Final = b"/v1/"
LAG_EVERY_S: Final = 0.05
# How long a stop waits for the journal to be stored. What is not stored by then is stored after the next start.
DRAIN_S: Final = 10.0


class App:
    """memory-proxy as an ASGI app.

    *embedder* stands in for the configured one; production passes none. The app is complete only within its lifespan,
    which also starts and ends the keeper.
    """

    def __init__(self, settings: Settings, *, embedder: Embedder | None = None) -> None:
        """Raises ConfigError where the way to the upstream is badly configured, or the key of tokens is none."""
        self.settings = settings
        self.metrics = Metrics()
        self.tasks = Tasks()
        self.requests = Tasks()
        fail_open = FailOpen(self.metrics)
        self.keeper = KeeperClient(wire.socket_path(settings.data_dir), self.tasks)
        self.supervisor = Supervisor(settings, self.keeper, self.metrics)
        self.journal = JournalWriter(
            settings.data_dir,
            on_written=self._tell_keeper,
            on_cost=lambda seconds: self.metrics.observe("journal_loop_seconds", seconds),
            max_bytes=int(settings.journal.max_mb * (1 << 20)),
        )
        self._tokens = TokenCounter()
        self._embedder = embedder or _open_embedder(settings)
        self.recall = RecallService(
            self.keeper,
            self._embedder,
            self._tokens.count,
            fail_open,
            self.tasks,
            placement=settings.memory.placement,
            frame=Frame(settings.memory.template),
        )
        self.upstream = Upstream(settings.upstream)
        callers = Callers(settings)
        relay = Relay(self.upstream, settings, self.metrics, replaced=callers.replaced)
        recorder = Recorder(
            self.journal,
            Redactor(settings.redaction),
            fail_open,
            self.metrics,
            keep_blocks=settings.extraction.effective == "llm",
        )
        commands = Commands(self.keeper, self.recall, self.journal) if settings.memory.commands else None
        self._identifier = open_identifier(settings, self.tasks)
        interceptor = Interceptor(
            relay, self.recall, recorder, self.journal, commands, self._identifier, self.metrics, settings
        )
        admission = Admission(settings)
        self.dataplane = DataPlane(relay, interceptor, callers, admission, self.metrics, self.requests)
        control = ControlPlane(self.keeper, self.recall, self.journal, settings)
        health = Health(self.dataplane, self.journal, self.supervisor, self.metrics, self.keeper)
        self._starlette = Starlette(
            routes=[*health.routes(control.guard), *control.routes()],
            lifespan=self._lifespan,
            exception_handlers={404: _not_found, 405: _not_found},
        )
        self._watch_parts()

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        """Requests under ``/v1/`` go the short way; everything else is Starlette's."""
        if scope["type"] == "http":
            if scope["raw_path"].startswith(DATA_PREFIX):
                await self.dataplane(scope, receive, send)
                return
            # Matched as sent: see ControlPlane.routes.
            scope = {**scope, "path": scope["raw_path"].decode("latin-1")}
        await self._starlette(scope, receive, send)

    @asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncIterator[None]:
        self.settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.journal.start()
        supervision = self.tasks.spawn(self.supervisor.run(), name="supervise-keeper")
        self.tasks.spawn(self._measure_lag(), name="loop-lag")
        # A thread of its own and not the loop's pool: nothing waits for it, not even the end of the process.
        threading.Thread(target=self._tokens.load_tables, name="token-tables", daemon=True).start()
        try:
            yield
        finally:
            await self.requests.cancel()
            await self.journal.aclose()
            await self._drain_journal()
            supervision.cancel()
            await self.tasks.cancel()
            await self._identifier.aclose()
            await self.upstream.aclose()
            await self._embedder.aclose()

    async def _drain_journal(self) -> None:
        try:
            async with asyncio.timeout(DRAIN_S):
                await self.keeper.call(wire.Flush(extract=False))
        except (KeeperError, TimeoutError) as exc:
            log.warning("journal_not_drained", reason=str(exc) or "it took too long")

    async def _measure_lag(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + LAG_EVERY_S
            await asyncio.sleep(LAG_EVERY_S)
            self.metrics.observe("loop_lag_seconds", max(0.0, loop.time() - due))

    def _tell_keeper(self) -> None:
        self.keeper.push(wire.Journaled())

    def _watch_parts(self) -> None:
        self.metrics.watch("upstream_connections", lambda: self.upstream.connections)
        self.metrics.watch("journal_held", lambda: self.journal.state.held)
        self.metrics.watch("journal_lost_total", lambda: self.journal.state.lost)
        self.metrics.watch("working_sets", lambda: len(self.recall.sets))
        self.metrics.watch("working_set_bytes", lambda: self.recall.sets.nbytes)
        self.metrics.watch("journal_pending", lambda: self._keeper_status("pending"))
        self.metrics.watch("journal_extracting", lambda: self._keeper_status("extracting"))
        self.metrics.watch("journal_failed", lambda: self._keeper_status("failed"))
        self.metrics.watch("journal_oldest_seconds", lambda: self._keeper_status("oldest_age_s"))

    def _keeper_status(self, field: str) -> float:
        return float(getattr(self.supervisor.status, field, None) or 0)


def _open_embedder(settings: Settings) -> Embedder:
    try:
        return open_embedder(settings)
    except EmbedderError as exc:
        log.warning("no_embedder", reason=str(exc), consequence="recall goes by words alone")
        return NoEmbedder()


async def _not_found(request: Request, exc: Exception) -> Response:
    message = f"There is no {request.method} {request.url.path} here."
    if not (isinstance(exc, HTTPException) and exc.status_code == 405):
        return render_error(ApiError(404, "not_found", message))
    response = render_error(ApiError(405, "method_not_allowed", message))
    response.headers.update(exc.headers or {})  # Allow
    return response
