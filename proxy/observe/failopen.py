"""The one place where a failure of memory is caught, so that the chat goes on."""

import time
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

import structlog

from proxy.errors import find_place
from proxy.observe.metrics import Metrics

log = structlog.get_logger(__name__)

# A store that is down fails every chat; one line every few seconds says as much as a thousand.
REPEAT_S: Final = 10.0


class FailOpen:
    """``with fail_open("recall") as step:`` runs one step of memory; afterwards ``step.failed`` tells how it went.

    Every ordinary exception ends the block, is counted, and is told of in one log line; the same failure of a step is
    told of again after :data:`REPEAT_S` at the earliest. Cancellation and the end of the process pass through.
    """

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._told: dict[str, tuple[str, float, int]] = {}

    def __call__(self, step: str) -> "Step":
        return Step(step, self._note)

    def _note(self, step: str, exc: Exception, place: str) -> None:
        self._metrics.count("memory_errors_total", step)
        error = type(exc).__name__
        failure, told_at, untold = self._told.get(step, ("", 0.0, 0))
        if failure == error and time.monotonic() < told_at + REPEAT_S:
            self._told[step] = (failure, told_at, untold + 1)
            return
        self._told[step] = (error, time.monotonic(), 0)
        # Types and our own words; an exception of somebody else's may quote what a user said.
        reason = str(exc) if type(exc).__module__.startswith("proxy.") else ""
        log.warning("memory_failed", step=step, error=error, reason=reason, at=place, since_last=untold + 1)


class Step:
    """One step under guard."""

    __slots__ = ("_name", "_note", "failed")

    def __init__(self, name: str, note: Callable[[str, Exception, str], None]) -> None:
        self.failed = False
        self._name = name
        self._note = note

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if not isinstance(exc, Exception):
            return False
        self.failed = True
        self._note(self._name, exc, find_place(trace))
        return True
