"""The ledger in a file: what SQLite is asked to do, and what is in the file and its log."""

import os
import random
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from proxy.errors import StoreError
from proxy.ledger import FileLedger, Tombstone
from proxy.ledger.cache import Cache
from proxy.ledger.database import NAME, VERSION
from proxy.ledger.tombstones import MERGED
from tests.test_ledger import ADA, AT, BOB, SIZE, digest, make


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[FileLedger]:
    with closing(FileLedger(tmp_path)) as opened:
        yield opened


def content(directory: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(directory.iterdir()))


def test_destroyed_keys_are_nowhere_in_the_file(tmp_path: Path, ledger: FileLedger) -> None:
    """Nor in its log, while the process runs, whatever way SQLite has moved rows from page to page meanwhile."""
    chance = random.Random(7)
    users = [f"{number:032x}" for number in range(40)]
    living: dict[tuple[str, str], bytes] = {}
    dead: set[bytes] = set()
    for _ in range(30):
        batch = {user: [chance.randbytes(12).hex() for _ in range(25)] for user in chance.sample(users, 4)}
        again = [place for place in chance.sample(list(living), min(20, len(living))) if place[0] not in batch]
        for user, row in again:
            batch.setdefault(user, []).append(row)
        made = ledger.make_keys(batch)
        for user, keys in made.items():
            dead |= {living[user, row] for row in keys if (user, row) in living}
            living |= {(user, row): key for row, key in keys.items()}
        ledger.settle_keys(made)
        gone = chance.choice(users)
        rows = None if chance.random() < 0.3 else [row for user, row in living if user == gone][::3]
        ledger.destroy_keys(gone, rows)
        for place in [place for place in living if place[0] == gone and (rows is None or place[1] in rows)]:
            dead.add(living.pop(place))
    raw = content(tmp_path)
    windows = {raw[start : start + SIZE] for start in range(len(raw))}
    assert len(dead) > 500
    assert dead & windows == set()
    assert set(living.values()) <= windows


def test_a_log_that_a_killed_process_has_left_is_emptied_at_the_start(tmp_path: Path) -> None:
    """Keys that were destroyed, but whose pages are in the log still, are gone once the ledger is opened."""
    with closing(FileLedger(tmp_path)) as ledger:
        (key,) = make(ledger, ADA, "row").values()
        ledger.destroy_keys(BOB)  # moves the key out of the log, into the database
        with ledger._database.writing() as connection:
            connection.execute("UPDATE notes SET value = value")
        with ledger._database.writing() as connection:
            connection.execute("DELETE FROM keys")
        (tmp_path / "killed").mkdir()
        for path in tmp_path.glob("ledger*"):
            (tmp_path / "killed" / path.name).write_bytes(path.read_bytes())
    assert key in content(tmp_path / "killed")
    with closing(FileLedger(tmp_path / "killed")) as ledger:
        assert ledger.read_keys(ADA) == {}
        assert key not in content(tmp_path / "killed")


