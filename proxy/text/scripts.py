"""Index words of one word, by the script that it is written in."""

import re
import threading
from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from itertools import pairwise
from typing import Final

import Stemmer

from proxy.text.detection import dense_stop

# Hebrew writes "and", "the", "in", "to", "from", "that", "as" in one with the next word, several in a row.
_HEBREW_PREFIX: Final = re.compile("[והבלמשכ]+(?=...)")
_HEBREW_SUFFIX: Final = re.compile("(?<=...)(?:ימ|ות|ית|יות|ה|ת|י)$")
_HEBREW_FINAL: Final = str.maketrans("םןץףך", "מנצפכ")
# Arabic the same with the article, and pronouns at the end; after Larkey's "light10". Snowball's stemmer parts words
# that differ in these: it makes two of "the village" and "village".
_ARABIC_PREFIX: Final = re.compile("^(?:[وف]?(?:ال|بال|كال|لل)|و)(?=...)")
_ARABIC_SUFFIX: Final = re.compile("(?<=...)(?:ها|نا|هم|كم|ان|ات|ون|ين|يه|ية|ه|ة|ي|ت)+$")
_KOREAN_PARTICLE: Final = re.compile(
    "(?<=.)(?:으로|에서|에게|한테|부터|까지|처럼|이랑|하고|입니다|이에요|예요|이야|은|는|이|가|을|를|에|의|도|와|과|로|만|랑|야)$"
)


class _Stemmers(threading.local):
    """Snowball stemmers by language, those of one thread: they are not thread-safe, and keep words that they met."""

    def __init__(self) -> None:
        self.known: dict[str, Stemmer.Stemmer] = {}

    def get(self, language: str) -> Stemmer.Stemmer:
        stemmer = self.known.get(language)
        if stemmer is None:
            stemmer = self.known[language] = Stemmer.Stemmer(language)
        return stemmer


@cache
def _stemmers() -> _Stemmers:
    return _Stemmers()


def stem_all(words: list[str], language: str) -> list[str]:
    stemmed: list[str] = _stemmers().get(language).stemWords(words)
    return stemmed


def stem(word: str, language: str) -> str:
    stemmed: str = _stemmers().get(language).stemWord(word)
    return stemmed


@lru_cache(maxsize=8192)
def split_word(word: str) -> Sequence[str]:
    """Index words of *word*, which is folded, not in ASCII, and in one script from end to end."""
    splitter = _splitters().get(ord(word[0]) >> 4)
    return tuple(splitter(word)) if splitter else (word,)


def _pair(run: str) -> Sequence[str]:
    return [a + b for a, b in pairwise(run)] if len(run) > 1 else (run,)


def _split_han(run: str) -> Sequence[str]:
    """Characters, most of which are words, and pairs of them, which are most of the others."""
    stop = dense_stop()
    parts = [char for char in run if char not in stop]
    parts += [a + b for a, b in pairwise(run)]
    return parts


def _split_hiragana(run: str) -> Sequence[str]:
    """Pairs; single ones are particles."""
    stop = dense_stop()
    return [pair for a, b in pairwise(run) if (pair := a + b) not in stop]


def _split_hangul(word: str) -> Sequence[str]:
    """Pairs of syllables without the particle; of two syllables, both readings."""
    base = _KOREAN_PARTICLE.sub("", word)
    return (word, base) if len(base) == 1 and len(word) == 2 else _pair(base)


def _split_hebrew(word: str) -> Sequence[str]:
    """All that may be prefix is one, as far as three letters remain: what matters is that all forms lose the same."""
    base = _HEBREW_SUFFIX.sub("", word.translate(_HEBREW_FINAL))
    match = _HEBREW_PREFIX.match(base)
    return (base[match.end() :] if match else base,)


def _split_arabic(word: str) -> Sequence[str]:
    return (_ARABIC_SUFFIX.sub("", _ARABIC_PREFIX.sub("", word)),)


def _by_stemmer(language: str) -> Callable[[str], Sequence[str]]:
    def split(word: str) -> Sequence[str]:
        return (stem(word, language),)

    return split


@cache
def _splitters() -> dict[int, Callable[[str], Sequence[str]]]:
    """What splits a word, by the sixteen code points among which its first character is."""
    ranges: tuple[tuple[int, int, Callable[[str], Sequence[str]]], ...] = (
        (0x0370, 0x03FF, _by_stemmer("greek")),
        (0x0400, 0x052F, _by_stemmer("russian")),
        (0x0530, 0x058F, _by_stemmer("armenian")),
        (0x0590, 0x05FF, _split_hebrew),
        (0x0600, 0x06FF, _split_arabic),
        (0x0750, 0x077F, _split_arabic),
        (0x0900, 0x097F, _by_stemmer("hindi")),
        (0x0B80, 0x0BFF, _by_stemmer("tamil")),
        (0x0E00, 0x0EFF, _pair),  # Thai, Lao
        (0x1000, 0x109F, _pair),  # Burmese
        (0x1100, 0x11FF, _split_hangul),
        (0x1780, 0x17FF, _pair),  # Khmer
        (0x3000, 0x303F, _split_han),
        (0x3040, 0x309F, _split_hiragana),
        (0x30A0, 0x30FF, _pair),
        (0x3130, 0x318F, _split_hangul),
        (0x31F0, 0x31FF, _pair),
        (0x3400, 0x9FFF, _split_han),
        (0xAC00, 0xD7AF, _split_hangul),
        (0xF900, 0xFAFF, _split_han),
        (0x20000, 0x3FFFF, _split_han),
    )
    return {block: split for first, last, split in ranges for block in range(first >> 4, (last >> 4) + 1)}
