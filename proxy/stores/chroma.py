"""Chroma as the store: how things lie in it, wherever it runs.

Measured with Chroma 1.5 on two cores:

- Users are hashed into a fixed number of collections: one for everybody makes a user's load grow with everybody's
  memories, one a user costs 2.8 MB and 35 ms each.
- A record is one metadata string beside the user's key. Every metadata key is a row of SQLite, and a ``document`` is
  also indexed for full-text search, which nobody asks for: 1,900 instead of 890 records a second, and a user of 1,000
  is loaded in 14 ms instead of 31.
- The vector travels in that string, too: asking Chroma for embeddings reads its index from disk.
- What Chroma itself takes for the vector is one number, since nobody asks it what is near: ranking is exact, in the
  edge. Chroma keeps the indexes of all collections in memory, and in them each id several times, hence short ids.
  With 256 dimensions and ids of 65 characters 230,000 memories took it 600 MB and 240 s to store; now 155 MB and 160 s.

That string is sealed, and its key in the ledger: Chroma leaves what is deleted in free pages, its queue and whatever
was copied of its folder, where nobody can read it once the key is gone. So that a crash or a power cut between any two
steps loses nothing and brings nothing back (both files are synced before a call to them returns):

- Put: the keys are durable, then Chroma has the rows, then the keys that these rows had before are destroyed. In
  between a row has both keys, and is what it was or what it will be.
- Erase: the keys are destroyed, then Chroma deletes the rows. What it has without a key does not exist.

Where a backup is restored, Chroma's data must not be newer than the ledger, which is copied last.
"""

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

import msgspec
from chromadb.errors import ChromaError

from proxy.errors import StoreError
from proxy.ledger import Keys, Ledger
from proxy.models import Record, Scope
from proxy.stores.base import Activity, KnownUser
from proxy.stores.envelope import Envelopes
from proxy.stores.rows import (
    USER_ROW,
    Row,
    find_shard,
    group_by_shard,
    group_by_user,
    join_value,
    make_points,
    name_old_row,
    name_row,
    split_value,
)

USERS: Final = "users"
RECORDS: Final = "records"
# Where earlier versions put them.
MEMORIES: Final = "memories"
# The least that an index may be.
INDEX: Final = {"hnsw": {"max_neighbors": 2, "ef_construction": 2, "ef_search": 2}}


class Limits(NamedTuple):
    """What one request may have: so many rows, in it or in its answer, and so many characters in one value."""

    rows: int
    value: int | None = None


@contextmanager
def translated() -> Iterator[None]:
    """What Chroma raises in the block, as a StoreError."""
    try:
        yield
    # These quote what they could not read.
    except (UnicodeError, msgspec.MsgspecError) as exc:
        raise StoreError(f"chroma: {type(exc).__name__}") from exc
    # Its Rust core also raises plain ValueErrors, RuntimeErrors and OSErrors.
    except (ChromaError, ValueError, RuntimeError, OSError) as exc:
        raise StoreError(f"chroma: {type(exc).__name__}: {exc}") from exc


