"""What was read last, as long as there is room for it."""

from collections import OrderedDict
from typing import Generic, TypeVar

T = TypeVar("T")


class Cache(Generic[T]):
    """At most *entries* values of at most *weight* together; those asked for longest ago go first. Not thread-safe."""

    def __init__(self, *, entries: int, weight: int) -> None:
        self._values: OrderedDict[str, tuple[T, int]] = OrderedDict()
        self._entries = entries
        self._room = self._weight = weight

    def get(self, name: str) -> T | None:
        """The value of *name*, or None."""
        if name not in self._values:
            return None
        self._values.move_to_end(name)
        return self._values[name][0]

    def put(self, name: str, value: T, weight: int = 0) -> None:
        """Keeps *value*, unless it alone is heavier than all may be."""
        self.drop(name)
        if weight > self._weight:
            return
        self._values[name] = value, weight
        self._room -= weight
        while self._room < 0 or len(self._values) > self._entries:
            _, (_, freed) = self._values.popitem(last=False)
            self._room += freed

    def drop(self, name: str) -> None:
        """Forgets the value of *name*, if there is one."""
        if name in self._values:
            self._room += self._values.pop(name)[1]
