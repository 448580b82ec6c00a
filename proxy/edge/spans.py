"""Spans of chats, as OpenTelemetry's conventions for generative AI have them: one a request, and one for its recall.

A request's span is of the kind CLIENT, as those of inference are: it is the call of the model as this process sees it,
with what memory did before as its child, and what the upstream makes of it is its child in turn. Nothing else under
``/v1/`` has spans: it passes unread, and so does its context.
"""

from collections.abc import Callable, Iterable
from typing import Any, Final

import msgspec
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind
from starlette.types import Scope as AsgiScope

from proxy.address import Address
from proxy.models import Details, Message
from proxy.observe import tracing
from proxy.observe.failopen import FailOpen
from proxy.observe.served import Served
from proxy.observe.tracing import Tracing

# Larger bodies are not read twice on the event loop: their spans lack what the options would tell.
LARGE: Final = 1 << 20
FAILED: Final = 400
# Whose end it was, where there is no status.
ENDS: Final = {"gone": "client_gone", "truncated": "upstream_truncated"}
# Of recall: it gave less than it could have.
TROUBLED: Final = frozenset({"timeout", "error"})


class _Options(msgspec.Struct, frozen=True, gc=False):
    """What a request asks for, beside what it says."""

    model: str | None = None
    stream: bool | None = None
    n: int | None = None
    seed: int | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None

    def attributes(self) -> dict[str, Any]:
        """Those that are there."""
        told = {
            "gen_ai.request.model": self.model,
            "gen_ai.request.stream": self.stream,
            "gen_ai.request.choice.count": None if self.n == 1 else self.n,
            "gen_ai.request.seed": self.seed,
            "gen_ai.request.max_tokens": self.max_completion_tokens or self.max_tokens,
            "gen_ai.request.temperature": self.temperature,
            "gen_ai.request.top_p": self.top_p,
            "gen_ai.request.frequency_penalty": self.frequency_penalty,
            "gen_ai.request.presence_penalty": self.presence_penalty,
        }
        return {name: value for name, value in told.items() if value is not None}


_OPTIONS: Final = msgspec.json.Decoder(_Options)


class ChatSpans:
    """Begins a span with each chat, and ends it when the request ends. One instance serves all requests of an edge.

    *redact* masks secrets, for where words may be in spans.
    """

    def __init__(self, where: Tracing, upstream: Address, redact: Callable[[str], str], fail_open: FailOpen) -> None:
        self.content = where.content
        self._tracing = where
        self._redact = redact
        self._fail_open = fail_open
        self._always = {"gen_ai.operation.name": "chat", **tracing.describe_peer(upstream)}

    def begin(self, served: Served, scope: AsgiScope, body: bytes, conversation_id: str | None) -> AsgiScope:
        """The request has been read; answers it as the upstream is to get it, as a part of this span."""
        with self._fail_open("trace"):
            return self._begin(served, scope, body, conversation_id)
        return scope

    def _begin(self, served: Served, scope: AsgiScope, body: bytes, conversation_id: str | None) -> AsgiScope:
        options = _read_options(body)
        attributes = self._always | options.attributes()
        if conversation_id is not None:
            attributes["gen_ai.conversation.id"] = conversation_id
        span = self._start(served, f"chat {options.model}" if options.model else "chat", attributes)
        context = span.get_span_context()
        traceparent = tracing.render(context)
        if span.is_recording():
            served.traceparent = traceparent
            served.details = Details()
        return {**scope, "headers": tracing.replace_parent(served.headers, context, traceparent)}

    def _start(self, served: Served, name: str, attributes: dict[str, Any]) -> Span:
        parent = tracing.find_parent(served.headers)
        served.span = self._tracing.start(name, attributes, parent=parent, began=served.began)
        return served.span

    def end(self, served: Served, route: str, code: str) -> None:
        """The request has ended with this status code, or however else *code* says."""
        if route == "chat":
            with self._fail_open("trace"):
                # Without a span it was refused before it was read.
                self._end(served.span or self._start(served, "chat", self._always), served, code)

    def _end(self, span: Span, served: Served, code: str) -> None:
        if span.is_recording():
            if served.recalled_at is not None:
                self._tell_recall(served, trace.set_span_in_context(span, Context()), served.recalled_at)
            span.set_attributes(self._describe(served, code))
            if not code.isdigit() or int(code) >= FAILED:
                tracing.fail(span, served.error or ENDS.get(code, code))
        span.end()

    def _describe(self, served: Served, code: str) -> dict[str, Any]:
        told: dict[str, Any] = {"memory_proxy.request_id": served.id}
        if code.isdigit():
            told["http.response.status_code"] = int(code)
        if served.memory:
            told["memory_proxy.memory.status"] = served.memory
        if served.user:
            told["memory_proxy.user"] = served.user
        if served.client:
            told["memory_proxy.client"] = served.client
        if served.details is not None:
            told |= _describe_answer(served.details)
        if self.content:
            told |= self._quote(served)
        return told

    def _tell_recall(self, served: Served, parent: Context, at: float) -> None:
        told = {
            "gen_ai.operation.name": "search_memory",
            "gen_ai.memory.record.count": served.count,
            "memory_proxy.memory.status": served.memory,
            "memory_proxy.block.tokens": served.tokens,
        }
        if self.content:
            told |= self._quote_recall(served)
        span = self._tracing.start("search_memory", told, parent=parent, kind=SpanKind.INTERNAL, began=at)
        if served.memory in TROUBLED:
            tracing.fail(span, served.memory)
        span.end(tracing.wall_ns(at + served.recall_s))

    def _quote(self, served: Served) -> dict[str, str]:
        told = {"gen_ai.input.messages": _dump(self._say(message) for message in served.dialogue)}
        if served.instructions:
            parts = [{"type": "text", "content": self._redact(text)} for text in served.instructions]
            told["gen_ai.system_instructions"] = _dump(parts)
        if served.details is not None and served.details.text:
            answer = self._say(Message("assistant", served.details.text))
            reason = served.details.finish_reason
            told["gen_ai.output.messages"] = _dump([{**answer, "finish_reason": reason}])
        return told

    def _quote_recall(self, served: Served) -> dict[str, Any]:
        asked = next((message.text for message in reversed(served.dialogue) if message.role == "user"), "")
        records = [{"id": one.id, "content": one.text, "score": score} for one, score in served.memories]
        return {"gen_ai.memory.query.text": self._redact(asked), "gen_ai.memory.records": _dump(records)} | (
            {"memory_proxy.block.text": served.block} if served.block else {}
        )

    def _say(self, message: Message) -> dict[str, Any]:
        return {"role": message.role, "parts": [{"type": "text", "content": self._redact(message.text)}]}


def _describe_answer(details: Details) -> dict[str, Any]:
    told: dict[str, Any] = {
        "gen_ai.response.model": details.model,
        "gen_ai.response.id": details.id,
        "gen_ai.response.finish_reasons": (details.finish_reason,) if details.finish_reason else None,
    }
    if (usage := details.usage) is not None:
        told["gen_ai.usage.input_tokens"] = usage.prompt
        told["gen_ai.usage.output_tokens"] = usage.completion
        told["gen_ai.usage.cache_read.input_tokens"] = usage.cached
    return {name: value for name, value in told.items() if value is not None}


def _read_options(body: bytes) -> _Options:
    try:
        return _OPTIONS.decode(body) if len(body) <= LARGE else _Options()
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return _Options()


def _dump(told: Iterable[Any]) -> str:
    return msgspec.json.encode(list(told)).decode()
