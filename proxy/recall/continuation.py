"""What a conversation is given next: the same as before, unless something that matters is missing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import log, log2
from typing import Final, Literal, NamedTuple

from proxy.models import Message, Scope
from proxy.recall.block import age
from proxy.recall.composing import Block, Composer, Sheet
from proxy.recall.ranking import Ranked
from proxy.recall.sticky import FORGOTTEN_S, Given, Talk, chain
from proxy.workingset import WorkingSet

Placement = Literal["system", "tail"]

# What a change of a block is for: that one of the question's best memories is not in it. Whether that matters enough
# is judged by the closest one's cosine, plus this much of the part of the best ones' scores that is missing …
_MISSING: Final = 0.2
# … less this much of the logarithm of the question's words, since a long message is a little like everything. Fitted on
# conversations of LongMemEval and BEAM held again: with this bar 15 % of ordinary turns change the block, and 90 % of
# those that come out of the blue and whose evidence is missing; without the length it would be 24 % for as many.
_LENGTH: Final = 0.22
_MATERIAL: Final = 0.0
# The longer the history behind a block, the more a change costs: so much higher is the bar with each doubling, from so
# many tokens on.
_DOUBLING: Final = 0.03
_SHORT_HISTORY: Final = 4000
# Without vectors: that most of the best is missing, of a question surely for memory.
_MOST_MISSING: Final = 0.5
_SURE: Final = 0.1
# Where a further block disturbs nothing that is cached, less of a reason will do.
_TAIL_EASE: Final = 0.2
# How many memories are the best ones.
_BEST: Final = 5
# Of its budget, what a conversation's second and later blocks at its tail may have; and what all of them may have
# together, or of all that is said.
_TAIL_PART: Final = 1 / 2
_TAIL_WHOLE: Final = 2
_TAIL_SHARE: Final = 1 / 8
# What was found too late for its own question may take so much from the next one.
_LATE_PART: Final = 1 / 2


@dataclass(frozen=True)
class Point:
    """Where a conversation is: at the last of the user's messages in *dialogue*. *at*: the loop's time."""

    scope: Scope
    dialogue: Sequence[Message]
    budget_tokens: int
    at: float
    conversation_id: str | None = None
    talk: Talk = field(default_factory=Talk)

    @cached_property
    def prefixes(self) -> list[int]:
        """A number for the conversation up to each message, the last one of which is the user's."""
        last = max(place for place, message in enumerate(self.dialogue) if message.role == "user")
        return chain(self.scope, self.dialogue[: last + 1], self.conversation_id)

    @property
    def prefix(self) -> int:
        return self.prefixes[-1]

    @cached_property
    def visible(self) -> set[str]:
        """What the request says itself."""
        return {message.text.strip() for message in self.dialogue}

    @cached_property
    def history_tokens(self) -> int:
        """About how long the request is without the last message."""
        return sum(len(message.text) for message in self.dialogue[:-1]) // 4

    @property
    def has_history(self) -> bool:
        """Whether this is not the first that is said, so that a provider may have seen the beginning before."""
        return len(self.prefixes) > 1


