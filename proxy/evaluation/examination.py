"""Questions with known answers: how much of the evidence, and of the answer itself, is inside a block."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from proxy.evaluation.asking import DEFAULT_BUDGET, Asker
from proxy.evaluation.dataset import Position, Question
from proxy.evaluation.statistics import Interval, mean_interval
from proxy.models import Memory
from proxy.recall.composing import Block
from proxy.text import words

BUDGETS: Final = (500, 1000, 2000)
# Types of questions about what has changed since it was first said.
UPDATES: Final = frozenset({"knowledge-update", "knowledge_update"})
_FIRST: Final = 10
# As far as it is looked at where in the ranking a piece of evidence stands.
RANKED: Final = 100


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one question; the mappings are by budget.

    *answer*: the share of the answer's words that are in the block, of those that the evidence has at all; None where
    it has none of them. A message counts as found however little of it is shown: this tells how much that is worth.
    *newest*: for an update, whether the newest evidence is in the block of the default budget, behind all older one.
    *ranks*: where each piece of evidence is in the ranking, from 1 on; 0 for what is not among the first hundred.
    """

    first: float
    share: dict[int, float]
    answer: dict[int, float | None]
    tokens: dict[int, int]
    newest: float | None = None
    ranks: Sequence[int] = ()


@dataclass(frozen=True, slots=True)
class Scores:
    """Means over questions, with their intervals; None where no question has such a value."""

    questions: int
    recall_at_10: Interval
    share: dict[int, Interval]
    answer: dict[int, Interval | None]
    tokens: dict[int, float]
    newest: Interval | None

    def to_dict(self) -> dict[str, Any]:
        """Means under the plain names; ``intervals`` has their bounds."""
        measured: dict[str, Any] = {
            "recall_at_10": self.recall_at_10,
            "share": self.share,
            "answer_words": self.answer,
            "newest_statement": self.newest,
        }
        means = {name: _map_intervals(value, lambda interval: interval.mean) for name, value in measured.items()}
        bounds = {name: _map_intervals(value, lambda interval: interval[1:]) for name, value in measured.items()}
        return {"questions": self.questions, **means, "block_tokens": self.tokens, "intervals": bounds}


def _map_intervals(value: Any, read: Callable[[Interval], Any]) -> Any:
    if isinstance(value, Mapping):
        return {key: _map_intervals(entry, read) for key, entry in value.items()}
    return None if value is None else read(value)


@dataclass(slots=True)
class Examination:
    """Asks questions and keeps the outcomes, by type. Blocks are made for *budgets* and for the default one."""

    budgets: Sequence[int]
    outcomes: dict[str, list[Outcome]] = field(default_factory=dict)
    wall_s: list[float] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)

    def ask(self, asker: Asker, question: Question, said: Mapping[Position, Memory]) -> None:
        """Ask *question*, whose evidence is looked up in *said*: all that the user said, in order."""
        wall, cpu = time.perf_counter(), time.process_time()
        query = asker.make_query(question.question, question.asked_at)
        blocks = {self.budgets[0]: asker.find(query, self.budgets[0])}
        self.wall_s.append(time.perf_counter() - wall)
        self.cpu_s.append(time.process_time() - cpu)
        blocks |= {budget: asker.find(query, budget) for budget in {*self.budgets, DEFAULT_BUDGET} - blocks.keys()}
        outcome = _judge(question, blocks, asker.rank(query, RANKED), said)
        self.outcomes.setdefault(question.type, []).append(outcome)


def _judge(
    question: Question, blocks: Mapping[int, Block | None], best: Sequence[Memory], said: Mapping[Position, Memory]
) -> Outcome:
    evidence = set(question.evidence)
    places = {locate(memory): rank for rank, memory in enumerate(best, start=1)}
    asked = set(words(question.answer)) & {word for place in evidence for word in words(said[place].text)}
    return Outcome(
        first=measure_share(evidence, best[:_FIRST]),
        share={budget: measure_share(evidence, block.memories if block else ()) for budget, block in blocks.items()},
        answer={budget: _share_words(asked, block) for budget, block in blocks.items()},
        tokens={budget: block.tokens if block else 0 for budget, block in blocks.items()},
        newest=_find_newest(evidence, blocks[DEFAULT_BUDGET], said) if question.type in UPDATES else None,
        ranks=[places.get(place, 0) for place in evidence],
    )


def measure_share(evidence: set[Position], found: Iterable[Memory]) -> float:
    """The part of *evidence* that is among *found*."""
    return len(evidence & set(map(locate, found))) / len(evidence)


def locate(memory: Memory) -> Position:
    """Which message of which conversation it is."""
    return memory.conversation_id, memory.message_index


def _share_words(asked: set[str], block: Block | None) -> float | None:
    if not asked:
        return None
    return len(asked.intersection(words(block.text))) / len(asked) if block else 0.0


def _find_newest(evidence: set[Position], block: Block | None, said: Mapping[Position, Memory]) -> float:
    """1 where the newest evidence is the last one that *block* shows, else 0; of equal dates what is said later."""
    order = {place: number for number, place in enumerate(said)}
    newest = max(evidence, key=lambda place: (said[place].created_at, order[place]))
    shown = [place for memory in (block.memories if block else ()) if (place := locate(memory)) in evidence]
    return float(bool(shown) and shown[-1] == newest)


def summarise(outcomes: Sequence[Outcome], budgets: Sequence[int]) -> Scores:
    """Means of *outcomes*, of which there is at least one."""
    return Scores(
        questions=len(outcomes),
        recall_at_10=mean_interval([outcome.first for outcome in outcomes]),
        share=make_curve(outcomes, budgets),
        answer={budget: _mean_known([outcome.answer[budget] for outcome in outcomes]) for budget in budgets},
        tokens={budget: float(np.mean([outcome.tokens[budget] for outcome in outcomes])) for budget in budgets},
        newest=_mean_known([outcome.newest for outcome in outcomes]),
    )


def make_curve(outcomes: Sequence[Outcome], budgets: Sequence[int]) -> dict[int, Interval]:
    """The share of evidence by budget."""
    return {budget: mean_interval([outcome.share[budget] for outcome in outcomes]) for budget in budgets}


def _mean_known(values: Sequence[float | None]) -> Interval | None:
    known = [value for value in values if value is not None]
    return mean_interval(known) if known else None
