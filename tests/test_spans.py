"""Spans as the conventions for generative AI have them, through the real proxy: their families, and what they say."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind, StatusCode

from proxy import config
from proxy.app import App
from proxy.errors import ConfigError
from proxy.models import Scope
from proxy.observe import tracing
from proxy.observe.tracing import open_tracing
from tests.harness import Driver, Gate, Proxy, Upstream, respond, run_proxy, stream
from tests.harness.payloads import DONE, ask, completion, event, events, failure
from tests.harness.proxy import CHAT
from tests.harness.upstream import within

pytestmark = pytest.mark.asyncio(loop_scope="session")

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TRACEPARENT = f"00-{TRACE}-{PARENT}-01"
PARROT = "My parrot is called Polly."


class Spans:
    """Those that have ended."""

    def __init__(self, exporter: InMemorySpanExporter) -> None:
        self._exporter = exporter

    async def of(self, proxy: Proxy) -> list[ReadableSpan]:
        """All since this was asked last, once nothing is served any more, in the order of their beginnings."""
        await within(proxy.app.dataplane.idle.wait())
        await asyncio.sleep(0)
        ended = sorted(self._exporter.get_finished_spans(), key=lambda span: span.start_time or 0)
        self._exporter.clear()
        return ended


def told(span: ReadableSpan) -> dict[str, object]:
    return dict(span.attributes or {})


def text(spans: list[ReadableSpan]) -> str:
    return "\n".join(span.to_json() for span in spans)


KEPT = InMemorySpanExporter()
PROVIDER = TracerProvider()
PROVIDER.add_span_processor(SimpleSpanProcessor(KEPT))


@asynccontextmanager
async def run_traced(folder: Path, upstream: Upstream, **sections: Any) -> AsyncIterator[Proxy]:
    """A proxy in a process that was set up to keep spans, which it finds out when it starts."""
    async with AsyncExitStack() as stack:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(trace, "_TRACER_PROVIDER", PROVIDER)
            running = await stack.enter_async_context(run_proxy(folder, upstream.url, **sections))
        yield running


@pytest.fixture
def spans() -> Spans:
    KEPT.clear()
    return Spans(KEPT)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def traced_proxy(far_end: Upstream, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Proxy]:
    async with run_traced(tmp_path_factory.mktemp("traced"), far_end) as running:
        yield running


@pytest.fixture
def traced(traced_proxy: Proxy, upstream: Upstream) -> Proxy:
    """A proxy whose process keeps spans."""
    return traced_proxy


async def test_a_chat_with_memory(traced: Proxy, upstream: Upstream, spans: Spans, user: str) -> None:
    """One span for the request, with what was asked and answered, and one within it for what memory did."""
    await traced.chat(user, ask(PARROT))
    await traced.flush()
    await spans.of(traced)
    upstream.script(respond(completion("Polly.")))
    answer = await traced.chat(
        user, ask("What is my parrot called?", temperature=0.5, max_tokens=9, n=1), X_Conversation_Id="talk-1"
    )
    assert answer.memory == "injected"
    chat, recall = await spans.of(traced)
    assert (chat.name, chat.kind, chat.parent) == ("chat double", SpanKind.CLIENT, None)
    assert chat.status.status_code is StatusCode.UNSET
    host, port = upstream.url.removeprefix("http://").split(":")
    request_id = told(chat).pop("memory_proxy.request_id")
    assert told(chat) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.conversation.id": "talk-1",
        "gen_ai.request.model": "double",
        "gen_ai.request.temperature": 0.5,
        "gen_ai.request.max_tokens": 9,
        "gen_ai.response.model": "double",
        "gen_ai.response.id": "chatcmpl-1",
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.input_tokens": 1,
        "gen_ai.usage.output_tokens": 1,
        "server.address": host,
        "server.port": int(port),
        "http.response.status_code": 200,
        "memory_proxy.memory.status": "injected",
        "memory_proxy.user": Scope(user).key[:12],
        "memory_proxy.request_id": request_id,
    }
    assert (recall.name, recall.kind) == ("search_memory", SpanKind.INTERNAL)
    assert recall.parent is not None
    assert recall.parent.span_id == chat.context.span_id
    assert told(recall) == {
        "gen_ai.operation.name": "search_memory",
        "gen_ai.memory.record.count": int(answer.header("x-memory-count") or 0),
        "memory_proxy.memory.status": "injected",
        "memory_proxy.block.tokens": int(answer.header("x-memory-tokens") or 0),
    }
    assert chat.start_time is not None
    assert recall.start_time is not None
    assert recall.end_time is not None
    assert chat.end_time is not None
    assert chat.start_time <= recall.start_time < recall.end_time <= chat.end_time


async def test_nothing_of_what_is_said_is_in_a_span(traced: Proxy, upstream: Upstream, spans: Spans, user: str) -> None:
    """By default: neither messages nor answers, memories or names, whatever goes wrong."""
    upstream.script(respond(completion("xyzzy-answer")), respond(failure("xyzzy-failure"), status=400))
    for body in (ask("xyzzy-said one"), ask("xyzzy-said two"), b'{"messages": "xyzzy-bad"}'):
        await traced.chat(f"xyzzy-{user}", body, Authorization="Bearer xyzzy-key")
        await traced.flush()
    await traced.chat("xyzzy" * 100, ask("xyzzy"))
    ended = await spans.of(traced)
    assert [span.name.split()[0] for span in ended if span.name != "search_memory"] == ["chat"] * 4
    assert "xyzzy" not in text(ended)


async def test_content_where_it_is_wanted(upstream: Upstream, spans: Spans, tmp_path: Path) -> None:
    """Messages in the conventions' own form and the memories that were found, all without the secrets in them."""
    secret = "sk-proj-" + "Ab1" * 16
    async with run_traced(tmp_path, upstream, traces={"content": True}) as proxy:
        await proxy.chat("ada", ask(PARROT))
        await proxy.flush()
        await spans.of(proxy)
        upstream.script(respond(completion("She is called Polly.")))
        question = {"role": "user", "content": f"What is my parrot called? {secret}"}
        body = json.dumps({"model": "m", "messages": [{"role": "system", "content": "Be short."}, question]})
        await proxy.chat("ada", body.encode())
        chat, recall = await spans.of(proxy)
    (said,) = json.loads(str(told(chat)["gen_ai.input.messages"]))
    assert (said["role"], said["parts"][0]["type"]) == ("user", "text")
    assert said["parts"][0]["content"].startswith("What is my parrot called?")
    instructions = json.loads(str(told(chat)["gen_ai.system_instructions"]))
    assert instructions == [{"type": "text", "content": "Be short."}]
    (answered,) = json.loads(str(told(chat)["gen_ai.output.messages"]))
    assert answered == {
        "role": "assistant",
        "parts": [{"type": "text", "content": "She is called Polly."}],
        "finish_reason": "stop",
    }
    records = json.loads(str(told(recall)["gen_ai.memory.records"]))
    assert PARROT in [record["content"] for record in records]
    assert all({"id", "content", "score"} == record.keys() for record in records)
    assert str(told(recall)["gen_ai.memory.query.text"]).startswith("What is my parrot called?")
    assert PARROT in str(told(recall)["memory_proxy.block.text"])
    assert secret not in text([chat, recall])


