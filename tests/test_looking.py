"""The control plane for people who look: finding users, searching memories and why, and looking without changing."""

import json
from typing import Any, Final

import pytest

from proxy.keeper import catalogue
from tests.conftest import Launch
from tests.harness import Answer, Proxy
from tests.harness.payloads import ask
from tests.harness.proxy import user_path
from tests.test_control import collect, conversation

pytestmark = pytest.mark.asyncio(loop_scope="session")

TOKEN: Final = "s3cret"
READER: Final = "only-look"


async def find(proxy: Proxy, part: str, limit: int = 50) -> list[list[str]]:
    """Ids of users with *part* in them, page by page."""
    pages, cursor = [], ""
    while True:
        answer = (await proxy.control("GET", f"/memory/users?search={part}&limit={limit}{cursor}")).json
        pages.append([row["user_id"] for row in answer["users"]])
        if answer["cursor"] is None:
            return pages
        cursor = f"&cursor={answer['cursor']}"


async def test_users_are_found_by_a_part_of_their_id(proxy: Proxy, user: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In whatever case, latest activity first, page by page, also where many others have to be looked through."""
    monkeypatch.setattr(catalogue, "_SEARCHED", 3)
    names = [f"{user}-{name}" for name in ("Ada", "bob", "ADAM", "eve", "nevada", "ad")]
    for number, name in enumerate(names):
        line = conversation(name, "A fact.", started_at=f"2080-01-0{number + 1}T00:00:00Z")
        await proxy.control("POST", "/memory/import", line)
    wanted = [names[4], names[2], names[0]]
    assert await find(proxy, f"{user}-nevada") == [[names[4]]]
    assert await find(proxy, f"{user}-ada") == [[names[2], names[0]]]
    found = await find(proxy, "ADA", 1)
    assert [name for page in found for name in page if name.startswith(user)] == wanted
    assert all(len(page) == 1 for page in found[:-1])
    assert await find(proxy, "nobody-is-called-so") == [[]]
    refused = await proxy.control("GET", f"/memory/users?search={'x' * 257}")
    assert (refused.status, refused.code) == (400, "memory_proxy_bad_search")


async def search(proxy: Proxy, user: str, query: str, **fields: Any) -> Any:
    answer = await proxy.control("POST", f"{user_path(user)}/search", {"query": query, **fields})
    assert answer.status == 200, answer.body
    return answer.json


async def test_search_tells_why(proxy: Proxy, user: str) -> None:
    """The memories that have most to do with a text, best first, each with what its score is made of; and whether
    memory has anything to say at all.
    """
    texts = ["My dog Biscuit is allergic to chicken.", "I work as a gardener.", "The chicken was delicious."]
    await proxy.control("POST", "/memory/import", conversation(user, *texts))
    found = await search(proxy, user, "Is my dog allergic to chicken?")
    best, *_ = found["memories"]
    assert best["text"] == texts[0]
    assert found["relevance"] > 0
    assert {word for word, _ in best["why"]["words"]} == {word["word"] for word in found["words"]}
    assert all(word["weight"] > 0 for word in found["words"])
    assert best["score"] == pytest.approx(best["why"]["lexical"] + best["why"]["vector"], abs=1e-3)
    assert 0.3 < best["why"]["cosine"] <= 1
    assert len((await search(proxy, user, "chicken", limit=1))["memories"]) == 1
    assert (await search(proxy, user, "hi"))["memories"] == []
    recalled = (await proxy.control("POST", f"{user_path(user)}/recall", {"query": "Is my dog allergic?"})).json
    assert any("allergic" in memory["text"] and memory["why"]["words"] for memory in recalled["memories"])


@pytest.mark.parametrize("body", [{}, {"query": 1}, {"query": "x", "limit": 0}, {"query": "x", "limit": 1.5}])
async def test_a_bad_search_is_refused(proxy: Proxy, user: str, body: object) -> None:
    """With a reason, and before anything is looked for."""
    assert (await proxy.control("POST", f"{user_path(user)}/search", body)).status == 400


async def test_a_listing_follows_what_changes(proxy: Proxy, user: str) -> None:
    """Its order is kept between two pages, and is made anew when anything has changed; what no longer holds leaves
    no gap.
    """
    texts = [f"Fact number {number}." for number in range(6)]
    await proxy.control("POST", "/memory/import", conversation(user, *texts))
    path = f"{user_path(user)}/memories"
    assert [memory["text"] for memory in (await proxy.control("GET", path)).json["memories"]] == texts[::-1]
    first = (await proxy.control("GET", f"{path}?limit=2")).json
    gone = (await proxy.control("GET", path)).json["memories"][2]
    await proxy.control("DELETE", f"{path}/{gone['id']}")
    second = (await proxy.control("GET", f"{path}?limit=2&cursor={first['cursor']}")).json
    assert [memory["text"] for memory in second["memories"]] == [texts[2], texts[1]]
    await proxy.control("PATCH", f"{path}/{second['memories'][0]['id']}", {"text": "Corrected."})
    await proxy.chat(user, ask("I'm vegetarian."), x_conversation_id="a")
    await proxy.chat(user, ask("I'm vegan."), x_conversation_id="b")
    await proxy.flush()
    listed = [memory["text"] for page in await collect(proxy, path, "memories", 2) for memory in page]
    assert "Corrected." in listed
    assert "I'm vegan." in listed
    assert "I'm vegetarian." not in listed
    whole = [m["text"] for page in await collect(proxy, f"{path}", "memories", 1000) for m in page]
    assert whole == listed


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


async def change_all(proxy: Proxy, **headers: str) -> list[Answer]:
    """Everything that changes something, tried."""
    path = user_path("ada")
    calls: list[tuple[str, str, object]] = [
        ("POST", f"{path}/memories", {"text": "Written."}),
        ("PATCH", f"{path}/memories/x", {"text": "Changed."}),
        ("DELETE", f"{path}/memories/x", None),
        ("DELETE", path, None),
        ("POST", "/memory/import", conversation("ada", "Imported.")),
        ("POST", "/memory/flush", None),
        ("POST", "/memory/journal/retry", None),
        ("DELETE", "/memory/journal", None),
    ]
    return [await proxy.control(method, target, body, **headers) for method, target, body in calls]


async def look_at_all(proxy: Proxy, **headers: str) -> list[int]:
    """Everything that only looks."""
    path = user_path("ada")
    gets = [
        "/memory/access",
        "/memory/users",
        f"{path}/memories",
        f"{path}/export",
        "/memory/journal",
        "/memory/traces",
    ]
    gets += ["/memory/history", "/memory/stats", "/metrics", "/memory/openapi.json"]
    statuses = [(await proxy.control("GET", target, **headers)).status for target in gets]
    posts = [(f"{path}/recall", {"query": "dog"}), (f"{path}/search", {"query": "dog"})]
    return statuses + [(await proxy.control("POST", target, body, **headers)).status for target, body in posts]


async def test_a_second_token_only_looks(launch: Launch) -> None:
    """Whoever has it sees all and changes nothing; who has none sees nothing."""
    proxy = await launch(admin={"token": TOKEN, "read_token": READER})
    refused = await change_all(proxy, **bearer(READER))
    assert {(answer.status, answer.code) for answer in refused} == {(403, "memory_proxy_read_only")}
    assert set(await look_at_all(proxy, **bearer(READER))) == {200}
    assert {answer.status for answer in await change_all(proxy)} == {401}
    assert (await proxy.control("GET", "/memory/access", **bearer(READER))).json["read_only"] is True
    told = (await proxy.control("GET", "/memory/access", **bearer(TOKEN))).json
    assert (told["read_only"], told["content"], told["tenants"], told["mode"]) == (False, False, [], "full")
    assert (told["budget_tokens"], told["embedding"]) == (1000, "wordllama-l2-supercat-256")
    added = await proxy.control("POST", f"{user_path('ada')}/memories", {"text": "Written."}, **bearer(TOKEN))
    assert added.status == 201
    assert READER not in json.dumps(told)


async def test_nobody_changes_what_is_read_only(launch: Launch) -> None:
    """With admin.read_only, with or without a token."""
    proxy = await launch(admin={"read_only": True})
    assert {answer.code for answer in await change_all(proxy)} == {"memory_proxy_read_only"}
    assert set(await look_at_all(proxy)) == {200}
    assert (await proxy.control("GET", "/memory/access")).json["read_only"] is True
