"""What every store keeps to, whatever it is made of."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from proxy import config
from proxy.config import Settings
from proxy.embedders.base import pack_vector
from proxy.errors import StoreError
from proxy.ledger import FileLedger, Ledger
from proxy.models import Memory, Record, Scope
from proxy.stores.base import STORES, Activity, KnownUser, Store, open_store
from proxy.stores.embedded import EmbeddedChroma
from proxy.text import ANALYSIS, pack_terms

AT = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
ADA, BOB = Scope("ada"), Scope("bob")
HOSTILE = [
    "it's",
    'a "quote"',
    "../../etc/passwd",
    "a/b",
    "a%2Fb",
    "$ne",
    '{"$ne": ""}',
    "*",
    "' OR 1=1 --",
    "b\u00f6b",
    "bo\u0308b",
    "\U0001f600",
    "\u202eabc",
    "x" * 256,
    " ada",
    "ADA",
]


def known(store: Store, scope: Scope, ids: Sequence[str]) -> set[str]:
    """Those of *ids* that the user has a record of."""
    return {record.memory.id for record in store.fetch_ids(scope, ids)}


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with closing(FileLedger(tmp_path)) as opened:
        yield opened


# Chroma Cloud is a Chroma server behind other limits: see test_store_remote.
@pytest.fixture(params=sorted(STORES.keys() - {"cloud"}))
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    """A store with nothing in it."""
    store = request.getfixturevalue("chroma").store if request.param == "http" else {"mode": request.param}
    return config.load(flags={"data_dir": tmp_path, "store": store})


@pytest.fixture
def reopen(settings: Settings, ledger: Ledger) -> Callable[[], Store]:
    """Opens the same store each time."""
    return lambda: open_store(settings, ledger)


@pytest.fixture
def store(reopen: Callable[[], Store]) -> Iterator[Store]:
    with closing(reopen()) as opened:
        yield opened


def record(name: str, *, user: Scope = ADA, dim: int = 4, text: str | None = None) -> Record:
    said = f"text of {name}" if text is None else text
    vector = pack_vector(np.full(dim, 0.5, np.float32)) if dim else b""
    memory = Memory(name, user.user_id, "turn", "user", said, AT, "c/1", 0, name="N")
    return Record(memory, vector, pack_terms(said), ANALYSIS, f"model-{dim}")


def load(store: Store, scope: Scope) -> list[Record]:
    return store.fetch(scope, store.list_rows(scope))


def texts(store: Store, scope: Scope) -> dict[str, str]:
    return {found.memory.id: found.memory.text for found in load(store, scope)}


def test_what_was_put_is_loaded_again_after_reopening(reopen: Callable[[], Store]) -> None:
    """Every field survives, to the microsecond and the bit, in another process's life as well."""
    records = [record("one", text="quotes \"' \u2028 \x00 \U0001f600"), record("two", dim=0)]
    with closing(reopen()) as store:
        store.put({ADA: records})
        assert sorted(load(store, ADA), key=lambda found: found.memory.id) == records
    with closing(reopen()) as store:
        assert sorted(load(store, ADA), key=lambda found: found.memory.id) == records


def test_an_empty_store_knows_nobody(store: Store) -> None:
    """Nothing was ever stored: every question has an answer all the same."""
    store.prepare()
    assert load(store, ADA) == []
    assert store.fetch(ADA, ["a"]) == []
    assert (store.users(), store.users([ADA.key]), store.activity()) == ([], [], {})
    assert known(store, ADA, ["a"]) == set()
    assert (len(store.list_rows(ADA)), store.delete(ADA, ["a"]), store.delete_user(ADA)) == (0, 0, 0)
    store.put({})
    store.touch([])


def test_putting_twice_changes_nothing(store: Store) -> None:
    """The same record again is one record; another one of the same id takes its place."""
    for _ in range(2):
        store.put({ADA: [record("one"), record("two")]})
    assert len(store.list_rows(ADA)) == 2
    store.put({ADA: [record("one", text="new")]})
    assert texts(store, ADA) == {"one": "new", "two": "text of two"}


