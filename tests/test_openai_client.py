"""The official client in front of the proxy: nothing of it changes but ``base_url`` and a header."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator

import openai
import pytest
import pytest_asyncio
from openai import AsyncOpenAI, OpenAI
from openai.types.chat import ChatCompletionMessageParam
from pydantic import BaseModel

from tests.conftest import Launch
from tests.harness import Gate, Proxy, Upstream, respond, stream
from tests.harness.payloads import completion, completion_of, event, events, failure
from tests.harness.upstream import JSON

pytestmark = pytest.mark.asyncio(loop_scope="session")

FACT = "My dog is called Biscuit, a beagle"
QUESTION = "What is the name of my dog?"


def says(text: str) -> list[ChatCompletionMessageParam]:
    return [{"role": "user", "content": text}]


@pytest_asyncio.fixture(loop_scope="session")
async def client(proxy: Proxy, user: str) -> AsyncIterator[AsyncOpenAI]:
    """A client that does nothing by itself: what is sent is what the test asked for."""
    async with AsyncOpenAI(
        base_url=f"{proxy.url}/v1", api_key="sk-test", max_retries=0, default_headers={"X-User-Id": user}
    ) as client:
        yield client


async def test_a_chatbot_remembers(client: AsyncOpenAI, proxy: Proxy, upstream: Upstream) -> None:
    """What was said in one conversation is with the model in the next."""
    told = await client.chat.completions.create(model="m", messages=says(FACT))
    assert told.choices[0].message.content == "Noted."
    await proxy.flush()
    await client.chat.completions.create(
        model="m", messages=[{"role": "system", "content": "Be kind."}, *says(QUESTION)]
    )
    assert upstream.last.system.startswith("Be kind.\n\n<memory>")
    assert FACT in upstream.last.system
    assert upstream.last.every("authorization") == [b"Bearer sk-test"]


async def test_the_synchronous_client(proxy: Proxy, upstream: Upstream, user: str) -> None:
    """The same client for programs without an event loop, as JSON and as a stream."""

    def talk() -> list[str | None]:
        with OpenAI(base_url=f"{proxy.url}/v1", api_key="sk", default_headers={"X-User-Id": user}) as client:
            whole = client.chat.completions.create(model="m", messages=says("I live in Lisbon."))
            parts = client.chat.completions.create(model="m", messages=says("I work as a baker."), stream=True)
            return [whole.choices[0].message.content, "".join(part.choices[0].delta.content or "" for part in parts)]

    upstream.script(respond(completion("Nice.")), stream(events("Good", " bread.")))
    assert await asyncio.to_thread(talk) == ["Nice.", "Good bread."]
    assert sorted(await proxy.texts(user)) == ["Good bread.", "I live in Lisbon.", "I work as a baker.", "Nice."]


async def test_streams(client: AsyncOpenAI, proxy: Proxy, upstream: Upstream, user: str) -> None:
    """Deltas arrive one by one, each before the next is sent."""
    gate = Gate()
    upstream.script(gate)
    gate.start()
    gate.release(event({"role": "assistant", "content": "One"}))
    parts = await client.chat.completions.create(
        model="m", messages=says("Count for me."), stream=True, stream_options={"include_usage": True}
    )
    text = ""
    async for part in parts:
        text += part.choices[0].delta.content or ""
        if text == "One":
            gate.release(event({"content": " two"}))
            text += "…"
        elif text == "One… two":
            gate.release(*events(" three")[1:])
            gate.end()
    assert text == "One… two three"
    assert upstream.last.json["stream_options"] == {"include_usage": True}
    assert await proxy.texts(user) == ["Count for me.", "One two three"]


async def test_raw_responses_show_what_memory_did(client: AsyncOpenAI, proxy: Proxy) -> None:
    """``with_raw_response`` has the proxy's headers beside upstream's."""
    await client.chat.completions.create(model="m", messages=says(FACT))
    await proxy.flush()
    raw = await client.chat.completions.with_raw_response.create(model="m", messages=says(QUESTION))
    assert raw.headers["x-memory-status"] == "injected"
    assert raw.headers["x-memory-count"] == "2"
    assert int(raw.headers["x-memory-tokens"]) > 0
    assert float(raw.headers["x-memory-recall-ms"]) > 0
    assert raw.parse().choices[0].message.content == "Noted."


class Dog(BaseModel):
    """What the structured answer is read into."""

    name: str
    breed: str


async def test_structured_output(client: AsyncOpenAI, proxy: Proxy, upstream: Upstream, user: str) -> None:
    """``parse`` sends its schema and reads the answer; what is remembered is the JSON text."""
    upstream.script(respond(completion('{"name":"Biscuit","breed":"beagle"}')))
    parsed = await client.chat.completions.parse(model="m", messages=says(FACT), response_format=Dog)
    assert parsed.choices[0].message.parsed == Dog(name="Biscuit", breed="beagle")
    assert upstream.last.json["response_format"]["json_schema"]["name"] == "Dog"
    assert (await proxy.texts(user))[1] == '{"name":"Biscuit","breed":"beagle"}'


async def test_streamed_structured_output(client: AsyncOpenAI, upstream: Upstream) -> None:
    """The client's streaming helper sees the events that it waits for, to the last."""
    upstream.script(stream(events('{"name":"Bis', 'cuit","breed":"beagle"}')))
    async with client.chat.completions.stream(model="m", messages=says(FACT), response_format=Dog) as parts:
        deltas = [part.delta async for part in parts if part.type == "content.delta"]
        final = await parts.get_final_completion()
    assert final.choices[0].message.parsed == Dog(name="Biscuit", breed="beagle")
    assert "".join(deltas) == '{"name":"Biscuit","breed":"beagle"}'


