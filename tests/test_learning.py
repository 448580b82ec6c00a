"""What is kept of chats: finished exchanges, once, at their place in their conversation, and durably."""

import asyncio
import json
from typing import Any

import pytest

from proxy.models import Exchange
from proxy.tasks import Tasks
from tests.conftest import Launch
from tests.harness import Gate, Proxy, Upstream, respond, stream
from tests.harness.payloads import DONE, TOOL_CALL, ask, completion, completion_of, event, events, failure
from tests.harness.proxy import CHAT, user_path
from tests.harness.upstream import JSON, Visit, within

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_conversation_is_stored_turn_by_turn(proxy: Proxy, upstream: Upstream, user: str) -> None:
    """History that clients resend is stored once, under one conversation, at its position."""
    upstream.script(*(respond(completion(f"Answer {n}.")) for n in (1, 2, 3)))
    said: list[str] = []
    for number in (1, 2, 3):
        said.append(f"Question number {number}?")
        await proxy.chat(user, ask(*said))
        said.append(f"Answer {number}.")
    memories = await proxy.memories(user)
    assert [memory["text"] for memory in memories] == said
    assert [memory["message_index"] for memory in memories] == list(range(6))
    assert len({memory["conversation_id"] for memory in memories}) == 1
    assert [memory["role"] for memory in memories] == ["user", "assistant"] * 3
    assert {memory["kind"] for memory in memories} == {"turn"}


async def test_two_conversations_are_two(proxy: Proxy, upstream: Upstream, user: str) -> None:
    """Conversations that begin differently have different ids, also when both open with the same greeting."""
    greeting = {"role": "assistant", "content": "Hello, I am your assistant. How can I help?"}
    for text in ("I live in Lisbon.", "I work as a baker."):
        messages = [greeting, {"role": "user", "content": text}]
        await proxy.chat(user, json.dumps({"messages": messages}).encode())
    told = [memory for memory in await proxy.memories(user) if memory["role"] == "user"]
    assert len({memory["conversation_id"] for memory in told}) == 2


async def test_a_conversation_that_opens_with_a_greeting_stays_one(proxy: Proxy, user: str) -> None:
    """The greeting of a chatbot before the first question does not split what follows."""
    messages = [{"role": "assistant", "content": "Hello!"}]
    for text in ("I live in Lisbon.", "I work as a baker."):
        messages.append({"role": "user", "content": text})
        await proxy.chat(user, json.dumps({"messages": messages}).encode())
        messages.append({"role": "assistant", "content": "Noted."})
    memories = await proxy.memories(user)
    assert [memory["message_index"] for memory in memories] == [1, 2, 3, 4]
    assert len({memory["conversation_id"] for memory in memories}) == 1


async def test_the_client_may_name_the_conversation(proxy: Proxy, user: str) -> None:
    """``X-Conversation-Id`` is what memories say they are from; positions count on."""
    await proxy.chat(user, ask("I live in Lisbon."), x_conversation_id="trip/七 #1")
    await proxy.chat(user, ask("I live in Lisbon.", "Noted.", "And I bake."), x_conversation_id="trip/七 #1")
    memories = await proxy.memories(user)
    assert [(m["conversation_id"], m["message_index"]) for m in memories] == [("trip/七 #1", i) for i in range(4)]


async def test_a_retry_is_stored_once(proxy: Proxy, user: str) -> None:
    """The same request with the same answer, sent again in a named conversation, adds nothing."""
    for _ in range(2):
        await proxy.chat(user, ask("I live in Lisbon."), x_conversation_id="c")
    assert await proxy.texts(user) == ["I live in Lisbon.", "Noted."]


async def test_several_new_messages_are_all_stored(proxy: Proxy, user: str) -> None:
    """Messages that a user sent in a row before the answer are each a memory."""
    messages = [{"role": "user", "content": text} for text in ("I live in Lisbon.", "I work as a baker.")]
    await proxy.chat(user, json.dumps({"messages": messages}).encode())
    assert await proxy.texts(user) == ["I live in Lisbon.", "I work as a baker.", "Noted."]


# What must not be stored: a script, and whether the request asks for a stream.
UNFINISHED: dict[str, list[bytes] | bytes] = {
    "no finish reason": completion("Half an ans").replace(b'"stop"', b"null"),
    "no text": completion(None),
    "only white space": completion(" \n "),
    "no choices": b'{"id":"x","choices":[]}',
    "no JSON": b"Service Temporarily Unavailable",
    "an error with status 200": failure("No."),
    "a stream without a reason": events("All of it.", finish_reason=None),
    "a stream of nothing": events(),
}


