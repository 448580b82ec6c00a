"""What was erased, as far as it takes to know it again: dates, ids of memories and digests of texts."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from sqlite3 import Connection
from typing import Final

from proxy.chain import SIZE, split

# Of so many burials of one user one is made: at 8 bytes a text they take less than what SQLite needs for the rows.
MERGED: Final = 64

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_BURY_USER: Final = """
INSERT INTO erased_users (user, at) VALUES (?, ?) ON CONFLICT (user) DO UPDATE SET at = max(at, excluded.at)
"""
_BURY_MEMORY: Final = """
INSERT INTO erased_memories (user, memory, at) VALUES (?, ?, ?)
ON CONFLICT (user, memory) DO UPDATE SET at = max(at, excluded.at)
"""


@dataclass(frozen=True, slots=True)
class Tombstone:
    """What a user has erased.

    *erased_at*: when all of it, the last time. *ids*: single memories, and when. *digests*: of erased texts, from
    :func:`proxy.chain.digest`.
    """

    erased_at: datetime | None = None
    ids: dict[str, datetime] = field(default_factory=dict)
    digests: frozenset[bytes] = frozenset()

    @property
    def weight(self) -> int:
        """How many things it holds."""
        return len(self.ids) + len(self.digests)


def bury(
    connection: Connection, user: str, at: datetime, memory_ids: Sequence[str] | None, digests: Iterable[bytes]
) -> None:
    """Adds to what is known to be erased; with *memory_ids* None, everything the user had until now."""
    when = write_date(at)
    if memory_ids is None:
        connection.execute(_BURY_USER, (user, when))
    else:
        connection.executemany(_BURY_MEMORY, ((user, memory, when) for memory in memory_ids))
    if texts := join(digests):
        connection.execute("INSERT INTO erased_texts (user, digests) VALUES (?, ?)", (user, texts))
        _merge(connection, user)


def read(connection: Connection, user: str) -> Tombstone:
    """What is known to be erased of a user; the same as ``Tombstone()`` where nothing is."""
    erased = connection.execute("SELECT at FROM erased_users WHERE user = ?", (user,)).fetchone()
    memories = connection.execute("SELECT memory, at FROM erased_memories WHERE user = ?", (user,))
    return Tombstone(
        erased_at=None if erased is None else read_date(erased[0]),
        ids={memory: read_date(at) for memory, at in memories},
        digests=frozenset(digest for blob in _read_texts(connection, user) for digest in split(blob)),
    )


def _merge(connection: Connection, user: str) -> None:
    blobs = _read_texts(connection, user)
    if len(blobs) < MERGED:
        return
    connection.execute("DELETE FROM erased_texts WHERE user = ?", (user,))
    texts = join(digest for blob in blobs for digest in split(blob))
    connection.execute("INSERT INTO erased_texts (user, digests) VALUES (?, ?)", (user, texts))


def _read_texts(connection: Connection, user: str) -> list[bytes]:
    return [blob for (blob,) in connection.execute("SELECT digests FROM erased_texts WHERE user = ?", (user,))]


def join(digests: Iterable[bytes]) -> bytes:
    """*digests* one after the other, each once."""
    once = sorted(set(digests))
    if any(len(digest) != SIZE for digest in once):
        raise ValueError(f"a digest has {SIZE} bytes")
    return b"".join(once)


def write_date(at: datetime) -> int:
    """Microseconds since 1970."""
    return (at - _EPOCH) // _MICROSECOND


def read_date(when: int) -> datetime:
    """What :func:`write_date` was given."""
    return _EPOCH + when * _MICROSECOND
