"""What chats cost and what memory brings, through the real server: metrics, who is held out, and ``/memory/stats``."""

import asyncio
import gzip
import json
from collections.abc import Iterator, Mapping
from itertools import count
from types import SimpleNamespace
from typing import Any

import pytest
from structlog.testing import capture_logs

from proxy.experiment.arms import Arm, Draw
from proxy.experiment.report import MEASURES
from proxy.models import Scope
from tests.conftest import Launch
from tests.harness import Driver, Gate, Proxy, Upstream, respond, stream
from tests.harness.client import Answer
from tests.harness.payloads import DONE, TOOL_CALL, ask, completion, events, failure
from tests.harness.upstream import EVENTS, JSON, Script

pytestmark = pytest.mark.asyncio(loop_scope="session")

FACT = "We met the beagle Biscuit at the lake."
QUESTION = "Where did we meet the beagle Biscuit?"
TITLE = (
    "### Task:\nGenerate a concise title summarizing the chat history.\n### Guidelines:\n"
    "- The title should clearly represent the main theme.\n- Two words are best.\n"
    "<chat_history>\nUSER: Which bread keeps longest?\nASSISTANT: Rye, by far.\n</chat_history>\n"
)
TOKENS = ("prompt_tokens_total", "cached_prompt_tokens_total", "completion_tokens_total")


def usage(prompt: int, cached: int = 0, completed: int = 5) -> dict[str, Any]:
    details = {"cached_tokens": cached}
    return {"prompt_tokens": prompt, "completion_tokens": completed, "prompt_tokens_details": details}


def whole(told: Mapping[str, Any], text: str = "Noted.") -> bytes:
    return json.dumps({**json.loads(completion(text)), "usage": told}).encode()


def streamed(told: Mapping[str, Any]) -> list[bytes]:
    return [*events("Not", "ed.")[:-1], b'data: {"choices":[],"usage":%b}\n\n' % json.dumps(told).encode(), DONE]


def tokens(proxy: Proxy, memory: str) -> tuple[float, ...]:
    """Prompt, cached and completion tokens that were counted."""
    return tuple(proxy.metric(name, memory=memory) for name in TOKENS)


def first_tokens(proxy: Proxy, memory: str) -> float:
    return proxy.metric("upstream_first_token_seconds_count", memory=memory)


async def settle(proxy: Proxy) -> None:
    """Returns when requests are over for the proxy, too, which is a moment after they are for their client."""
    await asyncio.wait_for(proxy.app.dataplane.idle.wait(), 10)


def named(prefix: str, percent: float, *, held_out: bool) -> Iterator[str]:
    """Users of one arm."""
    draw = Draw(percent)
    names = (f"{prefix}-{number}" for number in count())
    return (name for name in names if draw.place(Scope(name)).held_out is held_out)


async def stats(proxy: Proxy) -> Any:
    await settle(proxy)
    answer = await proxy.control("GET", "/memory/stats")
    assert answer.status == 200, answer.body
    return answer.json


ANSWERS: dict[str, Script] = {
    "JSON": respond(whole(usage(100, 64))),
    "a stream": stream(streamed(usage(100, 64))),
    "gzip": respond(gzip.compress(whole(usage(100, 64))), headers=(JSON, ("content-encoding", "gzip"))),
    "a stream in odd pieces": stream([bytes([byte]) for byte in b"".join(streamed(usage(100, 64)))]),
}


@pytest.mark.parametrize("kind", ANSWERS)
async def test_tokens_are_counted(launch: Launch, upstream: Upstream, user: str, kind: str) -> None:
    """As upstream reports them: of a user's chat, which is captured, and of anybody's, which is not."""
    proxy = await launch()
    upstream.script(ANSWERS[kind], ANSWERS[kind])
    for speaker in (user, None):
        assert (await proxy.chat(speaker, ask("Hello"))).status == 200
    await settle(proxy)
    # What is compressed is unpacked for memory alone.
    times = 1 if kind == "gzip" else 2
    assert tokens(proxy, "without") == (100 * times, 64 * times, 5 * times)
    assert tokens(proxy, "with") == (0, 0, 0)
    assert first_tokens(proxy, "without") == 2
    assert proxy.metric("relay_seconds_count") == 2
    assert 0 < proxy.metric("relay_seconds_sum") < 1


