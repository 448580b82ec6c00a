"""``memory-proxy import``: conversations and memories into the store, from our own files and from those of others."""

import asyncio
import gc
from collections import Counter, deque
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing, contextmanager
from typing import Annotated, Final, Literal, NoReturn, Protocol

import msgspec
import typer
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from proxy import cores
from proxy.cli import opening, options, output
from proxy.config import Settings
from proxy.errors import MemoryProxyError
from proxy.imports import REASONS, FormatError
from proxy.imports.files import Source, open_source
from proxy.imports.pieces import Piece, Pieces
from proxy.keeper.wire import Imported

AUTO: Final = "auto"
# As a shell says it of whatever Ctrl-C has ended.
INTERRUPTED: Final = 130
# Records that could not be read, and are named one by one.
MOST_NAMED: Final = 1_000
# Of Python's collector, when it looks: a hundredth of what is usual.
COLLECTIONS: Final = (100_000, 20, 20)


class Taker(Protocol):
    """Where lines go."""

    def take_in(
        self, pieces: Iterable[Sequence[bytes]], *, progress: Callable[[int], None]
    ) -> AsyncGenerator[Imported, None]:
        """As :class:`~proxy.cli.backend.Backend` has it."""


class BadRecord(msgspec.Struct):
    """A line, conversation or memory of the file that could not be read."""

    place: str
    reason: str


class Report(msgspec.Struct):
    """What an import has done. *evicted*: memories that retention has removed for it. *skipped* counts what was left
    out on purpose, by :data:`proxy.imports.REASONS`.
    """

    format: str
    stored: int = 0
    known: int = 0
    unreadable: int = 0
    evicted: int = 0
    skipped: Mapping[str, int] = {}
    errors: list[BadRecord] = []


def _check_user(user: str | None) -> str | None:
    return None if user is None else options.check_user(user)


def import_file(
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="JSON Lines, JSON or a ZIP, gzipped or not; - is standard input.")
    ],
    format_name: Annotated[
        Literal["auto", "native", "chatgpt", "mem0", "openai"],
        typer.Option(
            "--format",
            help="What FILE is: lines as export writes them and conversations (native), ChatGPT's data export, what "
            "Mem0's get_all answers, or a log of requests to an OpenAI-compatible API. auto looks into it.",
        ),
    ] = AUTO,
    user: Annotated[
        str | None,
        typer.Option(metavar="ID", help="Whose it is, where FILE does not say so.", callback=_check_user),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would be stored.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="JSON on standard output instead of a sentence.")] = False,
    tenant: options.Tenant = None,
    server: options.ServerUrl = None,
    config: options.ConfigFile = None,
    data_dir: options.DataDir = None,
) -> None:
    """Store conversations and memories from a file. What is known already is left alone, so that an import which was
    interrupted goes on when it is started again, and a second one changes nothing.
    """
    settings = options.load(config, data_dir)
    tenant_name = options.require_tenant(settings, server, tenant)
    with options.reported(), open_source(file) as source:
        try:
            chosen = None if format_name == AUTO else format_name
            pieces = Pieces(source, format_name=chosen, user=user, tenant=tenant_name)
        except FormatError as exc:
            options.fail(str(exc), options.USAGE)
        # On half of the cores Chroma's threads fight less for Python's lock.
        with _make_progress() as progress, _few_collections(), cores.half():
            importer = Importer(source, pieces, progress)
            try:
                if dry_run:
                    asyncio.run(importer.run(Rehearsal(settings)))
                else:
                    opening.run(importer.run, settings, server, tenant=tenant, create=True)
            except KeyboardInterrupt:
                progress.stop()
                _tell_of_interruption(importer)
            except (typer.Exit, MemoryProxyError):  # what was done is told beside the error
                if importer.has_begun:
                    importer.tell(as_json=as_json, dry_run=dry_run)
                raise
    importer.tell(as_json=as_json, dry_run=dry_run)
    if importer.unreadable:
        raise typer.Exit(options.FAILURE)


class Rehearsal:
    """A :class:`Taker` that keeps nothing, and calls all that could be read stored."""

    def __init__(self, settings: Settings) -> None:
        from proxy.redaction import Redactor

        self._redactor = Redactor(settings.redaction)

    async def take_in(
        self, pieces: Iterable[Sequence[bytes]], *, progress: Callable[[int], None]
    ) -> AsyncGenerator[Imported, None]:
        """As a :class:`Taker`."""
        from proxy.remember.lines import parse

        for lines in pieces:
            parsed = parse(lines, self._redactor, first_line=0)
            count = sum(map(len, parsed.brought.values()))
            progress(count)
            yield Imported(count, 0, parsed.errors)


