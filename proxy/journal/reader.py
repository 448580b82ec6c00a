"""The keeper's end of the journal: takes what is due, in order, and settles it."""

import sqlite3
import threading
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TypeVar

import structlog

import proxy.journal.queries as queries
from proxy.errors import JournalError
from proxy.journal.base import Change
from proxy.journal.database import BUSY_S, Database, FullError
from proxy.journal.entries import STAGES, Entry, FailedEntry, JournalCounts, Seq, checksum, decode, encode
from proxy.models import Exchange, Scope

T = TypeVar("T")
Row = tuple[int, object, object, int, int, str, int | None]
Select = Callable[[int, sqlite3.Connection], list[Row]]

# While work goes on the log is folded in from this size, when idle from that: a fsync for every exchange buys nothing.
_BUSY_LOG_BYTES = 1 << 20
_IDLE_LOG_BYTES = 256 << 10

# What a damaged entry is parked for. Others name their own.
DAMAGED = "damaged"

_log = structlog.get_logger()


class JournalReader:
    """Synchronous; safe to call from any thread, one call runs at a time. Every method raises JournalError when the
    database cannot be used; nothing is changed then, and the next call tries anew.

    An entry is to be stored (stage 0), then, where there is a model for it, to be extracted from (stage 1). Each method
    that names several entries does what it does to all of them or to none, and ignores those that are gone.

    After a power cut entries may be handed out again although they were settled before it; what was erased stays so.
    """

    def __init__(self, directory: Path, *, busy_s: float = BUSY_S) -> None:
        # Not durable: its waits for the disk would hold up the appends.
        self._database = Database(directory, busy_s=busy_s)
        self._open_durable = partial(Database, directory, busy_s=busy_s, checked=False, durable=True)
        self._mutex = threading.Lock()
        # What an earlier process has erased may still be in the log, if it was killed before it could empty that.
        self._empty_log = True
        self._rewrite_file = False

    def find_parts(self) -> Sequence[int]:
        """All is in one part."""
        return (0,)

    def take(self, limit: int, *, part: int = 0, now: float | None = None) -> list[Entry]:
        """The oldest due entries that are to be stored, at most *limit*, in the order in which they were appended.

        They stay pending, and are returned again, until they are settled. A damaged row is parked instead of returned.
        *now* is in Unix seconds.
        """
        return self._take(limit, partial(_select_due, time.time() if now is None else now))

    def take_user(self, limit: int, *, busy: Collection[str] = (), now: float | None = None) -> list[Entry]:
        """The oldest entries that are to be extracted from, at most *limit*, due or not, of one user: who has been
        waiting the longest for an entry to be due, and for whose key nobody is *busy*.

        Otherwise as :meth:`take`.
        """
        return self._take(limit, partial(_select_user, busy, time.time() if now is None else now))

    def keep_user(self, _: str) -> bool:
        """Nobody else takes any."""
        return True

    def release_user(self, _: str) -> None:
        """Nobody else waits for them."""

    def put_back(self, seqs: Sequence[Seq]) -> None:
        """These were taken and not touched: they count as not handed out that time."""
        self._write(lambda connection: connection.executemany(queries.PUT_BACK, _each(seqs)))

    def done(self, seqs: Sequence[Seq]) -> None:
        """Deletes entries of which nothing is left to be done."""
        self._write(lambda connection: connection.executemany(queries.DONE, _each(seqs)))

    def advance(self, seqs: Sequence[Seq], delay_s: float) -> None:
        """What was stored is to be extracted from, in *delay_s*."""
        self._settle(queries.ADVANCE, [(time.time() + delay_s, seq) for seq in seqs], seqs)

    def postpone(self, seqs: Sequence[Seq], reason: str, delay_s: float, *, counted: bool = True) -> None:
        """These, and what follows them of the same users, are not due for *delay_s*. *counted*: an attempt failed."""
        until = time.time() + delay_s
        self._settle(queries.POSTPONE, [(int(counted), until, reason, seq) for seq in seqs], seqs)

    def park(self, seqs: Sequence[Seq], reason: str, kind: str, *, counted: bool = False) -> None:
        """Gives up on entries until :meth:`release` of *kind* or :meth:`retry_failed`; later ones go on. *counted*: one
        more attempt failed.
        """
        self._settle(queries.PARK, [(int(counted), reason, kind, seq) for seq in seqs], seqs)

    def release(self, kind: str) -> int:
        """Makes due again what was parked for *kind*, its attempts forgotten; answers how many."""
        return self._write(lambda connection: connection.execute(queries.RELEASE, (kind,)).rowcount)

    def retry_failed(self) -> int:
        """Makes every parked entry due again, its attempts forgotten; answers how many."""
        return self._write(lambda connection: connection.execute(queries.RETRY).rowcount)

    def drop_failed(self) -> int:
        """Deletes every parked entry; answers how many."""
        return self._write(lambda connection: connection.execute(queries.DROP).rowcount)

    def hasten(self) -> int:
        """Makes every entry of both stages due at once, also those that back off; answers how many were not."""
        return self._write(lambda connection: connection.execute(queries.HASTEN).rowcount)

    def last_seq(self) -> int:
        """The highest number ever given to an entry; 0 before the first."""
        return self._number(queries.LAST_SEQ)

    def unsettled(self, seq: int, *, extracting: bool = True) -> int:
        """How many entries up to *seq* are at one of the stages, or with *extracting* false at the first one: neither
        parked nor gone.
        """
        return self._number(queries.UNSETTLED, int(extracting), seq)

    def counts(self) -> JournalCounts:
        """How much waits, how much failed, and since when."""
        waiting, extracting, failed, oldest = self._read(lambda each: each.execute(queries.COUNT).fetchone())
        age_s = None if oldest is None else max(0.0, time.time() - oldest)
        return JournalCounts(waiting, extracting, failed, age_s)

    def failed(self, limit: int) -> list[FailedEntry]:
        """The oldest parked entries."""
        rows = self._read(lambda connection: connection.execute(queries.LIST_FAILED, (limit,)).fetchall())
        return [_failed(row) for row in rows]

    def erase(self, scope: Scope) -> int:
        """Deletes all of one user's entries, parked ones too; answers how many.

        Their bytes are overwritten and the log that also holds them is emptied; so are damaged databases deleted that
        were kept aside, in which nobody can tell whose text is whose.
        """
        return self._erase(lambda connection: connection.execute(queries.ERASE, (scope.key,)).rowcount)

    def forget(self, scope: Scope, change: Change) -> int:
        """Puts what *change* answers in place of each of one user's exchanges, parked ones too; None deletes it.

        Answers how many were changed or deleted. What cannot be read any more may hold what is to be forgotten: it is
        deleted. Traces of it go as with :meth:`erase`. *change* holds up appends and must not use the journal; what
        it raises is raised, and nothing is changed then.
        """
        return self._erase(partial(_rewrite, scope, change))

    def checkpoint(self, *, force: bool = False) -> bool:
        """Folds the log into the database; answers whether the log is empty now. *force* lets appends wait for it."""
        with self._mutex:
            return self._database.checkpoint(force=force)

    def close(self) -> None:
        """Closes the file; another call would open it again."""
        with self._mutex:
            self._database.close()

    def _take(self, limit: int, select: Select) -> list[Entry]:
        # Looking first: a keeper that has nothing to do neither writes nor asks for the lock that appends need.
        while self._read(partial(select, 1)):
            rows = self._write(partial(_hand_out, partial(select, limit)))
            entries, damaged = _decoded(rows)
            self._fold(_BUSY_LOG_BYTES)
            if damaged:
                _log.error("journal.damaged_rows", seqs=[seq for *_, seq in damaged])
                self._settle(queries.PARK, damaged, [seq for *_, seq in damaged])
            if entries or not rows:
                return entries
        self._fold(_IDLE_LOG_BYTES)
        return []

    def _settle(self, query: str, parameters: Sequence[tuple[object, ...]], seqs: Sequence[Seq]) -> None:
        """Runs *query* for each of *parameters*, and begins to count anew how often *seqs* are handed out."""

        def work(connection: sqlite3.Connection) -> None:
            connection.executemany(query, parameters)
            connection.executemany(queries.SETTLED, _each(seqs))

        self._write(work)

    def _erase(self, work: Callable[[sqlite3.Connection], int]) -> int:
        """What *work* deletes is gone even if the power fails at once, and then from the files."""
        with self._mutex, closing(self._open_durable()) as database:
            erased = _run_with_room(database, work)
        self._rewrite_file = True
        self._fold(0)
        with self._mutex:
            self._database.drop_leftovers()
        return erased

    def _fold(self, threshold: int) -> None:
        """Checkpoints a log that has grown, or that must not stay. A failure changes no answer: it is tried again."""
        if not self._empty_log and not self._rewrite_file and self._database.files.wal_size() <= threshold:
            return
        try:
            with self._mutex:
                if self._rewrite_file and self._database.rewrite():
                    self._rewrite_file, self._empty_log = False, True
                if self._database.checkpoint(force=self._empty_log):
                    self._empty_log = False
        except JournalError as exc:
            _log.warning("journal.checkpoint_failed", reason=str(exc))

    def _read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        with self._mutex:
            return self._database.run(work, begin="BEGIN")

    def _write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        with self._mutex:
            return _run_with_room(self._database, work)

    def _number(self, sql: str, *parameters: int) -> int:
        return int(self._read(lambda connection: connection.execute(sql, parameters).fetchone()[0]))


