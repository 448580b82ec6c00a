"""The official client for Node and the Vercel AI SDK, with the proxy as without."""

import base64
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio

from tests.conftest import Launch
from tests.harness import Gate, Upstream, respond, stream
from tests.harness.payloads import DONE, completion, event, events, failure
from tests.harness.upstream import JSON, Script
from tests.sdk.comparison import Comparison
from tests.sdk.payloads import LIMITS, REQUEST_ID, answer, file, page, response_events
from tests.sdk.room import Rooms
from tests.sdk.worker import INSTALL, Worker, is_installed, open_worker

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.skipif(not is_installed(), reason=INSTALL),
]

SOUND = bytes(range(256)) * 1000
PACKED = base64.b64encode(bytes.fromhex("0000003f000080be")).decode()  # 0.5, -0.25
CALL = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Tromsø"}'}}
BUSY = respond(failure("Slow down."), status=429, headers=[JSON, ("retry-after-ms", "1")])
REFUSED = respond(failure("No.", code="bad"), status=400, headers=[JSON, REQUEST_ID, *LIMITS])
USAGE = event({}, "stop").replace(b'"choices"', b'"usage": {"prompt_tokens": 3, "completion_tokens": 4}, "choices"')
VECTORS = {
    "object": "list",
    "data": [{"object": "embedding", "index": i, "embedding": [0.5, i]} for i in range(2)],
    "model": "e",
    "usage": {"prompt_tokens": 1, "total_tokens": 1},
}


@dataclass(frozen=True)
class Case:
    """One function of ``node/<client>.mjs``, what the upstream answers it, and how to tell that it worked."""

    client: str
    steps: str
    scripts: list[Script]
    works: Callable[[Any], bool]

    def __str__(self) -> str:
        return f"{self.client}-{self.steps}"


def fragments() -> Script:
    """A streamed tool call."""
    call = {**CALL, "index": 0, "function": {"name": "weather", "arguments": ""}}
    rest = {"index": 0, "function": {"arguments": '{"city":"Tromsø"}'}}
    return stream(
        [
            event({"role": "assistant", "tool_calls": [call]}),
            event({"tool_calls": [rest]}),
            event({}, "tool_calls"),
            DONE,
        ]
    )


CHATS = [
    Case(
        "openai",
        "chat",
        [respond(completion("Biscuit 🐕"), headers=[JSON, REQUEST_ID, *LIMITS])],
        lambda got: got["request_id"] == "req_123" and set(map(tuple, got["headers"])) > set(LIMITS),
    ),
    Case("openai", "raw", [stream(events("Grüße"))], lambda got: got["text"].endswith("data: [DONE]\n\n")),
    Case("openai", "stream", [stream([*events("Bis", "cuit", done=False), USAGE, DONE])], lambda got: len(got) == 5),
    Case(
        "openai",
        "helper",
        [stream(events("Bis", "cuit"))],
        lambda got: got["final"]["choices"][0]["message"]["content"] == "Biscuit",
    ),
    Case(
        "openai",
        "parse",
        [respond(completion('{"name":"Biscuit","breed":"beagle"}'))],
        lambda got: got == {"name": "Biscuit", "breed": "beagle"},
    ),
    Case("openai", "tools", [fragments(), stream(events("Sunny."))], lambda got: got["final"] == "Sunny."),
    Case(
        "openai",
        "failure",
        [REFUSED],
        lambda got: (got["failed"], got["code"], got["requestID"]) == ("BadRequestError", "bad", "req_123"),
    ),
    Case(
        "openai",
        "retries",
        [BUSY, BUSY, respond(completion("Hi!"))],
        lambda got: got["choices"][0]["message"]["content"] == "Hi!",
    ),
    Case("openai", "stream", [stream(events("Half")[:2], cut=True)], lambda got: "failed" in got),
    Case("vercel", "chat", [respond(completion("Biscuit 🐕"))], lambda got: got["text"] == "Biscuit 🐕"),
    Case("vercel", "stream", [stream(events("Bis", "cuit"))], lambda got: got["text"] == "Biscuit"),
    Case("vercel", "tools", [fragments(), stream(events("Sunny."))], lambda got: got["text"] == "Sunny."),
    Case(
        "vercel",
        "object",
        [respond(completion('{"name":"Biscuit","breed":"beagle"}'))],
        lambda got: got == {"name": "Biscuit", "breed": "beagle"},
    ),
    Case("vercel", "failure", [REFUSED], lambda got: (got["failed"], got["status"]) == ("APICallError", 400)),
    Case("vercel", "retries", [BUSY, BUSY, respond(completion("Hi!"))], lambda got: got == "Hi!"),
]
OTHERS = [
    Case(
        "openai",
        "pages",
        [answer(page(file("a"), file("b"), has_more=True)), answer(page(file("c")))],
        lambda got: [file["id"] for file in got] == ["a", "b", "c"],
    ),
    Case("openai", "upload", [answer({"text": "Grüße"})], lambda got: got == {"text": "Grüße"}),
    Case(
        "openai",
        "download",
        [respond(SOUND, headers=[("content-type", "application/octet-stream")])],
        lambda got: base64.b64decode(got["body"]) == SOUND,
    ),
    Case(
        "openai",
        "speech",
        [stream([SOUND[i : i + 999] for i in range(0, len(SOUND), 999)], headers=[("content-type", "audio/mpeg")])],
        lambda got: base64.b64decode(got) == SOUND,
    ),
    Case(
        "openai",
        "embeddings",
        [answer({**VECTORS, "data": [{"object": "embedding", "index": 0, "embedding": PACKED}]})],
        lambda got: got["data"][0]["embedding"] == [0.5, -0.25],
    ),
    Case(
        "openai",
        "responses",
        [stream(response_events("Hel", "lo"))] * 2,
        lambda got: (len(got["parts"]), got["final"]) == (len(response_events("Hel", "lo")), "Hello"),
    ),
    Case("openai", "defaults", [answer(page())], lambda got: got == []),
    Case("vercel", "responses", [stream(response_events("Hel", "lo"))], lambda got: "".join(got) == "Hello"),
    Case("vercel", "embeddings", [answer(VECTORS)], lambda got: got == [[0.5, 0], [0.5, 1]]),
    Case(
        "vercel",
        "speech",
        [respond(SOUND, headers=[("content-type", "audio/mpeg")])],
        lambda got: base64.b64decode(got) == SOUND,
    ),
    Case("vercel", "upload", [answer({"text": "Grüße"})], lambda got: got == "Grüße"),
]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def worker() -> AsyncIterator[Worker]:
    """The process that all of this runs in."""
    async with open_worker() as worker:
        yield worker


