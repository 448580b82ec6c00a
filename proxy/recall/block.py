"""Which memories a block holds, and how each of them reads: one line, with its date."""

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Final, NamedTuple

import numpy as np

from proxy.models import Memory
from proxy.recall.frame import Frame
from proxy.recall.profile import ProfileLine
from proxy.recall.ranking import Ranked
from proxy.recall.snippet import Snippets, Wanted, fits, leave_name_out
from proxy.workingset import WorkingSet

# What scores less than this part of the best is not worth its tokens: 200 of 2,000 saved on LongMemEval, nothing lost.
_LEAST_VALUE: Final = 0.15
# Lines shorter than this on average fill no block; more candidates than could fill it are not looked at.
_LEAST_TOKENS: Final = 20
_LEAST_CANDIDATES: Final = 8
# Tokens of "- 2024-03-15: " and the line's end, and of ", assistant".
_LINE_TOKENS: Final = 6
# English has up to 5 characters a token, so a line has at least this part of the tokens estimated at 4.
_SURELY: Final = 0.8
_CHARS_PER_TOKEN: Final = 4
# Value for money: a score counts less in a long line. Flat from 0 to .3.
_LENGTH_EXPONENT: Final = 0.1
# Tokens that a text is cut to: the least for what hardly matters, the most for the best. The share of evidence inside
# 500, 1,000 and 2,000 tokens (LongMemEval, development half) is .910 / .943 / .980 with these, .866 / .932 / .961 where
# lines may have up to 200 tokens; the answers' words among them are .899 / .913 / .924, with at most 50 tokens
# .884 / .897 / .908, with 30 to 60 .900 / .914 / .939 at a share of .908 / .943 / .980.
_LEAST_CUT: Final = 25
_MOST_CUT: Final = 55
# Of what the assistant said it takes less.
_ASSISTANT_CUT: Final = 0.8
# Where few memories matter, they get more room: twice, four times … as much, while all of them fit.
_MOST_ROOM: Final = 32
# Texts as close as this in meaning and in words say the same, but for numbers, which make an update of a copy.
_SAME_VECTOR: Final = 0.9
_SAME_WORDS: Final = 0.8
# Characters that are looked at for that.
_COMPARED: Final = 1000
# Whole lines kept: about 500 bytes each.
_MOST_WHOLE: Final = 4096
_WORD: Final = re.compile(r"\w+")


class Style:
    """How lines are made: counted, framed, and cut. Lines that need no cut are made once and kept."""

    def __init__(self, count: Callable[[str], int], frame: Frame) -> None:
        self.count = count
        self.frame = frame
        self.snippets = Snippets()
        self._whole: dict[str, tuple[Memory, str, int]] = {}

    def format_whole(self, memory: Memory) -> tuple[str, int]:
        """The line of a memory whose text is shown as it is, and its tokens."""
        known = self._whole.get(memory.id)
        if known is None or known[0] is not memory:
            if len(self._whole) >= _MOST_WHOLE:
                self._whole.clear()
            line = _join_line(memory, "", self.frame.escape(leave_name_out(memory)), self.frame)
            known = self._whole[memory.id] = (memory, line, self.count(line))
        return known[1:]

    def forget(self, memory_ids: Iterable[str] | None = None) -> None:
        """Keep nothing of these memories' texts; without any, of nobody's."""
        self.snippets.forget(memory_ids)
        for memory_id in list(self._whole) if memory_ids is None else memory_ids:
            self._whole.pop(memory_id, None)


class Line(NamedTuple):
    """A memory as it stands in a block, with its line end."""

    memory: Memory
    score: float
    text: str
    tokens: int
    row: int = -1  # of the working set it came from, while that does not change


class _Candidate(NamedTuple):
    row: int
    memory: Memory
    score: float
    limit: float  # tokens of text
    size: float  # tokens of the line, about


