"""Embeddings from an OpenAI-compatible endpoint: real HTTP, odd answers."""

import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing
from typing import Any

import numpy as np
import pytest
import pytest_asyncio
from starlette.types import Receive, Scope, Send

from proxy import config
from proxy.config import Upstream
from proxy.embedders import open_embedder
from proxy.embedders.openai import BATCH, MAX_CHARACTERS, OpenAIEmbedder
from proxy.errors import EmbedderError
from tests.processes import read_body, send_json, serve_in_thread

KEY = "sk-very-secret"


def rows(*vectors: Any) -> dict[str, Any]:
    data = [{"object": "embedding", "index": n, "embedding": vector} for n, vector in enumerate(vectors)]
    return {"object": "list", "data": data, "model": "m", "usage": {"prompt_tokens": 0, "total_tokens": 0}}


def lengths(texts: list[str]) -> dict[str, Any]:
    """The default answer: a vector that tells how long its text is."""
    return rows(*([float(len(text)), 1.0] for text in texts))


class Endpoint:
    """``POST /v1/embeddings``, answered by *answer*; keeps the requests."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.status = 200
        self.answer: Callable[[list[str]], Any] = lengths
        self.url = ""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        asked = json.loads(await read_body(receive))
        authorization = dict(scope["headers"]).get(b"authorization", b"").decode()
        self.asked.append({**asked, "path": scope["path"], "authorization": authorization})
        answer = self.answer(asked["input"])
        await send_json(send, answer if isinstance(answer, bytes) else json.dumps(answer).encode(), self.status)


@pytest.fixture(scope="module")
def served() -> Iterator[Endpoint]:
    endpoint = Endpoint()
    with serve_in_thread(endpoint) as url:
        endpoint.url = f"{url}/v1"
        yield endpoint


@pytest.fixture
def endpoint(served: Endpoint) -> Endpoint:
    served.asked.clear()
    served.status, served.answer = 200, lengths
    return served


@pytest_asyncio.fixture
async def embedder(endpoint: Endpoint) -> AsyncIterator[OpenAIEmbedder]:
    async with aclosing(OpenAIEmbedder(model="m", upstream=Upstream(base_url=endpoint.url), api_key=KEY)) as made:
        yield made


async def test_rows_have_unit_length_and_the_order_of_the_texts(embedder: OpenAIEmbedder, endpoint: Endpoint) -> None:
    """More texts than one call takes come back in order; the length of a vector is known from then on."""
    dims = [embedder.dim]
    texts = ["x" * number for number in range(1, BATCH + 4)]
    vectors = await embedder.embed(texts)
    assert vectors.shape == (BATCH + 3, 2)
    assert [*dims, embedder.dim] == [None, 2]
    assert vectors.dtype == np.float32
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-6)
    assert (np.diff(vectors[:, 0]) > 0).all()
    assert [len(asked["input"]) for asked in endpoint.asked] == [BATCH, 3]
    assert {(a["path"], a["model"], a["authorization"]) for a in endpoint.asked} == {
        ("/v1/embeddings", "m", f"Bearer {KEY}")
    }


async def test_texts_are_made_fit(embedder: OpenAIEmbedder, endpoint: Endpoint) -> None:
    """The API refuses empty texts and too long ones; no texts are not asked about."""
    await embedder.embed(["", "x" * (MAX_CHARACTERS + 1)])
    assert [len(text) for text in endpoint.asked[0]["input"]] == [1, MAX_CHARACTERS]
    assert (await embedder.embed([])).shape[0] == 0
    assert len(endpoint.asked) == 1


async def test_a_zero_vector_stays_zero(embedder: OpenAIEmbedder, endpoint: Endpoint) -> None:
    """What has no direction is not divided by its length."""
    endpoint.answer = lambda _: rows([0.0, 0.0], [3.0, 4.0])
    assert (await embedder.embed(["a", "b"])).tolist() == [[0, 0], [pytest.approx(0.6), pytest.approx(0.8)]]


@pytest.mark.parametrize(
    "answer",
    [
        rows([1.0, 2.0]),
        rows([1.0], [1.0], [1.0]),
        rows([1.0, 2.0], [1.0]),
        rows([], []),
        rows([1.0, float("nan")], [1.0, 1.0]),
        rows([1.0, 1e300], [1.0, 1.0]),
        rows([1.0, "x"], [1.0, 1.0]),
        rows([1.0, None], [1.0, 1.0]),
        rows("AACAPwAAAEA=", "AACAPwAAAEA="),
        rows(None, None),
        rows([[1.0]], [[1.0]]),
        {"data": []},
        {"data": None},
        {"error": {"message": "no"}},
        {},
        [],
        "text",
        None,
        b"",
        b"<html>",
        b"{",
    ],
    ids=range(21),
)
async def test_odd_answers_are_embedder_errors(embedder: OpenAIEmbedder, endpoint: Endpoint, answer: Any) -> None:
    """With status 200 and anything but two finite vectors of one length there are no vectors."""
    endpoint.answer = lambda _: answer
    with pytest.raises(EmbedderError, match="openai:m"):
        await embedder.embed(["a", "b"])
    endpoint.answer = lengths
    assert (await embedder.embed(["a", "b"])).shape == (2, 2)


@pytest.mark.parametrize("status", [400, 401, 404, 429, 500])
async def test_refusals_are_embedder_errors_without_what_was_said(
    embedder: OpenAIEmbedder, endpoint: Endpoint, status: int
) -> None:
    """The reason goes to logs and readyz: it has the status, but not the key, nor what the provider quotes."""
    endpoint.status = status
    endpoint.answer = lambda texts: {"error": {"message": f"cannot embed {texts[0]!r} with {KEY}", "code": "bad"}}
    with pytest.raises(EmbedderError) as told:
        await embedder.embed(["My password is hunter2."])
    assert str(status) in str(told.value)
    assert "hunter2" not in str(told.value)
    assert KEY not in str(told.value)


async def test_an_endpoint_that_wants_no_key(endpoint: Endpoint) -> None:
    """As those on one's own machine: it is asked without a real one."""
    async with aclosing(OpenAIEmbedder(model="m", upstream=Upstream(base_url=endpoint.url), api_key="")) as embedder:
        await embedder.embed(["a"])
    assert [asked["authorization"] for asked in endpoint.asked] == ["Bearer none"]


async def test_nobody_there_is_an_embedder_error() -> None:
    """An address where nobody listens is told of by its kind of failure."""
    async with aclosing(
        OpenAIEmbedder(model="m", upstream=Upstream(base_url="http://127.0.0.1:1/v1"), api_key=KEY)
    ) as embedder:
        with pytest.raises(EmbedderError, match="APIConnectionError"):
            await embedder.embed(["a"])


async def test_the_configured_one_is_opened(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    """Model, address and key come from the settings; the address is the upstream's where none is set."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:1/wrong")
    chosen = {"embedding": {"provider": "openai", "model": "m"}, "upstream": {"base_url": endpoint.url}}
    async with aclosing(open_embedder(config.load(flags=chosen))) as embedder:
        assert embedder.name == "openai:m"
        assert (await embedder.embed(["abc"])).shape == (1, 2)
    assert endpoint.asked[0]["authorization"] == f"Bearer {KEY}"
