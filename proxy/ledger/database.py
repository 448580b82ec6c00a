"""The ledger's SQLite file: opened, checked, and nothing in it that was deleted."""

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from proxy.errors import StoreError

NAME: Final = "ledger.sqlite3"
VERSION: Final = 2
# Only a backup or somebody's shell can hold the file beside the keeper.
_BUSY_S: Final = 5.0
# FULL: with NORMAL a power cut may take back commits of a WAL, and with them keys of what Chroma has on disk already.
# What is deleted is overwritten, and lies in no temporary file.
_PRAGMAS: Final = ("journal_mode = WAL", "synchronous = FULL", "secure_delete = ON", "temp_store = MEMORY")
# ``keys.old``: what the row was sealed under before it was put again, until that is settled. An empty key: not sealed.
# ``keys.place``: among all rows of everybody, in the order in which they were first settled; none before that.
_SCHEMA: Final = """
CREATE TABLE keys (
    user TEXT NOT NULL, row TEXT NOT NULL, key BLOB NOT NULL, old BLOB, place INTEGER, PRIMARY KEY (user, row)
) WITHOUT ROWID;
CREATE INDEX keys_unsettled ON keys (user) WHERE place IS NULL OR old IS NOT NULL;
CREATE TABLE notes (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE erased_users (user TEXT PRIMARY KEY, at INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE erased_memories (
    user TEXT NOT NULL, memory TEXT NOT NULL, at INTEGER NOT NULL, PRIMARY KEY (user, memory)
) WITHOUT ROWID;
CREATE TABLE erased_texts (burial INTEGER PRIMARY KEY, user TEXT NOT NULL, digests BLOB NOT NULL);
CREATE INDEX erased_texts_user ON erased_texts (user);
CREATE TABLE switched_off (user TEXT PRIMARY KEY) WITHOUT ROWID;
"""
# Of version 2: one row, as JSON.
_ADDED: Final = "CREATE TABLE embedding (place INTEGER PRIMARY KEY CHECK (place = 0), value BLOB NOT NULL);"


class Database:
    """One connection, for one thread at a time: whoever holds a transaction holds the lock."""

    def __init__(self, directory: Path) -> None:
        self._lock = threading.Lock()
        path = directory / NAME
        with _translated():
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
            # Files that SQLite makes beside it have its mode.
            path.chmod(0o600)
            self._connection = sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
        try:
            self._prepare()
        except StoreError:
            self._connection.close()
            raise

    def _prepare(self) -> None:
        with _translated():
            for pragma in _PRAGMAS:
                self._connection.execute(f"PRAGMA {pragma}")
            version: int = self._connection.execute("PRAGMA user_version").fetchone()[0]
            if version > VERSION:
                raise StoreError(f"the ledger was written by a newer version ({version}, known is {VERSION})")
            if version < VERSION:
                schema = f"{'' if version else _SCHEMA}{_ADDED}"
                self._connection.executescript(f"BEGIN;{schema}PRAGMA user_version = {VERSION};COMMIT;")
        # A process that was killed between a destruction and its checkpoint leaves the keys in the log.
        self.clean()

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """The connection, for single statements."""
        with self._lock, _translated():
            yield self._connection

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """The connection in a transaction, which is durable when the block is left, or was never there."""
        with self._lock, _translated():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            finally:
                if self._connection.in_transaction:
                    # The error that led here tells more than one of this.
                    with suppress(sqlite3.Error):
                        self._connection.execute("ROLLBACK")

    def clean(self) -> None:
        """Empties the log, in which pages are as they were before what was deleted was overwritten."""
        with self.reading() as connection:
            busy: int = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        if busy:
            raise StoreError("ledger: somebody else reads it, so that its log still has what was destroyed")

    def close(self) -> None:
        """Closes the file; SQLite folds the log into it."""
        with self._lock, _translated():
            self._connection.close()


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as exc:
        raise StoreError(f"ledger: {getattr(exc, 'sqlite_errorname', None) or type(exc).__name__}") from exc
    except (OSError, UnicodeError) as exc:  # half a surrogate pair has no UTF-8
        raise StoreError(f"ledger: {type(exc).__name__}") from exc