# What calls a tool: the user has asked, and is not answered yet.
CALLS: dict[str, list[bytes] | bytes] = {
    "tool calls": completion(None, finish_reason="tool_calls", tool_calls=[TOOL_CALL]),
    "tool calls that say stop": completion("Let me see.", tool_calls=[TOOL_CALL]),
    "streamed tool calls": [
        event({"tool_calls": [{"index": 0, **TOOL_CALL}]}),
        event({}, "tool_calls"),
        DONE,
    ],
}


@pytest.mark.parametrize("case", UNFINISHED)
async def test_unfinished_answers_are_not_kept(proxy: Proxy, upstream: Upstream, user: str, case: str) -> None:
    """Neither answer nor question is stored where the answer did not come to a proper end; the client gets it all."""
    answer = UNFINISHED[case]
    upstream.script(stream(answer) if isinstance(answer, list) else respond(answer))
    before = proxy.metric("exchanges_total", outcome="discarded")
    received = await proxy.chat(user, ask("What is the weather like?", stream=isinstance(answer, list)))
    assert (received.status, received.body) == (200, b"".join(answer) if isinstance(answer, list) else answer)
    assert await proxy.texts(user) == []
    assert proxy.metric("exchanges_total", outcome="discarded") == before + 1


FINISHED: dict[str, list[bytes] | bytes] = {
    "cut at max_tokens": completion("A long answer", finish_reason="length"),
    "filtered": completion("A long answer", finish_reason="content_filter"),
    "a stream without [DONE]": events("A long", " answer", done=False),
    "a stream cut at max_tokens": events("A long", " answer", finish_reason="length"),
    "several choices": completion_of([{"role": "assistant", "content": text} for text in ("A long answer", "Other")]),
    "content parts": completion_of([{"role": "assistant", "content": [{"type": "text", "text": "A long answer"}]}]),
    "reasoning beside it": completion("A long answer", reasoning_content="Hmm.", refusal=None, tool_calls=[]),
    "a stream with a trailing comment": [*events("A long answer"), b": bye\n\n"],
}


@pytest.mark.parametrize("case", FINISHED)
async def test_finished_answers_are_kept(proxy: Proxy, upstream: Upstream, user: str, case: str) -> None:
    """Whatever its reason, an answer that has come to its end is stored with its question."""
    answer = FINISHED[case]
    upstream.script(stream(answer) if isinstance(answer, list) else respond(answer))
    await proxy.chat(user, ask("Tell me about it, please.", stream=isinstance(answer, list)))
    assert await proxy.texts(user) == ["Tell me about it, please.", "A long answer"]


async def test_a_tool_loop_is_stored_once(proxy: Proxy, upstream: Upstream, user: str) -> None:
    """Question → tool call → result → answer: stored is the question with the final answer."""
    upstream.script(
        respond(completion(None, finish_reason="tool_calls", tool_calls=[TOOL_CALL])),
        respond(completion("It is sunny.")),
    )
    messages: list[dict[str, Any]] = [{"role": "user", "content": "What is the weather like?"}]
    await proxy.chat(user, json.dumps({"messages": messages}).encode())
    messages.append({"role": "assistant", "content": None, "tool_calls": [TOOL_CALL]})
    messages.append({"role": "tool", "tool_call_id": "call_1", "content": "sunny"})
    await proxy.chat(user, json.dumps({"messages": messages}).encode())
    messages += [{"role": "assistant", "content": "It is sunny."}, {"role": "user", "content": "And tomorrow?"}]
    await proxy.chat(user, json.dumps({"messages": messages}).encode())
    memories = await proxy.memories(user)
    assert [memory["text"] for memory in memories] == [
        "What is the weather like?",
        "It is sunny.",
        "And tomorrow?",
        "Noted.",
    ]
    assert len({memory["conversation_id"] for memory in memories}) == 1


