"""Keys, tokens and secrets of machines, which have no form of their own and are told by what they are assigned to."""

import re
from typing import Final

from proxy.redaction.assignments import Place, make_hit, read_assignment, read_saying
from proxy.redaction.base import Hit, Reader, Subject, follow, places
from proxy.redaction.nouns import KEY_WORDS, MACHINE_NOUNS, OPEN_NAMES, VENDORS
from proxy.redaction.values import is_random

_KEYS: Final = tuple(KEY_WORDS.split())
_IS_OPEN: Final = re.compile(OPEN_NAMES, re.IGNORECASE)
# Behind the noun, so much may name a vendor still: "API key for Datadog".
_BEHIND: Final = 16


class KeyFinder:
    """Random values behind a noun; a vendor that is named beside it names the kind."""

    def __init__(self) -> None:
        self._vendors = [
            (kind, re.compile(name, re.IGNORECASE), re.compile(form)) for kind, (name, form) in VENDORS.items()
        ]
        self._leads = [(noun.encode(), self._make_reader(noun, kind)) for noun, kind in MACHINE_NOUNS.items()]

    def __call__(self, subject: Subject) -> list[Hit]:
        if not subject.has_random:
            return []
        folded = subject.folded
        return [hit for noun, read in self._leads for hit in follow(subject, places(folded, noun), read)]

    def _make_reader(self, noun: str, kind: str) -> Reader:
        def read(subject: Subject, begin: int) -> Hit | None:
            end = begin + len(noun)
            if not subject.has_random_near(end):
                return None
            place = Place(subject.text, begin, end)
            if noun == "key" and not place.before.lower().rstrip(" _.-").endswith(_KEYS):
                return None
            return self._read(place, kind)

        return read

    def _read(self, place: Place, kind: str) -> Hit | None:
        def judge(value: str, _plain: bool) -> str | None:
            return self._judge(place, value, kind)

        if hit := read_assignment(place, judge):
            return hit
        saying = read_saying(place)
        named = judge(saying.value, False) if saying else None
        return make_hit(place.text, saying.begin, saying.value, named) if saying and named else None

    def _judge(self, place: Place, value: str, kind: str) -> str | None:
        if any(map(str.isspace, value)):
            return None
        named = self._name_vendor(place, value) or (kind if is_random(value) else None)
        return None if named and _IS_OPEN.search(place.before) else named

    def _name_vendor(self, place: Place, value: str) -> str | None:
        name = place.before + place.text[place.begin : place.end + _BEHIND]
        for kind, vendor, form in self._vendors:
            if form.fullmatch(value) and vendor.search(name):
                return kind
        return None
