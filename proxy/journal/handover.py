"""Gives the writer thread its turn while the event loop is saturated."""

import asyncio
import threading

# Long enough that an undisturbed commit (0.3 ms) never needs it, short beside what a client notices.
_AFTER_S = 0.005
# Enough for a thread to wake on another core (0.05 to 0.15 ms), commit and wait for the disk (0.3 ms, a few times that
# when others use it), and wake the loop again.
_AT_MOST_S = 0.002
# Where waiting did not help, it is the disk that is slow: the loop then loses 2.5 % at most.
_RARELY_S = 0.08


class Handover:
    """Blocks the loop for a moment when a commit is overdue, so that its thread gets the interpreter's lock.

    A loop that is never idle gives the lock up for microseconds only, and has it back before a thread on another core
    is awake; since each such turn restarts the 5 ms after which a waiting thread could insist, commits took seconds.
    """

    def __init__(self) -> None:
        self._open = 0
        self._answered = 0
        self._armed = False
        self._delay_s = _AFTER_S
        self._committed = threading.Event()

    def begin(self, loop: asyncio.AbstractEventLoop) -> None:
        """One more append waits. On the loop."""
        self._open += 1
        if not self._armed:
            self._arm(loop)

    def end(self) -> None:
        """One append waits no longer. On the loop."""
        self._open -= 1
        self._answered += 1

    def commit(self) -> None:
        """The loop may go on. From the writer thread."""
        self._committed.set()

    def _arm(self, loop: asyncio.AbstractEventLoop) -> None:
        self._armed = True
        loop.call_later(self._delay_s, self._check, loop, self._answered)

    def _check(self, loop: asyncio.AbstractEventLoop, answered: int) -> None:
        self._armed = False
        if not self._open:
            self._delay_s = _AFTER_S
            return
        if answered == self._answered:
            self._committed.clear()
            helped = self._committed.wait(_AT_MOST_S)
            self._delay_s = _AFTER_S if helped else min(self._delay_s * 2, _RARELY_S)
        else:
            self._delay_s = _AFTER_S
        self._arm(loop)