def _run_with_room(database: Database, work: Callable[[sqlite3.Connection], T]) -> T:
    try:
        return database.run(work)
    except FullError:
        # On a full disk there is no room for the log of a deletion either, unless the log makes some.
        database.checkpoint(force=True)
    return database.run(work)


def _each(seqs: Iterable[Seq]) -> list[tuple[Seq]]:
    return [(seq,) for seq in seqs]


def _hand_out(select: Callable[[sqlite3.Connection], list[Row]], connection: sqlite3.Connection) -> list[Row]:
    rows = select(connection)
    connection.executemany(queries.TOOK, _each(row[0] for row in rows))
    return rows


def _select_due(now: float, limit: int, connection: sqlite3.Connection) -> list[Row]:
    return connection.execute(queries.TAKE, {"now": now, "limit": limit}).fetchall()


def _select_user(busy: Collection[str], now: float, limit: int, connection: sqlite3.Connection) -> list[Row]:
    users = connection.execute(queries.USERS_DUE, {"now": now, "limit": len(busy) + 1}).fetchall()
    free = [key for (key,) in users if key not in busy]
    return connection.execute(queries.TAKE_USER, {"user": free[0], "limit": limit}).fetchall() if free else []


def _decoded(rows: list[Row]) -> tuple[list[Entry], list[tuple[int, str, str, int]]]:
    """The entries in *rows*, and (attempts, reason, kind, number) of those that cannot be read."""
    entries: list[Entry] = []
    damaged: list[tuple[int, str, str, int]] = []
    for seq, payload, crc, attempts, stage, user_key, taken in rows:
        try:
            entries.append(Entry(seq, decode(payload, crc), attempts, stage, taken or 0, user_key))
        except JournalError as exc:
            damaged.append((0, str(exc), DAMAGED, seq))
    return entries, damaged


def _rewrite(scope: Scope, change: Change, connection: sqlite3.Connection) -> int:
    changed = 0
    for seq, payload, crc in connection.execute(queries.ALL_OF_USER, (scope.key,)).fetchall():
        before = _read_or_none(payload, crc)
        after = change(before) if before is not None else None
        if after is None:
            connection.execute(queries.DONE, (seq,))
        elif after != before:
            written = encode(after)
            connection.execute(queries.REWRITE, (written, checksum(written), seq))
        changed += after is None or after != before
    return changed


def _read_or_none(payload: object, crc: object) -> Exchange | None:
    try:
        return decode(payload, crc)
    except JournalError:
        return None


def _failed(row: tuple[int, str, str, int, int, str, str, float]) -> FailedEntry:
    seq, user_id, tenant, stage, attempts, reason, kind, created_at = row
    return FailedEntry(
        seq, user_id, tenant, STAGES[stage], attempts, reason, kind, datetime.fromtimestamp(created_at, UTC)
    )
