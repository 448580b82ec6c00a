"""Two applications on one proxy: people of equal ids, who never meet."""

import json
from typing import Any

import pytest

from proxy.models import Exchange, Message, now
from tests.conftest import Launch
from tests.harness import Proxy
from tests.harness.proxy import user_path

pytestmark = pytest.mark.asyncio(loop_scope="session")

CLIENTS = [{"name": "shop", "key_sha256": "a" * 64}, {"name": "desk", "key_sha256": "b" * 64, "tenant": "support"}]
TEXTS = {"shop": "My dog is called Biscuit.", "support": "My cat is called Olive."}
QUESTION = {"query": "What are my dog and my cat called?"}
ADA = user_path("ada")


def line(text: str, conversation: str = "c") -> bytes:
    said = {"user_id": "ada", "conversation_id": conversation, "started_at": "2024-03-01T10:00:00Z"}
    return json.dumps({**said, "messages": [{"role": "user", "content": text}]}).encode() + b"\n"


async def ask(proxy: Proxy, method: str, path: str, tenant: str | None, body: object = None) -> Any:
    """A request for one tenant, which succeeds."""
    joint = "&" if "?" in path else "?"
    target = path if tenant is None else f"{path}{joint}tenant={tenant}"
    answer = await proxy.control(method, target, body)
    assert answer.status in (200, 201), answer.body
    return answer


async def texts(proxy: Proxy, tenant: str | None) -> list[str]:
    listed = (await ask(proxy, "GET", f"{ADA}/memories", tenant)).json
    return [memory["text"] for memory in listed["memories"]]


async def fill(launch: Launch) -> Proxy:
    """A proxy where each tenant's ada has said one thing."""
    proxy = await launch(clients=CLIENTS)
    for tenant, text in TEXTS.items():
        await ask(proxy, "POST", "/memory/import", tenant, line(text))
    return proxy


async def test_equal_ids_are_different_people(launch: Launch) -> None:
    """In lists, in what is recalled, and in what is exported: each tenant has its own ada, whose turns have the same
    conversation, place and date.
    """
    proxy = await fill(launch)
    for tenant, text in TEXTS.items():
        assert await texts(proxy, tenant) == [text]
        found = (await ask(proxy, "POST", f"{ADA}/recall", tenant, QUESTION)).json
        assert [memory["text"] for memory in found["memories"]] == [text]
        exported = (await ask(proxy, "GET", f"{ADA}/export", tenant)).body.splitlines()
        assert [json.loads(one)["text"] for one in exported] == [text]
        assert "tenant" not in json.loads(exported[0])
    assert await texts(proxy, "") == await texts(proxy, "other") == []


async def test_users_are_listed_with_their_tenant(launch: Launch) -> None:
    """All tenants' where none is named, page by page; else that one's only."""
    proxy = await fill(launch)
    await ask(proxy, "POST", "/memory/import", "", line("I was here before there were clients."))
    seen, cursor = [], ""
    while True:
        page = (await ask(proxy, "GET", f"/memory/users?limit=1&cursor={cursor}", None)).json
        seen += [(row["tenant"], row["user_id"], row["memories"]) for row in page["users"]]
        cursor = page["cursor"]
        if cursor is None:
            break
    assert sorted(seen) == [("", "ada", 1), ("shop", "ada", 1), ("support", "ada", 1)]
    for tenant in ("", "shop", "support"):
        (row,) = (await ask(proxy, "GET", "/memory/users", tenant)).json["users"]
        assert (row["tenant"], row["user_id"]) == (tenant, "ada")
    assert (await ask(proxy, "GET", "/memory/users", "other")).json == {"users": [], "cursor": None}


async def test_erasing_one_leaves_the_other(launch: Launch) -> None:
    """The list, recall and the store of the other tenant's ada are as they were, and the receipt says whose it is."""
    proxy = await fill(launch)
    # Both are warm.
    for tenant in TEXTS:
        await ask(proxy, "POST", f"{ADA}/recall", tenant, QUESTION)
    receipt = (await ask(proxy, "DELETE", ADA, "shop")).json
    assert (receipt["user_id"], receipt["tenant"], receipt["memories"]) == ("ada", "shop", 1)
    assert (await texts(proxy, "shop"), await texts(proxy, "support")) == ([], [TEXTS["support"]])
    found = (await ask(proxy, "POST", f"{ADA}/recall", "support", QUESTION)).json
    assert [memory["text"] for memory in found["memories"]] == [TEXTS["support"]]
    assert (await ask(proxy, "POST", f"{ADA}/recall", "shop", QUESTION)).json["status"] == "empty"
    assert [row["tenant"] for row in (await ask(proxy, "GET", "/memory/users", None)).json["users"]] == ["support"]


