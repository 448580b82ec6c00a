"""Chroma as the store. The one module that imports ``chromadb``, and it does so only in the keeper's process.

How things lie in it, measured with Chroma 1.5 on two cores:

- Users are hashed into a fixed number of collections: one for everybody makes a user's load grow with everybody's
  memories, one a user costs 2.8 MB and 35 ms each.
- A record is one metadata string beside the user's key. Every metadata key is a row of SQLite, and a ``document`` is
  also indexed for full-text search, which nobody asks for: 1,900 instead of 890 records a second, and a user of 1,000
  is loaded in 14 ms instead of 31.
- The vector travels in that string, too: asking Chroma for embeddings reads its index from disk.
- What Chroma itself takes for the vector is a point on a line, since nobody asks it what is near: ranking is exact, in
  the edge. Chroma keeps the indexes of all collections in memory, and in them each id several times, hence short ids.
  With 256 dimensions and ids of 65 characters 230,000 memories took it 600 MB and 240 s to store; now 155 MB and 160 s.

That string is sealed, and its key in the ledger: Chroma leaves what is deleted in free pages, its queue and whatever
was copied of its folder, where nobody can read it once the key is gone. So that a crash or a power cut between any two
steps loses nothing and brings nothing back (both files are synced before a call to them returns):

- Put: the keys are durable, then Chroma has the rows, then the keys that these rows had before are destroyed. In
  between a row has both keys, and is what it was or what it will be.
- Erase: the keys are destroyed, then Chroma deletes the rows. What it has without a key does not exist.

Where a backup is restored, Chroma's folder must not be newer than the ledger, which is copied last.
"""

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import chromadb
import msgspec
import structlog
from chromadb.config import Settings as ChromaSettings
from chromadb.errors import ChromaError

from proxy.errors import StoreError
from proxy.ledger import Keys, Ledger
from proxy.models import Record, Scope
from proxy.stores.base import Activity, KnownUser
from proxy.stores.envelope import Envelopes, is_sealed
from proxy.stores.remnants import blank_empty_indexes, fill_freed_memory
from proxy.stores.rows import (
    USER_ROW,
    Row,
    find_shard,
    group_by_shard,
    group_by_user,
    make_points,
    name_old_row,
    name_row,
)
from proxy.stores.sweep import sweep

USERS: Final = "users"
RECORDS: Final = "records"
# Where earlier versions put them.
MEMORIES: Final = "memories"
# The least that an index may be.
INDEX: Final = {"hnsw": {"max_neighbors": 2, "ef_construction": 2, "ef_search": 2}}
# Well below what SQLite allows in one statement.
BATCH: Final = 1000
# Rows that one statement may answer with: Chroma fails beyond 32,000. The more of them, the fewer are counted over,
# but larger answers leave tens of megabytes behind.
PAGE: Final = 5_000

_log = structlog.get_logger()


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    # These quote what they could not read.
    except (UnicodeError, msgspec.MsgspecError) as exc:
        raise StoreError(f"chroma: {type(exc).__name__}") from exc
    # Its Rust core also raises plain ValueErrors, RuntimeErrors and OSErrors.
    except (ChromaError, ValueError, RuntimeError, OSError) as exc:
        raise StoreError(f"chroma: {type(exc).__name__}: {exc}") from exc


