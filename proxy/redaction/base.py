"""What all detectors share: a rule as data, a hit, and a text prepared for cheap first looks."""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import AnyStr, Final, Literal, NamedTuple

# A token has no space in it, and nothing beyond ASCII, which is a question mark in the raw form; 20 is the shortest one
# known by its form (AWS: AKIA and 16), 16 the shortest that is believed to be random.
_SHORTEST_TOKEN: Final = b"x" * 20
_SHORTEST_RANDOM: Final = b"x" * 16
# How far behind its name a random value may begin.
_REACH: Final = 256
_RUNS: Final = bytes(ord("x" if 33 <= byte <= 126 and byte != ord("?") else " ") for byte in range(256))
_DIGITS: Final = bytes(ord("0" if chr(byte) in "0123456789" else "x") for byte in range(256))


class Hit(NamedTuple):
    """Characters *begin* to *end* of a text are a secret of this *kind*; the mask says *label* where it is set."""

    begin: int
    end: int
    kind: str
    label: str = ""
    family: Literal["secret", "personal"] = "secret"

    @property
    def mask(self) -> str:
        """What takes its place: it says what was there, and nothing about the value."""
        return f"[{self.family}: {self.label or self.kind}]"

    def move(self, offset: int) -> "Hit":
        """The same in a text that begins *offset* characters earlier."""
        return self._replace(begin=self.begin + offset, end=self.end + offset)


@dataclass(frozen=True, slots=True)
class Rule:
    """One format of one issuer.

    Attributes:
        kind: what the mask and the metric call it.
        anchors: literals, without one of which the pattern cannot match: the prefilter.
        pattern: what is masked, or its group ``secret`` where it has one.
        why: what in it makes it certain.
        check: the last word on a match that the form alone does not settle.
    """

    kind: str
    anchors: tuple[str, ...]
    pattern: str
    why: str
    check: Callable[[str], bool] | None = None

    def read(self, match: re.Match[str]) -> Hit | None:
        """The hit that *match* is, if it passes the check."""
        hit = hit_of(match, self.kind)
        return hit if self.check is None or self.check(match.string[hit.begin : hit.end]) else None


class Subject:
    """A text that is looked through, and its shapes, one byte a character, made when first asked for.

    Searching bytes for a literal costs half a nanosecond a byte, a regular expression ten to fifty times as much; and
    a text without a single long run, keyword or number, as most are, is never shown to one.
    """

    def __init__(self, text: str) -> None:
        self.text: Final = text
        self.raw: Final = text.encode("ascii", "replace")
        self.folded: Final = self.raw.lower()

    @property
    def has_number(self) -> bool:
        """Whether four digits stand together."""
        return b"0000" in self.raw.translate(_DIGITS)

    @property
    def digits(self) -> int:
        """How many there are in all."""
        return len(self.raw) - len(self.raw.translate(None, b"0123456789"))

    @cached_property
    def has_random(self) -> bool:
        """Whether so many characters stand together anywhere that they could be random."""
        return _SHORTEST_RANDOM in self._shape

    def has_random_near(self, place: int) -> bool:
        """The same, for what begins at *place* or not long after."""
        return self._shape.find(_SHORTEST_RANDOM, place, place + _REACH) >= 0

    def list_runs(self) -> list[tuple[int, int]]:
        """Where so many characters stand together that they could be a token."""
        runs: list[tuple[int, int]] = []
        begin = self._shape.find(_SHORTEST_TOKEN)
        while begin >= 0:
            end = self._shape.find(b" ", begin)
            end = len(self._shape) if end < 0 else end
            runs.append((begin, end))
            begin = self._shape.find(_SHORTEST_TOKEN, end)
        return runs

    @cached_property
    def _shape(self) -> bytes:
        return self.raw.translate(_RUNS)


# Whether a secret is what a literal leads to that stands there.
Reader = Callable[[Subject, int], Hit | None]


class LeadFinder:
    """Hits that a literal, in lower-case ASCII, leads to, each with the one who knows how to read on from there."""

    def __init__(self, leads: Iterable[tuple[bytes, Reader]]) -> None:
        self._leads: Final[dict[bytes, list[Reader]]] = {}
        for literal, read in leads:
            self._leads.setdefault(literal, []).append(read)

    def __call__(self, subject: Subject) -> list[Hit]:
        folded = subject.folded
        found = [(literal, read) for literal in self._leads if literal in folded for read in self._leads[literal]]
        return [hit for literal, read in found for hit in follow(subject, places(folded, literal), read)]


def follow(subject: Subject, leads: Iterable[int], read: Reader) -> Iterator[Hit]:
    """What *read* finds where it is led to; a lead within what was found leads nowhere."""
    end = 0
    for place in leads:
        hit = read(subject, place) if place >= end else None
        if hit is not None:
            end = hit.end
            yield hit


def places(haystack: AnyStr, needle: AnyStr) -> Iterator[int]:
    """Where *needle* stands, from left to right, overlaps left out."""
    place = haystack.find(needle)
    while place >= 0:
        yield place
        place = haystack.find(needle, place + len(needle))


def hit_of(match: re.Match[str], kind: str) -> Hit:
    """The group ``secret`` if the pattern has one and it took part, else the whole match."""
    group = "secret" if "secret" in match.re.groupindex and match["secret"] is not None else 0
    return Hit(match.start(group), match.end(group), kind)
