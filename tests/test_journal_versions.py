"""Files of an earlier version: migrated where they are, also when damaged, also by two processes at once."""

import sqlite3
import threading
from pathlib import Path

import pytest

from proxy.errors import JournalError
from proxy.journal import JournalReader
from proxy.journal.entries import Seq, Stage, checksum, encode
from proxy.models import Scope
from tests.test_journal import AT, exchange, write
from tests.test_journal_damage import GARBAGE, PAGE, overwrite

# As version 1 made them.
SCHEMA_1 = (
    """CREATE TABLE entries (
        seq INTEGER PRIMARY KEY AUTOINCREMENT, user_key TEXT NOT NULL, user_id TEXT NOT NULL, tenant TEXT NOT NULL,
        state INTEGER NOT NULL DEFAULT 0, attempts INTEGER NOT NULL DEFAULT 0, not_before REAL NOT NULL DEFAULT 0,
        created_at REAL NOT NULL, reason TEXT NOT NULL DEFAULT '', crc INTEGER NOT NULL, payload BLOB NOT NULL
    )""",
    "CREATE INDEX waiting ON entries (user_key, seq) WHERE state = 0 AND not_before > 0",
    "PRAGMA user_version = 1",
    "PRAGMA journal_mode = WAL",
)
INSERT_1 = """
    INSERT INTO entries (user_key, user_id, tenant, state, attempts, not_before, created_at, reason, crc, payload)
    VALUES (?, 'ada', '', ?, ?, ?, ?, ?, ?, ?)
"""


def make_version_1(directory: Path, rows: int = 3) -> Path:
    """A journal as it was left: a fresh entry, one that backs off, one that failed, and so on."""
    path = directory / "journal.sqlite"
    connection = sqlite3.connect(path, isolation_level=None)
    for statement in SCHEMA_1:
        connection.execute(statement)
    for index in range(rows):
        payload = encode(exchange(index, text="x" * 3000))
        what = (index % 3 == 2, index % 3, 1.0 if index % 3 == 1 else 0.0, AT.timestamp(), "why" if index % 3 else "")
        connection.execute(INSERT_1, (Scope("ada").key, *what, checksum(payload), payload))
    connection.close()
    return path


def schema(path: Path) -> list[tuple[str, str]]:
    connection = sqlite3.connect(path)
    names = connection.execute("SELECT type, name FROM sqlite_schema ORDER BY type, name").fetchall()
    columns = connection.execute("SELECT name, type FROM pragma_table_info('entries')").fetchall()
    version = connection.execute("SELECT 'version', user_version FROM pragma_user_version").fetchall()
    connection.close()
    return [*names, *columns, *version]


def look(directory: Path) -> tuple[list[tuple[Seq, ...]], list[tuple[Seq, Stage, str]]]:
    """What is due, and what failed."""
    reader = JournalReader(directory)
    due: list[tuple[Seq, ...]] = [(entry.seq, entry.attempts, entry.stage, entry.taken) for entry in reader.take(1000)]
    failed = [(each.seq, each.stage, each.reason) for each in reader.failed(1000)]
    reader.close()
    return due, failed


def test_a_migrated_file_is_like_a_new_one(tmp_path: Path) -> None:
    """Entries keep their numbers, attempts and reasons, and what is new of them has its default."""
    (tmp_path / "old").mkdir()
    old = make_version_1(tmp_path / "old")

    assert look(tmp_path / "old") == ([(1, 0, 0, 0), (2, 1, 0, 0)], [(3, "store", "why")])
    write(tmp_path / "new", exchange(0))
    assert schema(old) == schema(tmp_path / "new" / "journal.sqlite")
    assert list(old.parent.glob("journal.corrupt-*")) == []


def test_a_damaged_file_of_version_1_is_rebuilt_as_version_2(tmp_path: Path) -> None:
    """What can be read of a damaged old file is in the new one."""
    path = make_version_1(tmp_path)
    overwrite(path, 0, GARBAGE)

    assert look(tmp_path) == ([(1, 0, 0, 0), (2, 1, 0, 0)], [(3, "store", "why")])
    write(tmp_path / "new", exchange(0))
    assert schema(path) == schema(tmp_path / "new" / "journal.sqlite")


def test_migrated_rows_are_salvaged_like_new_ones(tmp_path: Path) -> None:
    """A file with rows of both versions, damaged after its migration, loses neither, nor their stages and kinds."""
    path = make_version_1(tmp_path, rows=6)
    reader = JournalReader(tmp_path)
    reader.advance([1], 0)
    reader.park([2], "refused", "extraction")
    reader.close()
    write(tmp_path, exchange(6))
    overwrite(path, 0, GARBAGE)

    reader = JournalReader(tmp_path)
    assert [(entry.seq, entry.stage) for entry in reader.take_user(10)] == [(1, 1)]
    assert [(each.seq, each.kind) for each in reader.failed(10)] == [(2, "extraction"), (3, ""), (6, "")]
    assert [entry.seq for entry in reader.take(10)] == [4, 5, 7]
    reader.close()


def test_a_migration_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    """All of it or nothing: a table of that name, say, is in the way of the last steps only."""
    path = make_version_1(tmp_path)
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE taken (x)")
    before = schema(path)

    with pytest.raises(JournalError, match="already exists"):
        look(tmp_path)
    assert schema(path) == before
    connection.execute("DROP TABLE taken")
    connection.close()
    assert len(look(tmp_path)[0]) == 2


@pytest.mark.parametrize("_attempt", range(10))
def test_two_may_migrate_at_once(tmp_path: Path, _attempt: int) -> None:
    """Both processes open the old file at the same moment, and one of them finds it migrated."""
    make_version_1(tmp_path)
    together = threading.Barrier(2)
    counts: list[int] = []

    def migrate() -> None:
        reader = JournalReader(tmp_path)
        together.wait()
        counts.append(reader.counts().pending)
        reader.close()

    threads = [threading.Thread(target=migrate) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counts == [2, 2]


def test_a_file_with_more_pages_than_the_first_is_migrated_in_place(tmp_path: Path) -> None:
    """Adding columns rewrites no row: the file hardly grows."""
    path = make_version_1(tmp_path, rows=300)
    before = path.stat().st_size
    look(tmp_path)

    assert path.stat().st_size < before + 20 * PAGE
