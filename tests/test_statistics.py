"""Confidence intervals of means: known values, honest extremes, and that they hold the truth as often as they say."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.evaluation.statistics import Interval, mean_interval


@pytest.mark.parametrize(
    ("right", "wrong", "low", "high"),
    [(90, 10, 0.8256, 0.9448), (10, 0, 0.7225, 1.0), (0, 10, 0.0, 0.2775), (1, 1, 0.0945, 0.9055)],
)
def test_right_or_wrong_is_wilsons_interval(right: int, wrong: int, low: float, high: float) -> None:
    """The textbook's figures, also where all are right or all are wrong."""
    interval = mean_interval([1.0] * right + [0.0] * wrong)
    assert interval == pytest.approx((right / (right + wrong), low, high), abs=5e-5)


@pytest.mark.parametrize("value", [0.0, 0.4, 1.0])
def test_one_value_says_nothing(value: float) -> None:
    """The interval of a single value is the whole range."""
    assert mean_interval([value]) == Interval(value, 0.0, 1.0)


def test_no_values() -> None:
    """There is no mean of nothing."""
    with pytest.raises(ValueError, match="nothing"):
        mean_interval([])


def test_equal_values_are_not_certainty() -> None:
    """Three halves do not prove that the next one is a half; more of them narrow it down."""
    few, many = mean_interval([0.5] * 3), mean_interval([0.5] * 300)
    assert few.low < 0.2 < 0.8 < few.high
    assert many.high - many.low < 0.12


def test_the_same_every_time() -> None:
    """Resampling is seeded: equal values, in any order, have equal intervals."""
    values = [0.0, 0.25, 0.5, 1.0, 1.0, 1.0]
    assert mean_interval(values) == mean_interval(values[::-1]) != mean_interval([*values, 1.0])


def test_resampled_intervals_are_as_wide_as_the_textbooks() -> None:
    """For many values the interval is the one of the normal approximation."""
    values = [0.0, 0.5, 0.5, 1.0] * 100
    half = 1.96 * float(np.std(values)) / np.sqrt(400)
    assert mean_interval(values) == pytest.approx((0.5, 0.5 - half, 0.5 + half), abs=0.003)


@pytest.mark.parametrize(
    ("values", "low", "high"),
    [([1.0] * 27 + [0.5, 0.5, 0.0], 0.8, 0.9833), ([1.0] * 270 + [0.5] * 20 + [0.0] * 10, 0.905, 0.9533)],
)
def test_a_long_tail_is_on_its_side(values: list[float], low: float, high: float) -> None:
    """Where most are right, the mean may well be lower and hardly higher; the figures are those of SciPy's BCa."""
    assert mean_interval(values) == pytest.approx((0.9333, low, high), abs=0.002)


@pytest.mark.parametrize(
    ("chances", "size"), [((0.05, 0.1, 0.85), 20), ((0.01, 0.02, 0.97), 50), ((0.3, 0.3, 0.4), 100)]
)
def test_intervals_hold_the_truth(chances: tuple[float, float, float], size: int) -> None:
    """For nine in ten drawn sets at the least; 95 of 100 are meant."""
    draw = np.random.default_rng(11)
    drawn = [mean_interval(list(draw.choice((0.0, 0.5, 1.0), size, p=chances))) for _ in range(200)]
    truth = chances[1] / 2 + chances[2]
    assert sum(low <= truth <= high for _, low, high in drawn) >= 180


@settings(deadline=None, derandomize=True, max_examples=200)
@given(st.lists(st.floats(0, 1) | st.sampled_from([0.0, 0.5, 1.0]), min_size=1, max_size=40))
def test_intervals_stay_in_range(values: list[float]) -> None:
    """Any values have an interval within the range, around their mean but for rounding."""
    mean, low, high = mean_interval(values)
    assert 0 <= low <= mean + 1e-9
    assert mean - 1e-9 <= high <= 1
