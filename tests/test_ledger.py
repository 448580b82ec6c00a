"""Keys, tombstones and switches: durable, apart by user, and gone for good where they were destroyed."""

import os
import random
import sqlite3
import stat
import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from proxy.errors import StoreError
from proxy.ledger import Ledger, Tombstone
from proxy.ledger.cache import Cache
from proxy.ledger.database import NAME, VERSION
from proxy.ledger.tombstones import MERGED

AT = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
ADA, BOB = "a" * 32, "b" * 32
SIZE = 16


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with closing(Ledger(tmp_path)) as opened:
        yield opened


def digest(number: int) -> bytes:
    return number.to_bytes(8, "big")


def make(ledger: Ledger, user: str, *rows: str) -> dict[str, bytes]:
    """Keys of rows that the store is said to have at once."""
    made = ledger.make_keys({user: rows})[user]
    ledger.settle_keys({user: rows})
    return made


def content(directory: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(directory.iterdir()))


def test_keys_outlive_the_process(tmp_path: Path) -> None:
    """What was made is read again, by user and row, in full and in part, and without what there is not."""
    with closing(Ledger(tmp_path)) as ledger:
        made = ledger.make_keys({ADA: ["one", "two"], BOB: ["one"]})
        ledger.settle_keys({ADA: ["one", "two"], BOB: ["one"]})
    assert {len(key) for keys in made.values() for key in keys.values()} == {SIZE}
    assert len({key for keys in made.values() for key in keys.values()}) == 3
    with closing(Ledger(tmp_path)) as ledger:
        assert ledger.read_keys(ADA) == {row: (key,) for row, key in made[ADA].items()}
        assert ledger.read_keys(ADA, ["two", "three"]) == {"two": (made[ADA]["two"],)}
        assert ledger.read_keys("nobody") == ledger.read_keys(ADA, []) == {}
        assert ledger.read_row_keys("one", [BOB, ADA, "nobody"]) == {u: (made[u]["one"],) for u in (ADA, BOB)}


def test_more_names_than_a_statement_takes(ledger: Ledger) -> None:
    """Rows and users by the thousand are read, listed in their order, and destroyed."""
    rows = [f"row {number}" for number in range(2_500)]
    random.Random(1).shuffle(rows)
    made = make(ledger, ADA, *rows)
    assert ledger.read_keys(ADA, rows) == {row: (key,) for row, key in made.items()}
    assert ledger.list_rows(ADA) == rows
    users = [f"user {number}" for number in range(2_500)]
    ledger.make_keys({user: ["user"] for user in users})
    assert ledger.read_row_keys("user", users).keys() == set(users)
    pages = [ledger.page_row_keys("user", after=after, limit=2_000) for after in ("", sorted(users)[1_999], "x")]
    assert [name for page in pages for name in page] == sorted(users)
    assert pages[0] | pages[1] == ledger.read_row_keys("user", users)
    assert ledger.destroy_keys(ADA, [*rows[:2_000], "none"]) == 2_000
    assert ledger.list_rows(ADA) == rows[2_000:]


@pytest.mark.parametrize("name", ["a\x00b", "a'b", 'a"b', "%", "\U0001f600", "a" * 300, ""])
def test_a_name_is_data(ledger: Ledger, name: str) -> None:
    """A row is known by all of its name and by nothing else."""
    make(ledger, ADA, "a", "b")
    made = make(ledger, ADA, name)
    assert ledger.read_keys(ADA, [name]) == {name: (made[name],)}
    assert ledger.destroy_keys(ADA, [name]) == 1
    assert ledger.read_keys(ADA).keys() == {"a", "b"}


def test_a_row_has_both_keys_until_it_is_settled(ledger: Ledger) -> None:
    """The newest is first; a store that fails again and again uses the same new one; settling leaves just that."""
    (old,) = make(ledger, ADA, "row").values()
    new = ledger.make_keys({ADA: ["row"]})[ADA]["row"]
    assert new != old
    assert ledger.make_keys({ADA: ["row"]})[ADA]["row"] == new
    assert ledger.read_keys(ADA) == {"row": (new, old)}
    assert ledger.list_unsettled() == {ADA: ["row"]}
    ledger.settle_keys({ADA: ["row"]})
    assert ledger.read_keys(ADA) == {"row": (new,)}
    assert ledger.list_unsettled() == {}


