"""The cores that this process may use, and how it leaves some of them to others. Linux alone lets it."""

import os
import random
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from typing import Final

# When it began.
_ALLOWED: Final = frozenset(os.sched_getaffinity(0)) if sys.platform == "linux" else frozenset[int]()


def take(cores: Collection[int]) -> None:
    """Has the calling thread, and all that it starts from now on, on these alone; without any, nothing changes."""
    if cores and sys.platform == "linux":
        with suppress(OSError):  # some sandboxes forbid it, and nothing depends on it
            os.sched_setaffinity(0, cores)


def take_half() -> None:
    """As :func:`take`, of one half of them, whichever: not everybody on a machine is to have the same."""
    cores = sorted(_ALLOWED)
    middle = len(cores) // 2
    take(random.choice([cores[:middle], cores[middle:]]) if middle else cores)  # noqa: S311  # no secret


def find_spare() -> set[int]:
    """What the calling thread has left to others."""
    return set(_ALLOWED - os.sched_getaffinity(0)) if sys.platform == "linux" else set()


@contextmanager
def half() -> Iterator[None]:
    """One half within the block, and what it was before behind it."""
    before = os.sched_getaffinity(0) if sys.platform == "linux" else set[int]()
    take_half()
    try:
        yield
    finally:
        take(before)
