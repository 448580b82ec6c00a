"""What ``bench`` found out: rows of one number each, beside what issue and design ask for, and charts of what these sum
up.
"""

import os
import platform
from collections.abc import Sequence
from typing import Any, Final, Self

import msgspec
import numpy as np

from proxy import __version__
from proxy.reporting.charts import Chart
from proxy.reporting.machine import name_processor

NOT_AVAILABLE: Final = "n/a"


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One measured number, the most that is asked of it, and the *aim*, the most that there should be.

    *value* ``None``: this machine does not tell.
    """

    name: str
    value: float | None
    unit: str
    meaning: str
    target: float | None = None
    aim: float | None = None

    @property
    def measured(self) -> str:
        return NOT_AVAILABLE if self.value is None else f"{_round(self.value)} {self.unit}".rstrip()

    @property
    def asked(self) -> str:
        return _bound(self.target, self.unit)

    @property
    def aimed(self) -> str:
        return _bound(self.aim, self.unit)

    @property
    def met(self) -> bool | None:
        """Whether the target is reached; ``None`` where there is nothing to compare."""
        return _within(self.value, self.target)

    @property
    def aim_met(self) -> bool | None:
        """The same of the aim."""
        return _within(self.value, self.aim)


class Report(msgspec.Struct, frozen=True):
    """All rows and charts of one run, or of a part of it."""

    rows: Sequence[Row] = ()
    charts: Sequence[Chart] = ()

    def __add__(self, other: Self) -> Self:
        """Both, one after the other."""
        return type(self)([*self.rows, *other.rows], [*self.charts, *other.charts])

    def to_dict(self) -> dict[str, Any]:
        """For ``--json``: the rows, and the machine on which they hold."""
        machine = {
            "system": platform.platform(),
            "processor": name_processor(),
            "cpus": os.cpu_count(),
            "python": platform.python_version(),
        }
        rows = [{**msgspec.to_builtins(row), "met": row.met, "aim_met": row.aim_met} for row in self.rows]
        return {"version": __version__, "machine": machine, "rows": rows}


def percentile(values: Sequence[float], share: float) -> float | None:
    """The *share* (0 to 100) percentile, interpolated; ``None`` without values."""
    return float(np.percentile(values, share)) if values else None


def difference(value: float | None, base: float | None, *, scale: float = 1) -> float | None:
    """``(value - base) * scale``, or ``None`` where one of them is missing."""
    return None if value is None or base is None else (value - base) * scale


def ratio(value: float | None, base: float | None) -> float | None:
    """``value / base``, or ``None`` where one of them is missing or *base* is no measure of anything."""
    return None if value is None or base is None or base <= 0 else value / base


def scaled(value: float | None, scale: float) -> float | None:
    """``value * scale``, or ``None``."""
    return None if value is None else value * scale


def _within(value: float | None, bound: float | None) -> bool | None:
    return None if value is None or bound is None else value <= bound


def _bound(bound: float | None, unit: str) -> str:
    if bound is None:
        return ""
    return f"{'≤ ' if bound else ''}{_round(bound)} {unit}".rstrip()


def _round(value: float) -> str:
    if value == int(value):
        return f"{value:,.0f}"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.2f}"
