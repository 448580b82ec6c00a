"""The mock upstream, as the official client sees it, and the rules of its assistant."""

from collections.abc import AsyncIterator, Iterator

import httpx2
import numpy as np
import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam

from proxy.mock.assistant import ACKNOWLEDGED, UNKNOWN, compose_reply
from proxy.mock.upstream import UpstreamThread
from proxy.models import Message

HELLO: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Hello."}]
BLOCK = """You are helpful.

Notes from earlier conversations:
- [2026-01-02] user: My dog Biscuit is a beagle.
- [2026-01-02] you (assistant): A dog is a fine companion.
- [2026-01-03] user: What is my dog called?
- [2026-01-04] user: I live in Lisbon.
"""


@pytest.fixture(scope="module")
def upstream() -> Iterator[UpstreamThread]:
    with UpstreamThread() as running:
        yield running


@pytest.fixture
def client(upstream: UpstreamThread) -> Iterator[openai.OpenAI]:
    with httpx2.Client(trust_env=False) as http:
        yield openai.OpenAI(base_url=f"{upstream.url}/v1", api_key="x", http_client=http, max_retries=0)


@pytest.fixture
async def async_client(upstream: UpstreamThread) -> AsyncIterator[openai.AsyncOpenAI]:
    async with httpx2.AsyncClient(trust_env=False) as http:
        yield openai.AsyncOpenAI(base_url=f"{upstream.url}/v1", api_key="x", http_client=http, max_retries=0)


def test_a_statement_is_acknowledged(client: openai.OpenAI) -> None:
    """A JSON completion has the shape that the client parses."""
    completion = client.chat.completions.create(model="some-model", messages=HELLO)
    assert completion.choices[0].message.content == ACKNOWLEDGED
    assert completion.choices[0].finish_reason == "stop"
    assert completion.model == "some-model"
    assert completion.usage is not None


async def test_a_stream_says_the_same_as_json(async_client: openai.AsyncOpenAI) -> None:
    """The deltas of a stream add up to the reply, which ends with ``stop`` and, when asked for, usage."""
    stream = await async_client.chat.completions.create(
        model="mock", messages=HELLO, stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]
    choices = [chunk.choices[0] for chunk in chunks if chunk.choices]
    assert "".join(choice.delta.content or "" for choice in choices) == ACKNOWLEDGED
    assert [choice.finish_reason for choice in choices if choice.finish_reason] == ["stop"]
    assert [chunk.usage is not None for chunk in chunks] == [False] * (len(chunks) - 1) + [True]


def test_prebuilt_chunks_are_counted(client: openai.OpenAI) -> None:
    """``X-Mock-Chunks`` decides how many content chunks a stream has; no usage comes unasked."""
    stream = client.chat.completions.create(
        model="mock", messages=HELLO, stream=True, extra_headers={"X-Mock-Chunks": "7", "X-Mock-Gap-Ms": "1"}
    )
    assert len([chunk for chunk in stream if chunk.choices[0].delta.content]) == 7


@pytest.mark.parametrize(
    ("status", "error"), [(401, openai.AuthenticationError), (429, openai.RateLimitError), (500, openai.APIStatusError)]
)
def test_errors_come_on_demand(client: openai.OpenAI, status: int, error: type[openai.APIStatusError]) -> None:
    """``X-Mock-Status`` becomes the status of an OpenAI-shaped error."""
    with pytest.raises(error) as caught:
        client.chat.completions.create(model="mock", messages=HELLO, extra_headers={"X-Mock-Status": str(status)})
    assert caught.value.status_code == status
    assert isinstance(caught.value.body, dict)
    assert caught.value.body["message"] == "an error, as asked for"


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'{"messages": 1}', b'{"messages": [{"role": "user", "content": 1}]}']
)
def test_what_is_no_chat_is_refused(upstream: UpstreamThread, body: bytes) -> None:
    """A body that OpenAI would refuse gets a 400, never a 500."""
    response = httpx2.post(f"{upstream.url}/v1/chat/completions", content=body, trust_env=False)
    assert response.status_code == 400
    assert response.json()["error"]["type"] == "invalid_request_error"


def test_models_are_listed_and_other_routes_are_not_found(client: openai.OpenAI) -> None:
    """There is one model; what the mock does not have is a 404."""
    assert [model.id for model in client.models.list()] == ["mock"]
    with pytest.raises(openai.NotFoundError):
        client.files.list()


def test_equal_words_get_equal_unit_vectors(client: openai.OpenAI) -> None:
    """Embeddings come in both encodings, deterministic and of length one."""
    asked = ["good morning", "Morning good", "beagle"]
    floats = [row.embedding for row in client.embeddings.create(model="m", input=asked, encoding_format="float").data]
    packed = [row.embedding for row in client.embeddings.create(model="m", input=asked).data]
    assert np.allclose(floats, packed)
    assert np.allclose(np.linalg.norm(floats, axis=1), 1)
    assert floats[0] == floats[1] != floats[2]


def test_bodies_are_kept_as_received(upstream: UpstreamThread, client: openai.OpenAI) -> None:
    """The newest body is the last, byte for byte, and only so many are kept."""
    body = b'{ "messages" : [ {"role":"user","content":"h\\u00e9 "} ] }'
    for _ in range(20):
        client.chat.completions.create(model="mock", messages=HELLO)
    httpx2.post(f"{upstream.url}/v1/chat/completions", content=body, trust_env=False)
    assert upstream.app.bodies[-1] == body
    assert len(upstream.app.bodies) == 16


@pytest.mark.parametrize(
    ("messages", "reply"),
    [
        ([Message("user", "What do you know about my dog?")], UNKNOWN),
        (
            [Message("system", BLOCK), Message("user", "What do you know about my dog?")],
            "You told me: My dog Biscuit is a beagle.",
        ),
        ([Message("system", BLOCK), Message("user", "Where do I live?")], "You told me: I live in Lisbon."),
        ([Message("system", BLOCK), Message("user", "What is my favourite colour?")], UNKNOWN),
        ([Message("system", BLOCK), Message("user", "My dog is ill.")], ACKNOWLEDGED),
        (
            [Message("user", "I play chess."), Message("assistant", "Nice."), Message("user", "Do I play chess?")],
            "You told me: I play chess.",
        ),
        ([], ACKNOWLEDGED),
    ],
)
def test_the_assistant_answers_only_from_the_request(messages: list[Message], reply: str) -> None:
    """Questions are answered with the user's own best matching statement: from notes, or said before."""
    assert compose_reply(messages) == reply
