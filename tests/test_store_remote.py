"""Chroma as a server: away, back, killed, silent, without its data, with somebody else's, and in the cloud."""

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from chromadb.config import Settings as ChromaSettings

from proxy import config
from proxy.config import Settings
from proxy.errors import StoreError
from proxy.ledger import FileLedger, Ledger
from proxy.models import Scope
from proxy.stores import connection
from proxy.stores.base import KnownUser, open_store
from proxy.stores.connection import Connection
from proxy.stores.embedded import EmbeddedChroma
from proxy.stores.remote import RemoteChroma
from proxy.stores.rows import join_value, split_value
from tests.chroma_server import ChromaServer, running_chroma
from tests.processes import serve_in_thread
from tests.test_stores import ADA, AT, BOB, load, record, texts


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with closing(FileLedger(tmp_path)) as opened:
        yield opened


@pytest.fixture
def own_chroma() -> Iterator[ChromaServer]:
    """A server that the test may kill."""
    with running_chroma() as server:
        yield server


def settings_for(folder: Path, store: dict[str, object]) -> Settings:
    return config.load(flags={"data_dir": folder, "store": store})


def test_a_server_may_come_go_and_come_back(tmp_path: Path, ledger: Ledger, own_chroma: ChromaServer) -> None:
    """Each call stands for itself, and what was put is there after the server was killed."""
    own_chroma.kill()
    with closing(open_store(settings_for(tmp_path, own_chroma.store), ledger)) as store:
        for call in (store.prepare, store.users, store.activity, lambda: store.list_rows(ADA)):
            with pytest.raises(StoreError, match=f"chroma at 127.0.0.1:{own_chroma.port}: .*refused"):
                call()
        own_chroma.start()
        store.prepare()
        store.put({ADA: [record("one")]})
        own_chroma.kill()
        with pytest.raises(StoreError, match="refused"):
            load(store, ADA)
        with pytest.raises(StoreError, match="refused"):
            store.put({ADA: [record("one", text="newer"), record("two")]})
        own_chroma.start()
        assert texts(store, ADA) == {"one": "text of one"}
        store.put({ADA: [record("one", text="newer"), record("two")]})
        assert texts(store, ADA) == {"one": "newer", "two": "text of two"}


def test_a_server_without_its_data_is_a_new_one(tmp_path: Path, ledger: Ledger, own_chroma: ChromaServer) -> None:
    """Its collections have other ids, which are looked up again."""
    with closing(open_store(settings_for(tmp_path, own_chroma.store), ledger)) as store:
        store.put({ADA: [record("one")]})
        store.touch([KnownUser(ADA, AT)])
        own_chroma.kill()
        own_chroma.lose_data()
        own_chroma.start()
        assert (load(store, ADA), store.users()) == ([], [])
        store.put({ADA: [record("two")]})
        store.touch([KnownUser(ADA, AT)])
        assert texts(store, ADA) == {"two": "text of two"}
        assert store.users() == [KnownUser(ADA, AT)]


def test_two_that_share_a_server_see_each_others_shards(tmp_path: Path, ledger: Ledger, chroma: ChromaServer) -> None:
    """One that looked while there was nothing finds what the other has made since."""
    settings = settings_for(tmp_path, chroma.store)
    scopes = [Scope(f"user {number}") for number in range(20)]
    with closing(open_store(settings, ledger)) as one, closing(open_store(settings, ledger)) as other:
        assert load(other, scopes[0]) == []
        for scope in scopes:
            one.put({scope: [record("a", user=scope)]})
            assert texts(other, scope) == {"a": "text of a"}
        one.touch([KnownUser(scope, AT) for scope in scopes])
        assert {user.scope for user in other.users()} == set(scopes)


