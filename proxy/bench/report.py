"""What ``bench`` found out: rows of one number each, beside what issue and design ask for."""

import os
import platform
from collections.abc import Sequence
from typing import Any, Final

import msgspec
import numpy as np

from proxy import __version__

NOT_AVAILABLE: Final = "n/a"


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One measured number, and the most that is asked of it. *value* ``None``: this machine does not tell."""

    name: str
    value: float | None
    unit: str
    meaning: str
    target: float | None = None

    @property
    def measured(self) -> str:
        return NOT_AVAILABLE if self.value is None else f"{_round(self.value)} {self.unit}".rstrip()

    @property
    def asked(self) -> str:
        if self.target is None:
            return ""
        return f"{'≤ ' if self.target else ''}{_round(self.target)} {self.unit}".rstrip()

    @property
    def met(self) -> bool | None:
        """Whether the target is reached; ``None`` where there is nothing to compare."""
        return None if self.value is None or self.target is None else self.value <= self.target


class Report(msgspec.Struct, frozen=True):
    """All rows of one run."""

    rows: list[Row]

    def to_dict(self) -> dict[str, Any]:
        """For ``--json``: the rows, and the machine on which they hold."""
        machine = {"system": platform.platform(), "python": platform.python_version(), "cpus": os.cpu_count()}
        rows = [{**msgspec.to_builtins(row), "met": row.met} for row in self.rows]
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


def _round(value: float) -> str:
    if value == int(value):
        return f"{value:,.0f}"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.2f}"
