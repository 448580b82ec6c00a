"""What work costs, on machines that others use, too."""

from collections.abc import Callable
from time import thread_time
from typing import Final

ROUNDS: Final = 5


def cost(work: Callable[[], object], rounds: int = ROUNDS) -> float:
    """Seconds of this thread's CPU time that *work* takes at its best: what a neighbour does to caches and clocks
    only ever adds to it.
    """

    def measure() -> float:
        begun = thread_time()
        work()
        return thread_time() - begun

    return min(measure() for _ in range(rounds))
