"""One handle on the journal's database, which survives that the file under it is damaged, replaced or gone."""

import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

import structlog

from proxy.errors import JournalError
from proxy.journal.files import FileLock, Identity, JournalFiles
from proxy.journal.frames import commits
from proxy.journal.recovery import rebuild
from proxy.journal.schema import OLDEST_VERSION, PAGE_SIZE, VERSION, migrate, version_of

T = TypeVar("T")

# Both processes' transactions take about a millisecond; a disk that needs a second for one counts as broken.
BUSY_S = 1.0
# Asking again is ours. SQLite's own waiting asks ever more seldom, up to 0.1 s: among eight writers without a pause,
# somebody was turned away for a second every few seconds.
_ASK_MS = 10
# Replacing waits for the transactions that run, of which none lasts longer than BUSY_S plus its own work.
_EXCLUSIVE_WAIT_S = 5.0
# Reading 64 MB takes about 0.1 s. What lies beyond is checked when it is read.
_CHECKED_AT_OPEN = 64 << 20
# Below the limit a checkpoint empties the log only when that holds up no writer; above it, in any case.
WAL_LIMIT = 8 << 20
_ROUNDS = 5
# Checkpoints are made where they hold up nobody; what is deleted must not stay readable in free pages.
# What is said is in no file but these, so that temporary ones are out of the question.
_PRAGMAS = ("journal_mode = WAL", "wal_autocheckpoint = 0", "secure_delete = ON", "temp_store = MEMORY")
# Takes 0.3 s, in which nothing else is written, and as much memory.
_MOST_REWRITTEN = 32 << 20
# Below that it is the disk that has no room: for one group of appends and its log.
_ROOM = 16 << 20

_DAMAGE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_DAMAGE_EXTENDED = {sqlite3.SQLITE_IOERR_SHORT_READ, sqlite3.SQLITE_IOERR_CORRUPTFS}

_log = structlog.get_logger()


class FullError(JournalError):
    """There was no room. Nothing is wrong with the file, and there may be room again at any time."""


class _DamagedError(sqlite3.DatabaseError):
    """Found by our own check rather than by SQLite."""