class ChromaStore(ABC):
    """A :class:`~proxy.stores.base.Store` in the collections of some Chroma, which is for the implementations to open.

    Earlier versions sealed nothing, and had other collections, with real vectors and long ids: what is there is read,
    and what is put again is sealed and moves.
    """

    def __init__(self, ledger: Ledger, limits: Limits) -> None:
        self._ledger = ledger
        self._limits = limits
        self._records = Envelopes(Record)
        self._users = Envelopes(KnownUser)

    @abstractmethod
    def _names(self) -> tuple[str, ...]:
        """The collections that are known to be there. Raises StoreError where they are not our ledger's: what the
        ledger alone could answer, that nobody has anything, would be wrong.
        """

    @abstractmethod
    def _use(self, name: str, work: Callable[[Any], Any], *, make: bool = False) -> Any:
        """What *work* makes of the collection *name*, which is made where it is missing; without *make* None then."""

    def _get(self, name: str, **what: Any) -> Any:
        found = self._use(name, lambda collection: collection.get(**what))
        return {"ids": [], "metadatas": []} if found is None else found

    def _slices(self, items: Sequence[Any]) -> Iterator[Sequence[Any]]:
        for start in range(0, len(items), self._limits.rows):
            yield items[start : start + self._limits.rows]

    def _settle(self) -> None:
        """Finishes what was put, but not settled, by a process that was killed.

        Of what others are putting at this moment it settles what Chroma has, as they are about to do.
        """
        for user_key, rows in self._ledger.list_unsettled().items():
            newest = {row: keys[:1] for row, keys in self._ledger.read_keys(user_key, rows).items()}
            put: dict[str, bytes] = {}
            for some in self._slices(list(newest)):
                found = self._get(_name_shard(user_key), ids=list(some), include=["metadatas"])
                opened = self._open_all(found, newest, user_key)
                put |= {row: newest[row][0] for row, record in opened.items() if record is not None}
            if USER_ROW in newest and self._open_users({user_key: newest[USER_ROW]}):
                put[USER_ROW] = newest[USER_ROW][0]
            self._ledger.settle_keys({user_key: put})

    def _holding(self, scope: Scope) -> list[str]:
        """Every collection that may hold records of the user."""
        records = _name_shard(scope.key)
        ending = f".{find_shard(scope.key):02d}"
        return [records, *(n for n in self._names() if n.startswith(MEMORIES) and n.endswith(ending))]

    @translated()
    def put(self, records: Mapping[Scope, Sequence[Record]]) -> None:
        """Adds users' records, replacing those with the same memory id."""
        # Packed first: what cannot be packed gets no key.
        rows = [
            Row(scope, record.memory.id, name_row(scope, record.memory.id), self._records.pack(record))
            for scope, some in records.items()
            for record in some
        ]
        keys = self._ledger.make_keys(group_by_user(rows))
        # One statement a collection, not one a user: each costs Chroma a transaction of 4 ms.
        for shard, owned in group_by_shard(rows).items():
            for slice_ in self._slices(owned):
                self._upsert(f"{RECORDS}.{shard:02d}", slice_, keys)
        self._ledger.settle_keys(keys)

    def _upsert(self, name: str, rows: Sequence[Row], keys: Mapping[str, Mapping[str, bytes]]) -> None:
        self._write(name, {row.name: self._seal(row, keys) for row in rows})
        # An earlier version has put the record elsewhere. All users of a collection are of one shard.
        for other in self._holding(rows[0].scope):
            if other != name:
                moved = [row._replace(name=name_old_row(row.scope, row.memory_id)) for row in rows]
                for user_key, some in group_by_user(moved).items():
                    self._ledger.destroy_keys(user_key, some)
                self._remove(other, [row.name for row in moved])

    def _seal(self, row: Row, keys: Mapping[str, Mapping[str, bytes]]) -> dict[str, str]:
        user_key = row.scope.key
        sealed = self._records.seal(row.packed, keys[user_key][row.name], user_key=user_key, row=row.name)
        return {"u": user_key, **split_value(sealed, self._limits.value)}

    def _write(self, name: str, rows: Mapping[str, Mapping[str, str]]) -> None:
        names = list(rows)
        points, metadatas = make_points(len(names)), list(rows.values())
        self._use(name, lambda c: c.upsert(ids=names, embeddings=points, metadatas=metadatas), make=True)

    @translated()
    def prepare(self) -> None:
        """Opens what the first calls would otherwise wait for: each collection's index, in 5 to 25 ms."""
        for name in self._names():
            self._get(name, limit=1, include=[])

    @translated()
    def list_rows(self, scope: Scope) -> list[str]:
        """Where all records of a user are, for :meth:`fetch`: those first that were first put."""
        self._names()
        return [row for row in self._ledger.list_rows(scope.key) if row != USER_ROW]

    @translated()
    def fetch(self, scope: Scope, rows: Sequence[str]) -> list[Record]:
        """The user's records that are in *rows*, those first that were first put."""
        found: dict[str, Record | None] = {}
        for name in self._holding(scope):
            for some in self._slices(rows):
                found |= self._open_rows(name, scope, some)
        return [record for record in found.values() if record is not None]

    def _open_rows(self, name: str, scope: Scope, rows: Sequence[str]) -> dict[str, Record | None]:
        """Those of *rows* that collection *name* has and the user has a key to; None for what cannot be opened."""
        opened = self._open_once(name, scope, rows)
        # Text and key are read one after the other: what somebody else put in between opens at the second attempt.
        if missed := [row for row, record in opened.items() if record is None]:
            opened |= self._open_once(name, scope, missed)
        return opened

    def _open_once(self, name: str, scope: Scope, rows: Sequence[str]) -> dict[str, Record | None]:
        # By id alone: Chroma takes seconds to look for a thousand ids and a user at once.
        found = self._get(name, ids=list(rows), include=["metadatas"])
        if not found["ids"]:
            return {}
        return self._open_all(found, self._ledger.read_keys(scope.key, found["ids"]), scope.key)

    def _open_all(self, found: Any, keys: Mapping[str, Keys], user_key: str) -> dict[str, Record | None]:
        return {
            row: self._records.open(join_value(metadata), keys[row], user_key=user_key, row=row)
            for row, metadata in zip(found["ids"], found["metadatas"], strict=True)
            if row in keys
        }

    @translated()
    def fetch_ids(self, scope: Scope, ids: Sequence[str]) -> list[Record]:
        """The user's records with these memory ids, in no particular order."""
        found: list[Record | None] = []
        for name in self._holding(scope):
            for some in self._slices(ids):
                found += self._open_rows(name, scope, _name_rows(name, scope, some)).values()
        return [record for record in found if record is not None]

    @translated()
    def find_known(self, scope: Scope, ids: Iterable[str]) -> set[str]:
        """Those of these memory ids of which the user has a record."""
        rows = set(self.list_rows(scope))
        return {one for one in ids if name_row(scope, one) in rows or name_old_row(scope, one) in rows}

    @translated()
    def delete(self, scope: Scope, ids: Sequence[str]) -> int:
        """Erases records by memory id; answers how many there were."""
        removed = 0
        for name in self._holding(scope):
            for some in self._slices(ids):
                rows = _name_rows(name, scope, some)
                living = self._ledger.read_keys(scope.key, rows)
                self._ledger.destroy_keys(scope.key, rows)
                removed += len(living.keys() & self._remove(name, rows))
        return removed

    def _remove(self, name: str, ids: Sequence[str]) -> set[str]:
        """Deletes those of *ids* that there are, and answers them."""
        rows: list[str] = self._get(name, ids=list(ids), include=[])["ids"]
        if rows:
            self._use(name, lambda collection: collection.delete(ids=rows))
        return set(rows)

    @translated()
    def delete_user(self, scope: Scope) -> int:
        """Erases all records of a user, and the user; answers how many records there were."""
        living = set(self._ledger.list_rows(scope.key))
        self._ledger.destroy_keys(scope.key)
        gone: set[str] = set()
        for name in self._holding(scope):
            # What is deleted makes room in the answer. A server that deletes nothing must not be asked for ever.
            while not gone.issuperset(rows := self._list_rows(name, scope)):
                gone |= self._remove(name, rows)
        self._use(USERS, lambda collection: collection.delete(ids=[scope.key]))
        return len(living & gone)

    def _list_rows(self, name: str, scope: Scope) -> list[str]:
        rows: list[str] = self._get(name, where={"u": scope.key}, limit=self._limits.rows, include=[])["ids"]
        return rows

    @translated()
    def touch(self, users: Iterable[KnownUser]) -> None:
        """Notes that these users exist and when each was last active."""
        latest = {user.scope.key: user for user in users}
        for some in self._slices(list(latest.items())):
            self._touch(dict(some))

    def _touch(self, users: Mapping[str, KnownUser]) -> None:
        names = list(users)
        known = self._ledger.read_row_keys(USER_ROW, names)
        # With the key they have: a user's name does not change, so that there is nothing to make unreadable.
        keys = {name: newest for name, (newest, *_) in known.items() if newest}
        fresh = self._ledger.make_keys({name: [USER_ROW] for name in names if name not in keys})
        keys |= {name: made[USER_ROW] for name, made in fresh.items()}
        packed = {name: self._users.pack(user) for name, user in users.items()}
        self._write(
            USERS,
            {name: {"m": self._users.seal(packed[name], keys[name], user_key=name, row=USER_ROW)} for name in names},
        )
        if fresh:
            self._ledger.settle_keys(fresh)

    @translated()
    def users(self, keys: Sequence[str] | None = None) -> list[KnownUser]:
        """The users with these keys, or every user, in no particular order."""
        if keys is None:
            return [user for some in self._pages() for user in some.values()]
        users: list[KnownUser] = []
        for some in self._slices(keys):
            users += self._open_users(self._ledger.read_row_keys(USER_ROW, some)).values()
        return users

    @translated()
    def activity(self) -> dict[str, Activity]:
        """When each user was last active, by the user's key."""
        # Interned: there are few tenants, and many users.
        return {
            key: Activity(user.last_activity, sys.intern(user.scope.tenant))
            for some in self._pages()
            for key, user in some.items()
        }

    @translated()
    def first_users(self, limit: int) -> list[KnownUser]:
        """At most *limit* users, by the order of their keys, which has to do with nothing else."""
        self._names()
        return list(self._open_users(self._ledger.page_row_keys(USER_ROW, after="", limit=limit)).values())

    @translated()
    def count(self, scopes: Sequence[Scope]) -> int:
        """How many records these users have together."""
        keys = [scope.key for scope in scopes]
        return self._ledger.count_rows(keys) - len(self._ledger.read_row_keys(USER_ROW, keys))

    def _pages(self) -> Iterator[dict[str, KnownUser]]:
        """Every user. The ledger knows where a page ends; Chroma counts over all that come before it."""
        self._names()
        last = ""
        while keys := self._ledger.page_row_keys(USER_ROW, after=last, limit=self._limits.rows):
            yield self._open_users(keys)
            last = max(keys)

    def _open_users(self, keys: Mapping[str, Keys]) -> dict[str, KnownUser]:
        """Users by key, of those to whom there are *keys*."""
        if not keys:  # Chroma refuses an empty list
            return {}
        found = self._get(USERS, ids=list(keys), include=["metadatas"])
        opened = {
            name: self._users.open(row["m"], keys[name], user_key=name, row=USER_ROW)
            for name, row in zip(found["ids"], found["metadatas"], strict=True)
        }
        return {name: user for name, user in opened.items() if user is not None}

    @abstractmethod
    def close(self) -> None:
        """Releases files and connections."""


def _name_shard(user_key: str) -> str:
    """The collection in which all records of a user are."""
    return f"{RECORDS}.{find_shard(user_key):02d}"


def _name_rows(collection: str, scope: Scope, ids: Sequence[str]) -> list[str]:
    """The row that each of *ids* has in *collection* if it is there."""
    name = name_old_row if collection.startswith(MEMORIES) else name_row
    return [name(scope, memory_id) for memory_id in ids]
