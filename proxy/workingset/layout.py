"""Which rows are of one conversation, and which are next to each other in it."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from proxy.workingset.columns import Columns
from proxy.workingset.growing import reserve

# In place of a neighbour that is not there: the last entry of an array that has one more than there are rows.
NOBODY: Final = -1
# One by one up to so many: ten microseconds each, where the whole takes 700 of 10,000 memories.
_FEW: Final = 32


class Layout:
    """How the conversations lie in the rows. Kept up while memories are added at the ends of their conversations,
    as nearly all are, and otherwise made anew when it is next asked for.
    """

    def __init__(self) -> None:
        self.conversations = 0
        self._columns = Columns.empty()
        self._near: NDArray[np.int64] | None = None
        self._ends: list[int] = []  # the last row of each conversation

    @property
    def nbytes(self) -> int:
        return 0 if self._near is None else self._near.nbytes

    @property
    def neighbours(self) -> NDArray[np.int64]:
        """4 × n rows: the ones two and one before, one and two after; -1 where there is none."""
        if self._near is None:
            self._near, self._ends = _arrange(self._columns.conversation, self._columns.position, self.conversations)
        return self._near[:, : len(self._columns)]

    def follow(self, columns: Columns, conversations: int) -> None:
        """Memories were added: *columns* has them at its end."""
        first = len(self._columns)
        self._columns = columns
        self.conversations = conversations
        if self._near is None:
            return
        if len(columns) - first > _FEW or not self._append(self._near, first):
            self._near = None

    def restart(self, columns: Columns, conversations: int) -> None:
        """Memories are gone: *columns* has the rest, whose conversations may have other numbers."""
        self._columns = columns
        self.conversations = conversations
        self._near = None

    def _append(self, near: NDArray[np.int64], first: int) -> bool:
        """Links the rows from *first* on to the ends of their conversations; False where one belongs elsewhere."""
        size = len(self._columns)
        if size > near.shape[1]:
            more = np.full((4, reserve(size) - near.shape[1]), NOBODY, np.int64)
            self._near = near = np.concatenate((near, more), axis=1)
        self._ends += [NOBODY] * (self.conversations - len(self._ends))
        position = self._columns.position
        for row in range(first, size):
            conversation = int(self._columns.conversation[row])
            before = self._ends[conversation]
            if before != NOBODY and position[row] < position[before]:
                return False
            _link(near, row, before)
            self._ends[conversation] = row
        return True


def _link(near: NDArray[np.int64], row: int, before: int) -> None:
    if before == NOBODY:
        return
    near[1, row], near[2, before] = before, row
    earlier = int(near[1, before])
    if earlier != NOBODY:
        near[0, row], near[3, earlier] = earlier, row


def _arrange(
    conversation: NDArray[np.int32], position: NDArray[np.int32], conversations: int
) -> tuple[NDArray[np.int64], list[int]]:
    """Neighbours of all rows, and the last row of each conversation."""
    near = np.full((4, len(conversation)), NOBODY, np.int64)
    order = np.argsort((conversation.astype(np.int64) << 32) | position, kind="stable")
    sorted_ = conversation[order]
    for index, step in enumerate((2, 1)):
        same = np.flatnonzero(sorted_[step:] == sorted_[:-step])
        near[index, order[same + step]] = order[same]
        near[3 - index, order[same]] = order[same + step]
    ends = np.full(conversations, NOBODY, np.int64)
    last = np.flatnonzero(np.append(sorted_[1:] != sorted_[:-1], True)) if len(order) else order
    ends[sorted_[last]] = order[last]
    return near, ends.tolist()
