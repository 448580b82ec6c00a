"""Every other endpoint of the official Python client: lists, files, sounds, images, vectors, responses."""

import base64
import struct
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from openai.types.file_object import FileObject
from pydantic import BaseModel

from tests.harness import respond, stream
from tests.harness.payloads import failure
from tests.harness.upstream import EVENTS
from tests.sdk.comparison import Comparison, shown
from tests.sdk.payloads import REQUEST_ID, answer, file, named_event, page, response, response_events

pytestmark = pytest.mark.asyncio(loop_scope="session")

SOUND = bytes(range(256)) * 1000
PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 300
MP3 = ("content-type", "audio/mpeg")
BINARY = ("content-type", "application/octet-stream")


class Dog(BaseModel):
    """What a structured answer is read into."""

    name: str


async def test_models(compare: Comparison) -> None:
    """A list, one of it, and its deletion."""
    model = {"id": "ft:m:a/b", "object": "model", "created": 1, "owned_by": "x"}

    async def steps(client: AsyncOpenAI) -> list[object]:
        every: list[object] = [model async for model in client.models.list()]
        return [*every, await client.models.retrieve("ft:m:a/b"), await client.models.delete("ft:m:a/b")]

    deleted = {"id": "ft:m:a/b", "object": "model", "deleted": True}
    got = await compare.asynchronous(steps, answer(page(model, model)), answer(model), answer(deleted))
    assert len(got) == 4
    assert [visit.method for visit in compare.upstream.visits] == [b"GET", b"GET", b"DELETE"]


async def test_pages(compare: Comparison) -> None:
    """A list of files pages itself with ``after``, query by query."""

    async def steps(client: AsyncOpenAI) -> list[FileObject]:
        return [file async for file in client.files.list(limit=2, purpose="batch", order="asc")]

    scripts = [answer(page(file("a"), file("b"), has_more=True)), answer(page(file("c/ü"))), answer(page())]
    got = await compare.asynchronous(steps, *scripts)
    assert [file.id for file in got] == ["a", "b", "c/ü"]
    assert compare.upstream.visits[1].target == b"/v1/files?limit=2&order=asc&purpose=batch&after=b"


async def test_pages_without_an_event_loop(compare: Comparison) -> None:
    """The synchronous client's pages, taken one at a time."""

    def steps(client: OpenAI) -> list[object]:
        first = client.files.list(limit=1)
        second = first.get_next_page()
        return [first.data, second.data, first.has_next_page(), second.has_next_page()]

    got = await compare.blocking(steps, answer(page(file("a"), has_more=True)), answer(page(file("b"))))
    assert got[2:] == [True, False]


async def test_uploads(compare: Comparison) -> None:
    """Multipart bodies to the byte: files by name, by type, from memory and from a stream."""

    async def steps(client: AsyncOpenAI) -> list[object]:
        return [
            await client.files.create(
                file=('ä".jsonl', b"{}\r\n\x00\xff" * 9000, "application/jsonl"), purpose="batch"
            ),
            await client.files.create(
                file=b"abc", purpose="user_data", expires_after={"anchor": "created_at", "seconds": 3600}
            ),
            await client.uploads.parts.create("up/1", data=PNG),
        ]

    part = {"id": "part", "object": "upload.part", "created_at": 1, "upload_id": "up/1"}
    await compare.asynchronous(steps, answer(file("a")), answer(file("b")), answer(part))
    assert PNG in compare.upstream.last.body


@pytest.mark.parametrize("how", ["whole", "raw", "streamed", "synchronous"])
async def test_downloads(compare: Comparison, how: str) -> None:
    """A file's content, at once and in pieces, with its headers."""

    async def steps(client: AsyncOpenAI) -> object:
        if how == "streamed":
            async with client.files.with_streaming_response.content("f/1") as got:
                return shown(got.headers), b"".join([piece async for piece in got.iter_bytes(1000)])
        if how == "raw":
            raw = await client.files.with_raw_response.content("f/1")
            return shown(raw.headers), raw.content
        whole = await client.files.content("f/1")
        return shown(whole.response.headers), whole.content

    def blocking_steps(client: OpenAI) -> object:
        whole = client.files.content("f/1")
        return shown(whole.response.headers), whole.read()

    headers = [BINARY, REQUEST_ID, ("content-disposition", 'attachment; filename="a.bin"')]
    script = respond(SOUND, headers=headers)
    if how == "synchronous":
        got = await compare.blocking(blocking_steps, script)
    else:
        got = await compare.asynchronous(steps, script)
    assert got == ([*headers, ("content-length", str(len(SOUND)))], SOUND)


