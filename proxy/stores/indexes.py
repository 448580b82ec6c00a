"""Chroma's indexes of vectors: nobody asks them anything, and yet they can take a store down.

Ranking is exact, in the edge; Chroma has rows to keep. But it cannot be told to make no index, and with Chroma 1.5:

- Killed while it saves an index, it leaves a file that it cannot read. From then on it refuses everything about that
  collection, and thereby what is in it, which lies elsewhere. Of random kills while indexes were saved with every other
  row, instead of every thousandth, the 28th did that.
- An index never gets smaller: what was deleted stays in it, in memory, and is loaded again.
- What it writes to disk has parts that were never filled: a new index as a whole (3,200 bytes with our settings), and
  4 bytes a record in ``length.bin``. They come from the heap of this process, where texts were.

So they are removed before Chroma opens the folder, and it begins new ones. What makes a process end while it fills
one is the reason for :func:`~proxy.stores.rows.make_points`.
"""

import ctypes
import shutil
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from typing import Final
from uuid import UUID

from proxy.errors import StoreError
from proxy.stores.sweep import FILE

# mallopt(3): what is freed is filled with this byte, what is allocated with its complement, zeros.
_M_PERTURB: Final = -6
_FILL: Final = 0xFF

_TABLES: Final = "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name IN ('segments', 'max_seq_id')"
# How far into the queue the indexes are, which they would otherwise be expected to be.
_FORGET: Final = "DELETE FROM max_seq_id WHERE segment_id IN (SELECT id FROM segments WHERE scope = 'VECTOR')"


def fill_freed_memory() -> None:
    """From now on memory that this process frees is overwritten. It works with glibc only.

    What it costs is less than what two measurements of a put differ by.
    Blocks below a kilobyte may escape it, hence :func:`remove_indexes` overwrites.
    """
    if sys.platform == "linux":
        # Other C libraries have no such function.
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt is not None:
            mallopt(_M_PERTURB, _FILL)


def remove_indexes(folder: Path) -> None:
    """Overwrites and removes the indexes in Chroma's *folder*. Nobody may have it open.

    Raises:
        StoreError, OSError: that cannot be done; Chroma finds what it left, or can be called again.
    """
    indexes = [path for path in folder.glob("*/") if _is_segment(path.name)]
    if not indexes:
        return
    _forget_positions(folder / FILE)
    for index in indexes:
        for path in index.iterdir():
            _blank(path)
        shutil.rmtree(index)


def _is_segment(name: str) -> bool:
    try:
        return str(UUID(name)) == name
    except ValueError:
        return False


def _forget_positions(path: Path) -> None:
    if not path.exists():
        return
    try:
        with closing(sqlite3.connect(path)) as connection, connection:
            if connection.execute(_TABLES).fetchone() == (2,):
                connection.execute(_FORGET)
    except sqlite3.Error as exc:
        raise StoreError(f"chroma's file: {getattr(exc, 'sqlite_errorname', None) or type(exc).__name__}") from exc


def _blank(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(bytes(path.stat().st_size))
