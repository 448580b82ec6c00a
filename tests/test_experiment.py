"""Who is in which arm, what is counted of them, and how sure a difference between them is."""

import math
from collections import Counter
from itertools import pairwise

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from proxy.experiment.arms import COLUMNS, GROUPS, Arm, Draw, Experiment, Place
from proxy.experiment.census import Census
from proxy.experiment.groups import FEWEST, Interval, Ratio, differ, find_quantile, find_ratio
from proxy.experiment.report import MEASURES, describe
from proxy.models import Scope, Usage

Floats = NDArray[np.float64]
USERS = [Scope(f"user-{number}") for number in range(20_000)]


def held(percent: float) -> set[str]:
    draw = Draw(percent)
    return {scope.user_id for scope in USERS if draw.place(scope).held_out}


@pytest.mark.parametrize("percent", [0.0, 0.5, 5.0, 50.0, 95.0, 100.0])
def test_as_many_are_held_out_as_was_said(percent: float) -> None:
    """The share is right within what chance does to 20,000 users, and exactly right at its ends."""
    share = len(held(percent)) / len(USERS)
    reach = 4 * math.sqrt(percent / 100 * (1 - percent / 100) / len(USERS))
    assert share == pytest.approx(percent / 100, abs=reach)


def test_users_move_in_one_direction() -> None:
    """Who is held out stays so when more are, and everybody is where they were after a restart."""
    shares = [held(percent) for percent in (0, 1, 5, 5, 20, 60, 100)]
    assert all(less <= more for less, more in pairwise(shares))
    assert shares[2] == shares[3]


def test_a_place_is_the_same_everywhere() -> None:
    """In every process and in every version: else users would change sides with an update."""
    assert Draw(50).place(Scope("ada")) == Place(True, 40, 130285266221999056)
    assert Draw(50).place(Scope("ada", "acme")) == Place(False, 27, 84131573511691521)


def test_the_arm_is_independent_of_all_else() -> None:
    """Of the groups, of the first digits of the key, which shards go by, and of the tenant."""
    draw = Draw(50)
    places = [draw.place(scope) for scope in USERS]
    for kind in (
        Counter((place.group, place.held_out) for place in places),
        Counter((int(scope.key[:2], 16) % 64, place.held_out) for scope, place in zip(USERS, places, strict=True)),
    ):
        expected = len(USERS) / 128
        chi_square = sum((kind[group, arm] - expected) ** 2 / expected for group in range(64) for arm in (True, False))
        assert chi_square < 210  # of 127 degrees of freedom: once in 100,000 experiments by chance
    other = [draw.place(Scope(scope.user_id, "acme")).held_out for scope in USERS]
    alike = sum(place.held_out == there for place, there in zip(places, other, strict=True))
    assert alike == pytest.approx(len(USERS) / 2, abs=4 * math.sqrt(len(USERS)) / 2)


@pytest.mark.parametrize("size", [0, 1, 10, 300, 3000, 20_000])
def test_users_are_counted_once(size: int) -> None:
    """However often they come, to 7 %, which is three standard errors; a few of them nearly exactly."""
    census, draw = Census(), Draw(0)
    for scope in USERS[:size]:
        for _ in range(3):
            census.add(draw.place(scope).mark)
    assert census.count() == pytest.approx(size, rel=0.07 if size > 300 else 0.02)


def test_an_arm_adds_up() -> None:
    """Every column has what was noted, in the group of its user."""
    arm, place = Arm(), Place(False, 5, 77)
    arm.note_turn(place, 120, None)
    arm.note_turn(place, 0, True)
    arm.note_turn(place, 0, False)
    arm.note_answer(place, Usage(1000, 50, 800), 0.25)
    arm.note_answer(place, Usage(500, 10), None)
    arm.note_answer(place, None, None)
    expected = {
        "turns": 3, "blocks": 1, "block_tokens": 120, "followups": 2, "corrections": 1, "reported": 2,
        "prompt_tokens": 1500, "completion_tokens": 60, "cacheable": 1, "cacheable_tokens": 1000,
        "cached_tokens": 800, "answered": 1, "waited_s": 0.25,
    }  # fmt: skip
    assert {name: arm.column(name)[5] for name in COLUMNS} == expected
    assert {name: sum(arm.column(name)) for name in COLUMNS} == expected
    assert arm.users.count() == 1


