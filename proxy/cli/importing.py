"""``memory-proxy import``: conversations and exported memories into the store."""

import gzip
import io
import os
import sys
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, NamedTuple, Protocol

import typer
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from proxy.cli import opening, options, output
from proxy.cli.backend import Backend
from proxy.errors import MemoryProxyError

# What is held in memory and handed over at once: some hundred messages, enough for batches of the store's liking.
CHUNK_BYTES: Final = 1 << 20
# No conversation is that long. Without an end, a file that is no JSON Lines at all would be read as one line.
LONGEST_LINE: Final = 64 << 20
TOO_LONG: Final = "longer than 64 MB"
GZIP_MAGIC: Final = b"\x1f\x8b"


class Lines(Protocol):
    """What lines are read from."""

    def readline(self, size: int, /) -> bytes:
        """The next line, or at most *size* bytes of it; empty at the end."""


class Chunk(NamedTuple):
    """Some whole lines. Those numbered in *too_long* are empty in *lines*, so that the others keep their numbers."""

    first_line: int
    lines: list[bytes]
    too_long: list[int]


@dataclass(slots=True)
class Totals:
    """What an import has done so far."""

    stored: int = 0
    known: int = 0
    unreadable: int = 0


def import_file(
    file: Annotated[str, typer.Argument(metavar="FILE", help="JSON Lines, gzipped or not; - is standard input.")],
    tenant: options.Tenant = None,
    server: options.ServerUrl = None,
    config: options.ConfigFile = None,
    data_dir: options.DataDir = None,
) -> None:
    """Store conversations, or memories that an export wrote. Importing the same file twice changes nothing."""
    settings = options.load(config, data_dir)
    options.require_tenant(settings, server, tenant)
    with options.reported(), _open(file) as source, _make_progress() as progress:
        importer = Importer(source, progress)
        opening.run(importer.run, settings, server, tenant=tenant, create=True)
    totals = importer.totals
    output.make_console().print(
        f"{output.count(totals.stored, 'memory')} stored, {totals.known:,} already known, "
        f"{output.count(totals.unreadable, 'line')} unreadable"
    )
    if totals.unreadable:
        raise typer.Exit(options.FAILURE)


class Source:
    """An open file: its lines, and how far it has been read. *raw* is where its bytes come from."""

    def __init__(self, name: str, raw: io.BufferedReader) -> None:
        self.name = name
        self.size = os.fstat(raw.fileno()).st_size or None  # a pipe has none
        self._raw = raw
        packed = raw.peek(len(GZIP_MAGIC)).startswith(GZIP_MAGIC)
        self._file: Lines = gzip.GzipFile(fileobj=raw) if packed else raw

    @property
    def position(self) -> int:
        """How many of the file's *size* bytes have been read."""
        return 0 if self.size is None else self._raw.tell()

    def chunks(self) -> Iterator[Chunk]:
        """The file's lines.

        Raises:
            MemoryProxyError: it cannot be read on, as when it is damaged or cut short.
        """
        line = 1
        try:
            for chunk in read_chunks(self._file, size=CHUNK_BYTES, longest=LONGEST_LINE):
                yield chunk
                line = chunk.first_line + len(chunk.lines)
        except (OSError, EOFError, zlib.error) as exc:
            raise MemoryProxyError(f"{self.name}: cannot be read on from line {line}: {exc}") from exc


def read_chunks(file: Lines, *, size: int, longest: int) -> Iterator[Chunk]:
    """Lines of *file* in pieces of about *size* bytes, so that memory does not grow with the file.

    A line of *longest* bytes or more is not held, only counted.
    """
    chunk, held = Chunk(1, [], []), 0
    while line := file.readline(longest):
        if len(line) == longest and not line.endswith(b"\n"):
            _skip_line(file)
            chunk.too_long.append(chunk.first_line + len(chunk.lines))
            line = b"\n"
        chunk.lines.append(line)
        held += len(line)
        if held >= size:
            yield chunk
            chunk, held = Chunk(chunk.first_line + len(chunk.lines), [], []), 0
    if chunk.lines:
        yield chunk


def _skip_line(file: Lines) -> None:
    while (rest := file.readline(CHUNK_BYTES)) and not rest.endswith(b"\n"):
        pass


class Importer:
    """Carries a file into memory and tells of it."""

    def __init__(self, source: Source, progress: Progress) -> None:
        self.totals = Totals()
        self._source = source
        self._progress = progress
        self._task = progress.add_task("importing", total=source.size, memories=0)
        self._seen = 0

    async def run(self, memories: Backend) -> None:
        """Takes in the whole file, chunk by chunk."""
        for chunk in self._source.chunks():
            done = await memories.take_in(chunk.lines, first_line=chunk.first_line, progress=self._count)
            self.totals.stored += done.stored
            self.totals.known += done.known
            self.totals.unreadable += done.unnamed
            self._name_lines([*done.errors, *((line, TOO_LONG) for line in chunk.too_long)])
            self._progress.update(self._task, completed=self._source.position)

    def _count(self, memories: int) -> None:
        self._seen += memories
        self._progress.update(self._task, memories=self._seen)

    def _name_lines(self, errors: list[tuple[int, str]]) -> None:
        self.totals.unreadable += len(errors)
        for number, reason in sorted(errors):
            line = f"memory-proxy: {self._source.name}, line {number}: {reason}"
            self._progress.console.print(output.make_harmless(line), soft_wrap=True)


@contextmanager
def _open(file: str) -> Iterator[Source]:
    with ExitStack() as stack:
        try:
            if file == "-":
                raw = stack.enter_context(os.fdopen(sys.stdin.fileno(), "rb", closefd=False))
            else:
                raw = stack.enter_context(Path(file).open("rb"))
            source = Source("standard input" if file == "-" else file, raw)
        except OSError as exc:
            raise MemoryProxyError(f"{file}: cannot be read: {exc.strerror or exc}") from exc
        yield source


def _make_progress() -> Progress:
    """Bytes tell how much is left, since nobody knows how many lines there are; memories tell how fast it goes."""
    console = output.make_console(stderr=True)
    bar = (BarColumn(), TaskProgressColumn(), TextColumn("{task.fields[memories]:,} memories"), TimeRemainingColumn())
    return Progress(*bar, console=console, disable=not console.is_terminal)
