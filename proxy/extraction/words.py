"""A text's words, each with the groups that it is in, and whether it says something by itself."""

import re
from collections.abc import Iterator
from functools import cache, lru_cache
from typing import Final, NamedTuple

from proxy.extraction.lexicons import DENSE, LEXICONS, NONE, SPACED_LATIN, Lexicon, Tags, get_lexicon
from proxy.extraction.lexicons.base import CONCEPTS
from proxy.text.folding import fold, fold_word
from proxy.text.scripts import split_word, stem

_MARKS: Final = "\u0300-\u036f\u0483-\u0487\u0591-\u05c7\u0610-\u061a\u064b-\u065f\u0670\u0900-\u0903\u093a-\u094f"
_LETTERS: Final = rf"[^\W\d_](?:[^\W\d_]|[{_MARKS}])*"
_NUMBER: Final = r"\d+(?:[.,:]\d+)*"
_WORD: Final = re.compile(rf"{_NUMBER}|{_LETTERS}(?:['’]{_LETTERS})?")
_DENSE_REST: Final = rf"{_NUMBER}|[A-Za-z\u00c0-\u024f]+|[ァ-ヺー]+|[^\W\d_]"
_KOREAN_ENDING: Final = re.compile(
    "(?<=.)(?:입니다|이에요|예요|이다|이며|이고|으로|에서|에게|한테|부터|까지|처럼|이랑|하고|은|는|이|가|을|를|에|의|도|와|과|로"
    "|만|랑|인|고|다|요)$"
)
_KOREAN_NO: Final = re.compile("않|못|없")
# Arabic verbs begin with who does it.
_ARABIC_WHO: Final = "ايتن"
# "i'm" is one word, "l'amico" two.
_CONTRACTIONS: Final = frozenset({"m", "ve", "d", "ll", "re", "t"})
# Where the word stands before the apostrophe.
_WHOLE: Final = frozenset({"en", "de", "nl", "tr"})
_CONTENTLESS: Final = """
    user self my me you others third it be have as no modal past if says joint and rel det asks order aspect glue
"""
_FUNCTION: Final = frozenset(_CONTENTLESS.split())
# A month and a man.
_CAPITALS: Final = frozenset({"may", "will"})
# Shorter words, in letters that stand for sounds, and shorter ends of Japanese verbs, say nothing.
_SHORTEST: Final = 3
_STEMMERS: Final = {language: LEXICONS[language] or "english" for language in SPACED_LATIN}


class Token(NamedTuple):
    """A word at ``text[begin:end]``. *content*: it says something by itself. *name*: begins with a capital, within."""

    raw: str
    folded: str
    begin: int
    end: int
    tags: Tags
    stems: frozenset[str]
    content: bool
    name: bool
    number: str

    @property
    def concepts(self) -> Tags:
        return self.tags & CONCEPTS


def tokenize(text: str, language: str, begin: int = 0, end: int | None = None) -> tuple[Token, ...]:
    """The words of ``text[begin:end]``."""
    lexicon = get_lexicon(language)
    end = len(text) if end is None else end
    found = _scan_dense if language in DENSE else _scan
    return tuple(_join_phrases(list(found(text, begin, end, lexicon)), lexicon))


def _scan(text: str, begin: int, end: int, lexicon: Lexicon) -> Iterator[Token]:
    first = begin
    for match in _WORD.finditer(text, begin, end):
        for start, stop in _split_apostrophe(match, lexicon):
            token = _make_token(text, start, stop, lexicon, start > first and _is_within(text, start, begin))
            # "dell'" is an article, "Ankara'da" a name.
            yield token if stop == match.end() or lexicon.language in _WHOLE else token._replace(content=False)


def _is_within(text: str, place: int, begin: int) -> bool:
    """Whether a word at *place* does not open its sentence."""
    return text[begin:place].strip(" \t\n\"'“”«»„*-–—•([") != ""


def _split_apostrophe(match: re.Match[str], lexicon: Lexicon) -> Iterator[tuple[int, int]]:
    start, stop = match.span()
    word = fold(match[0])
    place = word.find("'")
    if place < 0:
        yield start, stop
        return
    place += start
    if lexicon.language == "en":
        kept = lexicon.tag(word, word) or _text_after(word) in _CONTRACTIONS
        yield (start, stop) if kept else (start, place if _text_after(word) == "s" else stop)
        return
    if lexicon.language == "uk":
        yield start, stop
        return
    yield start, place
    if lexicon.language not in _WHOLE and _text_after(word) != "s":
        yield place + 1, stop


def _text_after(word: str) -> str:
    """What follows the apostrophe."""
    return word.partition("'")[2]


