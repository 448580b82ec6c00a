"""All that an evaluation found, as plain data."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from proxy.evaluation.asking import Isolation
from proxy.evaluation.digression import Digression
from proxy.evaluation.examination import Scores
from proxy.evaluation.replay import Replay
from proxy.evaluation.statistics import Interval
from proxy.evaluation.strangers import Relevance
from proxy.evaluation.timing import Spread, Timing
from proxy.reporting.charts import Sample

# What is there to be drawn, and no figure of its own.
_DRAWN: Final = ("ranks", "samples")


@dataclass(frozen=True, slots=True)
class Report:
    """What was found. *left_out* counts questions without evidence.

    *types* are summed up in *overall*; those *apart* are not. *recall_ms* and *cpu_ms* are of each question asked, to
    the block of the first budget. What follows *curves* is None in a quick run, and where the data has no case of it.

    *ranks* count pieces of evidence by their place among the first hundred, 0 for those that are not there; *samples*
    are times of recalls in milliseconds, by what was recalled from.
    """

    users: int
    memories: int
    left_out: int
    overall: Scores
    types: dict[str, Scores]
    apart: dict[str, Scores]
    recall_ms: Spread
    cpu_ms: Spread
    relevance: Relevance
    curves: dict[str, dict[int, Interval]]
    isolation: Isolation | None = None
    replays: dict[str, Replay] | None = None
    digressions: dict[str, Digression] | None = None
    timing: Timing | None = None
    ranks: Mapping[int, int] = field(default_factory=dict)
    samples: Mapping[str, Sample] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """For JSON. Scores have their means and, beside them, their intervals."""
        named = {
            "overall": self.overall.to_dict(),
            "types": {name: scores.to_dict() for name, scores in self.types.items()},
            "apart": {name: scores.to_dict() for name, scores in self.apart.items()},
        }
        rest = {name: _spell_out(value) for name, value in asdict(self).items() if name not in (*named, *_DRAWN)}
        return {**rest, **named}


def _spell_out(value: Any) -> Any:
    """*value* with every interval as an object, whose numbers have names."""
    if isinstance(value, Interval):
        return value._asdict()
    return {key: _spell_out(entry) for key, entry in value.items()} if isinstance(value, dict) else value
