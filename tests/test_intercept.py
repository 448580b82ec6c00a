"""Chat requests: what is added to them, what is said about it, and what is kept of them."""

import json

import pytest
import pytest_asyncio
from blockbuster import blockbuster_ctx

from tests.conftest import Launch
from tests.harness import Proxy, Upstream, respond, stream
from tests.harness.payloads import TOOL_CALL, ask, completion, events
from tests.harness.proxy import CHAT, user_path

pytestmark = pytest.mark.asyncio(loop_scope="session")

# Nothing that is true for good, which would be in every block.
FACT = "We met the beagle Biscuit at the lake."
QUESTION = "Where did we meet the beagle Biscuit?"
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
    assert f"- {created}: {FACT}\n- {created}, assistant: Noted.\n" in block_of(upstream)
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
    assert inserted.startswith(frame + "<memory>\\nEarlier conv")
    assert inserted.endswith("</memory>" + tail)
    assert FACT in inserted
    assert upstream.last.every("content-length") == [str(len(received)).encode()]
    assert json.loads(received)


async def test_a_query_string_changes_nothing(proxy: Proxy, upstream: Upstream, knowing: str) -> None:
    """Some providers want a version there: the request is a chat all the same, and the query goes upstream."""
    target = f"{CHAT}?api-version=2024-10-21&x=%7e"
    answer = await proxy.request("POST", target, headers={"X-User-Id": knowing}, body=ask(QUESTION))
    assert answer.memory == "injected"
    assert upstream.last.target == target.encode()


async def test_the_budget_is_kept(launch: Launch, upstream: Upstream, user: str) -> None:
    """No block has more tokens than ``memory.budget_tokens``, whatever there is to say."""
    proxy = await launch(memory={"budget_tokens": 100})
    for number in range(8):
        await proxy.chat(user, ask(f"My dog number {number} is called Biscuit {number} and likes long walks a lot."))
    await proxy.flush()
    answer = await proxy.chat(user, ask("What are my dogs called?"))
    assert answer.memory == "injected"
    assert int(answer.header("x-memory-tokens") or 999) <= 100
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
        assert names == {"x-other", "x-memory-proxy-hop"}


async def test_space_around_a_user_id_is_no_part_of_it(proxy: Proxy, upstream: Upstream, user: str) -> None:
    """As of any header's value, so that one user does not become two."""
    await proxy.request("POST", CHAT, headers=[("X-User-Id", f"  {user} \t ")], body=ask("I keep bees in the garden."))
    assert await proxy.texts(user) == ["I keep bees in the garden.", "Noted."]


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


async def test_each_step_of_a_tool_loop_gets_the_block(proxy: Proxy, upstream: Upstream, knowing: str) -> None:
    """The model sees the same block with the tool's result as with the question, so that its prefix stays cached."""
    question = {"role": "user", "content": QUESTION}
    call = {"role": "assistant", "content": None, "tool_calls": [TOOL_CALL]}
    result = {"role": "tool", "tool_call_id": "call_1", "content": "Biscuit"}
    blocks, statuses = [], []
    for messages in ([question], [question, call, result]):
        upstream.script(respond(completion(None, finish_reason="tool_calls", tool_calls=[TOOL_CALL])))
        answer = await proxy.chat(knowing, json.dumps({"messages": messages}).encode())
        blocks.append(block_of(upstream))
        statuses.append((answer.memory, answer.header("x-memory-count") is None))
    assert blocks[0] == blocks[1]
    assert statuses == [("injected", False), ("skipped", True)]


async def test_a_step_of_a_loop_that_nobody_began_here(proxy: Proxy, upstream: Upstream, knowing: str) -> None:
    """Its question got no block, and gets none now; nothing of it is kept."""
    call = {"role": "assistant", "content": None, "tool_calls": [TOOL_CALL]}
    result = {"role": "tool", "tool_call_id": "call_1", "content": "Biscuit"}
    body = json.dumps({"messages": [{"role": "user", "content": QUESTION}, call, result]}).encode()
    before = await proxy.texts(knowing)
    assert (await proxy.chat(knowing, body)).memory == "skipped"
    assert upstream.last.body == body
    assert await proxy.texts(knowing) == before


TITLE = """### Task:
Generate a concise, 3-5 word title with an emoji summarizing the chat history.
### Guidelines:
- The title should clearly represent the main theme of the talk.
### Output:
JSON, a title.
### Chat History:
<chat_history>
USER: Where did we meet the beagle Biscuit?
ASSISTANT: At the lake.
</chat_history>"""


@pytest.mark.parametrize(
    ("rule", "body"),
    [
        ("title", ask(TITLE)),
        ("health_check", ask("ping", max_tokens=1)),
        ("no_words", json.dumps({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}).encode()),
    ],
)
async def test_what_is_no_users_turn_is_skipped(
    proxy: Proxy, upstream: Upstream, knowing: str, rule: str, body: bytes
) -> None:
    """Jobs of chat UIs and the like: relayed byte for byte, nothing recalled, nothing kept, and counted."""
    before, counted = await proxy.texts(knowing), proxy.metric("skipped_total", rule=rule)
    answer = await proxy.chat(knowing, body)
    assert (answer.status, answer.memory) == (200, "skipped")
    assert upstream.last.body == body
    assert await proxy.texts(knowing) == before
    assert proxy.metric("skipped_total", rule=rule) == counted + 1


async def test_an_operators_own_rule(launch: Launch, upstream: Upstream, user: str) -> None:
    """From the configuration, with the built-in ones switched off."""
    rules = [{"name": "sidebar", "where": "system", "pattern": "for the sidebar$"}]
    proxy = await launch(classification={"builtin": False, "rules": rules})
    system = {"role": "system", "content": "Sum this up for the sidebar"}
    body = json.dumps({"messages": [system, {"role": "user", "content": FACT}]}).encode()
    assert (await proxy.chat(user, body)).memory == "skipped"
    assert (await proxy.chat(user, ask(TITLE))).memory == "empty"
    assert FACT not in await proxy.texts(user)


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


async def test_the_event_loop_is_never_blocked(proxy: Proxy, upstream: Upstream, knowing: str) -> None:
    """Nothing of the edge waits for a file, a socket or a lock while others wait for it."""
    with blockbuster_ctx("proxy"):
        upstream.script(stream(events("Bis", "cuit")))
        assert (await proxy.chat(knowing, ask(QUESTION, stream=True))).memory == "injected"
        assert (await proxy.chat(f"{knowing}-new", ask(FACT))).memory == "empty"
        assert (await proxy.request("GET", "/v1/models")).status == 200
        assert len(await proxy.memories(knowing)) == 4
        assert (await proxy.control("DELETE", user_path(knowing))).status == 200
        assert (await proxy.control("GET", "/readyz")).status == 200
