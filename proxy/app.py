"""The composition root: settings → parts → one ASGI app. It only wires; nothing is built at import."""

import asyncio
import math
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
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
from proxy.edge.control import ControlPlane, not_found, render_error
from proxy.edge.dataplane import DataPlane, Observer
from proxy.edge.exposition import Exposition
from proxy.edge.health import Health
from proxy.edge.history import History
from proxy.edge.intercept import Interceptor
from proxy.edge.measures import Measures
from proxy.edge.messenger import Messenger
from proxy.edge.relay import Relay
from proxy.edge.requestlog import log_request
from proxy.edge.shield import Shield
from proxy.edge.spans import ChatSpans
from proxy.edge.stats import Stats
from proxy.edge.traces import TraceRoutes, Traces
from proxy.embedders import open_embedder, open_model
from proxy.embedders.base import Embedder, NoEmbedder
from proxy.embedders.measured import measure
from proxy.errors import ApiError, EmbedderError, KeeperError
from proxy.experiment import corrections
from proxy.identity import open_identifier
from proxy.journal import open_writer
from proxy.keeper import frames, wire
from proxy.keeper.client import KeeperClient
from proxy.keeper.link import KeeperLink
from proxy.keeper.supervise import Supervisor
from proxy.models import EmbeddingModel, Scope
from proxy.observe.failopen import FailOpen
from proxy.observe.lag import measure_lag
from proxy.observe.metrics import Metrics
from proxy.observe.served import SERVED, Served
from proxy.observe.tracing import open_tracing
from proxy.recall.frame import Frame
from proxy.recall.service import RecallService
from proxy.redaction import Redactor
from proxy.tasks import Tasks
from proxy.tokens import TokenCounter
from proxy.upstream import Upstream

log = structlog.get_logger(__name__)

DATA_PREFIX: Final = b"/v1/"
# How long a stop waits for the journal to be stored. What is not stored by then is stored after the next start.
DRAIN_S: Final = 10.0


