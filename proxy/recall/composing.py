"""From a ranking to a block: how much of the budget a question deserves, and what stands in it."""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from proxy.models import Memory
from proxy.recall.block import Line, Style, age, choose_lines, format_standing
from proxy.recall.frame import Frame
from proxy.recall.query import Query
from proxy.recall.ranking import Ranked, rank
from proxy.recall.standing import find_standing
from proxy.recall.weights import FLOOR
from proxy.workingset import WorkingSet

# A block, words around it included, for a question of which nobody can tell whether memory has anything to say to it.
SMALL_TOKENS: Final = 100
# What standing lines may take of the budget where there is more to say.
_STANDING_PART: Final = 1 / 8
# So many of the best memories are nearly always in the block.
_LIKELY: Final = 10

# Lines that came into a conversation at the same time, oldest first.
Sheet = tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class Block:
    """What is injected. *memories* and *scores* are in the order of the lines; those that nobody asked for score 0."""

    text: str
    tokens: int
    memories: list[Memory]
    scores: list[float]


class Composer:
    """Makes blocks whose words are *frame*'s, and whose tokens are as *count* counts them."""

    def __init__(self, count: Callable[[str], int], frame: Frame | None = None) -> None:
        self._style = Style(count, frame or Frame())

    def forget(self, memory_ids: Iterable[str] | None = None) -> None:
        """Keep nothing of these memories' texts; without any, of nobody's."""
        self._style.forget(memory_ids)

    def draft(
        self,
        working_set: WorkingSet,
        ranked: Ranked,
        *,
        budget_tokens: int,
        visible: Collection[str] = (),
        given: Collection[str] = (),
    ) -> Sheet:
        """What to say in *budget_tokens*, the words around it included. Nothing where nothing was asked, as by "hi".

        A question that memory has nothing to do with gets the standing lines alone, one that it may have something to
        do with a small block. Left out are memories whose text is among *visible* and those whose id is in *given*.
        """
        if not ranked.words:
            return ()
        if ranked.relevance < 0:
            budget_tokens = min(budget_tokens, SMALL_TOKENS)
        if ranked.relevance < -FLOOR.doubt:
            ranked = ranked._replace(rows=ranked.rows[:0], scores=ranked.scores[:0])
        standing = find_standing(working_set)
        left = budget_tokens - self._style.count(self._style.frame.compose([["\n"]]))
        seen = {text.strip() for text in visible}
        always = [
            format_standing(line, self._style)
            for line in standing.fit(int(left * _STANDING_PART) if ranked else left)
            if line.memory.text.strip() not in seen and line.memory.id not in given
        ]
        # What is found anyway needs no room of its own.
        likely = {working_set.memories[row].id for row in ranked.rows[:_LIKELY].tolist()} if always else set()
        reserved = sum(line.tokens for line in always if line.memory.id not in likely)
        found: list[Line] = []
        if ranked:
            found = choose_lines(
                working_set,
                ranked,
                budget_tokens=left - reserved,
                style=self._style,
                visible=seen,
                given={*given, *standing.outdated},
                standing={line.memory.id: line.text for line in standing.profile},
            )
        return tuple(sorted((*found, *_add(always, found, left)), key=age))

    def compose(self, sheets: Sequence[Sheet], budget_tokens: int) -> tuple[Block, Sequence[Sheet]] | None:
        """A block of these lines that has no more than *budget_tokens*, and the sheets as they are in it.

        None where there is no line, or not even one fits.
        """
        kept = [list(sheet) for sheet in sheets if sheet]
        while kept:
            text = self._style.frame.compose([[line.text for line in sheet] for sheet in kept])
            tokens = self._style.count(text)
            if tokens <= budget_tokens:
                lines = [line for sheet in kept for line in sheet]
                block = Block(text, tokens, [line.memory for line in lines], [line.score for line in lines])
                return block, [tuple(sheet) for sheet in kept]
            # Tokens of lines do not add up exactly to those of the whole.
            kept[-1].remove(min(kept[-1], key=lambda line: line.score))
            kept = [sheet for sheet in kept if sheet]
        return None


def _add(always: list[Line], found: list[Line], budget_tokens: int) -> list[Line]:
    """Those of *always* that are not *found* and that there is room for."""
    left = budget_tokens - sum(line.tokens for line in found)
    shown = {line.memory.text.strip() for line in found}
    added = []
    for line in always:
        if line.memory.text.strip() not in shown and line.tokens <= left:
            left -= line.tokens
            added.append(line)
    return added


def find_block(
    working_set: WorkingSet,
    query: Query,
    *,
    budget_tokens: int,
    count: Callable[[str], int],
    visible: Collection[str] = (),
    frame: Frame | None = None,
) -> Block | None:
    """What a conversation that begins with *query* is given; None where there is nothing to say."""
    composer = Composer(count, frame)
    sheet = composer.draft(working_set, rank(working_set, query), budget_tokens=budget_tokens, visible=visible)
    composed = composer.compose([sheet], budget_tokens)
    return composed[0] if composed else None
