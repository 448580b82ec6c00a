"""The keeper's end of the journal: takes what is due, in order, and settles it."""

import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TypeVar

import structlog

from proxy.errors import JournalError
from proxy.journal.database import BUSY_S, Database
from proxy.journal.entries import Entry, FailedEntry, JournalCounts, decode
from proxy.models import Scope

T = TypeVar("T")

# While work goes on the log is folded in from this size, when idle from that: a fsync for every exchange buys nothing.
_BUSY_LOG_BYTES = 1 << 20
_IDLE_LOG_BYTES = 256 << 10

# Nothing overtakes an earlier entry of its user that is backing off. "> 0" lets SQLite use the index on just those.
_TAKE = """
    SELECT seq, payload, crc, attempts FROM entries AS entry
    WHERE state = 0 AND not_before <= :now AND NOT EXISTS (
        SELECT 1 FROM entries AS earlier WHERE earlier.state = 0 AND earlier.not_before > 0
        AND earlier.user_key = entry.user_key AND earlier.seq < entry.seq AND earlier.not_before > :now
    ) ORDER BY seq LIMIT :limit
"""
_COUNT = """
    SELECT count(*) FILTER (WHERE state = 0), count(*) FILTER (WHERE state = 1),
    min(created_at) FILTER (WHERE state = 0) FROM entries
"""
_FAILED = "SELECT seq, user_id, tenant, attempts, reason, created_at FROM entries WHERE state = 1 ORDER BY seq LIMIT ?"
_POSTPONE = "UPDATE entries SET attempts = attempts + 1, not_before = ?, reason = ? WHERE seq = ? AND state = 0"
_PARK = "UPDATE entries SET state = 1, reason = ? WHERE seq = ?"
_HASTEN = "UPDATE entries SET not_before = 0 WHERE state = 0 AND not_before > 0"
_RETRY = "UPDATE entries SET state = 0, not_before = 0 WHERE state = 1"

_log = structlog.get_logger()