async def test_ids_of_one_mean_nothing_to_the_other(launch: Launch) -> None:
    """Neither edited nor erased through the wrong tenant; through the right one both."""
    proxy = await fill(launch)
    (memory,) = (await ask(proxy, "GET", f"{ADA}/memories", "shop")).json["memories"]
    path = f"{ADA}/memories/{memory['id']}"
    for method, body in (("PATCH", {"text": "My dog is called Olive."}), ("DELETE", None)):
        refused = await proxy.control(method, f"{path}?tenant=support", body)
        assert (refused.status, refused.code) == (404, "memory_proxy_no_such_memory")
    assert await texts(proxy, "shop") == [TEXTS["shop"]]
    await ask(proxy, "PATCH", path, "shop", {"text": "My dog is called Toast."})
    assert (await texts(proxy, "shop"), await texts(proxy, "support")) == (
        ["My dog is called Toast."],
        [TEXTS["support"]],
    )


async def test_imports_and_notes_by_hand_stay_where_they_are_put(launch: Launch) -> None:
    """The same lines for another tenant are new there, and a second time known; what is written by hand is one's."""
    proxy = await fill(launch)
    for stored, known in ((1, 0), (0, 1)):
        report = (await ask(proxy, "POST", "/memory/import", "support", line(TEXTS["shop"], "d"))).json
        assert (report["stored"], report["known"]) == (stored, known)
    await ask(proxy, "POST", f"{ADA}/memories", "shop", {"text": "I live in Bergen."})
    assert sorted(await texts(proxy, "shop")) == ["I live in Bergen.", TEXTS["shop"]]
    assert sorted(await texts(proxy, "support")) == [TEXTS["support"], TEXTS["shop"]]


async def test_what_waits_is_flushed_and_erased_by_tenant(launch: Launch) -> None:
    """One flush stores what every tenant's users have said, each with its own; erasing one's ada takes hers out of the
    journal and leaves the other's.
    """
    proxy = await launch(clients=CLIENTS)

    async def journal(tenant: str, number: int) -> None:
        said = [Message("user", TEXTS[tenant]), Message("assistant", "Noted.")]
        await proxy.app.journal.append(Exchange("ada", f"c-{number}", 0, said, now(), tenant))

    for tenant in TEXTS:
        await journal(tenant, 1)
    assert (await proxy.control("POST", "/memory/flush")).status == 200
    for tenant, text in TEXTS.items():
        assert text in await texts(proxy, tenant)
    for tenant in TEXTS:
        await journal(tenant, 2)
    receipt = (await ask(proxy, "DELETE", ADA, "shop")).json
    assert receipt["memories"] + 2 * receipt["journal_entries"] >= 4
    await proxy.flush()
    assert await texts(proxy, "shop") == []
    assert TEXTS["support"] in await texts(proxy, "support")


NAMING = [
    ("GET", f"{ADA}/memories", None),
    ("POST", f"{ADA}/memories", {"text": "I ski."}),
    ("PATCH", f"{ADA}/memories/m", {"text": "I ski."}),
    ("DELETE", f"{ADA}/memories/m", None),
    ("DELETE", ADA, None),
    ("POST", f"{ADA}/recall", QUESTION),
    ("GET", f"{ADA}/export", None),
    ("POST", "/memory/import", line("I ski.")),
]


async def test_nobody_guesses_whose_user_is_meant(launch: Launch) -> None:
    """With clients, a route that names a user wants the tenant, one and as a client may have it; nothing happens."""
    proxy = await fill(launch)
    for method, path, body in NAMING:
        refused = await proxy.control(method, path, body)
        assert (refused.status, refused.code) == (400, "memory_proxy_tenant_required")
        assert "tenant" in refused.json["error"]["message"]
        for query in ("tenant=a%20b", "tenant=shop&tenant=support", "tenant=%ff", f"tenant={'x' * 65}", "tenant=.."):
            refused = await proxy.control(method, f"{path}?{query}", body)
            assert (refused.status, refused.code) == (400, "memory_proxy_bad_tenant"), query
    for tenant, text in TEXTS.items():
        assert await texts(proxy, tenant) == [text]


async def test_without_clients_nobody_has_to_say(proxy: Proxy, user: str) -> None:
    """The one tenant has no name, and may be named so; what clients that are gone have left can still be reached."""
    path = user_path(user)
    await ask(proxy, "POST", f"{path}/memories", None, {"text": "I ski."})
    for tenant, count in ((None, 1), ("", 1), ("gone", 0)):
        assert len((await ask(proxy, "GET", f"{path}/memories", tenant)).json["memories"]) == count
    receipt = (await ask(proxy, "DELETE", path, "gone")).json
    assert (receipt["tenant"], receipt["memories"]) == ("gone", 0)
    assert "tenant" not in (await ask(proxy, "DELETE", path, None)).json