class Database:
    """Runs transactions on the current file. For one thread at a time; several handles and processes may share a file.

    Opens lazily, and again after any failure, so that what was wrong may have passed by the next call. Looks for
    damage when it opens, unless *checked* is false: then only where it comes upon it.

    What a *durable* handle has committed survives a power cut, and so does all that was committed before by any handle:
    the log is one file, written to its end, and ``synchronous = FULL`` waits until the disk has all of it. What another
    handle commits later may be lost, or torn, which ends the log there and touches nothing before. Both settings wait
    for the disk before a checkpoint and after it, so that the log is never begun anew, nor emptied, before the
    database has what was in it.

    Beyond *max_bytes* the database does not grow through this handle: a :class:`FullError`. Free pages are used first;
    the log, of at most about :data:`WAL_LIMIT`, comes on top.
    """

    def __init__(
        self,
        directory: Path,
        *,
        busy_s: float = BUSY_S,
        checked: bool = True,
        durable: bool = False,
        max_bytes: int | None = None,
    ) -> None:
        self.files = JournalFiles(directory)
        self._lock = FileLock(self.files.lock)
        self._busy_s = busy_s
        self._checked = checked
        self._synchronous = "FULL" if durable else "NORMAL"
        self._max_pages = max_bytes // PAGE_SIZE if max_bytes else 0
        self._connection: sqlite3.Connection | None = None
        self._identity: Identity | None = None

    def run(self, work: Callable[[sqlite3.Connection], T], *, begin: str | None = "BEGIN IMMEDIATE") -> T:
        """What *work* returns, once its transaction is committed. With *begin* None, *work* is a single statement.

        Raises JournalError, and then nothing of it was done. A damaged database is replaced by one with all its
        readable rows, and *work* called a second time.
        """
        with self._translated():
            try:
                return self._insist(work, begin)
            except sqlite3.DatabaseError as exc:
                if not _is_damage(exc):
                    raise
                self._replace(str(exc))
            return self._insist(work, begin)

    def checkpoint(self, *, force: bool = False) -> bool:
        """Moves the write-ahead log into the database and, where it holds up nobody or with *force*, empties it.

        Answers whether the log is empty now. Appends of another handle go on meanwhile, except that emptying makes
        them wait for what was appended since the call.
        """
        with self._translated(), self._current() as connection, self._waiting(connection):
            if not _fold_in(connection) and not force and self.files.wal_size() < WAL_LIMIT:
                return False
            busy: int = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
            return not busy

    def _insist(self, work: Callable[[sqlite3.Connection], T], begin: str | None) -> T:
        """:meth:`_transact`, again and again while others write."""
        deadline = time.monotonic() + self._busy_s
        while True:
            try:
                return self._transact(work, begin)
            except sqlite3.OperationalError as exc:
                if _code(exc) & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() >= deadline:
                    raise

    @contextmanager
    def _waiting(self, connection: sqlite3.Connection) -> Iterator[None]:
        """Has SQLite itself wait for others, for what cannot be begun anew as often as one likes."""
        connection.execute(f"PRAGMA busy_timeout = {int(self._busy_s * 1000)}")
        try:
            yield
        finally:
            connection.execute(f"PRAGMA busy_timeout = {_ASK_MS}")

    def rewrite(self) -> bool:
        """Writes the database anew, unless it holds too much for that; answers whether it did.

        SQLite overwrites what it deletes, but not the copies that it leaves behind in a page when it moves rows to
        another one. The log has to be emptied afterwards.
        """
        with self._translated(), self._current() as connection, self._waiting(connection):
            pages, free = (
                connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count")
            )
            if (pages - free) * PAGE_SIZE > _MOST_REWRITTEN:
                return False
            connection.execute("VACUUM")
            return True

    def drop_leftovers(self) -> None:
        """Deletes what earlier damage left in the directory: it holds everybody's text."""
        with self._translated(), self._lock.hold(exclusive=True, wait_s=_EXCLUSIVE_WAIT_S):
            self.files.drop_leftovers()

    def close(self) -> None:
        """Closes the file; where it was the last handle, SQLite folds the log into the database. Never raises."""
        try:
            self._disconnect()
        except (JournalError, OSError) as exc:
            _log.warning("journal.unclean_close", reason=str(exc))
        self._lock.close()

    def _transact(self, work: Callable[[sqlite3.Connection], T], begin: str | None) -> T:
        with self._current() as connection:
            if begin is None:
                return work(connection)
            connection.execute(begin)
            with connection:
                return work(connection)

    @contextmanager
    def _current(self) -> Iterator[sqlite3.Connection]:
        """A connection to the file that is current, and stays so until the end of the block."""
        for _ in range(3):
            with self._lock.hold(wait_s=self._busy_s):
                identity = self.files.identity()
                if identity is not None and identity == (self._identity or identity):
                    yield self._connection or self._connect(identity)
                    return
            self._renew()
        raise JournalError("the journal's file is replaced again and again")

    def _connect(self, identity: Identity) -> sqlite3.Connection:
        self._identity = identity
        connection = sqlite3.connect(
            self.files.database, timeout=self._busy_s, isolation_level=None, check_same_thread=False
        )
        # Ours from here on, sound or not: a damaged file's handle is closed after the swap, see _replace.
        self._connection = connection
        connection.text_factory = _lenient
        try:
            for pragma in (*_PRAGMAS, f"synchronous = {self._synchronous}"):
                connection.execute(f"PRAGMA {pragma}")
            self._check(connection)
            migrate(connection)
            if self._max_pages:  # from here on: what is there already may have been migrated in any case
                connection.execute(f"PRAGMA max_page_count = {self._max_pages}")
            connection.execute(f"PRAGMA busy_timeout = {_ASK_MS}")
        except (sqlite3.Error, JournalError) as exc:
            if not _is_damage(exc):
                self._forget()
            raise
        return connection

    def _check(self, connection: sqlite3.Connection) -> None:
        """Raises for a file that is not a journal, or not a sound one."""
        version = version_of(connection)
        if version > VERSION:
            raise JournalError(f"the journal was written by a newer version ({version}, known is {VERSION})")
        if version < OLDEST_VERSION:
            raise _DamagedError("not a journal")
        if self._checked:
            self._check_pages(connection)
            self._check_log(connection)

    def _check_pages(self, connection: sqlite3.Connection) -> None:
        if self.files.database.stat().st_size <= _CHECKED_AT_OPEN:
            # Not the quick one, which hardly is: it would not miss a row that an index has lost, but take() would.
            answer = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
            if answer != "ok":
                raise _DamagedError(" ".join(answer.split()))

    def _check_log(self, connection: sqlite3.Connection) -> None:
        """Raises when commits lie behind the place where SQLite stopped reading the log, which it does silently.

        One of them is what a process leaves that was killed in the middle of a write: not damage, never confirmed.
        """
        generation, ends = commits(self.files.wal)
        try:
            busy, known, _ = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        except sqlite3.OperationalError as exc:
            if _code(exc) & 0xFF == sqlite3.SQLITE_FULL:  # nothing is learned about the log, but all can be read
                return
            raise
        if busy:  # another handle is at it: the log is open, and was looked at by who opened it
            return
        beyond = sum(end > known for end in ends)
        # The log may have been begun anew in between.
        if beyond > 1 and commits(self.files.wal)[0] == generation:
            raise _DamagedError(f"the log breaks off {beyond} commits before its end")

    def _renew(self) -> None:
        """Lets go of a file that was replaced, and finishes or makes the replacement where nobody has."""
        with self._lock.hold(exclusive=True, wait_s=_EXCLUSIVE_WAIT_S):
            self._forget()
            if self.files.identity() is not None:
                return
            if self.files.ready.exists():
                self.files.swap()
            else:
                rebuild(self.files, "no database")

    def _replace(self, reason: str) -> None:
        """Rebuilds a damaged database, unless another process has done so already."""
        with self._lock.hold(exclusive=True, wait_s=_EXCLUSIVE_WAIT_S):
            if self.files.identity() == self._identity:
                rebuild(self.files, reason)
            # Closed after the swap: SQLite then leaves the damaged file's log as it is.
            self._forget()

    def _disconnect(self) -> None:
        """Closes the connection under the lock, since closing the last one writes."""
        if self._connection is not None:
            with self._lock.hold(wait_s=self._busy_s):
                self._forget()

    def _forget(self) -> None:
        connection, self._connection, self._identity = self._connection, None, None
        if connection is not None:
            connection.close()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """SQLite's and the system's errors as JournalError.

        The connection goes with them: one that was opened on a read-only disk, say, would stay read-only.
        """
        try:
            yield
        except (sqlite3.Error, OSError) as exc:
            code = _code(exc) & 0xFF
            if code == sqlite3.SQLITE_FULL:
                raise FullError(self._lack()) from exc
            if code != sqlite3.SQLITE_BUSY:
                with suppress(JournalError, OSError):
                    self._disconnect()
                    self._lock.close()
            raise JournalError(_one_line(exc)) from exc

    def _lack(self) -> str:
        """What there was not enough of. SQLite says the same for both."""
        with suppress(OSError):
            if self._max_pages and shutil.disk_usage(self.files.directory).free >= _ROOM:
                return "the journal has reached its largest size"
        return "the disk is full"


def _fold_in(connection: sqlite3.Connection) -> bool:
    """Moves the log into the database beside the appends; answers whether it caught up with them.

    Each round has only what came during the one before. Without them the rest, and the wait for the disk that goes
    with it, would fall to the emptying, which holds appends up.
    """
    for _ in range(_ROUNDS):
        _, logged, moved = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        if logged == moved:
            return True
    return False


def _lenient(text: bytes) -> str:
    """Damaged text must not fail the rows around it."""
    return text.decode(errors="replace")


def _code(exc: Exception) -> int:
    """SQLite's extended result code; 0 for errors that are not SQLite's own."""
    code: int = getattr(exc, "sqlite_errorcode", 0)
    return code


def _is_damage(exc: Exception) -> bool:
    code = _code(exc)
    return isinstance(exc, _DamagedError) or code & 0xFF in _DAMAGE or code in _DAMAGE_EXTENDED


def _one_line(exc: sqlite3.Error | OSError) -> str:
    text = (exc.strerror if isinstance(exc, OSError) else str(exc)) or type(exc).__name__
    return " ".join(text.split())