def test_memories_of_another_ledger_are_told_of(tmp_path: Path, ledger: Ledger, chroma: ChromaServer) -> None:
    """They are not taken for erased ones: nothing is read, written or erased beside them."""
    settings = settings_for(tmp_path, chroma.store)
    with closing(open_store(settings, ledger)) as store:
        store.put({ADA: [record("one")]})
        (tmp_path / "other").mkdir()
        with closing(FileLedger(tmp_path / "other")) as foreign, closing(open_store(settings, foreign)) as wrong:
            calls: list[Callable[[], object]] = [
                wrong.prepare,
                wrong.users,
                wrong.activity,
                lambda: wrong.list_rows(ADA),
                lambda: wrong.fetch(ADA, ["row"]),
                lambda: wrong.fetch_ids(ADA, ["one"]),
                lambda: wrong.put({ADA: [record("two")]}),
                lambda: wrong.touch([KnownUser(ADA, AT)]),
                lambda: wrong.delete(ADA, ["one"]),
                lambda: wrong.delete_user(ADA),
            ]
            for call in calls:
                with pytest.raises(StoreError, match="sealed by another ledger"):
                    call()
        assert texts(store, ADA) == {"one": "text of one"}


def test_looking_claims_no_server(tmp_path: Path, ledger: Ledger, chroma: ChromaServer) -> None:
    """Who has only looked into an empty server has not made it theirs."""
    settings = settings_for(tmp_path, chroma.store)
    (tmp_path / "other").mkdir()
    with closing(FileLedger(tmp_path / "other")) as curious, closing(open_store(settings, curious)) as looking:
        looking.prepare()
        assert (load(looking, ADA), looking.users(), looking.delete_user(ADA)) == ([], [], 0)
        with closing(open_store(settings, ledger)) as store:
            store.put({ADA: [record("one")]})
        with pytest.raises(StoreError, match="another ledger"):
            looking.users()


def test_what_was_embedded_can_be_served(tmp_path: Path, ledger: Ledger) -> None:
    """The folder of an embedded store behind a server, with the ledger it had; with another one it is refused."""
    with closing(EmbeddedChroma(tmp_path, ledger)) as embedded:
        embedded.put({ADA: [record("one")]})
        embedded.touch([KnownUser(ADA, AT)])
    server = ChromaServer(tmp_path)
    (tmp_path / "chroma").rename(tmp_path / "data")
    (tmp_path / "other").mkdir()
    try:
        settings = settings_for(tmp_path, server.start().store)
        with (
            closing(FileLedger(tmp_path / "other")) as foreign,
            closing(open_store(settings, foreign)) as wrong,
            pytest.raises(StoreError, match="another ledger"),
        ):
            wrong.users()
        for _ in range(2):
            with closing(open_store(settings, ledger)) as store:
                assert texts(store, ADA) == {"one": "text of one"}
                assert store.users() == [KnownUser(ADA, AT)]
    finally:
        server.kill()


