"""Where on a picture a value is, and which values an axis names."""

from collections.abc import Callable, Iterator, Sequence
from math import ceil, floor, log, log10
from statistics import NormalDist
from typing import Final, NamedTuple

from proxy.reporting.charts import Axis, tell_share

_NORMAL: Final = NormalDist()
_WIDE: Final = 10  # a range of more than such a factor is logarithmic
_STEPS: Final = (1, 2, 2.5, 5, 10)
_NAMED_SHARES: Final = (0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 0.999)
_TINY: Final = 1e-9


class Scale(NamedTuple):
    """A value's *place*, and what the axis names: values and their names, ascending."""

    place: Callable[[float], float]
    ticks: Sequence[tuple[float, str]]


def fit(axis: Axis, values: Sequence[float], start: float, end: float, *, from_zero: bool = False) -> Scale:
    """*values* between the places *start* and *end*, with round numbers around them."""
    low, high = min(values), max(values)
    if axis.is_share and high <= 1 + _TINY and low >= -_TINY:
        return _fit_share(low, high, start, end, from_zero=from_zero)
    if _is_wide(axis, low, high) and not from_zero:
        return _fit_log(low, high, start, end)
    return _fit_linear(min(low, 0) if from_zero else low, high, start, end, axis)


def fit_exactly(axis: Axis, values: Sequence[float], start: float, end: float) -> Scale:
    """*values* from *start* to *end*, each of them named as far as there is room."""
    low, high = min(values), max(values)
    named = [(value, f"{value:,g}") for value in sorted(set(values))]
    if _is_wide(axis, low, high):
        place = spread(log(low), log(high), start, end)
        return Scale(lambda value: place(log(value)), named)
    return Scale(spread(low, high, start, end), named)


def fit_shares(first: float, last: float, start: float, end: float) -> Scale:
    """Quantiles, with as much room for the tenth around the middle as for the hundredths at the ends: places are those
    of the normal distribution.
    """
    place = spread(_NORMAL.inv_cdf(first), _NORMAL.inv_cdf(last), start, end)
    named = [(share, tell_share(share)) for share in _NAMED_SHARES if first - _TINY <= share <= last + _TINY]
    return Scale(lambda share: place(_NORMAL.inv_cdf(share)), named)


def spread(low: float, high: float, start: float, end: float) -> Callable[[float], float]:
    """A value's place between *start* and *end*; a single value stands in the middle."""
    if low == high:
        return lambda _: (start + end) / 2
    return lambda value: start + (value - low) / (high - low) * (end - start)


def drop_close(ticks: Sequence[tuple[float, float, str]], gap: float) -> Iterator[tuple[float, str]]:
    """Places and names of *ticks* (value, place, name) that are so far from the one before; the first one stays."""
    free = float("-inf")
    for _, place, name in ticks:
        if place >= free:
            yield place, name
            free = place + gap


def _is_wide(axis: Axis, low: float, high: float) -> bool:
    if axis.scale == "auto":
        return low > 0 and high / low > _WIDE
    return axis.scale == "log" and low > 0


def _fit_share(low: float, high: float, start: float, end: float, *, from_zero: bool) -> Scale:
    """From one tenth to another."""
    bottom = 0 if from_zero else min(floor(low * 10 + _TINY), 9)
    top = max(ceil(high * 10 - _TINY), bottom + 1)
    ticks = [(tenth / 10, f"{tenth * 10} %") for tenth in range(bottom, top + 1)]
    return Scale(spread(bottom / 10, top / 10, start, end), ticks)


def _fit_linear(low: float, high: float, start: float, end: float, axis: Axis) -> Scale:
    if low == high:
        low, high = (0.0, high * 2) if high > 0 else (low - 1, high + 1)
    step = _find_step((high - low) / 5)
    first, last = floor(low / step + _TINY), ceil(high / step - _TINY)
    ticks = [(number * step, _name(axis, number * step)) for number in range(first, last + 1)]
    return Scale(spread(first * step, last * step, start, end), ticks)


def _find_step(least: float) -> float:
    """A round number that is no less."""
    power: float = 10.0 ** floor(log10(least))
    return next(step * power for step in _STEPS if step * power >= least * (1 - _TINY))


def _fit_log(low: float, high: float, start: float, end: float) -> Scale:
    """From one of the numbers 1, 2, 5, 10, 20 … to another."""
    ladder = [digit * 10.0**power for power in range(floor(log10(low)), ceil(log10(high)) + 1) for digit in (1, 2, 5)]
    bottom = max(value for value in ladder if value <= low * (1 + _TINY))
    top = min(value for value in ladder if value >= high * (1 - _TINY))
    if bottom == top:
        top = next(value for value in ladder if value > bottom)
    place = spread(log(bottom), log(top), start, end)
    ticks = [(value, f"{value:,.6g}") for value in ladder if bottom <= value <= top]
    return Scale(lambda value: place(log(value)), ticks)


def _name(axis: Axis, value: float) -> str:
    return f"{value * 100:,.6g} %" if axis.is_share else f"{value:,.6g}"
