"""Forgotten for real: nothing that was erased is found in any file, recalled, or taught again by history."""

import json
from pathlib import Path

import pytest

from proxy.keeper import wire
from tests.conftest import Launch
from tests.harness import Proxy, Upstream
from tests.harness.payloads import ask, completion, events
from tests.harness.proxy import CHAT, user_path
from tests.harness.upstream import Gate, respond, within
from tests.secrets import plant_secrets

pytestmark = pytest.mark.asyncio(loop_scope="session")

DOG = "My dog is called Rexonius and is afraid of thunder."
ROLE = ("user", "assistant")


def find(data_dir: Path, text: str) -> list[str]:
    """The files in which *text* is to be read."""
    forms = {text.encode(), text.encode("utf-16-le"), json.dumps(text).strip('"').encode()}
    files = (path for path in data_dir.rglob("*") if path.is_file())
    return [path.name for path in files if any(form in path.read_bytes() for form in forms)]


def talk(*said: str) -> bytes:
    messages = [{"role": ROLE[number % 2], "content": text} for number, text in enumerate(said)]
    return json.dumps({"model": "m", "messages": messages}).encode()


async def erase(proxy: Proxy, user: str, memory_id: str | None = None) -> wire.Receipt:
    path = user_path(user) if memory_id is None else f"{user_path(user)}/memories/{memory_id}"
    answer = await proxy.control("DELETE", path)
    assert answer.status == 200, answer.body
    return wire.Receipt(**answer.json)


async def test_an_erased_user_is_in_no_file(launch: Launch, tmp_path: Path) -> None:
    """Neither what was said nor the user's id, while the proxy runs and after it has ended."""
    proxy = await launch()
    user = "rex.owner@example.com"
    for said in (DOG, "The dog eats chicken on Sundays.", f"Once more: {DOG}"):
        await proxy.chat(user, ask(said))
    assert len(await proxy.texts(user)) >= 4
    receipt = await erase(proxy, user)
    assert receipt.memories >= 4
    assert len(receipt.digest) == 64
    assert await proxy.texts(user) == []
    for _ in range(2):
        assert [find(tmp_path / "data", text) for text in ("Rexonius", "on Sundays", user)] == [[], [], []]
        await proxy.stop()


async def test_an_erased_memory_is_in_no_file(launch: Launch, tmp_path: Path) -> None:
    """Nor are the copies of it that it had taken the place of; the others stay."""
    proxy = await launch()
    await proxy.chat("ada", ask(DOG))
    await proxy.chat("ada", ask("We live by the harbour now."))
    await proxy.chat("ada", ask(f"Oh well, {DOG}"))
    (memory,) = [memory for memory in await proxy.memories("ada") if "Rexonius" in memory["text"]]
    assert (await erase(proxy, "ada", memory["id"])).memories == 2
    assert find(tmp_path / "data", "Rexonius") == []
    assert "We live by the harbour now." in await proxy.texts("ada")


async def test_the_next_request_starts_clean(proxy: Proxy, upstream: Upstream, user: str) -> None:
    """The conversation that goes on is given nothing of what it had, and neither is a new one."""
    await proxy.chat(user, ask(DOG))
    await proxy.flush()
    assert (await proxy.chat(user, ask("What is my dog afraid of?"), x_memory_mode="read")).memory == "injected"
    await erase(proxy, user)
    answer = await proxy.chat(user, ask("What is my dog afraid of?"), x_memory_mode="read")
    assert (answer.memory, b"Rexonius" in upstream.last.body) == ("empty", False)


async def test_history_that_is_sent_again_teaches_nothing(proxy: Proxy, user: str) -> None:
    """With the answers in between, and without them; what is said anew is kept."""
    await proxy.chat(user, ask(DOG))
    await proxy.flush()
    await erase(proxy, user)
    await proxy.chat(user, talk(DOG, "Noted.", "What is the capital of Portugal?"))
    messages = [{"role": "user", "content": text} for text in (DOG, "And which river is there?")]
    await proxy.chat(user, json.dumps({"messages": messages}).encode())
    texts = await proxy.texts(user)
    assert DOG not in texts
    assert {"What is the capital of Portugal?", "And which river is there?"} <= set(texts)


async def test_it_can_be_said_again(proxy: Proxy, user: str) -> None:
    """By the user, in a conversation of its own."""
    await proxy.chat(user, ask(DOG))
    await proxy.flush()
    await erase(proxy, user)
    await proxy.chat(user, ask(DOG))
    assert DOG in await proxy.texts(user)


async def test_an_answer_under_way_comes_too_late(proxy: Proxy, upstream: Upstream, user: str) -> None:
    """Asked before the erasure and answered after it: nothing of it is kept."""
    gate = Gate()
    upstream.script(gate)
    headers = {"X-User-Id": user}
    async with await proxy.open("POST", CHAT, headers=headers, body=ask(DOG, stream=True)) as waiting:
        await within(gate.asked())
        await erase(proxy, user)
        gate.start()
        gate.release(*events("Noted."))
        gate.end()
        await waiting.answer()
    assert await proxy.texts(user) == []


async def test_no_planted_secret_reaches_any_file(launch: Launch, upstream: Upstream, tmp_path: Path) -> None:
    """Of all kinds, said by the user and repeated by the assistant without a word on what it is; nor is one remembered,
    while the upstream gets what was sent.
    """
    proxy = await launch()
    planted = list(plant_secrets())
    for number, plant in enumerate(planted[:: max(1, len(planted) // 120)]):
        upstream.script(respond(completion(f"You wrote: {plant.secret}")))
        await proxy.chat(f"user-{number % 5}", ask(f"{number}: {plant.text}"))
        assert upstream.last.json["messages"][-1]["content"].endswith(plant.text)
    await proxy.flush()
    secrets = {plant.secret for plant in planted}
    assert {secret: found for secret in secrets if (found := find(tmp_path / "data", secret))} == {}
    remembered = [text for number in range(5) for text in await proxy.texts(f"user-{number}")]
    assert len(remembered) > 100
    assert [(text, secret) for text in remembered for secret in secrets if secret in text] == []


async def test_a_kept_secret_is_masked_for_good(proxy: Proxy, user: str) -> None:
    """What is stored says what was there, and nothing of it."""
    token = "ghp_" + "A1b2C3d4" * 4 + "E5f6"
    await proxy.chat(user, ask(f"Remember that my deploy token is {token} for now."))
    assert await proxy.texts(user) == ["Remember that my deploy token is [secret: github_token] for now.", "Noted."]
