"""Spans on their way to a collector, out of both processes; and a collector that is away, slow or refuses."""

import asyncio
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from starlette.types import Receive, Scope, Send

from proxy import __version__
from proxy.mock.payloads import completion
from tests.processes import WAIT_S, Chat, Proxy, Upstream, read_body, running_upstream, send_json, serve_in_thread

SAID = "I live in Lisbon, xyzzy."
FACT = {"text": "The user lives in Lisbon.", "quote": "I live in Lisbon", "message": 1, "kind": "fact", "topic": "home"}


class Collector:
    """An OTLP/HTTP receiver. Answers with *status*, once *gate* is open."""

    def __init__(self) -> None:
        self.status = 200
        self.gate = threading.Event()
        self.gate.set()
        self.url = ""
        self.asked = threading.Semaphore(0)
        self._spans: list[tuple[dict[str, str], Span]] = []
        self._news = threading.Condition()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await read_body(receive)
        assert scope["path"] == "/v1/traces"
        self.asked.release()
        await asyncio.to_thread(self.gate.wait, WAIT_S)
        if self.status == 200:
            with self._news:
                self._spans += list(_read(ExportTraceServiceRequest.FromString(body)))
                self._news.notify_all()
        await send_json(send, b"", self.status)

    def wait_for(self, *names: str) -> list[tuple[dict[str, str], Span]]:
        """All spans, each with its resource, once there is one of each of *names*."""
        with self._news:
            assert self._news.wait_for(lambda: set(names) <= {span.name for _, span in self._spans}, WAIT_S)
            return list(self._spans)


def _read(request: ExportTraceServiceRequest) -> Iterator[tuple[dict[str, str], Span]]:
    for spans in request.resource_spans:
        resource = {one.key: one.value.string_value for one in spans.resource.attributes}
        for scope in spans.scope_spans:
            for span in scope.spans:
                yield resource, span


def told(span: Span) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value") or "") for one in span.attributes}


class Modelled(Upstream):
    """An API that also finds facts."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await read_body(receive)
        if json.loads(body)["model"] == "extractor":
            await send_json(send, completion([json.dumps({"facts": [FACT]})], "extractor-2"))
        else:
            await send_json(send, completion(["Noted."], "m"))


@pytest.fixture
def collector() -> Iterator[Collector]:
    made = Collector()
    with serve_in_thread(made) as made.url:
        yield made
        made.gate.set()


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with running_upstream() as running:
        yield running


def export_to(url: str, **more: str) -> dict[str, str]:
    return {"MEMORY_PROXY_TRACES__OTLP_ENDPOINT": url, **more}


def test_both_processes_send_theirs(tmp_path: Path, collector: Collector) -> None:
    """The extraction call is linked to the request whose exchange it reads; nobody's words are in any of them."""
    learns = {
        "MEMORY_PROXY_EXTRACTION__MODEL": "extractor",
        "MEMORY_PROXY_EXTRACTION__API_KEY": "k",
        "MEMORY_PROXY_EXTRACTION__IDLE_S": "0",
    }
    model = Modelled()
    with (
        serve_in_thread(model) as url,
        Proxy(tmp_path, url, environ=export_to(collector.url, **learns)) as proxy,
    ):
        proxy.wait_ready()
        Chat(proxy.url, "ada").say(SAID)
        spans = collector.wait_for("chat m", "search_memory", "chat extractor")
        scraped = proxy.call("GET", "/metrics").text
        assert proxy.stop() == 0
    by_name = {span.name: (resource, span) for resource, span in spans}
    chat, call = by_name["chat m"][1], by_name["chat extractor"][1]
    assert [(link.trace_id, link.span_id) for link in call.links] == [(chat.trace_id, chat.span_id)]
    assert call.trace_id != chat.trace_id
    assert by_name["search_memory"][1].parent_span_id == chat.span_id
    assert told(call)["gen_ai.response.model"] == "extractor-2"
    assert told(call)["gen_ai.operation.name"] == "chat"
    assert told(call)["memory_proxy.extraction.facts"] == 1
    assert "xyzzy" not in str([span for _, span in spans])
    assert "Lisbon" not in str([span for _, span in spans])
    for name, process in (("chat m", "edge"), ("chat extractor", "keeper")):
        resource = by_name[name][0]
        assert (resource["service.name"], resource["service.version"]) == ("memory-proxy", __version__)
        assert resource["memory_proxy.process"] == process
    assert by_name["chat m"][0]["service.instance.id"] != by_name["chat extractor"][0]["service.instance.id"]
    assert 'memory_proxy_extraction_seconds_count{outcome="answered"} 1.0' in scraped


def test_the_last_spans_are_sent(tmp_path: Path, upstream: Upstream, collector: Collector) -> None:
    """A stop waits for them, and takes OpenTelemetry's own variables into account."""
    named = {"OTEL_RESOURCE_ATTRIBUTES": "deployment.environment=test", "OTEL_BSP_SCHEDULE_DELAY": "60000"}
    with Proxy(tmp_path, upstream.url, environ=export_to(f"{collector.url}/v1/traces", **named)) as proxy:
        proxy.wait_ready()
        Chat(proxy.url, "ada").say(SAID)
        assert proxy.stop() == 0
    ((resource, _), *_) = collector.wait_for("chat m")
    assert resource["deployment.environment"] == "test"


def test_a_collector_that_is_away(tmp_path: Path, upstream: Upstream) -> None:
    """Is told of once, without its URL; chats do not notice, and a stop does not wait long."""
    with Proxy(tmp_path, upstream.url, environ=export_to("http://someone:plugh@127.0.0.1:9")) as proxy:
        proxy.wait_ready()
        chat = Chat(proxy.url, "ada")
        chat.say("The first.")
        proxy.log.wait_for("spans_not_sent")
        for number in range(100):
            Chat(proxy.url, "ada").say(f"Number {number}.")
        assert proxy.stop() == 0
        proxy.log.wait_for_end()
    events = [json.loads(line)["event"] for line in proxy.log.lines]
    assert events.count("spans_not_sent") == 1
    assert set(events) == {"identity_trusted", "listening", "keeper_up", "spans_not_sent", "draining"}
    assert "plugh" not in proxy.log.text


def test_a_collector_that_hangs(tmp_path: Path, upstream: Upstream, collector: Collector) -> None:
    """While it has a batch, chats go on; the process ends without waiting for it for ever."""
    collector.gate.clear()
    with Proxy(tmp_path, upstream.url, environ=export_to(collector.url)) as proxy:
        proxy.wait_ready()
        Chat(proxy.url, "ada").say("The first.")
        assert collector.asked.acquire(timeout=WAIT_S)
        assert Chat(proxy.url, "ada").say("The second.") == "Noted: The second."
        assert proxy.stop() == 0


def test_a_collector_that_comes_back(tmp_path: Path, upstream: Upstream, collector: Collector) -> None:
    """Is told of, too."""
    collector.status = 400
    with Proxy(tmp_path, upstream.url, environ=export_to(collector.url)) as proxy:
        proxy.wait_ready()
        Chat(proxy.url, "ada").say("The first.")
        proxy.log.wait_for("spans_not_sent")
        collector.status = 200
        Chat(proxy.url, "ada").say("The second.")
        proxy.log.wait_for("spans_sent_again")
        assert proxy.stop() == 0