def test_rows_are_listed_once_settled_and_keep_their_place(ledger: Ledger) -> None:
    """What the store may not have is not listed; what is put again stays where it was."""
    make(ledger, ADA, "z", "a")
    make(ledger, BOB, "x")
    ledger.make_keys({ADA: ["m"]})
    assert ledger.list_rows(ADA) == ["z", "a"]
    make(ledger, ADA, "b", "z")
    ledger.settle_keys({ADA: ["m"]})
    assert ledger.list_rows(ADA) == ["z", "a", "b", "m"]


def test_rows_of_an_earlier_version_come_first(ledger: Ledger) -> None:
    """They are known by an empty key, until they are put again; then the ledger knows of litter in the store."""
    assert not ledger.is_surveyed()
    make(ledger, ADA, "new")
    ledger.note_survey([(ADA, "z"), (BOB, "x"), (ADA, "a")])
    assert (ledger.is_surveyed(), ledger.is_littered()) == (True, False)
    assert ledger.list_rows(ADA) == ["z", "a", "new"]
    assert ledger.read_keys(ADA, ["z"]) == {"z": (b"",)}
    made = ledger.make_keys({ADA: ["z"]})[ADA]["z"]
    assert ledger.read_keys(ADA, ["z"]) == {"z": (made, b"")}
    assert ledger.is_littered()
    ledger.settle_keys({ADA: ["z"]})
    assert ledger.read_keys(ADA, ["z"]) == {"z": (made,)}
    ledger.note_sweep()
    ledger.destroy_keys(ADA, ["z"])
    assert not ledger.is_littered()
    ledger.destroy_keys(BOB, ["x"])
    assert ledger.is_littered()


def test_destroyed_keys_are_nowhere_in_the_file(tmp_path: Path, ledger: Ledger) -> None:
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
        for user, keys in ledger.make_keys(batch).items():
            dead |= {living[user, row] for row in keys if (user, row) in living}
            living |= {(user, row): key for row, key in keys.items()}
        ledger.settle_keys(batch)
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
    with closing(Ledger(tmp_path)) as ledger:
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
    with closing(Ledger(tmp_path / "killed")) as ledger:
        assert ledger.read_keys(ADA) == {}
        assert key not in content(tmp_path / "killed")


