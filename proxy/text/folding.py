"""One spelling for what people spell in several ways: case, accents, widths, invisible characters, digits."""

import re
import unicodedata
from functools import cache, lru_cache
from typing import Final

# Soft hyphen, joiners, directions, byte order mark, variation selectors, and the Arabic stroke that only stretches.
_UNSEEN: Final = re.compile("[\u00ad\u0640\u061c\u200d-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff]")
# Dashes, quotation marks, bullets, arrows: with these gone, most texts of English speakers are ASCII.
_PUNCTUATION: Final = re.compile(
    "[\u00a0\u00a2-\u00a9\u00ab-\u00b4\u00b6-\u00b8\u00bb-\u00be\u00d7\u2010-\u2018\u201a-\u2027\u2030-\u205f\u20a0-\u20bf\u2190-\u22ff]"
)
_LATIN_MARKS: Final = re.compile("[\u0300-\u036f]")
_ARABIC_MARKS: Final = re.compile("[\u0610-\u061a\u064b-\u065f\u0670\u06d6-\u06ed]")
_HEBREW_MARKS: Final = re.compile("[\u0591-\u05c7]")
_CYRILLIC_MARKS: Final = re.compile("[\u0300\u0301]")

_CYRILLIC: Final = "\u0400"
_HEBREW: Final = "\u0590"
_ARABIC: Final = "\u0600"
_DEVANAGARI: Final = "\u0900"
_BENGALI: Final = "\u0980"


@cache
def _letters() -> dict[int, str]:
    """Letters that Unicode does not take apart, and those of Arabic script that are written one for the other."""
    pairs = "ıi łl øo đd ħh ŧt ðd ёе أا إا آا ٱا ىي یي ېي کك ےي ہه ۀه ँं"
    return {ord(pair[0]): pair[1] for pair in pairs.split()} | {
        ord("æ"): "ae",
        ord("œ"): "oe",
        ord("þ"): "th",
        0x093C: "",
    }


def fold(text: str) -> str:
    """*text* in lower case and in Unicode's compatible form, without what is not seen. Accents stay."""
    seen = _UNSEEN.sub("", text).replace("\u2019", "'")
    folded = unicodedata.normalize("NFKC", seen).casefold()
    return folded if folded.isascii() else _PUNCTUATION.sub(" ", folded)


@lru_cache(maxsize=8192)
def fold_word(word: str) -> str:
    """*word*, of a text folded before, without accents, points and vowel signs that many people do not write."""
    first = word[0]
    if first < _CYRILLIC:
        word = _LATIN_MARKS.sub("", unicodedata.normalize("NFD", word))
    elif first < _HEBREW:
        word = _CYRILLIC_MARKS.sub("", word)
    elif first < _ARABIC:
        return _HEBREW_MARKS.sub("", word)
    elif first < _DEVANAGARI:
        word = _ARABIC_MARKS.sub("", word)
    elif first >= _BENGALI:
        return _fold_digits(word) if first.isdecimal() else word
    return _fold_digits(word.translate(_letters()))


class _Likeness(dict[int, str]):
    """The character that each one is searched as, made when first met: there are no more than are in Unicode."""

    def __missing__(self, code: int) -> str:
        folded = unicodedata.normalize("NFKC", chr(code)).casefold()[:1] or chr(code)
        if folded < _BENGALI:  # further on, a character may be a syllable, which stays whole
            folded = unicodedata.normalize("NFD", folded)[:1]
        alike = _letters().get(ord(folded), folded)
        self[code] = character = alike if len(alike) == 1 else folded
        return character


@cache
def _likeness() -> _Likeness:
    return _Likeness()


def fold_like(text: str) -> str:
    """*text* as :func:`fold_word` would have most of its words, each character in its place: to find words in."""
    return text.lower() if text.isascii() else text.translate(_likeness())


def _fold_digits(word: str) -> str:
    if not word[0].isdecimal() or word.isascii():
        return word
    return "".join(str(unicodedata.decimal(char)) if char.isdecimal() else char for char in word)
