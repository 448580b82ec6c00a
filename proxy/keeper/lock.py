"""Who has a data directory open: one process at a time, because embedded Chroma does not survive two writers."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from proxy.config import Settings
from proxy.errors import LockedError
from proxy.sharing import shares_everything


class Holder(msgspec.Struct, frozen=True):
    """What a holder writes into the lock file, for those who find it taken."""

    pid: int
    what: str
    url: str | None = None


class DataDirLock:
    """An exclusive lock on a data directory, let go by the system however the process ends.

    *patience_s*: how long :meth:`__enter__` tries, so that a successor may start while its predecessor still ends.
    """

    def __init__(self, data_dir: Path, holder: Holder, *, patience_s: float = 0) -> None:
        self._path = data_dir / "keeper.lock"
        self._holder = holder
        self._patience_s = patience_s
        self._file = -1

    def __enter__(self) -> Self:
        """Takes the lock.

        Raises:
            LockedError: with a line that says who holds it and what to do.
        """
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        deadline = time.monotonic() + self._patience_s
        while not self._try():
            if time.monotonic() >= deadline:
                message = self._explain()
                os.close(self._file)
                raise LockedError(message)
            time.sleep(0.05)
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, msgspec.json.encode(self._holder), 0)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._file)

    def _try(self) -> bool:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _explain(self) -> str:
        where = self._path.parent
        holder = read_holder(where)
        if holder is None:
            return f"{where} is in use by another process"
        if holder.url is None:
            return f"{where} is in use by {holder.what} (process {holder.pid})"
        return f"{where} is in use by {holder.what} (process {holder.pid}); add --server {holder.url}"


@contextmanager
def lock_data_dir(settings: Settings, holder: Holder, *, patience_s: float, exclusive: bool) -> Iterator[bool]:
    """Whether the data directory is the caller's alone in the block.

    It need not be, with *exclusive* false, where store and journal are shared: then all that the directory has is what
    a replica could not append to the journal, and whoever has it sees to that.

    Raises:
        LockedError: another process has it.
    """
    with ExitStack() as stack:
        owner = True
        try:
            stack.enter_context(DataDirLock(settings.data_dir, holder, patience_s=patience_s))
        except LockedError:
            if exclusive or not shares_everything(settings):
                raise
            owner = False
        yield owner


def read_holder(data_dir: Path) -> Holder | None:
    """What the last holder of the lock wrote; None where that cannot be read. It may have ended since."""
    try:
        return msgspec.json.decode((data_dir / "keeper.lock").read_bytes(), type=Holder)
    except (OSError, msgspec.MsgspecError):
        return None