def choose_lines(
    working_set: WorkingSet,
    ranked: Ranked,
    *,
    budget_tokens: int,
    style: Style,
    visible: Collection[str] = (),
    given: Collection[str] = (),
    standing: Mapping[str, str] = MappingProxyType({}),
) -> list[Line]:
    """The best of *ranked* that fit into *budget_tokens*, in no particular order.

    Memories whose text, without space around it, is among *visible*, which the request itself says, or whose id is
    among *given*, which it has been given already, are left out, as are superseded ones and copies of others.
    *standing* says by memory id what is wanted at all times, which is then shown and marked. The same arguments make
    the same lines.
    """
    most = max(budget_tokens // _LEAST_TOKENS, _LEAST_CANDIDATES)
    found = _list_candidates(working_set, ranked, visible, given, most)
    candidates = _sort_by_value(found, budget_tokens)
    format_line = partial(_format_line, words=Wanted.read(ranked.words), style=style, standing=standing)
    lines, rest = _fill(candidates, budget_tokens, format_line)
    if copies := _find_copies(working_set, [line.row for line in lines]):
        lines = [line for line in lines if line.row not in copies]
        more, _ = _fill(rest, budget_tokens - sum(line.tokens for line in lines), format_line)
        lines += more
    return lines


def _fill(
    candidates: list["_Candidate"], left: int, format_line: Callable[["_Candidate"], Line]
) -> tuple[list[Line], list["_Candidate"]]:
    """Lines of the candidates that fit, one after the other, and the candidates that did not."""
    lines, rest = [], []
    for candidate in candidates:
        # Formatting and counting cost more than all else here: not for what is much too long.
        line = format_line(candidate) if candidate.size * _SURELY <= left else None
        if line is not None and line.tokens <= left:
            left -= line.tokens
            lines.append(line)
        else:
            rest.append(candidate)
    return lines, rest


def age(line: Line) -> tuple[float, str, int]:
    """A key that sorts lines oldest first, and those of a conversation as they were said."""
    memory = line.memory
    return memory.created_at.timestamp(), memory.conversation_id, memory.message_index


def _list_candidates(
    working_set: WorkingSet, ranked: Ranked, seen: Collection[str], given: Collection[str], most: int
) -> list[tuple[int, Memory, float]]:
    """The *most* best memories with their rows and scores, without what the model sees anyway, or twice."""
    found: dict[tuple[str, str | None, str], tuple[int, Memory, float]] = {}
    for row, score in zip(ranked.rows.tolist(), ranked.scores.tolist(), strict=True):
        if len(found) == most or score < _LEAST_VALUE * ranked.scores[0]:
            break
        memory = working_set.memories[row]
        text = memory.text.strip()
        if memory.superseded_by is None and text not in seen and memory.id not in given:
            known = found.setdefault((memory.role, memory.name, text), (row, memory, score))
            if known[1].created_at < memory.created_at:  # said again: the newest stands for all
                found[memory.role, memory.name, text] = (row, memory, known[2])
    return list(found.values())


def _find_copies(working_set: WorkingSet, rows: list[int]) -> set[int]:
    """Those of *rows* that say what a later one of them says, in nearly the same words."""
    vectors = working_set.vectors[rows]
    if len(rows) < 2 or not vectors.shape[1]:
        return set()
    # Sixteen rows at a time: BLAS takes larger products for worth a second thread, which may be long in coming.
    likeness = np.concatenate([vectors[first : first + 16] @ vectors.T for first in range(0, len(rows), 16)])
    if np.count_nonzero(likeness >= _SAME_VECTOR) <= len(rows):  # each is like itself
        return set()
    close = np.argwhere(np.triu(likeness >= _SAME_VECTOR, 1)).tolist()
    said = {index: _Said.read(working_set.memories[rows[index]]) for index in {i for pair in close for i in pair}}
    copies: set[int] = set()
    for one, other in close:
        if not copies & {rows[one], rows[other]} and said[one].is_like(said[other]):
            copies.add(min(rows[one], rows[other], key=lambda row: (working_set.columns.when[row], -row)))
    return copies


class _Said(NamedTuple):
    """What one says, by whom."""

    who: tuple[str, str | None]
    words: frozenset[str]

    @classmethod
    def read(cls, memory: Memory) -> "_Said":
        return cls((memory.role, memory.name), frozenset(_WORD.findall(memory.text[:_COMPARED].lower())))

    def is_like(self, other: "_Said") -> bool:
        shared = len(self.words & other.words)
        if self.who != other.who or shared < _SAME_WORDS * (len(self.words) + len(other.words) - shared):
            return False
        return not any(word.isdigit() for word in self.words ^ other.words)


def _sort_by_value(found: list[tuple[int, Memory, float]], budget: int) -> list[_Candidate]:
    """Candidates with the room that they get; the best for the money first."""
    if not found:
        return []
    steepness = (_MOST_CUT - _LEAST_CUT) / found[0][2]
    wanted = [
        (_LEAST_CUT + steepness * score) * (_ASSISTANT_CUT if memory.role == "assistant" else 1.0)
        for _, memory, score in found
    ]
    lengths = [len(memory.text) / _CHARS_PER_TOKEN for _, memory, _ in found]
    room = _find_room(wanted, lengths, budget)
    candidates = [
        _Candidate(row, memory, score, room * limit, min(length, room * limit) + _LINE_TOKENS)
        for (row, memory, score), limit, length in zip(found, wanted, lengths, strict=True)
    ]
    return sorted(candidates, key=_value_for_money)


def _value_for_money(candidate: _Candidate) -> float:
    value: float = -candidate.score / candidate.size**_LENGTH_EXPONENT
    return value


def _find_room(wanted: list[float], lengths: list[float], budget: int) -> int:
    """How many times the usual room there is for all texts."""
    lines = _LINE_TOKENS * len(wanted)
    room = 1
    while room < _MOST_ROOM:
        if lines + sum(map(min, lengths, [2 * room * limit for limit in wanted])) > budget:
            break
        room *= 2
    return room


def _format_line(candidate: _Candidate, words: Wanted, style: Style, standing: Mapping[str, str]) -> Line:
    memory = candidate.memory
    if memory.id not in standing and fits(memory.text, candidate.limit):
        return Line(memory, candidate.score, *style.format_whole(memory), candidate.row)
    shown = style.frame.escape(style.snippets.cut(memory, words, candidate.limit))
    mark = ""
    if memory.id in standing:
        mark, statement = ", standing", style.frame.escape(standing[memory.id])
        if statement not in shown:
            shown = f"{statement} … {shown.lstrip('…')}"
    line = _join_line(memory, mark, shown, style.frame)
    return Line(memory, candidate.score, line, style.count(line), candidate.row)


def format_standing(standing: ProfileLine, style: Style) -> Line:
    """A line of the profile, marked as such, for a memory that nobody asked for."""
    line = _join_line(standing.memory, ", standing", style.frame.escape(standing.text), style.frame)
    return Line(standing.memory, 0.0, line, style.count(line))


def _join_line(memory: Memory, mark: str, shown: str, frame: Frame) -> str:
    return f"- {memory.created_at.date().isoformat()}{_introduce(memory, frame)}{mark}: {shown}\n"


def _introduce(memory: Memory, frame: Frame) -> str:
    if memory.role == "assistant":
        return ", assistant"
    if memory.kind == "fact":  # in no one's words
        return ", noted"
    return f", {frame.escape_name(memory.name)}" if memory.name else ""
