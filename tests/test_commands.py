"""Commands in messages, through the real proxy and with the clients that people use."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from langchain_openai import ChatOpenAI
from openai import AsyncOpenAI
from pydantic import SecretStr

from proxy.edge import phrases
from tests.conftest import Launch
from tests.harness import Proxy, Upstream, run_proxy
from tests.harness.payloads import ask

pytestmark = pytest.mark.asyncio(loop_scope="session")

FACT = "My dog is called Biscuit, a beagle."
QUESTION = "What is the name of my dog?"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def obeying(far_end: Upstream, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Proxy]:
    """A proxy that takes commands."""
    folder = tmp_path_factory.mktemp("commands")
    async with run_proxy(folder, far_end.url, memory={"commands": True}) as proxy:
        yield proxy


@pytest.fixture
def chat(obeying: Proxy, upstream: Upstream, user: str) -> "Chat":
    """The same, in front of ``upstream``, with a user of the test's own."""
    return Chat(obeying, upstream, user)


class Chat:
    """Somebody at a chat's window."""

    def __init__(self, proxy: Proxy, upstream: Upstream, user: str) -> None:
        self.proxy = proxy
        self.upstream = upstream
        self.user = user

    def open(self) -> AsyncOpenAI:
        headers = {"X-User-Id": self.user}
        return AsyncOpenAI(base_url=f"{self.proxy.url}/v1", api_key="sk", max_retries=0, default_headers=headers)

    async def say(self, text: str) -> str:
        """What the window shows after *text*."""
        async with self.open() as client:
            answer = await client.chat.completions.create(model="m", messages=[{"role": "user", "content": text}])
        return answer.choices[0].message.content or ""

    async def tell(self, text: str) -> None:
        """Has *text* remembered, by saying it."""
        assert await self.say(text) == "Noted."
        await self.proxy.flush()


async def test_a_command_is_answered_by_the_proxy(chat: Chat) -> None:
    """The upstream hears nothing of it, nothing is stored of it, and what was said before is told."""
    await chat.tell(FACT)
    asked = len(chat.upstream.visits)
    told = await chat.say("/memory")
    assert "Memory is **on**. It has 2 memories" in told
    assert "My dog is called Biscuit, a beagle" in told
    assert len(chat.upstream.visits) == asked
    assert await chat.proxy.texts(chat.user) == [FACT, "Noted."]


async def test_the_answer_says_that_memory_had_no_part(chat: Chat) -> None:
    """``skipped``, as for everything that is no user's turn."""
    answer = await chat.proxy.chat(chat.user, ask("/memory help"))
    assert (answer.status, answer.memory) == (200, "skipped")
    assert answer.header("content-type") == "application/json"


async def test_a_stream(chat: Chat) -> None:
    """The official client reads it like any other, with its usage and all its choices."""
    async with chat.open() as client:
        parts = await client.chat.completions.create(
            model="m",
            messages=[{"role": "user", "content": "/memory help"}],
            stream=True,
            n=2,
            stream_options={"include_usage": True},
        )
        chunks = [part async for part in parts]
    texts = ["", ""]
    for choice in (choice for chunk in chunks for choice in chunk.choices):
        texts[choice.index] += choice.delta.content or ""
    assert texts == [phrases.HELP, phrases.HELP]
    assert [chunk.usage.total_tokens for chunk in chunks if chunk.usage] == [0]
    assert {chunk.model for chunk in chunks} == {"m"}


async def test_langchain(chat: Chat) -> None:
    """Whole and in pieces."""
    model = ChatOpenAI(
        model="m",
        base_url=f"{chat.proxy.url}/v1",
        api_key=SecretStr("sk"),
        default_headers={"X-User-Id": chat.user},
        max_retries=0,
        stream_usage=True,
    )
    assert (await model.ainvoke("/memory help")).text == phrases.HELP
    pieces = [piece.text async for piece in model.astream("/memory help")]
    assert "".join(pieces) == phrases.HELP


async def test_what_is_forgotten_is_gone(chat: Chat) -> None:
    """From the store and from the next answer; the rest stays."""
    await chat.tell(FACT)
    await chat.tell("The bicycle is in the cellar.")
    assert "Forgotten for good: 1 memory." in await chat.say("/memory forget beagle biscuit")
    assert FACT not in await chat.proxy.texts(chat.user)
    await chat.proxy.chat(chat.user, ask(QUESTION), x_memory_mode="read")
    assert b"beagle" not in chat.upstream.last.body
    assert "bicycle" in await chat.say("/memory search cellar")


