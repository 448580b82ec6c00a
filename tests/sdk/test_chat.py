"""Chats with the official Python client: whole, streamed, structured, raw. The proxy changes nothing of it."""

import asyncio
import gzip
import zlib
from collections.abc import Callable
from typing import Any

import brotli
import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from openai.types.chat import ChatCompletionMessageParam, ChatCompletionToolUnionParam
from pydantic import BaseModel

from tests.harness import Gate, respond, stream
from tests.harness.payloads import DONE, completion, completion_of, event, events, failure
from tests.harness.upstream import EVENTS, JSON, Script
from tests.sdk.comparison import Comparison, Failed, shown
from tests.sdk.payloads import LIMITS, REQUEST_ID

pytestmark = pytest.mark.asyncio(loop_scope="session")

ASK: list[ChatCompletionMessageParam] = [{"role": "user", "content": "What is my dog's name — “Biscuit”?"}]
DOG = ('{"name":"Bis', 'cuit","breed":"beagle"}')
USAGE = event({}).replace(
    b'"choices": [{"index": 0, "delta": {}, "finish_reason": null}]',
    b'"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}',
)
WEATHER: ChatCompletionToolUnionParam = {
    "type": "function",
    "function": {
        "name": "weather",
        "strict": True,
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}
CALL = {"type": "function", "function": {"name": "weather", "arguments": ""}}
FRAGMENTS = [
    event({"role": "assistant", "content": None, "tool_calls": [{**CALL, "index": 0, "id": "call_1"}]}),
    event({"tool_calls": [{"index": 0, "function": {"arguments": '{"city":'}}]}),
    event({"tool_calls": [{"index": 0, "function": {"arguments": '"Lisbon"}'}}]}),
    event({"tool_calls": [{**CALL, "index": 1, "id": "call_2"}]}),
    event({"tool_calls": [{"index": 1, "function": {"arguments": '{"city":'}}]}),
    event({"tool_calls": [{"index": 1, "function": {"arguments": '"Tromsø"}'}}]}),
    event({}, "tool_calls"),
    DONE,
]


class Dog(BaseModel):
    """What a structured answer is read into."""

    name: str
    breed: str


def whole(text: str | None, **message: Any) -> Script:
    """A JSON answer, with the headers that OpenAI's have."""
    return respond(completion(text, **message), headers=[JSON, REQUEST_ID, *LIMITS])


async def test_json(compare_chat: Comparison) -> None:
    """A completion with every field, its request id, and fields that the client does not know."""

    async def steps(client: AsyncOpenAI) -> tuple[object, ...]:
        got = await client.chat.completions.create(
            model="m",
            messages=ASK,
            temperature=0.1,
            seed=1 << 60,
            metadata={"a": "ß"},
            logit_bias={"50256": -100},
            extra_body={"top_k": 5, "x": [None, 1e-7, True]},
            extra_query={"trace": "a b"},
            extra_headers={"X-Trace": "t"},
        )
        return got, got._request_id, got.to_dict()

    got = await compare_chat.asynchronous(
        steps, whole("Biscuit – a “beagle” 🐕", reasoning_content="Hm.", refusal=None)
    )
    assert got[1] == "req_123"
    assert compare_chat.upstream.last.target == b"/v1/chat/completions?trace=a+b"


async def test_several_choices(compare_chat: Comparison) -> None:
    """All choices, in upstream's order."""
    script = respond(completion_of([{"role": "assistant", "content": text} for text in ("Hi", "Hello", "Hey")]))

    async def steps(client: AsyncOpenAI) -> object:
        return (await client.chat.completions.create(model="m", messages=ASK, n=3)).choices

    assert len(await compare_chat.asynchronous(steps, script)) == 3


async def test_stream(compare_chat: Comparison, user: str) -> None:
    """Every chunk, the one with the usage too; what is remembered was read on its way."""

    async def steps(client: AsyncOpenAI) -> list[object]:
        options: Any = {"include_usage": True}
        parts = await client.chat.completions.create(model="m", messages=ASK, stream=True, stream_options=options)
        return [part async for part in parts]

    pieces = events("Bis", "cuit", " 🐕\u2028", done=False)
    got = await compare_chat.asynchronous(steps, stream([*pieces, USAGE, DONE]))
    assert len(got) == len(pieces) + 1
    assert got[-1].usage.total_tokens == 7
    said = ["What is my dog's name — “Biscuit”?", "Biscuit 🐕\u2028"]
    assert await compare_chat.proxy.texts(user) == (said if compare_chat.headers else [])


async def test_a_stream_cut_at_odd_places(compare_chat: Comparison) -> None:
    """Chunks of the transport that end within events, lines and characters."""
    data = b"".join([b"\xef\xbb\xbf: hello\n\n", *events("🐕 Grüße", "\u2028x"), b": bye\r\n\r\n"])

    async def steps(client: AsyncOpenAI) -> list[object]:
        parts = await client.chat.completions.create(model="m", messages=ASK, stream=True)
        return [part.choices[0].delta.content async for part in parts]

    pieces = [data[i : i + 7] for i in range(0, len(data), 7)]
    assert await compare_chat.asynchronous(steps, stream(pieces)) == ["", "🐕 Grüße", "\u2028x", None]


@pytest.mark.parametrize(
    ("encoding", "compress"),
    [("gzip", gzip.compress), ("deflate", zlib.compress), ("br", brotli.compress)],
)
@pytest.mark.parametrize("streamed", [False, True])
async def test_compressed_answers(
    compare_chat: Comparison, encoding: str, compress: Callable[[bytes], bytes], streamed: bool
) -> None:
    """What upstream compresses is for the client to decompress, cut at odd places too."""
    packed = compress(b"".join(events("Grüße", " 🐕")) if streamed else completion("Grüße 🐕"))
    coding = ("content-encoding", encoding)

    async def steps(client: AsyncOpenAI) -> object:
        create = client.chat.completions.with_raw_response.create
        raw = await create(model="m", messages=ASK, stream=streamed)
        got: Any = raw.parse()
        return shown(raw.headers), [part async for part in got] if streamed else got

    pieces = [packed[i : i + 5] for i in range(0, len(packed), 5)]
    script = stream(pieces, headers=[EVENTS, coding]) if streamed else respond(packed, headers=[JSON, coding])
    headers, _ = await compare_chat.asynchronous(steps, script)
    assert coding in headers


async def test_the_synchronous_client(compare_chat: Comparison) -> None:
    """The same client for programs without an event loop, as JSON and as a stream, on one connection."""

    def steps(client: OpenAI) -> list[object]:
        answer = client.chat.completions.create(model="m", messages=ASK)
        parts = client.chat.completions.create(model="m", messages=ASK, stream=True)
        return [answer, *parts]

    assert len(await compare_chat.blocking(steps, whole("Yes."), stream(events("Y", "es.")))) == 5


async def test_parse(compare_chat: Comparison) -> None:
    """``parse`` sends its schema and reads the answer."""

    async def steps(client: AsyncOpenAI) -> object:
        got = await client.chat.completions.parse(model="m", messages=ASK, response_format=Dog)
        return got, got.choices[0].message.parsed

    got = await compare_chat.asynchronous(steps, whole("".join(DOG)))
    assert got[1] == Dog(name="Biscuit", breed="beagle")


async def test_parse_of_a_cut_answer(compare_chat: Comparison) -> None:
    """An answer that ran into its length limit is the same exception."""

    async def steps(client: AsyncOpenAI) -> object:
        return await client.chat.completions.parse(model="m", messages=ASK, response_format=Dog)

    got = await compare_chat.asynchronous(steps, respond(completion(DOG[0], finish_reason="length")))
    assert got.kind is openai.LengthFinishReasonError


async def test_the_streaming_helper(compare_chat: Comparison) -> None:
    """``.stream()`` with a model class: its events one by one, and the final completion."""

    async def steps(client: AsyncOpenAI) -> object:
        async with client.chat.completions.stream(model="m", messages=ASK, response_format=Dog) as parts:
            seen = [part async for part in parts]
            return [part.type for part in seen], seen, await parts.get_final_completion()

    got = await compare_chat.asynchronous(steps, stream(events(*DOG)))
    assert got[0].count("content.delta") == 3  # the first is empty
    assert got[2].choices[0].message.parsed == Dog(name="Biscuit", breed="beagle")


async def test_the_synchronous_streaming_helper(compare_chat: Comparison) -> None:
    """``.stream()`` without an event loop, left before its end by the program."""

    def steps(client: OpenAI) -> object:
        with client.chat.completions.stream(model="m", messages=ASK) as parts:
            first = next(part for part in parts if part.type == "content.delta" and part.delta)
        with client.chat.completions.stream(model="m", messages=ASK) as parts:
            return first, parts.until_done().get_final_completion()

    got = await compare_chat.blocking(steps, stream(events("One", "two")), stream(events("Three")))
    assert (got[0].delta, got[1].choices[0].message.content) == ("One", "Three")


async def test_streamed_tool_calls(compare_chat: Comparison) -> None:
    """Fragments of two calls: as chunks and put together by the helper."""

    async def steps(client: AsyncOpenAI) -> object:
        parts = await client.chat.completions.create(model="m", messages=ASK, tools=[WEATHER], stream=True)
        chunks = [part async for part in parts]
        async with client.chat.completions.stream(model="m", messages=ASK, tools=[WEATHER]) as helped:
            seen = [part async for part in helped]
            return chunks, seen, await helped.get_final_completion()

    got = await compare_chat.asynchronous(steps, stream(FRAGMENTS), stream(FRAGMENTS))
    calls = got[2].choices[0].message.tool_calls
    assert [call.function.parsed_arguments for call in calls] == [{"city": "Lisbon"}, {"city": "Tromsø"}]


async def test_raw_responses(compare_chat: Comparison) -> None:
    """``with_raw_response``: upstream's status, headers in order and repeated, and body to the byte."""

    async def steps(client: AsyncOpenAI) -> object:
        raw = await client.chat.completions.with_raw_response.create(model="m", messages=ASK)
        return raw.status_code, shown(raw.headers), raw.content, raw.request_id, raw.retries_taken, raw.parse()

    got = await compare_chat.asynchronous(steps, whole("Yes."))
    assert got[1] == [JSON, REQUEST_ID, *LIMITS, ("content-length", str(len(got[2])))]


async def test_raw_streams(compare_chat: Comparison) -> None:
    """``with_raw_response`` of a stream: headers first, chunks after."""

    async def steps(client: AsyncOpenAI) -> object:
        raw = await client.chat.completions.with_raw_response.create(model="m", messages=ASK, stream=True)
        return shown(raw.headers), [part async for part in raw.parse()]

    got = await compare_chat.asynchronous(steps, stream(events("Yes."), headers=[EVENTS, REQUEST_ID, *LIMITS]))
    assert got[0] == [EVENTS, REQUEST_ID, *LIMITS]


@pytest.mark.parametrize("how", ["iter_lines", "iter_bytes", "iter_text", "read"])
async def test_streaming_responses(compare_chat: Comparison, how: str) -> None:
    """``with_streaming_response``: the body by lines, bytes and text, and read at once."""
    pieces = events("Grüße", " 🐕")

    async def steps(client: AsyncOpenAI) -> object:
        asked = client.chat.completions.with_streaming_response
        async with asked.create(model="m", messages=ASK, stream=True) as raw:
            if how == "read":
                return shown(raw.headers), await raw.read()
            return shown(raw.headers), [part async for part in getattr(raw, how)()]

    got = await compare_chat.asynchronous(
        _joined(steps) if how in ("iter_bytes", "iter_text") else steps, stream(pieces)
    )
    if how == "read":
        assert got[1] == b"".join(pieces)


async def test_errors_within_a_stream(compare_chat: Comparison) -> None:
    """An error that upstream sends as an event raises with the body that it came with."""
    error = b"data: " + failure("Overloaded.", kind="server_error", code="busy") + b"\n\n"

    async def steps(client: AsyncOpenAI) -> list[object]:
        parts = await client.chat.completions.create(model="m", messages=ASK, stream=True)
        return [part async for part in parts]

    got = await compare_chat.asynchronous(steps, stream([*events("Half", done=False)[:2], error]))
    assert (got.kind, got.code) == (openai.APIError, "busy")


async def test_streams_that_break_off(compare_chat: Comparison) -> None:
    """An upstream that dies is the same exception after the same chunks."""

    async def steps(client: AsyncOpenAI) -> object:
        parts = await client.chat.completions.create(model="m", messages=ASK, stream=True)
        seen: list[object] = []
        try:
            while True:
                seen.append(await anext(parts))
        except openai.APIConnectionError as exc:
            return seen, Failed.of(exc)

    got = await compare_chat.asynchronous(steps, stream(events("Half", done=False)[:2], cut=True))
    assert len(got[0]) == 2


async def test_a_stream_left_early(compare_chat: Comparison) -> None:
    """A program that closes a stream frees upstream's connection, with the proxy between them as without."""

    async def steps(url: str) -> list[object]:
        gate = Gate()
        compare_chat.upstream.script(gate)
        gate.start()
        gate.release(*events("One", done=False)[:2])
        async with AsyncOpenAI(base_url=f"{url}/v1", api_key="k", default_headers=compare_chat.headers) as client:
            parts = await client.chat.completions.create(model="m", messages=ASK, stream=True)
            seen: list[object] = [await anext(parts), await anext(parts)]
            await parts.close()
            await gate.hung_up()
        return seen

    assert len(await compare_chat(steps)) == 2


async def test_many_at_once(compare_chat: Comparison) -> None:
    """Twenty streams side by side, each whole."""

    async def steps(client: AsyncOpenAI) -> list[str]:
        async def talk() -> str:
            parts = await client.chat.completions.create(model="m", messages=ASK, stream=True)
            return "".join([part.choices[0].delta.content or "" async for part in parts])

        return await asyncio.gather(*(talk() for _ in range(20)))

    got = await compare_chat.asynchronous(steps, *[stream(events("Same", " for", " all"))] * 20)
    assert got == ["Same for all"] * 20


def _joined(steps: Any) -> Any:
    """How the transport cuts a body is its own affair; its content is not."""

    async def run(client: AsyncOpenAI) -> object:
        headers, parts = await steps(client)
        return headers, parts[0][:0].join(parts)

    return run
