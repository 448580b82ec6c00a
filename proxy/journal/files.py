"""The journal's files in the data directory: which one is current, how one takes the place of another, who may.

A running process keeps the file it opened, whatever its name is by then. Therefore every transaction runs under a
shared lock and first asks whether its file still is the current one; replacing it takes the exclusive lock. SQLite
itself leaves a renamed database and its WAL alone when such a handle is closed.
"""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from proxy.durable import sync_directory
from proxy.errors import JournalError

_POLL_S = 0.002
_ASIDE_KEPT = 3  # a disk that damages the file again and again must not fill up with what it damaged

Identity = tuple[int, int]


class JournalFiles:
    """Paths, and the one way in which a rebuilt database takes over. Holds no file open."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.database = directory / "journal.sqlite"
        self.wal = directory / "journal.sqlite-wal"
        self.lock = directory / "journal.lock"
        self.building = directory / "journal.building.sqlite"
        self.ready = directory / "journal.ready.sqlite"
        self._database_name = str(self.database)

    def identity(self) -> Identity | None:
        """Which file is current; None when there is none, be it for the moment of a :meth:`swap`."""
        try:
            stat = os.stat(self._database_name)  # noqa: PTH116 (half of pathlib's time, on every transaction)
        except FileNotFoundError:
            return None
        return stat.st_dev, stat.st_ino

    def wal_size(self) -> int:
        """Bytes in the write-ahead log."""
        try:
            return self.wal.stat().st_size
        except FileNotFoundError:
            return 0

    def start_building(self) -> Path:
        """An empty file of mode 0600, for a database that is not yet valid."""
        for path in self.directory.glob(f"{self.building.name}*"):
            path.unlink()
        os.close(os.open(self.building, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        return self.building

    def finish_building(self) -> None:
        """Marks the built database complete. It counts once there is no current one: see :meth:`swap`."""
        self.building.rename(self.ready)
        sync_directory(self.directory)

    def swap(self) -> Path | None:
        """Puts the ready database in place of the current one; answers where the old one went, if there was one.

        Killed at any point and called again by whoever finds no current database, it ends the same. The old WAL leaves
        while there is none: it must never meet a database that it does not belong to.
        """
        aside = self.directory / f"journal.corrupt-{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}.sqlite"
        moved = False
        with suppress(FileNotFoundError):
            self.database.rename(aside)
            moved = True
        with suppress(FileNotFoundError):
            self.wal.rename(f"{aside}-wal")
        with suppress(FileNotFoundError):
            Path(f"{self.database}-shm").unlink()
        self.ready.rename(self.database)
        sync_directory(self.directory)
        self._prune(_ASIDE_KEPT)
        return aside if moved else None

    def drop_leftovers(self) -> None:
        """Deletes the damaged databases that were kept, and what a rebuild that was cut short left behind."""
        self._prune(0)
        for path in self.directory.glob(f"{self.building.name}*"):
            path.unlink()
        if self.database.exists():
            self.ready.unlink(missing_ok=True)

    def _prune(self, keep: int) -> None:
        names = sorted(self.directory.glob("journal.corrupt-*.sqlite"), reverse=True)
        kept = {path.name for path in names[:keep]}
        for path in self.directory.glob("journal.corrupt-*"):
            if path.name.partition(".sqlite")[0] + ".sqlite" not in kept:
                path.unlink(missing_ok=True)


class FileLock:
    """Shared for transactions, exclusive for replacing the database. One thread at a time; freed when the process dies.

    ``flock``, not POSIX locks: those belong to the process and would not keep two of its threads apart.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._name = str(path)
        self._fd: int | None = None

    @contextmanager
    def hold(self, *, exclusive: bool = False, wait_s: float) -> Iterator[None]:
        """Raises JournalError when another process has it for longer than *wait_s*; OSError when the disk is broken."""
        fd = self._acquire(fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH, wait_s)
        try:
            yield
        finally:
            fcntl.flock(fd, fcntl.LOCK_UN)

    def close(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _acquire(self, kind: int, wait_s: float) -> int:
        deadline = time.monotonic() + wait_s
        while True:
            fd = self._fd if self._fd is not None else self._open()
            try:
                fcntl.flock(fd, kind | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise JournalError("another process keeps the journal locked") from None
                time.sleep(_POLL_S)  # flock has no timeout, and nothing to wait on
            else:
                if self._is_current(fd):
                    return fd
                self.close()  # with it goes the lock

    def _open(self) -> int:
        directory = self._path.parent
        if not directory.is_dir():
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            with suppress(PermissionError):  # a folder that one may create in, but not read
                sync_directory(directory.parent)
        self._fd = os.open(self._path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        return self._fd

    def _is_current(self, fd: int) -> bool:
        """Whether others would lock the same file: who deletes everything in the directory deletes the lock, too."""
        try:
            return os.path.samestat(os.fstat(fd), os.stat(self._name))  # noqa: PTH116 (half of pathlib's time)
        except FileNotFoundError:
            return False
