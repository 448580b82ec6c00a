"""The last chats, for people who look: listed, and told of as they end."""

import json
from typing import Any

import pytest

from proxy import config
from proxy.edge import traces
from proxy.edge.traces import Traces
from proxy.models import Scope
from proxy.observe.failopen import FailOpen
from proxy.observe.metrics import Metrics
from proxy.observe.served import Served
from proxy.observe.traces import Trace
from tests.conftest import Launch
from tests.harness import Proxy, Upstream
from tests.harness.client import Wire
from tests.harness.payloads import ask, completion, events
from tests.harness.proxy import user_path
from tests.harness.upstream import respond, stream

pytestmark = pytest.mark.asyncio(loop_scope="session")

FACT = "My dog is called Biscuit, a beagle."
QUESTION = "What is the name of my dog?"
KEY = "sk-proj-0123456789abcdefghijABCDEFGHIJ0123456789abcdefghij"


async def listed(proxy: Proxy, user: str) -> list[dict[str, Any]]:
    """Traces of this user, newest first."""
    found = (await proxy.control("GET", "/memory/traces?limit=1000")).json["traces"]
    return [trace for trace in found if trace["user_id"] == user]


async def read_event(wire: Wire) -> dict[str, Any]:
    """The next event of a stream; comments are passed over."""
    while (piece := await wire.piece()).startswith(b":"):
        pass
    fields = dict(line.split(": ", 1) for line in piece.decode().strip().splitlines())
    assert fields["event"] == "trace"
    data: dict[str, Any] = json.loads(fields["data"])
    assert fields["id"] == str(data["number"])
    return data


async def test_a_chat_is_told_of(proxy: Proxy, user: str) -> None:
    """Who, what came of it, what was recalled with scores, how long it took and what it cost; not a word of anybody."""
    await proxy.chat(user, ask(FACT), x_conversation_id="first")
    (memory, _) = await proxy.memories(user)
    answer = await proxy.chat(user, ask(QUESTION), x_conversation_id="second", x_request_id="look-for-me")
    told, before = await listed(proxy, user)
    assert told["number"] > before["number"]
    assert {name: told[name] for name in ("id", "user_id", "tenant", "conversation_id", "model", "stream", "code")} == {
        "id": "look-for-me",
        "user_id": user,
        "tenant": "",
        "conversation_id": "second",
        "model": "double",
        "stream": False,
        "code": "200",
    }
    assert (told["memory"], str(told["count"]), str(told["tokens"])) == (
        answer.memory,
        answer.header("x-memory-count"),
        answer.header("x-memory-tokens"),
    )
    assert memory["id"] in [recalled["id"] for recalled in told["memories"]]
    assert all(recalled["score"] >= 0 for recalled in told["memories"])
    assert 0 < told["recall_ms"] < told["first_token_ms"] <= told["total_ms"]
    assert told["usage"] == {"prompt": 1, "completion": 1, "cached": None}
    assert told.keys().isdisjoint({"block", "question", "answer"})
    assert "Biscuit" not in json.dumps(told)
    assert before["memory"] == "empty"


async def test_streams_failures_and_strangers_are_told_of(proxy: Proxy, upstream: Upstream, user: str) -> None:
    """Whatever became of a chat; other routes are no chats."""
    upstream.script(stream(events("Hello")), respond(b"{}", status=500))
    await proxy.chat(user, ask("Good morning, how are you?", stream=True))
    await proxy.chat(user, ask("Are you there?"))
    await proxy.chat(user, b"no JSON")
    await proxy.request("GET", "/v1/models", headers={"X-User-Id": user})
    await proxy.chat("", ask("Who am I?"), x_request_id=f"{user}-nobody")
    unread, failed, streamed = await listed(proxy, user)
    assert (streamed["stream"], streamed["code"], streamed["memory"]) == (True, "200", "empty")
    assert (failed["code"], failed["first_token_ms"], failed["usage"]) == ("500", None, None)
    assert (unread["memory"], unread["model"]) == ("skipped", None)
    everybody = (await proxy.control("GET", "/memory/traces?limit=1000")).json["traces"]
    (refused,) = (trace for trace in everybody if trace["id"] == f"{user}-nobody")
    assert (refused["code"], refused["error"], refused["user_id"]) == ("400", "memory_proxy_bad_user_id", None)


async def test_pages_of_traces(proxy: Proxy, user: str) -> None:
    """Page by page each is seen once, and what comes meanwhile moves none."""
    for number in range(5):
        await proxy.chat(user, ask("Hello there, again."), x_conversation_id=f"c{number}")
    first = (await proxy.control("GET", "/memory/traces?limit=2")).json
    await proxy.chat(user, ask("And again."), x_conversation_id="later")
    second = (await proxy.control("GET", f"/memory/traces?limit=2&cursor={first['cursor']}")).json
    seen = [trace["conversation_id"] for trace in first["traces"] + second["traces"]]
    assert seen == ["c4", "c3", "c2", "c1"]
    for bad in ("x", "-1", "9" * 19, "%D9%A1"):
        answer = await proxy.control("GET", f"/memory/traces?cursor={bad}")
        assert (answer.status, answer.code) == (400, "memory_proxy_bad_cursor")


