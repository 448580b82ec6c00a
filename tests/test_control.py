"""The control plane: looking into memory, changing it, and who may."""

import json
from typing import Any

import pytest

from proxy.edge import attempts, parameters
from tests.conftest import Launch
from tests.harness import Answer, Driver, Proxy, Upstream
from tests.harness.payloads import ask
from tests.harness.proxy import user_path

pytestmark = pytest.mark.asyncio(loop_scope="session")

FACT = "My dog is called Biscuit, a beagle."
QUESTION = "What is the name of my dog?"


def conversation(user: str, *texts: str, conversation_id: str = "c", started_at: str = "2024-03-01T10:00:00Z") -> bytes:
    """One line of an import: what a user said."""
    messages = [{"role": "user", "content": text} for text in texts]
    head = {"user_id": user, "conversation_id": conversation_id, "started_at": started_at}
    return json.dumps({**head, "messages": messages}).encode() + b"\n"


async def collect(proxy: Proxy, path: str, key: str, limit: int) -> list[list[dict[str, Any]]]:
    """All pages of a listing."""
    pages, cursor = [], ""
    while True:
        answer = await proxy.control("GET", f"{path}?limit={limit}{cursor}")
        assert answer.status == 200, answer.body
        pages.append(answer.json[key])
        if answer.json["cursor"] is None:
            return pages
        cursor = f"&cursor={answer.json['cursor']}"


async def test_memories_are_paged(proxy: Proxy, user: str) -> None:
    """Page by page every memory is seen exactly once, newest first, also where many have the same date."""
    texts = [f"Fact number {number}." for number in range(25)]
    await proxy.control("POST", "/memory/import", conversation(user, *texts))
    pages = await collect(proxy, f"{user_path(user)}/memories", "memories", 10)
    assert [len(page) for page in pages] == [10, 10, 5]
    seen = [memory["text"] for page in pages for memory in page]
    assert seen == texts[::-1]


async def test_a_page_that_is_just_full_is_the_last(proxy: Proxy, user: str) -> None:
    """No cursor leads to an empty page."""
    await proxy.control("POST", "/memory/import", conversation(user, "One.", "Two."))
    assert [len(page) for page in await collect(proxy, f"{user_path(user)}/memories", "memories", 2)] == [2]


async def test_new_memories_move_no_page(proxy: Proxy, user: str) -> None:
    """What is stored between two pages neither repeats nor hides anything of the second."""
    await proxy.control("POST", "/memory/import", conversation(user, "One.", "Two.", "Three."))
    first = (await proxy.control("GET", f"{user_path(user)}/memories?limit=2")).json
    newer = conversation(user, "New.", conversation_id="d", started_at="2025-01-01T00:00:00Z")
    await proxy.control("POST", "/memory/import", newer)
    second = (await proxy.control("GET", f"{user_path(user)}/memories?limit=2&cursor={first['cursor']}")).json
    assert [memory["text"] for memory in first["memories"] + second["memories"]] == ["Three.", "Two.", "One."]


async def test_users_are_paged(proxy: Proxy, user: str) -> None:
    """Every user is on exactly one page, latest activity first, with a count."""
    names = [f"{user}-{number}" for number in range(7)]
    for number, name in enumerate(names):
        line = conversation(name, *["A fact."] * (number + 1), started_at=f"2090-01-0{number + 1}T00:00:00Z")
        await proxy.control("POST", "/memory/import", line)
    pages = await collect(proxy, "/memory/users", "users", 3)
    ours = [entry for page in pages for entry in page if entry["user_id"] in names]
    assert [entry["user_id"] for entry in ours] == names[::-1]
    assert {len(page) for page in pages[:-1]} == {3}
    assert ours[-1]["last_activity"] == "2090-01-01T00:00:00Z"


async def test_a_memory_has_the_documented_shape(proxy: Proxy, user: str) -> None:
    """Every field that the contract names, and the conversation and position it is from."""
    await proxy.chat(user, ask(FACT), x_conversation_id="c-1")
    memory = (await proxy.memories(user))[0]
    assert memory.pop("created_at").endswith("Z")
    assert len(memory.pop("id")) == 32
    assert memory == {
        "user_id": user,
        "kind": "turn",
        "role": "user",
        "text": FACT,
        "conversation_id": "c-1",
        "message_index": 0,
    }


