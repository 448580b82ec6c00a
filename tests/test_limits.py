"""How much may be asked: of the process, by a client and by a user; and that what was taken is given back."""

import asyncio
from contextlib import AsyncExitStack
from typing import Final

import pytest

from proxy.edge.admission import FEWEST_UPLOADS
from tests.conftest import Launch
from tests.harness import Answer, Gate, Proxy, Upstream, Wire
from tests.harness.client import render_request
from tests.harness.payloads import ask
from tests.harness.proxy import CHAT
from tests.harness.relays import in_flight
from tests.test_clients import CLIENTS, HELP, SHOP, bearer

pytestmark = pytest.mark.asyncio(loop_scope="session")

EMBEDDINGS: Final = "/v1/embeddings"


def hold(upstream: Upstream, number: int = 1) -> list[Gate]:
    """Upstream's next answers wait for the test."""
    gates = [Gate() for _ in range(number)]
    upstream.script(*gates)
    return gates


def check_refusal(answer: Answer, code: str, *, after: range = range(1, 2)) -> None:
    """A 429 as OpenAI's clients know it: with a time, and a type that says that it is about requests."""
    assert (answer.status, answer.code) == (429, f"memory_proxy_{code}")
    assert answer.json["error"]["type"] == "requests"
    assert int(answer.header("retry-after") or "") in after


async def begin(proxy: Proxy, stack: AsyncExitStack, gate: Gate, target: str = CHAT, **headers: str) -> Wire:
    """A request that upstream has, and does not answer for now."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    wire = await stack.enter_async_context(await proxy.open("POST", target, headers=named, body=ask("Hi.")))
    await gate.asked()
    return wire


async def finish(gate: Gate, wire: Wire) -> int:
    gate.start()
    gate.end()
    return (await wire.answer()).status


@pytest.mark.parametrize("target", [CHAT, EMBEDDINGS])
async def test_requests_in_flight(launch: Launch, upstream: Upstream, target: str) -> None:
    """One too many is refused at once; the next one after an end, by whatever way, is served."""
    proxy = await launch(ready=False, limits={"max_in_flight": 2})
    gates = hold(upstream, 2)
    async with AsyncExitStack() as stack:
        wires = [await begin(proxy, stack, gate, target) for gate in gates]
        check_refusal(await proxy.request("POST", target, body=ask("Hi.")), "too_many_requests")
        assert proxy.metric("limited_total", limit="in_flight") == 1
        assert await finish(gates[0], wires[0]) == 200
        assert (await proxy.request("POST", target, body=ask("Hi."))).status == 200
        wires[1].leave()
        await in_flight(proxy, 0)
        for status in (200, 200, 200):
            assert (await proxy.request("POST", target, body=ask("Hi."))).status == status


async def test_a_failing_upstream_costs_no_place(launch: Launch) -> None:
    """Nor does a request that is refused."""
    proxy = await launch(ready=False, limits={"max_in_flight": 1}, upstream={"base_url": "http://127.0.0.1:9/v1"})
    for _ in range(3):
        assert (await proxy.chat("ada", ask("Hi."))).status == 502
        assert (await proxy.chat("", ask("Hi."))).status == 400
        assert (await proxy.request("GET", "/v1/models")).status == 502


async def test_a_slow_body_holds_no_place(launch: Launch, upstream: Upstream) -> None:
    """Who sends a chat byte by byte keeps nobody else from theirs, not even themselves."""
    proxy = await launch(ready=False, limits={"max_in_flight": 1, "user_max_in_flight": 1})
    body = ask("Hi.")
    slow = render_request("POST", CHAT, [("X-User-Id", "ada"), ("Content-Length", str(len(body)))], None, host="x")
    async with await proxy.connect() as wire:
        await wire.send(slow + body[:5])
        await in_flight(proxy, 1)
        assert (await proxy.chat("ada", body)).status == 200
        assert (await proxy.chat("bob", body)).status == 200
        await wire.send(body[5:])
        assert (await wire.answer()).status == 200


async def test_slow_uploads_leave_places_to_others(launch: Launch, upstream: Upstream) -> None:
    """They hold connections to the upstream, so only so many may; what has come in full does not count."""
    proxy = await launch(ready=False, upstream={"max_connections": FEWEST_UPLOADS + 2})
    slow = render_request("POST", "/v1/files", [("Content-Length", "100")], None, host="x") + b"x"
    async with AsyncExitStack() as stack:
        wires = []
        for number in range(FEWEST_UPLOADS):
            wires.append(await stack.enter_async_context(await proxy.connect()))
            await wires[-1].send(slow)
            await in_flight(proxy, number + 1)
            while len(upstream.visits) <= number:  # noqa: ASYNC110  # no event says so
                await asyncio.sleep(0)
        async with await proxy.connect() as wire:
            await wire.send(slow)
            check_refusal(await wire.answer(), "too_many_requests")
        assert proxy.metric("limited_total", limit="uploads") == 1
        assert (await proxy.chat("ada", ask("Hi."))).status == 200
        assert (await proxy.request("POST", "/v1/files", body=b"whole")).status == 200
        await wires[0].send(b"x" * 99)
        assert (await wires[0].answer()).status == 200
        async with await proxy.connect() as wire:
            await wire.send(slow)
            await wire.send(b"x" * 99)
            assert (await wire.answer()).status == 200


async def test_a_client_s_rate(launch: Launch, upstream: Upstream) -> None:
    """Its requests of any kind count; those of another client do not."""
    shop, rest = {**CLIENTS[0], "requests_per_minute": 3}, CLIENTS[1:]
    proxy = await launch(ready=False, clients=[shop, *rest])
    targets = (CHAT, EMBEDDINGS, "/v1/models", CHAT, EMBEDDINGS)
    answers = [await proxy.request("POST", target, headers=[bearer(SHOP)], body=ask("Hi.")) for target in targets]
    assert [answer.status for answer in answers] == [200, 200, 200, 429, 429]
    check_refusal(answers[-1], "rate_limited", after=range(1, 21))
    assert (await proxy.request("POST", CHAT, headers=[bearer(HELP)], body=ask("Hi."))).status == 200
    assert proxy.metric("limited_total", limit="client_rate") == 2
    assert len(upstream.visits) == 4


async def test_a_client_s_requests_in_flight(launch: Launch, upstream: Upstream) -> None:
    """Another client's are served meanwhile, and its own when one has ended."""
    shop, rest = {**CLIENTS[0], "max_in_flight": 1}, CLIENTS[1:]
    proxy = await launch(ready=False, clients=[shop, *rest])
    (gate,) = hold(upstream)
    async with AsyncExitStack() as stack:
        wire = await begin(proxy, stack, gate, Authorization=f"Bearer {SHOP}")
        for target in (CHAT, EMBEDDINGS):
            answer = await proxy.request("POST", target, headers=[("api-key", SHOP)], body=ask("Hi."))
            check_refusal(answer, "too_many_requests")
        assert (await proxy.request("POST", CHAT, headers=[bearer(HELP)], body=ask("Hi."))).status == 200
        assert await finish(gate, wire) == 200
    assert (await proxy.request("POST", CHAT, headers=[bearer(SHOP)], body=ask("Hi."))).status == 200
    assert proxy.metric("limited_total", limit="client_in_flight") == 2


