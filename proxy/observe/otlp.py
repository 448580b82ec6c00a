"""Sends spans to a collector, by OTLP over HTTP. Needs the extra ``otel``."""

import logging
import uuid
from collections.abc import Callable, Sequence
from typing import Final

import structlog
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from proxy import __version__

log = structlog.get_logger(__name__)

PATH: Final = "/v1/traces"
# Spans that wait for a collector which is slow or away, about 4 kB each; the oldest go first.
MOST_WAITING: Final = 2048
# A batch is encoded in one go, at 20 µs a span, which holds up everybody else's streams.
BATCH: Final = 64
EVERY_MS: Final = 2000
TIMEOUT_S: Final = 5.0


class WatchedExporter(SpanExporter):
    """As *exporter*, but that it is told once when spans cannot be sent, and once when they can again."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self._failing = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """As the library has it. Called from a thread of its own."""
        result = self._exporter.export(spans)
        failing = result is not SpanExportResult.SUCCESS
        if failing and not self._failing:
            log.warning("spans_not_sent", reason="the collector at traces.otlp_endpoint does not take them")
        elif self._failing and not failing:
            log.info("spans_sent_again")
        self._failing = failing
        return result

    def shutdown(self) -> None:
        """As the library has it."""
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """As the library has it."""
        return self._exporter.force_flush(timeout_millis)


def make_provider(endpoint: str, role: str) -> tuple[TracerProvider, Callable[[], None]]:
    """Where spans begin that go to *endpoint*, and what sends the last of them.

    Beside them OpenTelemetry's own variables are heeded: samplers, limits, headers, certificates, resource attributes.
    """
    # They would repeat themselves for as long as a collector is away, and say which one with all that is in its URL.
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
    resource = Resource(
        {
            "service.name": "memory-proxy",
            "service.version": __version__,
            "service.instance.id": str(uuid.uuid4()),
            "memory_proxy.process": role,
        }
    )
    provider = TracerProvider(resource=resource.merge(OTELResourceDetector().detect()), shutdown_on_exit=False)
    exporter = OTLPSpanExporter(endpoint=endpoint.removesuffix(PATH) + PATH, timeout=TIMEOUT_S)
    provider.add_span_processor(
        BatchSpanProcessor(
            WatchedExporter(exporter),
            max_queue_size=MOST_WAITING,
            schedule_delay_millis=EVERY_MS,
            max_export_batch_size=BATCH,
        )
    )
    return provider, provider.shutdown
