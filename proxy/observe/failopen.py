"""The one place where a failure of memory is caught, so that the chat goes on."""

from types import TracebackType
from typing import Self

import structlog

from proxy.observe.metrics import Metrics

log = structlog.get_logger(__name__)


class FailOpen:
    """``with fail_open("recall") as step:`` runs one step of memory; afterwards ``step.failed`` tells how it went.

    Every ordinary exception ends the block, is counted, and is told of in one log line. Cancellation and the end of
    the process pass through.
    """

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def __call__(self, step: str) -> "Step":
        return Step(step, self._metrics)


class Step:
    """One step under guard."""

    def __init__(self, name: str, metrics: Metrics) -> None:
        self.failed = False
        self._name = name
        self._metrics = metrics

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if not isinstance(exc, Exception):
            return False
        self.failed = True
        self._metrics.count("memory_errors_total", self._name)
        # Types and our own words; an exception of somebody else's may quote what a user said.
        reason = str(exc) if type(exc).__module__.startswith("proxy.") else ""
        log.warning("memory_failed", step=self._name, error=type(exc).__name__, reason=reason, at=_place(trace))
        return True


def _place(trace: TracebackType | None) -> str:
    """File and line of the innermost frame."""
    if trace is None:
        return ""
    while trace.tb_next is not None:
        trace = trace.tb_next
    return f"{trace.tb_frame.f_code.co_filename.rpartition('/')[2]}:{trace.tb_lineno}"