async def test_a_user_s_rate(launch: Launch, upstream: Upstream) -> None:
    """Chats only, whatever a request says of memory, and by whatever way its user is named; others have their own."""
    proxy = await launch(ready=False, limits={"user_requests_per_minute": 3})
    answers = [
        await proxy.chat("ada", ask("Hi.")),
        await proxy.chat("ada", ask("Hi."), x_memory_mode="off"),
        await proxy.chat(None, ask("Hi.", user="ada")),
        await proxy.chat("ada", ask("Hi.")),
        await proxy.chat("ada", ask("Hi."), x_memory_mode="off"),
        await proxy.chat(None, ask("Hi.", user="ada")),
    ]
    assert [answer.status for answer in answers] == [200] * 3 + [429] * 3
    check_refusal(answers[-1], "rate_limited", after=range(1, 21))
    assert (await proxy.chat("bob", ask("Hi."))).status == 200
    assert [(await proxy.chat(None, ask("Hi."))).status for _ in range(5)] == [200] * 5
    assert (await proxy.request("POST", EMBEDDINGS, headers={"X-User-Id": "ada"}, body=b"{}")).status == 200
    assert proxy.metric("limited_total", limit="user_rate") == 3


async def test_a_user_s_requests_in_flight(launch: Launch, upstream: Upstream) -> None:
    """Given back when the client hangs up in the middle of the answer."""
    proxy = await launch(ready=False, limits={"user_max_in_flight": 1})
    (gate,) = hold(upstream)
    async with AsyncExitStack() as stack:
        wire = await begin(proxy, stack, gate, X_User_Id="ada")
        check_refusal(await proxy.chat("ada", ask("Hi.")), "too_many_requests")
        assert (await proxy.chat("bob", ask("Hi."))).status == 200
        gate.start()
        await wire.head()
        wire.leave()
        await gate.hung_up()
        await in_flight(proxy, 0)
    assert (await proxy.chat("ada", ask("Hi."))).status == 200
    assert proxy.metric("limited_total", limit="user_in_flight") == 1


async def test_nobody_waits_for_a_connection_for_ever(launch: Launch, upstream: Upstream) -> None:
    """As long as a connection may take to be made; then 429, and the place in the queue is gone."""
    proxy = await launch(ready=False, upstream={"max_connections": 1, "connect_timeout_s": 0.2})
    (gate,) = hold(upstream)
    async with AsyncExitStack() as stack:
        wire = await begin(proxy, stack, gate)
        for target in (CHAT, EMBEDDINGS):
            check_refusal(await proxy.request("POST", target, body=ask("Hi.")), "too_many_requests")
        assert await finish(gate, wire) == 200
    assert [(await proxy.chat("ada", ask("Hi."))).status for _ in range(3)] == [200] * 3
    assert proxy.metric("limited_total", limit="upstream_busy") == 2
    assert proxy.metric("upstream_errors_total", kind="busy") == 2
    assert proxy.app.upstream.connections == 1


async def test_the_openai_client_sees_a_rate_limit(launch: Launch, upstream: Upstream) -> None:
    """The official client knows what it means."""
    import openai

    proxy = await launch(ready=False, limits={"user_requests_per_minute": 1})
    async with openai.AsyncOpenAI(base_url=f"{proxy.url}/v1", api_key="x", max_retries=0) as client:
        chat = client.with_options(default_headers={"X-User-Id": "ada"}).chat.completions
        await chat.create(model="m", messages=[{"role": "user", "content": "Hi."}])
        with pytest.raises(openai.RateLimitError) as caught:
            await chat.create(model="m", messages=[{"role": "user", "content": "Hi."}])
    assert (caught.value.code, caught.value.type) == ("memory_proxy_rate_limited", "requests")
