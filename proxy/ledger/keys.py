"""The keys under which rows of the store are sealed.

A row that is put again gets a new key, so that nobody can open what it said before. Until the store has it, the row
has both: whichever of the two versions a crash leaves can be opened.
"""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from sqlite3 import Connection
from typing import Any, Final

# AES-128: nobody searches 2^128 keys for one memory, and half the bytes.
SIZE: Final = 16
# Of one statement. What SQLite allows depends on how it was built, and is never less than 32,766.
_PARAMETERS: Final = 1000
# The place of the first row that is registered: before all that get theirs from 0 on.
FIRST_UNSEALED: Final = -(2**62)
# A row's keys, the newest first: one, or two while it is being put again. An empty one: it was stored unsealed.
Keys = tuple[bytes, ...]

# A key that waits to be settled is used again: a store that fails a hundred times leaves two and not a hundred, and
# what it does late, after the next attempt, can still be opened.
_RENEW: Final = """
INSERT INTO keys (user, row, key) VALUES (?, ?, ?) ON CONFLICT (user, row) DO UPDATE SET
    key = CASE WHEN old IS NULL AND place IS NOT NULL THEN excluded.key ELSE key END,
    old = CASE WHEN place IS NOT NULL THEN coalesce(old, key) END
RETURNING key, old
"""
_ALL: Final = "SELECT row, key, old FROM keys WHERE user = ?"
_SOME_ROWS: Final = "SELECT row, key, old FROM keys WHERE user = ? AND row IN ({})"
_SOME_USERS: Final = "SELECT user, key, old FROM keys WHERE row = ? AND user IN ({})"
_PAGE: Final = "SELECT user, key, old FROM keys WHERE row = ? AND user > ? ORDER BY user LIMIT ?"
_UNSETTLED: Final = "SELECT user, row FROM keys WHERE place IS NULL OR old IS NOT NULL"
_DESTROY: Final = "DELETE FROM keys WHERE user = ? AND row IN ({}) RETURNING key = x'' OR ifnull(old = x'', 0)"
_DESTROY_ALL: Final = "DELETE FROM keys WHERE user = ? RETURNING key = x'' OR ifnull(old = x'', 0)"
_SETTLE: Final = "UPDATE keys SET old = NULL WHERE user = ? AND row = ? AND key = ? AND old IS NOT NULL"
_PLACE: Final = "UPDATE keys SET place = ? WHERE user = ? AND row = ? AND key = ? AND place IS NULL"
_COUNT: Final = "SELECT count(*) FROM keys WHERE place IS NOT NULL AND user IN ({})"
_LIST: Final = "SELECT row FROM keys WHERE user = ? AND place IS NOT NULL ORDER BY place"


def renew(connection: Connection, rows: Mapping[str, Sequence[str]]) -> tuple[dict[str, dict[str, bytes]], bool]:
    """New keys by user and row, and whether one of the rows was unsealed until now."""
    made: dict[str, dict[str, bytes]] = {}
    unsealed = False
    for user, names in rows.items():
        made[user] = {}
        random = os.urandom(SIZE * len(names))
        for number, name in enumerate(names):
            fresh = random[number * SIZE : (number + 1) * SIZE]
            made[user][name], old = connection.execute(_RENEW, (user, name, fresh)).fetchone()
            unsealed |= old == b""
    return made, unsealed


def settle(connection: Connection, keys: Mapping[str, Mapping[str, bytes]], place: int) -> int:
    """Gives rows of these newest *keys* that have no place theirs, from *place* on, and destroys replaced keys; how
    many there were.
    """
    rows = [(user, name, key) for user, some in keys.items() for name, key in some.items()]
    connection.executemany(_PLACE, ((number, *row) for number, row in enumerate(rows, place)))
    return connection.executemany(_SETTLE, rows).rowcount


def list_settled(connection: Connection, user: str) -> list[str]:
    """A user's rows that have a place, in that order."""
    return [row for (row,) in connection.execute(_LIST, (user,))]


def count_everybodys(connection: Connection, shared_row: str) -> int:
    """How many rows have a place, without those called *shared_row*."""
    query = "SELECT count(*) FROM keys WHERE place IS NOT NULL AND row != ?"
    count: int = connection.execute(query, (shared_row,)).fetchone()[0]
    return count


def count_settled(connection: Connection, users: Sequence[str]) -> int:
    """How many rows of these users have a place."""
    counts = (connection.execute(_COUNT.format(",".join("?" * len(some))), some) for some in _slices(users))
    return sum(count.fetchone()[0] for count in counts)


def read(connection: Connection, user: str, rows: Sequence[str] | None) -> dict[str, Keys]:
    """The keys of a user's *rows*, or with None of all rows."""
    found = connection.execute(_ALL, (user,)) if rows is None else _select(connection, _SOME_ROWS, user, rows)
    return _pair(found)


def read_row(connection: Connection, row: str, users: Sequence[str]) -> dict[str, Keys]:
    """The keys that each of *users* has of one *row*."""
    return _pair(_select(connection, _SOME_USERS, row, users))


def read_page(connection: Connection, row: str, after: str, limit: int) -> dict[str, Keys]:
    """The keys of one *row* of the first *limit* users that have it and come *after* one, in their order."""
    return _pair(connection.execute(_PAGE, (row, after, limit)))


def read_unsettled(connection: Connection) -> dict[str, list[str]]:
    """Rows by user that have no place, or two keys."""
    found: dict[str, list[str]] = {}
    for user, row in connection.execute(_UNSETTLED):
        found.setdefault(user, []).append(row)
    return found


def destroy(connection: Connection, user: str, rows: Sequence[str] | None) -> tuple[int, bool]:
    """How many rows had keys, and whether one of them was unsealed."""
    gone = connection.execute(_DESTROY_ALL, (user,)) if rows is None else _select(connection, _DESTROY, user, rows)
    unsealed = [was_unsealed for (was_unsealed,) in gone]
    return len(unsealed), any(unsealed)


def _pair(found: Iterable[tuple[str, bytes, bytes | None]]) -> dict[str, Keys]:
    return {name: (key,) if old is None else (key, old) for name, key, old in found}


def _select(connection: Connection, statement: str, first: str, names: Sequence[str]) -> Iterator[Any]:
    """What *statement* answers about *first* and each of *names*."""
    for some in _slices(names):
        yield from connection.execute(statement.format(",".join("?" * len(some))), (first, *some))


def _slices(names: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(names), _PARAMETERS):
        yield names[start : start + _PARAMETERS]


def register_unsealed(connection: Connection, rows: Iterable[tuple[str, str]]) -> None:
    """Notes rows, as (user, row), that an earlier version has stored as they are, in this order."""
    connection.executemany(
        "INSERT INTO keys (user, row, key, place) VALUES (?, ?, x'', ?) ON CONFLICT DO NOTHING",
        ((user, row, number) for number, (user, row) in enumerate(rows, FIRST_UNSEALED)),
    )
