"""Errors, retries and timeouts of the official Python client, with the proxy between as without."""

import json
import logging
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from openai.types.chat import ChatCompletionMessageParam

from tests.harness import Gate, respond
from tests.harness.payloads import completion, events, failure
from tests.harness.upstream import JSON, Headers
from tests.sdk.comparison import Comparison, Failed
from tests.sdk.payloads import LIMITS, REQUEST_ID

pytestmark = pytest.mark.asyncio(loop_scope="session")

ASK: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Hello!"}]
RETRIES = "openai._base_client"  # the logger in which the client tells how long it waits

STATUSES = [
    (400, openai.BadRequestError),
    (401, openai.AuthenticationError),
    (403, openai.PermissionDeniedError),
    (404, openai.NotFoundError),
    (408, openai.APIStatusError),
    (409, openai.ConflictError),
    (413, openai.APIStatusError),
    (422, openai.UnprocessableEntityError),
    (429, openai.RateLimitError),
    (451, openai.APIStatusError),
    (500, openai.InternalServerError),
    (502, openai.InternalServerError),
    (503, openai.InternalServerError),
    (504, openai.InternalServerError),
    (529, openai.InternalServerError),
]
BODIES = [
    (b"<html><h1>502 Bad Gateway</h1></html>", "text/html"),
    (b"", "application/json"),
    (b"upstream connect error", "text/plain"),
    (b'{"detail":"Not Found"}', "application/json"),
    (b'{"error":"just a string"}', "application/json"),
    (b'{"error":{"mess', "application/json"),
    ('{"error":{"message":"Größe","code":413}}'.encode("latin-1"), "application/json; charset=latin-1"),
]


async def chat(client: AsyncOpenAI) -> object:
    return await client.chat.completions.create(model="m", messages=ASK)


async def chat_streamed(client: AsyncOpenAI) -> object:
    return [part async for part in await client.chat.completions.create(model="m", messages=ASK, stream=True)]


@pytest.mark.parametrize("steps", [chat, chat_streamed])
@pytest.mark.parametrize(("status", "kind"), STATUSES)
async def test_every_status(compare_chat: Comparison, status: int, kind: type[openai.OpenAIError], steps: Any) -> None:
    """Each is the same exception: message, code, body, request id and headers."""
    script = respond(failure("Slow down.", code="busy"), status=status, headers=[JSON, REQUEST_ID, *LIMITS])
    got = await compare_chat.asynchronous(steps, script)
    assert (got.kind, got.status, got.code, got.request_id) == (kind, status, "busy", "req_123")
    assert set(LIMITS) < set(got.headers)


@pytest.mark.parametrize(("body", "content_type"), BODIES)
async def test_every_body(compare_chat: Comparison, body: bytes, content_type: str) -> None:
    """Errors of gateways, cut ones and empty ones read alike."""
    got = await compare_chat.asynchronous(chat, respond(body, status=502, headers=[("content-type", content_type)]))
    assert got.kind is openai.InternalServerError


@pytest.mark.parametrize("kind", ["text/html", "application/json"])
async def test_answers_that_are_none(compare_chat: Comparison, kind: str) -> None:
    """A 200 whose body is no completion does the same to the client, whatever that is."""

    async def steps(client: AsyncOpenAI) -> object:
        try:
            return await chat(client)
        except json.JSONDecodeError as exc:
            return repr(exc)

    assert await compare_chat.asynchronous(steps, respond(b"<html>", headers=[("content-type", kind)]))


RETRIED: list[tuple[int, Headers]] = [
    (429, [("retry-after-ms", "20")]),
    (429, [("retry-after", "0.02")]),
    (429, [("retry-after-ms", "20"), ("retry-after", "30")]),
    (500, [("retry-after-ms", "20")]),
    (408, [("retry-after-ms", "20")]),
    (409, [("retry-after-ms", "20")]),
    (400, [("retry-after-ms", "20"), ("x-should-retry", "true")]),
]


@pytest.mark.parametrize(("status", "headers"), RETRIED)
async def test_retries_as_upstream_asks(
    compare_chat: Comparison, caplog: pytest.LogCaptureFixture, status: int, headers: Headers
) -> None:
    """The client waits as long as upstream said, counts its retries, and comes through."""
    busy = respond(failure("Slow down."), status=status, headers=[JSON, *headers])
    with caplog.at_level(logging.INFO, RETRIES):
        got = await compare_chat.asynchronous(chat, busy, busy, respond(completion("Hi!")), max_retries=2)
    assert got.choices[0].message.content == "Hi!"
    assert [visit.every("x-stainless-retry-count") for visit in compare_chat.upstream.visits] == [
        [b"0"],
        [b"1"],
        [b"2"],
    ]
    waits = [record.args for record in caplog.records if record.name == RETRIES and "Retrying" in record.msg]
    assert [next(arg for arg in args or () if isinstance(arg, float)) for args in waits] == [0.02] * 4


GIVEN_UP: list[tuple[int, Headers]] = [
    (429, [("x-should-retry", "false")]),
    (500, [("x-should-retry", "false")]),
    (429, [("retry-after", "86400")]),
    (429, [("retry-after-ms", "86400000")]),
    (400, [("retry-after-ms", "20")]),
]


@pytest.mark.parametrize(("status", "headers"), GIVEN_UP)
async def test_gives_up_as_upstream_asks(compare_chat: Comparison, status: int, headers: Headers) -> None:
    """What upstream says is not worth a retry is asked once."""
    busy = respond(failure("No."), status=status, headers=[JSON, *headers])
    got = await compare_chat.asynchronous(chat, busy, max_retries=2)
    assert (got.status, len(compare_chat.upstream.visits)) == (status, 1)


async def test_the_synchronous_client_retries(compare_chat: Comparison) -> None:
    """Without an event loop, too, and the last failure is the one that it raises."""
    busy = respond(failure("Slow down."), status=429, headers=[JSON, ("retry-after-ms", "1")])

    def steps(client: OpenAI) -> object:
        return client.chat.completions.create(model="m", messages=ASK)

    got = await compare_chat.blocking(steps, busy, busy, respond(b"{}", status=503), max_retries=2)
    assert (got.status, len(compare_chat.upstream.visits)) == (503, 3)


@pytest.mark.parametrize("phase", ["before the head", "between chunks"])
async def test_the_clients_timeout(compare_chat: Comparison, phase: str) -> None:
    """The exception is the client's own, and upstream's connection is closed at once."""

    async def steps(url: str) -> object:
        gate = Gate()
        compare_chat.upstream.script(gate)
        if phase == "between chunks":
            gate.start()
            gate.release(*events("One", done=False)[:2])
        client = AsyncOpenAI(
            base_url=f"{url}/v1",
            api_key="k",
            max_retries=0,
            timeout=openai.Timeout(10.0, read=0.2),
            default_headers=compare_chat.headers,
        )
        async with client:
            try:
                return await chat_streamed(client)
            except openai.APITimeoutError as exc:
                await gate.hung_up()
                return Failed.of(exc)

    got = await compare_chat(steps)
    assert got.kind is openai.APITimeoutError
