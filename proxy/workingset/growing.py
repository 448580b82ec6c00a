"""Arrays that rows are appended to in place."""

from typing import Any, Final, Generic, TypeVar

import numpy as np
from numpy.typing import DTypeLike, NDArray

Scalar = TypeVar("Scalar", bound=np.generic)

# An eighth in reserve: adding one row at a time then copies each row eight times in all.
_RESERVE: Final = 8
# Rows moved at once: a megabyte of 256 dimensions, which stays in the processor's cache.
_MOVED: Final = 1024


def reserve(size: int) -> int:
    """The capacity that an array should have once *size* rows no longer fit in it."""
    return size + size // _RESERVE


class Growing(Generic[Scalar]):
    """An array with room for more rows. A *view* stays valid until rows are appended or dropped."""

    def __init__(self, dtype: DTypeLike, width: int | None = None) -> None:
        self._data: NDArray[Any] = np.zeros((0,) if width is None else (0, width), dtype)
        self._size = 0

    @property
    def view(self) -> NDArray[Scalar]:
        return self._data[: self._size]

    @property
    def nbytes(self) -> int:
        """Bytes in use, the reserve included."""
        return self._data.nbytes

    def append(self, rows: NDArray[Any]) -> None:
        size = self._size + len(rows)
        if size > len(self._data):
            self.make_room(size)
        self._data[self._size : size] = rows
        self._size = size

    def make_room(self, size: int) -> None:
        """Up to *size* rows in all, and the reserve, can then be appended without copying those that are there."""
        if size > len(self._data):
            grown = np.zeros((reserve(size), *self._data.shape[1:]), self._data.dtype)
            grown[: self._size] = self.view
            self._data = grown

    def keep(self, rows: NDArray[np.intp], first: int) -> None:
        """Leaves the rows before *first*, and of the others only *rows*, which are in ascending order."""
        # By and by, which needs no second array: rows only move towards the beginning.
        for start in range(0, len(rows), _MOVED):
            moved = rows[start : start + _MOVED]
            self._data[first + start : first + start + len(moved)] = self._data[moved]
        self._size = first + len(rows)