def test_a_key_that_a_reader_keeps_in_the_log_is_told_of(
    tmp_path: Path, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
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


def test_nobody_else_reads_the_files(tmp_path: Path, ledger: Ledger) -> None:
    """The database, its log, and what SQLite shares between processes: mode 0600, whatever the umask."""
    before = os.umask(0)
    try:
        ledger.make_keys({ADA: ["row"]})
        (tmp_path / "other").mkdir()
        with closing(Ledger(tmp_path / "other")) as other:
            other.make_keys({ADA: ["row"]})
            modes = {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("ledger*")}
    finally:
        os.umask(before)
    assert modes == {0o600}


def test_every_commit_is_synced(ledger: Ledger) -> None:
    """Of a WAL without it a power cut may take commits back."""
    with ledger._database.reading() as connection:
        pragmas = ("journal_mode", "synchronous", "secure_delete", "temp_store")
        assert [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in pragmas] == ["wal", 2, 1, 2]


def test_a_newer_ledger_is_refused(tmp_path: Path) -> None:
    """An old program does not write into what it does not know."""
    Ledger(tmp_path).close()
    with closing(sqlite3.connect(tmp_path / NAME)) as connection:
        connection.execute(f"PRAGMA user_version = {VERSION + 1}")
    with pytest.raises(StoreError, match="newer version"):
        Ledger(tmp_path)


def test_rubbish_is_a_store_error(tmp_path: Path) -> None:
    """A file that is no database, and a directory that is none."""
    (tmp_path / NAME).write_bytes(b"rubbish" * 1000)
    with pytest.raises(StoreError, match="ledger: SQLITE_NOTADB"):
        Ledger(tmp_path)
    with pytest.raises(StoreError, match="ledger: FileNotFoundError"):
        Ledger(tmp_path / "nowhere")


def test_a_failed_call_has_done_nothing(tmp_path: Path, ledger: Ledger) -> None:
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
    ledger = Ledger(tmp_path)
    ledger.close()
    with pytest.raises(StoreError, match="ledger: ProgrammingError"):
        ledger.is_off(ADA)


def test_nothing_erased_nothing_known(ledger: Ledger) -> None:
    """All who have erased nothing share one tombstone."""
    assert ledger.tombstone(ADA) == Tombstone(None, {}, frozenset())
    assert ledger.tombstone(ADA) is ledger.tombstone(BOB)


def test_what_is_buried_adds_up(tmp_path: Path) -> None:
    """Dates are the latest ones, whatever order they come in; ids and digests stay."""
    later = AT + timedelta(days=1)
    with closing(Ledger(tmp_path)) as ledger:
        ledger.bury(ADA, at=AT, memory_ids=["m1", "m2"], digests=[digest(1), digest(2)])
        assert ledger.tombstone(ADA) == Tombstone(None, {"m1": AT, "m2": AT}, frozenset({digest(1), digest(2)}))
        ledger.bury(ADA, at=later, memory_ids=["m2"], digests=[digest(2), digest(3)])
        ledger.bury(ADA, at=AT, memory_ids=["m2"], digests=[])
        ledger.bury(ADA, at=later.astimezone(timezone(timedelta(hours=2))), memory_ids=None, digests=[digest(4)])
        ledger.bury(ADA, at=AT, memory_ids=None, digests=[])
        known = Tombstone(later, {"m1": AT, "m2": later}, frozenset(digest(number) for number in range(1, 5)))
        assert ledger.tombstone(ADA) == known
        assert ledger.tombstone(BOB) == Tombstone()
    with closing(Ledger(tmp_path)) as ledger:
        assert ledger.tombstone(ADA) == known


def test_single_burials_are_merged(ledger: Ledger) -> None:
    """Who erases memory by memory has few rows of digests, and each digest once."""
    for number in range(3 * MERGED):
        ledger.bury(ADA, at=AT, memory_ids=[f"m{number}"], digests=[digest(number), digest(0)])
    with ledger._database.reading() as connection:
        rows, size = connection.execute("SELECT count(*), sum(length(digests)) FROM erased_texts").fetchone()
    assert rows < MERGED
    assert size < 8 * 3 * MERGED + 8 * MERGED
    assert ledger.tombstone(ADA).digests == {digest(number) for number in range(3 * MERGED)}


def test_a_large_erasure_is_one_row(ledger: Ledger) -> None:
    """20,000 digests are 160 kB."""
    many = [digest(number) for number in range(20_000)]
    ledger.bury(ADA, at=AT, memory_ids=None, digests=many)
    with ledger._database.reading() as connection:
        assert connection.execute("SELECT length(digests) FROM erased_texts").fetchall() == [(160_000,)]
    assert ledger.tombstone(ADA).digests == set(many)


def test_half_a_digest_is_refused(ledger: Ledger) -> None:
    """It would make all that follow it in the row unreadable."""
    with pytest.raises(ValueError, match="8 bytes"):
        ledger.bury(ADA, at=AT, memory_ids=["m"], digests=[b"short"])
    assert ledger.tombstone(ADA) == Tombstone()


def test_a_tombstone_is_read_once(ledger: Ledger) -> None:
    """It is asked for with every exchange: the second time without the database."""
    ledger.bury(ADA, at=AT, memory_ids=["m"], digests=[])
    found = ledger.tombstone(ADA), ledger.is_off(ADA)
    ledger.close()
    assert (ledger.tombstone(ADA), ledger.is_off(ADA)) == found


def test_a_switch_outlives_the_process_and_erasures(tmp_path: Path) -> None:
    """Off stays off until it is turned on, whatever of the user is erased."""
    with closing(Ledger(tmp_path)) as ledger:
        assert not ledger.is_off(ADA)
        ledger.switch(ADA, off=True)
        ledger.switch(ADA, off=True)
        assert (ledger.is_off(ADA), ledger.is_off(BOB)) == (True, False)
    with closing(Ledger(tmp_path)) as ledger:
        ledger.bury(ADA, at=AT, memory_ids=["m"], digests=[])
        assert ledger.is_off(ADA)
        ledger.switch(ADA, off=False)
        assert not ledger.is_off(ADA)
        ledger.switch(ADA, off=True)
        ledger.bury(ADA, at=AT, memory_ids=None, digests=[])
        assert ledger.is_off(ADA)


def test_threads_share_a_ledger(ledger: Ledger) -> None:
    """Several at once make, read and destroy keys, and each finds its own."""
    failures: list[BaseException] = []

    def work(user: str) -> None:
        try:
            for number in range(20):
                (key,) = make(ledger, user, f"row {number}").values()
                assert ledger.read_keys(user, [f"row {number}"]) == {f"row {number}": (key,)}
                ledger.bury(user, at=AT, memory_ids=[f"m{number}"], digests=[digest(number)])
                assert f"m{number}" in ledger.tombstone(user).ids
            assert ledger.destroy_keys(user) == 20
        except (AssertionError, StoreError) as exc:
            failures.append(exc)

    threads = [threading.Thread(target=work, args=(f"user {number}",)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_the_file_knows_no_text(tmp_path: Path, ledger: Ledger) -> None:
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