async def test_nobody_has_nothing(proxy: Proxy, user: str) -> None:
    """An unknown user is an empty list and an empty recall, and erasing one a receipt of nothing."""
    assert (await proxy.control("GET", f"{user_path(user)}/memories")).json == {"memories": [], "cursor": None}
    recalled = (await proxy.control("POST", f"{user_path(user)}/recall", {"query": QUESTION})).json
    assert (recalled["status"], recalled["block"], recalled["memories"]) == ("empty", None, [])
    receipt = (await proxy.control("DELETE", user_path(user))).json
    assert (receipt["memories"], receipt["journal_entries"]) == (0, 0)


@pytest.mark.parametrize("asked", [{"query": QUESTION}, {"messages": [{"role": "user", "content": QUESTION}]}])
async def test_a_trial_recall_shows_what_would_be_injected(
    proxy: Proxy, upstream: Upstream, user: str, asked: dict[str, Any]
) -> None:
    """The block is byte for byte the one that the same question in a chat gets; nothing is stored of the trial."""
    await proxy.chat(user, ask(FACT))
    await proxy.flush()
    recalled = (await proxy.control("POST", f"{user_path(user)}/recall", asked)).json
    assert (await proxy.chat(user, ask(QUESTION), x_memory_mode="read")).memory == "injected"
    assert upstream.last.system == recalled["block"]
    assert recalled["status"] == "injected"
    assert 0 < recalled["tokens"] <= 1000
    assert recalled["elapsed_ms"] > 0
    assert [memory["text"] for memory in recalled["memories"]] == [FACT, "Noted."]
    assert all(memory["score"] > 0 for memory in recalled["memories"])
    assert len(await proxy.texts(user)) == 2


async def test_a_trial_recall_keeps_its_own_budget(proxy: Proxy, user: str) -> None:
    """``budget_tokens`` bounds the block; one that nothing fits in gives none."""
    facts = [f"My dog {n} is Biscuit {n}." for n in range(20)]
    await proxy.control("POST", "/memory/import", conversation(user, *facts))
    path = f"{user_path(user)}/recall"
    small = (await proxy.control("POST", path, {"query": QUESTION, "budget_tokens": 100})).json
    assert 0 < small["tokens"] <= 100
    assert (await proxy.control("POST", path, {"query": QUESTION, "budget_tokens": 1})).json["status"] == "empty"


async def test_a_trial_with_nothing_asked_is_empty(proxy: Proxy, user: str) -> None:
    """Messages in which no user speaks ask for nothing."""
    await proxy.control("POST", "/memory/import", conversation(user, FACT))
    for messages in ([], [{"role": "assistant", "content": QUESTION}], [{"role": "user", "content": "  "}]):
        answer = await proxy.control("POST", f"{user_path(user)}/recall", {"messages": messages})
        assert (answer.status, answer.json["status"], answer.json["block"]) == (200, "empty", None)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not JSON",
        b"[]",
        b"{}",
        b'{"query": 3}',
        b'{"query": null}',
        b'{"messages": null}',
        b'{"messages": 3}',
        b'{"messages": [3]}',
        b'{"query": "x", "budget_tokens": 0}',
        b'{"query": "x", "budget_tokens": "many"}',
        b'{"query": "x", "budget_tokens": %d}' % (1 << 400),
        b'{"query": "x", "asked_at": "yesterday"}',
        b'{"query": "\xff"}',
        rb'{"query": "\ud800"}',
        b'{"messages": ' + b"[" * 100_000,
    ],
)
async def test_bad_recalls_are_refused(proxy: Proxy, user: str, body: bytes) -> None:
    """400 in OpenAI's shape."""
    answer = await proxy.control("POST", f"{user_path(user)}/recall", body)
    assert (answer.status, answer.code) == (400, "memory_proxy_bad_request")


@pytest.mark.parametrize("limit", ["0", "-1", "1001", "ten", "", "1e1", "٣", "9" * 400, "1&limit=x"])
async def test_bad_limits_are_refused(proxy: Proxy, limit: str) -> None:
    """400 in OpenAI's shape, for every list."""
    for path in ("/memory/users", "/memory/users/ada/memories", "/memory/journal"):
        answer = await proxy.request("GET", f"{path}?limit={limit.encode().hex() if not limit.isascii() else limit}")
        assert (answer.status, answer.code) == (400, "memory_proxy_bad_limit")


