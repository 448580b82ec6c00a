"""Which language a sentence is in, by script, and by words where scripts are shared."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Final

from proxy.extraction.lexicons import SPACED_LATIN, get_lexicon
from proxy.text.folding import fold, fold_word
from proxy.text.languages import LATIN

_WORD: Final = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)?")
_SCRIPTS: Final = (
    ("ja", re.compile("[ぁ-ゖァ-ヺ]")),
    ("ko", re.compile("[가-힣]")),
    ("zh", re.compile("[㐀-鿿]")),
    ("uk", re.compile("[іїєґ]", re.IGNORECASE)),
    ("ru", re.compile("[а-яё]", re.IGNORECASE)),
    ("fa", re.compile("[پچژگ]")),
    ("ar", re.compile("[ء-ي]")),
    ("hi", re.compile("[अ-ह]")),
    ("el", re.compile("[α-ω]", re.IGNORECASE)),
    ("he", re.compile("[א-ת]")),
    ("th", re.compile("[ก-๎]")),
)
_ELSEWHERE: Final = re.compile("[^\x00-\u024f\u1e00-\u1eff\u2000-\u2bff]")
_LATIN: Final = re.compile("[A-Za-z\u00c0-\u024f]")
# A name or two in other letters do not make a text foreign.
_PART: Final = 4

UNKNOWN: Final = ""


def tell_script(text: str) -> str:
    """ "latin", or the first language that is written as *text* mostly is; "" where it has no letters known here."""
    if _ELSEWHERE.search(text):
        latin = len(_LATIN.findall(text))
        for language, letters in _SCRIPTS:
            if (count := len(letters.findall(text))) and count * _PART >= latin:
                return language
    return "latin" if _LATIN.search(text) else UNKNOWN


def count_votes(text: str) -> Mapping[str, int]:
    """How many words of *text* are typical of each language in Latin letters."""
    votes: Counter[str] = Counter()
    table, letters = _votes(), _letters()
    folded = fold(text)
    for word in _WORD.findall(folded):
        for part in (word, *word.split("'")) if "'" in word else (word,):
            votes.update(table.get(fold_word(part), ()))
    if not folded.isascii():
        for letter in set(folded) & letters.keys():
            votes.update(letters[letter])
    return votes


def tell_language(*texts: str, hint: str = "") -> str:
    """The language of the first of *texts* that tells, or "". Between equals, the one that *hint* may be in."""
    for text in texts:
        script = tell_script(text)
        if script not in ("latin", UNKNOWN):
            return script
        if (votes := count_votes(text)) and (best := _choose(votes, hint)):
            return best
    return UNKNOWN


def is_translated(fact: str, quote: str, said: str) -> bool:
    """Whether *fact* is in another language than *quote*, which was part of what was *said*."""
    scripts = tell_script(fact), tell_script(quote)
    if scripts != ("latin", "latin"):
        return UNKNOWN not in scripts and scripts[0] != scripts[1]
    language = tell_language(quote, said)
    votes, own = count_votes(fact), count_votes(f"{quote}\n{said}")
    best = _choose(votes)
    if not best or not language or best == language:
        return False
    return votes[best] > votes.get(language, 0) and own.get(best, 0) < own.get(language, 0)


def _choose(votes: Mapping[str, int], hint: str = "") -> str:
    most = max(votes.values(), default=0)
    best = [language for language, count in votes.items() if count == most]
    if len(best) > 1 and hint:
        hints = count_votes(hint)
        most = max(hints.get(language, 0) for language in best)
        best = [language for language in best if hints.get(language, 0) == most]
    # With as many votes, the one of which more is known.
    return min(best, key=_order().__getitem__, default=UNKNOWN)


@cache
def _order() -> Mapping[str, int]:
    names = [*SPACED_LATIN, *(language.stemmer or "vietnamese" for language in LATIN)]
    return {name: number for number, name in reversed(list(enumerate(names)))}


@cache
def _votes() -> Mapping[str, Sequence[str]]:
    votes: dict[str, list[str]] = {}
    codes = _codes()
    for code in SPACED_LATIN:
        lexicon = get_lexicon(code)
        words = lexicon.stop | lexicon.folded.keys() | {fold_word(word) for word in lexicon.exact}
        for word in words:
            votes.setdefault(word, []).append(code)
    for language in LATIN:
        if language.stemmer not in codes:
            for word in language.function_words.split():
                votes.setdefault(word, []).append(language.stemmer or "vietnamese")
    return votes


@cache
def _letters() -> Mapping[str, Sequence[str]]:
    letters: dict[str, list[str]] = {}
    codes = _codes()
    for language in LATIN:
        for letter in dict.fromkeys(language.letters):
            letters.setdefault(letter, []).append(codes.get(language.stemmer, language.stemmer or "vietnamese"))
    return letters


def _codes() -> Mapping[str, str]:
    names = ("", "german", "dutch", "swedish", "danish", "french", "spanish", "portuguese", "italian", "polish")
    return dict(zip((*names[1:], "czech", "turkish"), SPACED_LATIN[1:], strict=True))