async def test_with_and_without_memory(launch: Launch, upstream: Upstream, user: str) -> None:
    """What had a block counts apart, and so does a tool's step that keeps the block of its question."""
    proxy = await launch()
    await proxy.chat(user, ask(FACT))
    await proxy.flush()
    upstream.script(respond(whole(usage(300, 128))), respond(whole(usage(400, 256))), respond(whole(usage(50))))
    assert (await proxy.chat(user, ask(QUESTION))).memory == "injected"
    call = {"role": "assistant", "content": None, "tool_calls": [TOOL_CALL]}
    result = {"role": "tool", "tool_call_id": "call_1", "content": "sunny"}
    step = {"model": "double", "messages": [{"role": "user", "content": QUESTION}, call, result]}
    assert (await proxy.chat(user, json.dumps(step).encode())).memory == "skipped"
    assert b"Biscuit at the lake" in upstream.last.body
    assert (await proxy.chat(user, ask(QUESTION), x_memory_mode="off")).memory == "off"
    await settle(proxy)
    assert tokens(proxy, "with") == (700, 384, 10)
    assert tokens(proxy, "without") == (51, 0, 6)  # that of the first chat is the harness's own
    assert (first_tokens(proxy, "with"), first_tokens(proxy, "without")) == (2, 2)


async def test_what_is_not_counted(launch: Launch, upstream: Upstream) -> None:
    """Other routes, and answers that are errors or that do not say what they took."""
    proxy = await launch()
    upstream.script(
        respond(whole(usage(100))),
        respond(failure("no"), status=400),
        stream(events("Not", "ed.")),
        respond(whole("many")),  # type: ignore[arg-type]
    )
    await proxy.request("POST", "/v1/embeddings", body=b"{}")
    assert (await proxy.chat(None, ask("Hello"))).status == 400
    for _ in range(2):
        assert (await proxy.chat(None, ask("Hello"))).status == 200
    await settle(proxy)
    assert tokens(proxy, "without") == (0, 0, 0)
    assert first_tokens(proxy, "without") == 2
    assert proxy.metric("relay_seconds_count") == 3


