"""Keeps the write-ahead log short from the edge's side, while the keeper, which usually does, is away."""

import queue
import threading
from pathlib import Path

import structlog

from proxy.errors import JournalError
from proxy.journal.database import Database

_log = structlog.get_logger()


class Checkpoints:
    """Checkpoints on a thread and a handle of their own: what they wait for on the disk holds up no append."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._requests: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._idle = threading.Event()
        self._idle.set()
        self._thread: threading.Thread | None = None

    def ask(self) -> None:
        """Requests one. Returns at once; one that is asked for while another runs is not made."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._main, name="journal-checkpoints", daemon=True)
            self._thread.start()
        if self._idle.is_set():
            self._idle.clear()
            self._requests.put(True)

    def wait(self) -> None:
        """Returns when the one that was asked for last, if any, is through."""
        self._idle.wait()

    def close(self) -> None:
        """Ends the thread, after the checkpoint that runs."""
        if self._thread is not None:
            self._requests.put(False)
            self._thread.join()

    def _main(self) -> None:
        while self._requests.get():
            database = Database(self._directory, checked=False)
            try:
                database.checkpoint()
            except JournalError as exc:
                # The log grows until a later one succeeds; a disk that is full or damaged stops the appends anyway.
                _log.warning("journal.checkpoint_failed", reason=str(exc))
            finally:
                database.close()
                self._idle.set()