def test_a_key_that_a_reader_keeps_in_the_log_is_told_of(
    tmp_path: Path, ledger: FileLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who destroys hears of it, and has it done by trying again."""
    with ledger._database.reading() as connection:
        connection.execute("PRAGMA busy_timeout = 1")
    (key,) = make(ledger, ADA, "row").values()
    with closing(sqlite3.connect(tmp_path / NAME, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM keys").fetchall()
        with pytest.raises(StoreError, match="log"):
            ledger.destroy_keys(ADA)
        assert ledger.read_keys(ADA) == {}
        reader.execute("COMMIT")
    assert ledger.destroy_keys(ADA) == 0
    assert key not in content(tmp_path)


def test_nobody_else_reads_the_files(tmp_path: Path, ledger: FileLedger) -> None:
    """The database, its log, and what SQLite shares between processes: mode 0600, whatever the umask."""
    before = os.umask(0)
    try:
        ledger.make_keys({ADA: ["row"]})
        (tmp_path / "other").mkdir()
        with closing(FileLedger(tmp_path / "other")) as other:
            other.make_keys({ADA: ["row"]})
            modes = {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("ledger*")}
    finally:
        os.umask(before)
    assert modes == {0o600}


def test_every_commit_is_synced(ledger: FileLedger) -> None:
    """Of a WAL without it a power cut may take commits back."""
    with ledger._database.reading() as connection:
        pragmas = ("journal_mode", "synchronous", "secure_delete", "temp_store")
        assert [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in pragmas] == ["wal", 2, 1, 2]


def test_a_newer_ledger_is_refused(tmp_path: Path) -> None:
    """An old program does not write into what it does not know."""
    FileLedger(tmp_path).close()
    with closing(sqlite3.connect(tmp_path / NAME)) as connection:
        connection.execute(f"PRAGMA user_version = {VERSION + 1}")
    with pytest.raises(StoreError, match="newer version"):
        FileLedger(tmp_path)


def test_a_ledger_of_version_1_is_like_a_new_one(tmp_path: Path) -> None:
    """What it holds stays, and what it did not know of yet can be noted."""
    with closing(FileLedger(tmp_path)) as ledger:
        made = make(ledger, ADA, "row")
    with closing(sqlite3.connect(tmp_path / NAME)) as connection:
        new = list(connection.execute("SELECT sql FROM sqlite_master ORDER BY name"))
        connection.executescript("DROP TABLE embedding; PRAGMA user_version = 1")
    with closing(FileLedger(tmp_path)) as ledger:
        assert ledger.read_keys(ADA) == {"row": (made["row"],)}
        assert ledger.read_embedding() is None
    with closing(sqlite3.connect(tmp_path / NAME)) as connection:
        assert list(connection.execute("SELECT sql FROM sqlite_master ORDER BY name")) == new


def test_an_embedding_model_that_cannot_be_read_is_a_store_error(ledger: FileLedger) -> None:
    """Rather than none, which would be taken for an empty store."""
    with ledger._database.writing() as connection:
        connection.execute("INSERT INTO embedding VALUES (0, 'rubbish')")
    with pytest.raises(StoreError, match="embedding model cannot be read"):
        ledger.read_embedding()


def test_rubbish_is_a_store_error(tmp_path: Path) -> None:
    """A file that is no database, and a directory that is none."""
    (tmp_path / NAME).write_bytes(b"rubbish" * 1000)
    with pytest.raises(StoreError, match="ledger: SQLITE_NOTADB"):
        FileLedger(tmp_path)
    with pytest.raises(StoreError, match="ledger: FileNotFoundError"):
        FileLedger(tmp_path / "nowhere")


def test_a_failed_call_has_done_nothing(tmp_path: Path, ledger: FileLedger) -> None:
    """Neither a name without UTF-8, nor a full disk, leaves half a transaction, or a connection that is of no use."""
    with pytest.raises(StoreError, match="UnicodeEncodeError"):
        ledger.make_keys({ADA: ["fine", "\ud800"]})
    with ledger._database.reading() as connection:
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StoreError, match="ledger: SQLITE_FULL"):
        ledger.make_keys({ADA: [f"row {number}" for number in range(1_000)]})
    assert ledger.read_keys(ADA) == {}
    with ledger._database.reading() as connection:
        connection.execute("PRAGMA max_page_count = 1000000")
    assert make(ledger, ADA, "row").keys() == ledger.read_keys(ADA).keys()


def test_a_closed_ledger_says_so(tmp_path: Path) -> None:
    """In our own words."""
    ledger = FileLedger(tmp_path)
    ledger.close()
    with pytest.raises(StoreError, match="ledger: ProgrammingError"):
        ledger.is_off(ADA)


def test_nothing_erased_nothing_known(ledger: FileLedger) -> None:
    """All who have erased nothing share one tombstone."""
    assert ledger.tombstone(ADA) == Tombstone(None, {}, frozenset())
    assert ledger.tombstone(ADA) is ledger.tombstone(BOB)


def test_single_burials_are_merged(ledger: FileLedger) -> None:
    """Who erases memory by memory has few rows of digests, and each digest once."""
    for number in range(3 * MERGED):
        ledger.bury(ADA, at=AT, memory_ids=[f"m{number}"], digests=[digest(number), digest(0)])
    with ledger._database.reading() as connection:
        rows, size = connection.execute("SELECT count(*), sum(length(digests)) FROM erased_texts").fetchone()
    assert rows < MERGED
    assert size < 8 * 3 * MERGED + 8 * MERGED
    assert ledger.tombstone(ADA).digests == {digest(number) for number in range(3 * MERGED)}


def test_a_large_erasure_is_one_row(ledger: FileLedger) -> None:
    """20,000 digests are 160 kB."""
    many = [digest(number) for number in range(20_000)]
    ledger.bury(ADA, at=AT, memory_ids=None, digests=many)
    with ledger._database.reading() as connection:
        assert connection.execute("SELECT length(digests) FROM erased_texts").fetchall() == [(160_000,)]
    assert ledger.tombstone(ADA).digests == set(many)


def test_a_tombstone_is_read_once(ledger: FileLedger) -> None:
    """It is asked for with every exchange: the second time without the database."""
    ledger.bury(ADA, at=AT, memory_ids=["m"], digests=[])
    found = ledger.tombstone(ADA), ledger.is_off(ADA)
    ledger.close()
    assert (ledger.tombstone(ADA), ledger.is_off(ADA)) == found


def test_the_file_knows_no_text(tmp_path: Path, ledger: FileLedger) -> None:
    """Users by the hash that they are given as, and texts by their digest."""
    ledger.bury(ADA, at=AT, memory_ids=["m"], digests=[digest(1)])
    ledger.switch(ADA, off=True)
    with ledger._database.reading() as connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        held = {value for table in tables for row in connection.execute(f"SELECT * FROM {table}") for value in row}
    assert {value for value in held if isinstance(value, str)} == {ADA, "m"}


def test_a_cache_holds_so_many_and_so_much() -> None:
    """What was asked for longest ago goes first; what alone is too heavy is not kept."""
    cache: Cache[str] = Cache(entries=3, weight=10)
    for name in "abcd":
        cache.put(name, name.upper(), 1)
    assert [cache.get(name) for name in "abcd"] == [None, "B", "C", "D"]
    cache.get("b")
    cache.put("e", "E", 9)
    assert [cache.get(name) for name in "bcde"] == ["B", None, None, "E"]
    cache.put("e", "heavier than all", 11)
    cache.put("b", "B again", 10)
    assert [cache.get(name) for name in "be"] == ["B again", None]
    cache.drop("b")
    cache.drop("b")
    assert cache.get("b") is None
