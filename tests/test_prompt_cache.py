"""Conversations through the real proxy with the official client, as a provider's prompt cache sees them.

A provider pays for what a request has in common with an earlier one, from the first byte on.
"""

import json
from collections.abc import AsyncIterator
from itertools import pairwise
from typing import Any, Final

import pytest
import pytest_asyncio
from openai import AsyncOpenAI
from openai.types.chat import ChatCompletionMessageParam

from tests.conftest import Launch
from tests.harness import Proxy, Upstream, respond, stream
from tests.harness.payloads import TOOL_CALL, ask, completion, events

pytestmark = pytest.mark.asyncio(loop_scope="session")

DOG: Final = "Biscuit the beagle sleeps on a blanket in the kitchen."
BICYCLE: Final = "The bicycle stands in the cellar behind the boxes."
PIANO: Final = "Mister Hofer tuned the grand piano last spring."
# Ten turns about three things: after each of them, what a follow-up says.
TURNS: Final = [
    "Hello there!",
    "Where does Biscuit the beagle sleep?",
    "Thanks!",
    "And is the blanket of Biscuit in the kitchen?",
    "Where in the cellar does the bicycle stand?",
    "ok",
    "Behind which boxes?",
    "Which piano did Mister Hofer tune last spring?",
    "Great, thank you.",
    "Where did Biscuit sleep again?",
]
SYSTEM: Final[ChatCompletionMessageParam] = {"role": "system", "content": "You are a kind assistant."}


@pytest_asyncio.fixture(params=["system", "tail"], loop_scope="session")
async def placed(request: pytest.FixtureRequest, launch: Launch, user: str) -> tuple[Proxy, str]:
    """A proxy with a placement, and the placement; *user* has spoken of three things."""
    placement = str(request.param)
    return await launch_knowing(launch, user, placement=placement), placement


async def launch_knowing(launch: Launch, user: str, **memory: Any) -> Proxy:
    """A proxy that stores nothing new of a user who has spoken of three things in three conversations."""
    proxy = await launch(memory={"mode": "read", **memory})
    for day, fact in enumerate((DOG, BICYCLE, PIANO), 1):
        line = {"user_id": user, "conversation_id": str(day), "started_at": f"2024-03-0{day}T00:00:00Z"}
        await proxy.control("POST", "/memory/import", {**line, "messages": [{"role": "user", "content": fact}]})
    return proxy


@pytest_asyncio.fixture(loop_scope="session")
async def client(placed: tuple[Proxy, str], user: str) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(
        base_url=f"{placed[0].url}/v1", api_key="sk", max_retries=0, default_headers={"X-User-Id": user}
    ) as client:
        yield client


async def converse(client: AsyncOpenAI, upstream: Upstream, *, streamed: bool) -> None:
    """All turns, each request with all that was said before it."""
    messages: list[ChatCompletionMessageParam] = [SYSTEM]
    for number, text in enumerate(TURNS):
        reply = f"Answer {number}, and a good one."
        messages.append({"role": "user", "content": text})
        if streamed:
            upstream.script(stream(events(*reply.split(" "))))
            parts = await client.chat.completions.create(model="m", messages=messages, stream=True)
            said = "".join([part.choices[0].delta.content or "" async for part in parts])
        else:
            upstream.script(respond(completion(reply)))
            said = (await client.chat.completions.create(model="m", messages=messages)).choices[0].message.content or ""
        messages.append({"role": "assistant", "content": said})


def prompts(upstream: Upstream) -> list[list[dict[str, str]]]:
    return [visit.json["messages"] for visit in upstream.visits]


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
async def test_each_turn_continues_the_one_before(
    placed: tuple[Proxy, str], client: AsyncOpenAI, upstream: Upstream, streamed: bool
) -> None:
    """Ten turns: what a request says is what the one before said, and more; only a block that grows is in between."""
    await converse(client, upstream, streamed=streamed)
    seen = prompts(upstream)
    assert [len(prompt) for prompt in seen] == list(range(2, 22, 2))
    grown = [place for place, (one, other) in enumerate(pairwise(seen), 1) if other[: len(one)] != one]
    assert grown == ([1, 4, 7] if placed[1] == "system" else [])
    for one, other in pairwise(seen):
        assert other[1 : len(one)] == one[1:]
        assert other[0]["content"].startswith(one[0]["content"].removesuffix("\n</memory>"))
    final = json.dumps(seen[-1])
    assert [final.count(fact) for fact in (DOG, BICYCLE, PIANO)] == [1, 1, 1]


