"""One user's memories in the memory of the edge, laid out so that a query is a few NumPy operations."""

from collections.abc import Collection, Iterable, Sequence
from itertools import islice
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from proxy.models import EmbeddingModel, Memory, Pack
from proxy.statements import Statement
from proxy.text import terms
from proxy.workingset.columns import Columns, Numbers, Table, read_columns
from proxy.workingset.growing import Growing
from proxy.workingset.layout import Layout
from proxy.workingset.postings import MAX_SLOTS, Postings, WordIndex, read_keys

MAX_MEMORIES: Final = MAX_SLOTS

# A memory's Python objects beside its text (the struct, its strings, a datetime, dictionary slots): 553 measured.
_OBJECT_BYTES: Final = 600

Floats = NDArray[np.float32]


class WorkingSet:
    """All memories of one user that recall looks at, with their vectors and the index of their words.

    An addition costs what is added and not what is there: 0.1 ms for the two memories of an exchange, among 10,000 as
    among 100. Not thread-safe: a working set belongs to the event loop. What its properties give is a view of the
    present state, and to be asked for anew after each change. *version* is another number after each.
    """

    def __init__(self) -> None:
        self.memories: list[Memory] = []
        self.columns = Columns.empty()
        self.layout = Layout()
        self.statements: dict[str, tuple[Statement, ...]] = {}  # by memory id, of those that have some
        self.version = 0
        self.model: EmbeddingModel | None = None  # what the vectors are of, where that is known
        self.off = False  # the user has switched memory off: nothing is here, and nothing is to be stored
        # For recall to keep what it derives from the set; empty again when memories come or go.
        self.derived: dict[object, object] = {}
        # The same for what it derives from the statements alone; None again when one comes or goes.
        self.standing: object = None
        self._table = Table()
        self._slots: dict[str, int] = {}
        self._index = WordIndex()
        self._conversations = Numbers()
        self._speakers = Numbers()
        self._speaker_terms: list[frozenset[int]] = []
        # Not as the float16 that they travel as: NumPy takes 2.4 ms to multiply 10,000 of these, and 0.2 of float32.
        self._vectors: Growing[np.float32] = Growing(np.float32, 0)
        self._text_bytes = 0

    @classmethod
    def from_pack(cls, pack: Pack) -> Self:
        """Index a whole pack: 2 ms for 1,000 memories. Raises ValueError when its parts do not fit together."""
        working_set = cls()
        working_set.add(pack)
        return working_set

    def __len__(self) -> int:
        return len(self.memories)

    def __contains__(self, memory_id: object) -> bool:
        return memory_id in self._slots

    @property
    def nbytes(self) -> int:
        """About how much memory this takes, in bytes: arrays exactly, Python objects by estimate."""
        arrays = (self._vectors, self._index, self._table, self.layout)
        return sum(array.nbytes for array in arrays) + self._text_bytes + _OBJECT_BYTES * len(self)

    @property
    def vectors(self) -> Floats:
        """n × dim unit rows; a row of zeros where a memory has no vector. dim is 0 where none has."""
        return self._vectors.view

    @property
    def speakers(self) -> Collection[str]:
        """The names of all who speak under a name."""
        return self._speakers.keys()

    def row(self, memory_id: str) -> int:
        """Where the memory of this id is. Raises KeyError when it is not here."""
        return self._index.row(self._slots[memory_id])

    def speaker_rows(self, wanted: Collection[int]) -> NDArray[np.bool_] | None:
        """Rows said by someone whose name has one of the *wanted* terms; None when nobody is called so."""
        # Names are numbered in order of appearance, and so are their terms.
        new = islice(self._speakers, len(self._speaker_terms), None)
        self._speaker_terms += [frozenset(terms(name)) for name in new]
        named = [code for code, known in enumerate(self._speaker_terms) if not known.isdisjoint(wanted)]
        return np.isin(self.columns.speaker, named) if named else None

    def find(self, wanted: Sequence[int]) -> Postings:
        """Postings of the *wanted* terms, numbered by their place in that sequence."""
        return self._index.find(wanted)

    def add(self, pack: Pack) -> None:
        """Add the memories of *pack*; one with a known id takes the place of the old one.

        Raises ValueError, and changes nothing, when the parts of *pack* do not fit together or are too many.
        """
        keys, words = read_keys(pack)
        vectors = _read_vectors(pack)
        known = [memory.id for memory in pack.memories if memory.id in self._slots]
        if len(self) - len(known) + len(pack.memories) > MAX_MEMORIES:
            raise ValueError(f"a working set holds at most {MAX_MEMORIES:,} memories")
        self.remove(known)
        if self._index.slots + len(pack.memories) > MAX_MEMORIES:
            self._compact()
        first = self._index.slots
        self._index.append(keys, len(pack.memories))
        if not self.vectors.shape[1]:
            self.model = pack.model
        self._append_vectors(vectors if self.compares_with(pack) else vectors[:, :0])
        self._table.append(read_columns(pack.memories, words, self._conversations, self._speakers))
        self.memories += pack.memories
        self._slots.update((memory.id, slot) for slot, memory in enumerate(pack.memories, first))
        self._text_bytes += _count_text(pack.memories)
        self._take_statements(pack)
        self.columns = self._table.view()
        self.layout.follow(self.columns, len(self._conversations))
        self.version += 1
        self.derived.clear()

    def expect(self, count: int) -> None:
        """So many more memories are about to be added: makes room for their vectors once and for all."""
        self._vectors.make_room(len(self) + count)

    def remove(self, ids: Iterable[str]) -> None:
        """Forget these memories altogether. Unknown ids are ignored. Takes 3 ms among 20,000."""
        gone = [memory_id for memory_id in set(ids) if memory_id in self._slots]
        if not gone:
            return
        for memory_id in gone:
            if self.statements.pop(memory_id, None):
                self.standing = None
        self._drop(sorted(self._index.row(self._slots.pop(memory_id)) for memory_id in gone))
        if self._index.is_worn:
            self._compact()
        self.columns = self._table.view()
        self.layout.restart(self.columns, len(self._conversations))
        self.version += 1
        self.derived.clear()

    def _drop(self, rows: list[int]) -> None:
        """Closes up the *rows*, which are in order and at least one."""
        alive = np.ones(len(self), np.bool_)
        alive[rows] = False
        behind = rows[0] + np.flatnonzero(alive[rows[0] :])
        self._text_bytes -= _count_text([self.memories[row] for row in rows])
        self._index.close_up(alive)
        self._vectors.keep(behind, rows[0])
        self._table.keep(behind, rows[0])
        # A new list: whoever has ranked the rows may still look them up in the old one.
        self.memories = self.memories[: rows[0]] + [self.memories[row] for row in behind.tolist()]

    def _compact(self) -> None:
        """Forgets what only memories gone had: their slots, and the numbers of conversations and speakers."""
        self._index.compact()
        self._slots = {memory.id: row for row, memory in enumerate(self.memories)}
        self._conversations = self._table.renumber("conversation", self._conversations)
        self._speakers = self._table.renumber("speaker", self._speakers)
        self._speaker_terms.clear()
        self.layout.restart(self._table.view(), len(self._conversations))

    def _take_statements(self, pack: Pack) -> None:
        stated: dict[str, tuple[Statement, ...]] = {}
        for row, statement in pack.statements:
            memory_id = pack.memories[row].id
            stated[memory_id] = (*stated.get(memory_id, ()), statement)
        if stated:
            self.statements |= stated
            self.standing = None

    def compares_with(self, pack: Pack) -> bool:
        """Whether the vectors of *pack* are of the model that those here are of; so are none."""
        if not (pack.dim and self.vectors.shape[1]) or pack.model is self.model:
            return True
        return pack.model is not None and pack.model.compares_with(self.model)

    def _append_vectors(self, new: NDArray[Any]) -> None:
        """The size of the first vectors is that of all. Others are of another model and do not compare."""
        size = self.vectors.shape[1]
        if new.shape[1] != size:
            if size:
                new = np.zeros((len(new), size), np.float32)
            else:
                before = len(self.vectors)
                self._vectors = Growing(np.float32, new.shape[1])
                self._vectors.append(np.zeros((before, new.shape[1]), np.float32))
        self._vectors.append(new)


def _count_text(memories: Iterable[Memory]) -> int:
    return sum(len(memory.text) for memory in memories)


def _read_vectors(pack: Pack) -> NDArray[np.float16]:
    count = len(pack.memories)
    if len(pack.vectors) != 2 * count * pack.dim:
        raise ValueError(f"{count} vectors of {pack.dim} numbers do not make {len(pack.vectors)} bytes")
    return np.frombuffer(pack.vectors, "<f2").reshape(count, pack.dim)
