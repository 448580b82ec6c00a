"""The ledger of one data directory."""

import secrets
import threading
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from sqlite3 import Connection
from typing import Final

import msgspec

import proxy.ledger.keys as sealing
import proxy.ledger.tombstones as tombstones
from proxy.ledger.base import Standing, decode_embedding
from proxy.ledger.cache import Cache
from proxy.ledger.database import Database
from proxy.ledger.keys import Keys
from proxy.ledger.tombstones import Tombstone
from proxy.models import Embedding

# Who speaks with the keeper now. A digest of a tombstone takes about 100 bytes, so that all take 10 MB at most.
_CACHED_USERS: Final = 10_000
_CACHED_DIGESTS: Final = 100_000
_NOTHING_ERASED: Final = Tombstone()

# What the ledger notes about the store.
_SURVEYED: Final = "surveyed"
_LITTERED: Final = "littered"
# How many places were given away.
_PLACES: Final = "places"
# Which ledger it is, as a number of 63 bits.
_IDENTITY: Final = "identity"


class FileLedger:
    """A :class:`~proxy.ledger.base.Ledger` in a SQLite file, for one process at a time."""

    def __init__(self, directory: Path) -> None:
        self._database = Database(directory)
        # Held while something is read and cached, and while it is changed and forgotten: what is cached stays true.
        self._caching = threading.Lock()
        self._tombstones: Cache[Tombstone] = Cache(entries=_CACHED_USERS, weight=_CACHED_DIGESTS)
        self._switches: Cache[bool] = Cache(entries=_CACHED_USERS, weight=0)

    def identify(self) -> str:
        """Which ledger this is: a random name, given to it once. What is sealed here opens with no other."""
        with self._database.writing() as connection:
            statement = "INSERT INTO notes (name, value) VALUES (?, ?) ON CONFLICT DO NOTHING"
            connection.execute(statement, (_IDENTITY, secrets.randbits(63)))
            found: int = connection.execute("SELECT value FROM notes WHERE name = ?", (_IDENTITY,)).fetchone()[0]
        return f"{found:016x}"

    def make_keys(self, rows: Mapping[str, Sequence[str]]) -> dict[str, dict[str, bytes]]:
        """The key to seal each of the users' *rows* under: random, 16 bytes, new unless one waits to be settled.

        A row that had a key has both until :meth:`settle_keys`.
        """
        with self._database.writing() as connection:
            made, unsealed = sealing.renew(connection, rows)
            if unsealed:
                _note(connection, _LITTERED)
        return made

    def settle_keys(self, keys: Mapping[str, Mapping[str, bytes]]) -> None:
        """The store has these rows under these *keys*: they are listed from now on, and older keys destroyed."""
        with self._database.writing() as connection:
            place = _count(connection, sum(map(len, keys.values())))
            replaced = sealing.settle(connection, keys, place)
        if replaced:
            self._database.clean()

    def list_unsettled(self) -> dict[str, list[str]]:
        """Rows, by user key, that were made a key and not settled: after a crash, or while the store failed."""
        with self._database.reading() as connection:
            return sealing.read_unsettled(connection)

    def read_keys(self, user_key: str, rows: Sequence[str] | None = None) -> dict[str, Keys]:
        """The keys of a user's *rows*, or with None of all rows; without those that have none."""
        with self._database.reading() as connection:
            return sealing.read(connection, user_key, rows)

    def read_row_keys(self, row: str, user_keys: Sequence[str]) -> dict[str, Keys]:
        """The keys that users have of the *row* that goes by the same name with each of them."""
        with self._database.reading() as connection:
            return sealing.read_row(connection, row, user_keys)

    def page_row_keys(self, row: str, *, after: str, limit: int) -> dict[str, Keys]:
        """The same of the first *limit* users, in the order of their keys, that come *after* this one."""
        with self._database.reading() as connection:
            return sealing.read_page(connection, row, after, limit)

    def list_rows(self, user_key: str) -> list[str]:
        """All of a user's rows that the store has, in the order in which they were first settled."""
        with self._database.reading() as connection:
            return sealing.list_settled(connection, user_key)

    def count_everybodys_rows(self, shared_row: str) -> int | None:
        """How many rows of all users the store has, without those called *shared_row* with each of them."""
        with self._database.reading() as connection:
            return sealing.count_everybodys(connection, shared_row)

    def destroy_keys(self, user_key: str, rows: Sequence[str] | None = None) -> int:
        """Destroys the keys of a user's *rows*, or with None of all rows; how many rows had any.

        Raises StoreError also when they are destroyed but may still be found in the log: calling again tries again.
        """
        with self._database.writing() as connection:
            destroyed, unsealed = sealing.destroy(connection, user_key, rows)
            if unsealed:
                _note(connection, _LITTERED)
        self._database.clean()
        return destroyed

    def is_surveyed(self) -> bool:
        """Whether it is known what the store holds from before there was a ledger."""
        return self._has_note(_SURVEYED)

    def note_survey(self, unsealed: Iterable[tuple[str, str]]) -> None:
        """Takes in all (user key, row) that the store holds *unsealed*."""
        with self._database.writing() as connection:
            sealing.register_unsealed(connection, unsealed)
            _note(connection, _SURVEYED)

    def is_littered(self) -> bool:
        """Whether something unsealed was erased or replaced, whose text may lie in the store's files still."""
        return self._has_note(_LITTERED)

    def note_sweep(self) -> None:
        """The store's files hold nothing of that any more."""
        with self._database.writing() as connection:
            connection.execute("DELETE FROM notes WHERE name = ?", (_LITTERED,))

    def bury(self, user_key: str, *, at: datetime, memory_ids: Sequence[str] | None, digests: Iterable[bytes]) -> None:
        """Remembers that memories of a user were erased, or with *memory_ids* None the user, and which texts it were.

        It adds to what was buried before. The user's switch stays: who wants no memory does not want one afterwards.
        """
        with self._caching:
            with self._database.writing() as connection:
                tombstones.bury(connection, user_key, at, memory_ids, digests)
            self._tombstones.drop(user_key)

    def tombstone(self, user_key: str) -> Tombstone:
        """What a user has erased."""
        with self._caching:
            if (cached := self._tombstones.get(user_key)) is not None:
                return cached
            with self._database.reading() as connection:
                found = tombstones.read(connection, user_key)
            # Nearly everybody's is empty, and the same one then.
            found = _NOTHING_ERASED if found == _NOTHING_ERASED else found
            self._tombstones.put(user_key, found, found.weight)
            return found

    def switch(self, user_key: str, *, off: bool) -> None:
        """Turns a user's memory off or on again. It is on until it is turned off."""
        with self._caching:
            with self._database.writing() as connection:
                _turn(connection, user_key, off=off)
            self._switches.drop(user_key)

    def is_off(self, user_key: str) -> bool:
        """Whether a user has turned memory off."""
        with self._caching:
            if (cached := self._switches.get(user_key)) is not None:
                return cached
            with self._database.reading() as connection:
                query = "SELECT EXISTS (SELECT 1 FROM switched_off WHERE user = ?)"
                off = bool(connection.execute(query, (user_key,)).fetchone()[0])
            self._switches.put(user_key, off)
            return off

    def read_standings(self, user_keys: Iterable[str]) -> dict[str, Standing]:
        """How it is with each of these users."""
        return {key: Standing(self.is_off(key), self.tombstone(key)) for key in user_keys}

    def read_version(self) -> None:
        """The data directory has a version."""

    def write_version(self, version: int) -> None:
        """The data directory has it written."""

    def count_rows(self, user_keys: Sequence[str]) -> int:
        """How many rows the store has of these users together."""
        with self._database.reading() as connection:
            return sealing.count_settled(connection, user_keys)

    def read_embedding(self) -> Embedding | None:
        """Which embedding model is in force; None until :meth:`change_embedding` was told of one."""
        with self._database.reading() as connection:
            return _read_embedding(connection)

    def change_embedding(self, old: Embedding | None, new: Embedding) -> bool:
        """Notes *new* in one step, if what is noted is *old*; else nothing happens, and it is false."""
        with self._database.writing() as connection:
            if _read_embedding(connection) != old:
                return False
            connection.execute("REPLACE INTO embedding (place, value) VALUES (0, ?)", (msgspec.json.encode(new),))
        return True

    def close(self) -> None:
        """Closes the file."""
        self._database.close()

    def _has_note(self, name: str) -> bool:
        with self._database.reading() as connection:
            query = "SELECT EXISTS (SELECT 1 FROM notes WHERE name = ?)"
            return bool(connection.execute(query, (name,)).fetchone()[0])


def _read_embedding(connection: Connection) -> Embedding | None:
    found = connection.execute("SELECT value FROM embedding").fetchone()
    return None if found is None else decode_embedding(found[0])


def _note(connection: Connection, name: str) -> None:
    connection.execute("INSERT INTO notes (name, value) VALUES (?, 1) ON CONFLICT DO NOTHING", (name,))


def _count(connection: Connection, places: int) -> int:
    """The first of so many *places* that nobody has."""
    statement = """
    INSERT INTO notes (name, value) VALUES (?, ?) ON CONFLICT DO UPDATE SET value = value + excluded.value
    RETURNING value
    """
    taken: int = connection.execute(statement, (_PLACES, places)).fetchone()[0]
    return taken - places


def _turn(connection: Connection, user_key: str, *, off: bool) -> None:
    if off:
        connection.execute("INSERT INTO switched_off (user) VALUES (?) ON CONFLICT DO NOTHING", (user_key,))
    else:
        connection.execute("DELETE FROM switched_off WHERE user = ?", (user_key,))