async def test_context_goes_on_upstream(traced: Proxy, upstream: Upstream, spans: Spans, user: str) -> None:
    """The client's span is the parent of ours, ours that of what the upstream does; baggage is left alone."""
    await traced.chat(user, ask("Hi"), Traceparent=TRACEPARENT, Tracestate="vendor=1, other=2", Baggage="tenant=7")
    chat, *_ = await spans.of(traced)
    assert chat.parent is not None
    assert (f"{chat.parent.trace_id:032x}", f"{chat.parent.span_id:016x}") == (TRACE, PARENT)
    sent = upstream.last
    assert sent.every("traceparent") == [f"00-{TRACE}-{chat.context.span_id:016x}-01".encode()]
    assert sent.every("tracestate") == [b"vendor=1,other=2"]
    assert sent.every("baggage") == [b"tenant=7"]


@pytest.mark.parametrize("sent", ["nonsense", f"00-{'0' * 32}-{PARENT}-01", f"ff-{TRACE}-{PARENT}-01", "x" * 5000])
async def test_a_context_that_is_none(traced: Proxy, upstream: Upstream, spans: Spans, user: str, sent: str) -> None:
    """A new trace begins, and the state of the old one does not go along."""
    await traced.chat(user, ask("Hi"), Traceparent=sent, Tracestate="vendor=1")
    chat, *_ = await spans.of(traced)
    assert chat.parent is None
    (traceparent,) = upstream.last.every("traceparent")
    assert traceparent == tracing.render(chat.context).encode()
    assert upstream.last.every("tracestate") == []


async def test_what_the_client_does_not_keep_is_not_kept(
    traced: Proxy, upstream: Upstream, spans: Spans, user: str
) -> None:
    """Its decision goes on upstream, with no span of ours in the journal either."""
    await traced.chat(user, ask("Hi"), Traceparent=f"00-{TRACE}-{PARENT}-00")
    assert await spans.of(traced) == []
    (traceparent,) = upstream.last.every("traceparent")
    assert traceparent.startswith(f"00-{TRACE}-".encode())
    assert traceparent.endswith(b"-00")


