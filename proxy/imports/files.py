"""Files opened and taken apart into records, whatever they are packed in."""

import gzip
import io
import os
import re
import sys
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec

from proxy.errors import MemoryProxyError
from proxy.imports import mem0
from proxy.imports.base import Record
from proxy.imports.splitting import CutShortError, list_members, split

# No conversation is that long. Without an end, a file that is no JSON Lines at all would be read as one line.
LONGEST_RECORD: Final = 64 << 20
# By how a file begins it is told what is in it.
HEAD: Final = 1 << 18
STANDARD_INPUT: Final = "-"

_GZIP: Final = b"\x1f\x8b"
_ZIP: Final = b"PK\x03\x04"
_BOM: Final = b"\xef\xbb\xbf"
_STRANGE: Final = {
    b"BZh": "is packed with bzip2; unpack it first",
    b"\xfd7zXZ": "is packed with xz; unpack it first",
    b"(\xb5/\xfd": "is packed with zstd; unpack it first",
    b"7z\xbc\xaf": "is packed with 7-Zip; unpack it first",
    b"Rar!": "is packed with RAR; unpack it first",
    b"\xff\xfe": "is UTF-16; save it as UTF-8",
    b"\xfe\xff": "is UTF-16; save it as UTF-8",
    b"SQLite format 3": "is a database; import reads JSON",
    b"%PDF": "is a PDF; import reads JSON",
}
# JSON has none of them.
_CONTROLS: Final = re.compile(rb"[\x00-\x08\x0b\x0e-\x1f]")
# Of the first bytes, more than that share make a file that is no text; a line with one of them is only a bad line.
_TEXT: Final = 0.02
# The members of a document that may have its elements.
_LISTS: Final = (mem0.RESULTS, mem0.RELATIONS)
_CONVERSATIONS: Final = re.compile(r"(?:.*/)?conversations(?:-\d+)?\.json", re.DOTALL)
# What ends a file before its end.
_BROKEN: Final = (OSError, EOFError, zlib.error, zipfile.BadZipFile, RuntimeError)


class UnreadableError(MemoryProxyError):
    """A file cannot be read on."""


class StrangeError(MemoryProxyError):
    """A file is none that could be read."""


class Raw(Protocol):
    """What bytes are read from."""

    def read(self, size: int, /) -> bytes:
        """At most *size* bytes; none at the end."""


class Stream(io.RawIOBase):
    """A file as bytes that come in full pieces, and are counted."""

    def __init__(self, file: Raw) -> None:
        super().__init__()
        self._file = file
        self._failure: Exception | None = None
        self.count = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        """Fills *buffer*, but at the end of the file. What could be read before it broke comes before the error."""
        if self._failure is not None:
            raise self._failure
        filled = 0
        try:
            while filled < len(buffer) and (piece := self._file.read(len(buffer) - filled)):
                buffer[filled : filled + len(piece)] = piece
                filled += len(piece)
        except _BROKEN as exc:
            if not filled:
                raise
            self._failure = exc
        self.count += filled
        return filled


class Source:
    """An open file: its records, and how far it has been read.

    *changed*: when it was changed last, which is when what has no date of its own was said.
    """

    def __init__(self, name: str, raw: io.BufferedReader) -> None:
        self.name = name
        status = os.fstat(raw.fileno())
        self.size: int | None = status.st_size or None  # a pipe has none
        self.changed = datetime.fromtimestamp(status.st_mtime, UTC)
        self._raw = raw
        self._stream: Stream | None = None
        self._done = 0

    @property
    def position(self) -> int:
        """How many of *size* bytes have been read."""
        if self._stream is not None:
            return self._done + self._stream.count
        return 0 if self.size is None else self._raw.tell()

    def records(self) -> Iterator[Record]:
        """What is in the file, one by one.

        Raises:
            UnreadableError: it cannot be read on, as when it is damaged or cut short, or nobody can read it at all.
        """
        try:
            yield from self._unpack()
        # RuntimeError, NotImplementedError: an archive that is locked, or packed in a way that is not known.
        except (CutShortError, *_BROKEN) as exc:
            raise UnreadableError(str(exc)) from exc

    def _unpack(self) -> Iterator[Record]:
        head = self._raw.peek(len(_ZIP))
        if head.startswith(_ZIP):
            yield from self._unpack_archive()
        elif head.startswith(_GZIP):
            yield from read_records(gzip.GzipFile(fileobj=self._raw))
        else:
            yield from read_records(self._raw)

    def _unpack_archive(self) -> Iterator[Record]:
        if not self._raw.seekable():
            raise StrangeError("is an archive, which cannot be read from a pipe; save it, and import the file")
        with _open_archive(self._raw) as archive:
            members = [member for member in archive.infolist() if _CONVERSATIONS.fullmatch(member.filename)]
            members = [member for member in members if not member.filename.startswith("__MACOSX/")]
            if not members:
                raise StrangeError("is an archive without conversations.json, which ChatGPT's export has")
            self.size = sum(member.file_size for member in members)
            numbers = count(1)
            for member in sorted(members, key=lambda member: member.filename):
                with archive.open(member) as file:
                    self._stream = Stream(file)
                    for record in read_records(self._stream):
                        yield record._replace(number=next(numbers))
                    self._done += self._stream.count
                    self._stream.count = 0


