"""The durable queue between the two processes: the edge appends what was said, the keeper takes it and makes memories.

One SQLite file in WAL mode in the data directory, or a Redis that replicas share. What ``append`` returned for is on
disk and survives a power cut; what it raised for is kept in memory and written as soon as that is possible. Nothing is
dropped silently.
"""

from proxy.journal.base import Reader, Writer
from proxy.journal.entries import Entry, FailedEntry, JournalCounts, JournalState, Seq
from proxy.journal.opening import open_writer
from proxy.journal.reader import JournalReader
from proxy.journal.writer import JournalWriter

__all__ = [
    "Entry",
    "FailedEntry",
    "JournalCounts",
    "JournalReader",
    "JournalState",
    "JournalWriter",
    "Reader",
    "Seq",
    "Writer",
    "open_writer",
]
