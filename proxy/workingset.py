"""One user's memories in the memory of the edge, laid out so that a query is a few NumPy operations.

Nothing here is thread-safe: a working set belongs to the event loop, and so does the cache of them.
"""

from collections import OrderedDict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Final, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from proxy.models import Memory, Pack, Scope
from proxy.text import terms

# A posting is one unsigned 64-bit number: 32 bits of term, 20 of row, 12 of count. Sorting the numbers groups them by
# term and then by row, which makes the index of 1,000 memories cost one np.sort (0.25 ms) instead of three gathers.
_ROW_BITS: Final = 20
_COUNT_BITS: Final = 12
_TERM_SHIFT: Final = np.uint64(_ROW_BITS + _COUNT_BITS)
_REST_MASK: Final = np.uint64((1 << (_ROW_BITS + _COUNT_BITS)) - 1)
_ROW_SHIFT: Final = np.uint64(_COUNT_BITS)
_ROW_MASK: Final = np.uint64((1 << _ROW_BITS) - 1)
_COUNT_MASK: Final = np.uint64((1 << _COUNT_BITS) - 1)

MAX_MEMORIES: Final = 1 << _ROW_BITS

# Postings of memories added since the last merge: sorted anew at each addition, in about 35 µs.
_TAIL_POSTINGS: Final = 8192
# A memory's Python objects beside its text (the struct, its strings, a datetime, dictionary slots): 553 measured.
_OBJECT_BYTES: Final = 600

Floats = NDArray[np.float32]
Rows = NDArray[np.int32]
Keys = NDArray[np.uint64]


class Postings(NamedTuple):
    """Where some terms occur: entry i says that term number ``term[i]`` is ``weight[i]`` times in row ``row[i]``."""

    term: NDArray[np.int64]
    row: NDArray[np.int64]
    weight: Floats


@dataclass(slots=True)
class _Columns:
    """What is known of each memory, a row each."""

    words: Floats  # how many index words its text has
    assistant: NDArray[np.bool_]
    conversation: Rows  # a number for each conversation, in order of appearance
    position: Rows  # of the message in its conversation
    speaker: Rows  # a number for each speaker's name; -1 without one

    def extend(self, other: "_Columns") -> None:
        for name in self.__slots__:
            setattr(self, name, np.concatenate((getattr(self, name), getattr(other, name))))

    def select(self, kept: NDArray[np.intp]) -> None:
        for name in self.__slots__:
            setattr(self, name, getattr(self, name)[kept])

    @property
    def nbytes(self) -> int:
        return sum(getattr(self, name).nbytes for name in self.__slots__)