async def test_speech(compare: Comparison) -> None:
    """Sound is streamed as it is made, and comes whole."""

    async def steps(client: AsyncOpenAI) -> object:
        asked = client.audio.speech.with_streaming_response
        async with asked.create(model="tts", voice="alloy", input="Grüße!") as got:
            streamed = b"".join([piece async for piece in got.iter_bytes()])
            headers = shown(got.headers)
        whole = await client.audio.speech.create(model="tts", voice="alloy", input="Hi!", stream_format="audio")
        return headers, streamed, whole.content

    pieces = stream([SOUND[i : i + 999] for i in range(0, len(SOUND), 999)], headers=[MP3, REQUEST_ID])
    assert await compare.asynchronous(steps, pieces, pieces) == ([MP3, REQUEST_ID], SOUND, SOUND)


async def test_transcriptions(compare: Comparison) -> None:
    """A recording goes up as multipart; JSON, plain text and a stream of events come back."""

    async def steps(client: AsyncOpenAI) -> list[object]:
        recording = ("a.mp3", SOUND, "audio/mpeg")
        create = client.audio.transcriptions.create
        parts = await create(file=recording, model="t", stream=True)
        return [
            [part async for part in parts],
            await create(file=recording, model="t", language="de", temperature=0, timestamp_granularities=["word"]),
            await create(file=recording, model="t", response_format="srt"),
        ]

    said = [named_event("transcript.text.delta", delta="Grü"), named_event("transcript.text.done", text="Grüße")]
    got = await compare.asynchronous(
        steps,
        stream(said),
        answer({"text": "Grüße"}),
        respond("1\n00:00 --> 00:01\nGrüße\n".encode(), headers=[("content-type", "text/plain; charset=utf-8")]),
    )
    assert got[0][1].text == got[1].text == "Grüße"


@pytest.mark.parametrize("encoding", ["base64", "float"])
async def test_embeddings(compare: Comparison, encoding: Any) -> None:
    """Vectors as base64, the client's default, and as numbers."""
    packed = base64.b64encode(struct.pack("<3f", 0.5, -0.25, 1e-7)).decode()
    vector: object = [0.5, -0.25, 1e-7] if encoding == "float" else packed
    item = {"object": "embedding", "index": 0, "embedding": vector}
    payload = {"object": "list", "data": [item], "model": "e", "usage": {"prompt_tokens": 1, "total_tokens": 1}}

    async def steps(client: AsyncOpenAI) -> object:
        asked: Any = {} if encoding == "base64" else {"encoding_format": encoding}
        return await client.embeddings.create(model="e", input=["Grüße", "x"], dimensions=3, **asked)

    got = await compare.asynchronous(steps, answer(payload))
    assert got.data[0].embedding[:2] == [0.5, -0.25]
    assert compare.upstream.last.json["encoding_format"] == encoding


async def test_images(compare: Comparison) -> None:
    """Made, edited with two pictures in one form, and streamed in parts."""
    picture = base64.b64encode(PNG).decode()

    async def steps(client: AsyncOpenAI) -> list[object]:
        pictures = [("a.png", PNG, "image/png"), ("b.png", PNG[::-1], "image/png")]
        parts = await client.images.generate(model="i", prompt="A beagle", stream=True, partial_images=1)
        return [
            await client.images.generate(model="i", prompt="Ein Häuschen", n=1, size="1024x1024"),
            await client.images.edit(model="i", image=pictures, prompt="Another"),
            [part async for part in parts],
        ]

    made = {"created": 1, "data": [{"b64_json": picture}], "size": "1024x1024"}
    partial = named_event("image_generation.partial_image", b64_json=picture, partial_image_index=0, created_at=1)
    completed = named_event("image_generation.completed", b64_json=picture, created_at=1)
    got = await compare.asynchronous(steps, stream([partial, completed]), answer(made), answer(made))
    assert got[0].data[0].b64_json == got[2][0].b64_json == picture


async def test_responses(compare: Comparison) -> None:
    """The responses API: made, parsed, read back, listed and deleted."""

    async def steps(client: AsyncOpenAI) -> list[object]:
        made = await client.responses.create(model="m", input="Hi", instructions="Be kind.", metadata={"a": "b"})
        parsed = await client.responses.parse(model="m", input="Name?", text_format=Dog)
        read = await client.responses.retrieve("resp_1", include=["file_search_call.results"])
        await client.responses.delete("resp_1")
        return [made, made.output_text, parsed.output_parsed, read]

    got = await compare.asynchronous(
        steps, answer(response("Hello")), answer(response('{"name":"Biscuit"}')), answer(response("Hello")), respond()
    )
    assert got[1:3] == ["Hello", Dog(name="Biscuit")]