async def compare_case(comparison: Comparison, worker: Worker, case: Case) -> None:
    def steps(url: str) -> Any:
        return worker.run(case.client, case.steps, f"{url}/v1", comparison.headers)

    got = await comparison(steps, *case.scripts)
    assert case.works(got)
    assert len(comparison.upstream.visits) == len(case.scripts)


@pytest.mark.parametrize("case", CHATS, ids=str)
async def test_chats(compare_chat: Comparison, worker: Worker, case: Case) -> None:
    """Whole and streamed, with tools and structure, refused, retried and broken off."""
    await compare_case(compare_chat, worker, case)


@pytest.mark.parametrize("case", OTHERS, ids=str)
async def test_other_endpoints(compare: Comparison, worker: Worker, case: Case) -> None:
    """Lists, files, sounds, vectors and responses."""
    await compare_case(compare, worker, case)


@pytest.mark.parametrize("steps", ["timeout", "abort"])
async def test_a_client_that_leaves(compare_chat: Comparison, worker: Worker, steps: str) -> None:
    """A timeout and an abort end in the same way for the program, and free upstream's connection."""

    async def leave(url: str) -> Any:
        gate = Gate()
        compare_chat.upstream.script(gate)
        if steps == "abort":
            gate.start()
            gate.release(*events("One", done=False)[:2])
        got = await worker.run("openai", steps, f"{url}/v1", compare_chat.headers)
        await gate.hung_up()
        return got

    got = await compare_chat(leave)
    assert got["failed"] == "APIConnectionTimeoutError" if steps == "timeout" else "choices" in got


async def test_azures_client(launch: Launch, upstream: Upstream, worker: Worker) -> None:
    """``AzureOpenAI`` with the proxy as its endpoint: deployment, version and key arrive."""
    proxy = await launch(ready=False, upstream={"base_url": upstream.url})

    async def steps(url: str) -> Any:
        return await worker.run("openai", "azure", url + ("/v1" if url == proxy.url else ""), {})

    await Comparison(proxy, upstream, {})(steps, respond(completion("Hello!")))
    assert upstream.last.target == b"/openai/deployments/gpt-4o/chat/completions?api-version=2025-04-01-preview"


async def test_realtime(rooms: Rooms, worker: Worker) -> None:
    """The client's WebSocket: events both ways, a third of a megabyte in one, and upstream's close code."""
    got = await rooms.compare(lambda base_url: worker.run("openai", "realtime", base_url, {}))
    assert got["closed"] == [4001, "enough – bye"]
    assert [event["type"] for event in got["events"]] == ["session.created", "response.done"]