@pytest.mark.parametrize("seconds", [1e-9, 0.0001, 0.0123, 0.4, 7.0, 800.0, 1e9])
def test_the_middle_of_waiting(seconds: float) -> None:
    """Half of the answers began sooner: to 3 %, between a tenth of a millisecond and a quarter of an hour."""
    arm, place = Arm(), Place(False, 0, 0)
    assert arm.median_wait() is None
    for value in (1e-6, seconds, 1e8):
        arm.note_answer(place, None, value)
    assert arm.median_wait() == pytest.approx(min(max(seconds, 1e-4), 888.0), rel=0.035)


def fill(experiment: Experiment, seed: int) -> Experiment:
    """Some turns of some users."""
    random = np.random.default_rng(seed)
    draw = Draw(40)
    for number in random.integers(0, 500, 2000):
        place = draw.place(USERS[number])
        arm = experiment.arm(place)
        arm.note_turn(place, int(random.integers(0, 2)) * 100, bool(random.integers(0, 2)))
        arm.note_answer(place, Usage(int(random.integers(1, 1000)), 7, 1), float(random.exponential()))
    return experiment


def test_processes_are_added() -> None:
    """One that has seen everything tells what two have seen that share it, however they send it to each other."""
    whole = fill(fill(Experiment(), 1), 2)
    one, other = fill(Experiment(), 1), fill(Experiment(), 2)
    sent = msgspec.json.decode(msgspec.json.encode(other.to_builtins()))
    one.merge(Experiment.from_builtins(sent))
    for mine, theirs in ((one.memory, whole.memory), (one.holdout, whole.holdout)):
        assert (mine.waits, mine.users) == (theirs.waits, theirs.users)
        assert mine.sums == pytest.approx(theirs.sums)
    told, expected = describe(one), describe(whole)
    for name, difference in told["differences"].items():
        assert difference == pytest.approx(expected["differences"][name])
    with pytest.raises(ValueError, match="shorter"):
        one.merge(Experiment(memory=Arm(sums=[0.0])))


def test_memory_is_constant() -> None:
    """Whatever there was to count, an accumulator is as large as before."""
    filled = fill(Experiment(), 3)
    assert len(filled.memory.sums) == GROUPS * len(COLUMNS)
    assert len(msgspec.msgpack.encode(filled)) < 40_000


@pytest.mark.parametrize(
    ("freedom", "expected"), [(7, 2.3646), (8, 2.3060), (10, 2.2281), (20, 2.0860), (63, 1.9983), (1e9, 1.9600)]
)
def test_quantiles(freedom: float, expected: float) -> None:
    """Those of the tables."""
    assert find_quantile(freedom) == pytest.approx(expected, abs=3e-4)


def test_equal_groups_are_textbook() -> None:
    """Where every group has as many, the variance is that of the mean of the groups' means."""
    means = np.random.default_rng(7).normal(10, 2, 64)
    ratio = find_ratio(list(means * 20), [20.0] * 64)
    assert ratio is not None
    assert ratio.value == pytest.approx(means.mean())
    assert ratio.variance == pytest.approx(means.var(ddof=1) / 64)


def test_too_little_tells_nothing() -> None:
    """With fewer than eight groups there is no interval; empty ones do not count."""
    assert find_ratio([1.0] * (FEWEST - 1) + [0.0] * 57, [1.0] * (FEWEST - 1) + [0.0] * 57) is None
    ratio = find_ratio([1.0] * FEWEST + [0.0] * 56, [1.0] * FEWEST + [0.0] * 56)
    assert ratio == Ratio(1.0, 0.0, FEWEST)
    assert differ(ratio, ratio) == Interval(0.0, 0.0, 0.0)


def test_nothing_seen_yet_is_no_proof() -> None:
    """That none of 80 complained does not say that nobody ever will: Agresti & Coull's interval, about."""
    none = find_ratio([0.0] * 64, [1.25] * 64, is_share=True)
    assert none is not None
    _, low, high = differ(none, none)
    assert low == -high
    assert high == pytest.approx(0.047, abs=0.005)


class Crowd:
    """Users of whom some write much more than others, and whose requests are alike."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)

    def requests(self, users: int, level: float) -> tuple[Floats, Floats]:
        """Of each request its user's group and its value; their mean over all requests is *level*, before chance."""
        counts = np.maximum(1, self.random.lognormal(1.0, 0.8, users).astype(int))
        owners = np.repeat(np.arange(users), counts)
        own = self.random.normal(0.0, 20.0, users)
        values = level + own[owners] + self.random.normal(0.0, 10.0, len(owners))
        return self.random.integers(0, GROUPS, users)[owners].astype(np.float64), values


