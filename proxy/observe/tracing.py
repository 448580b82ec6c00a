"""OpenTelemetry spans: where they come from and where they go. Without a place for them there are none, and no cost."""

import asyncio
import importlib
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.propagators.textmap import Getter
from opentelemetry.trace import Link, Span, SpanContext, SpanKind, StatusCode, TracerProvider
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from proxy import __version__
from proxy.address import Address
from proxy.config import Settings
from proxy.errors import ConfigError
from proxy.observe.served import RawHeaders

Attributes = Mapping[str, Any]
Role = Literal["edge", "keeper"]

TRACEPARENT: Final = b"traceparent"
TRACESTATE: Final = b"tracestate"
# How long a process that ends waits for its last spans to be sent.
FLUSH_S: Final = 2.0
# Loaded where it is configured: it takes 15 MB and belongs to an extra.
EXPORT: Final = "proxy.observe.otlp:make_provider"

# By the host of an API, what the conventions call its provider. All else is told by what it speaks.
PROVIDERS: Final = (
    (re.compile(r"(?:.+\.)?openai\.azure\.com"), "azure.ai.openai"),
    (re.compile(r"(?:.+\.)?inference\.ai\.azure\.com"), "azure.ai.inference"),
    (re.compile(r"api\.anthropic\.com"), "anthropic"),
    (re.compile(r"bedrock-runtime\..+\.amazonaws\.com"), "aws.bedrock"),
    (re.compile(r"generativelanguage\.googleapis\.com"), "gcp.gemini"),
    (re.compile(r".*aiplatform\.googleapis\.com"), "gcp.vertex_ai"),
    (re.compile(r"api\.cohere\.(?:ai|com)"), "cohere"),
    (re.compile(r"api\.deepseek\.com"), "deepseek"),
    (re.compile(r"api\.groq\.com"), "groq"),
    (re.compile(r"api\.mistral\.ai"), "mistral_ai"),
    (re.compile(r"api\.moonshot\.(?:ai|cn)"), "moonshot_ai"),
    (re.compile(r"api\.perplexity\.ai"), "perplexity"),
    (re.compile(r"api\.x\.ai"), "x_ai"),
)


class _Headers(Getter[RawHeaders]):
    """Raw headers, as the library's propagator reads them."""

    def get(self, carrier: RawHeaders, key: str) -> list[str] | None:
        name = key.encode("ascii")
        return [value.decode("latin-1") for header, value in carrier if header == name] or None

    def keys(self, carrier: RawHeaders) -> list[str]:
        return [name.decode("latin-1") for name, _ in carrier]


_HEADERS: Final = _Headers()
_W3C: Final = TraceContextTextMapPropagator()


class Tracing:
    """Where this process's spans begin. *content*: they may have the words of messages and memories in them."""

    def __init__(self, provider: TracerProvider, *, content: bool, end: Callable[[], None] | None = None) -> None:
        self.content = content
        self._tracer = provider.get_tracer("memory-proxy", __version__)
        self._end = end

    def start(
        self,
        name: str,
        attributes: Attributes,
        *,
        parent: Context | None = None,
        kind: SpanKind = SpanKind.CLIENT,
        links: Sequence[Link] = (),
        began: float | None = None,
    ) -> Span:
        """A span that ends with its ``end``. *began*: when, by ``time.perf_counter``, if not now."""
        started = None if began is None else wall_ns(began)
        return self._tracer.start_span(name, parent or Context(), kind, attributes, links, started)

    async def aclose(self) -> None:
        """Sends what is left, if it can be sent soon."""
        if self._end is None:
            return
        loop = asyncio.get_running_loop()
        ended = asyncio.Event()
        # A thread that nothing waits for any longer than this, not even the end of the process.
        thread = threading.Thread(target=_end, args=(self._end, loop, ended), name="last-spans", daemon=True)
        thread.start()
        try:
            async with asyncio.timeout(FLUSH_S):
                await ended.wait()
        except TimeoutError:
            pass  # the collector is away, which was told of when it went


def _end(end: Callable[[], None], loop: asyncio.AbstractEventLoop, ended: asyncio.Event) -> None:
    end()
    if not loop.is_closed():
        loop.call_soon_threadsafe(ended.set)


def open_tracing(settings: Settings, role: Role) -> Tracing | None:
    """Spans go to ``traces.otlp_endpoint``, or to whom the process was set up for; else there are none.

    Raises:
        ConfigError: what sends them is not installed.
    """
    content = settings.traces.content
    if settings.traces.otlp_endpoint is None:
        provider = trace.get_tracer_provider()
        return None if isinstance(provider, trace.ProxyTracerProvider) else Tracing(provider, content=content)
    module, _, name = EXPORT.partition(":")
    try:
        make = getattr(importlib.import_module(module), name)
    except ImportError as exc:
        reason = "needs OpenTelemetry's SDK: install memory-proxy[otel]"
        raise ConfigError(f"traces.otlp_endpoint: {reason}") from exc
    exported, end = make(settings.traces.otlp_endpoint, role)
    return Tracing(exported, content=content, end=end)


def find_parent(headers: RawHeaders) -> Context:
    """What the request is part of: of what instruments this process itself, else of what its client says."""
    current = trace.get_current_span()
    if current.get_span_context().is_valid:
        return trace.set_span_in_context(current, Context())
    if all(name != TRACEPARENT for name, _ in headers):
        return Context()
    return _W3C.extract(headers, Context(), _HEADERS)


def replace_parent(headers: RawHeaders, span: SpanContext, traceparent: str) -> RawHeaders:
    """*headers* that say that what follows is part of *span*, which :func:`render` gives *traceparent* for."""
    kept = [header for header in headers if header[0] not in (TRACEPARENT, TRACESTATE)]
    kept.append((TRACEPARENT, traceparent.encode("ascii")))
    if span.trace_state:
        kept.append((TRACESTATE, span.trace_state.to_header().encode("ascii", "ignore")))
    return kept


def render(span: SpanContext) -> str:
    """As ``traceparent`` has it."""
    return f"00-{span.trace_id:032x}-{span.span_id:016x}-{span.trace_flags:02x}"


def link_to(traceparents: Sequence[str]) -> list[Link]:
    """Links to the spans of which these tell; what tells of none is left out."""
    contexts = [
        trace.get_current_span(_W3C.extract([(TRACEPARENT, told.encode())], Context(), _HEADERS)).get_span_context()
        for told in dict.fromkeys(traceparents)
    ]
    return [Link(context) for context in contexts if context.is_valid]


def describe_peer(address: Address) -> dict[str, Any]:
    """Who is asked."""
    provider = next((name for host, name in PROVIDERS if host.fullmatch(address.host)), "openai")
    peer: dict[str, Any] = {"gen_ai.provider.name": provider, "server.address": address.socket_path or address.host}
    return peer if address.socket_path else {**peer, "server.port": address.port}


def fail(span: Span, error: str) -> None:
    """It came to a bad end. *error* is one of few words: what others say of it stays out."""
    span.set_attribute("error.type", error)
    span.set_status(StatusCode.ERROR)


def wall_ns(at: float) -> int:
    """A time of ``time.perf_counter`` as spans have it."""
    return time.time_ns() - int((time.perf_counter() - at) * 1e9)
