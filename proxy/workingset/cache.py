"""The working sets that an edge keeps, and how they follow what the keeper tells."""

from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple

from proxy.models import Pack, Scope
from proxy.workingset.memories import WorkingSet
from proxy.workingset.parts import leave_out


class Change(NamedTuple):
    """What became of one user's memories: *erased* means that nothing of the user is left."""

    added: Pack | None = None
    removed: Sequence[str] = ()
    erased: bool = False


class Arrival:
    """A working set whose memories come in parts, while changes of them are announced.

    *working_set* may be used at any time and has what is there. A part may have been read before a change that was
    heard of first, so that what a change has touched is taken from no later part; a change is always announced after
    it can be read, and nothing is lost by that.
    """

    def __init__(self) -> None:
        self.working_set = WorkingSet()
        self._touched: set[str] = set()
        self._erased = False

    def take(self, part: Pack, *, left: int = 0) -> None:
        """Adds what came with *part*; so many memories are *left* to come. Raises ValueError when it is damaged."""
        if not self._erased:
            self.working_set.add(leave_out(part, self._touched) if self._touched else part)
            self.working_set.expect(left)

    def follow(self, change: Change) -> None:
        """Brings the set up to date, whatever parts are still to come. Raises ValueError when *change* is damaged."""
        if change.erased:
            # A new one: whoever holds the old one keeps what was true when they asked for it.
            self.working_set = WorkingSet()
            self._erased = True
            return
        self._touched.update(change.removed)
        self.working_set.remove(change.removed)
        if change.added is not None:
            self._touched.update(memory.id for memory in change.added.memories)
            self.working_set.add(change.added)


class WorkingSets:
    """The working sets of the users seen last, within *max_bytes*; the least recently used one goes first.

    One that alone is too large is not kept at all. Not thread-safe, as the sets are not.
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
        self.drop(scope.key)

    def drop(self, key: str) -> None:
        """The same by the user's key."""
        _, freed = self._sets.pop(key, (None, 0))
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
