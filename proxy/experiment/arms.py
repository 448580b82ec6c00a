"""Which users are served without memory, and what is counted of those and of the others.

Arms are of users, by assignment: whatever becomes of a request, it counts for the arm that its user is in. So the two
differ by nothing but memory, and by chance.
"""

import hashlib
import math
from datetime import datetime
from typing import Final, NamedTuple, Self

import msgspec

from proxy.experiment.census import Census
from proxy.models import Scope, Usage, now

# Users are hashed into so many groups, between which an arm's variance is seen: see proxy.experiment.groups.
GROUPS: Final = 64

# What is added up for each group.
COLUMNS: Final = (
    "turns",
    "blocks",
    "block_tokens",
    "followups",
    "corrections",
    "reported",
    "prompt_tokens",
    "completion_tokens",
    "cacheable",
    "cacheable_tokens",
    "cached_tokens",
    "answered",
    "waited_s",
)
_TURNS, _BLOCKS, _BLOCK_TOKENS, _FOLLOWUPS, _CORRECTIONS = range(5)
_REPORTED, _PROMPT, _COMPLETION, _CACHEABLE, _CACHEABLE_TOKENS, _CACHED = range(5, 11)
_ANSWERED, _WAITED = range(11, 13)
_WIDTH: Final = len(COLUMNS)

# Waiting times in steps of 1/16 of e, that is 6 %, from 0.1 ms to a quarter of an hour.
_SHORTEST_S: Final = 1e-4
_STEPS: Final = 16
_BINS: Final = 256


class Place(NamedTuple):
    """Where a user is in the experiment. *mark*: 58 bits to tell users apart by."""

    held_out: bool
    group: int
    mark: int


class Draw:
    """Decides who is in which arm. The same for all processes and at all times, and independent of how users are spread
    over shards, because it hashes for itself. With a higher *holdout_percent* those held out stay held out.
    """

    def __init__(self, holdout_percent: float) -> None:
        self._below = round(holdout_percent / 100 * (1 << 64))

    def place(self, scope: Scope) -> Place:
        """Where *scope* is. Takes 1 µs."""
        digest = hashlib.blake2b(scope.key.encode("ascii"), digest_size=16, person=b"mp-holdout").digest()
        mark = int.from_bytes(digest[8:])
        return Place(int.from_bytes(digest[:8]) < self._below, mark % GROUPS, mark // GROUPS)


class Arm(msgspec.Struct):
    """What was counted of one arm's users. Of the same size whatever there is to count, some 10 kB.

    *sums*: for each group its :data:`COLUMNS`. *waits*: how many answers began within each step of time.
    """

    sums: list[float] = msgspec.field(default_factory=lambda: [0.0] * (GROUPS * _WIDTH))
    waits: list[int] = msgspec.field(default_factory=lambda: [0] * _BINS)
    users: Census = msgspec.field(default_factory=Census)

    def note_turn(self, place: Place, block_tokens: int, corrects: bool | None) -> None:
        """A user's turn goes upstream, with a block of so many tokens, or without one.

        *corrects*: whether it takes exception to the answer before it; None where there was no answer.
        """
        sums, at = self.sums, place.group * _WIDTH
        sums[at + _TURNS] += 1
        if block_tokens:
            sums[at + _BLOCKS] += 1
            sums[at + _BLOCK_TOKENS] += block_tokens
        if corrects is not None:
            sums[at + _FOLLOWUPS] += 1
            sums[at + _CORRECTIONS] += corrects
        self.users.add(place.mark)

    def note_answer(self, place: Place, usage: Usage | None, waited_s: float | None) -> None:
        """What the answer to a turn took, and how long after the request it began; None for what nobody knows."""
        if waited_s is not None:
            self._note_wait(place, waited_s)
        if usage is not None:
            self._note_usage(place, usage)

    def _note_wait(self, place: Place, seconds: float) -> None:
        at = place.group * _WIDTH
        self.sums[at + _ANSWERED] += 1
        self.sums[at + _WAITED] += seconds
        step = int(math.log(max(seconds, _SHORTEST_S) / _SHORTEST_S) * _STEPS)
        self.waits[min(step, _BINS - 1)] += 1

    def _note_usage(self, place: Place, usage: Usage) -> None:
        sums, at = self.sums, place.group * _WIDTH
        sums[at + _REPORTED] += 1
        sums[at + _PROMPT] += usage.prompt
        sums[at + _COMPLETION] += usage.completion
        if usage.cached is not None:
            sums[at + _CACHEABLE] += 1
            sums[at + _CACHEABLE_TOKENS] += usage.prompt
            sums[at + _CACHED] += usage.cached

    def column(self, name: str) -> list[float]:
        """One column, a number a group."""
        return self.sums[COLUMNS.index(name) :: _WIDTH]

    def median_wait(self) -> float | None:
        """Half of the answers began within so many seconds; right to 3 %. None without any."""
        left = sum(self.waits) / 2
        for step, count in enumerate(self.waits):
            left -= count
            if count and left <= 0:
                return _SHORTEST_S * math.exp((step + 0.5) / _STEPS)
        return None

    def merge(self, other: "Arm") -> None:
        """Adds what another process has counted."""
        self.sums = [mine + theirs for mine, theirs in zip(self.sums, other.sums, strict=True)]
        self.waits = [mine + theirs for mine, theirs in zip(self.waits, other.waits, strict=True)]
        self.users.merge(other.users)


class Experiment(msgspec.Struct):
    """Both arms, *since* some moment. Accumulators of several processes can be added."""

    memory: Arm = msgspec.field(default_factory=Arm)
    holdout: Arm = msgspec.field(default_factory=Arm)
    since: datetime = msgspec.field(default_factory=now)

    def arm(self, place: Place) -> Arm:
        return self.holdout if place.held_out else self.memory

    def merge(self, other: "Experiment") -> None:
        """Adds what another process has counted. ValueError for one of another make."""
        self.memory.merge(other.memory)
        self.holdout.merge(other.holdout)
        self.since = min(self.since, other.since)

    def to_builtins(self) -> dict[str, object]:
        """For another process."""
        plain: dict[str, object] = msgspec.to_builtins(self)
        return plain

    @classmethod
    def from_builtins(cls, plain: object) -> Self:
        """What :meth:`to_builtins` made. ValueError for anything else."""
        return msgspec.convert(plain, cls)
