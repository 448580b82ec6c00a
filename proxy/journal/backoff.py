"""How long to wait before the next attempt."""

import random


class Backoff:
    """Doubles from *first_s* up to *most_s*. Half of each delay is random: several processes do not return in step."""

    def __init__(self, first_s: float = 0.1, most_s: float = 30.0) -> None:
        self._first_s = first_s
        self._most_s = most_s
        self._failures = 0

    def next_delay(self) -> float:
        """Seconds to wait after one more failure."""
        delay = min(self._most_s, self._first_s * 2.0 ** min(self._failures, 32))
        self._failures += 1
        return delay * random.uniform(0.5, 1.0)  # noqa: S311 (spreads load, hides nothing)

    def reset(self) -> None:
        """After a success."""
        self._failures = 0
