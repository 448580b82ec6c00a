"""Base paths as Azure has them: deployments in the path, a version in the query, the key in a header of its own."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio
from openai import AsyncAzureOpenAI, AsyncOpenAI
from openai.types.chat import ChatCompletionMessageParam

from tests.conftest import Launch
from tests.harness import Proxy, Upstream, respond, run_proxy, stream
from tests.harness.payloads import completion, events
from tests.sdk.comparison import Comparison
from tests.sdk.payloads import answer, page

pytestmark = pytest.mark.asyncio(loop_scope="session")

ASK: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Hello!"}]
VERSION = "2025-04-01-preview"


@dataclass(frozen=True)
class Front:
    """A proxy whose upstream has a path before its API."""

    proxy: Proxy
    upstream: Upstream
    path: str

    async def compare(self, steps: Any, *scripts: Any) -> Any:
        """As ``Comparison`` does it; *steps* get what stands before ``/openai`` for Azure's clients."""

        async def run(url: str) -> Any:
            return await steps(url + ("/v1" if url == self.proxy.url else self.path))

        return await Comparison(self.proxy, self.upstream, {})(run, *scripts)


@pytest_asyncio.fixture(scope="module", loop_scope="session", params=["", "/gateway/eu%2D1"])
async def front(
    request: pytest.FixtureRequest, far_end: Upstream, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Front]:
    """``https://….azure.com`` itself, and a gateway that has it below a path."""
    base = {"base_url": f"{far_end.url}{request.param}"}
    async with run_proxy(tmp_path_factory.mktemp("front"), far_end.url, ready=False, upstream=base) as proxy:
        yield Front(proxy, far_end, request.param)


async def test_azures_client(front: Front) -> None:
    """Chats, streams, vectors and lists: deployment and version arrive as the client put them."""

    async def steps(endpoint: str) -> object:
        async with AsyncAzureOpenAI(
            azure_endpoint=endpoint, api_version=VERSION, api_key="key", max_retries=0
        ) as client:
            parts = await client.chat.completions.create(model="gpt 4/o", messages=ASK, stream=True)
            return [
                [part async for part in parts],
                await client.chat.completions.create(model="gpt-4o", messages=ASK),
                [model.id async for model in client.models.list()],
            ]

    await front.compare(steps, stream(events("Hi!")), respond(completion("Hello!")), answer(page()))
    first, second, third = front.upstream.visits
    path = front.path.encode()
    assert first.target == path + b"/openai/deployments/gpt%204%2Fo/chat/completions?api-version=2025-04-01-preview"
    assert second.every("api-key") == [b"key"]
    assert third.target == path + b"/openai/models?api-version=2025-04-01-preview"


async def test_azures_client_with_a_deployment(front: Front) -> None:
    """``azure_deployment`` puts the deployment into the base URL, and a token takes the place of the key."""

    async def steps(endpoint: str) -> object:
        async with AsyncAzureOpenAI(
            azure_endpoint=endpoint,
            azure_deployment="gpt-4o",
            api_version=VERSION,
            azure_ad_token="token",
            max_retries=0,
        ) as client:
            return await client.chat.completions.create(model="ignored", messages=ASK)

    await front.compare(steps, respond(completion("Hello!")))
    assert front.upstream.last.target.endswith(
        b"/openai/deployments/gpt-4o/chat/completions?api-version=" + VERSION.encode()
    )
    assert front.upstream.last.every("authorization") == [b"Bearer token"]


async def test_azures_client_with_a_base_url(front: Front) -> None:
    """``base_url`` with a path of its own."""

    async def steps(endpoint: str) -> object:
        async with AsyncAzureOpenAI(
            base_url=f"{endpoint}/openai/v1/", api_version="preview", api_key="key", max_retries=0
        ) as client:
            return await client.responses.with_raw_response.retrieve("resp_1", extra_query={"a": "1 2"})

    async def content(endpoint: str) -> object:
        raw: Any = await steps(endpoint)
        return raw.content, raw.status_code

    await front.compare(content, answer({"id": "resp_1"}))
    assert front.upstream.last.target == front.path.encode() + b"/openai/v1/responses/resp_1?api-version=preview&a=1+2"


async def test_a_deployment_as_the_upstream(launch: Launch, upstream: Upstream, user: str) -> None:
    """With the deployment in the proxy's base URL and version and key in the client's defaults, there is memory."""
    proxy = await launch(upstream={"base_url": f"{upstream.url}/openai/deployments/gpt-4o"})
    headers = {"api-key": "key", "X-User-Id": user}
    async with AsyncOpenAI(
        base_url=f"{proxy.url}/v1", api_key="none", default_query={"api-version": VERSION}, default_headers=headers
    ) as client:
        await client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "I like rye."}])
    assert upstream.last.target == f"/openai/deployments/gpt-4o/chat/completions?api-version={VERSION}".encode()
    assert upstream.last.every("api-key") == [b"key"]
    assert await proxy.texts(user) == ["I like rye.", "Noted."]
