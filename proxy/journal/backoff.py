"""How long to wait before the next attempt."""

import random


def delay(attempts: int, *, first_s: float, most_s: float) -> float:
    """Seconds to wait after another failure, where *attempts* failed before it.

    Doubles from *first_s* up to *most_s*. Half of each delay is random: what failed together does not return in step.
    """
    longest = min(most_s, first_s * 2.0 ** min(attempts, 32))
    return longest * random.uniform(0.5, 1.0)  # noqa: S311 (spreads load, hides nothing)


class Backoff:
    """Counts the failures in a row for :func:`delay`."""

    def __init__(self, first_s: float = 0.1, most_s: float = 30.0) -> None:
        self._first_s = first_s
        self._most_s = most_s
        self._failures = 0

    def next_delay(self) -> float:
        """Seconds to wait after one more failure."""
        seconds = delay(self._failures, first_s=self._first_s, most_s=self._most_s)
        self._failures += 1
        return seconds

    def reset(self) -> None:
        """After a success."""
        self._failures = 0
