"""Chroma as the store. The one module that imports ``chromadb``, and it does so only in the keeper's process.

How things lie in it, measured with Chroma 1.5 on two cores:

- Users are hashed into a fixed number of collections: one for everybody makes a user's load grow with everybody's
  memories, one a user costs 2.8 MB and 35 ms each.
- A record is one metadata string beside the user's key. Every metadata key is a row of SQLite, and a ``document`` is
  also indexed for full-text search, which nobody asks for: 1,900 instead of 890 records a second, and a user of 1,000
  is loaded in 14 ms instead of 31.
- The vector travels in that string, too (base64 of float16): asking Chroma for embeddings reads its index from disk.
- What Chroma itself takes for the vector is a point on a line, since nobody asks it what is near: ranking is exact, in
  the edge. Chroma keeps the indexes of all collections in memory, and in them each id several times, hence short ids.
  With 256 dimensions and ids of 65 characters 230,000 memories took it 600 MB and 240 s to store; now 155 MB and 160 s.
"""

from base64 import urlsafe_b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final
from zlib import crc32

import chromadb
import msgspec
import numpy as np
from chromadb.config import Settings as ChromaSettings
from chromadb.errors import ChromaError

from proxy.errors import StoreError
from proxy.models import Record, Scope
from proxy.stores.base import KnownUser

# 16 shards: a user's load costs the same with 1,000 and with 100,000 memories of others (see `memory-proxy bench`).
SHARDS: Final = 16
USERS: Final = "users"
RECORDS: Final = "records"
# Where earlier versions put them.
MEMORIES: Final = "memories"
# The least that an index may be.
INDEX: Final = {"hnsw": {"max_neighbors": 2, "ef_construction": 2, "ef_search": 2}}
# Well below what SQLite allows in one statement.
BATCH: Final = 1000
# Rows that one statement may answer with: Chroma fails beyond 32,000. The more of them, the fewer are counted over:
# 100,000 users take 6.7 s in pages of 1,000, 1.9 s in these; larger ones leave tens of megabytes behind.
PAGE: Final = 5_000

_records = msgspec.json.Decoder(Record)
_known_users = msgspec.json.Decoder(KnownUser)


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    # Its Rust core also raises plain ValueErrors, RuntimeErrors and OSErrors.
    except (ChromaError, ValueError, RuntimeError, OSError, msgspec.MsgspecError) as exc:
        raise StoreError(f"chroma: {type(exc).__name__}: {exc}") from exc