async def test_the_first_token_is_waited_for(
    launch: Launch, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not the head of the answer, which may be here long before, and not its end."""
    proxy = await launch()
    clock = [100.0]
    monkeypatch.setattr("proxy.edge.measures.time", SimpleNamespace(perf_counter=lambda: clock[0]))
    gate = Gate()
    upstream.script(gate)
    async with await proxy.open("POST", "/v1/chat/completions", body=ask("Hello")) as client:
        gate.start()
        await client.head()
        clock[0] = 107.0
        for piece in events("Not", "ed.")[:2]:
            gate.release(piece)
            assert await client.piece() == piece
            clock[0] += 1000
        client.leave()
    await settle(proxy)
    assert first_tokens(proxy, "without") == 1
    assert proxy.metric("upstream_first_token_seconds_sum", memory="without") == 7.0


async def test_who_is_held_out_is_served_as_without_memory(launch: Launch, upstream: Upstream, user: str) -> None:
    """Byte for byte, in steps of tools, too; what they say is stored all the same, and others get their memory."""
    proxy = await launch(memory={"holdout_percent": 50})
    without, with_memory = next(named(user, 50, held_out=True)), next(named(user, 50, held_out=False))
    call = {"role": "assistant", "content": None, "tool_calls": [TOOL_CALL]}
    result = {"role": "tool", "tool_call_id": "call_1", "content": "sunny"}
    step = json.dumps({"messages": [{"role": "user", "content": QUESTION}, call, result]}).encode()
    statuses: dict[str, list[str | None]] = {}
    for name in (without, with_memory):
        await proxy.chat(name, ask(FACT))
        assert FACT in await proxy.texts(name)
        asked = [await proxy.chat(name, body) for body in (ask(QUESTION), step)]
        statuses[name] = [answer.memory for answer in asked]
        untouched = [visit.body for visit in upstream.visits[-2:]] == [ask(QUESTION), step]
        assert untouched is (name == without)
        assert asked[0].header("x-memory-tokens") is None if name == without else asked[0].header("x-memory-tokens")
    assert statuses == {without: ["shadow", "skipped"], with_memory: ["injected", "skipped"]}
    # What they would have been given is known.
    told = await stats(proxy)
    assert told["arms"]["holdout"]["block_tokens"]["value"] == told["arms"]["memory"]["block_tokens"]["value"] > 0
    assert proxy.metric("recall_seconds_count") == 4


async def test_who_is_held_out_still_has_commands(launch: Launch, user: str) -> None:
    """They can look at what is known of them, and erase it."""
    proxy = await launch(memory={"holdout_percent": 100, "commands": True})
    await proxy.chat(user, ask(FACT))
    await proxy.flush()
    answer = await proxy.chat(user, ask("/memory search Biscuit"))
    assert "Biscuit" in answer.json["choices"][0]["message"]["content"]
    assert (await stats(proxy))["arms"]["holdout"]["requests"] == 1


async def test_only_turns_of_known_users_count(launch: Launch, upstream: Upstream, user: str) -> None:
    """Nobody's chat, what asks for less memory than there might be, and what is no user's turn, are in neither arm."""
    proxy = await launch(memory={"holdout_percent": 50})
    for name in (next(named(user, 50, held_out=True)), next(named(user, 50, held_out=False))):
        for mode in ("off", "write", "shadow"):
            await proxy.chat(name, ask("Hello there"), x_memory_mode=mode)
        await proxy.chat(name, ask(TITLE))
        await proxy.chat(name, ask("Hello there"), x_memory_mode="read")
    await proxy.chat(None, ask("Hello there"))
    arms = (await stats(proxy))["arms"]
    assert {name: arm["requests"] for name, arm in arms.items()} == {"memory": 1, "holdout": 1}
    assert {name: arm["users"] for name, arm in arms.items()} == {"memory": 1, "holdout": 1}
    assert len(upstream.visits) == 11


async def talk(proxy: Proxy, upstream: Upstream, name: str, *, prompt: int, complaint: str) -> list[Answer]:
    """Three turns of one user."""
    upstream.script(*(respond(whole(usage(prompt + turn, prompt // 2))) for turn in range(3)))
    return [
        await proxy.chat(name, ask(f"I am planning trip {name}.")),
        await proxy.chat(name, ask("Which is it?", "The one to Rome.", complaint)),
        await proxy.chat(name, ask("Which is it?", "The one to Rome.", "Great. When do we leave?")),
    ]


async def test_the_difference_that_memory_makes(launch: Launch, upstream: Upstream) -> None:
    """Of users with it against users without: tokens, cache, time and corrections, with intervals of users."""
    proxy = await launch(memory={"holdout_percent": 50})
    for held_out in (False, True):
        users = named("traveller", 50, held_out=held_out)
        for _ in range(24):
            name = next(users)
            complaint = "No, I meant the other one." if held_out else "And the other one?"
            answers = await talk(proxy, upstream, name, prompt=200 if held_out else 400, complaint=complaint)
            assert all(answer.status == 200 for answer in answers)
    told = await stats(proxy)
    memory, holdout = told["arms"]["memory"], told["arms"]["holdout"]
    assert (told["mode"], told["holdout_percent"]) == ("full", 50)
    for arm, prompt in ((memory, 401), (holdout, 201)):
        assert (arm["requests"], arm["users"]) == (72, 24)
        assert arm["prompt_tokens"] == {"value": prompt, "n": 72}
        assert arm["completion_tokens"] == {"value": 5, "n": 72}
        assert arm["cached_share"]["value"] == pytest.approx(0.5, abs=0.01)
        assert arm["first_token_seconds"]["n"] == 72
        assert 0 < arm["first_token_seconds"]["p50"] < 5
    assert (memory["correction_share"], holdout["correction_share"]) == (
        {"value": 0, "n": 48},
        {"value": 0.5, "n": 48},
    )
    differences = told["differences"]
    assert set(differences) == set(MEASURES)
    assert differences["prompt_tokens"] == pytest.approx({"value": 200, "low": 200, "high": 200})
    complaints = differences["correction_share"]
    assert complaints["value"] == -0.5
    assert -0.8 < complaints["low"] < -0.5 < complaints["high"] < -0.2
    wait = differences["first_token_seconds"]
    assert wait["low"] < wait["value"] < wait["high"]
    # Nothing that anybody has said or is called by.
    assert "traveller" not in json.dumps(told)


async def test_mode_shadow(launch: Launch, upstream: Upstream, user: str) -> None:
    """Everybody is held out: what they would have been given is told, and there is nothing to compare it with."""
    proxy = await launch(memory={"mode": "shadow", "holdout_percent": 10})
    for name in (next(named(user, 50, held_out=True)), next(named(user, 50, held_out=False))):
        await proxy.chat(name, ask(FACT))
        await proxy.flush()
        assert (await proxy.chat(name, ask(QUESTION))).memory == "shadow"
        assert upstream.last.body == ask(QUESTION)
    told = await stats(proxy)
    holdout = told["arms"]["holdout"]
    assert told["arms"]["memory"]["requests"] == 0
    assert (holdout["requests"], holdout["users"]) == (4, 2)
    assert holdout["block_share"] == {"value": 0.5, "n": 4}
    assert holdout["block_tokens"]["value"] > 0
    assert told["differences"] == dict.fromkeys(MEASURES)


async def test_before_the_first_chat(launch: Launch) -> None:
    """All of it is there, and says that nothing is known."""
    told = await stats(await launch())
    assert told["holdout_percent"] == 0
    assert told["arms"]["memory"]["prompt_tokens"] == {"value": None, "n": 0}
    assert told["differences"] == dict.fromkeys(MEASURES)


async def test_stats_are_guarded(launch: Launch) -> None:
    """As the rest of the control plane."""
    proxy = await launch(admin={"token": "a-token-of-some-length"})
    assert (await proxy.control("GET", "/memory/stats")).code == "memory_proxy_bad_admin_token"
    answer = await proxy.control("GET", "/memory/stats", authorization="Bearer a-token-of-some-length")
    assert answer.status == 200
    assert (await proxy.control("POST", "/memory/stats", {})).status == 405


async def test_strangers_learn_nothing(proxy: Proxy) -> None:
    """Without a token, only this machine is answered."""
    driver = Driver(proxy.app, "/memory/stats", method="GET", client="192.0.2.7")
    driver.say(b"")
    assert (await driver.next())["status"] == 403
    await driver.served()


@pytest.mark.parametrize("broken", ["place", "note_turn", "note_answer", "find_usage"])
async def test_a_failure_in_measuring_costs_nobody_an_answer(
    launch: Launch, upstream: Upstream, user: str, broken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is told of, and the chat goes on with its memory."""

    def fail(*_: object) -> None:
        raise ZeroDivisionError

    proxy = await launch()
    await proxy.chat(user, ask(FACT))
    await proxy.flush()
    if broken == "find_usage":
        monkeypatch.setattr("proxy.edge.measures.find_usage", fail)
    else:
        monkeypatch.setattr(Draw if broken == "place" else Arm, broken, fail)
    with capture_logs() as logs:
        answer = await proxy.chat(user, ask(QUESTION))
        nobody = await proxy.chat(None, ask(QUESTION))
        await settle(proxy)
    assert (answer.status, answer.memory, answer.body) == (200, "injected", completion("Noted."))
    assert (nobody.status, nobody.body) == (200, completion("Noted."))
    assert [line["step"] for line in logs if line["event"] == "memory_failed"] == ["measure"]
    assert QUESTION in await proxy.texts(user)
    assert len(upstream.visits) == 3


async def test_an_upstream_that_is_away_is_no_answer(launch: Launch, upstream: Upstream) -> None:
    """The way to it is measured, and nothing else."""

    async def vanish(visit: Any) -> None:
        await visit.read()
        visit.abort()

    proxy = await launch()
    upstream.script(vanish, vanish)
    assert (await proxy.chat(None, ask("Hello"))).status == 502
    await settle(proxy)
    assert proxy.metric("relay_seconds_count") == 1
    assert first_tokens(proxy, "without") == 0


async def test_an_answer_that_breaks_off_reports_nothing(launch: Launch, upstream: Upstream, user: str) -> None:
    """It has begun, which is all that is known of it."""
    proxy = await launch()
    for speaker in (user, None):
        upstream.script(stream(streamed(usage(100))[:-2], headers=(EVENTS,), cut=True))
        async with await proxy.open(
            "POST", "/v1/chat/completions", headers={} if speaker is None else {"X-User-Id": speaker}, body=ask("Hi")
        ) as client:
            await client.cut_off()
    await settle(proxy)
    assert tokens(proxy, "without") == (0, 0, 0)
    assert first_tokens(proxy, "without") == 2
