"""Conversations that grow from request to request: what of each is new.

Each request resends what was said before, or the last of it. As the proxy does with live requests, a conversation that
its client does not name is known by its first question and answer, and what precedes by digests of it.
"""

from collections import Counter, OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise
from typing import Final, NamedTuple

from proxy import chain
from proxy.imports.base import Said
from proxy.models import Message, Scope

# An answer that is followed by another one to the same question so soon was made again.
SOON: Final = timedelta(hours=1)
# Messages whose digests are kept, about 400 bytes each, and openings that wait for what follows, with their texts.
MOST_DIGESTS: Final = 100_000
MOST_OPENINGS: Final = 5_000
# So many messages that follow each other in the same order are no coincidence.
_OVERLAP: Final = 2


class Talk(NamedTuple):
    """Messages of one conversation, from *first_index* on. *number*: of the record that they are from."""

    scope: Scope
    conversation_id: str
    first_index: int
    said: Sequence[Said]
    number: int


@dataclass(slots=True)
class _Opening:
    """The beginning of a conversation without a name, of which nothing more has come so far."""

    scope: Scope
    said: list[Said]
    digests: list[bytes]
    number: int

    @property
    def is_answered(self) -> bool:
        return self.said[-1].role == "assistant"


# A user's key, and what a conversation is called.
_Name = tuple[str, str]
# A user's key, and digests of a question.
_Question = tuple[str, tuple[bytes, ...]]
# A user's key, and digests of two messages that follow each other.
_Pair = tuple[str, *tuple[bytes, ...]]


class Tracker:
    """Takes requests in their order. *skipped* counts what is left out for good.

    What is known is bounded: of a conversation that nobody has gone on with for 100,000 messages, all comes once more,
    and whoever stores it knows it.
    """

    def __init__(self, skipped: Counter[str]) -> None:
        self._skipped = skipped
        self._known: OrderedDict[_Name, list[bytes]] = OrderedDict()
        self._pairs: dict[_Pair, tuple[str, int]] = {}
        self._count = 0
        self._openings: OrderedDict[_Question, _Opening] = OrderedDict()

    def take(self, scope: Scope, name: str | None, said: list[Said], number: int) -> Iterator[Talk]:
        """What a request, with its answer as the last of *said*, adds. *name*: as its client calls the conversation."""
        digests = [chain.digest(scope, Message(one.role, one.text)) for one in said]
        if name is None:
            name = self._find_window(scope, digests)
        if name is None:
            roles = [one.role for one in said]
            first = roles.index("user") if "user" in roles else 0
            end = roles.index("assistant", first) if "assistant" in roles[first:] else len(said)
            question = (scope.key, tuple(digests[:end]))
            request = _Opening(scope, said, digests, number)
            if len(said) <= end + 1:
                yield from self._hold(question, request)
                return
            yield from self._go_on(question, request)
            name = _recognise(scope, said)
        yield from self._add(scope, name, said, digests, number)

    def finish(self) -> Iterator[Talk]:
        """The openings that nothing has followed."""
        for opening in self._openings.values():
            yield from self._open(opening)
        self._openings.clear()

    def _hold(self, question: _Question, opening: _Opening) -> Iterator[Talk]:
        """Keeps an opening back: its answer may be made again, or may come with the next request only."""
        held = self._openings.get(question)
        if held is None or (opening.is_answered and not held.is_answered):
            self._openings[question] = opening
        elif opening.is_answered and opening.digests != held.digests:
            if opening.said[-1].at - held.said[-1].at < SOON:
                self._skipped["regenerated"] += 1
            else:
                yield from self._open(held)
            self._openings[question] = opening
        if len(self._openings) > MOST_OPENINGS:
            _, oldest = self._openings.popitem(last=False)
            yield from self._open(oldest)

    def _go_on(self, question: _Question, request: _Opening) -> Iterator[Talk]:
        """Lets go of the opening that *request* goes on from."""
        held = self._openings.get(question)
        if held is None:
            return
        if held.digests == request.digests[: len(held.digests)]:
            del self._openings[question]
            if held.is_answered:  # with the date that it had
                yield from self._open(held)
        elif request.said[-1].at - held.said[-1].at < SOON:
            del self._openings[question]
            self._skipped["regenerated"] += 1

    def _open(self, opening: _Opening) -> Iterator[Talk]:
        name = _recognise(opening.scope, opening.said)
        yield from self._add(opening.scope, name, opening.said, opening.digests, opening.number)

    def _add(self, scope: Scope, name: str, said: Sequence[Said], digests: list[bytes], number: int) -> Iterator[Talk]:
        known = self._known.get((scope.key, name), [])
        start, same = _match(known, digests)
        if same < len(said):
            yield Talk(scope, name, start + same, said[same:], number)
            self._remember(scope, name, [*known[: start + same], *digests[same:]])
        elif known:
            self._known.move_to_end((scope.key, name))

    def _find_window(self, scope: Scope, digests: list[bytes]) -> str | None:
        """The conversation in whose midst a request begins that brings its last messages only."""
        found = self._pairs.get((scope.key, *digests[:2])) if len(digests) > 1 else None
        if found is None:
            return None
        name, place = found
        known = self._known[scope.key, name]
        same = min(len(digests), len(known) - place)
        return name if place and digests[:same] == known[place : place + same] else None

    def _remember(self, scope: Scope, name: str, digests: list[bytes]) -> None:
        self._forget((scope.key, name))
        self._known[scope.key, name] = digests
        self._count += len(digests)
        for place, pair in enumerate(pairwise(digests)):
            self._pairs[scope.key, *pair] = (name, place)
        while self._count > MOST_DIGESTS and len(self._known) > 1:
            self._forget(next(iter(self._known)))

    def _forget(self, known: _Name) -> None:
        digests = self._known.pop(known, [])
        self._count -= len(digests)
        for pair in pairwise(digests):
            if self._pairs.get((known[0], *pair), ("", 0))[0] == known[1]:
                del self._pairs[known[0], *pair]


def _recognise(scope: Scope, said: Sequence[Said]) -> str:
    return chain.recognise(scope, [Message(one.role, one.text) for one in said])


def _match(known: Sequence[bytes], digests: Sequence[bytes]) -> tuple[int, int]:
    """Where in what is *known* a request begins, and how many of its messages stand there already.

    At the beginning, if the first one is the same; else where all that there is fits; else behind the end.
    """
    same = _count_same(known, digests)
    if same:
        return 0, same
    for start, digest in enumerate(known):
        if digest == digests[0]:
            same = _count_same(known[start:], digests)
            if same == len(known) - start or same == len(digests) >= _OVERLAP:
                return start, same
    return len(known), 0


def _count_same(one: Sequence[bytes], other: Sequence[bytes]) -> int:
    pairs = enumerate(zip(one, other, strict=False))
    return next((number for number, (first, second) in pairs if first != second), min(len(one), len(other)))
