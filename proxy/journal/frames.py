"""Reads a write-ahead log without SQLite, beyond the place where SQLite stops as well.

The format is section 4 of https://www.sqlite.org/fileformat2.html. Each frame's checksum goes on from that of the
frame before it: SQLite ends the log, silently, at the first frame that is not as it was written.
"""

import mmap
import struct
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from proxy.journal.schema import PAGE_SIZE

_MAGIC = 0x377F0682  # and one more where checksums are over big-endian words
_HEADER, _FRAME_HEADER = 32, 24

Mapped = bytes | mmap.mmap
Sums = tuple[int, int]


class Frame(NamedTuple):
    """The page *page* as a transaction left it, at *start* in the log. *number* counts from 1.

    *size_after*: of the last frame of a transaction, how many pages the database then has; else 0.
    """

    number: int
    page: int
    size_after: int
    start: int


def map_file(stack: ExitStack, path: Path) -> Mapped:
    """The bytes of a file; none where it is empty or missing.

    The caller holds the exclusive lock: who reads what another process has just cut off is killed by SIGBUS.
    """
    if not path.exists() or not path.stat().st_size:
        return b""
    file = stack.enter_context(path.open("rb"))
    return stack.enter_context(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def commits(path: Path) -> tuple[bytes, list[int]]:
    """What tells this round of the log from the next, and the numbers of the frames that end a transaction.

    Others may write to the log, and empty it, meanwhile.
    """
    try:
        log = path.read_bytes()
    except FileNotFoundError:
        log = b""
    return log[:_HEADER], [frame.number for frame in frames(log) if frame.size_after]


def frames(log: Mapped) -> Iterator[Frame]:
    """All frames of this round of the log, whole or not. Those of earlier rounds have other salts."""
    if len(log) < _HEADER + _FRAME_HEADER:
        return
    known = struct.unpack_from(">I", log)[0] in (_MAGIC, _MAGIC + 1)
    salts = log[16:24] if known else log[_HEADER + 8 : _HEADER + 16]
    whole = range(_HEADER, len(log) - _FRAME_HEADER - PAGE_SIZE + 1, _FRAME_HEADER + PAGE_SIZE)
    for number, start in enumerate(whole, 1):
        page, size_after = struct.unpack_from(">II", log, start)
        if log[start + 8 : start + 16] == salts:
            yield Frame(number, page, size_after, start + _FRAME_HEADER)


def committed(log: Mapped) -> list[Frame]:
    """The frames of finished transactions, in the order in which they were written, whole or not."""
    found = list(frames(log))
    while found and not found[-1].size_after:
        found.pop()
    return found


def count_sound(log: Mapped) -> int:
    """How many frames SQLite would read: up to the last transaction before the first frame that is not as written."""
    magic = struct.unpack_from(">I", log)[0] if len(log) >= _HEADER else 0
    order = {_MAGIC: "<", _MAGIC + 1: ">"}.get(magic, "")
    if not order:
        return 0
    sums = _add(order, log[:24], (0, 0))
    sound = 0
    if sums != struct.unpack_from(">II", log, 24):
        return 0
    for expected, frame in enumerate(frames(log), 1):
        header = frame.start - _FRAME_HEADER
        sums = _add(order, log[header : header + 8], sums)
        sums = _add(order, log[frame.start : frame.start + PAGE_SIZE], sums)
        if frame.number != expected or sums != struct.unpack_from(">II", log, header + 16):
            break
        sound = frame.number if frame.size_after else sound
    return sound


def _add(order: str, data: bytes, sums: Sums) -> Sums:
    """*sums* carried on over *data* (section 4.2 of the format)."""
    first, second = sums
    words = iter(struct.unpack(f"{order}{len(data) // 4}I", data))
    for even, odd in zip(words, words, strict=True):
        first = (first + even + second) & 0xFFFFFFFF
        second = (second + odd + first) & 0xFFFFFFFF
    return first, second
