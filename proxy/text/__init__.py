"""Words of a text: the same analysis for what is stored and for what is asked.

Terms are stored with each record. Whoever changes what :func:`terms` returns raises :data:`ANALYSIS`, so that the
keeper makes them anew.

A question and its answer must meet although each may be too short to tell its language. So every word in Latin letters
is stemmed as if it were English, whatever the text's language, and where another one is recognised that one's stem is
added if it differs. In other scripts the script alone decides.
"""

from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from typing import Final
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from proxy.text.detection import Detected, Stemmers, dense_phrases, detect, is_acknowledgement, other_words
from proxy.text.folding import fold, fold_word
from proxy.text.folding import fold_like as fold_like
from proxy.text.identifiers import find_parts, find_wholes
from proxy.text.languages import ENGLISH
from proxy.text.scripts import split_word, stem, stem_all
from proxy.text.splitting import has_dense, split_any, split_ascii

ANALYSIS: Final[int] = 2

_UNKNOWN: Final = Detected()


def words(text: str) -> list[str]:
    """Index words of *text*, without function words, accents and inflection; none if it only greets, thanks or agrees.

    In order of the text, but for what is inside of names like ``getUserName``, which follows at the end. Costs 60 ns a
    character in English, up to 200 in other languages.
    """
    folded = text.lower() if text.isascii() else fold(text)
    indexed = _index_ascii(folded) if folded.isascii() else _index_any(folded)
    if parts := find_parts(text):
        indexed += stem_all([part for part in parts if part not in ENGLISH], "english")
    if wholes := find_wholes(text):
        indexed += wholes
    return indexed


def _index_ascii(folded: str) -> list[str]:
    found = split_ascii(folded)
    kept = [word for word in found if word not in ENGLISH]
    detected = detect(kept, found, folded)
    if detected:
        kept = [word for word in kept if word not in detected.function_words]
    if is_acknowledgement(kept):
        return []
    stems = stem_all(kept, "english")
    if detected is None:
        return stems
    pairs = zip(kept, stems, strict=True)
    return [term for word, english in pairs for term in _list_stems(word, english, detected.stemmers)]


def _index_any(folded: str) -> list[str]:
    if has_dense(folded):
        folded = dense_phrases().sub(" ", folded)
    spelled = split_any(folded)
    plain = [word if word.isascii() else fold_word(word) for word in spelled]
    latin = [word for word in plain if word.isascii()]
    detected = detect([word for word in latin if word not in ENGLISH], latin, folded) or _UNKNOWN
    stop = _list_stop_words(detected.function_words)
    kept = [(word, own) for word, own in zip(plain, spelled, strict=True) if word not in stop]
    if is_acknowledgement([word for word, _ in kept]):
        return []
    indexed: list[str] = []
    for word, own in kept:
        # Stemmers look at the accents, which are in the word as spelled.
        stems = _list_stems(own, stem(word, "english"), detected.stemmers) if word.isascii() else split_word(word)
        indexed.extend(stems)
    return indexed


@lru_cache(maxsize=8192)
def _list_stems(word: str, english: str, stemmers: Stemmers) -> Sequence[str]:
    stems = (fold_word(stem(word, language))[:length] for language, length in stemmers)
    return tuple(dict.fromkeys((english, *stems)))


@lru_cache(maxsize=256)
def _list_stop_words(function_words: frozenset[str]) -> frozenset[str]:
    return ENGLISH | other_words() | function_words


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
