"""Tokens of known formats: looked for within runs of characters that no prose has."""

import re
from collections.abc import Iterable, Iterator
from typing import Final

from proxy.redaction.base import Hit, Rule, Subject

# An escaped line end or a percent-encoded character before a token ends in a letter that is not the text's own.
_BEGIN: Final = r"(?<![A-Za-z0-9](?<!\\[nrt])(?<!%[0-9A-Fa-f]{2}))"


class TokenFinder:
    """All hits of *prefixed* rules, whose anchors begin a token, and of *marked* ones, whose anchors are inside."""

    def __init__(self, prefixed: Iterable[Rule], marked: Iterable[Rule]) -> None:
        self._rules: dict[str, list[tuple[Rule, re.Pattern[str]]]] = {}
        for rule in prefixed:
            for anchor in rule.anchors:
                self._rules.setdefault(anchor, []).append((rule, re.compile(rule.pattern, re.ASCII)))
        self._anchors = re.compile(_BEGIN + _branch(self._rules))
        self._marked = [
            (anchor, rule, re.compile(rule.pattern, re.ASCII)) for rule in marked for anchor in rule.anchors
        ]

    def __call__(self, subject: Subject) -> list[Hit]:
        return [hit for begin, end in subject.list_runs() for hit in self._read_run(subject.text, begin, end)]

    def _read_run(self, text: str, begin: int, end: int) -> Iterator[Hit]:
        run = text[begin:end]
        for anchor, rule, pattern in self._marked:
            if anchor in run:
                yield from filter(None, map(rule.read, pattern.finditer(text, begin, end)))
        while found := self._anchors.search(text, begin, end):
            hit = self._read_token(text, found)
            begin = found.end() if hit is None else hit.end
            if hit is not None:
                yield hit

    def _read_token(self, text: str, found: re.Match[str]) -> Hit | None:
        for rule, pattern in self._rules[found[0]]:
            match = pattern.match(text, found.start())
            hit = rule.read(match) if match else None
            if hit is not None:
                return hit
        return None


def _branch(anchors: Iterable[str]) -> str:
    """An expression for any of *anchors*, longest first, by their first letters, which it is decided by quickly."""
    letters: dict[str, list[str]] = {}
    for anchor in sorted(anchors, key=len, reverse=True):
        letters.setdefault(anchor[0], []).append(re.escape(anchor[1:]))
    return "(?:" + "|".join(f"{re.escape(first)}(?:{'|'.join(rest)})" for first, rest in letters.items()) + ")"
