"""What is shown of a long text: the sentences that say most of what was asked, in their order."""

import re
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from heapq import nlargest
from itertools import accumulate
from math import sqrt
from operator import itemgetter
from typing import Final, NamedTuple, Self

from proxy.models import Memory
from proxy.text import fold_like

# Sentences end here. A full stop inside of a number or a name ("3.5", "node.js") ends nothing.
_ENDS: Final = (". ", "? ", "! ", "\n")
_OTHER_ENDS: Final = ("。", "！", "？", "؟ ", "। ", "… ")
_MARK: Final = "\0"
# What a text may have more than the limit before it is worth a cut.
_TOLERANCE: Final = 1.15
_CHARS_PER_TOKEN: Final = 4
# Longer sentences are cut in parts of so many characters.
_LONGEST: Final = 160
# Of a pasted document so much is looked at.
_MAX_TEXT: Final = 8_000
_MOST_WORDS: Final = 8
# Of a text with more sentences, those without any asked word are not shown.
_FEW: Final = 8
# Parts with a word beyond so many hardly make a better snippet.
_MAX_OCCURRENCES: Final = 3
# Numbers are what answers are made of: one makes up for a part of an average asked word.
_NUMBER: Final = re.compile(r"\d")
_NUMBER_WEIGHT: Final = 0.3
# What a sentence is worth without any asked word.
_PRIOR: Final = 0.1
# A sentence is worth the less the longer it is, by the root of its length, from so many characters on.
_SHORT: Final = 40
# Not worth another sentence.
_MIN_LEFT: Final = 30
_GAP: Final = " … "
_LONGEST_WORD: Final = 20

# Texts kept taken apart: about 3 kB each.
KEPT: Final = 2048


class Wanted(NamedTuple):
    """What is looked for: how words begin and what each weighs, and what they weigh on average."""

    stems: list[tuple[str, float]]
    mean: float

    @classmethod
    def read(cls, words: Mapping[str, float]) -> Self:
        """*words* are index words. Of many the rarest, which weigh most, say best what to show of a text."""
        most = nlargest(_MOST_WORDS, words.items(), key=itemgetter(1))
        return cls([(_spell(word), weight) for word, weight in most], sum(words.values()) / max(len(words), 1))


class Sentences(NamedTuple):
    """A text taken apart into *parts*, whose words are looked for in *folded*.

    *marks*: where each part begins, and where the last one ends; *roots*: of the length of each part; *numbers*:
    whether there is a number in it.
    """

    text: str
    parts: list[str]
    folded: str
    marks: list[int]
    roots: list[float]
    numbers: list[bool]
    density: float  # characters a token

    @classmethod
    def read(cls, text: str) -> Self:
        """The beginning of *text*, if that is very long. Costs 5 µs for 300 characters, 20 for 2,000."""
        is_cut = len(text) > _MAX_TEXT
        text = text[:_MAX_TEXT].strip().replace(_MARK, " ")
        parts = [*_split(text), "…"] if is_cut else _split(text)
        # Bytes tell scripts apart: a CJK character has three and is about a token, a Latin one has one and is a fourth.
        each = 1 if text.isascii() else len(text.encode("utf-8", "replace")) / len(text)
        return cls(
            text,
            parts,
            fold_like("".join(parts)),
            list(accumulate(map(len, parts), initial=0)),
            [sqrt(max(len(part), _SHORT)) for part in parts],
            [_NUMBER.search(part) is not None for part in parts],
            _CHARS_PER_TOKEN / each,
        )


class Snippets:
    """Cuts memories' texts. Those cut last are kept taken apart, since the next question often finds the same ones."""

    def __init__(self, kept: int = KEPT) -> None:
        self._most = kept
        self._kept: OrderedDict[str, tuple[str, Sentences]] = OrderedDict()

    def cut(self, memory: Memory, words: Wanted, tokens: float) -> str:
        """What *memory* says, as :func:`cut` would show it in about so many *tokens*, without its speaker's name."""
        text = memory.text
        if fits(text, tokens):
            return leave_name_out(memory)
        known = self._kept.get(memory.id)
        if known is None or known[0] is not text:
            known = self._kept[memory.id] = (text, Sentences.read(leave_name_out(memory)))
            if len(self._kept) > self._most:
                self._kept.popitem(last=False)
        else:
            self._kept.move_to_end(memory.id)
        return _cut(known[1], words, int(tokens * known[1].density))

    def forget(self, memory_ids: Iterable[str] | None = None) -> None:
        """Keep nothing of these memories; without any, of nobody's."""
        if memory_ids is None:
            self._kept.clear()
        else:
            for memory_id in memory_ids:
                self._kept.pop(memory_id, None)


def fits(text: str, tokens: float) -> bool:
    """Whether *text* is surely hardly longer than so many *tokens*."""
    return len(text) <= _TOLERANCE * _CHARS_PER_TOKEN * tokens and text.isascii()


