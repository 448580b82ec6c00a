"""Chat requests: what is added to them, what is said about it, and what is kept of them."""

import asyncio
import json
from typing import Any

import pytest
import pytest_asyncio

from proxy.models import Exchange
from proxy.tasks import Tasks
from tests.conftest import Launch
from tests.harness import Gate, Proxy, Upstream, respond, stream
from tests.harness.payloads import DONE, ask, completion, completion_of, event, events, failure
from tests.harness.proxy import CHAT
from tests.harness.upstream import JSON, Visit, within

pytestmark = pytest.mark.asyncio(loop_scope="session")

FACT = "My dog is called Biscuit, a beagle."
QUESTION = "What is the name of my dog?"
OPENING = "<memory>\n"


@pytest_asyncio.fixture(loop_scope="session")
async def knowing(proxy: Proxy, user: str) -> str:
    """A user of whom one exchange is stored."""
    await tell(proxy, user)
    return user


async def tell(proxy: Proxy, user: str, fact: str = FACT) -> None:
    answer = await proxy.chat(user, ask(fact))
    assert answer.status == 200
    await proxy.flush()


def block_of(upstream: Upstream) -> str:
    """What was injected into the last request, between the frame's two tags."""
    content = upstream.last.json["messages"][0]["content"]
    text = content if isinstance(content, str) else content[-1]["text"]
    return str(text[text.index(OPENING) : text.index("</memory>") + len("</memory>")])


def quoted(block: str) -> bytes:
    """A text as JSON has it between quotes."""
    return json.dumps(block, ensure_ascii=False)[1:-1].encode()


async def test_what_was_said_comes_back(proxy: Proxy, upstream: Upstream, knowing: str) -> None:
    """A new conversation of the same user gets what an earlier one told, with its date and its speaker."""
    answer = await proxy.chat(knowing, ask(QUESTION))
    created = (await proxy.memories(knowing))[0]["created_at"][:10]
    assert f"- [{created}] user: {FACT}\n" in block_of(upstream)
    assert answer.memory == "injected"
    assert answer.header("x-memory-count") == "2"
    assert 0 < int(answer.header("x-memory-tokens") or 0) <= 1000
    assert float(answer.header("x-memory-recall-ms") or -1) > 0


SHAPES = {
    "none": ('{"messages":[', '{"role":"system","content":"%s"},', '{"role":"user","content":"@"}]}'),
    "string": ('{"messages":[{"role":"system","content":"Be kind.', "\\n\\n%s", '"},{"role":"user","content":"@"}]}'),
    "empty string": ('{"messages":[{"role":"system","content":"', "%s", '"},{"role":"user","content":"@"}]}'),
    "developer": (
        '{"messages": [ {"content" : "Br\\u00e9f \\"ok\\" \\\\',
        "\\n\\n%s",
        '" , "role":"developer"} ,{"role":"user","content":"@"}]}',
    ),
    "parts": (
        '{"messages":[{"role":"system","content":[{"type":"text","text":"a"}',
        ',{"type":"text","text":"%s"}',
        ']},{"role":"user","content":"@"}]}',
    ),
    "no parts": (
        '{"messages":[{"role":"developer","content":[',
        '{"type":"text","text":"%s"}',
        ']},{"role":"user","content":"@"}]}',
    ),
    "odd fields": (
        '{ "seed":123456789012345678901234567890, "temperature":1.0,\n\t"x":{"messages":[1,2,1e5]}, "messages": [',
        '{"role":"system","content":"%s"},',
        '\r\n{"role":"user","content":"@","name":"ada"}],"logit_bias":{"50256":-100},"z":[null]}',
    ),
    "later system": (
        '{"messages":[{"role":"user","content":"@"},{"role":"system","content":"Late.',
        "\\n\\n%s",
        '"}],"model":"m"}',
    ),
}


@pytest.mark.parametrize("shape", SHAPES)
async def test_only_the_block_is_added(proxy: Proxy, upstream: Upstream, knowing: str, shape: str) -> None:
    """The block is appended to the instructions, or put before the messages; every other byte is the client's."""
    before, added, after = (part.replace("@", QUESTION) for part in SHAPES[shape])
    sent = (before + after).encode()
    answer = await proxy.chat(knowing, sent)
    assert answer.memory == "injected"
    received = upstream.last.body
    start, end = len(before.encode()), len(received) - len(after.encode())
    assert (received[:start], received[end:]) == (before.encode(), after.encode())
    frame, _, tail = added.partition("%s")
    inserted = received[start:end].decode()
    assert inserted.startswith(frame + "<memory>\\nNotes")
    assert inserted.endswith("</memory>" + tail)
    assert FACT in inserted
    assert upstream.last.every("content-length") == [str(len(received)).encode()]
    assert json.loads(received)