async def test_other_requests_pass_as_they_are(traced: Proxy, upstream: Upstream, spans: Spans) -> None:
    """What is not read has no span, and its context is its client's."""
    headers = {"Traceparent": TRACEPARENT, "Tracestate": "vendor=1, other=2"}
    await traced.request("POST", "/v1/embeddings", headers=headers, body=b"{}")
    assert await spans.of(traced) == []
    assert upstream.last.every("traceparent") == [TRACEPARENT.encode()]
    assert upstream.last.every("tracestate") == [b"vendor=1, other=2"]


async def test_without_anybody_to_keep_them_there_are_no_spans(proxy: Proxy, upstream: Upstream, user: str) -> None:
    """Nothing is put together, and what the client sends passes to the last byte."""
    assert proxy.app._tracing is None
    await proxy.chat(user, ask("Hi"), Traceparent="not even one", Tracestate="a=1, b=2")
    assert upstream.last.every("traceparent") == [b"not even one"]
    assert upstream.last.every("tracestate") == [b"a=1, b=2"]


async def test_a_stream_and_its_usage(traced: Proxy, upstream: Upstream, spans: Spans, user: str) -> None:
    """Read out of the events, also where nothing is remembered."""
    usage = {"prompt_tokens": 70, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 64}}
    last = b"data: " + json.dumps({"id": "x", "choices": [], "usage": usage}).encode() + b"\n\n"
    for who in (user, None):
        upstream.script(stream([*events("Hello", done=False), last, DONE]))
        await traced.chat(who, ask("Hi there", stream=True))
        chat = (await spans.of(traced))[0]
        assert told(chat)["gen_ai.request.stream"] is True
        assert told(chat)["gen_ai.response.finish_reasons"] == ("stop",)
        assert [told(chat)[f"gen_ai.usage.{name}"] for name in USAGE] == [70, 3, 64]


USAGE = ("input_tokens", "output_tokens", "cache_read.input_tokens")


@pytest.mark.parametrize(
    ("status", "error"), [(429, "429"), (500, "500"), (404, "404")], ids=["rate", "server", "model"]
)
async def test_an_upstream_that_refuses(
    traced: Proxy, upstream: Upstream, spans: Spans, user: str, status: int, error: str
) -> None:
    """Its status is the error, and its words are nowhere."""
    upstream.script(respond(failure("quoting you"), status=status))
    await traced.chat(user, ask("Hi there"))
    chat = (await spans.of(traced))[0]
    assert (chat.status.status_code, chat.status.description) == (StatusCode.ERROR, None)
    assert (told(chat)["error.type"], told(chat)["http.response.status_code"]) == (error, status)


async def test_a_request_that_is_refused_here(traced: Proxy, upstream: Upstream, spans: Spans) -> None:
    """Before it was read, too: with the code that the client gets."""
    await traced.chat("x" * 300, ask("Hi"))
    await traced.chat("ada", ask("Hi"), X_Memory_Mode="sometimes")
    ended = await spans.of(traced)
    assert [told(span)["error.type"] for span in ended] == ["memory_proxy_bad_user_id", "memory_proxy_bad_memory_mode"]
    assert {told(span)["http.response.status_code"] for span in ended} == {400}
    assert upstream.visits == []


async def test_a_client_that_leaves_ends_its_span(traced: Proxy, upstream: Upstream, spans: Spans, user: str) -> None:
    """As an error: what was asked for has not been had."""
    gate = Gate()
    upstream.script(gate)
    driver = Driver(traced.app, CHAT, headers={"X-User-Id": user})
    driver.say(ask("Tell me a story", stream=True))
    gate.start()
    gate.release(event({"content": "Once"}))
    await driver.next()
    driver.leave()
    await driver.served()
    chat = (await spans.of(traced))[0]
    assert (told(chat)["error.type"], chat.status.status_code) == ("client_gone", StatusCode.ERROR)


async def test_an_answer_that_is_cut(traced: Proxy, upstream: Upstream, spans: Spans, user: str) -> None:
    """The upstream died within it."""
    upstream.script(stream(events("Once", done=False)[:1], cut=True))
    async with await traced.open(
        "POST", CHAT, headers={"X-User-Id": user}, body=ask("Tell me a story", stream=True)
    ) as wire:
        await wire.head()
        await wire.piece()
        with pytest.raises(asyncio.IncompleteReadError):
            await wire.piece()
    chat = (await spans.of(traced))[0]
    assert told(chat)["error.type"] == "upstream_truncated"


