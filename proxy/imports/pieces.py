"""A file as pieces of some hundred lines each, with what could not be read and what was left out."""

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from typing import Final, NamedTuple

import msgspec

from proxy.errors import MemoryProxyError
from proxy.imports import FORMATS
from proxy.imports.base import FormatError, Given, Record, decode
from proxy.imports.files import LONGEST_RECORD, Source, StrangeError, UnreadableError

NATIVE: Final = "native"
MEM0: Final = "mem0"
# What is held in memory and handed over at once: some hundred messages, enough for batches of the store's liking.
PIECE_BYTES: Final = 1 << 20
# Of a file of which little is kept, so that a bar moves.
READ_BYTES: Final = 4 << 20
# Records by which a format is recognised.
SAMPLE: Final = 20
# Of what is said of a bad record: it quotes it.
LONGEST_REASON: Final = 300
TOO_LONG: Final = f"longer than {LONGEST_RECORD >> 20} MB"
# What another chatbot's export calls its messages.
_CLAUDE: Final = "chat_messages"

_MEMBERS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])


class Piece(NamedTuple):
    """*lines* as every import reads them, each with the *number* of the record that it is from, and the records that
    could not be read: (number, reason).
    """

    lines: list[bytes]
    numbers: list[int]
    errors: list[tuple[int, str]]


class Pieces:
    """Iterates over the pieces of *source*, once. *skipped* counts by :data:`proxy.imports.REASONS`; *noun* is what the
    file's records are called.

    Raises:
        FormatError: *format_name*, or *user*, does not fit the file.
        MemoryProxyError: the file cannot be read.
    """

    def __init__(self, source: Source, *, format_name: str | None, user: str | None, tenant: str) -> None:
        self.skipped: Counter[str] = Counter()
        self.noun = "line"
        self._source = source
        self._records = source.records()
        self._failure: UnreadableError | None = None
        sample = self._take_sample()
        self.format_name = _choose(source.name, format_name, sample)
        self._format = FORMATS[self.format_name]
        self.noun = self._format.noun
        self._check_user(user, sample)
        self._reader = self._format.open(Given(user, tenant, source.changed), self.skipped)
        self._sample = sample

    def name(self, number: int) -> str:
        """What the record with that number is called."""
        return f"{self.noun} {number}"

    def __iter__(self) -> Iterator[Piece]:
        piece, held, read, number = Piece([], [], []), 0, 0, 0
        try:
            for record in chain(self._sample, self._records):
                number = record.number
                read += len(record.data)
                held += self._take(record, piece)
                if held >= PIECE_BYTES or read >= READ_BYTES:
                    yield piece
                    piece, held, read = Piece([], [], []), 0, 0
        except UnreadableError as exc:
            self._failure = exc
        # What came before damage is as good as ever.
        _add(piece, self._reader.finish())
        yield piece
        if self._failure is not None:
            raise self._explain(self._failure, number)

    def _take(self, record: Record, piece: Piece) -> int:
        """Adds what *record* has become; answers how many bytes that is."""
        reason = TOO_LONG if record.too_long else ""
        size = 0
        if not reason:
            try:
                size = _add(piece, self._reader.read(record))
            except RecursionError:
                reason = "it is nested too deeply"
            except (msgspec.MsgspecError, ValueError, OverflowError) as exc:
                reason = str(exc)[:LONGEST_REASON]
        if reason:
            piece.errors.append((record.number, reason))
        return size

    def _take_sample(self) -> list[Record]:
        sample: list[Record] = []
        try:
            for record in islice(self._records, SAMPLE):
                sample.append(record)  # noqa: PERF402  # one by one, for what comes before damage
        except StrangeError as exc:
            raise MemoryProxyError(f"{self._source.name}: {exc}") from exc
        except UnreadableError as exc:
            if not sample:
                raise self._explain(exc, 0) from exc
            self._failure = exc
        return sample

    def _explain(self, failure: UnreadableError, number: int) -> MemoryProxyError:
        place = self.name(number + 1)
        return MemoryProxyError(f"{self._source.name}: cannot be read on from {place}: {failure}")

    def _check_user(self, user: str | None, sample: list[Record]) -> None:
        name, says_user = self._source.name, self._format.says_user
        found = list(_read_members(sample))
        if says_user is None:
            if user is not None and not any(map(self._format.recognises, found)):
                raise FormatError(f"--user: nothing that {name} begins with looks like anything that import reads")
            if user is not None:
                raise FormatError(f"--user: {name} says itself whose its memories are; leave it out")
        elif user is None and found and not any(map(says_user, found)):
            raise FormatError(f"--user: {name} is {self._format.title} and does not say whose it is; add --user ID")


def _add(piece: Piece, lines: Iterable[Record]) -> int:
    size = 0
    for line in lines:
        piece.lines.append(line.data)
        piece.numbers.append(line.number)
        size += len(line.data)
    return size


def _choose(name: str, format_name: str | None, sample: list[Record]) -> str:
    """The format of a file whose first records are these."""
    found = list(_read_members(sample))
    names = (one for members in found for one, row in FORMATS.items() if row.recognises(members))
    recognised = MEM0 if any(record.is_relation for record in sample) else next(names, None)
    if format_name is None:
        if recognised is None and any(_CLAUDE in members for members in found):
            raise FormatError(f"{name} looks like an export of Claude's, which import does not read")
        return recognised or NATIVE
    row = FORMATS[format_name]
    if (
        not sample
        or recognised == format_name
        or any(row.recognises(members) for members in found)
        or (format_name == NATIVE and not recognised)
    ):
        return format_name
    if recognised is None:
        raise FormatError(f"--format: {format_name!r}: nothing that {name} begins with looks like {row.title}")
    title = FORMATS[recognised].title
    raise FormatError(f"--format: {format_name!r}: {name} looks like {title}; say {recognised}, or leave it out")


def _read_members(sample: list[Record]) -> Iterator[dict[str, msgspec.Raw]]:
    for record in sample:
        if record.is_relation:
            continue
        try:
            yield decode(_MEMBERS, record.data)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            continue
