"""Words of a text: the same analysis for what is stored and for what is asked.

Terms are stored with each record. Whoever changes what :func:`terms` returns raises :data:`ANALYSIS`, so that the
keeper makes them anew.
"""

import re
import threading
import unicodedata
from collections import Counter
from collections.abc import Iterator
from functools import cache
from typing import Final
from zlib import crc32

import numpy as np
import Stemmer
from numpy.typing import NDArray

ANALYSIS: Final[int] = 1

# Without "may", "second" and the like, which are months and numbers just as often. The greetings are here so that a
# mere "hi" asks for nothing.
_FUNCTION_WORDS: Final = """
    a about after again all also am an and any are as at be because been before being but by can could did do does
    doing done down each else ever few for from get gets getting go goes going gonna got had has have having he her
    here hers him his how however i if in into is it its itself just let lets like me might more most much must my
    myself no nor not now of off oh ok okay on once one only or other our ours out over own please really same shall
    she should so some such than thank thanks that the their them then there these they this those through to too under
    until up us very was we well were what when where which while who whom whose why will with would yeah yes yet you
    your yours yourself hello hey hi bye
"""
_STOP: Final = frozenset(_FUNCTION_WORDS.split())

# Scripts written without spaces, and Hangul, whose particles cling to words: indexed as pairs of characters.
_DENSE: Final = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"  # Thai, Lao, Burmese, Khmer
    "\u3005-\u30ff\u31f0-\u31ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # kana and Han
    "\u1100-\u11ff\u3130-\u318f\uac00-\ud7af"  # Hangul
)
# Vowel signs and points are not ``\w`` to :mod:`re`, which would cut words at them.
_MARKS: Final = "\u0300-\u036f\u0483-\u0487\u0591-\u05c7\u0610-\u061a\u064b-\u065f\u0670\u0900-\u0dff"

_NUMBER: Final = r"\d+(?:[.,]\d+)+"
_ASCII: Final = re.compile(rf"{_NUMBER}|[a-z0-9]+")
_ANY: Final = re.compile(rf"[{_DENSE}]+|{_NUMBER}|(?:(?![_{_DENSE}])[\w{_MARKS}])+")
_IS_DENSE: Final = re.compile(rf"[{_DENSE}]")
# "don't" and its kind are stop words as a whole; of "dog's" and "we'll" the first part matters.
_CONTRACTION: Final = re.compile(r"\b[a-z]+n't\b|'(?:s|m|re|ve|ll|d)\b")


class _Stemmers(threading.local):
    """One English Snowball stemmer a thread, since they are not thread-safe.

    It changes nothing in words of other scripts, so that these need no case of their own.
    """

    def __init__(self) -> None:
        self.english = Stemmer.Stemmer("english")

    def stem(self, words: list[str]) -> list[str]:
        stemmed: list[str] = self.english.stemWords(words)
        return stemmed


@cache
def _stemmers() -> _Stemmers:
    return _Stemmers()


def words(text: str) -> list[str]:
    """Index words of *text* in order: case-folded, without stop words, stemmed; dense scripts as character pairs."""
    if text.isascii():
        found = _ASCII.findall(_expand(text.lower()))
    else:
        folded = unicodedata.normalize("NFKC", text).replace("’", "'").casefold()
        found = list(_split_dense(_ANY.findall(_expand(folded))))
    return _stemmers().stem([word.replace(",", "") for word in found if word not in _STOP])


def _expand(folded: str) -> str:
    return _CONTRACTION.sub("", folded) if "'" in folded else folded


def _split_dense(found: list[str]) -> Iterator[str]:
    for word in found:
        if len(word) > 2 and _IS_DENSE.match(word):
            yield from (word[i : i + 2] for i in range(len(word) - 1))
        else:
            yield word


def hash_word(word: str) -> int:
    """The term that stands for an index word: its CRC-32, stable across processes and versions, and four bytes.

    With 10,000 distinct words in a user's memories, a word of a query meets a foreign one once in 400,000 times.
    """
    return crc32(word.encode("utf-8", "replace"))


def terms(text: str) -> dict[int, int]:
    """How often each index word occurs in *text*, by :func:`hash_word`."""
    return Counter(map(hash_word, words(text)))


def pack_terms(text: str, name: str | None = None) -> bytes:
    """Terms of *text*, and of the speaker's *name*, in stored form.

    k little-endian uint32 hashes, ascending, then their k uint16 counts (capped at 65,535): six bytes a term.
    """
    counts = terms(text)
    for term, count in terms(name or "").items():
        counts[term] = counts.get(term, 0) + count
    hashes = sorted(counts)
    occurrences = [min(counts[term], 0xFFFF) for term in hashes]
    return np.array(hashes, "<u4").tobytes() + np.array(occurrences, "<u2").tobytes()


def unpack_terms(packed: bytes) -> tuple[NDArray[np.uint32], NDArray[np.uint16]]:
    """Hashes and counts of :func:`pack_terms`, as read-only views. Raises ValueError when *packed* is cut short."""
    if len(packed) % 6:
        raise ValueError(f"packed terms come six bytes each, these are {len(packed)} bytes")
    size = len(packed) // 6
    return np.frombuffer(packed, "<u4", size), np.frombuffer(packed, "<u2", size, offset=4 * size)
