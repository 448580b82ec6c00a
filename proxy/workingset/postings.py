"""Which words are where: an index of one user's memories that grows by sorted runs."""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from proxy.models import Pack
from proxy.workingset.growing import Growing

# A posting is one unsigned 64-bit number: 32 bits of term, 20 of slot, 12 of count. Sorting the numbers groups them by
# term and then by slot, which makes the index of 1,000 memories cost one np.sort (0.25 ms) instead of three gathers.
_SLOT_BITS: Final = 20
_COUNT_BITS: Final = 12
_TERM_SHIFT: Final = np.uint64(_SLOT_BITS + _COUNT_BITS)
_REST_MASK: Final = np.uint64((1 << (_SLOT_BITS + _COUNT_BITS)) - 1)
_SLOT_SHIFT: Final = np.uint64(_COUNT_BITS)
_SLOT_MASK: Final = np.uint64((1 << _SLOT_BITS) - 1)
_COUNT_MASK: Final = np.uint64((1 << _COUNT_BITS) - 1)

MAX_SLOTS: Final = 1 << _SLOT_BITS

# A run at least so many times as long as the one after it is left alone: with 10,000 memories there are at most four
# runs to look into, and an addition moves the postings of the eight before it, not all of them.
_RUN_RATIO: Final = 8

Keys = NDArray[np.uint64]


class Postings(NamedTuple):
    """Where some terms occur: entry i says that term number ``term[i]`` is ``weight[i]`` times in row ``row[i]``."""

    term: NDArray[np.int64]
    row: NDArray[np.int64]
    weight: NDArray[np.float32]


class WordIndex:
    """Postings by term. A memory has a slot, which it keeps when others go and their rows close up."""

    def __init__(self) -> None:
        self._runs: list[Keys] = []
        self._rows: Growing[np.int64] = Growing(np.int64)  # of each slot; -1 once its memory is gone
        self._gone = 0

    @property
    def nbytes(self) -> int:
        return sum(run.nbytes for run in self._runs) + self._rows.nbytes

    @property
    def slots(self) -> int:
        """How many were given out: the next memory gets this one."""
        return len(self._rows.view)

    @property
    def is_worn(self) -> bool:
        """Whether a quarter of the slots are those of memories gone."""
        return 4 * self._gone > self.slots

    def row(self, slot: int) -> int:
        """Where the memory of *slot* is now."""
        return int(self._rows.view[slot])

    def append(self, keys: Keys, count: int) -> None:
        """Takes in *keys*, those of :func:`read_keys`, for *count* memories at the end of the rows."""
        if len(keys):
            self._runs.append(np.sort(keys + (np.uint64(self.slots) << _SLOT_SHIFT)))
        while len(self._runs) > 1 and len(self._runs[-2]) < _RUN_RATIO * len(self._runs[-1]):
            # "stable" merges two sorted runs in one pass.
            last, before = self._runs.pop(), self._runs.pop()
            self._runs.append(np.sort(np.concatenate((before, last)), kind="stable"))
        first = self.slots - self._gone
        self._rows.append(np.arange(first, first + count))

    def close_up(self, alive: NDArray[np.bool_]) -> None:
        """Rows that are not *alive* are gone, and those behind them move up."""
        rows = self._rows.view
        known = rows >= 0
        moved = np.where(alive, np.cumsum(alive) - 1, -1)
        rows[known] = moved[rows[known]]
        self._gone += len(alive) - int(np.count_nonzero(alive))

    def compact(self) -> None:
        """Forgets the postings of memories gone, and numbers the slots as the rows are. Takes 5 ms at 20,000."""
        rows = self._rows.view
        self._runs = [run for run in (_renumber(run, rows) for run in self._runs) if len(run)]
        count = self.slots - self._gone
        self._rows = Growing(np.int64)
        self._rows.append(np.arange(count))
        self._gone = 0

    def find(self, wanted: Sequence[int]) -> Postings:
        """Postings of the *wanted* terms, numbered by their place in that sequence."""
        first = np.array(wanted, np.uint64) << _TERM_SHIFT
        last = first | _REST_MASK
        parts: list[Keys] = [np.zeros(0, np.uint64)]
        owners: list[NDArray[np.int64]] = [np.zeros(0, np.int64)]
        for keys in self._runs:
            begin, end = keys.searchsorted(first), keys.searchsorted(last, side="right")
            parts += [keys[b:e] for b, e in zip(begin.tolist(), end.tolist(), strict=True) if b < e]
            owners.append(np.repeat(np.arange(len(wanted)), end - begin))
        return self._place(np.concatenate(parts), np.concatenate(owners))

    def _place(self, found: Keys, term: NDArray[np.int64]) -> Postings:
        row = ((found >> _SLOT_SHIFT) & _SLOT_MASK).astype(np.int64)
        if self._gone:
            row = self._rows.view[row]
            there = row >= 0
            found, term, row = found[there], term[there], row[there]
        return Postings(term, row, (found & _COUNT_MASK).astype(np.float32))


def read_keys(pack: Pack) -> tuple[Keys, NDArray[np.float32]]:
    """Postings of *pack* with slots counted from 0, unsorted, and how many words each memory has.

    Raises ValueError when the parts of *pack* do not fit together.
    """
    hashes = np.frombuffer(pack.hashes, "<u4")
    counts = np.frombuffer(pack.counts, "<u2")
    sizes = np.frombuffer(pack.sizes, "<u4")
    if len(sizes) != len(pack.memories) or int(sizes.sum()) != len(hashes) or len(hashes) != len(counts):
        raise ValueError("a pack's memories, sizes, hashes and counts do not fit together")
    slots = np.repeat(np.arange(len(sizes)), sizes)
    keys = hashes.astype(np.uint64) << _TERM_SHIFT
    keys |= slots.astype(np.uint64) << _SLOT_SHIFT
    keys |= np.minimum(counts, np.uint16(_COUNT_MASK)).astype(np.uint64)
    return keys, np.bincount(slots, counts, minlength=len(sizes)).astype(np.float32)


def _renumber(keys: Keys, rows: NDArray[np.int64]) -> Keys:
    """Postings of the slots that still have a row, at its number. Their order stays: numbers only move closer."""
    row = rows[((keys >> _SLOT_SHIFT) & _SLOT_MASK).astype(np.int64)]
    kept = row >= 0
    moved: Keys = keys[kept] & ~(_SLOT_MASK << _SLOT_SHIFT)
    moved |= row[kept].astype(np.uint64) << _SLOT_SHIFT
    return moved