async def test_the_budget_is_kept(launch: Launch, upstream: Upstream, user: str) -> None:
    """No block has more tokens than ``memory.budget_tokens``, whatever there is to say."""
    proxy = await launch(memory={"budget_tokens": 60})
    for number in range(8):
        await proxy.chat(user, ask(f"My dog number {number} is called Biscuit {number} and likes long walks a lot."))
    await proxy.flush()
    answer = await proxy.chat(user, ask("What are my dogs called?"))
    assert answer.memory == "injected"
    assert int(answer.header("x-memory-tokens") or 99) <= 60
    assert 1 <= int(answer.header("x-memory-count") or 0) < 8


async def test_nothing_relevant_is_empty(proxy: Proxy, upstream: Upstream, knowing: str) -> None:
    """A greeting finds nothing, and goes on byte for byte."""
    body = ask("Hi") + b"\n"
    answer = await proxy.chat(knowing, body)
    assert (answer.memory, answer.header("x-memory-count")) == ("empty", None)
    assert upstream.last.body == body


async def test_nobody_is_anonymous(proxy: Proxy, upstream: Upstream) -> None:
    """A request of no user goes on byte for byte, and nothing of it is stored."""
    body = ask(QUESTION) + b" "
    before = proxy.metric("exchanges_total", outcome="journaled")
    assert (await proxy.chat(None, body)).memory == "anonymous"
    assert upstream.last.body == body
    assert proxy.metric("exchanges_total", outcome="journaled") == before


async def test_the_body_may_name_the_user(proxy: Proxy, upstream: Upstream, knowing: str) -> None:
    """``user`` and then ``safety_identifier`` stand in for an absent header, and go upstream all the same."""
    for fields in ({"user": knowing}, {"safety_identifier": knowing}, {"user": knowing, "safety_identifier": "other"}):
        assert (await proxy.chat(None, ask(QUESTION, **fields))).memory == "injected"
        assert {key: upstream.last.json[key] for key in fields} == fields


async def test_the_header_goes_before_the_body(proxy: Proxy, knowing: str) -> None:
    """A user in the header is the user, whatever the body says."""
    assert (await proxy.chat(f"{knowing}-other", ask(QUESTION, user=knowing))).memory == "empty"


async def test_the_fallback_can_be_switched_off(launch: Launch, user: str) -> None:
    """With ``identity.body_fallback: false`` the body names nobody."""
    proxy = await launch(ready=False, identity={"body_fallback": False})
    assert (await proxy.chat(None, ask(QUESTION, user=user))).memory == "anonymous"


@pytest.mark.parametrize("header", ["X-User-Id", "X-Account"])
async def test_our_headers_stay_here(launch: Launch, upstream: Upstream, header: str) -> None:
    """What only the proxy reads does not go upstream; an identity header that is not ours does."""
    proxy = await launch(ready=False, identity={"header": header})
    ours = {header: "ada", "X-Conversation-Id": "c", "X-Memory-Mode": "full", "X-User-Signature": "t=1,v1=00"}
    await proxy.request("POST", CHAT, headers={**ours, "X-Other": "1"}, body=ask(QUESTION))
    await proxy.request("GET", "/v1/models", headers={**ours, "X-Other": "1"})
    for visit in upstream.visits:
        names = {name.decode().lower() for name, _ in visit.headers} - {"host", "content-length"}
        assert names == {"x-other"}


# configured, asked for, and what then happens: recalled and injected, only recalled, stored
MODES = [
    ("full", None, "injected", True),
    ("full", "full", "injected", True),
    ("full", "read", "injected", False),
    ("full", "write", "off", True),
    ("full", "shadow", "shadow", True),
    ("full", " OFF ", "off", False),
    ("read", None, "injected", False),
    ("read", "full", "injected", False),
    ("read", "write", "off", False),
    ("read", "shadow", "shadow", False),
    ("write", None, "off", True),
    ("write", "full", "off", True),
    ("write", "read", "off", False),
    ("shadow", None, "shadow", True),
    ("shadow", "full", "shadow", True),
    ("shadow", "read", "shadow", False),
    ("off", None, "off", False),
    ("off", "full", "off", False),
]


@pytest.mark.parametrize("configured", ["full", "read", "write", "shadow", "off"])
async def test_modes(launch: Launch, upstream: Upstream, user: str, configured: str) -> None:
    """The header can lower what the configuration allows and never raise it."""
    proxy = await launch(memory={"mode": configured})
    line = {"user_id": user, "conversation_id": "c", "started_at": "2024-01-01T00:00:00Z"}
    await proxy.control("POST", "/memory/import", {**line, "messages": [{"role": "user", "content": FACT}]})
    kept = [FACT]
    for number, (_, asked, status, stores) in enumerate(row for row in MODES if row[0] == configured):
        body = ask(f"{QUESTION} ({number})")
        answer = await proxy.chat(user, body, **({"x_memory_mode": asked} if asked else {}))
        assert answer.memory == status, asked
        assert (OPENING in upstream.last.system) == (status == "injected"), asked
        assert status == "injected" or upstream.last.body == body
        kept += [f"{QUESTION} ({number})"] if stores else []
        assert [text for text in await proxy.texts(user) if text != "Noted."] == kept, asked


