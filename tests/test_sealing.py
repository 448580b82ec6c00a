"""Forgotten for real: what lies on disk is sealed, and what was erased cannot be read by anybody, whatever happened."""

import base64
import json
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import chromadb
import msgspec
import pytest
from chromadb.config import Settings
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from proxy.errors import StoreError
from proxy.ledger import FileLedger
from proxy.models import Memory, Record, Scope
from proxy.stores import sweep
from proxy.stores.base import KnownUser, Store
from proxy.stores.embedded import EmbeddedChroma
from proxy.stores.envelope import COMPRESSED_FROM, NONCE, Envelopes, is_sealed
from proxy.stores.rows import USER_ROW, find_shard, name_old_row, name_row
from proxy.text import ANALYSIS, pack_terms

AT = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
ADA, BOB = Scope("ada.lovelace@example.org"), Scope("bob.böhm@example.org")
ROW, SAID = name_row(ADA, "m"), 'the parrot is called Käpt\'n "Flint"'


def known(store: Store, scope: Scope, ids: Sequence[str]) -> set[str]:
    """Those of *ids* that the user has a record of."""
    return {record.memory.id for record in store.fetch_ids(scope, ids)}


def record(name: str, text: str, user: Scope = ADA) -> Record:
    memory = Memory(name, user.user_id, "turn", "user", text, AT, "c/1", 0)
    return Record(memory, b"\x00\x38" * 8, pack_terms(text), ANALYSIS, "model")


@contextmanager
def opened(directory: Path) -> Iterator[EmbeddedChroma]:
    with closing(FileLedger(directory)) as ledger, closing(EmbeddedChroma(directory, ledger)) as store:
        yield store


def texts(store: EmbeddedChroma, user: Scope = ADA) -> dict[str, str]:
    return {found.memory.id: found.memory.text for found in store.fetch(user, store.list_rows(user))}


def disguises(text: str) -> set[bytes]:
    """How *text* may lie in a file: in the encodings that databases use, in JSON, and in the middle of base64."""
    escaped = {json.dumps(text, ensure_ascii=ascii_)[1:-1] for ascii_ in (True, False)}
    plain = {form.encode(encoding) for form in {text, *escaped} for encoding in ("utf-8", "utf-16-le", "utf-16-be")}
    found = set(plain)
    for raw in plain:
        for offset in range(3):
            coded = base64.b64encode(bytes(offset) + raw)
            # Without the characters that also depend on what comes before and after.
            middle = coded[4 if offset else 0 : len(coded) - (4 if (offset + len(raw)) % 3 else 0)]
            found |= {middle, base64.urlsafe_b64encode(base64.b64decode(middle))}
    return found


def find(directory: Path, *planted: str) -> dict[str, set[str]]:
    """In which files each of the *planted* texts is, in any disguise."""
    files = {path.name: path.read_bytes() for path in directory.rglob("*") if path.is_file()}
    assert any(name.startswith("chroma.sqlite3") for name in files)
    return {
        text: names
        for text in planted
        if (names := {name for name, raw in files.items() if any(form in raw for form in disguises(text))})
    }


def read_sealed(directory: Path, row: str) -> str:
    """What Chroma's file has of a row."""
    with closing(sqlite3.connect(directory / "chroma" / "chroma.sqlite3")) as connection:
        query = """
        SELECT m.string_value FROM embeddings AS e JOIN embedding_metadata AS m ON m.id = e.id AND m.key = 'm'
        WHERE e.embedding_id = ?
        """
        text: str = connection.execute(query, (row,)).fetchone()[0]
    return text


def break_open(directory: Path, sealed: str, user: Scope, row: str) -> bool:
    """Whether any sixteen bytes of any file, as they are or as text, are the key to what was *sealed*."""
    raw = base64.b64decode(sealed)
    bound = f"{raw[0]}\x00{user.key}\x00{row}".encode()
    tried: set[bytes] = set()
    for path in directory.glob("ledger*"):
        content = path.read_bytes()
        tried |= {content[start : start + 16] for start in range(len(content) - 15)}
    for key in tried:
        try:
            AESGCM(key).decrypt(raw[1 : 1 + NONCE], raw[1 + NONCE :], bound)
        except InvalidTag:
            continue
        return True
    return False


