"""The control plane against bodies that are meant badly, and requests that name what is none of their business."""

import json
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest
from starlette.requests import Request

from proxy.edge import control, parameters
from proxy.edge.health import FAILING, Health
from proxy.journal import JournalState, JournalWriter
from tests.conftest import Launch
from tests.harness import Driver, Proxy
from tests.harness.proxy import user_path
from tests.processes import resident

pytestmark = pytest.mark.asyncio(loop_scope="session")

NESTED = 100_000
BOMBS = {
    "an array in an array": b"[" * NESTED,
    "an object in an object": b'{"text":' * NESTED,
    "nested messages": b'{"messages":' + b"[" * NESTED + b"]" * NESTED + b"}",
    "a nested field that nobody reads": b'{"query":"x","text":"x","y":' + b"[" * NESTED + b"]" * NESTED + b"}",
    "NaN": b'{"query":"x","text":"x","budget_tokens":NaN}',
    "infinity": b'{"query":"x","text":"x","budget_tokens":1e999}',
    "an endless number": b'{"query":"x","text":"x","budget_tokens":%b}' % (b"9" * 100_000),
    "a lone surrogate": rb'{"query":"\ud800","text":"\ud800"}',
    "an encoded surrogate": b'{"query":"\xed\xa0\x80","text":"\xed\xa0\x80"}',
    "a text twice": b'{"query":"x","query":"y","text":"x","text":"y"}',
    "a role twice": b'{"messages":[{"role":"user","role":"system","content":"x"}],"text":1}',
    "UTF-16": '{"query":"x","text":"x"}'.encode("utf-16"),
    "a byte order mark": b'\xef\xbb\xbf{"query":"x","text":"x"}',
}
ROUTES = [("POST", "memories"), ("PATCH", "memories/m"), ("POST", "recall")]


@pytest.mark.parametrize("case", BOMBS)
@pytest.mark.parametrize(("method", "route"), ROUTES)
async def test_bombs_are_refused(proxy: Proxy, user: str, method: str, route: str, case: str) -> None:
    """400 with a reason that is short, whatever the body would have become; nothing is stored."""
    answer = await proxy.control(method, f"{user_path(user)}/{route}", BOMBS[case])
    assert (answer.status, answer.code) == (400, "memory_proxy_bad_request")
    assert len(answer.body) < 1000
    assert (await proxy.control("GET", f"{user_path(user)}/memories")).json["memories"] == []


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize(("method", "route"), ROUTES)
async def test_bodies_are_bounded(proxy: Proxy, user: str, method: str, route: str, chunked: bool) -> None:
    """413 for more than 1.3 MB, announced or not, and the connection is of use again."""
    body = b'{"text":"x","y":"' + b"x" * (2 << 20) + b'"}'
    target = f"{user_path(user)}/{route}"
    framing = {"Transfer-Encoding": "chunked"} if chunked else {"Content-Length": str(len(body))}
    async with await proxy.open(method, target, headers=framing) as wire:
        await wire.send(b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) if chunked else body)
        await wire.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = await wire.answer()
        assert (answer.status, answer.code) == (413, "memory_proxy_body_too_large")
        assert (await wire.answer()).status == 200


async def test_the_longest_text_in_its_longest_spelling(proxy: Proxy, user: str) -> None:
    """100,000 characters, each in twelve bytes, are no body that is too large."""
    answer = await proxy.control("POST", f"{user_path(user)}/memories", {"text": "🐝" * 100_000})
    assert answer.status == 201


async def test_a_body_that_breaks_off(proxy: Proxy, user: str) -> None:
    """A client that leaves in the middle of a body leaves nothing behind, and the server goes on."""
    for target in (f"{user_path(user)}/memories", "/memory/import"):
        driver = Driver(proxy.app, target)
        driver.say(b'{"text":', more=True)
        driver.leave()
        await driver.served()
    assert (await proxy.control("GET", f"{user_path(user)}/memories")).json["memories"] == []


def talk(user: str, text: str) -> bytes:
    said = {"user_id": user, "conversation_id": text[:20], "started_at": "2024-03-01T10:00:00Z"}
    return json.dumps({**said, "messages": [{"role": "user", "content": text}]}).encode() + b"\n"


