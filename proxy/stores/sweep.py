"""What earlier versions stored unsealed, taken out of Chroma's file once it is erased or replaced.

Chroma leaves it in free pages, and in its queue, which it keeps until a thousand more were written to a collection.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

from proxy.errors import StoreError
from proxy.ledger import Ledger

FILE: Final = "chroma.sqlite3"

# The queue is there for the index of vectors, too, which lags behind; that needs no metadata.
_BLANK_QUEUE: Final = """
UPDATE embeddings_queue SET metadata = NULL WHERE metadata IS NOT NULL AND seq_id <= (
    SELECT max_seq_id.seq_id FROM segments JOIN max_seq_id ON max_seq_id.segment_id = segments.id
    WHERE segments.scope = 'METADATA' AND embeddings_queue.topic LIKE '%/' || segments.collection
)
"""
_UNSEALED: Final = """
SELECT m.id, e.embedding_id, u.string_value FROM embedding_metadata AS m
JOIN embeddings AS e ON e.id = m.id LEFT JOIN embedding_metadata AS u ON u.id = m.id AND u.key = 'u'
WHERE m.key = 'm' AND substr(m.string_value, 1, 1) IN ('{', '[')
"""
_BLANK: Final = "UPDATE embedding_metadata SET string_value = '' WHERE key = 'm' AND id = ?"


def sweep(folder: Path, ledger: Ledger, user_row: str) -> None:
    """Takes out what is unsealed and erased. Nobody else may have the file open.

    It needs as much free space as the file is large, and a second for 100 MB. *user_row*: how the ledger calls the row
    that names a user.

    Raises:
        StoreError: it could not be done; the file is as good as before.
    """
    path = folder / FILE
    if not path.exists():
        return
    try:
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute(_BLANK_QUEUE)
            connection.executemany(_BLANK, list(_find_erased(connection, ledger, user_row)))
            connection.execute("COMMIT")
            connection.execute("VACUUM")
    except sqlite3.Error as exc:
        raise StoreError(f"chroma's file: {getattr(exc, 'sqlite_errorname', None) or type(exc).__name__}") from exc


def _find_erased(connection: sqlite3.Connection, ledger: Ledger, user_row: str) -> Iterator[tuple[int]]:
    """Where the text still is of what was erased by a process that was killed before it could tell Chroma."""
    rows_of: dict[str, dict[str, int]] = {}
    for number, row, user in connection.execute(_UNSEALED):
        if user is None:  # of the users themselves
            rows_of.setdefault(row, {})[user_row] = number
        else:
            rows_of.setdefault(user, {})[row] = number
    for user, numbers in rows_of.items():
        living = ledger.read_keys(user)
        yield from ((number,) for row, number in numbers.items() if row not in living)