async def test_bytes_are_shared_too(placed: tuple[Proxy, str], client: AsyncOpenAI, upstream: Upstream) -> None:
    """Not only what the bodies mean: each begins with the bytes of the one before, where the block has not grown."""
    await converse(client, upstream, streamed=False)
    bodies = [visit.body for visit in upstream.visits]
    for place, (one, other) in enumerate(pairwise(bodies), 1):
        if placed[1] == "tail" or place not in (1, 4, 7):
            assert other.startswith(one[: one.rindex(b"]")])


async def test_the_tail_leaves_the_instructions_alone(launch: Launch, upstream: Upstream, user: str) -> None:
    """The block goes to the end of the last user's message; headers tell of all blocks that the request has."""
    proxy = await launch_knowing(launch, user, placement="tail")
    first = await proxy.chat(user, ask(TURNS[1]))
    assert (first.memory, first.header("x-memory-count")) == ("injected", "1")
    said = upstream.last.json["messages"]
    assert len(said) == 1
    assert said[0]["content"].startswith(f"{TURNS[1]}\n\n<memory>\n")
    second = await proxy.chat(user, ask(TURNS[1], "In the kitchen.", TURNS[4]))
    assert (second.memory, second.header("x-memory-count")) == ("injected", "2")
    assert int(second.header("x-memory-tokens") or 0) > int(first.header("x-memory-tokens") or 0)
    again = upstream.last.json["messages"]
    assert again[0] == said[0]
    assert again[1] == {"role": "assistant", "content": "In the kitchen."}
    assert BICYCLE in again[2]["content"]
    body = ask("Hi")
    assert (await proxy.chat(user, body)).memory == "empty"
    assert upstream.last.body == body


async def test_tool_steps_add_nothing(placed: tuple[Proxy, str], upstream: Upstream, user: str) -> None:
    """Every step of a tool loop has the prompt of the step before in front of it."""
    proxy, _ = placed
    messages: list[dict[str, Any]] = [{"role": "user", "content": TURNS[1]}]
    for step in range(3):
        upstream.script(respond(completion(None, finish_reason="tool_calls", tool_calls=[TOOL_CALL])))
        await proxy.chat(user, json.dumps({"messages": messages}).encode())
        messages += [
            {"role": "assistant", "content": None, "tool_calls": [TOOL_CALL]},
            {"role": "tool", "tool_call_id": "call_1", "content": f"{step} boxes, a bicycle and a piano"},
        ]
    for one, other in pairwise(prompts(upstream)):
        assert other[: len(one)] == one
    assert DOG in json.dumps(upstream.last.json)


async def test_an_id_keeps_a_trimmed_conversation_together(launch: Launch, upstream: Upstream, user: str) -> None:
    """With ``X-Conversation-Id``, a client that sends the last message only still has the same instructions."""
    proxy = await launch_knowing(launch, user)
    systems = []
    for text in TURNS[1:4]:
        await proxy.chat(user, ask(text), x_conversation_id="c-1")
        systems.append(upstream.last.system)
    assert DOG in systems[0]
    assert systems[0] == systems[1] == systems[2]
    assert (await proxy.chat(user, ask("Thanks!"))).memory == "empty"


async def test_an_erased_user_is_in_no_block(placed: tuple[Proxy, str], upstream: Upstream, user: str) -> None:
    """The very next request of a conversation that had a block is the client's own, byte for byte."""
    proxy, _ = placed
    await proxy.chat(user, ask(TURNS[1]))
    assert DOG in upstream.last.body.decode()
    assert (await proxy.control("DELETE", f"/memory/users/{user}")).status == 200
    body = ask(TURNS[1], "In the kitchen.", "Thanks!")
    assert (await proxy.chat(user, body)).memory == "empty"
    assert upstream.last.body == body


async def test_the_template_is_what_is_said(launch: Launch, upstream: Upstream, user: str) -> None:
    """``memory.template`` stands around the memories, and nothing else of the proxy's own does."""
    proxy = await launch_knowing(launch, user, template="<notes lang='en'>\n{memories}\n</notes>")
    await proxy.chat(user, ask(TURNS[1]))
    assert upstream.last.system == f"<notes lang='en'>\n- 2024-03-01: {DOG}\n</notes>"