async def test_a_tool_loop(client: AsyncOpenAI, proxy: Proxy, upstream: Upstream, user: str) -> None:
    """Call, result, answer: the client sees each step, and one exchange is stored."""
    call = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Lisbon"}'}}
    upstream.script(
        respond(completion(None, finish_reason="tool_calls", tool_calls=[call])), respond(completion("It is sunny."))
    )
    messages = says("What is the weather in Lisbon?")
    step = await client.chat.completions.create(model="m", messages=messages, tools=[_weather()])
    calls = step.choices[0].message.tool_calls or []
    assert [call.id for call in calls] == ["call_1"]
    messages.append(step.choices[0].message.to_dict())  # type: ignore[arg-type]  # as the client's documentation does
    messages.append({"role": "tool", "tool_call_id": "call_1", "content": "sunny, 24 °C"})
    final = await client.chat.completions.create(model="m", messages=messages, tools=[_weather()])
    assert final.choices[0].message.content == "It is sunny."
    assert [message["role"] for message in upstream.last.json["messages"]] == ["user", "assistant", "tool"]
    assert await proxy.texts(user) == ["What is the weather in Lisbon?", "It is sunny."]


async def test_a_streamed_tool_call(client: AsyncOpenAI, proxy: Proxy, upstream: Upstream, user: str) -> None:
    """Fragments of a call pass as they come, with and without index and id; what was asked is kept."""
    fragments = [
        event({"tool_calls": [{"index": 0, "id": "call_1", "function": {"name": "weather", "arguments": ""}}]}),
        event({"tool_calls": [{"index": 0, "function": {"arguments": '{"city":'}}]}),
        event({"tool_calls": [{"index": 0, "function": {"arguments": '"Lisbon"}'}}]}),
        event({}, "tool_calls"),
        b"data: [DONE]\n\n",
    ]
    upstream.script(stream(fragments))
    arguments = ""
    parts = await client.chat.completions.create(
        model="m", messages=says("What is the weather?"), tools=[_weather()], stream=True
    )
    async for part in parts:
        for call in part.choices[0].delta.tool_calls or []:
            arguments += (call.function and call.function.arguments) or ""
    assert json.loads(arguments) == {"city": "Lisbon"}
    assert await proxy.texts(user) == ["What is the weather?"]


