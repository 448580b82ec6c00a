"""LangChain's ``ChatOpenAI``: its chats, streams, tools, structured answers and errors, with the proxy as without."""

from collections.abc import Awaitable, Callable
from typing import Any

import openai
import pytest
from langchain_core.messages import AIMessageChunk, HumanMessage, SystemMessage, ToolMessage
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from openai import DefaultAsyncHttpxClient, DefaultHttpxClient
from pydantic import BaseModel, SecretStr

from tests.harness import respond, stream
from tests.harness.payloads import DONE, completion, event, events, failure
from tests.harness.upstream import JSON, Script
from tests.sdk.comparison import Comparison
from tests.sdk.payloads import answer, response_events

pytestmark = pytest.mark.asyncio(loop_scope="session")

TALK = [SystemMessage("Be kind."), HumanMessage("What is my dog’s name?")]
CALL = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Lisbon"}'}}


class Dog(BaseModel):
    """What a structured answer is read into."""

    name: str
    breed: str


def weather(city: str) -> str:
    """The weather in a city."""
    return f"{city}: sunny, 24 °C"


@pytest.fixture(autouse=True)
def _nobody_traces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever runs the tests may have LangChain report its runs."""
    for name in ("LANGSMITH_TRACING", "LANGCHAIN_TRACING_V2"):
        monkeypatch.delenv(name, raising=False)


async def run(
    compare: Comparison, steps: Callable[[ChatOpenAI], Awaitable[Any]], *scripts: Script, **options: Any
) -> Any:
    """What *steps* gave with a model made with *options*, both times."""

    async def with_model(url: str) -> Any:
        async with DefaultAsyncHttpxClient() as http:
            with DefaultHttpxClient() as blocking_http:
                model = ChatOpenAI(
                    model="m",
                    base_url=f"{url}/v1",
                    api_key=SecretStr("sk-test"),
                    default_headers=compare.headers,
                    http_async_client=http,
                    http_client=blocking_http,
                    **{"max_retries": 0, **options},
                )
                return await steps(model)

    return await compare(with_model, *scripts)


async def test_a_chat(compare_chat: Comparison) -> None:
    """``ainvoke``: text, usage and metadata."""

    async def steps(model: ChatOpenAI) -> object:
        got = await model.ainvoke(TALK)
        return got.text, got.usage_metadata, got.response_metadata, got.additional_kwargs

    got = await run(compare_chat, steps, respond(completion("Biscuit 🐕")))
    assert got[0] == "Biscuit 🐕"


async def test_a_stream(compare_chat: Comparison) -> None:
    """``astream``: the same pieces, and the usage in the last."""

    async def steps(model: ChatOpenAI) -> object:
        return [(piece.text, piece.usage_metadata) async for piece in model.astream(TALK)]

    got = await run(compare_chat, steps, stream(events("Bis", "cuit")), stream_usage=True)
    assert "".join(text for text, _ in got) == "Biscuit"
    assert compare_chat.upstream.last.json["stream_options"] == {"include_usage": True}


async def test_a_tool_loop(compare_chat: Comparison) -> None:
    """``bind_tools``: a streamed call is put together, its result goes back, and the answer comes."""
    fragments = [
        event(
            {
                "role": "assistant",
                "tool_calls": [{**CALL, "index": 0, "function": {"name": "weather", "arguments": ""}}],
            }
        ),
        event({"tool_calls": [{"index": 0, "function": {"arguments": '{"city":'}}]}),
        event({"tool_calls": [{"index": 0, "function": {"arguments": '"Lisbon"}'}}]}),
        event({}, "tool_calls"),
        DONE,
    ]

    async def steps(model: ChatOpenAI) -> object:
        armed = model.bind_tools([weather])
        pieces = [piece async for piece in armed.astream(TALK)]
        call = sum(pieces[1:], start=pieces[0])
        assert isinstance(call, AIMessageChunk)
        result = ToolMessage(weather(**call.tool_calls[0]["args"]), tool_call_id="call_1")
        final = await armed.ainvoke([*TALK, call, result])
        return call.tool_calls, final.text

    got = await run(compare_chat, steps, stream(fragments), respond(completion("Sunny.")))
    assert (got[0][0]["args"], got[1]) == ({"city": "Lisbon"}, "Sunny.")


async def test_structured_answers(compare_chat: Comparison) -> None:
    """``with_structured_output``: by schema and by function."""

    async def steps(model: ChatOpenAI) -> object:
        by_schema = model.with_structured_output(Dog, method="json_schema")
        by_function = model.with_structured_output(Dog, method="function_calling")
        return [await by_schema.ainvoke(TALK), await by_function.ainvoke(TALK)]

    dog = '{"name":"Biscuit","breed":"beagle"}'
    call = {**CALL, "function": {"name": "Dog", "arguments": dog}}
    scripts = [respond(completion(dog)), respond(completion(None, finish_reason="tool_calls", tool_calls=[call]))]
    assert await run(compare_chat, steps, *scripts) == [Dog(name="Biscuit", breed="beagle")] * 2


async def test_the_responses_api(compare: Comparison) -> None:
    """The same model class over ``/v1/responses``, streamed."""

    async def steps(model: ChatOpenAI) -> object:
        return [piece.text async for piece in model.astream(TALK)]

    got = await run(compare, steps, stream(response_events("Bis", "cuit")), use_responses_api=True)
    assert "".join(got) == "Biscuit"


async def test_errors_and_retries(compare_chat: Comparison) -> None:
    """What upstream refuses raises, and what it asks to retry is retried."""
    refused = respond(failure("No.", code="bad"), status=400)
    busy = respond(failure("Slow down."), status=429, headers=[JSON, ("retry-after-ms", "1")])

    async def steps(model: ChatOpenAI) -> object:
        return (await model.ainvoke(TALK)).text

    got = await run(compare_chat, steps, refused)
    assert (got.status, got.code) == (400, "bad")
    assert issubclass(got.kind, openai.BadRequestError)
    assert await run(compare_chat, steps, busy, busy, respond(completion("Hi!")), max_retries=2) == "Hi!"


async def test_vectors(compare: Comparison) -> None:
    """``OpenAIEmbeddings``: several texts in one request."""
    items = [{"object": "embedding", "index": i, "embedding": [0.5, float(i)]} for i in range(2)]
    payload = {"object": "list", "data": items, "model": "e", "usage": {"prompt_tokens": 1, "total_tokens": 1}}

    async def steps(url: str) -> object:
        async with DefaultAsyncHttpxClient() as http:
            with DefaultHttpxClient() as blocking_http:
                model = OpenAIEmbeddings(
                    model="e",
                    openai_api_base=f"{url}/v1",
                    openai_api_key=SecretStr("sk-test"),
                    check_embedding_ctx_length=False,
                    http_async_client=http,
                    http_client=blocking_http,
                )
                return await model.aembed_documents(["Grüße", "x"])

    assert await compare(steps, answer(payload)) == [[0.5, 0.0], [0.5, 1.0]]
