"""Secrets in forms that programs and people keep to: headers, command lines, and lists of words for a wallet."""

import base64
import binascii
import re
from collections.abc import Callable, Iterator
from typing import Final

from proxy.redaction.base import Hit, Reader, Subject, hit_of
from proxy.redaction.values import is_chosen, is_hollow, is_reference, is_variable, trim

_AUTHORIZATION: Final = re.compile(
    r"authorization(?:\\?[\"'])?[\])]?[ \t]{0,4}[:=,][ \t]{0,4}(?:f?\\?[\"'`])?"
    r"(?:(?P<scheme>bearer|basic|token|api-?key)[ \t]+)?"
    r"(?P<secret>[\w.~+/=:-]{8,8192}+)",
    re.IGNORECASE | re.ASCII,
)
_BEARER: Final = re.compile(r"bearer[ \t]+(?P<secret>[\w.~+/=-]{16,8192}+)", re.IGNORECASE | re.ASCII)
_BASIC: Final = re.compile(r"basic[ \t]+(?P<secret>[A-Za-z0-9+/]{8,1024}+={0,2})", re.IGNORECASE)
_CURL: Final = re.compile(
    r"curl\b(?:(?!curl)[^\n]){0,400}?\s(?:-u|--user|--proxy-user)[ =]?[\"']?"
    r"[^\s:\"']{1,100}:(?P<secret>[^\s\"']{1,256})"
)
_SSHPASS: Final = re.compile(r"sshpass\s{1,4}-p\s{0,4}[\"']?(?P<secret>[^\s\"']{1,128})")
_MYSQL: Final = re.compile(r"mysql(?:(?!mysql)[^\n]){0,200}?\s-p(?P<secret>[^\s\"']{4,128})")
_WORD: Final = r"(?:\d{1,2}[.):][ \t]?)?[a-z]{3,8}"
_PHRASE: Final = re.compile(
    r"(?:(?:seed|recovery|backup|secret|mnemonic)[ _-]?(?:phrase|words?|mnemonic)?|mnemonic)[^\n:=]{0,40}?"
    r"(?:[:=]|\b(?:is|are)\b)\s{0,8}[\"'`]?"
    rf"(?P<secret>{_WORD}(?:[ \t,]{{1,3}}{_WORD}|\n[ \t]{{0,4}}{_WORD}){{11,23}})(?![a-z])",
    re.IGNORECASE,
)
# None of these is in the lists that such phrases are made of, and hardly a sentence does without.
_PROSE: Final = re.compile(
    r"\b(?:the|and|for|are|was|were|your|but|has|had|have|from|which|been|into|not|its|our|their|them|with|these|would)\b",
    re.IGNORECASE,
)
_LENGTHS: Final = (24, 21, 18, 15, 12)


def list_header_leads() -> Iterator[tuple[bytes, Reader]]:
    """The word that each form begins with, and what reads on from it."""
    for literal, pattern, read in _FORMS:
        yield literal, _make_reader(pattern, read)


def _make_reader(pattern: re.Pattern[str], judge: Callable[[re.Match[str]], Hit | None]) -> Reader:
    def read(subject: Subject, place: int) -> Hit | None:
        match = pattern.match(subject.text, place)
        return judge(match) if match else None

    return read


def _read_authorization(match: re.Match[str]) -> Hit | None:
    value = match["secret"]
    if (match["scheme"] or "").lower() == "basic":
        return hit_of(match, "authorization") if _holds_password(value) else None
    return _read_bearer(match)


def _read_bearer(match: re.Match[str]) -> Hit | None:
    value = trim(match["secret"])
    if is_hollow(value) or is_reference(value) or not re.search(r"\d", value) or not re.search(r"[A-Za-z]", value):
        return None
    begin = match.start("secret")
    return Hit(begin, begin + len(value), "authorization")


def _read_basic(match: re.Match[str]) -> Hit | None:
    return hit_of(match, "authorization") if _holds_password(match["secret"]) else None


def _holds_password(value: str) -> bool:
    try:
        decoded = base64.b64decode(value.rstrip("=") + "=" * (-len(value.rstrip("=")) % 4), validate=True)
    except binascii.Error:
        return False
    return b":" in decoded and decoded.isascii() and decoded.decode("ascii").isprintable()


def _read_argument(match: re.Match[str]) -> Hit | None:
    value = match["secret"]
    return None if is_hollow(value) or is_variable(value) else hit_of(match, "password")


def _read_mysql(match: re.Match[str]) -> Hit | None:
    return _read_argument(match) if is_chosen(match["secret"], plain=False) else None


def _read_phrase(match: re.Match[str]) -> Hit | None:
    words = list(re.finditer(r"[A-Za-z]+", match["secret"]))
    for length in _LENGTHS:
        phrase = match["secret"][: words[length - 1].end()] if length <= len(words) else ""
        if phrase and not _PROSE.search(phrase):
            return Hit(match.start("secret"), match.start("secret") + len(phrase), "seed_phrase")
    return None


_FORMS: Final[tuple[tuple[bytes, re.Pattern[str], Callable[[re.Match[str]], Hit | None]], ...]] = (
    (b"authorization", _AUTHORIZATION, _read_authorization),
    (b"bearer", _BEARER, _read_bearer),
    (b"basic ", _BASIC, _read_basic),
    (b"curl", _CURL, _read_argument),
    (b"sshpass", _SSHPASS, _read_argument),
    (b"mysql", _MYSQL, _read_mysql),
    (b"seed", _PHRASE, _read_phrase),
    (b"recovery", _PHRASE, _read_phrase),
    (b"mnemonic", _PHRASE, _read_phrase),
)