class JournalReader:
    """Synchronous; safe to call from any thread, one call runs at a time. Every method raises JournalError when the
    database cannot be used; nothing is changed then, and the next call tries anew."""

    def __init__(self, directory: Path, *, busy_s: float = BUSY_S) -> None:
        self._database = Database(directory, busy_s=busy_s)
        self._mutex = threading.Lock()
        self._log_holds_erased = False

    def take(self, limit: int, *, now: float | None = None) -> list[Entry]:
        """The oldest due entries, at most *limit*, in the order in which they were appended.

        They stay pending, and are returned again, until they are done, postponed or parked. A damaged row is parked
        instead of returned. *now* is in Unix seconds.
        """
        at = {"now": time.time() if now is None else now, "limit": limit}
        while True:
            rows = self._read(lambda connection: connection.execute(_TAKE, at).fetchall())
            self._fold(_BUSY_LOG_BYTES if rows else _IDLE_LOG_BYTES)
            entries, damaged = _decoded(rows)
            if damaged:
                _log.error("journal.damaged_rows", seqs=[seq for _, seq in damaged])
                self._write(partial(_execute_each, _PARK, damaged))
            if entries or not damaged:
                return entries

    def done(self, seqs: Sequence[int]) -> None:
        """Deletes entries whose memories are stored. Unknown numbers are ignored."""
        self._write(partial(_execute_each, "DELETE FROM entries WHERE seq = ?", [(seq,) for seq in seqs]))

    def postpone(self, seqs: Sequence[int], reason: str, delay_s: float) -> None:
        """Counts a failed attempt; these, and what follows them of the same users, are not due for *delay_s*."""
        until = time.time() + delay_s
        self._write(partial(_execute_each, _POSTPONE, [(until, reason, seq) for seq in seqs]))

    def park(self, seq: int, reason: str) -> None:
        """Gives up on an entry until :meth:`retry_failed`; later ones of the same user go on."""
        self._write(lambda connection: connection.execute(_PARK, (reason, seq)))

    def last_seq(self) -> int:
        """The highest number ever given to an entry; 0 before the first."""
        return self._number("SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'entries'")

    def unsettled(self, seq: int) -> int:
        """How many entries up to *seq* are neither stored, failed nor gone."""
        return self._number("SELECT count(*) FROM entries WHERE seq <= ? AND state = 0", seq)

    def counts(self) -> JournalCounts:
        """How much waits, how much failed, and since when."""
        pending, failed, oldest = self._read(lambda connection: connection.execute(_COUNT).fetchone())
        return JournalCounts(pending, failed, None if oldest is None else max(0.0, time.time() - oldest))

    def failed(self, limit: int) -> list[FailedEntry]:
        """The oldest failed entries."""
        rows = self._read(lambda connection: connection.execute(_FAILED, (limit,)).fetchall())
        return [
            FailedEntry(seq, user_id, tenant, attempts, reason, datetime.fromtimestamp(created_at, UTC))
            for seq, user_id, tenant, attempts, reason, created_at in rows
        ]

    def retry_failed(self) -> int:
        """Makes every failed entry due again; answers how many."""
        return self._write(lambda connection: connection.execute(_RETRY).rowcount)

    def drop_failed(self) -> int:
        """Deletes every failed entry; answers how many."""
        return self._write(lambda connection: connection.execute("DELETE FROM entries WHERE state = 1").rowcount)

    def hasten(self) -> int:
        """Makes every pending entry due at once, also those that back off; answers how many did."""
        return self._write(lambda connection: connection.execute(_HASTEN).rowcount)

    def erase(self, scope: Scope) -> int:
        """Deletes all of one user's entries, failed ones too; answers how many.

        Their bytes are overwritten and the log that also holds them is emptied; so are damaged databases deleted that
        were kept aside, in which nobody can tell whose text is whose.
        """
        sql = "DELETE FROM entries WHERE user_key = ?"
        erased = self._write(lambda connection: connection.execute(sql, (scope.key,)).rowcount)
        self._log_holds_erased = True
        self._fold(0)
        with self._mutex:
            self._database.drop_leftovers()
        return erased

    def checkpoint(self, *, force: bool = False) -> bool:
        """Folds the log into the database; answers whether the log is empty now. *force* lets appends wait for it."""
        with self._mutex:
            return self._database.checkpoint(force=force)

    def close(self) -> None:
        """Closes the file; another call would open it again."""
        with self._mutex:
            self._database.close()

    def _fold(self, threshold: int) -> None:
        """Checkpoints a log that has grown, or that must not stay. A failure changes no answer: it is tried again."""
        if not self._log_holds_erased and self._database.files.wal_size() <= threshold:
            return
        try:
            if self.checkpoint(force=self._log_holds_erased):
                self._log_holds_erased = False
        except JournalError as exc:
            _log.warning("journal.checkpoint_failed", reason=str(exc))

    def _read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        with self._mutex:
            return self._database.run(work, begin="BEGIN")

    def _write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        with self._mutex:
            return self._database.run(work)

    def _number(self, sql: str, *parameters: int) -> int:
        return int(self._read(lambda connection: connection.execute(sql, parameters).fetchone()[0]))


def _decoded(rows: list[tuple[int, object, object, int]]) -> tuple[list[Entry], list[tuple[str, int]]]:
    """The entries in *rows*, and (reason, number) of those that cannot be read."""
    entries: list[Entry] = []
    damaged: list[tuple[str, int]] = []
    for seq, payload, crc, attempts in rows:
        try:
            entries.append(Entry(seq, decode(payload, crc), attempts))
        except JournalError as exc:
            damaged.append((str(exc), seq))
    return entries, damaged


def _execute_each(sql: str, parameters: Iterable[tuple[object, ...]], connection: sqlite3.Connection) -> None:
    connection.executemany(sql, parameters)
