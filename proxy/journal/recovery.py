"""Makes a new journal database: empty at first use, or out of what a damaged one still holds."""

import sqlite3
from collections.abc import Iterable, Iterator

import structlog

from proxy.errors import JournalError
from proxy.journal.entries import decode
from proxy.journal.files import JournalFiles
from proxy.journal.salvage import Found, Value, scan
from proxy.journal.schema import COLUMNS, FAILED, OLDEST_WIDTH, PAGE_SIZE, PENDING, TO_EXTRACT, TO_STORE, WIDTH, create

_INSERT = f"INSERT INTO entries ({COLUMNS}) VALUES ({', '.join('?' * WIDTH)})"  # noqa: S608 (constants)
# The rows of ``sqlite_sequence`` and of ``taken``.
_PAIR = 2
_MOST_SEQ = 2**53  # a larger number in a damaged page is noise
_MOST_ATTEMPTS = 10**6

_log = structlog.get_logger()


class Salvage:
    """Sorts what a scan finds, while it is iterated, into entries, the counter of sequence numbers, and rubbish.

    An entry that is found several times counts in the form that is found first.
    """

    def __init__(self, found: Iterable[Found | None]) -> None:
        self._found = found
        self._known: set[int] = set()
        self._highest = 0
        self.unreadable = 0

    @property
    def last_seq(self) -> int:
        """The highest number ever given to an entry, as far as that can be told."""
        return max(self._highest, *self._known, 0)

    def entries(self) -> Iterator[tuple[Value, ...]]:
        """Rows for ``_INSERT``."""
        for row in self._found:
            if row is not None and len(row.values) == _PAIR:
                self._count(*row.values)
            elif row is not None and row.rowid in self._known:
                continue  # an older form of it
            elif row is not None and (entry := _entry(row)) is not None:
                self._known.add(row.rowid)
                yield entry
            else:
                self.unreadable += 1

    def _count(self, table: Value, seq: Value) -> None:
        """A row of ``sqlite_sequence``: the highest number ever given out, also to entries that are gone.

        Or one of ``taken``, which is left: how often something was handed out is counted anew.
        """
        if table == "entries" and isinstance(seq, int) and self._highest < seq <= _MOST_SEQ:
            self._highest = seq


def rebuild(files: JournalFiles, reason: str) -> None:
    """Puts a sound database in place, with every readable row in it. The caller holds the exclusive lock.

    Raises sqlite3.Error or OSError when it cannot be written; the damaged one then stays where it is, and the next
    call starts again.
    """
    salvage = Salvage(scan(files.database, files.wal))
    salvaged = _build(files, salvage)
    aside = files.swap()
    if aside is not None or salvaged:
        kept_as = aside.name if aside else None
        _log.error("journal.rebuilt", reason=reason, salvaged=salvaged, unreadable=salvage.unreadable, kept_as=kept_as)


def _build(files: JournalFiles, salvage: Salvage) -> int:
    """A complete database under a provisional name, safely on disk before it gets its place; answers its entries."""
    connection = sqlite3.connect(files.start_building(), isolation_level=None)
    try:
        connection.execute(f"PRAGMA page_size = {PAGE_SIZE}")
        connection.execute("PRAGMA synchronous = FULL")
        with connection:
            connection.execute("BEGIN")
            create(connection)
            connection.executemany(_INSERT, salvage.entries())
            connection.execute("DELETE FROM sqlite_sequence")
            connection.execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('entries', ?)", (salvage.last_seq,))
        connection.execute("PRAGMA journal_mode = WAL")
        salvaged: int = connection.execute("SELECT count(*) FROM entries").fetchone()[0]
    finally:
        connection.close()
    files.finish_building()
    return salvaged


def _entry(found: Found) -> tuple[Value, ...] | None:
    """The row anew, None when its payload is not what was written.

    Owner and time come from the checked payload, since the checksum covers nothing else; back-off starts again.
    """
    if not OLDEST_WIDTH <= len(found.values) <= WIDTH or not 0 < found.rowid <= _MOST_SEQ:
        return None
    padded = [*found.values, TO_STORE, ""][:WIDTH]
    _, _, _, _, state, attempts, _, _, reason, crc, payload, stage, kind = padded
    try:
        exchange = decode(payload, crc)
    except JournalError:
        return None
    scope = exchange.scope
    kept_state = FAILED if state == FAILED else PENDING
    kept_attempts = attempts if isinstance(attempts, int) and 0 <= attempts <= _MOST_ATTEMPTS else 0
    owner = (scope.key, scope.user_id, scope.tenant)
    timing = (kept_state, kept_attempts, 0.0, exchange.at.timestamp())
    kept_stage = TO_EXTRACT if stage == TO_EXTRACT else TO_STORE
    return (found.rowid, *owner, *timing, _text(reason), crc, payload, kept_stage, _text(kind))


def _text(value: Value) -> str:
    return value if isinstance(value, str) else ""