@pytest.mark.parametrize("cursor", ["x", "bm90IGpzb24=", "WzEsMl0=", "W10=", "%FF%FE", "bnVsbA==", "A" * 5000])
async def test_bad_cursors_are_refused(proxy: Proxy, cursor: str) -> None:
    """400 in OpenAI's shape, for every list."""
    for path in ("/memory/users", "/memory/users/ada/memories"):
        answer = await proxy.control("GET", f"{path}?cursor={cursor}")
        assert (answer.status, answer.code) == (400, "memory_proxy_bad_cursor")


@pytest.mark.parametrize("user_id", ["%00", "%0A", "%FF", "%ED%A0%80", "x" * 257])
async def test_bad_ids_are_refused(proxy: Proxy, user_id: str) -> None:
    """What is no user id in a header is none in a path."""
    routes = [("GET", "/memories"), ("POST", "/memories"), ("DELETE", ""), ("POST", "/recall")]
    for method, path in (*routes, ("PATCH", "/memories/m"), ("DELETE", "/memories/m")):
        answer = await proxy.control(method, f"/memory/users/{user_id}{path}", {"query": "x"})
        assert (answer.status, answer.code) == (400, "memory_proxy_bad_user_id")


async def test_a_memory_is_erased(proxy: Proxy, upstream: Upstream, user: str) -> None:
    """At once in recall, and in the store; erasing it again is 404."""
    await proxy.chat(user, ask(FACT))
    path = f"{user_path(user)}/memories/{(await proxy.memories(user))[0]['id']}"
    assert (await proxy.chat(user, ask(QUESTION), x_memory_mode="read")).memory == "injected"
    receipt = (await proxy.control("DELETE", path)).json
    assert (receipt["user_id"], receipt["memories"]) == (user, 1)
    assert len(bytes.fromhex(receipt["digest"])) == 32
    await proxy.chat(user, ask(QUESTION), x_memory_mode="read")
    assert "beagle" not in upstream.last.body.decode()
    assert await proxy.texts(user) == ["Noted."]
    again = await proxy.control("DELETE", path)
    assert (again.status, again.code) == (404, "memory_proxy_no_such_memory")


async def test_a_memory_is_written_by_hand(proxy: Proxy, upstream: Upstream, user: str) -> None:
    """It is answered as it is stored, listed, and recalled at once, though the user is warm."""
    assert (await proxy.chat(user, ask(QUESTION), x_memory_mode="read")).memory == "empty"
    answer = await proxy.control("POST", f"{user_path(user)}/memories", {"text": FACT})
    assert (answer.status, answer.json["text"], answer.json["user_id"]) == (201, FACT, user)
    assert await proxy.memories(user) == [answer.json]
    assert (await proxy.chat(user, ask(QUESTION), x_memory_mode="read")).memory == "injected"
    assert FACT in upstream.last.system


async def test_a_memory_is_corrected(proxy: Proxy, upstream: Upstream, user: str) -> None:
    """The new text is recalled, the old one is nowhere; it counts as written by hand from then on."""
    await proxy.chat(user, ask(FACT))
    (memory, _) = await proxy.memories(user)
    path = f"{user_path(user)}/memories/{memory['id']}"
    answer = await proxy.control("PATCH", path, {"text": "My dog is called Waffle."})
    assert (answer.status, answer.json["text"], answer.json["origin"]) == (200, "My dog is called Waffle.", "hand")
    assert sorted(await proxy.texts(user)) == ["My dog is called Waffle.", "Noted."]
    await proxy.chat(user, ask(QUESTION), x_memory_mode="read")
    assert "Waffle" in upstream.last.system
    assert "Biscuit" not in upstream.last.system


async def test_a_superseded_memory_is_restored(proxy: Proxy, user: str) -> None:
    """What something newer has taken the place of holds again when somebody says so."""
    line = conversation(user, "I live in Bergen.")
    memory = {"superseded_by": "x", "valid_until": "2024-05-01T00:00:00Z"}
    await proxy.control("POST", "/memory/import", line)
    (imported,) = await proxy.memories(user)
    await proxy.control("DELETE", user_path(user))
    other = {**imported, **memory, "user_id": f"{user}-2", "id": "f" * 32}
    await proxy.control("POST", "/memory/import", json.dumps(other).encode() + b"\n")
    path = f"{user_path(user + '-2')}/memories"
    assert (await proxy.control("GET", path)).json["memories"] == []
    (listed,) = (await proxy.control("GET", f"{path}?include=superseded")).json["memories"]
    assert listed["superseded_by"] == "x"
    restored = (await proxy.control("PATCH", f"{path}/{listed['id']}", {"superseded_by": None})).json
    assert "superseded_by" not in restored
    assert await proxy.texts(f"{user}-2") == ["I live in Bergen."]


