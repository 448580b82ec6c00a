"""``GET /memory/users/{user}/export``: all of a user's memories as JSON Lines, in constant memory."""

import json
from typing import Any

import msgspec
import pytest

from proxy.edge import control
from proxy.keeper import wire
from tests.harness import Proxy
from tests.harness.proxy import user_path

pytestmark = pytest.mark.asyncio(loop_scope="session")


def talk(user: str, *texts: str, conversation: str = "c") -> bytes:
    """One line of an import."""
    said = {"user_id": user, "conversation_id": conversation, "started_at": "2024-03-01T10:00:00Z"}
    return json.dumps({**said, "messages": [{"role": "user", "content": text} for text in texts]}).encode() + b"\n"


async def export(proxy: Proxy, user: str, query: str = "") -> list[dict[str, Any]]:
    answer = await proxy.control("GET", f"{user_path(user)}/export{query}")
    assert (answer.status, answer.header("content-type")) == (200, "application/x-ndjson")
    return [json.loads(line) for line in answer.body.splitlines()]


async def test_an_export_is_an_import(proxy: Proxy, user: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every memory once, over all pages, in the shape of the lists; erased and imported it is the same again."""
    monkeypatch.setattr(control, "EXPORT_PAGE", 3)
    texts = [f"Fact number {number}." for number in range(10)]
    await proxy.control("POST", "/memory/import", talk(user, *texts))
    exported = await export(proxy, user)
    assert [memory["text"] for memory in exported] == texts
    assert exported == await proxy.memories(user)
    assert (await export(proxy, f"{user}-2")) == []
    await proxy.control("DELETE", user_path(user))
    assert await export(proxy, user) == []


async def test_what_no_longer_holds_is_asked_for(proxy: Proxy, user: str) -> None:
    """As in the list: with ``?include=superseded``."""
    await proxy.control("POST", "/memory/import", talk(user, "I live in Bergen."))
    (memory,) = await export(proxy, user)
    old = {**memory, "id": "f" * 32, "superseded_by": memory["id"], "valid_until": "2024-05-01T00:00:00Z"}
    await proxy.control("POST", "/memory/import", json.dumps(old).encode())
    assert await export(proxy, user) == [memory]
    assert sorted(one["id"] for one in await export(proxy, user, "?include=superseded")) == sorted(
        [memory["id"], "f" * 32]
    )


async def test_what_happens_meanwhile_moves_nothing(proxy: Proxy, user: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of what there was when it began, all but what is erased comes, once, while memories are added between pages."""
    monkeypatch.setattr(control, "EXPORT_PAGE", 2)
    await proxy.control("POST", "/memory/import", talk(user, *(f"Fact number {number}." for number in range(8))))
    victim = (await proxy.memories(user))[5]["id"]
    ask, pages = proxy.app.keeper.call, 0

    async def meddle(request: wire.Request) -> Any:
        nonlocal pages
        answer = await ask(request)
        if isinstance(request, wire.ReadRows):
            pages += 1
            await ask(wire.Import(talk(user, f"Late fact {pages}.", conversation=f"d-{pages}"), 1))
            if pages == 1:
                await ask(wire.Erase(request.scope, [victim]))
        return answer

    monkeypatch.setattr(proxy.app.keeper, "call", meddle)
    texts = [memory["text"] for memory in await export(proxy, user)]
    assert texts == [f"Fact number {number}." for number in range(8) if number != 5]
    assert pages == 4


async def test_a_client_that_does_not_read_is_waited_for(
    proxy: Proxy, user: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No more is fetched from the keeper than what sockets hold: what is under way does not grow with the user."""
    monkeypatch.setattr(control, "EXPORT_PAGE", 1)
    await proxy.control("POST", "/memory/import", talk(user, *(f"Fact number {number}." for number in range(100))))
    ask, fetched = proxy.app.keeper.call, 0

    async def count(request: wire.Request) -> Any:
        nonlocal fetched
        answer = await ask(request)
        if isinstance(request, wire.ReadRows):
            fetched += 1
            answer = [msgspec.structs.replace(memory, text="x" * (1 << 20)) for memory in answer]
        return answer

    monkeypatch.setattr(proxy.app.keeper, "call", count)
    async with await proxy.open("GET", f"{user_path(user)}/export") as connection:
        await connection.head()
        before = -1
        while fetched != before:  # until some round trips to the keeper pass in which nothing more is fetched
            before = fetched
            for _ in range(10):
                await ask(wire.Status())
        assert 0 < fetched < 50