class HeldJournal:
    """Stops the proxy's journal before each exchange until *free* is set."""

    def __init__(self, proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
        self.entered = asyncio.Event()
        self.free = asyncio.Event()
        self._append = proxy.app.journal.append
        monkeypatch.setattr(proxy.app.journal, "append", self._hold)

    async def _hold(self, exchange: Exchange) -> None:
        self.entered.set()
        await self.free.wait()
        await self._append(exchange)


async def test_the_end_waits_for_the_journal(
    launch: Launch, upstream: Upstream, user: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The chunk that ends a stream leaves only when the exchange is durable; all before it leave at once."""
    proxy = await launch()
    journal = HeldJournal(proxy, monkeypatch)
    gate = Gate()
    upstream.script(gate)
    *pieces, end = events("Bon", "jour")
    async with await proxy.open(
        "POST", CHAT, headers={"X-User-Id": user}, body=ask("Say hello in French.", stream=True)
    ) as wire:
        gate.start()
        await wire.head()
        for piece in pieces:
            gate.release(piece)
            assert await wire.piece() == piece
        gate.release(end)
        gate.end()
        reading = Tasks().spawn(wire.piece(), name="read the end")
        await within(journal.entered.wait())
        assert (await proxy.flush())["stored"] == 0  # and time enough for anything that was sent to arrive
        assert not reading.done()
        journal.free.set()
        assert await within(reading) == DONE
        assert await wire.rest() == b""
    assert await proxy.texts(user) == ["Say hello in French.", "Bonjour"]


async def test_the_last_byte_of_a_body_waits_for_the_journal(
    launch: Launch, upstream: Upstream, user: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So does the piece that completes a JSON answer of known length, though the connection is still open."""
    proxy = await launch()
    journal = HeldJournal(proxy, monkeypatch)
    body = completion("Bonjour")

    async def send_in_two(visit: Visit) -> None:
        await visit.read()
        visit.start(200, [JSON, ("content-length", str(len(body)))])
        visit.send(body[:20])
        await visit.go_on.wait()
        visit.send(body[20:])

    upstream.script(send_in_two)
    async with await proxy.open("POST", CHAT, headers={"X-User-Id": user}, body=ask("Say hello in French.")) as wire:
        await wire.head()
        assert await within(wire.reader.readexactly(20)) == body[:20]
        upstream.last.go_on.set()
        reading = Tasks().spawn(wire.reader.readexactly(len(body) - 20), name="read the end")
        await within(journal.entered.wait())
        assert (await proxy.flush())["stored"] == 0
        assert not reading.done()
        journal.free.set()
        assert await within(reading) == body[20:]


@pytest.mark.parametrize("case", CALLS)
async def test_the_question_is_kept_when_a_tool_is_called(
    proxy: Proxy, upstream: Upstream, user: str, case: str
) -> None:
    """The call is no answer, and nobody knows whether one comes; what the user has said is kept in any case."""
    answer = CALLS[case]
    upstream.script(stream(answer) if isinstance(answer, list) else respond(answer))
    received = await proxy.chat(user, ask("What is the weather like?", stream=isinstance(answer, list)))
    assert (received.status, received.body) == (200, b"".join(answer) if isinstance(answer, list) else answer)
    assert await proxy.texts(user) == ["What is the weather like?"]


def talk(*said: str) -> bytes:
    """A conversation by turns, the user first."""
    roles = ("user", "assistant")
    return json.dumps({"messages": [{"role": roles[n % 2], "content": text} for n, text in enumerate(said)]}).encode()


async def test_an_edit_and_a_regenerated_answer(proxy: Proxy, upstream: Upstream, user: str) -> None:
    """What came of the abandoned branch holds no more, and shows as superseded, with what took its place and when."""
    opening, answer = "My dog is called Rex.", "What a nice name for a dog."
    for said, reply in (
        ((opening,), answer),
        ((opening, answer, "I live in Berlin."), "Berlin is lovely."),
        ((opening, answer, "I live in Munich."), "Munich is fine."),
        ((opening, answer, "I live in Munich."), "Munich is finer."),
    ):
        upstream.script(respond(completion(reply)))
        await proxy.chat(user, talk(*said))
    assert await proxy.texts(user) == [opening, answer, "I live in Munich.", "Munich is finer."]
    answered = await proxy.control("GET", f"{user_path(user)}/memories?include=superseded")
    by_text = {memory["text"]: memory for memory in answered.json["memories"]}
    assert by_text["I live in Berlin."]["superseded_by"] == by_text["I live in Munich."]["id"]
    assert by_text["Munich is fine."]["superseded_by"] == by_text["Munich is finer."]["id"]
    assert by_text["I live in Berlin."]["valid_until"]
