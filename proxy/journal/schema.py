"""The journal's tables, and how a file of an earlier version becomes one of this."""

import sqlite3

VERSION = 2
OLDEST_VERSION = 1
PAGE_SIZE = 4096
PENDING, FAILED = 0, 1
TO_STORE, TO_EXTRACT = 0, 1

# AUTOINCREMENT: a sequence number is never used twice, so "everything before this one" keeps its meaning when the table
# is empty. New columns come last, where ALTER TABLE puts them: rows look the same in a file that was migrated.
_ENTRIES = """CREATE TABLE entries (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    user_key TEXT NOT NULL,
    user_id TEXT NOT NULL,
    tenant TEXT NOT NULL,
    state INTEGER NOT NULL DEFAULT 0,
    attempts INTEGER NOT NULL DEFAULT 0,
    not_before REAL NOT NULL DEFAULT 0,
    created_at REAL NOT NULL,
    reason TEXT NOT NULL DEFAULT '',
    crc INTEGER NOT NULL,
    payload BLOB NOT NULL,
    stage INTEGER NOT NULL DEFAULT 0,
    kind TEXT NOT NULL DEFAULT ''
)"""
_ADDED = (
    "ALTER TABLE entries ADD COLUMN stage INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE entries ADD COLUMN kind TEXT NOT NULL DEFAULT ''",
    "DROP INDEX IF EXISTS waiting",
)
_BESIDE = (
    # A backlog of the one stage is no detour for the other, and counting reads no payloads.
    "CREATE INDEX queue ON entries (state, stage)",
    # The next two hold only what is backing off and what is to be extracted from: a fresh row costs them nothing.
    "CREATE INDEX waiting ON entries (user_key, seq) WHERE state = 0 AND stage = 0 AND not_before > 0",
    "CREATE INDEX extracting ON entries (user_key, seq, not_before) WHERE state = 0 AND stage = 1",
    # How often an entry was handed out. In the entries themselves, this would write each of them anew: twice the log.
    "CREATE TABLE taken (seq INTEGER PRIMARY KEY, times INTEGER NOT NULL)",
    "CREATE TRIGGER gone AFTER DELETE ON entries BEGIN DELETE FROM taken WHERE seq = old.seq; END",
)
_STAMP = f"PRAGMA user_version = {VERSION}"

# The last two are of version 2: rows of earlier files end before them.
COLUMNS = "seq, user_key, user_id, tenant, state, attempts, not_before, created_at, reason, crc, payload, stage, kind"
WIDTH = COLUMNS.count(",") + 1
OLDEST_WIDTH = WIDTH - 2


def create(connection: sqlite3.Connection) -> None:
    """Makes the tables in an empty file, within the caller's transaction."""
    for statement in (_ENTRIES, *_BESIDE, _STAMP):
        connection.execute(statement)


def version_of(connection: sqlite3.Connection) -> int:
    """0 for a file that is no journal."""
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    return version


def migrate(connection: sqlite3.Connection) -> None:
    """Brings a file of an earlier version to this one, all of it or nothing; of this version, leaves it alone."""
    if version_of(connection) >= VERSION:
        return
    connection.execute("BEGIN IMMEDIATE")
    with connection:
        if version_of(connection) < VERSION:  # another process may have done so meanwhile
            for statement in (*_ADDED, *_BESIDE, _STAMP):
                connection.execute(statement)