def add_up(groups: Floats, values: Floats) -> Ratio | None:
    places = groups.astype(int)
    sums = np.bincount(places, values, GROUPS)
    return find_ratio(list(sums), list(np.bincount(places, minlength=GROUPS).astype(np.float64)))


@pytest.mark.parametrize(("one", "other"), [(900, 100), (2000, 2000), (60, 20)])
def test_intervals_hold_the_truth(one: int, other: int) -> None:
    """In 95 of 100 experiments, though users differ in how much they write, and in 93 with twenty of them in an arm.

    Intervals from single requests, as if these were independent, do not: far too many experiments would "find"
    something.
    """
    crowd = Crowd(seed=one)
    runs, held_truth, naive_held = 1000, 0, 0
    for _ in range(runs):
        (groups, values), (other_groups, other_values) = crowd.requests(one, 105.0), crowd.requests(other, 100.0)
        first, second = add_up(groups, values), add_up(other_groups, other_values)
        assert first is not None
        assert second is not None
        _, low, high = differ(first, second)
        held_truth += low <= 5.0 <= high
        reach = 1.96 * math.sqrt(values.var() / len(values) + other_values.var() / len(other_values))
        naive_held += abs(values.mean() - other_values.mean() - 5.0) <= reach
    assert 0.92 <= held_truth / runs <= 0.97
    assert naive_held / runs < 0.8


def test_shares_hold_the_truth() -> None:
    """Where some users always complain and most never do."""
    crowd, runs, held_truth = Crowd(seed=5), 1000, 0
    for _ in range(runs):
        ratios = []
        for users in (800, 200):
            counts = np.maximum(1, crowd.random.lognormal(1.0, 0.8, users).astype(int))
            complaints = crowd.random.binomial(counts, crowd.random.beta(0.5, 9.5, users))
            groups = crowd.random.integers(0, GROUPS, users)
            sums = [np.bincount(groups, column, GROUPS) for column in (complaints, counts)]
            ratio = find_ratio(list(sums[0]), list(sums[1]), is_share=True)
            assert ratio is not None
            ratios.append(ratio)
        _, low, high = differ(ratios[0], ratios[1])
        held_truth += low <= 0.0 <= high
    assert 0.93 <= held_truth / runs <= 0.98


def test_a_report_of_nothing() -> None:
    """Before the first chat everything is told of, and nothing is known."""
    told = describe(Experiment())
    for arm in told["arms"].values():
        assert (arm["requests"], arm["users"]) == (0, 0)
        assert all(arm[name]["value"] is None and arm[name]["n"] == 0 for name in MEASURES)
    assert told["differences"] == dict.fromkeys(MEASURES)


def test_a_report() -> None:
    """Means of each arm, and what memory makes of a difference: 100 tokens more, and 50 in 100 of them cached less."""
    experiment, draw = Experiment(), Draw(50)
    for number, scope in enumerate(USERS[:400]):
        place = draw.place(scope)
        more = 0 if place.held_out else 100
        arm = experiment.arm(place)
        arm.note_turn(place, more, corrects=place.held_out and number % 4 == 0)
        usage = Usage(900 + more + number % 7, 50, 450 if more else 900)
        arm.note_answer(place, usage, 0.5 + more / 1000)
    told = describe(experiment)
    memory, holdout = told["arms"]["memory"], told["arms"]["holdout"]
    assert memory["requests"] + holdout["requests"] == 400
    assert memory["users"] == pytest.approx(memory["requests"], rel=0.03)
    assert memory["prompt_tokens"]["value"] == pytest.approx(1003, abs=1)
    assert (memory["block_share"]["value"], holdout["block_share"]["value"]) == (1.0, 0.0)
    assert holdout["first_token_seconds"]["p50"] == pytest.approx(0.5, rel=0.035)
    differences = told["differences"]
    assert differences["prompt_tokens"]["low"] < 100 < differences["prompt_tokens"]["high"]
    assert differences["prompt_tokens"]["high"] - differences["prompt_tokens"]["low"] < 2
    assert differences["first_token_seconds"]["value"] == pytest.approx(0.1)
    assert differences["cached_share"]["value"] == pytest.approx(450 / 1003 - 900 / 903, abs=0.002)
    assert differences["cached_share"]["high"] < 0
    assert differences["correction_share"]["high"] < 0