def test_a_record_of_another_model_takes_the_place_of_the_old_one(store: Store) -> None:
    """After a change of the embedding model a record put again, with a vector of another length, is still one."""
    store.put({ADA: [record("one", dim=8)]})
    store.put({ADA: [record("one", dim=4), record("two", dim=4)]})
    store.put({ADA: [record("one", dim=8, text="new")]})
    store.put({ADA: [record("three", dim=0)]})
    assert {found.memory.id: len(found.vector) for found in load(store, ADA)} == {"one": 16, "two": 8, "three": 0}
    assert texts(store, ADA)["one"] == "new"
    assert len(store.list_rows(ADA)) == 3
    assert known(store, ADA, ["one", "two", "three"]) == {"one", "two", "three"}
    assert store.delete(ADA, ["one", "two", "three"]) == 3
    assert len(store.list_rows(ADA)) == 0


@pytest.mark.parametrize("shared_id", ["m", "a.b", "x" * 128, "$ne"])
def test_users_are_apart(store: Store, shared_id: str) -> None:
    """Whatever the ids of users and memories contain, each user has just what was stored for them."""
    scopes = [ADA, Scope("ada", "acme"), *(Scope(name) for name in HOSTILE)]
    store.put({scope: [record(shared_id, user=scope, text=f"{n}")] for n, scope in enumerate(scopes)})
    assert [texts(store, scope) for scope in scopes] == [{shared_id: f"{n}"} for n in range(len(scopes))]
    assert store.delete(scopes[0], [shared_id]) == 1
    assert store.delete_user(scopes[2]) == 1
    assert [len(store.list_rows(scope)) for scope in scopes] == [0, 1, 0] + [1] * (len(scopes) - 3)


def test_only_what_is_there_is_known_and_deleted(store: Store) -> None:
    """Unknown ids, ids of others, and no ids at all are nothing."""
    store.put({ADA: [record("one"), record("two")], BOB: [record("three", user=BOB)]})
    assert known(store, ADA, ["one", "three", "four"]) == {"one"}
    assert known(store, ADA, []) == set()
    assert store.delete(ADA, ["three", "four"]) == 0
    assert store.delete(ADA, []) == 0
    assert store.delete(ADA, ["one", "four"]) == 1
    assert texts(store, ADA) == {"two": "text of two"}
    assert len(store.list_rows(BOB)) == 1


def test_what_is_known_is_told_without_reading_it(store: Store) -> None:
    """Of ids, those that the user has, and no more once they are erased; of whoever else nothing."""
    store.put({ADA: [record("a"), record("b")], BOB: [record("c", user=BOB)]})
    assert store.find_known(ADA, ["a", "b", "c", "x"]) == {"a", "b"}
    store.delete(ADA, ["a"])
    assert store.find_known(ADA, ["a", "b"]) == {"b"}
    store.delete_user(ADA)
    assert store.find_known(ADA, ["b"]) == set()
    assert store.find_known(BOB, []) == set()


def test_more_than_one_statement_holds(store: Store) -> None:
    """Loads of records and ids go in, come out, and go away in full."""
    many = [record(f"m{number}", dim=2) for number in range(2_500)]
    ids = [one.memory.id for one in many]
    store.put({ADA: many})
    assert len(store.list_rows(ADA)) == 2_500
    assert known(store, ADA, ids) == set(ids)
    assert store.delete(ADA, ids[:1_200]) == 1_200
    assert store.delete_user(ADA) == 1_300
    assert load(store, ADA) == []


def test_rows_come_in_the_order_of_their_first_put(store: Store) -> None:
    """What was put first is listed and fetched first, put again or not, however its id sorts."""
    names = ["z", "a", "m", "b", "y"]
    for name in names:
        store.put({ADA: [record(name)], BOB: [record(name, user=BOB)]})
    store.put({ADA: [record("a", text="again")]})
    rows = store.list_rows(ADA)
    assert [found.memory.id for found in store.fetch(ADA, rows)] == names
    assert [found.memory.id for found in store.fetch(ADA, [rows[3], rows[1], "nowhere"])] == ["a", "b"]


def test_rows_of_others_are_nothing(store: Store) -> None:
    """Whoever has somebody else's rows cannot fetch what is in them, even in the same shard."""
    scopes = [Scope(f"user {number}") for number in range(40)]
    store.put({scope: [record("a", user=scope)] for scope in scopes})
    rows = [row for scope in scopes for row in store.list_rows(scope)]
    assert [found.memory.user_id for found in store.fetch(scopes[7], rows)] == ["user 7"]