async def test_several_choices(client: AsyncOpenAI, proxy: Proxy, upstream: Upstream, user: str) -> None:
    """All reach the client; the first is remembered."""
    upstream.script(respond(completion_of([{"role": "assistant", "content": text} for text in ("Hi", "Hello", "Hey")])))
    answer = await client.chat.completions.create(model="m", messages=says("Greet me three times."), n=3)
    assert [choice.message.content for choice in answer.choices] == ["Hi", "Hello", "Hey"]
    assert await proxy.texts(user) == ["Greet me three times.", "Hi"]


async def test_images_and_sounds(client: AsyncOpenAI, proxy: Proxy, upstream: Upstream, user: str) -> None:
    """Parts that are no text reach upstream as they are, 2 MB of them; the text beside them is remembered."""
    image = "data:image/png;base64," + base64.b64encode(bytes(1_500_000)).decode()
    await client.chat.completions.create(
        model="m",
        messages=[
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "This is my dog Biscuit."},
                    {"type": "image_url", "image_url": {"url": image}},
                    {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
                ],
            }
        ],
    )
    parts = upstream.last.json["messages"][0]["content"]
    assert parts[1]["image_url"]["url"] == image
    assert parts[2]["input_audio"] == {"data": "AAAA", "format": "wav"}
    assert await proxy.texts(user) == ["This is my dog Biscuit.", "Noted."]


async def test_unknown_fields(client: AsyncOpenAI, upstream: Upstream) -> None:
    """What other providers understand goes through in both directions."""
    answer = completion("Yes.", reasoning_content="Hmm.", citations=[1])
    upstream.script(respond(answer[:-1] + b',"system_fingerprint":"fp","x_groq":{"id":"r"}}'))
    got = await client.chat.completions.create(
        model="m", messages=says("Is it?"), extra_body={"top_k": 5, "provider": {"order": ["a"]}, "seed_": 1 << 70}
    )
    assert {key: upstream.last.json[key] for key in ("top_k", "provider", "seed_")} == {
        "top_k": 5,
        "provider": {"order": ["a"]},
        "seed_": 1 << 70,
    }
    assert got.choices[0].message.model_extra == {"reasoning_content": "Hmm.", "citations": [1]}
    assert (got.model_extra or {})["x_groq"] == {"id": "r"}


async def test_a_retried_exchange_is_remembered_once(
    client: AsyncOpenAI, proxy: Proxy, upstream: Upstream, user: str
) -> None:
    """What failed twice before it succeeded was said once."""
    busy = respond(failure("Slow down."), status=429, headers=[JSON, ("retry-after-ms", "1")])
    upstream.script(busy, busy)
    answer = await client.with_options(max_retries=2).chat.completions.create(model="m", messages=says(FACT))
    assert answer.choices[0].message.content == "Noted."
    assert len(upstream.visits) == 3
    assert await proxy.texts(user) == [FACT, "Noted."]


async def test_our_own_errors_surface(client: AsyncOpenAI) -> None:
    """What the proxy refuses raises the client's exceptions, too, with a code that says who refused."""
    with pytest.raises(openai.BadRequestError) as caught:
        await client.chat.completions.create(model="m", messages=says("Hi"), extra_headers={"X-User-Id": "x" * 257})
    assert (caught.value.code, caught.value.param) == ("memory_proxy_bad_user_id", "user")


async def test_an_upstream_that_is_away_surfaces(launch: Launch) -> None:
    """502 raises the exception that clients retry on."""
    proxy = await launch(ready=False, upstream={"base_url": "http://127.0.0.1:1/v1"})
    async with AsyncOpenAI(base_url=f"{proxy.url}/v1", api_key="sk", max_retries=0) as client:
        with pytest.raises(openai.InternalServerError) as caught:
            await client.chat.completions.create(model="m", messages=says("Hi"))
    assert caught.value.code == "memory_proxy_upstream_unreachable"


def _weather() -> openai.types.chat.ChatCompletionFunctionToolParam:
    parameters: dict[str, object] = {"type": "object", "properties": {"city": {"type": "string"}}}
    return {"type": "function", "function": {"name": "weather", "parameters": parameters}}
