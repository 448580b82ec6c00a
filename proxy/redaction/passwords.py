"""Passwords: assigned, on a command line, or told in a sentence of one of many languages."""

import re
from typing import Final

from proxy.redaction.assignments import Place, Saying, make_hit, read_assignment, read_saying
from proxy.redaction.base import Hit, Reader, Subject, follow, places
from proxy.redaction.nouns import COPULAS, OWNERS, PASSWORDS, PASSWORDS_BEYOND_ASCII, REMARKS, Noun
from proxy.redaction.values import is_chosen, is_hollow, is_measure, is_reference, trim

KIND: Final = "password"

_ADJACENT: Final = re.compile(rf"(?:{COPULAS})?[ \t]{{0,4}}[:：]?[ \t]{{0,4}}[\"'`“”„«「『]?(?P<said>[!-~]{{4,128}}+)")
_APART: Final = re.compile(r"(?<=[^\x00-\x7f])|[\s:=]")
# As Google gives them out for a single program: four times four letters.
_FOURS: Final = re.compile(r"[^\n:=]{0,24}[:=][ \t\"']*(?P<secret>[a-z]{4}(?: [a-z]{4}){3})(?![ a-z])")
# Texts of forms, which are assigned to passwords as well.
_SPEAKS: Final = re.compile(
    r"\b(?:enter|your|must|please|should|passwords?|forgot|invalid|required|the|confirm|reset|at|is|a|de|la|votre|tu|su"
    r"|ihr|dein|and|or)\b",
    re.IGNORECASE,
)
_ONE_TIME: Final = re.compile(r"(?:one[ -]?time|otp|einmal|verification)\W{0,2}$", re.IGNORECASE)
_IS_OWNED: Final = re.compile(OWNERS, re.IGNORECASE)
_REMARKS: Final = frozenset(REMARKS.split())
_USER_BEFORE: Final = re.compile(r"\b(?:user(?:name)?|login)[ :=]{1,3}\S{1,40}[,;/]?(?: and)? $", re.IGNORECASE)
_CLAUSE_END: Final = re.compile(r"\s*(?:$|[\n.,;!?])")


class PasswordFinder:
    """Hits behind the nouns for a password; those beyond ASCII are looked for only in texts that are."""

    def __init__(self) -> None:
        self._ascii = [(noun.literal.encode(), _make_reader(noun)) for noun in PASSWORDS]
        self._beyond = [(noun.literal, _make_reader(noun)) for noun in PASSWORDS_BEYOND_ASCII]

    def __call__(self, subject: Subject) -> list[Hit]:
        folded, text = subject.folded, subject.text
        found = [(places(folded, noun), read) for noun, read in self._ascii if noun in folded]
        if not text.isascii():
            found += [(places(text, noun), read) for noun, read in self._beyond if noun[0] in text and noun in text]
        return [hit for leads, read in found for hit in follow(subject, leads, read)]


def _make_reader(noun: Noun) -> Reader:
    pattern = re.compile(noun.pattern, re.IGNORECASE)

    def read(subject: Subject, begin: int) -> Hit | None:
        match = pattern.match(subject.text, begin)
        return _read(Place(subject.text, *match.span()), noun) if match else None

    return read


def _read(place: Place, noun: Noun) -> Hit | None:
    if hit := read_assignment(place, _judge):
        return hit
    if fours := _FOURS.match(place.text, place.end):
        return Hit(*fours.span("secret"), KIND)
    if not place.is_significant:
        return _read_word(place, read_saying(place)) if _IS_OWNED.search(place.before) else None
    return _read_adjacent(place, noun) or _read_said(place)


def _judge(value: str, plain: bool) -> str | None:
    if any(map(str.isspace, value)) and _SPEAKS.search(value):
        return None
    return KIND if is_chosen(value, plain=plain) else None


def _is_told(value: str) -> bool:
    return is_chosen(value, plain=False) and not is_measure(value)


def _read_adjacent(place: Place, noun: Noun) -> Hit | None:
    if not noun.adjacent and not _USER_BEFORE.search(place.before):
        return None
    # Only scripts without spaces do without one.
    match = _ADJACENT.match(place.text, place.end) if _APART.match(place.text, place.end) else None
    value = trim(match["said"]) if match else ""
    if match is None or is_reference(value) or not _is_told(value):
        return None
    return make_hit(place.text, match.start("said"), value, KIND)


def _read_said(place: Place) -> Hit | None:
    saying = read_saying(place)
    if saying is None or _ONE_TIME.search(place.before):
        return None
    if _is_told(saying.value):
        return make_hit(place.text, saying.begin, saying.value, KIND)
    return _read_word(place, saying)


def _read_word(place: Place, saying: Saying | None) -> Hit | None:
    """A bare word in quotes, or at the end of a clause that begins with "my password is"."""
    if saying is None or not saying.direct or len(saying.value) < 4 or is_hollow(saying.value):
        return None
    ends = _CLAUSE_END.match(place.text, saying.begin + len(saying.value))
    if saying.quoted or (ends and _is_no_remark(saying.value) and _IS_OWNED.search(place.before)):
        return make_hit(place.text, saying.begin, saying.value, KIND)
    return None


def _is_no_remark(word: str) -> bool:
    return word.isalpha() and word.lower() not in _REMARKS and not word.lower().endswith(("ing", "ed", "able", "ly"))