def _make_token(text: str, start: int, stop: int, lexicon: Lexicon, within: bool) -> Token:
    raw = text[start:stop]
    spelled = fold(raw) or raw
    name = within and raw[0].isupper()
    folded, tags, stems, stop_word = _analyse(spelled, lexicon.language)
    if folded == "si" and spelled != folded:
        tags -= {"if"}  # yes
    if name and folded in _CAPITALS:
        tags = NONE
    number = spelled.replace(",", "") if raw[0].isdecimal() else lexicon.numbers.get(folded, "")
    content = bool(tags & CONCEPTS) or _is_content(raw, folded, tags, name, stop_word)
    return Token(raw, folded, start, stop, tags, stems, content, name, number)


def _is_content(raw: str, folded: str, tags: Tags, name: bool, stop_word: bool) -> bool:
    if raw[0].isdecimal():
        return True
    if tags & _FUNCTION:
        return False
    if name and len(raw) > 1:
        return True
    return not stop_word and (len(folded) >= _SHORTEST or not folded.isascii())


@lru_cache(maxsize=8192)
def _analyse(spelled: str, language: str) -> tuple[str, Tags, frozenset[str], bool]:
    """A word without accents, its groups, its stems, and whether it is a function word."""
    lexicon = get_lexicon(language)
    folded = fold_word(spelled)
    if language == "ko" and "가" <= folded[0] <= "힣":
        return _analyse_korean(folded, lexicon)
    tags = lexicon.tag(spelled, folded)
    return folded, tags, frozenset(_list_stems(spelled, folded, language)), folded in lexicon.stop


def _list_stems(spelled: str, folded: str, language: str) -> Iterator[str]:
    yield folded
    if language in _STEMMERS:
        yield fold_word(stem(spelled, _STEMMERS[language]) or spelled)
    elif not folded.isascii():
        yield from split_word(folded)
        if language == "ar" and len(folded) > _SHORTEST and folded[0] in _ARABIC_WHO:
            yield folded[1:]  # who does it


def _analyse_korean(folded: str, lexicon: Lexicon) -> tuple[str, Tags, frozenset[str], bool]:
    base = _KOREAN_ENDING.sub("", folded)
    tags = lexicon.tag(folded, folded) | lexicon.folded.get(base, NONE)
    for entry, found in _long_entries("ko"):
        if folded.startswith(entry):
            tags |= found
            break
    if _KOREAN_NO.search(folded):
        tags |= {"no"}
    return base, tags, frozenset({folded, base, base[:2]} if len(base) > 1 else {folded, base}), False


@cache
def _long_entries(language: str) -> tuple[tuple[str, Tags], ...]:
    entries = get_lexicon(language).folded.items()
    return tuple(sorted(((word, tags) for word, tags in entries if len(word) > 1), key=lambda item: -len(item[0])))


@cache
def _dense_pattern(language: str) -> re.Pattern[str]:
    lexicon = get_lexicon(language)
    entries = sorted(lexicon.folded, key=len, reverse=True)
    known = "|".join(map(re.escape, entries))
    return re.compile(rf"(?P<entry>{known})|[ぁ-ゖ](?:(?!{known})[ぁ-ゖ])*|{_DENSE_REST}")


def _scan_dense(text: str, begin: int, end: int, lexicon: Lexicon) -> Iterator[Token]:
    for match in _dense_pattern(lexicon.language).finditer(text, begin, end):
        raw = match[0]
        folded = fold_word(fold(raw)) if fold(raw) else raw
        tags = lexicon.folded.get(raw, NONE) if match["entry"] else NONE
        number = lexicon.numbers.get(raw, "") or (raw.replace(",", "") if raw[0].isdecimal() else "")
        kana = "ぁ" <= raw[0] <= "ゖ"
        content = bool(tags & CONCEPTS) or not (tags or (kana and len(raw) < _SHORTEST) or raw in lexicon.stop)
        name = raw[0].isascii() and raw[0].isalpha()
        yield Token(raw, folded, *match.span(), tags, frozenset({folded}), content, name, number)


def _join_phrases(tokens: list[Token], lexicon: Lexicon) -> Iterator[Token]:
    """Phrases as one word each."""
    place = 0
    while place < len(tokens):
        token, size = tokens[place], 1
        for rest, tags in lexicon.phrases.get(token.folded, ()) if lexicon.phrases else ():
            if tuple(following.folded for following in tokens[place + 1 : place + 1 + len(rest)]) == rest:
                size = 1 + len(rest)
                token = token._replace(
                    end=tokens[place + size - 1].end, tags=tags, content=bool(tags & CONCEPTS), name=False
                )
                break
        yield token
        place += size