async def test_recall_that_fails_is_an_error_of_its_own(upstream: Upstream, spans: Spans, tmp_path: Path) -> None:
    """The chat itself is fine."""
    async with run_traced(tmp_path, upstream, ready=False) as proxy:
        answer = await proxy.chat("ada", ask("What is my parrot called?"))
        chat, recall = await spans.of(proxy)
    assert answer.memory == "error"
    assert told(recall)["error.type"] == "error"
    assert (recall.status.status_code, chat.status.status_code) == (StatusCode.ERROR, StatusCode.UNSET)


@pytest.mark.parametrize(
    ("who", "mode"), [(None, "full"), ("ada", "off"), ("ada", "write")], ids=["anonymous", "off", "write"]
)
async def test_without_recall_there_is_no_span_of_it(
    traced: Proxy, upstream: Upstream, spans: Spans, who: str | None, mode: str
) -> None:
    """The request has its own all the same, with its model and its tokens."""
    await traced.chat(who, ask("What is my parrot called?"), X_Memory_Mode=mode)
    (chat,) = await spans.of(traced)
    assert chat.name == "chat double"
    assert told(chat)["gen_ai.usage.input_tokens"] == 1
    assert told(chat)["memory_proxy.memory.status"] in ("anonymous", "off")


async def test_spans_that_fail_cost_no_chat(
    traced: Proxy, upstream: Upstream, spans: Spans, user: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever keeps them has a bug: the chat is answered, and the failure is counted."""

    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    before = traced.metric("memory_errors_total", step="trace")
    monkeypatch.setattr("proxy.observe.tracing.Tracing.start", fail)
    answer = await traced.chat(user, ask("Hi"), Traceparent=TRACEPARENT)
    await spans.of(traced)
    assert answer.status == 200
    assert upstream.last.every("traceparent") == [TRACEPARENT.encode()]
    assert traced.metric("memory_errors_total", step="trace") == before + 2


async def test_a_process_that_is_instrumented_has_ours_within_its_own(
    traced: Proxy, upstream: Upstream, spans: Spans, user: str
) -> None:
    """The span that its server has begun is nearer than the client's."""
    with PROVIDER.get_tracer("server").start_as_current_span("POST") as server:
        driver = Driver(traced.app, CHAT, headers={"X-User-Id": user, "Traceparent": TRACEPARENT})
        driver.say(ask("Hi"))
        while (await driver.next()).get("more_body", True):
            pass
        await driver.served()
        chat = (await spans.of(traced))[0]
    assert chat.parent is not None
    assert chat.parent.span_id == server.get_span_context().span_id


@pytest.mark.parametrize(
    ("url", "provider", "address", "port"),
    [
        ("https://api.openai.com/v1", "openai", "api.openai.com", 443),
        ("https://mine.openai.azure.com/openai", "azure.ai.openai", "mine.openai.azure.com", 443),
        ("https://api.groq.com/openai/v1", "groq", "api.groq.com", 443),
        ("http://localhost:11434/v1", "openai", "localhost", 11434),
        ("https://api.mistral.ai.example.org/v1", "openai", "api.mistral.ai.example.org", 443),
        ("unix:/run/llm.sock", "openai", "/run/llm.sock", None),
    ],
)
async def test_who_is_asked(url: str, provider: str, address: str, port: int | None) -> None:
    """By the host's own name, not by what it ends or begins with."""
    peer = tracing.describe_peer(config.load(flags={"upstream": {"base_url": url}}, environ={}).upstream.address)
    assert (peer["gen_ai.provider.name"], peer["server.address"], peer.get("server.port")) == (provider, address, port)


async def test_what_sends_spans_is_told_to_be_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In one line that says what to install."""
    monkeypatch.setitem(__import__("sys").modules, "opentelemetry.sdk.trace", None)
    monkeypatch.delitem(__import__("sys").modules, "proxy.observe.otlp", raising=False)
    settings = config.load(flags={"data_dir": tmp_path, "traces": {"otlp_endpoint": "http://localhost:4318"}})
    with pytest.raises(ConfigError, match=r"traces.otlp_endpoint: .* install memory-proxy\[otel\]"):
        App(settings)


async def test_a_sampler_that_keeps_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Is asked, and heeded."""
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", TracerProvider(sampler=ALWAYS_OFF))
    where = open_tracing(config.load(environ={}), "edge")
    assert where is not None
    assert not where.start("chat", {}).is_recording()