def _slices(items: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for start in range(0, len(items), BATCH):
        yield items[start : start + BATCH]


class EmbeddedChroma:
    """A :class:`~proxy.stores.base.Store` in a folder, for one process at a time: the keeper's lock sees to that.

    Earlier versions had other collections, with real vectors and long ids: they are read, and what is put again moves.
    """

    def __init__(self, data_dir: Path) -> None:
        settings = ChromaSettings(anonymized_telemetry=False)
        with _translated():
            self._client = chromadb.PersistentClient(str(data_dir / "chroma"), settings=settings)
            self._collections: dict[str, Any] = {c.name: c for c in self._client.list_collections()}

    def _collection(self, name: str) -> Any:
        if name not in self._collections:
            self._collections[name] = self._client.get_or_create_collection(
                name, embedding_function=None, configuration=INDEX
            )
        return self._collections[name]

    def _shard(self, scope: Scope) -> int:
        return crc32(scope.key.encode()) % SHARDS

    def _holding(self, scope: Scope) -> list[Any]:
        """Every collection that may hold records of the user."""
        ending = f".{self._shard(scope):02d}"
        # A copy: another thread may write the first record of another shard meanwhile.
        known = tuple(self._collections.items())
        return [c for name, c in known if name.startswith((RECORDS, MEMORIES)) and name.endswith(ending)]

    @_translated()
    def put(self, records: Mapping[Scope, Sequence[Record]]) -> None:
        """Adds users' records, replacing those with the same memory id."""
        # One statement a collection, not one a user: each costs Chroma a transaction of 4 ms.
        by_collection: dict[str, list[tuple[Scope, Record]]] = {}
        for scope, some in records.items():
            name = f"{RECORDS}.{self._shard(scope):02d}"
            by_collection.setdefault(name, []).extend((scope, record) for record in some)
        for name, owned in by_collection.items():
            for slice_ in _slices(owned):
                self._upsert(name, slice_)

    def _upsert(self, name: str, owned: Sequence[tuple[Scope, Record]]) -> None:
        rows = [_short_id(scope, record.memory.id) for scope, record in owned]
        self._collection(name).upsert(
            ids=rows,
            embeddings=_make_points(rows),
            metadatas=[{"u": scope.key, "m": msgspec.json.encode(record).decode()} for scope, record in owned],
        )
        # An earlier version has put the record elsewhere. All users of a collection are of one shard.
        for other in self._holding(owned[0][0]):
            if other.name != name:
                _remove(other, [_long_id(scope, record.memory.id) for scope, record in owned])

    @_translated()
    def prepare(self) -> None:
        """Opens what the first calls would otherwise wait for: each collection's index, in 5 to 25 ms."""
        for collection in tuple(self._collections.values()):
            collection.get(limit=1, include=[])

    @_translated()
    def list_rows(self, scope: Scope) -> list[str]:
        """Where all records of a user are, for :meth:`fetch`: those first that were first put."""
        return [row for collection in self._holding(scope) for row in _list_rows(collection, scope)]

    @_translated()
    def fetch(self, scope: Scope, rows: Sequence[str]) -> list[Record]:
        """The user's records that are in *rows*, those first that were first put."""
        records: list[Record] = []
        for collection in self._holding(scope):
            for some in _slices(rows):
                # By id alone: Chroma takes seconds to look for a thousand ids and a user at once.
                found = collection.get(ids=list(some), include=["metadatas"])["metadatas"]
                records += [_records.decode(metadata["m"]) for metadata in found if metadata["u"] == scope.key]
        return records

    @_translated()
    def known(self, scope: Scope, ids: Sequence[str]) -> set[str]:
        """Those of *ids* that the user has a record of."""
        found: set[str] = set()
        for collection in self._holding(scope):
            for some in _slices(ids):
                rows = _name_rows(collection, scope, some)
                found.update(rows[row] for row in collection.get(ids=list(rows), include=[])["ids"])
        return found

    @_translated()
    def delete(self, scope: Scope, ids: Sequence[str]) -> int:
        """Removes records by memory id; answers how many there were."""
        removed = 0
        for collection in self._holding(scope):
            for some in _slices(ids):
                removed += _remove(collection, list(_name_rows(collection, scope, some)))
        return removed

    @_translated()
    def delete_user(self, scope: Scope) -> int:
        """Removes all records of a user, and the user; answers how many records there were."""
        removed = 0
        for collection in self._holding(scope):
            rows = _list_rows(collection, scope)
            removed += len(rows)
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
            keys = [key for key, _ in some]
            self._collection(USERS).upsert(
                ids=keys,
                embeddings=_make_points(keys),
                metadatas=[{"m": msgspec.json.encode(user).decode()} for _, user in some],
            )

    @_translated()
    def users(self, keys: Sequence[str] | None = None) -> list[KnownUser]:
        """The users with these keys, or every user, in no particular order."""
        if USERS not in self._collections:
            return []
        if keys is None:
            return [user for some in self._pages() for user in some]
        users: list[KnownUser] = []
        for some in _slices(keys):
            users += _read_users(self._collection(USERS).get(ids=list(some), include=["metadatas"]))
        return users

    @_translated()
    def activity(self) -> dict[str, datetime]:
        """When each user was last active, by the user's key."""
        if USERS not in self._collections:
            return {}
        return {user.scope.key: user.last_activity for some in self._pages() for user in some}

    def _pages(self) -> Iterator[list[KnownUser]]:
        """Every user. The caller is the only writer, so that none is missed between two pages."""
        start = 0
        while some := _read_users(self._collection(USERS).get(include=["metadatas"], limit=PAGE, offset=start)):
            yield some
            start += len(some)

    @_translated()
    def close(self) -> None:
        """Releases the files."""
        self._client.close()


def _short_id(scope: Scope, memory_id: str) -> str:
    # With the user's key in it, an id that somebody imports can only ever meet their own. Twelve bytes: among a
    # billion memories two are the same once in 10^11 times.
    raw = f"{scope.key}.{memory_id}".encode()
    return urlsafe_b64encode(blake2b(raw, digest_size=12, person=b"mp-row").digest()).decode()


def _long_id(scope: Scope, memory_id: str) -> str:
    return f"{scope.key}.{memory_id}"


def _name_rows(collection: Any, scope: Scope, ids: Sequence[str]) -> dict[str, str]:
    """The row that each of *ids* has in *collection* if it is there, with the id itself."""
    name = _long_id if collection.name.startswith(MEMORIES) else _short_id
    return {name(scope, memory_id): memory_id for memory_id in ids}


def _list_rows(collection: Any, scope: Scope) -> list[str]:
    rows: list[str] = collection.get(where={"u": scope.key}, include=[])["ids"]
    return rows


def _read_users(found: Any) -> list[KnownUser]:
    return [_known_users.decode(row["m"]) for row in found["metadatas"]]


def _remove(collection: Any, ids: Sequence[str]) -> int:
    """Deletes those of *ids* that there are; answers how many."""
    rows = collection.get(ids=list(ids), include=[])["ids"]
    if rows:
        collection.delete(ids=rows)
    return len(rows)


def _make_points(ids: Sequence[str]) -> Any:
    """A vector of one number for each of *ids*, spread evenly: of equal ones Chroma's index could make nothing."""
    return np.array([[crc32(id_.encode()) / 2**32] for id_ in ids], np.float32)
