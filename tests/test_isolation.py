"""Users are data: whatever their ids contain, each sees their own memories and nobody else's."""

import pytest

from tests.harness import Proxy, Upstream
from tests.harness.payloads import ask
from tests.harness.proxy import user_path

pytestmark = pytest.mark.asyncio(loop_scope="session")

HOSTILE = [
    "ada",
    "Ada",
    "ada ada",
    "ada%20ada",
    "ada+ada",
    "..",
    ".",
    "../ada",
    "%2e%2e",
    "%2F",
    "a/b",
    "a/memories",
    "a\\b",
    "a?b=c#d",
    "'; DROP TABLE entries; --",
    '"ada"',
    '{"$ne": null}',
    "$ne",
    "*",
    "null",
    "0",
    "caf\u00e9",
    "cafe\u0301",
    "ＡＤＡ",
    "аda",
    "🐝" * 256,
    "x" * 256,
    "x" * 255,
    "[red]ada[/red]",
    "${OPENAI_API_KEY}",
    "{{7*7}}",
    "\u202eada",
]


def secret_of(number: int) -> str:
    return f"My secret garden number is {1000 + number}."


@pytest.fixture(scope="module")
def told() -> list[str]:
    """Who has told their secret already."""
    return []


async def tell_all(proxy: Proxy, told: list[str]) -> None:
    if not told:  # other tests may have been the same users
        for hostile in HOSTILE:
            await proxy.control("DELETE", user_path(hostile))
    for number, hostile in enumerate(HOSTILE):
        if hostile not in told:
            assert (await proxy.chat(hostile, ask(secret_of(number)))).status == 200
            told.append(hostile)
    await proxy.flush()


@pytest.mark.parametrize("number", range(len(HOSTILE)), ids=lambda number: repr(HOSTILE[number][:20]))
async def test_users_see_their_own(proxy: Proxy, upstream: Upstream, told: list[str], number: int) -> None:
    """In chats, in lists and in trial recalls: one's own secret, and none of the others'."""
    await tell_all(proxy, told)
    hostile = HOSTILE[number]
    question = "What is my secret garden number?"
    answer = await proxy.chat(hostile, ask(question), x_memory_mode="read")
    assert answer.memory == "injected"
    listed = (await proxy.control("GET", f"{user_path(hostile)}/memories")).json["memories"]
    recalled = (await proxy.control("POST", f"{user_path(hostile)}/recall", {"query": question})).json
    assert {memory["user_id"] for memory in listed} == {hostile}
    for place in (upstream.last.system, str([memory["text"] for memory in listed]), recalled["block"]):
        assert secret_of(number) in place
        assert place.count("secret garden number is") == 1


async def test_everybody_is_listed_once(proxy: Proxy, told: list[str]) -> None:
    """The list of users has each id as it was sent."""
    await tell_all(proxy, told)
    users = (await proxy.control("GET", "/memory/users?limit=1000")).json["users"]
    listed = [user["user_id"] for user in users]
    assert len(listed) == len(set(listed))
    assert set(HOSTILE) <= set(listed)
    assert {user["memories"] for user in users if user["user_id"] in HOSTILE} == {2}


async def test_erasing_one_leaves_the_others(proxy: Proxy, told: list[str]) -> None:
    """Each user that is erased is gone alone."""
    await tell_all(proxy, told)
    left = list(HOSTILE)
    while left:
        gone = left.pop()
        receipt = (await proxy.control("DELETE", user_path(gone))).json
        told.remove(gone)
        assert (receipt["user_id"], receipt["memories"]) == (gone, 2)
        users = (await proxy.control("GET", "/memory/users?limit=1000")).json["users"]
        assert {user["user_id"] for user in users} & set(HOSTILE) == set(left)


async def test_a_memory_of_another_user_cannot_be_erased(proxy: Proxy, user: str) -> None:
    """A memory's id is of no use in another user's path."""
    await proxy.chat(user, ask("My dog is called Biscuit."))
    memory_id = (await proxy.memories(user))[0]["id"]
    other = f"{user}-other"
    assert (await proxy.control("DELETE", f"{user_path(other)}/memories/{memory_id}")).status == 404
    assert len(await proxy.memories(user)) == 2


async def test_an_imported_id_cannot_replace_anothers(proxy: Proxy, user: str) -> None:
    """Two users may each have a memory of the same id."""
    where = {"created_at": "2024-01-01T00:00:00Z", "conversation_id": "c", "message_index": 0}
    line = {"id": "same", "kind": "turn", "role": "user", **where}
    for name in (user, f"{user}-other"):
        await proxy.control("POST", "/memory/import", {**line, "user_id": name, "text": f"I am {name}."})
    assert await proxy.texts(user) == [f"I am {user}."]
    assert await proxy.texts(f"{user}-other") == [f"I am {user}-other."]
