"""``memory-proxy export``: memories as JSON Lines, for another store or a backup."""

import errno
import gzip
import os
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, Annotated, Final

import typer
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from proxy.cli import opening, options, output
from proxy.cli.backend import Backend
from proxy.errors import MemoryProxyError
from proxy.models import Scope

STANDARD_OUTPUT: Final = "-"
# With 9 it takes four times as long for a fiftieth less.
COMPRESSION: Final = 6


def _check_user(user: str | None) -> str | None:
    return None if user is None else options.check_user(user)


def export_memories(
    user: Annotated[
        str | None,
        typer.Argument(metavar="USER", help="Whose; without it everybody's.", callback=_check_user, show_default=False),
    ] = None,
    file: Annotated[
        str,
        typer.Option(
            "--output", "-o", metavar="FILE", help="Where to; gzipped if it ends in .gz. - is standard output."
        ),
    ] = STANDARD_OUTPUT,
    superseded: Annotated[
        bool, typer.Option("--superseded/--no-superseded", help="With those, or without, that no longer hold.")
    ] = True,
    tenant: options.Tenant = None,
    server: options.ServerUrl = None,
    config: options.ConfigFile = None,
    data_dir: options.DataDir = None,
) -> None:
    """Write memories as JSON Lines, one a line, as import reads them."""
    settings = options.load(config, data_dir)
    tenant_name = options.require_tenant(settings, server, tenant)
    with _quiet_when_nobody_reads(), options.reported(), _open_sink(file) as sink, _make_progress(sink) as progress:
        exporter = Exporter(sink, progress, tenant_name, superseded=superseded)
        opening.run(lambda memories: exporter.run(memories, user), settings, server, tenant=tenant)
    exporter.tell()


class Sink:
    """Where an export goes. *raw* is what its bytes end in, after they were packed into *file*."""

    def __init__(self, name: str, raw: IO[bytes], *, packed: bool) -> None:
        self.name = name
        self._raw = raw
        # Neither name nor date within, so that the same memories make the same file.
        self._file = gzip.GzipFile("", "wb", COMPRESSION, raw, mtime=0) if packed else raw

    def write(self, piece: bytes) -> None:
        """Raises MemoryProxyError where there is no room, and BrokenPipeError where nobody reads any more."""
        with self.translated():
            self._file.write(piece)

    def finish(self) -> None:
        """All that was written is out of this process' hands. Raises as :meth:`write`."""
        with self.translated():
            if self._file is not self._raw:
                self._file.close()
            self._raw.flush()

    def give_up(self) -> None:
        """Lets go of everything, once nothing more is to be written."""
        for file in (self._file, self._raw):
            if file is not sys.stdout.buffer:
                with suppress(OSError, ValueError):  # what has no room still has none
                    file.close()

    @contextmanager
    def translated(self) -> Iterator[None]:
        """What the system refuses in the block, as an error that says where."""
        try:
            yield
        except BrokenPipeError:
            raise
        except OSError as exc:
            hint = "; make room, or name another --output" if exc.errno in (errno.ENOSPC, errno.EDQUOT) else ""
            raise MemoryProxyError(f"{self.name}: cannot be written: {exc.strerror or exc}{hint}") from exc


class Exporter:
    """Carries memories into a sink and tells of it."""

    def __init__(self, sink: Sink, progress: Progress, tenant: str, *, superseded: bool) -> None:
        self._sink = sink
        self._progress = progress
        self._tenant = tenant
        self._superseded = superseded
        self._task = progress.add_task("exporting", total=None, memories=0)
        self._written = 0
        self._users = 0
        self._others = 0

    async def run(self, memories: Backend, user: str | None) -> None:
        """Writes everything of *user*, or with None of everybody, in the order of their ids."""
        for name in await self._list_users(memories) if user is None else [user]:
            before = self._written
            async for piece in memories.export(Scope(name, self._tenant), superseded=self._superseded):
                self._sink.write(piece)
                self._written += piece.count(b"\n")
                self._progress.update(self._task, completed=self._written, memories=self._written)
            self._users += self._written > before
        self._sink.finish()

    async def _list_users(self, memories: Backend) -> list[str]:
        # By what is exported itself: the same memories are the same file wherever they lie.
        rows = (await memories.users(None)).users
        ours = [row for row in rows if row.tenant == self._tenant]
        self._others = len(rows) - len(ours)
        self._progress.update(self._task, total=sum(row.memories for row in ours))
        return sorted(row.user_id for row in ours)

    def tell(self) -> None:
        """What was written, unless it is what standard output has, and what was not."""
        if self._sink.name != STANDARD_OUTPUT:
            done = f"{output.count(self._written, 'memory')} of {output.count(self._users, 'user')}"
            output.make_console().print(f"{done} written to {output.make_harmless(self._sink.name)}", soft_wrap=True)
        elif not self._written:
            print("There was nothing to export.", file=sys.stderr)
        if self._others:
            others = output.count(self._others, "user")
            print(f"{others} of other tenants left out; --tenant says whose memories are meant.", file=sys.stderr)


@contextmanager
def _open_sink(name: str) -> Iterator[Sink]:
    """A file is there when all of it is, or not at all: what has its name already stays until then."""
    if name == STANDARD_OUTPUT:
        yield Sink(name, sys.stdout.buffer, packed=False)
        return
    path = Path(name).resolve()
    with ExitStack() as stack:
        try:
            aside = stack.enter_context(_make_aside(path)) if _is_file(path) else None
            raw = (aside or path).open("wb")
        except OSError as exc:
            raise MemoryProxyError(f"{name}: cannot be written: {exc.strerror or exc}") from exc
        sink = Sink(name, raw, packed=name.endswith(".gz"))
        stack.callback(sink.give_up)
        yield sink
        if aside is not None:
            with sink.translated():
                os.fsync(raw.fileno())
                aside.replace(path)


def _is_file(path: Path) -> bool:
    """Whether *path* is a file or nothing yet, and no device or pipe, which is written to as it is."""
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except FileNotFoundError:
        return True


@contextmanager
def _make_aside(path: Path) -> Iterator[Path]:
    """A file beside *path*, for its owner's eyes only, which is gone at the end unless it has another name then."""
    number, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    os.close(number)
    try:
        yield Path(name)
    finally:
        Path(name).unlink(missing_ok=True)


@contextmanager
def _quiet_when_nobody_reads() -> Iterator[None]:
    """``| head`` has seen what it wanted."""
    try:
        yield
    except BrokenPipeError:
        # What is still in the buffer would make the interpreter complain at its end.
        with suppress(OSError), Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), sys.stdout.fileno())
        raise typer.Exit(options.FAILURE) from None


def _make_progress(sink: Sink) -> Progress:
    """For who watches, and does not see the memories themselves."""
    console = output.make_console(stderr=True)
    bar = (BarColumn(), TaskProgressColumn(), TextColumn("{task.fields[memories]:,} memories"), TimeRemainingColumn())
    shown = console.is_terminal and not (sink.name == STANDARD_OUTPUT and sys.stdout.isatty())
    return Progress(*bar, console=console, disable=not shown)
