"""Where records lie in Chroma: which shard, and under what name."""

from base64 import urlsafe_b64encode
from collections.abc import Iterable, Mapping
from hashlib import blake2b
from typing import Any, Final, NamedTuple

import numpy as np

from proxy.errors import StoreError
from proxy.models import PARTS, Scope, find_part

# A part's records are in a shard of their own.
SHARDS: Final = PARTS
# What the ledger calls the row in which a user is named; rows of records have 16 characters or more.
USER_ROW: Final = "user"
# A value that is too long for one is in several of these, "m", "m1", "m2" …, of which there may be so many: Chroma
# Cloud takes 32 keys, and one is the user's.
_VALUE: Final = "m"
_MOST_VALUES: Final = 31


class Row(NamedTuple):
    """What is to be put where."""

    scope: Scope
    memory_id: str
    name: str
    packed: bytes


def find_shard(user_key: str) -> int:
    """The number of the shard in which all records of a user are."""
    return find_part(user_key)


def name_row(scope: Scope, memory_id: str) -> str:
    """The id of a record."""
    # With the user's key in it, an id that somebody imports can only ever meet their own. Twelve bytes: among a
    # billion memories two are the same once in 10^11 times.
    raw = f"{scope.key}.{memory_id}".encode()
    return urlsafe_b64encode(blake2b(raw, digest_size=12, person=b"mp-row").digest()).decode()


def name_old_row(scope: Scope, memory_id: str) -> str:
    """The id that earlier versions gave a record, in collections of their own."""
    return f"{scope.key}.{memory_id}"


def group_by_user(rows: Iterable[Row]) -> dict[str, list[str]]:
    """The names of *rows* by user key."""
    groups: dict[str, list[str]] = {}
    for row in rows:
        groups.setdefault(row.scope.key, []).append(row.name)
    return groups


def group_by_shard(rows: Iterable[Row]) -> dict[int, list[Row]]:
    """*rows* by the number of their shard."""
    groups: dict[int, list[Row]] = {}
    for row in rows:
        groups.setdefault(find_shard(row.scope.key), []).append(row)
    return groups


def make_points(count: int) -> Any:
    """A vector of one number for each of *count* rows, for Chroma's index, which nobody asks: always the same.

    With different ones Chroma 1.5 ends the process (SIGSEGV) sooner or later, and again as soon as it is back: adding a
    row to its graph it walks to ever nearer rows, and takes an arbitrary address for the nearest where all it reaches
    are deleted. With 250 of 500 rows deleted at random and replaced it took 1,200 to 3,800 rows. Where all are equally
    near it stays where it begins, for which it provides. It is as fast with either.
    """
    return np.zeros((count, 1), np.float32)


def split_value(text: str, limit: int | None) -> dict[str, str]:
    """*text* as metadata, of which no value has more than *limit* characters.

    How many there are is said at the beginning, because what is put again does not take away what was there before.

    Raises:
        StoreError: there is no room for it.
    """
    if limit is None or len(text) <= limit:
        return {_VALUE: text}
    size = limit - len(f"{_MOST_VALUES}.")
    count = -(-len(text) // size)
    if count > _MOST_VALUES:
        raise StoreError(f"a memory of {len(text):,} characters has no room in Chroma, where {limit:,} are the limit")
    pieces = [text[start : start + size] for start in range(0, len(text), size)]
    pieces[0] = f"{count}.{pieces[0]}"
    return {f"{_VALUE}{number or ''}": piece for number, piece in enumerate(pieces)}


def join_value(metadata: Mapping[str, str]) -> str:
    """What :func:`split_value` has made metadata of."""
    text = metadata[_VALUE]
    if not text[:1].isdigit():  # as no sealed text begins
        return text
    count, _, first = text.partition(".")
    return first + "".join(metadata[f"{_VALUE}{number}"] for number in range(1, int(count)))