async def test_a_line_without_an_end_is_not_held(proxy: Proxy, user: str) -> None:
    """96 MB of one line cost no more memory than the longest that is read; the lines around it keep their numbers."""
    piece = b"x" * (1 << 20)
    before = resident("self")
    async with await proxy.open("POST", "/memory/import", headers={"Transfer-Encoding": "chunked"}) as wire:

        async def send(data: bytes) -> None:
            await wire.send(b"%x\r\n%b\r\n" % (len(data), data))

        await send(talk(user, "One."))
        for _ in range(96):
            await send(piece)
        after = resident("self")
        await send(b"\n" + talk(user, "Three.") + b"nonsense\n")
        await wire.send(b"0\r\n\r\n")
        report = (await wire.answer()).json
    assert report["stored"] == 2
    assert [error["line"] for error in report["errors"]] == [2, 4]
    assert "longer than" in report["errors"][0]["reason"]
    assert after - before < 64 << 20
    assert sorted(await proxy.texts(user)) == ["One.", "Three."]


async def test_many_bad_lines_are_counted(proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first are named; of the others there is only the number, so that an answer does not grow with the import."""
    monkeypatch.setattr(control, "MOST_ERRORS", 5)
    monkeypatch.setattr(parameters, "IMPORT_BYTES", 8)
    report = (await proxy.control("POST", "/memory/import", b"x\n" * 12)).json
    assert [error["line"] for error in report["errors"]] == [1, 2, 3, 4, 5]
    assert (report["stored"], report["known"], report["unnamed"]) == (0, 0, 7)


@pytest.mark.parametrize(
    "bad",
    [
        b"[" * NESTED,
        b'{"messages":' * NESTED,
        b'{"user_id":"ada","kind":"%b"}' % (b"x" * 100_000),
        b'{"id":"m","user_id":"ada","kind":"turn","role":"user","text":"x","created_at":"2024-01-01T00:00:00Z",'
        b'"conversation_id":"c","message_index":%d}' % 2**64,
        b'{"id":"m","user_id":"ada","kind":"fact","role":"user","text":"x","created_at":"2024-01-01T00:00:00Z",'
        b'"conversation_id":"c","message_index":0,"sources":[["c",%d]]}' % -(2**70),
        b'{"id":"m","user_id":"ada","kind":"fact","role":"user","text":"x","created_at":"0001-01-01T00:00:00+23:59",'
        b'"conversation_id":"c","message_index":0}',
    ],
)
async def test_bad_lines_are_only_bad_lines(proxy: Proxy, user: str, bad: bytes) -> None:
    """Named with a short reason; the line after it is stored."""
    report = (await proxy.control("POST", "/memory/import", bad + b"\n" + talk(user, "I ski."))).json
    assert (report["stored"], [error["line"] for error in report["errors"]]) == (1, [1])
    assert 0 < len(report["errors"][0]["reason"]) <= 300


async def test_dates_without_a_zone_are_in_utc(proxy: Proxy, user: str) -> None:
    """Also the end of what no longer holds: of two dates, one with and one without, none is the earlier."""
    memory = {
        "id": "m",
        "user_id": user,
        "kind": "fact",
        "role": "user",
        "text": "I live in Bergen.",
        "created_at": "2024-01-01T00:00:00",
        "conversation_id": "c",
        "message_index": 0,
        "superseded_by": "n",
        "valid_until": "2024-05-01T02:00:00",
    }
    await proxy.control("POST", "/memory/import", json.dumps(memory).encode())
    (listed,) = (await proxy.control("GET", f"{user_path(user)}/memories?include=superseded")).json["memories"]
    assert (listed["created_at"], listed["valid_until"]) == ("2024-01-01T00:00:00Z", "2024-05-01T02:00:00Z")


async def test_what_names_a_file_or_an_address_is_text(proxy: Proxy, user: str, tmp_path: Path) -> None:
    """Whatever a request says is a name or a text: nothing is opened, run or called because of it."""
    secret = tmp_path / "secret.txt"
    secret.write_text("the planted secret")
    names = [f"file://{secret}", str(secret), f"@{secret}", "http://127.0.0.1:9/x", f"$(cat {secret})", "{{7*7}}"]
    for number, name in enumerate(names):
        await proxy.control("POST", "/memory/import", talk(user, f"{number} {name}"))
        await proxy.control("POST", f"{user_path(user)}/memories", {"text": name})
        for path in (f"{user_path(name)}/memories", f"{user_path(user)}/memories/{user_path(name)[14:]}"):
            assert (await proxy.control("GET", path)).status in (200, 405)
        await proxy.control("POST", f"{user_path(user)}/recall", {"query": name})
    texts = await proxy.texts(user)
    assert {f"{number} {name}" for number, name in enumerate(names)} <= set(texts)
    assert not any("planted" in text for text in texts)
    exported = await proxy.control("GET", f"{user_path(user)}/export?include=superseded")
    assert b"planted" not in exported.body


async def test_budgets_are_whole_numbers_however_written(proxy: Proxy, user: str) -> None:
    """1000.0 is one, as some languages write it; 1000.5 is not."""
    path = f"{user_path(user)}/recall"
    for budget, status in ((1000.0, 200), (1000.5, 400), (0.5, 400), (1e300, 400), (True, 400), ("10", 400)):
        answer = await proxy.control("POST", path, {"query": "x", "budget_tokens": budget})
        assert answer.status == status, budget


async def test_messages_beside_a_query_are_messages(proxy: Proxy, user: str) -> None:
    """The query goes before them, and what is none is refused all the same."""
    path = f"{user_path(user)}/recall"
    for messages, status in (([], 200), (None, 200), ([{"role": "user"}], 200), ([{}], 400), ("x", 400), ({}, 400)):
        answer = await proxy.control("POST", path, {"query": "x", "messages": messages})
        assert answer.status == status, messages
    assert (await proxy.control("POST", path, {"query": None, "messages": None})).status == 400


@pytest.mark.parametrize(
    "query", ["limit=1&limit=2", "limit=0000000019999999", "cursor=x&cursor=y", "include=all", "include="]
)
async def test_parameters_are_clear(proxy: Proxy, query: str) -> None:
    """What is given twice, or is nothing that the route knows, is refused under its name."""
    name = query.partition("=")[0]
    answer = await proxy.control("GET", f"/memory/users/ada/memories?{query}")
    assert (answer.status, answer.code) == (400, f"memory_proxy_bad_{name}")
    assert answer.json["error"]["param"] == name


async def test_guesses_over_http_are_stopped(launch: Launch) -> None:
    """With 429 and when to come back, on every guarded path alike; whoever only probes is served."""
    proxy = await launch(ready=False, admin={"token": "s3cret"})
    statuses = []
    for path in ["/memory/users", "/metrics", "/memory/journal", "/readyz"] * 4:
        answer = await proxy.request("GET", path, headers={"Authorization": "Bearer guess"})
        if path != "/readyz":
            statuses.append(answer.status)
    assert set(statuses[:6]) == {401}
    assert set(statuses[-3:]) == {429}
    answer = await proxy.request("GET", "/metrics", headers={"Authorization": "Bearer s3cret"})
    assert (answer.status, answer.code) == (429, "memory_proxy_too_many_failures")
    assert 0 < int(answer.header("retry-after") or 0) <= 60
    assert (await proxy.request("GET", "/healthz")).status == 200


@pytest.mark.parametrize("explained", [False, True])
async def test_readiness_tells_strangers_no_reasons(proxy: Proxy, explained: bool) -> None:
    """They hear that something fails; why, which may name paths and users, is for who may use the control plane."""
    status = proxy.app.link.status
    assert status is not None
    trouble = "chroma: OSError: /srv/data/chroma/x"
    link = SimpleNamespace(status=msgspec.structs.replace(status, trouble=trouble, failed=1))
    journal = SimpleNamespace(state=SimpleNamespace(failing="/srv/data/journal.sqlite: disk I/O error"))
    health = Health(
        proxy.app.dataplane,
        journal,
        link,  # type: ignore[arg-type]
        proxy.app.exposition,
        proxy.app.keeper,
        lambda _: explained,
    )
    answer = await health.ready(Request({"type": "http"}))
    told = json.loads(bytes(answer.body))
    assert answer.status_code == 503
    assert (b"/srv" in bytes(answer.body)) is explained
    if not explained:
        assert told["checks"] == {"server": "ok", "journal": FAILING, "keeper": "ok", "store": FAILING}
        assert "reason" not in told["journal"]


async def test_who_may_see_reasons(launch: Launch, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever may use the control plane, and nobody else: the token, where there is one."""
    proxy = await launch(ready=False, admin={"token": "s3cret"})
    monkeypatch.setattr(JournalWriter, "state", JournalState("/srv/x: no room", 0, 0))
    for headers, told in (({}, FAILING), ({"Authorization": "Bearer s3cret"}, "/srv/x: no room")):
        answer = await proxy.request("GET", "/readyz", headers=headers)
        assert answer.json["checks"]["journal"] == told