class Importer:
    """Carries a file into memory and tells of it."""

    def __init__(self, source: Source, pieces: Pieces, progress: Progress) -> None:
        self.stored = 0
        self.known = 0
        self.unreadable = 0
        self.evicted = 0
        self._named: list[BadRecord] = []
        self._source = source
        self._pieces = pieces
        self._progress = progress
        self._task = progress.add_task("importing", total=source.size, memories=0)
        self._seen = 0
        # With how far the file had been read then.
        self._under_way: deque[tuple[Piece, int]] = deque()

    async def run(self, memories: Taker) -> None:
        """Takes in the whole file, piece by piece."""
        async with aclosing(memories.take_in(self._hand_over(), progress=self._count)) as results:
            async for done in results:
                piece, position = self._under_way.popleft()
                self.stored += done.stored
                self.known += done.known
                self.unreadable += done.unnamed
                self.evicted += done.evicted
                self._name_records(piece, done.errors)
                self._progress.update(self._task, completed=position)

    def _hand_over(self) -> Iterator[Sequence[bytes]]:
        for piece in self._pieces:
            self._under_way.append((piece, self._source.position))
            yield piece.lines

    def _count(self, memories: int) -> None:
        self._seen += memories
        self._progress.update(self._task, memories=self._seen)

    def _name_records(self, piece: Piece, refused: Sequence[tuple[int, str]]) -> None:
        """One reason for each record, also where several of the lines that it has become are refused."""
        errors = {piece.numbers[line]: reason for line, reason in reversed(refused)} | dict(piece.errors)
        self.unreadable += len(errors)
        for number, reason in sorted(errors.items()):
            if len(self._named) == MOST_NAMED:
                self._print(f"{self._source.name}: there are more, which are counted")
                return
            place = self._pieces.name(number)
            self._named.append(BadRecord(place, reason))
            self._print(f"{self._source.name}, {place}: {reason}")

    def _print(self, message: str) -> None:
        self._progress.console.print(output.make_harmless(f"memory-proxy: {message}"), soft_wrap=True)

    @property
    def has_begun(self) -> bool:
        """Whether there is anything to tell."""
        return bool(self._seen or self.unreadable)

    def tell(self, *, as_json: bool, dry_run: bool) -> None:
        """What was done so far."""
        if as_json:
            output.print_json(self._report())
            return
        stored = output.count(self.stored, "memory")
        done = f"{stored} would be stored" if dry_run else f"{stored} stored, {self.known:,} already known"
        console = output.make_console()
        console.print(f"{done}, {output.count(self.unreadable, self._pieces.noun)} unreadable")
        if self.evicted:
            removed = output.count(self.evicted, "memory")
            console.print(f"removed again: {removed} beyond what retention keeps of a user", soft_wrap=True)
        if skipped := describe_skipped(self._pieces.skipped):
            console.print(f"skipped: {skipped}", soft_wrap=True)

    def _report(self) -> Report:
        skipped = {reason: count for reason, count in self._pieces.skipped.most_common() if count}
        return Report(
            self._pieces.format_name, self.stored, self.known, self.unreadable, self.evicted, skipped, self._named
        )


def describe_skipped(skipped: Counter[str]) -> str:
    """What was left out: most of all first."""
    counts = ((*REASONS[reason], count) for reason, count in skipped.most_common() if count)
    return ", ".join(f"{output.count(count, noun)} {what}" for noun, what, count in counts)


def _tell_of_interruption(importer: Importer) -> NoReturn:
    done = f"{output.count(importer.stored, 'memory')} stored, {importer.known:,} already known so far"
    options.fail(f"interrupted: {done}; the same command goes on from there", INTERRUPTED)


@contextmanager
def _few_collections() -> Iterator[None]:
    """Nearly nothing of an import is in circles: to look for them as often as usual takes a twentieth of its time."""
    before = gc.get_threshold()
    gc.set_threshold(*COLLECTIONS)
    try:
        yield
    finally:
        gc.set_threshold(*before)


def _make_progress() -> Progress:
    """Bytes tell how much is left, since nobody knows how many lines there are; memories tell how fast it goes."""
    console = output.make_console(stderr=True)
    bar = (BarColumn(), TaskProgressColumn(), TextColumn("{task.fields[memories]:,} memories"), TimeRemainingColumn())
    return Progress(*bar, console=console, disable=not console.is_terminal)
