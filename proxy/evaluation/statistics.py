"""How sure a measured mean is."""

from collections.abc import Sequence
from math import sqrt
from statistics import NormalDist
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

_RESAMPLES: Final = 2000
_SEED: Final = 4  # any: that it is fixed makes two runs over the same answers print the same
_ALIKE: Final = 1e-6
_NORMAL: Final = NormalDist()
_CONFIDENCE: Final = 0.95
_TAIL: Final = (1 - _CONFIDENCE) / 2


class Interval(NamedTuple):
    """A mean, and between what it would lie for 95 of 100 sets of questions of the same kind."""

    mean: float
    low: float
    high: float


def mean_interval(values: Sequence[float]) -> Interval:
    """The mean of *values*, all from 0 to 1, with its 95 % confidence interval. ValueError if there are none.

    Where all are 0 or 1, or alike, by Wilson's formula; else by resampling them 2,000 times, bias-corrected and
    accelerated: of made-up sets of 5 to 200 shares of 0, ½ and 1, most of them 1, that held the truth for 93 to 99 of
    100 (plain percentiles: 16 to 95). One value says nothing: its interval is the whole range. Values count as
    independent of each other, though several may come from one conversation: over few of these the truth is wider.
    """
    if not values:
        raise ValueError("there is no mean of nothing")
    numbers = np.asarray(values, np.float64)
    mean = float(numbers.mean())
    if len(numbers) == 1:
        return Interval(mean, 0.0, 1.0)
    if np.ptp(numbers) < _ALIKE or np.isin(numbers, (0, 1)).all():
        return _estimate_by_wilson(mean, len(numbers))
    return _estimate_by_resampling(numbers, mean)


def _estimate_by_wilson(mean: float, n: int) -> Interval:
    """For values between 0 and 1, too: none with this mean scatter more than zeros and ones do."""
    z = _NORMAL.inv_cdf(1 - _TAIL)
    centre = (mean + z * z / (2 * n)) / (1 + z * z / n)
    reach = z / (1 + z * z / n) * sqrt(mean * (1 - mean) / n + z * z / (4 * n * n))
    # The formula is exact where all are wrong or all are right; floating-point numbers are not.
    return Interval(
        mean, 0.0 if mean == 0 else max(0.0, centre - reach), 1.0 if mean == 1 else min(1.0, centre + reach)
    )


def _estimate_by_resampling(values: NDArray[np.float64], mean: float) -> Interval:
    means = _resample(values)
    # Bias: how far the middle of the resampled means is from the mean; ties count half.
    below = (np.count_nonzero(means < mean) + np.count_nonzero(means == mean) / 2) / _RESAMPLES
    bias = _NORMAL.inv_cdf(min(max(below, 1 / _RESAMPLES), 1 - 1 / _RESAMPLES))
    # Acceleration: the skewness of the mean, for which leaving out each value in turn has a closed form.
    deviations = values - mean
    skew = float((deviations**3).sum() / (6 * (deviations**2).sum() ** 1.5))
    low, high = (_adjust(_NORMAL.inv_cdf(tail), bias, skew) for tail in (_TAIL, 1 - _TAIL))
    return Interval(mean, *(float(bound) for bound in np.quantile(means, (low, high))))


def _resample(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Means of as many values, drawn with replacement.

    As shares have few distinct values, what is drawn is how often each of these comes: 1 ms for 300 questions.
    """
    distinct, counts = np.unique(values, return_counts=True)
    drawn = np.random.default_rng(_SEED).multinomial(len(values), counts / len(values), size=_RESAMPLES)
    means: NDArray[np.float64] = drawn @ distinct / len(values)
    return means


def _adjust(z: float, bias: float, skew: float) -> float:
    shifted = bias + z
    return _NORMAL.cdf(bias + shifted / (1 - skew * shifted))