class App:
    """memory-proxy as an ASGI app.

    *embedder* stands in for the configured one; production passes none. The app is complete only within its lifespan,
    which also starts and ends the keeper; the app of one *worker* among several uses the keeper that they share.
    """

    def __init__(self, settings: Settings, *, embedder: Embedder | None = None, worker: int | None = None) -> None:
        """Raises ConfigError where the way to the upstream is badly configured, a key is none, or a package missing."""
        self.settings = settings
        self.metrics = self.make_metrics()
        self.tasks = Tasks()
        self.requests = Tasks()
        fail_open = FailOpen(self.metrics)
        self.keeper = KeeperClient(frames.socket_path(settings.data_dir), self.tasks)
        self.link = KeeperLink(self.keeper, self.metrics)
        self.supervisor = Supervisor(settings, self.link, self.metrics) if worker is None else None
        self.journal = open_writer(
            settings,
            on_written=self._tell_keeper,
            on_cost=lambda seconds: self.metrics.observe("journal_loop_seconds", seconds),
        )
        self.keeper.on_inquiry = self._count_held
        self._tokens = TokenCounter()
        self._embedder = self._measure(embedder or _open_embedder(settings))
        self.recall = RecallService(
            self.keeper,
            self._embedder,
            self._tokens.count,
            fail_open,
            self.tasks,
            placement=settings.memory.placement,
            frame=Frame(settings.memory.template),
            stale_s=math.inf if settings.journal.redis_url is None else settings.store.refresh_s,
            open_model=self._open_model,
        )
        self.upstream = Upstream(settings.upstream)
        self.measures = self.make_measures(fail_open)
        self._redactor = Redactor(settings.redaction)
        self._redact = partial(_redact, self._redactor)
        self.traces = self._make_traces(fail_open, worker)
        self._tracing = open_tracing(settings, "edge")
        self._identifier = open_identifier(settings, self.tasks)
        self.dataplane = self._make_dataplane(fail_open)
        self.exposition = Exposition(self.metrics, self.keeper, worker)
        self.history = History(self.exposition)
        self._control = self._make_control()
        self._watch_parts()

    def make_metrics(self) -> Metrics:
        """Where everything is counted; a benchmark counts nothing, to see what that costs."""
        return Metrics()

    def make_measures(self, fail_open: FailOpen) -> Measures:
        """What follows chats; likewise."""
        return Measures(self.metrics, fail_open, self.settings)

    def _make_dataplane(self, fail_open: FailOpen) -> DataPlane:
        settings = self.settings
        callers = Callers(settings)
        relay = Relay(self.upstream, settings, self.metrics, replaced=callers.replaced)
        spans = None
        if self._tracing is not None:
            spans = ChatSpans(self._tracing, settings.upstream.address, self._redact, fail_open)
        keep_blocks = settings.extraction.effective == "llm"
        interceptor = Interceptor(
            relay,
            self.recall,
            Recorder(self.journal, self._redactor, fail_open, self.metrics, keep_blocks=keep_blocks),
            self.journal,
            Commands(self.keeper, self.recall) if settings.memory.commands else None,
            self._identifier,
            self.measures,
            self.metrics,
            settings,
            spans,
        )
        observers: list[Observer] = [log_request] if settings.logs.requests else []
        observers += [spans.end] if spans is not None else []
        observers.append(self.traces.note)  # the last: it lets go of what the others look at
        dataplane = DataPlane(relay, interceptor, callers, Admission(settings), self.metrics, self.requests, observers)
        dataplane.on_drain = self.traces.close
        return dataplane

    def _make_traces(self, fail_open: FailOpen, worker: int | None) -> Traces:
        traces = Traces(self.settings, self._redact, fail_open)
        self.recall.on_erase = traces.forget
        self.keeper.on_traced = traces.take
        if worker is not None:
            traces.on_trace = Messenger(self.keeper).take
        return traces

    def _make_control(self) -> Shield:
        control = ControlPlane(self.keeper, self.recall, self.settings)
        health = Health(self.dataplane, self.journal, self.link, self.exposition, self.keeper, control.may_see)
        stats = Stats(self.measures, self.exposition, self.settings)
        traces = TraceRoutes(self.traces)
        others = {
            "live": health.live,
            "ready": health.ready,
            "metrics": health.metrics,
            "stats": stats.tell,
            "traces": traces.list,
            "trace_stream": traces.stream,
            "history": self.history.tell,
        }
        starlette = Starlette(
            routes=control.routes(others),
            lifespan=self._lifespan,
            exception_handlers={404: _not_found, 405: _not_found},
        )
        # It would send clients to whatever their Host header says.
        starlette.router.redirect_slashes = False
        return Shield(starlette, self.settings.admin.cors_origins)

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        """Requests under ``/v1/`` go the short way; everything else is the control plane's."""
        if scope["type"] == "http":
            if scope["raw_path"].startswith(DATA_PREFIX):
                await self.dataplane(scope, receive, send)
                return
            SERVED.set(Served(scope["method"], scope["headers"]))
            # Matched as sent: see ControlPlane.routes.
            scope = {**scope, "path": scope["raw_path"].decode("latin-1")}
        await self._control(scope, receive, send)

    @asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncIterator[None]:
        self.settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.journal.start()
        supervision = self.tasks.spawn((self.supervisor or self.link).run(), name="supervise-keeper")
        self.tasks.spawn(measure_lag(partial(self.metrics.observe, "loop_lag_seconds")), name="loop-lag")
        self.tasks.spawn(self.exposition.run(), name="tell-others")
        self.tasks.spawn(self.history.run(), name="history")
        # A thread of its own and not the loop's pool: nothing waits for it, not even the end of the process.
        threading.Thread(target=self._load_tables, name="tables", daemon=True).start()
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
            await self.recall.aclose()
            await self._embedder.aclose()
            if self._tracing is not None:
                await self._tracing.aclose()

    def _load_tables(self) -> None:
        corrections.prepare()
        self._tokens.load_tables()

    async def _drain_journal(self) -> None:
        try:
            async with asyncio.timeout(DRAIN_S):
                await self.keeper.call(wire.Flush(extract=False))
        except (KeeperError, TimeoutError) as exc:
            log.warning("journal_not_drained", reason=str(exc) or "it took too long")

    async def _count_held(self, erased: Scope | None) -> int:
        return self.journal.state.held if erased is None else await self.journal.discard(erased)

    def _tell_keeper(self) -> None:
        self.keeper.push(wire.Journaled())

    def _measure(self, embedder: Embedder) -> Embedder:
        return measure(embedder, partial(self.metrics.observe, "embed_question_seconds"))

    def _open_model(self, model: EmbeddingModel) -> Embedder:
        return self._measure(open_model(self.settings, model))

    def _watch_parts(self) -> None:
        self.metrics.watch("upstream_connections", lambda: self.upstream.connections)
        self.metrics.watch("journal_held", lambda: self.journal.state.held)
        self.metrics.watch("journal_lost_total", lambda: self.journal.state.lost)
        self.metrics.watch("working_sets", lambda: len(self.recall.sets))
        self.metrics.watch("working_set_bytes", lambda: self.recall.sets.nbytes)


def _redact(redactor: Redactor, text: str) -> str:
    return redactor.redact(text).text


def _open_embedder(settings: Settings) -> Embedder:
    try:
        return open_embedder(settings)
    except EmbedderError as exc:
        log.warning("no_embedder", reason=str(exc), consequence="recall goes by words alone")
        return NoEmbedder()


async def _not_found(request: Request, exc: Exception) -> Response:
    error = not_found(request)
    if not (isinstance(exc, HTTPException) and exc.status_code == 405):
        return render_error(error)
    response = render_error(ApiError(405, "method_not_allowed", error.message))
    response.headers.update(exc.headers or {})  # Allow
    return response