def test_more_users_than_one_statement_holds(store: Store, settings: Settings) -> None:
    """All of them are listed, and any of them is found by key."""
    # Embedded Chroma answers with 32,000 rows at most.
    count = 33_000 if settings.store.mode == "embedded" else 3_000
    users = [KnownUser(Scope(f"user {number}"), AT) for number in range(count)]
    store.touch(users)
    store.prepare()
    assert store.activity() == {user.scope.key: Activity(AT) for user in users}
    assert len(store.users()) == len(users)
    assert set(store.users([user.scope.key for user in users[:1_500]])) == set(users[:1_500])


def test_users_are_listed_with_their_latest_activity(reopen: Callable[[], Store]) -> None:
    """A user is there once touched, with the date given last, and gone once deleted."""
    later = AT + timedelta(days=1)
    users = [KnownUser(Scope(name), AT) for name in HOSTILE]
    with closing(reopen()) as store:
        store.touch([*users, KnownUser(ADA, AT), KnownUser(ADA, later)])
        store.put({BOB: [record("one", user=BOB)]})
        store.touch([KnownUser(BOB, AT)])
        store.delete_user(BOB)
    with closing(reopen()) as store:
        assert {(user.scope, user.last_activity) for user in store.users()} == {*users, (ADA, later)}
        assert len(store.users()) == len(users) + 1
        assert store.activity() == {scope.key: Activity(at, scope.tenant) for scope, at in store.users()}
        assert store.users([ADA.key, BOB.key]) == [KnownUser(ADA, later)]
        assert store.users([BOB.key]) == store.users([]) == []


def test_text_that_cannot_be_stored_is_a_store_error(store: Store) -> None:
    """Half a surrogate pair has no UTF-8; nothing is quoted, and nothing stored."""
    with pytest.raises(StoreError):
        store.put({ADA: [Record(record("x").memory, b"\0\0", b"", 1, "\ud800")]})
    assert store.list_rows(ADA) == []


def test_a_place_that_cannot_be_used_is_a_store_error(tmp_path: Path, ledger: Ledger) -> None:
    """Rubbish where the store should be is told of as what it is."""
    (tmp_path / "chroma").write_text("no folder")
    with pytest.raises(StoreError, match="chroma"):
        EmbeddedChroma(tmp_path, ledger)


def test_a_collection_that_comes_up_while_others_are_listed(tmp_path: Path, ledger: Ledger) -> None:
    """One thread may read while another writes the first record of a shard, which makes a collection."""

    class Interrupted(str):
        """A name at which another thread gets its turn."""

        __slots__ = ()

        def startswith(self, *_: object) -> bool:
            chroma._use("memories.another", lambda _: None, make=True)
            return False

    chroma = EmbeddedChroma(tmp_path, ledger)
    with closing(chroma):
        chroma.put({ADA: [record("a")]})
        chroma._collections[Interrupted("memories.elsewhere")] = None
        assert texts(chroma, ADA) == {"a": "text of a"}
        assert "memories.another" in chroma._collections


def test_records_are_fetched_by_memory_id(store: Store) -> None:
    """Just those that there are, more than one statement holds, and nobody else's."""
    many = [record(f"m{number}", dim=0) for number in range(1_200)]
    store.put({ADA: many, BOB: [record("b", user=BOB)]})
    ids = [one.memory.id for one in many]
    assert sorted(store.fetch_ids(ADA, [*ids, "b", "x"]), key=lambda found: found.memory.id) == sorted(
        many, key=lambda one: one.memory.id
    )
    store.delete(ADA, ids[:1])
    assert store.fetch_ids(ADA, ids[:2]) == many[1:2]
    assert store.fetch_ids(ADA, []) == []


def test_what_comes_again_after_its_erasure_is_stored_again(store: Store) -> None:
    """An erased memory, or user, is as one that never was."""
    store.put({ADA: [record("one"), record("two")]})
    store.touch([KnownUser(ADA, AT)])
    store.delete(ADA, ["one"])
    store.put({ADA: [record("one", text="new")]})
    assert texts(store, ADA) == {"one": "new", "two": "text of two"}
    store.delete_user(ADA)
    assert (store.users(), store.list_rows(ADA)) == ([], [])
    store.put({ADA: [record("one", text="newer")]})
    store.touch([KnownUser(ADA, AT)])
    assert texts(store, ADA) == {"one": "newer"}
    assert store.users() == [KnownUser(ADA, AT)]