async def test_what_was_just_said_can_be_forgotten(chat: Chat) -> None:
    """Without waiting for anything."""
    await chat.say(FACT)
    assert "Forgotten for good: 1 memory." in await chat.say("/memory forget biscuit")
    assert await chat.proxy.texts(chat.user) == ["Noted."]


async def test_the_closest_are_offered(chat: Chat) -> None:
    """Recall finds what the words do not, and the name that is offered works."""
    await chat.tell(FACT)
    told = await chat.say("/memory forget the name of the dog")
    assert told.startswith("No memory has all of these words")
    assert "Biscuit" in told
    command = told[told.rindex("`/memory forget ") + 1 : told.rindex("`")]
    assert "Forgotten for good: 1 memory." in await chat.say(command)


async def test_forgetting_everything(chat: Chat) -> None:
    """Only when it is confirmed, with a receipt, and of nobody else."""
    await chat.tell(FACT)
    other = Chat(chat.proxy, chat.upstream, f"{chat.user}-other")
    await other.tell(FACT)
    assert "This erases 2 memories" in await chat.say("/memory forget everything")
    assert len(await chat.proxy.texts(chat.user)) == 2
    told = await chat.say(phrases.FORGET_EVERYTHING)
    assert "Everything is forgotten for good: 2 memories" in told
    assert "Receipt: `" in told
    assert await chat.proxy.texts(chat.user) == []
    assert len(await chat.proxy.texts(other.user)) == 2


async def test_remembering(chat: Chat) -> None:
    """What is told to be remembered is in the next conversation's block."""
    assert "Remembered: I am allergic to walnuts." in await chat.say("/memory remember I am allergic to walnuts.")
    await chat.say("Which nuts am I allergic to?")
    assert "allergic to walnuts" in chat.upstream.last.system
    (memory, *_) = await chat.proxy.memories(chat.user)
    assert (memory["text"], memory["origin"]) == ("I am allergic to walnuts.", "hand")


async def test_secrets_are_not_remembered(chat: Chat) -> None:
    """Nor shown again."""
    key = "AKIA" + "QYLPMN5HHHFPZAM2"
    told = await chat.say(f"/memory remember The access key of the server is {key}")
    assert key not in told
    assert key not in str(await chat.proxy.memories(chat.user))


async def test_off_and_on(chat: Chat) -> None:
    """While it is off nothing is recalled and nothing stored; then what was known is known again."""
    await chat.tell(FACT)
    assert await chat.say("/memory off") == phrases.OFF
    answer = await chat.proxy.chat(chat.user, ask(QUESTION))
    assert answer.memory == "off"
    assert chat.upstream.last.body == ask(QUESTION)
    assert "Memory is **off**. It has 2 memories" in await chat.say("/memory")
    assert await chat.say("/memory remember I like tea.") == phrases.IS_OFF
    assert await chat.say("/memory on") == phrases.ON
    assert (await chat.proxy.chat(chat.user, ask(QUESTION), x_memory_mode="read")).memory == "injected"
    assert await chat.proxy.texts(chat.user) == [FACT, "Noted."]


async def test_later_requests_of_the_conversation(chat: Chat) -> None:
    """A command and its answer are history then: they go upstream as they are, and are not stored."""
    talk = ["/memory remember I like tea.", "Remembered: I like tea.", "What else do people drink?"]
    await chat.proxy.chat(chat.user, ask(*talk), x_memory_mode="write")
    assert chat.upstream.last.body == ask(*talk)
    assert await chat.proxy.texts(chat.user) == ["What else do people drink?", "Noted."]


async def test_nobody_commands_nothing(chat: Chat) -> None:
    """Without a user id, and with memory off for the request, the upstream gets it."""
    assert (await chat.proxy.chat(None, ask("/memory"))).memory == "anonymous"
    assert chat.upstream.last.body == ask("/memory")
    assert (await chat.proxy.chat(chat.user, ask("/memory help"), x_memory_mode="off")).memory == "off"
    assert chat.upstream.last.body == ask("/memory help")


async def test_without_the_operators_leave(proxy: Proxy, upstream: Upstream, user: str) -> None:
    """By default a command is a message like any other."""
    await proxy.chat(user, ask("/memory"))
    assert upstream.last.body == ask("/memory")


async def test_while_the_keeper_is_away(launch: Launch, user: str) -> None:
    """The chat's window says so in words: an error would be taken for the model's."""
    proxy = await launch(ready=False, memory={"commands": True})
    answer = await proxy.chat(user, ask("/memory"))
    assert answer.status == 200
    assert answer.json["choices"][0]["message"]["content"] == phrases.AWAY
