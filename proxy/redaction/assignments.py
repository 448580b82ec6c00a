"""Values by the noun that stands before them: assigned to it, handed over with it, or following it as a flag."""

import re
from collections.abc import Callable
from typing import Final, NamedTuple

from proxy.redaction.base import Hit
from proxy.redaction.nouns import ABOUT, COPULAS, FILLERS
from proxy.redaction.values import is_reference, is_variable, trim

# So much before a noun belongs to its name: "CLOUDFLARE_API_", "the secret of our Datadog ".
_BEFORE: Final = 32

# Of a bare value the beginning decides; when it is a hit, it goes on to the next space.
_QUOTED: Final = r"(?P<quote>\\?[\"'`])(?P<quoted>(?:(?!(?P=quote))(?:\\.|[^\n\\])){1,1024}+)(?P=quote)"
_BARE: Final = r"(?P<bare>[^\s\"'`<>“”„«»「」]{1,128}+)"
_SIGN: Final = r"(?:={1,3}>?|:=|->|[:：](?!:)|>(?![\s\"'`])|[ \t]\|)"
# A name's tail, what closes it, a sign, and the value; a type may stand between: ``password: str = "…"``.
_ASSIGNED: Final = re.compile(
    r"(?P<tail>[A-Za-z0-9_.-]{0,32})(?:\\?[\"'`]|[\])*]){0,3}+[ \t]{0,16}+"
    rf"(?::[ \t]{{0,4}}[A-Za-z][\w.]{{0,24}}(?:\[[\w., |]{{1,40}}\])?[ \t]{{0,4}}(?==[^=]))?(?P<sign>{_SIGN})"
    rf"[ \t]{{0,16}}+(?:\*\*[ \t]?|[rbuf](?=[\"'])|\n[ \t]{{0,16}}(?=[\"'`]))?(?:{_QUOTED}|{_BARE})",
)
# Handed over: password("…"), "password", "…", PASSWORD '…', name="password" value="…".
_PASSED: Final = re.compile(
    r"(?P<tail>)(?P<sign>)(?:[(][ \t]{0,4}|\\?[\"'](?:[ \t]{0,4},[ \t]{0,4}|[ \t]value=)|[ \t])"
    r"(?P<quote>\\?[\"'])(?P<quoted>(?:(?!(?P=quote))(?:\\.|[^\n\\])){1,1024}+)(?P=quote)"
)
_FLAG: Final = re.compile(rf"(?P<tail>)(?P<sign>[ \t]{{1,4}}+)(?!-)(?:{_QUOTED}|{_BARE})")
_FLAG_BEFORE: Final = re.compile(r"(?:^|\s)--?[\w-]*$")
_SAID: Final = re.compile(
    rf"(?P<words>(?:[ \t]+[^\s.,;:!?=\"'<>]{{1,24}}){{0,6}}?)(?:{COPULAS})(?:[ \t]+{FILLERS})?[:：]?[ \t\n]{{0,4}}"
    r"(?P<open>[\"'`“”„«「『]|\*\*)?(?P<said>[^\s\"'`“”«»<>「」『』]{1,128}+)(?P<close>[\"'`“”»」』])?",
    re.IGNORECASE,
)
# Without any of these in sight, whatever is said of a noun is no secret.
_SIGNIFICANT: Final = re.compile(r"[0-9!@#$%^&*+~|\\§€£\"'`“„«「『]")
_SIGHT: Final = 192
_KEY: Final = re.compile(r"[ \t]{0,16}(?:export |set )?[\w.-]{0,64}")
_IS_ABOUT: Final = re.compile(ABOUT, re.IGNORECASE)
_REST: Final = re.compile(r"[^\s\"'`<>“”„«»「」,;)\]}]*")

# The kind of a value, if it is a secret. *plain*: the place allows for nothing but a value.
Judge = Callable[[str, bool], str | None]


class Place(NamedTuple):
    """Where a noun stands in a text."""

    text: str
    begin: int
    end: int

    @property
    def before(self) -> str:
        return self.text[max(0, self.begin - _BEFORE) : self.begin]

    @property
    def noun(self) -> str:
        return self.text[self.begin : self.end]

    @property
    def is_significant(self) -> bool:
        """Whether anything but words follows before long."""
        return _SIGNIFICANT.search(self.text, self.end, self.end + _SIGHT) is not None


class Saying(NamedTuple):
    """What a text says that a noun is."""

    begin: int
    value: str
    direct: bool
    quoted: bool


def read_assignment(place: Place, judge: Judge) -> Hit | None:
    """What is assigned, follows a flag, or is handed over."""
    text, end = place.text, place.end
    for match in (_ASSIGNED.match(text, end), _match_flag(place), _PASSED.match(text, end)):
        if match and not _IS_ABOUT.fullmatch(match["tail"]):
            hit = _read_quoted(match, judge) if match["quote"] else _read_bare(place, match, judge)
            if hit:
                return hit
    return None


def read_saying(place: Place) -> Saying | None:
    """What comes after "is" or its like, up to six words behind the noun."""
    match = _SAID.match(place.text, place.end)
    value = trim(match["said"]) if match else ""
    if match is None or not value or is_reference(value):
        return None
    return Saying(match.start("said"), value, not match["words"], bool(match["open"] and match["close"]))


def make_hit(text: str, begin: int, value: str, kind: str) -> Hit:
    """A hit of *value*, and of what it goes on with where it was cut at its longest."""
    end = begin + len(value)
    rest = _REST.match(text, end) if len(value) >= 128 else None
    return Hit(begin, rest.end() if rest else end, kind)


def _match_flag(place: Place) -> re.Match[str] | None:
    if "-" not in place.before or not _FLAG_BEFORE.search(place.before):
        return None
    return _FLAG.match(place.text, place.end)


def _read_quoted(match: re.Match[str], judge: Judge) -> Hit | None:
    value = match["quoted"]
    kind = None if is_variable(value) else judge(value, bool(match["sign"]))
    return Hit(*match.span("quoted"), kind) if kind else None


def _read_bare(place: Place, match: re.Match[str], judge: Judge) -> Hit | None:
    value = trim(match["bare"])
    if not value or is_reference(value):
        return None
    kind = judge(value, _is_plain(place, match, value))
    return make_hit(place.text, match.start("bare"), value, kind) if kind else None


def _is_plain(place: Place, match: re.Match[str], value: str) -> bool:
    """Whether a word without quotes is a value here: after a flag, in a shell, or as a whole line of a file.

    Anywhere else in code it is a variable, and in prose a word.
    """
    if match["sign"].isspace():
        return True
    name = place.noun + match["tail"]
    is_shell = name.isupper() and match.end("sign") == match.start("bare")
    return match["sign"] == "=" and (is_shell or (value.isalpha() and _is_line(place, match)))


def _is_line(place: Place, match: re.Match[str]) -> bool:
    begin = place.text.rfind("\n", 0, place.begin) + 1
    return _KEY.fullmatch(place.text, begin, place.begin) is not None and match.end() == _find_line_end(match)


def _find_line_end(match: re.Match[str]) -> int:
    end = match.string.find("\n", match.end())
    return len(match.string) if end < 0 else end
