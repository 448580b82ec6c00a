"""What a replica could not append to the shared journal, and how it gets there."""

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from proxy.config import Settings
from proxy.errors import JournalError
from proxy.journal.base import Change
from proxy.journal.entries import Entry, JournalCounts, draft
from proxy.journal.layout import Keys, arrange, make_row, read_script
from proxy.journal.reader import JournalReader
from proxy.models import Scope
from proxy.sharing import open_redis, translated

if TYPE_CHECKING:
    import redis

_BATCH: Final = 128


def count_spilled(journal: JournalReader) -> int:
    """How much of a local journal is still to be brought into the shared one."""
    counts = journal.counts()
    return counts.pending + counts.extracting


class Spill:
    """The local journal of a replica's data directory, as a keeper brings it into the shared one. For any thread.

    An exchange is deleted here when Redis has answered that it has it. It may be there twice: when the answer was lost,
    or the keeper ended in between. Storing it twice is harmless, because what a memory is called follows from where it
    was said. Entries that an earlier configuration without a shared journal has left are taken along: those that were
    to be extracted from are stored once more first, and what was set aside is tried again.
    """

    def __init__(self, settings: Settings) -> None:
        self._journal = JournalReader(settings.data_dir)
        self._client: redis.Redis = open_redis(settings)
        self._append = self._client.register_script(read_script("append"))
        self._keys = Keys(settings)
        self._most_bytes = int(settings.journal.max_mb * (1 << 20))
        self._begun = False
        # What is on its way is in neither place: an erasure must not look for it then.
        self._moving = threading.Lock()

    def forward(self) -> int:
        """Brings the oldest exchanges into the shared journal, in order; answers how many, 0 when none are left.

        Raises JournalError while there is no way, or no room.
        """
        with self._moving:
            return self._forward()

    def _forward(self) -> int:
        if not self._begun:
            self._journal.retry_failed()
            self._journal.hasten()
            self._begun = True
        entries = self._journal.take(_BATCH) or self._journal.take_user(_BATCH)
        if not entries:
            return 0
        try:
            appended = self._send(entries)
        except JournalError:
            self._journal.put_back([entry.seq for entry in entries])
            raise
        self._journal.done([entry.seq for entry in entries[:appended]])
        if appended < len(entries):
            self._journal.put_back([entry.seq for entry in entries[appended:]])
            raise JournalError("redis: the journal has reached its largest size")
        return appended

    def counts(self) -> JournalCounts:
        """How much is here."""
        return self._journal.counts()

    def count(self) -> int:
        """How many exchanges are still to be brought over."""
        return count_spilled(self._journal)

    def erase(self, scope: Scope) -> int:
        """As :meth:`JournalReader.erase`."""
        with self._moving:
            return self._journal.erase(scope)

    def forget(self, scope: Scope, change: Change) -> int:
        """As :meth:`JournalReader.forget`."""
        with self._moving:
            return self._journal.forget(scope, change)

    def close(self) -> None:
        """Closes the file and the connections."""
        self._journal.close()
        self._client.close()

    def _send(self, entries: Sequence[Entry]) -> int:
        rows = [make_row(draft(entry.exchange)) for entry in entries]
        with translated(JournalError):
            appended: int = self._append(*arrange(self._keys, rows, self._most_bytes))
        return appended