def _slices(items: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for start in range(0, len(items), BATCH):
        yield items[start : start + BATCH]


class EmbeddedChroma:
    """A :class:`~proxy.stores.base.Store` in a folder, for one process at a time: the keeper's lock sees to that.

    Earlier versions sealed nothing, and had other collections, with real vectors and long ids: what is there is read,
    and what is put again is sealed and moves. Where text of theirs was erased or replaced, it is taken out of the file
    the next time that the store is opened.
    """

    def __init__(self, data_dir: Path, ledger: Ledger) -> None:
        self._ledger = ledger
        self._records = Envelopes(Record)
        self._users = Envelopes(KnownUser)
        folder = data_dir / "chroma"
        fill_freed_memory()
        self._sweep(folder)
        settings = ChromaSettings(anonymized_telemetry=False)
        with _translated():
            blank_empty_indexes(folder)
            self._client = chromadb.PersistentClient(str(folder), settings=settings)
            self._collections: dict[str, Any] = {c.name: c for c in self._client.list_collections()}
            if not ledger.is_surveyed():
                ledger.note_survey(self._find_unsealed())
            self._settle()

    def _sweep(self, folder: Path) -> None:
        if not self._ledger.is_littered():
            return
        try:
            sweep(folder, self._ledger, USER_ROW)
        except StoreError as exc:
            # A full disk, say. Everything else works, and the next start tries again.
            _log.warning("store.unswept", reason=str(exc))
        else:
            self._ledger.note_sweep()

    def _find_unsealed(self) -> Iterator[tuple[str, str]]:
        """What an earlier version has stored: (user key, row)."""
        for name, collection in self._collections.items():
            for found in _read_pages(collection):
                for row, metadata in zip(found["ids"], found["metadatas"], strict=True):
                    if is_sealed(metadata["m"]):
                        raise StoreError("ledger.sqlite3 is new, but memories are sealed: restore it from its backup")
                    yield (row, USER_ROW) if name == USERS else (metadata["u"], row)

    def _settle(self) -> None:
        """Finishes what was put, but not settled, by a process that was killed."""
        for user_key, rows in self._ledger.list_unsettled().items():
            newest = {row: keys[:1] for row, keys in self._ledger.read_keys(user_key, rows).items()}
            name = f"{RECORDS}.{find_shard(user_key):02d}"
            put = []
            if name in self._collections:
                found = self._collection(name).get(ids=list(newest), include=["metadatas"])
                put = [row for row, record in self._open_all(found, newest, user_key).items() if record is not None]
            if USER_ROW in newest and USERS in self._collections:
                put += [USER_ROW for _ in self._open_users({user_key: newest[USER_ROW]})]
            self._ledger.settle_keys({user_key: put})

    def _collection(self, name: str) -> Any:
        if name not in self._collections:
            self._collections[name] = self._client.get_or_create_collection(
                name, embedding_function=None, configuration=INDEX
            )
        return self._collections[name]

    def _holding(self, scope: Scope) -> list[Any]:
        """Every collection that may hold records of the user."""
        ending = f".{find_shard(scope.key):02d}"
        # A copy: another thread may write the first record of another shard meanwhile.
        known = tuple(self._collections.items())
        return [c for name, c in known if name.startswith((RECORDS, MEMORIES)) and name.endswith(ending)]

    @_translated()
    def put(self, records: Mapping[Scope, Sequence[Record]]) -> None:
        """Adds users' records, replacing those with the same memory id."""
        # Packed first: what cannot be packed gets no key.
        rows = [
            Row(scope, record.memory.id, name_row(scope, record.memory.id), self._records.pack(record))
            for scope, some in records.items()
            for record in some
        ]
        places = group_by_user(rows)
        keys = self._ledger.make_keys(places)
        # One statement a collection, not one a user: each costs Chroma a transaction of 4 ms.
        for shard, owned in group_by_shard(rows).items():
            for slice_ in _slices(owned):
                self._upsert(shard, slice_, keys)
        self._ledger.settle_keys(places)

    def _upsert(self, shard: int, rows: Sequence[Row], keys: Mapping[str, Mapping[str, bytes]]) -> None:
        name = f"{RECORDS}.{shard:02d}"
        names = [row.name for row in rows]
        self._collection(name).upsert(
            ids=names, embeddings=make_points(names), metadatas=[self._seal(row, keys) for row in rows]
        )
        # An earlier version has put the record elsewhere. All users of a collection are of one shard.
        for other in self._holding(rows[0].scope):
            if other.name != name:
                moved = [row._replace(name=name_old_row(row.scope, row.memory_id)) for row in rows]
                for user_key, some in group_by_user(moved).items():
                    self._ledger.destroy_keys(user_key, some)
                _remove(other, [row.name for row in moved])

    def _seal(self, row: Row, keys: Mapping[str, Mapping[str, bytes]]) -> dict[str, str]:
        user_key = row.scope.key
        return {
            "u": user_key,
            "m": self._records.seal(row.packed, keys[user_key][row.name], user_key=user_key, row=row.name),
        }

    @_translated()
    def prepare(self) -> None:
        """Opens what the first calls would otherwise wait for: each collection's index, in 5 to 25 ms."""
        for collection in tuple(self._collections.values()):
            collection.get(limit=1, include=[])

    @_translated()
    def list_rows(self, scope: Scope) -> list[str]:
        """Where all records of a user are, for :meth:`fetch`: those first that were first put."""
        return [row for row in self._ledger.list_rows(scope.key) if row != USER_ROW]

    @_translated()
    def fetch(self, scope: Scope, rows: Sequence[str]) -> list[Record]:
        """The user's records that are in *rows*, those first that were first put."""
        found: dict[str, Record | None] = {}
        for collection in self._holding(scope):
            for some in _slices(rows):
                found |= self._open_rows(collection, scope, some)
        return [record for record in found.values() if record is not None]

    def _open_rows(self, collection: Any, scope: Scope, rows: Sequence[str]) -> dict[str, Record | None]:
        """Those of *rows* that *collection* has and the user has a key to; None for what cannot be opened."""
        opened = self._open_once(collection, scope, rows)
        # Text and key are read one after the other: what somebody else put in between opens at the second attempt.
        if missed := [row for row, record in opened.items() if record is None]:
            opened |= self._open_once(collection, scope, missed)
        return opened

    def _open_once(self, collection: Any, scope: Scope, rows: Sequence[str]) -> dict[str, Record | None]:
        # By id alone: Chroma takes seconds to look for a thousand ids and a user at once.
        found = collection.get(ids=list(rows), include=["metadatas"])
        if not found["ids"]:
            return {}
        return self._open_all(found, self._ledger.read_keys(scope.key, found["ids"]), scope.key)

    def _open_all(self, found: Any, keys: Mapping[str, Keys], user_key: str) -> dict[str, Record | None]:
        return {
            row: self._records.open(metadata["m"], keys[row], user_key=user_key, row=row)
            for row, metadata in zip(found["ids"], found["metadatas"], strict=True)
            if row in keys
        }

    def _fetch_ids(self, scope: Scope, ids: Sequence[str]) -> Iterator[Record]:
        for collection in self._holding(scope):
            for some in _slices(ids):
                opened = self._open_rows(collection, scope, _name_rows(collection, scope, some))
                yield from (record for record in opened.values() if record is not None)

    @_translated()
    def fetch_ids(self, scope: Scope, ids: Sequence[str]) -> list[Record]:
        """The user's records with these memory ids, in no particular order."""
        return list(self._fetch_ids(scope, ids))

    @_translated()
    def delete(self, scope: Scope, ids: Sequence[str]) -> int:
        """Erases records by memory id; answers how many there were."""
        removed = 0
        for collection in self._holding(scope):
            for some in _slices(ids):
                rows = _name_rows(collection, scope, some)
                living = self._ledger.read_keys(scope.key, rows)
                self._ledger.destroy_keys(scope.key, rows)
                removed += len(living.keys() & _remove(collection, rows))
        return removed

    @_translated()
    def delete_user(self, scope: Scope) -> int:
        """Erases all records of a user, and the user; answers how many records there were."""
        living = set(self._ledger.list_rows(scope.key))
        self._ledger.destroy_keys(scope.key)
        removed = 0
        for collection in self._holding(scope):
            rows = _list_rows(collection, scope)
            removed += len(living.intersection(rows))
            for some in _slices(rows):
                collection.delete(ids=list(some))
        if USERS in self._collections:
            self._collection(USERS).delete(ids=[scope.key])
        return removed

    @_translated()
    def touch(self, users: Iterable[KnownUser]) -> None:
        """Notes that these users exist and when each was last active."""
        latest = {user.scope.key: user for user in users}
        for some in _slices(list(latest.items())):
            self._touch(dict(some))

    def _touch(self, users: Mapping[str, KnownUser]) -> None:
        names = list(users)
        known = self._ledger.read_row_keys(USER_ROW, names)
        # With the key they have: a user's name does not change, so that there is nothing to make unreadable.
        keys = {name: newest for name, (newest, *_) in known.items() if newest}
        fresh = {name: [USER_ROW] for name in names if name not in keys}
        if fresh:
            keys |= {name: made[USER_ROW] for name, made in self._ledger.make_keys(fresh).items()}
        self._collection(USERS).upsert(
            ids=names,
            embeddings=make_points(names),
            metadatas=[
                {"m": self._users.seal(self._users.pack(user), keys[name], user_key=name, row=USER_ROW)}
                for name, user in users.items()
            ],
        )
        if fresh:
            self._ledger.settle_keys(fresh)

    @_translated()
    def users(self, keys: Sequence[str] | None = None) -> list[KnownUser]:
        """The users with these keys, or every user, in no particular order."""
        if USERS not in self._collections:
            return []
        if keys is None:
            return [user for some in self._pages() for user in some.values()]
        users: list[KnownUser] = []
        for some in _slices(keys):
            users += self._open_users(self._ledger.read_row_keys(USER_ROW, some)).values()
        return users

    @_translated()
    def activity(self) -> dict[str, Activity]:
        """When each user was last active, by the user's key."""
        if USERS not in self._collections:
            return {}
        # Interned: there are few tenants, and many users.
        return {
            key: Activity(user.last_activity, sys.intern(user.scope.tenant))
            for some in self._pages()
            for key, user in some.items()
        }

    def _pages(self) -> Iterator[dict[str, KnownUser]]:
        """Every user. The ledger knows where a page ends; Chroma counts over all that come before it."""
        last = ""
        while keys := self._ledger.page_row_keys(USER_ROW, after=last, limit=BATCH):
            yield self._open_users(keys)
            last = max(keys)

    def _open_users(self, keys: Mapping[str, Keys]) -> dict[str, KnownUser]:
        """Users by key, of those to whom there are *keys*."""
        if not keys:  # Chroma refuses an empty list
            return {}
        found = self._collection(USERS).get(ids=list(keys), include=["metadatas"])
        opened = {
            name: self._users.open(row["m"], keys[name], user_key=name, row=USER_ROW)
            for name, row in zip(found["ids"], found["metadatas"], strict=True)
        }
        return {name: user for name, user in opened.items() if user is not None}

    @_translated()
    def close(self) -> None:
        """Releases the files."""
        self._client.close()


def _name_rows(collection: Any, scope: Scope, ids: Sequence[str]) -> list[str]:
    """The row that each of *ids* has in *collection* if it is there."""
    name = name_old_row if collection.name.startswith(MEMORIES) else name_row
    return [name(scope, memory_id) for memory_id in ids]


def _list_rows(collection: Any, scope: Scope) -> list[str]:
    rows: list[str] = collection.get(where={"u": scope.key}, include=[])["ids"]
    return rows


def _read_pages(collection: Any) -> Iterator[Any]:
    """All that *collection* has, in pages."""
    start = 0
    while (found := collection.get(include=["metadatas"], limit=PAGE, offset=start))["ids"]:
        yield found
        start += len(found["ids"])


def _remove(collection: Any, ids: Sequence[str]) -> set[str]:
    """Deletes those of *ids* that there are, and answers them."""
    rows = collection.get(ids=list(ids), include=[])["ids"]
    if rows:
        collection.delete(ids=rows)
    return set(rows)