class WorkingSet:
    """All memories of one user that recall looks at, with their vectors and the index of their words."""

    def __init__(self) -> None:
        self.memories: list[Memory] = []
        self.columns = _read_columns([], {}, {}, np.zeros(0, np.float32))
        self._rows: dict[str, int] = {}
        self._conversations: dict[str, int] = {}
        self._speakers: dict[str, int] = {}
        self._speaker_terms: list[frozenset[int]] = []
        self._vectors: Floats = np.zeros((0, 0), np.float32)
        self._main: Keys = np.zeros(0, np.uint64)
        self._tail: Keys = np.zeros(0, np.uint64)
        self._text_bytes = 0
        self._layout: Layout | None = None

    @classmethod
    def from_pack(cls, pack: Pack) -> Self:
        """Index a whole pack: 1 to 2 ms for 1,000 memories. Raises ValueError when its parts do not fit together."""
        working_set = cls()
        working_set.add(pack)
        return working_set

    def __len__(self) -> int:
        return len(self.memories)

    def __contains__(self, memory_id: object) -> bool:
        return memory_id in self._rows

    @property
    def nbytes(self) -> int:
        """About how much memory this takes, in bytes: arrays exactly, Python objects by estimate."""
        arrays = self._vectors.nbytes + self._main.nbytes + self._tail.nbytes + self.columns.nbytes
        return arrays + self._text_bytes + _OBJECT_BYTES * len(self)

    @property
    def vectors(self) -> Floats:
        """n × dim unit rows; a row of zeros where a memory has no vector. dim is 0 where none has."""
        return self._vectors[: len(self)]

    @property
    def layout(self) -> "Layout":
        """How the conversations lie in the rows."""
        if self._layout is None:
            self._layout = Layout(self.columns.conversation, self.columns.position)
        return self._layout

    def speaker_rows(self, wanted: Collection[int]) -> NDArray[np.bool_] | None:
        """Rows said by someone whose name has one of the *wanted* terms; None when nobody is called so."""
        # Names are numbered in order of appearance, and so are their terms.
        new = islice(self._speakers, len(self._speaker_terms), None)
        self._speaker_terms += [frozenset(terms(name)) for name in new]
        named = [code for code, known in enumerate(self._speaker_terms) if not known.isdisjoint(wanted)]
        return np.isin(self.columns.speaker, named) if named else None

    def find(self, wanted: Sequence[int]) -> Postings:
        """Postings of the *wanted* terms, numbered by their place in that sequence."""
        first = np.array(wanted, np.uint64) << _TERM_SHIFT
        last = first | _REST_MASK
        parts: list[Keys] = []
        owners: list[NDArray[np.int64]] = []
        for keys in (self._main, self._tail) if len(self._tail) else (self._main,):
            begin, end = keys.searchsorted(first), keys.searchsorted(last, side="right")
            parts += [keys[b:e] for b, e in zip(begin.tolist(), end.tolist(), strict=True)]
            owners.append(np.repeat(np.arange(len(wanted)), end - begin))
        found = np.concatenate(parts)
        row = ((found >> _ROW_SHIFT) & _ROW_MASK).astype(np.int64)
        return Postings(
            owners[0] if len(owners) == 1 else np.concatenate(owners), row, (found & _COUNT_MASK).astype(np.float32)
        )

    def add(self, pack: Pack) -> None:
        """Add the memories of *pack*; one with a known id takes the place of the old one.

        Raises ValueError, and changes nothing, when the parts of *pack* do not fit together.
        """
        keys, words = _read_postings(pack)
        vectors = _read_vectors(pack)
        self.remove([memory.id for memory in pack.memories if memory.id in self._rows])
        first = len(self)
        if first + len(pack.memories) > MAX_MEMORIES:
            raise ValueError(f"a working set holds at most {MAX_MEMORIES:,} memories")
        self._append_vectors(vectors)
        self._append_postings(keys + (np.uint64(first) << _ROW_SHIFT))
        self.columns.extend(_read_columns(pack.memories, self._conversations, self._speakers, words))
        self.memories += pack.memories
        self._rows.update(zip((memory.id for memory in pack.memories), range(first, len(self)), strict=True))
        self._text_bytes += sum(len(memory.text) for memory in pack.memories)
        self._layout = None

    def remove(self, ids: Iterable[str]) -> None:
        """Forget these memories altogether. Unknown ids are ignored. Costs as much as building the set does."""
        gone = [self._rows[memory_id] for memory_id in set(ids) if memory_id in self._rows]
        if not gone:
            return
        alive = np.ones(len(self), np.bool_)
        alive[gone] = False
        kept = np.flatnonzero(alive)
        self._vectors = self.vectors[kept]
        self.columns.select(kept)
        renumbered = np.cumsum(alive) - 1
        self._main = _renumber(self._main, alive, renumbered)
        self._tail = _renumber(self._tail, alive, renumbered)
        self.memories = [self.memories[row] for row in kept.tolist()]
        self._rows = {memory.id: row for row, memory in enumerate(self.memories)}
        self._text_bytes = sum(len(memory.text) for memory in self.memories)
        self._layout = None

    def _append_vectors(self, new: Floats) -> None:
        first, count = len(self), len(new)
        if new.shape[1] != self._vectors.shape[1]:
            if first and self._vectors.shape[1]:
                new = np.zeros((count, self._vectors.shape[1]), np.float32)
            else:
                self._vectors = np.zeros((first, new.shape[1]), np.float32)
        if first + count > len(self._vectors):
            # A quarter in reserve: adding one memory at a time then copies each vector four times in all.
            spare = (first + count) // 4 if first else 0
            grown = np.zeros((first + count + spare, new.shape[1]), np.float32)
            grown[:first] = self._vectors[:first]
            self._vectors = grown
        self._vectors[first : first + count] = new

    def _append_postings(self, keys: Keys) -> None:
        tail = np.sort(np.concatenate((self._tail, keys)))
        if len(tail) > max(_TAIL_POSTINGS, len(self._main) // 4):
            # "stable" merges two sorted runs in one pass.
            tail, self._main = tail[:0], np.sort(np.concatenate((self._main, tail)), kind="stable")
        self._tail = tail


class Layout:
    """Which rows are of one conversation, and which are next to each other in it."""

    def __init__(self, conversation: Rows, position: Rows) -> None:
        self._key = (conversation.astype(np.int64) << 32) | position
        self.conversations = int(conversation.max()) + 1 if len(conversation) else 0
        # For ranking to keep what it derives from the set, until memories come or go and this layout with them.
        self.derived: object = None

    @cached_property
    def neighbours(self) -> NDArray[np.int64]:
        """4 × n rows: the ones two and one before, one and two after; n where there is none."""
        n = len(self._key)
        order = np.argsort(self._key, kind="stable")
        conversation = self._key[order] >> 32
        near = np.full((4, n), n, np.int64)
        for index, step in enumerate((2, 1)):
            same = np.flatnonzero(conversation[step:] == conversation[:-step])
            near[index, order[same + step]] = order[same]
            near[3 - index, order[same]] = order[same + step]
        return near


class Change(NamedTuple):
    """What became of one user's memories: *erased* means that nothing of the user is left."""

    added: Pack | None = None
    removed: Sequence[str] = ()
    erased: bool = False


class WorkingSets:
    """The working sets of the users seen last, within *max_bytes*; the least recently used one goes first.

    One that alone is too large is not kept at all.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._sets: OrderedDict[str, tuple[WorkingSet, int]] = OrderedDict()
        self.nbytes = 0

    def __len__(self) -> int:
        return len(self._sets)

    def get(self, scope: Scope) -> WorkingSet | None:
        """The user's set, which thereby becomes the most recently used one."""
        entry = self._sets.get(scope.key)
        if entry is None:
            return None
        self._sets.move_to_end(scope.key)
        return entry[0]

    def put(self, scope: Scope, working_set: WorkingSet) -> None:
        """Keep *working_set*, or account for its growth if it is kept already."""
        self.discard(scope)
        size = working_set.nbytes
        self._sets[scope.key] = (working_set, size)
        self.nbytes += size
        while self.nbytes > self._max_bytes:
            _, (_, freed) = self._sets.popitem(last=False)
            self.nbytes -= freed

    def discard(self, scope: Scope) -> None:
        """Forget the user's set, if there is one; the next request loads it anew."""
        _, freed = self._sets.pop(scope.key, (None, 0))
        self.nbytes -= freed

    def clear(self) -> None:
        self._sets.clear()
        self.nbytes = 0

    def apply(self, scope: Scope, change: Change) -> None:
        """Bring the user's set up to date. Users without one are left to be loaded when they come."""
        working_set = self.get(scope)
        if working_set is None:
            return
        if change.erased:
            self.discard(scope)
            return
        working_set.remove(change.removed)
        if change.added is not None:
            working_set.add(change.added)
        self.put(scope, working_set)


def _read_postings(pack: Pack) -> tuple[Keys, Floats]:
    """Postings of *pack* with rows counted from 0, unsorted, and how many words each memory has."""
    hashes = np.frombuffer(pack.hashes, "<u4")
    counts = np.frombuffer(pack.counts, "<u2")
    sizes = np.frombuffer(pack.sizes, "<u4")
    if len(sizes) != len(pack.memories) or int(sizes.sum()) != len(hashes) or len(hashes) != len(counts):
        raise ValueError("a pack's memories, sizes, hashes and counts do not fit together")
    rows = np.repeat(np.arange(len(sizes)), sizes)
    keys = hashes.astype(np.uint64) << _TERM_SHIFT
    keys |= rows.astype(np.uint64) << _ROW_SHIFT
    keys |= np.minimum(counts, np.uint16(_COUNT_MASK)).astype(np.uint64)
    return keys, np.bincount(rows, counts, minlength=len(sizes)).astype(np.float32)


def _read_vectors(pack: Pack) -> Floats:
    count = len(pack.memories)
    if len(pack.vectors) != 2 * count * pack.dim:
        raise ValueError(f"{count} vectors of {pack.dim} numbers do not make {len(pack.vectors)} bytes")
    return np.frombuffer(pack.vectors, "<f2").reshape(count, pack.dim).astype(np.float32)


def _read_columns(
    memories: Sequence[Memory], conversations: dict[str, int], speakers: dict[str, int], words: Floats
) -> _Columns:
    """Columns of *memories*; conversations and speakers not met before are numbered in the dictionaries given."""
    return _Columns(
        words=words,
        assistant=np.array([memory.role == "assistant" for memory in memories], np.bool_),
        conversation=np.array(
            [conversations.setdefault(memory.conversation_id, len(conversations)) for memory in memories], np.int32
        ),
        position=np.array([memory.message_index for memory in memories], np.int32),
        speaker=np.array([speakers.setdefault(m.name, len(speakers)) if m.name else -1 for m in memories], np.int32),
    )


def _renumber(keys: Keys, alive: NDArray[np.bool_], renumbered: NDArray[np.intp]) -> Keys:
    """Postings of the rows still *alive*, at their new numbers. Their order stays: numbers only move closer."""
    rows = (keys >> _ROW_SHIFT) & _ROW_MASK
    kept = alive[rows]
    moved: Keys = keys[kept] & ~(_ROW_MASK << _ROW_SHIFT)
    moved |= renumbered[rows[kept]].astype(np.uint64) << _ROW_SHIFT
    return moved