class Continuation:
    """Continues conversations, with blocks of *composer*'s in one *placement*."""

    def __init__(self, composer: Composer, placement: Placement) -> None:
        self._composer = composer
        self._placement: Placement = placement

    def advance(self, point: Point, working_set: WorkingSet, ranked: Ranked, *, whole: bool = True) -> Talk:
        """What the conversation has from now on. Only a *whole* working set shows that a memory is gone."""
        talk = point.talk
        if whole and not all(_is_current(working_set, sheet) for sheet in (*talk.lines, talk.late)):
            talk = Talk()
        if self._placement == "tail" and point.has_history:
            return self._append(point, talk, working_set, ranked)
        if not talk.given or point.at - talk.at > FORGOTTEN_S or not point.has_history:
            return self._begin(point, talk, working_set, ranked)
        return self._amend(point, talk, working_set, ranked)

    def find_late(self, point: Point, working_set: WorkingSet, ranked: Ranked) -> Sheet:
        """What the conversation would have been given, had it been found in time."""
        given = point.talk.ids
        if point.talk.given and not _is_material(working_set, ranked, point, given):
            return ()
        budget = int(point.budget_tokens * _LATE_PART)
        return self._draft(point, working_set, ranked, budget, given)

    def render(self, point: Point, talk: Talk) -> tuple[Block | None, Mapping[int, str] | None]:
        """The block, and where it does not stand at the end of the instructions, what stands where."""
        if self._placement == "system":
            return talk.block, None
        places = {prefix: place for place, prefix in enumerate(point.prefixes)}
        blocks = {
            places[given.prefix]: composed[0]
            for given in talk.given
            if given.prefix in places
            and (composed := self._composer.compose([given.lines], point.budget_tokens)) is not None
        }
        if not blocks:
            return None, {}
        shown = [blocks[place] for place in sorted(blocks)]
        whole = Block(
            "\n".join(block.text for block in shown),
            sum(block.tokens for block in shown),
            [memory for block in shown for memory in block.memories],
            [score for block in shown for score in block.scores],
        )
        return whole, {place: block.text for place, block in blocks.items()}

    def _begin(self, point: Point, talk: Talk, working_set: WorkingSet, ranked: Ranked) -> Talk:
        """A new block, unless all of it has been given already."""
        late = _take_late(talk, set(), point.budget_tokens)
        fresh = self._draft(point, working_set, ranked, point.budget_tokens - _count(late), _ids(late))
        lines = tuple(sorted((*late, *fresh), key=age))
        if talk.given and _ids(lines) <= talk.ids:
            return talk._replace(late=(), at=point.at)
        return self._give(point, Talk(), lines)

    def _amend(self, point: Point, talk: Talk, working_set: WorkingSet, ranked: Ranked) -> Talk:
        """The block that there is, with what is missing behind it, or where that does not fit, a new one."""
        late = _take_late(talk, talk.ids, point.budget_tokens)
        given = talk.ids | _ids(late)
        more: Sheet = ()
        if _is_material(working_set, ranked, point, given):
            left = point.budget_tokens - sum(_count(sheet) for sheet in talk.lines) - _count(late)
            more = self._draft(point, working_set, ranked, left, given)
            if not _has_best(more, working_set, ranked, point, given):
                return self._begin(point, Talk(late=talk.late), working_set, ranked)
        return self._give(point, talk, tuple(sorted((*late, *more), key=age)))

    def _append(self, point: Point, talk: Talk, working_set: WorkingSet, ranked: Ranked) -> Talk:
        """A further block at the tail with what is missing. Earlier ones go where together they would be too many."""
        if any(given.prefix == point.prefix for given in talk.given):
            return talk._replace(at=point.at)
        # What came with messages that the client no longer sends is not there any more, either.
        talk = talk._replace(given=tuple(given for given in talk.given if given.prefix in point.prefixes))
        given = talk.ids
        late = _take_late(talk, given, point.budget_tokens)
        more: Sheet = ()
        if not given or _is_material(working_set, ranked, point, given, _TAIL_EASE):
            budget = int(point.budget_tokens * (_TAIL_PART if given else 1)) - _count(late)
            more = self._draft(point, working_set, ranked, budget, given | _ids(late))
        talk = self._give(point, talk, tuple(sorted((*late, *more), key=age)))
        most = max(_TAIL_WHOLE * point.budget_tokens, int(_TAIL_SHARE * point.history_tokens))
        if sum(_count(one.lines) for one in talk.given) > most:
            # Half of them at once: one with each turn would change the beginning with each turn.
            return talk._replace(given=talk.given[(len(talk.given) + 1) // 2 :])
        return talk

    def _give(self, point: Point, talk: Talk, lines: Sheet) -> Talk:
        """*talk* with *lines* behind what it has, as many of them as fit."""
        if not lines:
            return talk._replace(late=(), at=point.at)
        earlier = talk.lines if self._placement == "system" else []
        composed = self._composer.compose([*earlier, lines], point.budget_tokens)
        if composed is None or len(composed[1]) == len(earlier):
            return talk._replace(late=(), at=point.at)
        block, sheets = composed
        given = (*talk.given, Given(point.prefix, sheets[-1]))
        return Talk(given, (), point.at, block if self._placement == "system" else None)

    def _draft(
        self, point: Point, working_set: WorkingSet, ranked: Ranked, budget_tokens: int, given: set[str]
    ) -> Sheet:
        return self._composer.draft(
            working_set, ranked, budget_tokens=budget_tokens, visible=point.visible, given=given
        )


def _is_current(working_set: WorkingSet, sheet: Sheet) -> bool:
    """Whether nothing of *sheet* has been erased, changed or superseded meanwhile."""
    return all(
        line.memory.id in working_set and working_set.memories[working_set.row(line.memory.id)] == line.memory
        for line in sheet
    )


class _Best(NamedTuple):
    id: str
    score: float
    cosine: float


def _list_best(working_set: WorkingSet, ranked: Ranked, point: Point) -> list[_Best]:
    """The memories that answer best, but for what the request says itself."""
    best = []
    for row, *values in zip(ranked.rows.tolist(), ranked.scores.tolist(), ranked.cosines.tolist(), strict=True):
        memory = working_set.memories[row]
        if memory.superseded_by is None and memory.text.strip() not in point.visible:
            best.append(_Best(memory.id, *values))
            if len(best) == _BEST:
                break
    return best


def _is_material(working_set: WorkingSet, ranked: Ranked, point: Point, given: set[str], ease: float = 0.0) -> bool:
    """Whether what is not *given* yet is worth a change; *ease* makes it easier."""
    if not ranked or ranked.relevance < 0:
        return False
    best = _list_best(working_set, ranked, point)
    missed = [memory for memory in best if memory.id not in given]
    if not missed:
        return False
    part = sum(memory.score for memory in missed) / sum(memory.score for memory in best)
    closest = max(memory.cosine for memory in missed)
    if not closest:
        return part >= _MOST_MISSING - ease and ranked.relevance >= _SURE - ease
    bar = _MATERIAL + _LENGTH * log(len(ranked.words) + 1) - ease
    if not ease:
        bar += _DOUBLING * max(0.0, log2(point.history_tokens / _SHORT_HISTORY)) if point.history_tokens else 0.0
    return closest + _MISSING * part >= bar


def _has_best(lines: Sheet, working_set: WorkingSet, ranked: Ranked, point: Point, given: set[str]) -> bool:
    """Whether the best memory that was missing is among *lines*."""
    best = next((best.id for best in _list_best(working_set, ranked, point) if best.id not in given), None)
    return best is None or best in _ids(lines)


def _take_late(talk: Talk, given: set[str], budget_tokens: int) -> Sheet:
    """As much of what was late as may have a part of this turn's budget."""
    left = budget_tokens * _LATE_PART
    taken = []
    for line in talk.late:
        if line.memory.id not in given and line.tokens <= left:
            left -= line.tokens
            taken.append(line)
    return tuple(taken)


def _ids(lines: Sheet) -> set[str]:
    return {line.memory.id for line in lines}


def _count(lines: Sheet) -> int:
    return sum(line.tokens for line in lines)
