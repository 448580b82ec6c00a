"""Keeps out of Chroma's files what it does not mean to write: whatever its memory held before.

Its index of vectors is written to disk in parts that were never filled: a new one as a whole (3,200 bytes with our
settings), and of any one 4 bytes a record in ``length.bin``. They come from the heap of this process, where texts were.
"""

import ctypes
import struct
import sys
from pathlib import Path
from typing import Final

# mallopt(3): what is freed is filled with this byte, what is allocated with its complement, zeros.
_M_PERTURB: Final = -6
_FILL: Final = 0xFF
# How the index's header begins: version, offset, how many elements fit, how many there are.
_HEADER: Final = struct.Struct("<iQQQ")


def fill_freed_memory() -> None:
    """From now on memory that this process frees is overwritten. It works with glibc only.

    What it costs is less than what two measurements of a put differ by.
    Blocks below a kilobyte may escape it, hence :func:`blank_empty_indexes`.
    """
    if sys.platform == "linux":
        # Other C libraries have no such function.
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt is not None:
            mallopt(_M_PERTURB, _FILL)


def blank_empty_indexes(folder: Path) -> None:
    """Overwrites the files of indexes without elements. Nobody may have them open.

    Raises OSError when that cannot be done.
    """
    for header in folder.glob("*/header.bin"):
        start = header.read_bytes()[: _HEADER.size]
        if len(start) == _HEADER.size and _HEADER.unpack(start)[3] == 0:
            for name in ("data_level0.bin", "length.bin"):
                _blank(header.with_name(name))


def _blank(path: Path) -> None:
    if path.exists() and any(path.read_bytes()):
        with path.open("r+b") as file:
            file.write(bytes(path.stat().st_size))