@pytest.mark.parametrize(
    ("method", "body"),
    [
        ("POST", b""),
        ("POST", b"[]"),
        ("POST", b"{}"),
        ("POST", b'{"text": null}'),
        ("POST", b'{"text": ""}'),
        ("POST", rb'{"text": " \n\u00a0"}'),
        ("POST", b'{"text": "%s"}' % (b"x" * 100_001)),
        ("POST", b'{"text": "x", "id": "y"}'),
        ("POST", b'{"text": "\xff"}'),
        ("POST", rb'{"text": "\ud800"}'),
        ("PATCH", b"{}"),
        ("PATCH", b'{"text": " "}'),
        ("PATCH", b'{"text": null}'),
        ("PATCH", b'{"superseded_by": "x"}'),
        ("PATCH", b'{"superseded_by": null, "seen": 3}'),
    ],
)
async def test_bad_memories_are_refused(proxy: Proxy, user: str, method: str, body: bytes) -> None:
    """400 in OpenAI's shape, and nothing is stored."""
    path = f"{user_path(user)}/memories" + ("/m" if method == "PATCH" else "")
    answer = await proxy.control(method, path, body)
    assert (answer.status, answer.code) == (400, "memory_proxy_bad_request")
    assert await proxy.memories(user) == []


async def test_the_longest_memory(proxy: Proxy, user: str) -> None:
    """100,000 characters are stored as they are."""
    text = "Grüße! " * 14_285 + "Tschüs"
    assert (await proxy.control("POST", f"{user_path(user)}/memories", {"text": text[:100_000]})).status == 201
    assert await proxy.texts(user) == [text[:100_000]]


@pytest.mark.parametrize("change", [{"text": "x"}, {"superseded_by": None}])
async def test_an_unknown_memory_cannot_be_changed(proxy: Proxy, user: str, change: dict[str, Any]) -> None:
    """404, also for somebody else's."""
    created = (await proxy.control("POST", f"{user_path(user)}/memories", {"text": FACT})).json
    for path in (f"{user_path(user)}/memories/m", f"{user_path(user + '-2')}/memories/{created['id']}"):
        answer = await proxy.control("PATCH", path, change)
        assert (answer.status, answer.code) == (404, "memory_proxy_no_such_memory")


async def test_the_journal_is_told(proxy: Proxy, user: str) -> None:
    """What waits and what failed; with nothing set aside there is nothing to try again or to drop."""
    await proxy.chat(user, ask(FACT))
    await proxy.flush()
    page = (await proxy.control("GET", "/memory/journal")).json
    assert page == {
        "pending": 0,
        "extracting": 0,
        "failed": 0,
        "oldest_age_s": None,
        "trouble": None,
        "entries": [],
    }
    assert (await proxy.control("POST", "/memory/journal/retry")).json == {"retried": 0}
    assert (await proxy.control("DELETE", "/memory/journal")).json == {"dropped": 0}


async def test_a_user_is_erased(proxy: Proxy, upstream: Upstream, user: str) -> None:
    """At once in recall though the user is warm, in the lists and in the store; the user may come back as a new one."""
    await proxy.chat(user, ask(FACT))
    await proxy.flush()
    assert (await proxy.chat(user, ask(QUESTION), x_memory_mode="read")).memory == "injected"
    receipt = (await proxy.control("DELETE", user_path(user))).json
    assert receipt.pop("erased_at").endswith("Z")
    assert len(bytes.fromhex(receipt.pop("digest"))) == 32
    assert receipt == {"user_id": user, "memories": 2, "journal_entries": 0}
    assert (await proxy.chat(user, ask(QUESTION), x_memory_mode="read")).memory == "empty"
    assert await proxy.texts(user) == []
    assert user not in str((await proxy.control("GET", "/memory/users?limit=1000")).json)
    await proxy.chat(user, ask("I live in Lisbon."))
    assert await proxy.texts(user) == ["I live in Lisbon.", "Noted."]


async def test_erasing_a_user_reaches_the_journal(launch: Launch, user: str) -> None:
    """What still waits to be stored is erased, too, and does not come back."""
    proxy = await launch(extraction={"mode": "verbatim"})
    for _ in range(3):
        await proxy.chat(user, ask(FACT))
        receipt = (await proxy.control("DELETE", user_path(user))).json
        # Either the worker was faster, or the journal still had it.
        assert (receipt["memories"], receipt["journal_entries"]) in ((2, 0), (0, 1))
        assert await proxy.texts(user) == []


