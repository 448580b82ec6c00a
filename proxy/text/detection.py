"""Which language a text in Latin letters is in, and which words of any language say nothing."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import cache, lru_cache
from typing import Final, NamedTuple

from proxy.text.folding import fold_word
from proxy.text.languages import (
    ACKNOWLEDGEMENTS,
    COMPANIONS,
    DENSE_PHRASES,
    DENSE_STOP,
    ENGLISH,
    LATIN,
    LOOKALIKES,
    NODS,
    OTHER_SCRIPTS,
)

_LONGEST_ACKNOWLEDGEMENT: Final = 5
# More languages than these with the same votes: nothing is known.
_MOST_TIED: Final = 3
# English prose has more function words than one in four.
_ENGLISH_PART: Final = 4


# Names in Snowball, each with the length of its stems.
Stemmers = tuple[tuple[str, int | None], ...]


class Detected(NamedTuple):
    """The stemmers for what a text may be in, and the function words that it surely has."""

    stemmers: Stemmers = ()
    function_words: frozenset[str] = frozenset()


class _Table(NamedTuple):
    """What :data:`LATIN` says, ready for use. Languages are numbers. *telling*: words that English has not."""

    words: Mapping[str, tuple[int, ...]]
    letters: Mapping[str, tuple[int, ...]]
    telling: frozenset[str]


@cache
def _table() -> _Table:
    words = _list_languages([language.function_words.split() for language in LATIN])
    letters = _list_languages([language.letters for language in LATIN])
    telling = frozenset(word for word in words if len(word) > 1)
    return _Table(words, letters, telling - ENGLISH - frozenset(LOOKALIKES.split()))


def _list_languages(signs: Sequence[Iterable[str]]) -> dict[str, tuple[int, ...]]:
    """Which of the languages have a sign, for all *signs* of each language."""
    table: defaultdict[str, tuple[int, ...]] = defaultdict(tuple)
    for number, known in enumerate(signs):
        for sign in dict.fromkeys(known):
            table[sign] += (number,)
    return dict(table)


def detect(kept: Sequence[str], found: Sequence[str], text: str) -> Detected | None:
    """The language of *text* by votes of function words and letters; None for English, which wins a tie, or unknown.

    *found*: words in Latin letters; *kept*: those of them that are no function words of English. One vote is enough to
    try a language's stems, two to leave out its function words.
    """
    table = _table()
    english = len(found) - len(kept)
    tells = not table.telling.isdisjoint(kept) or not (text.isascii() or table.letters.keys().isdisjoint(text))
    if not tells and english * _ENGLISH_PART >= len(found):
        return None
    votes = Counter(number for word in found for number in table.words.get(word, ()))
    if not text.isascii():
        votes.update(number for letter in table.letters.keys() & set(text) for number in table.letters[letter])
    most = max(votes.values(), default=0)
    best = tuple(sorted(number for number, count in votes.items() if count == most))
    if most <= english or (most == 1 and not tells) or len(best) > _MOST_TIED:
        return None
    return _make_detected(best, most > 1 or len(found) == 1)


@lru_cache(maxsize=256)
def _make_detected(numbers: tuple[int, ...], sure: bool) -> Detected:
    languages = [LATIN[number] for number in numbers]
    stop = frozenset(word for language in languages for word in language.function_words.split())
    stemmers = tuple((language.stemmer, language.stem_length) for language in languages if language.stemmer)
    return Detected(stemmers, stop if sure else frozenset())


@cache
def other_words() -> frozenset[str]:
    """Function words of languages in other scripts, and emoji that nod, smile or tick off, as "ok" does."""
    return frozenset(map(fold_word, OTHER_SCRIPTS.split())).union(NODS)


@cache
def dense_stop() -> frozenset[str]:
    """Characters, and pairs of them, that say nothing in scripts without spaces."""
    return frozenset(DENSE_STOP.split())


@cache
def dense_phrases() -> re.Pattern[str]:
    """What to take out of scripts without spaces."""
    return re.compile("|".join(sorted(DENSE_PHRASES.split(), key=len, reverse=True)))


def is_acknowledgement(found: Sequence[str]) -> bool:
    """Whether *found*, a text's words without function words, are mere courtesy."""
    if not found or len(found) > _LONGEST_ACKNOWLEDGEMENT:
        return False
    alone, beside = _courtesies()
    return not alone.isdisjoint(found) and beside.issuperset(found)


@cache
def _courtesies() -> tuple[frozenset[str], frozenset[str]]:
    alone = frozenset(map(fold_word, ACKNOWLEDGEMENTS.split()))
    return alone, alone | frozenset(map(fold_word, COMPANIONS.split()))
