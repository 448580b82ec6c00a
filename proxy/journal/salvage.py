"""Reads what is left in a damaged SQLite database, without SQLite: page by page, so that one bad page costs only its
own rows, wherever it is, the first page and the inner pages of the tree included.

The file format is https://www.sqlite.org/fileformat2.html. Only what the journal's one table uses is read: leaf pages
of tables, overflow chains, and the write-ahead log's committed pages, which take precedence. Everything read is
garbage until the caller's checksum says otherwise; here only bounds matter.
"""

import struct
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from proxy.journal.frames import Frame, Mapped, committed, count_sound, map_file
from proxy.journal.schema import PAGE_SIZE

_LEAF = 0x0D
_INTEGER_SIZES = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8}

Value = int | float | str | bytes | None


class Found(NamedTuple):
    """One row as it lies in a page. *rowid* is its integer primary key, whose column holds None."""

    rowid: int
    values: list[Value]


class Pages:
    """The pages of a database with those of *frames* in place of older ones."""

    def __init__(self, database: Mapped, log: Mapped, frames: Iterable[Frame]) -> None:
        self._database = database
        self._log = log
        self._newer = {frame.page: frame.start for frame in frames}
        self.count = max(len(database) // PAGE_SIZE, *self._newer, 0)

    def read(self, number: int) -> bytes:
        """Page *number*, counted from 1; empty when there is none."""
        if number in self._newer:
            start = self._newer[number]
            return self._log[start : start + PAGE_SIZE]
        start = (number - 1) * PAGE_SIZE
        return self._database[start : start + PAGE_SIZE] if number >= 1 else b""


def scan(database: Path, wal: Path) -> Iterator[Found | None]:
    """Every row on every leaf page, None for each that is announced but out of bounds; a row's newest form first.

    The files may be missing, empty, cut short or complete garbage. What lies in the log behind a damaged frame only
    adds to the rows before it: after a power cut it may be any part of what was written last, and a page of it that
    is torn, or that belongs to others which are, must not hide a row that was safe.
    """
    with ExitStack() as stack:
        data, log = map_file(stack, database), map_file(stack, wal)
        found, sound = committed(log), count_sound(log)
        newest = Pages(data, log, found)
        for frame in reversed(found):
            if frame.number > sound:
                yield from _rows_of(newest, log[frame.start : frame.start + PAGE_SIZE])
        pages = Pages(data, log, (frame for frame in found if frame.number <= sound))
        for number in range(2, pages.count + 1):  # page 1 holds the schema, which is known
            yield from _rows_of(pages, pages.read(number))


def _rows_of(pages: Pages, page: bytes) -> Iterator[Found | None]:
    """The rows of a leaf page, None for each that is out of bounds."""
    if len(page) < PAGE_SIZE or page[0] != _LEAF:
        return
    cells = min(struct.unpack_from(">H", page, 3)[0], (PAGE_SIZE - 8) // 2)
    for start in struct.unpack_from(f">{cells}H", page, 8):
        try:
            yield _row(pages, page, start)
        except (IndexError, ValueError, struct.error):
            yield None


def _row(pages: Pages, page: bytes, start: int) -> Found:
    size, start = _varint(page, start)
    rowid, start = _varint(page, start)
    return Found(rowid, _record(_payload(pages, page, start, size)))


def _payload(pages: Pages, page: bytes, start: int, size: int) -> bytes:
    """A row's bytes: those on its page, then along its chain of overflow pages."""
    local = _local_size(size)
    parts = [page[start : start + local]]
    missing = size - local
    following = struct.unpack_from(">I", page, start + local)[0] if missing else 0
    # A chain longer than the file is a circle.
    for _ in range(pages.count):
        if missing <= 0:
            break
        overflow = pages.read(following)
        parts.append(overflow[4 : 4 + min(missing, PAGE_SIZE - 4)])
        missing -= len(parts[-1])
        following = struct.unpack_from(">I", overflow)[0]
    if missing > 0:
        raise ValueError("the overflow chain ends early")
    return b"".join(parts)


def _local_size(size: int) -> int:
    """How much of a row of *size* bytes lies on the leaf page itself (section 1.6 of the format)."""
    largest = PAGE_SIZE - 35
    if size <= largest:
        return size
    smallest = (PAGE_SIZE - 12) * 32 // 255 - 23
    fitting = smallest + (size - smallest) % (PAGE_SIZE - 4)
    return fitting if fitting <= largest else smallest


def _record(record: bytes) -> list[Value]:
    header_size, at = _varint(record, 0)
    body = header_size
    values: list[Value] = []
    while at < header_size:
        kind, at = _varint(record, at)
        value, body = _value(record, kind, body)
        values.append(value)
    return values


def _value(record: bytes, kind: int, start: int) -> tuple[Value, int]:
    """The value of serial type *kind* at *start*, and where the next one begins."""
    if kind in (0, 8, 9):
        return (None if kind == 0 else kind - 8), start
    if kind == 7:
        return struct.unpack_from(">d", record, start)[0], start + 8
    if kind in _INTEGER_SIZES:
        end = start + _INTEGER_SIZES[kind]
        return int.from_bytes(record[start:end], "big", signed=True), end
    end = start + (kind - 12) // 2
    if kind < 12 or end > len(record):
        raise ValueError("a value beyond the end of its row")
    return (record[start:end].decode() if kind % 2 else record[start:end]), end


def _varint(data: bytes, start: int) -> tuple[int, int]:
    """A variable-length integer, and where the next thing begins."""
    value = 0
    for at in range(start, start + 8):
        value = value << 7 | data[at] & 0x7F
        if not data[at] & 0x80:
            return value, at + 1
    return value << 8 | data[start + 8], start + 9
