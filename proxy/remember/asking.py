"""The extraction model, watched from outside: how long it took, and a span for every time that it is asked."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final

import msgspec
from opentelemetry.trace import Span

from proxy.config import Settings
from proxy.config import Upstream as UpstreamSettings
from proxy.errors import ExtractionError
from proxy.extraction import Batch, Extraction, Extractor, Model, open_model
from proxy.extraction.answers import Asked
from proxy.extraction.prompt import Prompt
from proxy.models import Scope, Usage
from proxy.observe import tracing
from proxy.observe.metrics import Metrics
from proxy.observe.tracing import Tracing

# Of the batch that is being looked at: one task looks at one.
_SPANS: Final[ContextVar[tuple[str, ...]]] = ContextVar("spans", default=())


class WatchedExtractor:
    """As :class:`Extractor`, with its calls timed and, where somebody keeps spans, told of."""

    def __init__(self, settings: Settings, metrics: Metrics, where: Tracing | None) -> None:
        model = WatchedModel(open_model(settings), metrics, None if where is None else CallSpans(where, settings))
        self._extractor = Extractor(settings, model=model)

    async def extract(self, scope: Scope, batch: Batch) -> Extraction:
        """As :class:`Extractor` has it."""
        token = _SPANS.set(batch.spans)
        try:
            return await self._extractor.extract(scope, batch)
        finally:
            _SPANS.reset(token)

    async def aclose(self) -> None:
        """As :class:`Extractor` has it."""
        await self._extractor.aclose()


class WatchedModel:
    """As *model*."""

    def __init__(self, model: Model, metrics: Metrics, spans: "CallSpans | None") -> None:
        self._model = model
        self._metrics = metrics
        self._spans = spans

    async def ask(self, prompt: Prompt) -> Asked:
        """As :class:`Model` has it."""
        began = time.perf_counter()
        outcome = "failed"
        try:
            asked = await self._ask(prompt)
            outcome = "answered"
            return asked
        finally:
            self._metrics.observe("extraction_seconds", time.perf_counter() - began, outcome)

    async def _ask(self, prompt: Prompt) -> Asked:
        if self._spans is None:
            return await self._model.ask(prompt)
        with self._spans.call(prompt) as span:
            asked = await self._model.ask(prompt)
            self._spans.describe(span, asked)
            return asked

    async def aclose(self) -> None:
        """As :class:`Model` has it."""
        await self._model.aclose()


class CallSpans:
    """A span for each call, linked to those of the requests that brought what it reads."""

    def __init__(self, where: Tracing, settings: Settings) -> None:
        chosen = settings.extraction
        upstream = settings.upstream if chosen.base_url is None else UpstreamSettings(base_url=chosen.base_url)
        self._tracing = where
        self._name = f"chat {chosen.model}"
        self._always: dict[str, Any] = {
            "gen_ai.operation.name": "chat",
            "gen_ai.request.model": chosen.model,
            **tracing.describe_peer(upstream.address),
        }

    @contextmanager
    def call(self, prompt: Prompt) -> Iterator[Span]:
        """The time until the end of the block, whatever ends it."""
        told = dict(self._always)
        if self._tracing.content:
            told["gen_ai.input.messages"] = _say("user", prompt.text)
        span = self._tracing.start(self._name, told, links=tracing.link_to(_SPANS.get()))
        error: str | None = "cancelled"
        try:
            yield span
            error = None
        except ExtractionError as exc:
            # The client library's error says more, by its type: our own has the same one for all.
            error = type(exc.__cause__ or exc).__name__
            raise
        finally:
            if error is not None:
                tracing.fail(span, error)
            span.end()

    def describe(self, span: Span, asked: Asked) -> None:
        """It has answered."""
        usage: Usage | None = asked.usage
        told = {
            "gen_ai.response.model": asked.model,
            "gen_ai.usage.input_tokens": None if usage is None else usage.prompt,
            "gen_ai.usage.output_tokens": None if usage is None else usage.completion,
            "memory_proxy.extraction.calls": asked.calls,
            "memory_proxy.extraction.facts": len(asked.items),
        }
        if self._tracing.content:
            told["gen_ai.output.messages"] = _say("assistant", msgspec.json.encode(asked.items).decode())
        span.set_attributes({name: value for name, value in told.items() if value is not None})


def _say(role: str, text: str) -> str:
    return msgspec.json.encode([{"role": role, "parts": [{"type": "text", "content": text}]}]).decode()