async def test_streamed_responses(compare: Comparison) -> None:
    """The responses API's named events: as they are, and through the streaming helper with a model class."""

    async def steps(client: AsyncOpenAI) -> list[object]:
        parts = await client.responses.create(model="m", input="Hi", stream=True)
        plain: list[object] = [part async for part in parts]
        async with client.responses.stream(model="m", input="Hi", text_format=Dog) as helped:
            events: list[object] = [part async for part in helped]
            final = await helped.get_final_response()
        return [plain, events, final.output_parsed]

    script = stream(response_events('{"name":', '"Biscuit"}'), headers=[EVENTS, REQUEST_ID])
    got = await compare.asynchronous(steps, script, script)
    assert len(got[0]) == len(got[1]) == len(response_events("a", "b"))
    assert got[2] == Dog(name="Biscuit")


async def test_responses_without_an_event_loop(compare: Comparison) -> None:
    """The synchronous client's stream of the responses API."""

    def steps(client: OpenAI) -> list[object]:
        return [part.type for part in client.responses.create(model="m", input="Hi", stream=True)]

    got = await compare.blocking(steps, stream(response_events("Hi")))
    assert (got[0], got[-1]) == ("response.created", "response.completed")


async def test_requests_without_a_schema(compare: Comparison) -> None:
    """The client's undocumented requests: any path, any method, deep queries."""

    async def steps(client: AsyncOpenAI) -> list[object]:
        query = {"filter": {"a": ["x", "ü &"]}, "empty": "", "none": None}
        return [
            await client.get("/made/up%2Fpath", cast_to=dict[str, object], options={"params": query}),
            await client.patch("/made/up", cast_to=dict[str, object], body={"a": 1}),
            await client.put("/made/up", cast_to=dict[str, object], body=[1, 2]),
            await client.delete("/made/up", cast_to=dict[str, object], body={"why": "ß"}),
        ]

    assert await compare.asynchronous(steps, *[answer({"ok": True})] * 4) == [{"ok": True}] * 4


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects(compare: Comparison, status: int) -> None:
    """The client follows them, not the proxy: methods, bodies and cookies change hands as they would without."""

    async def steps(client: AsyncOpenAI) -> object:
        return (await client.moderations.create(model="o", input="Hi")).to_dict()

    elsewhere = [("location", "/v1/elsewhere?a=%2F"), ("set-cookie", "a=1; Path=/v1")]
    moderation = {"id": "modr-1", "model": "o", "results": []}
    got = await compare.asynchronous(steps, respond(status=status, headers=elsewhere), answer(moderation))
    assert got == moderation
    assert compare.upstream.last.target == b"/v1/elsewhere?a=%2F"
    assert compare.upstream.last.every("cookie") == [b"a=1"]


async def test_errors_of_other_endpoints(compare: Comparison) -> None:
    """What upstream refuses of an upload is the same exception."""

    async def steps(client: AsyncOpenAI) -> object:
        return await client.files.create(file=("a", SOUND), purpose="batch")

    got = await compare.asynchronous(steps, respond(failure("Too large.", code="size"), status=413))
    assert (got.kind, got.status, got.code) == (openai.APIStatusError, 413, "size")


async def test_default_headers_and_queries(compare: Comparison) -> None:
    """What a client sends with every request arrives with every request."""

    async def steps(client: AsyncOpenAI) -> object:
        more = client.with_options(default_headers={"X-More": "1"})
        return [(await client.models.list()).data, (await more.models.list(extra_headers={"X-App": "own"})).data]

    await compare.asynchronous(
        steps,
        answer(page()),
        answer(page()),
        default_headers={"X-App": "chat", "User-Agent": "mine/1"},
        default_query={"api-version": "2025-01-01", "x": "a+b"},
        organization="org",
        project="proj",
    )
    first, second = compare.upstream.visits
    assert first.target == b"/v1/models?api-version=2025-01-01&x=a%2Bb"
    assert [first.every(name) for name in ("x-app", "openai-organization", "user-agent")] == [
        [b"chat"],
        [b"org"],
        [b"mine/1"],
    ]
    assert [second.every(name) for name in ("x-app", "x-more")] == [[b"own"], [b"1"]]