async def test_an_import_is_idempotent(proxy: Proxy, user: str) -> None:
    """The same lines twice are known the second time."""
    lines = conversation(user, "One.", "Two.") + conversation(user, "Three.", conversation_id="d")
    counts = [(await proxy.control("POST", "/memory/import", lines)).json for _ in range(2)]
    assert counts == [{"stored": 3, "known": 0, "errors": []}, {"stored": 0, "known": 3, "errors": []}]
    assert sorted(await proxy.texts(user)) == ["One.", "Three.", "Two."]


async def test_an_import_names_bad_lines(proxy: Proxy, user: str) -> None:
    """A line that cannot be read is told with its number, and the others are stored."""
    lines = [b"nonsense", conversation(user, "One.").strip(), b"", b'{"user_id":""}', conversation("a\nb", "x").strip()]
    counts = (await proxy.control("POST", "/memory/import", b"\n".join(lines))).json
    assert (counts["stored"], [error["line"] for error in counts["errors"]]) == (1, [1, 4, 5])
    assert all(error["reason"] for error in counts["errors"])


async def test_long_imports_are_taken_in_parts(proxy: Proxy, user: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """However the body is cut, each line is read once and errors have the numbers of the whole."""
    monkeypatch.setattr(parameters, "IMPORT_BYTES", 300)
    lines = [conversation(user, f"Fact {n}.", conversation_id=str(n)) for n in range(20)]
    lines.insert(17, b"nonsense\n")
    counts = (await proxy.control("POST", "/memory/import", b"".join(lines))).json
    assert (counts["stored"], [error["line"] for error in counts["errors"]]) == (20, [18])


async def test_what_is_imported_is_recalled_at_once(proxy: Proxy, upstream: Upstream, user: str) -> None:
    """A warm user follows an import without being loaded anew."""
    assert (await proxy.chat(user, ask(QUESTION), x_memory_mode="read")).memory == "empty"
    await proxy.control("POST", "/memory/import", conversation(user, FACT))
    assert (await proxy.chat(user, ask(QUESTION), x_memory_mode="read")).memory == "injected"
    assert f"- 2024-03-01, standing: {FACT}" in upstream.last.system


async def test_a_flush_counts(proxy: Proxy, user: str) -> None:
    """A flush with nothing to do says so."""
    await proxy.chat(user, ask(FACT))
    await proxy.flush()
    assert await proxy.flush() == {"stored": 0, "failed": 0}


@pytest.mark.parametrize("method", ["PUT", "POST", "OPTIONS"])
async def test_other_methods_are_not_found(proxy: Proxy, method: str) -> None:
    """A route that does not exist is told in OpenAI's shape."""
    answer = await proxy.control(method, "/memory/users")
    assert (answer.status, answer.code) == (405, "memory_proxy_method_not_allowed")
    assert answer.header("allow")


async def test_all_methods_of_a_path_are_allowed(proxy: Proxy) -> None:
    """Who asks with another one is told all of them, and ``HEAD`` goes where ``GET`` does."""
    answer = await proxy.control("PUT", "/memory/users/ada/memories")
    assert sorted((answer.header("allow") or "").split(", ")) == ["GET", "HEAD", "POST"]
    assert (await proxy.request("HEAD", "/memory/users/ada/memories")).status == 200


# What holds nobody's data: a browser needs it before it has a token to send.
PAGES = [("GET", "/ui"), ("GET", "/ui/app.js")]
ROUTES = [
    ("GET", "/memory/users"),
    ("GET", "/memory/users/ada/memories"),
    ("DELETE", "/memory/users/ada"),
    ("POST", "/memory/users/ada/memories"),
    ("PATCH", "/memory/users/ada/memories/m"),
    ("DELETE", "/memory/users/ada/memories/m"),
    ("POST", "/memory/users/ada/recall"),
    ("POST", "/memory/flush"),
    ("POST", "/memory/import"),
    ("GET", "/memory/journal"),
    ("POST", "/memory/journal/retry"),
    ("DELETE", "/memory/journal"),
    ("GET", "/metrics"),
    ("GET", "/memory/openapi.json"),
    ("GET", "/memory/users/ada/export"),
    *PAGES,
]


async def test_with_a_token_nobody_else_may(launch: Launch, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every route wants the token, right and as a bearer's; health and the inspector's files do not."""
    monkeypatch.setattr(attempts, "MOST", 1000)
    proxy = await launch(ready=False, admin={"token": "tökén-1"})
    token = "tökén-1"
    for method, path in set(ROUTES) - set(PAGES):
        for sent in (None, "Bearer wrong", "Bearer", f"Basic {token}", f"Bearer {token}x", "Bearer t\xff"):
            answer = await proxy.control(method, path, **({"authorization": sent} if sent else {}))
            assert (answer.status, answer.code) == (401, "memory_proxy_bad_admin_token"), (path, sent)
    for path in ("/healthz", "/readyz"):
        assert (await proxy.control("GET", path)).status in (200, 503)
    for method, path in PAGES:
        assert (await proxy.request(method, path)).status == 200


async def test_with_the_token_one_may(launch: Launch) -> None:
    """The right token opens, whatever the case of the scheme and whoever is asked for."""
    proxy = await launch(admin={"token": "s3cret"})
    for scheme in ("Bearer", "bearer"):
        answer = await proxy.control("GET", "/memory/users", authorization=f"{scheme} s3cret")
        assert answer.status == 200
    assert (await proxy.request("GET", "/metrics", headers={"Authorization": "Bearer s3cret"})).status == 200


async def ask_as(proxy: Proxy, host: str, *headers: tuple[str, str]) -> Answer:
    """A request with a ``Host`` of its own."""
    lines = [f"GET /memory/users HTTP/1.1\r\nHost: {host}", *(f"{name}: {value}" for name, value in headers)]
    async with await proxy.connect() as wire:
        await wire.send("\r\n".join([*lines, "", ""]).encode())
        return await wire.answer()


@pytest.mark.parametrize(
    ("host", "headers", "status"),
    [
        ("127.0.0.1:1", [], 200),
        ("localhost", [], 200),
        ("[::1]:80", [], 200),
        ("evil.example", [], 403),
        ("127.0.0.1.evil.example", [], 403),
        ("localhost.evil.example:80", [], 403),
        ("", [], 403),
        ("[", [], 403),
        ("localhost", [("Origin", "http://localhost")], 200),
        ("localhost", [("Origin", "http://evil.example")], 403),
        ("localhost", [("Origin", "null")], 403),
        ("localhost", [("Origin", "http://[")], 403),
        ("localhost", [("X-Forwarded-For", "192.0.2.1")], 403),
    ],
)
async def test_without_a_token_only_this_machine_may(
    proxy: Proxy, host: str, headers: list[tuple[str, str]], status: int
) -> None:
    """Loopback clients that call this machine by a name of its own, and no web page of somebody else's."""
    answer = await ask_as(proxy, host, *headers)
    assert answer.status == status
    assert status == 200 or answer.code in ("memory_proxy_local_only", "memory_proxy_foreign_origin")


async def test_a_foreign_page_may_not_even_with_the_token(launch: Launch) -> None:
    """A browser that holds the token for this server does not lend it to another site."""
    proxy = await launch(ready=False, admin={"token": "s3cret"})
    bearer = ("Authorization", "Bearer s3cret")
    assert (await ask_as(proxy, "localhost", bearer, ("Origin", "http://evil.example"))).status == 403


async def test_a_client_from_elsewhere_is_refused(proxy: Proxy) -> None:
    """Without a token, an address that is not loopback gets 403 on every route but health."""
    for method, path in ROUTES:
        driver = Driver(proxy.app, path, method=method, client="192.0.2.1")
        driver.say(b"{}")
        assert (await driver.next())["status"] == 403
    for path in ("/healthz", "/readyz"):
        driver = Driver(proxy.app, path, method="GET", client="192.0.2.1")
        assert (await driver.next())["status"] == 200


async def test_while_the_keeper_is_away(launch: Launch, user: str) -> None:
    """The control plane says 503 and when to come back, instead of waiting."""
    proxy = await launch(ready=False)
    for method, path in ROUTES[:-1]:
        body = {"query": "Where do I live?"} if path.endswith("/recall") else {"text": "I live in Lisbon."}
        answer = await proxy.control(method, path, body)
        if answer.status not in (200, 404):  # an import of nothing asks nobody, and some answers are no secret
            assert (answer.status, answer.code) == (503, "memory_proxy_keeper_unavailable")
            assert answer.header("retry-after") == "1"