def leave_name_out(memory: Memory) -> str:
    """What *memory* says without its speaker's name, which clients write in front."""
    return memory.text.removeprefix(f"{memory.name}:") if memory.name else memory.text


def cut(text: str, words: Mapping[str, float], limit: int) -> str:
    """The parts of *text* that say most of *words* (index words and what they weigh), about *limit* characters in all.

    A text that is hardly longer than that stays as it is. Costs 10 µs for one of 300 characters, 30 for one of 2,000.
    """
    return _cut(Sentences.read(text), Wanted.read(words), limit)


def _cut(text: Sentences, words: Wanted, limit: int) -> str:
    if len(text.text) <= _TOLERANCE * limit:
        return text.text
    chosen = _choose(text.parts, _value(text, words), limit)
    if len(text.parts[chosen[0]]) > limit:
        return _cut_part(text, chosen[0], words, limit)
    return _join(text.parts, chosen)


def _split(text: str) -> list[str]:
    """The sentences of *text*, with the space between them; overlong ones in parts."""
    marked = text
    for end in _ENDS if text.isascii() else _ENDS + _OTHER_ENDS:
        if end in text:
            marked = marked.replace(end, f"{end}{_MARK}")
    sentences = marked.removesuffix(_MARK).split(_MARK)
    if max(map(len, sentences)) <= _LONGEST:
        return sentences
    return [part for sentence in sentences for part in _cut_long(sentence)]


def _cut_long(sentence: str) -> list[str]:
    if len(sentence) <= _LONGEST:
        return [sentence]
    parts = []
    while len(sentence) > _LONGEST:
        end = sentence.rfind(" ", _LONGEST // 2, _LONGEST) + 1 or _LONGEST
        parts.append(sentence[:end])
        sentence = sentence[end:]
    return [*parts, sentence]


def _value(text: Sentences, words: Wanted) -> dict[int, float]:
    """What parts, by their number, say of *words*, for their length. Where none says any, all are worth the same.

    Of a text of many parts only those that say any.
    """
    folded, marks = text.folded, text.marks
    said = dict.fromkeys(range(len(text.parts)), 0.0) if len(text.parts) <= _FEW else {}
    for stem, weight in words.stems:
        place = folded.find(stem)
        left = _MAX_OCCURRENCES
        while place >= 0 and left:
            part = bisect_right(marks, place) - 1
            said[part] = said.get(part, 0.0) + weight
            place = folded.find(stem, marks[part + 1])
            left -= 1
    if not any(said.values()):
        return dict.fromkeys(range(len(text.parts)), 0.0)
    prior, number = _PRIOR * words.mean, (_PRIOR + _NUMBER_WEIGHT) * words.mean
    numbers, roots = text.numbers, text.roots
    return {
        part: (value + (number if value and numbers[part] else prior)) / roots[part] for part, value in said.items()
    }


def _spell(stem: str) -> str:
    """What *stem* and the words that it stands for begin with: Snowball ends in "i" what ended in "y"."""
    return stem[:-1] if len(stem) > 3 and stem[-1] == "i" else stem


def _choose(sentences: list[str], values: dict[int, float], limit: int) -> list[int]:
    """The best sentences that fit into *limit* characters, in the order of the text; at least one."""
    chosen: list[int] = []
    for index in sorted(values, key=values.__getitem__, reverse=True):
        size = len(sentences[index]) + len(_GAP)
        if size <= limit or not chosen:
            chosen.append(index)
            limit -= size
            if limit < _MIN_LEFT:
                break
    return sorted(chosen)


def _join(sentences: list[str], chosen: list[int]) -> str:
    joined = "…" if chosen[0] else ""
    last = chosen[0]
    for index in chosen:
        joined += sentences[index] if index <= last + 1 else f"… {sentences[index]}"
        last = index
    joined = joined.rstrip()
    return joined if last == len(sentences) - 1 else f"{joined}…"


def _cut_part(text: Sentences, index: int, words: Wanted, limit: int) -> str:
    """What is around the weightiest asked word of a part that is longer than *limit*; its beginning without one."""
    part = text.parts[index]
    folded = text.folded[text.marks[index] : text.marks[index + 1]]
    places = {place: weight for stem, weight in words.stems if (place := folded.find(stem)) >= 0}
    place = max(places, key=places.__getitem__, default=0)
    begin = max(0, min(place - limit // 2, len(part) - limit))
    end = begin + limit
    # Less, where that would cut words in two.
    if begin and (space := part.find(" ", begin, min(begin + _LONGEST_WORD, place))) >= 0:
        begin = space + 1
    if end < len(part) and (space := part.rfind(" ", max(end - _LONGEST_WORD, place), end)) >= 0:
        end = space
    before = "…" if begin or index else ""
    after = "…" if end < len(part) or index < len(text.parts) - 1 else ""
    return f"{before}{part[begin:end].strip()}{after}"