async def test_a_stream_tells_as_chats_end(proxy: Proxy, user: str) -> None:
    """At once that it has begun, then each chat; with Last-Event-ID what was missed comes first, once."""
    async with await proxy.open("GET", "/memory/traces/stream") as wire:
        head = await wire.head()
        assert (head.status, head.header("content-type")) == (200, "text/event-stream; charset=utf-8")
        assert head.header("x-accel-buffering") == "no"
        assert await wire.piece() == b":\n\n"
        await proxy.chat(user, ask("Hello there."), x_conversation_id="one")
        first = await read_event(wire)
        assert (first["user_id"], first["conversation_id"]) == (user, "one")
    await proxy.chat(user, ask("Hello again."), x_conversation_id="two")
    headers = {"Last-Event-ID": str(first["number"])}
    async with await proxy.open("GET", "/memory/traces/stream", headers=headers) as wire:
        await wire.head()
        assert (await read_event(wire))["conversation_id"] == "two"
        await proxy.chat(user, ask("And again."), x_conversation_id="three")
        assert (await read_event(wire))["conversation_id"] == "three"
    bad = await proxy.control("GET", "/memory/traces/stream", last_event_id="yesterday")
    assert (bad.status, bad.code) == (400, "memory_proxy_bad_last_event_id")


async def test_words_are_told_where_they_may_be(launch: Launch, upstream: Upstream, user: str) -> None:
    """With traces.content: the block as upstream got it, the question and the answer, these without secrets. Who is
    erased leaves nothing behind, and of who has erased one memory no words are left.
    """
    proxy = await launch(traces={"content": True})
    await proxy.chat(user, ask(FACT), x_conversation_id="first")
    (memory, _) = await proxy.memories(user)
    upstream.script(respond(completion(f"Biscuit. Your key is {KEY}.")))
    await proxy.chat(user, ask(f"{QUESTION} My key is {KEY}."), x_conversation_id="second")
    told = (await listed(proxy, user))[0]
    sent = json.loads(upstream.last.body)["messages"][0]["content"]
    assert told["block"] in sent
    assert FACT in told["block"]
    assert told["question"].startswith(QUESTION)
    assert told["answer"].startswith("Biscuit.")
    assert KEY not in json.dumps(told)
    await proxy.control("DELETE", f"{user_path(user)}/memories/{memory['id']}")
    assert [trace.keys() & {"block", "question", "answer"} for trace in await listed(proxy, user)] == [set(), set()]
    await proxy.control("DELETE", user_path(user))
    assert await listed(proxy, user) == []


async def test_a_stop_ends_streams(launch: Launch) -> None:
    """A page that is open does not hold up a graceful stop, and sees a proper end."""
    proxy = await launch(server={"shutdown_grace_s": 30})
    async with await proxy.open("GET", "/memory/traces/stream") as wire:
        await wire.head()
        await wire.piece()
        proxy.server.drain()
        assert await wire.rest() == b""
    await proxy.stop()


async def test_nothing_is_kept_where_nothing_is_to_be(launch: Launch, user: str) -> None:
    """With traces.keep 0 there is nothing to look at; with 2 the last two."""
    proxy = await launch(traces={"keep": 0}, ready=False)
    await proxy.chat(user, ask("Hello there."))
    assert (await proxy.control("GET", "/memory/traces")).json == {"traces": [], "cursor": None}


def make_traces(*, keep: int = 10, content: bool = False) -> Traces:
    settings = config.load(flags={"traces": {"keep": keep, "content": content}}, environ={})
    return Traces(settings, lambda text: text, FailOpen(Metrics()))


def end(kept: Traces, user: str = "ada", *, question: str = "") -> None:
    served = Served("POST", [(b"authorization", b"Bearer sk-1")])
    served.scope, served.question = Scope(user), question
    kept.note(served, "chat", "200")


async def test_only_the_last_are_kept() -> None:
    """And nothing of a request's head, which has keys in it."""
    kept = make_traces(keep=2)
    for user in ("ada", "bob", "cyd"):
        end(kept, user)
    page, cursor = kept.page(10, None)
    assert ([trace.user_id for trace in page], cursor) == (["cyd", "bob"], None)
    served = Served("POST", [(b"authorization", b"Bearer sk-1"), (b"x-request-id", b"known")])
    kept.note(served, "chat", "200")
    assert (served.headers, kept.page(1, None)[0][0].id) == ([], "known")


async def test_traces_of_another_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each process hears of the others' chats: they are listed in the order in which they ended, and forgotten."""
    ours, theirs = make_traces(content=True), make_traces(content=True)
    passed: list[Trace] = []
    theirs.on_trace = passed.append
    end(theirs, "ada", question="Where?")
    end(ours, "bob", question="When?")
    ours.take(passed)
    assert [trace.user_id for trace in ours.page(10, None)[0]] == ["bob", "ada"]
    ours.forget(Scope("ada").key, False)
    assert ours.page(1, None)[0][0].question == "When?"
    assert ours.page(10, None)[0][1] == passed[0].without_words()
    ours.forget(Scope("ada").key, True)
    assert [trace.user_id for trace in ours.page(10, None)[0]] == ["bob"]
    ours.forget(None, False)
    assert ours.page(10, None)[0] == [trace.without_words() for trace in ours.page(10, None)[0]]


async def test_who_does_not_read_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is told waits for a while, not for ever; and not everybody may wait."""
    monkeypatch.setattr(traces, "MOST_UNREAD", 2)
    monkeypatch.setattr(traces, "MOST_FOLLOWERS", 1)
    kept = make_traces()
    slow = kept.follow(None)
    with pytest.raises(Exception, match="Too many streams"):
        kept.follow(None)
    for _ in range(3):
        end(kept)
    assert [trace async for trace in slow] == []
    again = kept.follow(0)  # there is room again, and what was missed comes first
    first = await anext(again)
    assert first is not None
    assert first.user_id == "ada"


async def test_silence_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    """A comment every while, so that nobody takes the stream for dead."""
    monkeypatch.setattr(traces, "HEARTBEAT_S", 0.001)
    assert await anext(make_traces().follow(None)) is None
    assert traces.render_event(None) == b":\n\n"