def test_who_waits_in_vain_waits_alone(
    tmp_path: Path, ledger: Ledger, own_chroma: ChromaServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once a server was silent one call at a time waits for it, and others hear at once that it does not answer."""
    monkeypatch.setattr(connection, "TIMEOUT", httpx.Timeout(1.0))
    with closing(open_store(settings_for(tmp_path, own_chroma.store), ledger)) as store:
        store.put({ADA: [record("one")]})
        rows = store.list_rows(ADA)
        with own_chroma.hanging():
            with pytest.raises(StoreError, match="does not answer"):
                store.fetch(ADA, rows)
            waiting, told = threading.Event(), threading.Event()
            whole = Connection.list_collections

            def wait(link: Connection) -> dict[str, Any]:
                waiting.set()
                assert told.wait(30)
                return whole(link)

            monkeypatch.setattr(Connection, "list_collections", wait)
            assert isinstance(store, RemoteChroma)
            store._known = None
            failures: list[str] = []

            def ask() -> None:
                try:
                    store.fetch(ADA, rows)
                except StoreError as exc:
                    failures.append(str(exc))

            alone = threading.Thread(target=ask)
            alone.start()
            assert waiting.wait(30)
            ask()
            assert failures == ["chroma: it does not answer"]
            told.set()
            alone.join()
            assert len(failures) == 2
        assert texts(store, ADA) == {"one": "text of one"}


def test_who_listens_and_says_nothing_is_given_up(
    tmp_path: Path, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A port that takes connections and answers nobody."""
    monkeypatch.setattr(connection, "TIMEOUT", httpx.Timeout(0.2))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        where = {"mode": "http", "host": "127.0.0.1", "port": silent.getsockname()[1]}
        with closing(open_store(settings_for(tmp_path, where), ledger)) as store:
            for _ in range(2):
                with pytest.raises(StoreError, match="does not answer"):
                    store.prepare()


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, b"<html>"),
        (200, b"[{}]"),
        (404, b"no"),
        (502, b"<html>"),
        (500, b'{"error": 1}'),
        (401, b"{}"),
    ],
)
def test_who_is_no_chroma_is_a_store_error(tmp_path: Path, ledger: Ledger, status: int, body: bytes) -> None:
    """Some other server, or one in front, answers in its own way."""

    async def answer(_: Any, __: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": body})

    with serve_in_thread(answer) as url:
        where = {"mode": "http", "host": "127.0.0.1", "port": int(url.rpartition(":")[2])}
        store = open_store(settings_for(tmp_path, where), ledger)
        with closing(store), pytest.raises(StoreError, match="chroma"):
            store.users()


def test_what_guards_the_server_is_sent(tmp_path: Path, ledger: Ledger) -> None:
    """Headers go with every request, and into no error."""
    seen: list[dict[bytes, bytes]] = []

    async def refuse(scope: Any, _: Any, send: Any) -> None:
        seen.append(dict(scope["headers"]))
        await send({"type": "http.response.start", "status": 403, "headers": []})
        await send({"type": "http.response.body", "body": b"s3cret is wrong"})

    with serve_in_thread(refuse) as url:
        where: dict[str, object] = {"mode": "http", "host": "127.0.0.1", "port": int(url.rpartition(":")[2])}
        where["headers"] = {"x-chroma-token": "s3cret"}
        store = open_store(settings_for(tmp_path, where), ledger)
        with closing(store), pytest.raises(StoreError) as caught:
            store.users()
    assert seen[0][b"x-chroma-token"] == b"s3cret"
    assert str(caught.value) == "chroma: HTTP 403"


class Cloud:
    """What is known of Chroma Cloud: who a key is for, and the limits that it keeps to, in front of a real server."""

    def __init__(self, server: ChromaServer) -> None:
        self.databases = ["default_database"]
        self.keys: set[bytes] = set()
        self.refused: list[str] = []
        self._server = f"http://127.0.0.1:{server.port}"

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.keys.add(dict(scope["headers"]).get(b"x-chroma-token", b""))
        body = b""
        more = True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        answer = await asyncio.to_thread(self._answer, scope["method"], scope["path"], scope["query_string"], body)
        await send({"type": "http.response.start", "status": answer.status_code, "headers": []})
        await send({"type": "http.response.body", "body": answer.content})

    def _answer(self, method: str, path: str, query: bytes, body: bytes) -> httpx.Response:
        if path.endswith("/auth/identity"):
            return httpx.Response(200, json={"user_id": "u", "tenant": "default_tenant", "databases": self.databases})
        asked = httpx.Response(200, content=body).json() if body else {}
        wrong = self._find_excess(path, asked)
        if wrong:
            self.refused.append(wrong)
            return httpx.Response(400, json={"error": "QuotaError", "message": wrong})
        with httpx.Client(trust_env=False, timeout=30) as client:
            answer = client.request(method, f"{self._server}{path}?{query.decode()}", content=body)
        if path.endswith("/get") and len(answer.json()["ids"]) > 300:
            self.refused.append("results")
        return httpx.Response(answer.status_code, content=answer.content)

    def _find_excess(self, path: str, asked: Any) -> str:
        if not isinstance(asked, dict) or "/collections/" not in path:
            return ""
        if len(asked.get("ids") or ()) > 300:
            return "records"
        metadatas = [metadata for metadata in asked.get("metadatas") or () if metadata]
        if any(len(metadata) > 32 for metadata in metadatas):
            return "keys"
        return "value" if any(len(v.encode()) > 4096 for one in metadatas for v in one.values()) else ""


@pytest.fixture
def cloud(chroma: ChromaServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    """Chroma Cloud, as far as one can have it at home: without TLS, for one."""
    app = Cloud(chroma)
    with serve_in_thread(app) as url:

        def lead_home(**settings: Any) -> Any:
            assert (settings["chroma_server_host"], settings["chroma_server_http_port"]) == ("api.trychroma.com", 443)
            assert settings["chroma_server_ssl_enabled"]
            here = {"chroma_server_host": "127.0.0.1", "chroma_server_http_port": int(url.rpartition(":")[2])}
            return ChromaSettings(**settings | here | {"chroma_server_ssl_enabled": False})

        monkeypatch.setattr("proxy.stores.connection.Settings", lead_home)
        yield app


def test_the_cloud_is_asked_for_no_more_than_it_gives(tmp_path: Path, ledger: Ledger, cloud: Cloud) -> None:
    """Loads of records, long ones among them, go in, come out, are replaced and go away within its limits."""
    settings = settings_for(tmp_path, {"mode": "cloud", "api_key": "ck-key"})
    words = " ".join(f"word{number * 7919 % 100_003}" for number in range(6_000))
    many = [record(f"m{number}", dim=0) for number in range(700)]
    with closing(open_store(settings, ledger)) as store:
        store.put({ADA: many, BOB: [record("long", user=BOB, text=words)]})
        store.touch([KnownUser(Scope(f"user {number}"), AT) for number in range(700)])
        assert len(load(store, ADA)) == 700
        assert texts(store, BOB) == {"long": words}
        store.put({BOB: [record("long", user=BOB, text="short now")]})
        assert texts(store, BOB) == {"long": "short now"}
        store.put({BOB: [record("long", user=BOB, text=words[:20_000])]})
        assert texts(store, BOB) == {"long": words[:20_000]}
        assert len(store.users()) == 700
        assert store.delete(ADA, [one.memory.id for one in many[:350]]) == 350
        assert store.delete_user(ADA) == 350
    assert cloud.refused == []
    assert cloud.keys == {b"ck-key"}


def test_a_record_that_the_cloud_has_no_room_for_is_told_of(tmp_path: Path, ledger: Ledger, cloud: Cloud) -> None:
    """It is named by its size, and nothing of it is stored."""
    with closing(open_store(settings_for(tmp_path, {"mode": "cloud", "api_key": "ck-key"}), ledger)) as store:
        text = "".join(chr(0x4E00 + number * 7919 % 20_000) for number in range(60_000))
        with pytest.raises(StoreError, match="has no room in Chroma"):
            store.put({ADA: [record("huge", text=text)]})
        assert load(store, ADA) == []
    assert cloud.refused == []


def test_a_key_for_several_databases_needs_one_named(tmp_path: Path, ledger: Ledger, cloud: Cloud) -> None:
    """The key tells where to go if it tells of one place only."""
    cloud.databases = ["default_database", "another"]
    where: dict[str, object] = {"mode": "cloud", "api_key": "ck-key"}
    store = open_store(settings_for(tmp_path, where), ledger)
    with closing(store), pytest.raises(StoreError, match=r"set store\.tenant and store\.database"):
        store.users()
    where["database"] = "default_database"
    with closing(open_store(settings_for(tmp_path, where), ledger)) as store:
        store.put({ADA: [record("one")]})
        assert texts(store, ADA) == {"one": "text of one"}


@pytest.mark.parametrize("size", [0, 1, 99, 100, 101, 2_000, 31 * 97 - 1])
def test_values_are_split_and_joined(size: int) -> None:
    """Whatever lay in the row before."""
    text = "A" + "x" * size
    split = split_value(text, 100)
    assert all(len(value) <= 100 for value in split.values())
    assert join_value({f"m{number}": "older" for number in range(1, 31)} | split) == text
    assert split_value(text, None) == {"m": text}
