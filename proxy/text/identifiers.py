"""Names out of programs and networks: what they have beside the words that they are made of.

Each counts once a text: programs repeat their names, which would make a long listing about all of them.
"""

import re
from collections.abc import Iterator
from typing import Final

# Each pattern begins with a character that prose has little of, and looks around from there only: at 3 ns a character,
# looking for whole names costs 200.
_HUMP: Final = re.compile(r"[A-Z](?:(?<=[a-z][A-Z])|(?<=[A-Z]{2})(?=[a-z]{2}))")
_SIGN: Final = re.compile(r"[_@#+:v](?:(?<=[_@])|(?<=[A-Za-z]#)|(?<=[+]{2})|(?<=:)(?=//)|(?<=v)(?=[0-9]+[.][0-9]))")
_VERSION: Final = re.compile("v(?=[0-9]+[.][0-9])")

_BEFORE: Final = re.compile(r"(?<![\w.+-])[\w.+-]*\Z", re.ASCII)
_MOST_BEFORE: Final = 40
_NAME: Final = re.compile(r"[A-Za-z0-9]+")
_PART: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_LEAST_PART: Final = 3
# Two parts with capitals are a brand ("JavaScript", "GitHub") more often than a class, and no words by themselves.
_LEAST_PARTS: Final = 3
_WHOLE: Final = re.compile(
    r"""
    [\w.+-]+ @ \w[\w-]* (?:\.\w[\w-]*)+        # an address of e-mail
    | \w+ :// (?P<host> [\w-]+ (?:\.[\w-]+)+)
    | v (?P<version> \d+ (?:\.\d+)+)
    | [A-Za-z] (?:\+\+|\#) (?!\w)              # a programming language
    | [A-Za-z0-9]+ (?:_[A-Za-z0-9]+)+ (?!\w)
    """,
    re.ASCII | re.VERBOSE,
)


def find_parts(text: str) -> list[str]:
    """Words inside of names like ``getUserName`` and ``HTTPServer``, in lower case, where they are words at all."""
    return list(dict.fromkeys(_split_names(text))) if _HUMP.search(text) else []


def find_wholes(text: str) -> list[str]:
    """Names with signs in them, which otherwise only their parts stand for: ``c++``, ``get_name``, ``ann@mail.net``."""
    return list(dict.fromkeys(_match_names(text))) if _has_sign(text) else []


def _has_sign(text: str) -> bool:
    # What _SIGN finds, and a little more, in a tenth of its time.
    return "_" in text or "@" in text or "#" in text or "++" in text or "://" in text or bool(_VERSION.search(text))


def _split_names(text: str) -> Iterator[str]:
    end = 0
    for hump in _HUMP.finditer(text):
        if hump.start() >= end and (name := _NAME.match(text, _find_begin(text, hump.start()))):
            end = name.end()
            parts = _PART.findall(name[0])
            if name[0][0].islower() or len(parts) >= _LEAST_PARTS:
                yield from (part.lower() for part in parts if len(part) >= _LEAST_PART and part.isalpha())


def _match_names(text: str) -> Iterator[str]:
    end = 0
    for sign in _SIGN.finditer(text):
        if sign.start() >= end and (name := _WHOLE.match(text, _find_begin(text, sign.start()))):
            end = name.end()
            yield (name["host"] or name["version"] or name[0]).lower()


def _find_begin(text: str, place: int) -> int:
    before = _BEFORE.search(text, max(0, place - _MOST_BEFORE), place)
    return before.start() if before else place
