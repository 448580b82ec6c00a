"""What the two arms came to, and what memory makes of a difference."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from proxy.experiment.arms import Arm, Experiment
from proxy.experiment.groups import Ratio, differ, find_ratio


class Measure(NamedTuple):
    """The columns of whose sums it is the ratio. *over*: the column of how many it is over, if not *below* itself.
    *is_share*: *above* counts some of what *below* counts.
    """

    above: str
    below: str
    over: str = ""
    is_share: bool = False


MEASURES: Final[Mapping[str, Measure]] = {
    "prompt_tokens": Measure("prompt_tokens", "reported"),
    "cached_share": Measure("cached_tokens", "cacheable_tokens", "cacheable"),
    "completion_tokens": Measure("completion_tokens", "reported"),
    "first_token_seconds": Measure("waited_s", "answered"),
    "block_tokens": Measure("block_tokens", "turns"),
    "block_share": Measure("blocks", "turns", is_share=True),
    "correction_share": Measure("corrections", "followups", is_share=True),
}


def describe(experiment: Experiment) -> dict[str, Any]:
    """For people and programs: what was measured of each arm, and the differences, memory − holdout, with 95 %
    intervals. What nothing was seen of, or what too little was seen of for an interval, is None.
    """
    arms = {"memory": experiment.memory, "holdout": experiment.holdout}
    return {
        "since": experiment.since,
        "arms": {name: _describe_arm(arm) for name, arm in arms.items()},
        "differences": {name: _compare(measure, experiment) for name, measure in MEASURES.items()},
    }


def _describe_arm(arm: Arm) -> dict[str, Any]:
    told: dict[str, Any] = {"requests": round(sum(arm.column("turns"))), "users": arm.users.count()}
    for name, measure in MEASURES.items():
        above, below = sum(arm.column(measure.above)), sum(arm.column(measure.below))
        told[name] = {
            "value": above / below if below else None,
            "n": round(sum(arm.column(measure.over or measure.below))),
        }
    told["first_token_seconds"]["p50"] = arm.median_wait()
    return told


def _compare(measure: Measure, experiment: Experiment) -> dict[str, float] | None:
    one, other = _estimate(measure, experiment.memory), _estimate(measure, experiment.holdout)
    return None if one is None or other is None else differ(one, other)._asdict()


def _estimate(measure: Measure, arm: Arm) -> Ratio | None:
    return find_ratio(arm.column(measure.above), arm.column(measure.below), is_share=measure.is_share)