def _open_archive(raw: io.BufferedReader) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(raw)
    except zipfile.BadZipFile as exc:
        raise StrangeError(f"is a damaged archive ({exc}); copy or download it again") from exc


@contextmanager
def open_source(name: str) -> Iterator[Source]:
    """The file called so, or standard input.

    Raises:
        MemoryProxyError: it cannot be opened.
    """
    with ExitStack() as stack:
        try:
            if name == STANDARD_INPUT:
                raw = stack.enter_context(os.fdopen(sys.stdin.fileno(), "rb", closefd=False))
            else:
                raw = stack.enter_context(Path(name).open("rb"))
            source = Source("standard input" if name == STANDARD_INPUT else name, raw)
        except IsADirectoryError as exc:
            raise MemoryProxyError(f"{name}: cannot be read: it is a directory; name a file in it") from exc
        except OSError as exc:
            raise MemoryProxyError(f"{name}: cannot be read: {exc.strerror or exc}") from exc
        yield source


def read_records(file: Raw, *, longest: int | None = None) -> Iterator[Record]:
    """The lines of *file*, or the elements of the arrays in it. What has *longest* bytes or more is not held.

    Raises:
        StrangeError: it is neither.
    """
    longest = LONGEST_RECORD if longest is None else longest
    buffered = io.BufferedReader(Stream(file), HEAD)
    head = buffered.peek(HEAD)
    for magic, what in _STRANGE.items():
        if head.startswith(magic):
            raise StrangeError(what)
    sample = head[:4096]
    if len(_CONTROLS.findall(sample)) > _TEXT * len(sample):
        raise StrangeError("is no text; import reads JSON Lines, and exports of ChatGPT and Mem0")
    if head.startswith(_BOM):
        buffered.read(len(_BOM))
    head = head.removeprefix(_BOM).lstrip()
    if (keys := _find_keys(head)) is None:
        yield from _read_lines(buffered, longest)
    else:
        yield from _read_elements(buffered, keys, longest)


def _find_keys(head: bytes) -> tuple[str, ...] | None:
    """In which members of it the elements of a document are; None for a file of lines."""
    if head.startswith(b"["):
        return _LISTS
    if not head.startswith(b"{"):
        return None
    if any(key in _LISTS and value == "[" for key, value in list_members(head)):
        return _LISTS
    line, _, rest = head.partition(b"\n")
    return () if rest.lstrip().startswith(b'"') and not _is_object(line) else None  # objects on several lines each


def _is_object(line: bytes) -> bool:
    try:
        msgspec.json.decode(line, type=dict[str, msgspec.Raw])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False
    return True


def _read_lines(file: "io.BufferedReader[Stream]", longest: int) -> Iterator[Record]:
    number = 0
    while line := file.readline(longest):
        number += 1
        if len(line) == longest and not line.endswith(b"\n"):
            while (rest := file.readline(HEAD)) and not rest.endswith(b"\n"):
                pass
            yield Record(number, b"", too_long=True)
        else:
            yield Record(number, line)


def _read_elements(file: "io.BufferedReader[Stream]", keys: tuple[str, ...], longest: int) -> Iterator[Record]:
    number = 0
    for element in split(file, keys, longest=longest):
        is_relation = element.key == mem0.RELATIONS
        number += not is_relation
        yield Record(number, element.data, is_relation=is_relation, too_long=element.too_long)
