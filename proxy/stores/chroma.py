"""Chroma as the store. The one module that imports ``chromadb``, and it does so only in the keeper's process.

How things lie in it, measured with Chroma 1.5 and 256 dimensions on two cores:

- Users are hashed into a fixed number of collections: one for everybody makes a user's load grow with everybody's
  memories, one a user costs 2.8 MB and 35 ms each.
- A record is one metadata string beside the user's key. Every metadata key is a row of SQLite, and a ``document`` is
  also indexed for full-text search, which nobody asks for: 1,900 instead of 890 records a second, and a user of 1,000
  is loaded in 14 ms instead of 31.
- The vector travels in that string, too (base64 of float16): asking Chroma for embeddings reads its index from disk.
  Chroma has it as well, for its own ``query``.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
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
# Chroma wants a vector with everything; what has none gets this one.
NO_VECTOR: Final = np.ones(1, np.float32)
USERS: Final = "users"
MEMORIES: Final = "memories"
# Well below what SQLite allows in one statement.
BATCH: Final = 1000

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

    Collections are named by the length of their vectors, because Chroma fixes it with the first one; after a change of
    the embedding model a user's records lie in two, and both are read.
    """

    def __init__(self, data_dir: Path) -> None:
        settings = ChromaSettings(anonymized_telemetry=False)
        with _translated():
            self._client = chromadb.PersistentClient(str(data_dir / "chroma"), settings=settings)
            self._collections: dict[str, Any] = {c.name: c for c in self._client.list_collections()}

    def _collection(self, name: str) -> Any:
        if name not in self._collections:
            self._collections[name] = self._client.get_or_create_collection(name, embedding_function=None)
        return self._collections[name]

    def _shard(self, scope: Scope) -> int:
        return crc32(scope.key.encode()) % SHARDS

    def _holding(self, scope: Scope) -> list[Any]:
        """Every collection that may hold records of the user."""
        ending = f".{self._shard(scope):02d}"
        # A copy: another thread may write the first record of another shard meanwhile.
        known = tuple(self._collections.items())
        return [c for name, c in known if name.startswith(MEMORIES) and name.endswith(ending)]

    @_translated()
    def put(self, records: Mapping[Scope, Sequence[Record]]) -> None:
        """Adds users' records, replacing those with the same memory id."""
        # One statement a collection, not one a user: each costs Chroma a transaction of 4 ms.
        by_collection: dict[str, list[tuple[Scope, Record]]] = {}
        for scope, some in records.items():
            for record in some:
                name = f"{MEMORIES}.{len(record.vector) // 2 or 1}.{self._shard(scope):02d}"
                by_collection.setdefault(name, []).append((scope, record))
        for name, owned in by_collection.items():
            for slice_ in _slices(owned):
                self._upsert(name, slice_)

    def _upsert(self, name: str, owned: Sequence[tuple[Scope, Record]]) -> None:
        ids = [_chroma_id(scope, record.memory.id) for scope, record in owned]
        self._collection(name).upsert(
            ids=ids,
            embeddings=np.stack([_vector(record) for _, record in owned]),
            metadatas=[{"u": scope.key, "m": msgspec.json.encode(record).decode()} for scope, record in owned],
        )
        # With another model's vector the record has lain elsewhere. All users of a collection are of one shard.
        for other in self._holding(owned[0][0]):
            if other.name != name:
                _remove(other, ids)

    @_translated()
    def load(self, scope: Scope) -> list[Record]:
        """All records of a user, in no particular order."""
        records: dict[str, Record] = {}
        for collection in self._holding(scope):
            for metadata in collection.get(where={"u": scope.key}, include=["metadatas"])["metadatas"]:
                record = _records.decode(metadata["m"])
                records[record.memory.id] = record
        return list(records.values())

    @_translated()
    def known(self, scope: Scope, ids: Sequence[str]) -> set[str]:
        """Those of *ids* that the user has a record of."""
        found: set[str] = set()
        for collection in self._holding(scope):
            for some in _slices(ids):
                rows = collection.get(ids=[_chroma_id(scope, i) for i in some], include=[])["ids"]
                found.update(row.partition(".")[2] for row in rows)
        return found

    @_translated()
    def count(self, scope: Scope) -> int:
        """How many records a user has."""
        return sum(len(c.get(where={"u": scope.key}, include=[])["ids"]) for c in self._holding(scope))

    @_translated()
    def delete(self, scope: Scope, ids: Sequence[str]) -> int:
        """Removes records by memory id; answers how many there were."""
        removed = 0
        for collection in self._holding(scope):
            for some in _slices(ids):
                removed += _remove(collection, [_chroma_id(scope, i) for i in some])
        return removed

    @_translated()
    def delete_user(self, scope: Scope) -> int:
        """Removes all records of a user, and the user; answers how many records there were."""
        removed = 0
        for collection in self._holding(scope):
            rows = collection.get(where={"u": scope.key}, include=[])["ids"]
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
            self._collection(USERS).upsert(
                ids=[key for key, _ in some],
                embeddings=np.stack([NO_VECTOR] * len(some)),
                metadatas=[{"m": msgspec.json.encode(user).decode()} for _, user in some],
            )

    @_translated()
    def users(self) -> list[KnownUser]:
        """Every user, in no particular order."""
        if USERS not in self._collections:
            return []
        rows = self._collection(USERS).get(include=["metadatas"])["metadatas"]
        return [_known_users.decode(row["m"]) for row in rows]

    @_translated()
    def close(self) -> None:
        """Releases the files."""
        self._client.close()


def _chroma_id(scope: Scope, memory_id: str) -> str:
    # With the user's key in front, an id that somebody imports can only ever meet their own.
    return f"{scope.key}.{memory_id}"


def _remove(collection: Any, ids: Sequence[str]) -> int:
    """Deletes those of *ids* that there are; answers how many."""
    rows = collection.get(ids=list(ids), include=[])["ids"]
    if rows:
        collection.delete(ids=rows)
    return len(rows)


def _vector(record: Record) -> Any:
    return np.frombuffer(record.vector, "<f2").astype(np.float32) if record.vector else NO_VECTOR