async def test_a_mode_sent_twice_is_the_lower_one(proxy: Proxy, knowing: str) -> None:
    """Where a client and something before the proxy both set a mode, neither can undo what the other took away."""
    for modes in (["full", "off"], ["off", "full"], ["read", "write"], ["read, write"]):
        headers = [("X-User-Id", knowing), *(("X-Memory-Mode", mode) for mode in modes)]
        answer = await proxy.request("POST", CHAT, headers=headers, body=ask(QUESTION))
        assert answer.memory == "off"
    assert QUESTION not in await proxy.texts(knowing)


async def test_unknown_modes_are_refused(proxy: Proxy, upstream: Upstream, user: str) -> None:
    """A mode that nobody knows is a client's mistake, told before anything goes upstream."""
    answer = await proxy.chat(user, ask(QUESTION), x_memory_mode="readonly")
    assert (answer.status, answer.code) == (400, "memory_proxy_bad_memory_mode")
    assert upstream.visits == []


async def test_off_looks_at_nothing(proxy: Proxy, upstream: Upstream) -> None:
    """With mode off no id is checked and no body is read."""
    answer = await proxy.chat("x" * 300, b"not JSON", x_memory_mode="off")
    assert (answer.status, answer.memory, upstream.last.body) == (200, "off", b"not JSON")


async def test_requests_without_a_user_turn_are_skipped(proxy: Proxy, upstream: Upstream, knowing: str) -> None:
    """A request in which no user speaks gets no block."""
    body = json.dumps({"messages": [{"role": "system", "content": "Greet."}]}).encode()
    assert (await proxy.chat(knowing, body)).memory == "skipped"
    assert upstream.last.body == body


async def test_what_was_injected_is_not_learnt(proxy: Proxy, upstream: Upstream, knowing: str) -> None:
    """Memories are the client's words and the reply; the block is neither."""
    upstream.script(respond(completion("Your dog is Biscuit.")))
    assert (await proxy.chat(knowing, ask(QUESTION))).memory == "injected"
    assert await proxy.texts(knowing) == [FACT, "Noted.", QUESTION, "Your dog is Biscuit."]


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


TOOL_CALL = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}

# What must not be stored: a script, and whether the request asks for a stream.
UNFINISHED: dict[str, list[bytes] | bytes] = {
    "tool calls": completion(None, finish_reason="tool_calls", tool_calls=[TOOL_CALL]),
    "tool calls that say stop": completion("Let me see.", tool_calls=[TOOL_CALL]),
    "no finish reason": completion("Half an ans").replace(b'"stop"', b"null"),
    "no text": completion(None),
    "only white space": completion(" \n "),
    "no choices": b'{"id":"x","choices":[]}',
    "no JSON": b"Service Temporarily Unavailable",
    "an error with status 200": failure("No."),
    "streamed tool calls": [
        event({"tool_calls": [{"index": 0, **TOOL_CALL}]}),
        event({}, "tool_calls"),
        DONE,
    ],
    "a stream without an end": events("All of it.", done=False),
    "a stream without a reason": events("All of it.", finish_reason=None),
    "a stream of nothing": events(),
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


async def test_each_step_of_a_tool_loop_gets_the_block(proxy: Proxy, upstream: Upstream, knowing: str) -> None:
    """The model sees the same block with the tool's result as with the question, so that its prefix stays cached."""
    question = {"role": "user", "content": QUESTION}
    call = {"role": "assistant", "content": None, "tool_calls": [TOOL_CALL]}
    result = {"role": "tool", "tool_call_id": "call_1", "content": "Biscuit"}
    blocks = []
    for messages in ([question], [question, call, result]):
        upstream.script(respond(completion(None, finish_reason="tool_calls", tool_calls=[TOOL_CALL])))
        await proxy.chat(knowing, json.dumps({"messages": messages}).encode())
        blocks.append(block_of(upstream))
    assert blocks[0] == blocks[1]


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


async def test_a_restart_remembers(launch: Launch, upstream: Upstream, user: str) -> None:
    """The first request after a restart already gets what was said before it."""
    proxy = await launch()
    await proxy.chat(user, ask(FACT))
    await proxy.stop()
    again = await launch()
    answer = await again.chat(user, ask(QUESTION))
    assert answer.memory == "injected"
    assert FACT in block_of(upstream)


async def test_a_user_is_loaded_once(proxy: Proxy, user: str) -> None:
    """What is stored while a user is warm is recalled with the next request, without loading anything anew."""
    for number in range(3):
        await tell(proxy, user, f"My parrot number {number} is called Coco {number}.")
        answer = await proxy.chat(user, ask("What are my parrots called?"), x_memory_mode="read")
        assert int(answer.header("x-memory-count") or 0) >= number + 1
