"""How sure a mean is where requests of one user are alike: from the variance between groups of users.

A user's requests are not independent of each other, so that an interval computed from single requests would be far too
narrow. Users are hashed into a fixed number of groups, which are independent and as good as equal; a ratio of sums is
computed without each of them in turn, and its variance is the jackknife's over these (Wolter, Introduction to Variance
Estimation, 2nd ed. 2007, chapter 4; Kott, The Delete-a-Group Jackknife, Journal of Official Statistics 17, 2001). What
it needs is one pair of sums a group, whatever the number of users.
"""

import math
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np

# With fewer groups that have anything in them a variance is anybody's guess.
FEWEST: Final = 8
_Z: Final = 1.959963984540054  # of the normal distribution, for 95 %


class Ratio(NamedTuple):
    """A ratio of sums over so many groups, and how much chance moves it."""

    value: float
    variance: float
    groups: int


class Interval(NamedTuple):
    """A difference, and between what it would lie for 95 of 100 experiments of the same kind."""

    value: float
    low: float
    high: float


def find_ratio(above: Sequence[float], below: Sequence[float], *, is_share: bool = False) -> Ratio | None:
    """The sum of *above* by that of *below*, each a number a group; None where too few groups have anything.

    Of a share, *above* counts some of what *below* counts. Its variance is at least what independent answers would
    have, of which two more of each kind were seen (Agresti & Coull 1998): that nothing has happened yet is no proof.
    """
    tops, bottoms = np.asarray(above, np.float64), np.asarray(below, np.float64)
    tops, bottoms = tops[bottoms > 0], bottoms[bottoms > 0]
    groups = len(bottoms)
    if groups < FEWEST:
        return None
    top, bottom = float(tops.sum()), float(bottoms.sum())
    without = (top - tops) / (bottom - bottoms)
    variance = float(((without - without.mean()) ** 2).sum()) * (groups - 1) / groups
    if is_share:
        guess = (top + 2) / (bottom + 4)
        variance = max(variance, guess * (1 - guess) / (bottom + 4))
    return Ratio(top / bottom, variance, groups)


def differ(one: Ratio, other: Ratio) -> Interval:
    """*one* − *other*, of independent users, with its 95 % confidence interval.

    By Student's quantile; degrees of freedom, groups less one each, are put together by Welch and Satterthwaite.
    """
    variance = one.variance + other.variance
    value = one.value - other.value
    if variance == 0:
        return Interval(value, value, value)
    spread = one.variance**2 / (one.groups - 1) + other.variance**2 / (other.groups - 1)
    reach = find_quantile(variance**2 / spread) * math.sqrt(variance)
    return Interval(value, value - reach, value + reach)


def find_quantile(freedom: float) -> float:
    """Student's t for a two-sided 95 %, by its expansion around the normal one (Abramowitz & Stegun 26.7.5).

    Right to 0.0003 from seven degrees of freedom on.
    """
    z, v = _Z, freedom
    return (
        z
        + (z**3 + z) / (4 * v)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * v**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * v**3)
        + (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / (92160 * v**4)
    )