def test_a_disguise_is_seen_through(tmp_path: Path) -> None:
    """The search of these tests finds what it is to find, wherever in base64 it begins."""
    for number in range(4):
        for encoding in ("utf-8", "utf-16-le"):
            coded = base64.b64encode(bytes(number) + SAID.encode(encoding) + b"rest")
            (tmp_path / "chroma.sqlite3").write_bytes(b"\x00" + coded)
            assert find(tmp_path, SAID) == {SAID: {"chroma.sqlite3"}}
    (tmp_path / "chroma.sqlite3").write_text(json.dumps([SAID]))
    assert find(tmp_path, SAID)
    (tmp_path / "chroma.sqlite3").write_text("nothing")
    assert find(tmp_path, SAID) == {}


def test_nothing_that_was_said_is_in_any_file(tmp_path: Path) -> None:
    """Neither texts nor user ids, neither before nor after they are erased, open or closed."""
    long = "a story of the sea. " * (COMPRESSED_FROM // 10)
    planted = [SAID, "bob eats no nuts", "carol's sister is a judge", long[:200]]
    users = [ADA, BOB, Scope("carol@example.org", "acme")]
    planted += [user.user_id for user in users]
    with opened(tmp_path) as store:
        store.put({ADA: [record("m", SAID), record("n", long)], BOB: [record("m", planted[1], BOB)]})
        store.put({users[2]: [record("m", planted[2], users[2])]})
        store.touch([KnownUser(user, AT) for user in users])
        assert find(tmp_path, *planted) == {}
        store.delete(ADA, ["m"])
        store.delete_user(BOB)
        assert texts(store) == {"n": long}
        assert find(tmp_path, *planted) == {}
    assert find(tmp_path, *planted) == {}
    with opened(tmp_path) as store:
        assert texts(store, users[2]) == {"m": planted[2]}
        assert {user.scope for user in store.users()} == {ADA, users[2]}
    assert find(tmp_path, *planted) == {}


def test_what_was_erased_or_replaced_opens_with_nothing_that_is_left(tmp_path: Path) -> None:
    """Every sixteen bytes in the ledger's files are tried as its key; before the erasure one of them was it."""
    with opened(tmp_path) as store:
        store.put(
            {ADA: [record("m", SAID), record("n", "two"), record("o", "three")], BOB: [record("m", "bob's", BOB)]}
        )
        store.touch([KnownUser(BOB, AT)])
        places = {(ADA, ROW), (ADA, name_row(ADA, "n")), (BOB, name_row(BOB, "m"))}
        sealed = {place: read_sealed(tmp_path, place[1]) for place in places}
        sealed[BOB, USER_ROW] = read_sealed(tmp_path, BOB.key)
        assert all(break_open(tmp_path, text, *place) for place, text in sealed.items())
        store.delete(ADA, ["m"])
        store.put({ADA: [record("n", "corrected")]})
        store.delete_user(BOB)
        assert not any(break_open(tmp_path, text, *place) for place, text in sealed.items())
        assert texts(store) == {"n": "corrected", "o": "three"}
    assert not any(break_open(tmp_path, text, *place) for place, text in sealed.items())


def test_a_backup_of_the_store_says_nothing_once_the_key_is_gone(tmp_path: Path) -> None:
    """Chroma's folder, put back as it was before the erasure, has the rows, and they do not exist."""
    with opened(tmp_path) as store:
        store.put({ADA: [record("m", SAID), record("n", "stays")]})
        store.touch([KnownUser(ADA, AT)])
    files = {path: path.read_bytes() for path in (tmp_path / "chroma").rglob("*") if path.is_file()}
    with opened(tmp_path) as store:
        store.delete(ADA, ["m"])
        assert store.delete_user(BOB) == 0
    for path, content in files.items():
        path.write_bytes(content)
    with opened(tmp_path) as store:
        assert texts(store) == {"n": "stays"}
        assert (store.fetch(ADA, [ROW]), store.fetch_ids(ADA, ["m"]), known(store, ADA, ["m"])) == ([], [], set())
        assert store.delete(ADA, ["m"]) == 0
        store.put({ADA: [record("m", "said again")]})
        assert texts(store) == {"m": "said again", "n": "stays"}


def test_a_sealed_text_opens_in_its_own_row_only() -> None:
    """Neither another user's, nor another row of the same user, nor with another version byte or key."""
    envelopes = Envelopes(Record)
    one, key, other = record("m", SAID), b"k" * 16, b"o" * 16
    sealed = envelopes.seal(envelopes.pack(one), key, user_key=ADA.key, row=ROW)
    assert envelopes.open(sealed, (key,), user_key=ADA.key, row=ROW) == one
    assert envelopes.open(sealed, (other, key), user_key=ADA.key, row=ROW) == one
    assert envelopes.open(sealed, (other, b""), user_key=ADA.key, row=ROW) is None
    assert envelopes.open(sealed, (key,), user_key=BOB.key, row=ROW) is None
    assert envelopes.open(sealed, (key,), user_key=ADA.key, row=name_row(ADA, "n")) is None
    raw = base64.b64decode(sealed)
    retold = base64.b64encode(bytes([raw[0] + 1]) + raw[1:]).decode()
    assert envelopes.open(retold, (key,), user_key=ADA.key, row=ROW) is None
    with pytest.raises(ValueError, match="newer version"):
        envelopes.open(base64.b64encode(b"\x09" + raw[1:]).decode(), (key,), user_key=ADA.key, row=ROW)


@pytest.mark.parametrize("size", [0, 1, COMPRESSED_FROM, 20 * COMPRESSED_FROM])
def test_any_length_is_sealed(size: int) -> None:
    """Long texts take less room than they have characters; each sealing is another one."""
    envelopes = Envelopes(Record)
    one = record("m", "the sea, " * (size // 9))
    seals = {envelopes.seal(envelopes.pack(one), b"k" * 16, user_key=ADA.key, row=ROW) for _ in range(3)}
    assert len(seals) == 3
    for sealed in seals:
        assert is_sealed(sealed)
        assert envelopes.open(sealed, (b"k" * 16,), user_key=ADA.key, row=ROW) == one
        assert len(sealed) < max(COMPRESSED_FROM * 4 / 3, size) + 400


def test_unsealed_text_is_read_only_where_the_ledger_says_so() -> None:
    """Who can write into the store's file cannot put words into somebody's memory."""
    envelopes = Envelopes(Record)
    plain = msgspec.json.encode(record("m", SAID)).decode()
    assert envelopes.open(plain, (b"k" * 16,), user_key=ADA.key, row=ROW) is None
    assert envelopes.open(plain, (b"k" * 16, b""), user_key=ADA.key, row=ROW) == record("m", SAID)
    assert envelopes.open("", (b"",), user_key=ADA.key, row=ROW) is None


def test_a_lost_ledger_is_told_of(tmp_path: Path) -> None:
    """A store full of what nobody can open is not taken for an empty one."""
    with opened(tmp_path) as store:
        store.put({ADA: [record("m", SAID)]})
    for path in tmp_path.glob("ledger*"):
        path.rename(path.with_name("kept" + path.suffix))
    with pytest.raises(StoreError, match=r"ledger is new"), opened(tmp_path):
        pass
    with pytest.raises(StoreError, match=r"ledger is new"), opened(tmp_path):
        pass
    (tmp_path / "kept.sqlite3").rename(tmp_path / "ledger.sqlite3")
    with opened(tmp_path) as store:
        assert texts(store) == {"m": SAID}


class Killed(BaseException):
    """What ends a process at this point. Nobody catches it."""


class Steps:
    """Counts the steps that change something, on disk or in Chroma, and ends the process before or after one."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.count = 0
        self.fatal: int | None = None
        self._watch(patch, FileLedger, ("make_keys", "settle_keys", "destroy_keys"))
        self._watch(patch, chromadb.Collection, ("upsert", "delete"))

    def _watch(self, patch: pytest.MonkeyPatch, owner: type, names: tuple[str, ...]) -> None:
        for name in names:
            patch.setattr(owner, name, self._wrap(getattr(owner, name)))

    def _wrap(self, step: Callable[..., Any]) -> Callable[..., Any]:
        def take(*args: Any, **kwargs: Any) -> Any:
            self._reach()
            done = step(*args, **kwargs)
            self._reach()
            return done

        return take

    def _reach(self) -> None:
        if self.count == self.fatal:
            raise Killed
        self.count += 1


def kill_everywhere(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    prepare: Callable[[Path], None],
    act: Callable[[EmbeddedChroma], object],
) -> Iterator[Path]:
    """Directories in which *act* was ended at each of its steps in turn; in the last one it was not."""
    steps = Steps(monkeypatch)
    for fatal in range(100):
        directory = tmp_path / str(fatal)
        directory.mkdir()
        prepare(directory)
        with opened(directory) as store:
            steps.count, steps.fatal = 0, fatal
            try:
                act(store)
            except Killed:
                steps.fatal = None
            else:
                steps.fatal = None
                yield directory
                return
        yield directory
    pytest.fail("more steps than there can be")


def put_two(directory: Path) -> None:
    with opened(directory) as store:
        store.put({ADA: [record("m", "before"), record("n", "other")]})
        store.touch([KnownUser(ADA, AT)])


def test_a_put_that_was_killed_anywhere_has_happened_or_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A confirmed record is what it was or what it became, and listed in any case; the same put again completes it."""

    def put(store: EmbeddedChroma) -> None:
        store.put({ADA: [record("m", "after"), record("new", "new")], BOB: [record("b", "bob's", BOB)]})
        store.touch([KnownUser(ADA, AT), KnownUser(BOB, AT)])

    seen = []
    for directory in kill_everywhere(tmp_path, monkeypatch, put_two, put):
        with opened(directory) as store:
            seen.append(texts(store))
            assert seen[-1] in (
                {"m": "before", "n": "other"},
                {"m": "after", "n": "other", "new": "new"},
            )
            assert len(store.list_rows(ADA)) == len(seen[-1])
            assert known(store, ADA, ["m", "n", "new"]) == seen[-1].keys()
            assert KnownUser(ADA, AT) in store.users()
            put(store)
            assert texts(store) == {"m": "after", "n": "other", "new": "new"}
            assert texts(store, BOB) == {"b": "bob's"}
            assert {user.scope for user in store.users()} == {ADA, BOB}
    assert len(seen) > 10
    assert seen[0] != seen[-1]


@pytest.mark.parametrize("whole", [True, False])
def test_an_erasure_that_was_killed_anywhere_leaves_nothing_to_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, whole: bool
) -> None:
    """From the first step on it is gone, from the file as well; erasing again removes the rows, too."""

    def erase(store: EmbeddedChroma) -> int:
        return store.delete_user(ADA) if whole else store.delete(ADA, ["m"])

    left = {} if whole else {"n": "other"}
    for number, directory in enumerate(kill_everywhere(tmp_path, monkeypatch, put_two, erase)):
        if number == 0:
            assert break_open(directory, read_sealed(directory, ROW), ADA, ROW)
            continue
        with opened(directory) as store:
            assert texts(store) == left
            assert len(store.list_rows(ADA)) == len(left)
            assert known(store, ADA, ["m"]) == set()
            assert erase(store) == 0
            assert texts(store) == left
            assert (store.users() == []) is whole
            # Chroma itself has nothing of it any more.
            assert store._collections[f"records.{find_shard(ADA.key):02d}"].count() == len(left)
    assert number > 2


def test_what_a_failing_store_did_not_take_is_put_once_it_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tries that fail, before or after Chroma has the rows, neither hide what is there nor double it."""
    with opened(tmp_path) as store:
        store.put({ADA: [record("m", "before")]})
        upsert = chromadb.Collection.upsert
        for after in (False, True, False):

            def fail(collection: Any, *, now: bool = after, **rows: Any) -> None:
                if now:
                    upsert(collection, **rows)
                raise RuntimeError("disk full")

            monkeypatch.setattr(chromadb.Collection, "upsert", fail)
            with pytest.raises(StoreError):
                store.put({ADA: [record("m", "after"), record("new", "new")]})
            monkeypatch.setattr(chromadb.Collection, "upsert", upsert)
            assert texts(store) == {"m": "after" if after or known(store, ADA, ["new"]) else "before"}
        store.put({ADA: [record("m", "after"), record("new", "new")]})
        assert texts(store) == {"m": "after", "new": "new"}


def test_a_record_put_while_it_is_fetched_is_one_of_the_two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Text and keys are read one after the other; what comes in between makes nobody's record disappear."""
    with opened(tmp_path) as store:
        store.put({ADA: [record("m", "before"), record("n", "other")]})
        read = FileLedger.read_keys

        def put_first(ledger: FileLedger, user_key: str, rows: Any = None) -> Any:
            monkeypatch.setattr(FileLedger, "read_keys", read)
            store.put({ADA: [record("m", "after")]})
            return ledger.read_keys(user_key, rows)

        monkeypatch.setattr(FileLedger, "read_keys", put_first)
        assert list(texts(store).items()) == [("m", "after"), ("n", "other")]


def make_legacy(directory: Path, planted: Mapping[Scope, Mapping[str, str]]) -> None:
    """A store as the versions before sealing left it: half of each user's records in either kind of collection."""
    client = chromadb.PersistentClient(str(directory / "chroma"), settings=Settings(anonymized_telemetry=False))

    def add(collection: str, row: str, vector: list[float], **metadata: str) -> None:
        made = client.get_or_create_collection(collection, embedding_function=None)
        made.upsert(ids=[row], embeddings=[vector], metadatas=[metadata])

    for user, said in planted.items():
        for number, (name, text) in enumerate(said.items()):
            plain = msgspec.json.encode(record(name, text, user)).decode()
            shard = f"{find_shard(user.key):02d}"
            if number % 2:
                add(f"memories.4.{shard}", name_old_row(user, name), [0.5] * 4, u=user.key, m=plain)
            else:
                add(f"records.{shard}", name_row(user, name), [0.5], u=user.key, m=plain)
        add("users", user.key, [0.5], m=msgspec.json.encode(KnownUser(user, AT)).decode())
    client.close()


PLANTED = {
    ADA: {"a": "alpha of ada's", "b": "beta of ada's", "c": "gamma of ada's", "d": "delta of ada's"},
    BOB: {"a": "epsilon of bob's", "b": "zeta of bob's"},
}


def test_what_earlier_versions_stored_is_read_sealed_when_put_and_erased(tmp_path: Path) -> None:
    """Once the store is opened again, no file has the text of what was erased or replaced."""
    make_legacy(tmp_path, PLANTED)
    everything = [text for said in PLANTED.values() for text in said.values()]
    assert len(find(tmp_path, *everything, ADA.user_id, BOB.user_id)) == len(everything) + 2
    with opened(tmp_path) as store:
        assert texts(store) == PLANTED[ADA]
        assert set(store.users()) == {KnownUser(ADA, AT), KnownUser(BOB, AT)}
        store.put({ADA: [record("a", "alpha again"), record("b", "beta again"), record("e", "new")]})
        assert texts(store) == PLANTED[ADA] | {"a": "alpha again", "b": "beta again", "e": "new"}
        assert known(store, ADA, list("abcdex")) == set("abcde")
        assert store.delete(ADA, ["c", "d"]) == 2
        assert store.delete_user(BOB) == 2
        assert texts(store) == {"a": "alpha again", "b": "beta again", "e": "new"}
        store.touch([KnownUser(ADA, AT)])
    assert find(tmp_path, *everything)
    with opened(tmp_path) as store:
        assert find(tmp_path, *everything, ADA.user_id, BOB.user_id) == {}
        assert texts(store) == {"a": "alpha again", "b": "beta again", "e": "new"}
        assert store.users() == [KnownUser(ADA, AT)]
        store.put({ADA: [record("f", "after all that")]})
        assert "f" in texts(store)
    assert find(tmp_path, *everything, "after all that", ADA.user_id) == {}


def test_what_was_not_erased_survives_the_sweep(tmp_path: Path) -> None:
    """Unsealed records of others, and of the same user, are as they were."""
    make_legacy(tmp_path, PLANTED)
    with opened(tmp_path) as store:
        assert store.delete(ADA, ["a", "b"]) == 2
    with opened(tmp_path) as store:
        assert texts(store) == {"c": PLANTED[ADA]["c"], "d": PLANTED[ADA]["d"]}
        assert texts(store, BOB) == PLANTED[BOB]
        assert {user.scope for user in store.users()} == {ADA, BOB}
        assert find(tmp_path, PLANTED[ADA]["a"], PLANTED[ADA]["b"]) == {}


def test_an_erasure_of_what_is_unsealed_may_be_killed_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What Chroma was not told of any more is taken out of its file as well."""
    for number, directory in enumerate(
        kill_everywhere(
            tmp_path,
            monkeypatch,
            lambda directory: make_legacy(directory, PLANTED),
            lambda store: store.delete_user(ADA),
        )
    ):
        with opened(directory) as store:
            if number:
                assert texts(store) == {}
                assert find(directory, *PLANTED[ADA].values(), ADA.user_id) == {}
            else:
                assert texts(store) == PLANTED[ADA]
            assert texts(store, BOB) == PLANTED[BOB]


def test_a_move_that_was_killed_anywhere_has_happened_or_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of an unsealed record that is put again there is one in the end, and at least one at any time."""
    wanted = {"a": "after", "b": "after", "c": PLANTED[ADA]["c"], "d": PLANTED[ADA]["d"]}

    def put(store: EmbeddedChroma) -> None:
        store.put({ADA: [record("a", "after"), record("b", "after")]})
        store.touch([KnownUser(ADA, AT)])

    for directory in kill_everywhere(tmp_path, monkeypatch, lambda directory: make_legacy(directory, PLANTED), put):
        with opened(directory) as store:
            for name, text in texts(store).items():
                assert text in (PLANTED[ADA][name], wanted[name])
            assert known(store, ADA, list("abcd")) == set("abcd")
            assert {user.scope for user in store.users()} == {ADA, BOB}
            put(store)
            assert texts(store) == wanted
            assert len(store.list_rows(ADA)) == 4
        with opened(directory) as store:
            assert texts(store) == wanted
            assert find(directory, PLANTED[ADA]["a"], PLANTED[ADA]["b"]) == {}


def test_memory_of_the_process_stays_out_of_the_files(tmp_path: Path) -> None:
    """Chroma writes an index that was never filled; what was said and freed in the process before is not in it."""
    secret = "between ourselves, "
    with opened(tmp_path) as store:
        for size in (600, 3_000, 3_300, 15_000):
            kept = [(secret * (size // len(secret)) + str(number)).encode() for number in range(500)]
            del kept
            store.put({Scope(f"user {number}"): [record("m", "x", Scope(f"user {number}"))] for number in range(20)})
    indexes = [*tmp_path.rglob("data_level0.bin"), *tmp_path.rglob("length.bin")]
    assert len(indexes) > 10
    blocks = [tmp_path / f"block {number}" for number in range(len(indexes))]
    for index, block in zip(indexes, blocks, strict=True):
        block.hardlink_to(index)
    with opened(tmp_path):
        assert find(tmp_path, secret) == {}
        assert not any(path.exists() for path in indexes)
        # Not the name alone is gone.
        assert not any(any(block.read_bytes()) for block in blocks)


def test_a_sweep_that_fails_is_tried_at_the_next_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory works meanwhile."""
    make_legacy(tmp_path, PLANTED)
    with opened(tmp_path) as store:
        store.delete(ADA, ["a"])
    with monkeypatch.context() as patch:
        patch.setattr(sweep, "_BLANK_QUEUE", "UPDATE elsewhere SET metadata = NULL")
        with opened(tmp_path) as store:
            assert "b" in texts(store)
    assert find(tmp_path, PLANTED[ADA]["a"])
    with opened(tmp_path):
        assert find(tmp_path, PLANTED[ADA]["a"]) == {}


def test_a_store_that_is_gone_needs_no_sweep(tmp_path: Path) -> None:
    """Somebody has removed Chroma's folder: there is nothing in it."""
    make_legacy(tmp_path, PLANTED)
    with opened(tmp_path) as store:
        store.delete(ADA, ["a"])
    (tmp_path / "chroma").rename(tmp_path / "elsewhere")
    with opened(tmp_path) as store:
        assert texts(store) == {}
