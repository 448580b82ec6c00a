"""What one user really said and heard, against what is stored of it."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final, Literal, NamedTuple

import msgspec

from proxy.evaluation.dataset import Position
from proxy.models import Memory

# What a text is to memory: said for good; said besides, and may be kept; small talk; replaced by another; or nothing
# that a user said or was told.
Standing = Literal["real", "extra", "chatter", "abandoned", "foreign"]

_MASK: Final = re.compile(r"\[[a-z]+: ?[\w.-]+\]")
_WORD: Final = re.compile(r"\w+")
# At the end of a reply that was too long to be kept whole.
_CUT: Final = " […]"
# Of a stored text that is part of a longer one, the least that tells whose it is.
_TELLING: Final = 20


class Entry(NamedTuple):
    """One text as it was said. *label*: what kind of noise it is."""

    standing: Standing
    label: str


class Verdict(msgspec.Struct, frozen=True):
    """What is wrong with one user's memories. *faults* and *unsupported* by kind of noise; *units* are all there are.

    *unsupported*: of a user, what the user did not say; of the assistant, what is no reply to what the user said.
    *abandoned*: what an edit or another answer has taken the place of. *junk*: small talk. *copies*: units whose text
    another one has as well. *secrets*: of those that were said, how many can be read.
    """

    units: int = 0
    unsupported: Counter[str] = msgspec.field(default_factory=Counter)
    abandoned: Counter[str] = msgspec.field(default_factory=Counter)
    junk: Counter[str] = msgspec.field(default_factory=Counter)
    copies: int = 0
    secrets: int = 0


class Diary:
    """Of one user."""

    def __init__(self) -> None:
        self.secrets: list[str] = []
        self._entries: defaultdict[tuple[str, str], list[Entry]] = defaultdict(list)
        self._places: dict[Position, Position] = {}
        self._evidence: defaultdict[str, set[Position]] = defaultdict(set)

    def note(self, role: str, text: str, standing: Standing, label: str) -> None:
        """*text* went over the wire as said by *role*."""
        self._entries[role, normalise(text)].append(Entry(standing, label))

    def place(self, text: str, original: Position, stored: Position | None) -> None:
        """A message of the data set was said; *stored*: where it stands in a conversation that has a name."""
        self._evidence[_simplify(text)].add(original)
        if stored is not None:
            self._places[stored] = original

    def locate(self, memory: Memory) -> set[Position]:
        """Which messages of the data set a memory is: those of its text, and those that it has taken in."""
        places = ((memory.conversation_id, memory.message_index), *memory.sources)
        known = {self._places[place] for place in places if place in self._places}
        return known | self._evidence.get(_simplify(memory.text), set())

    def judge(self, memories: Iterable[Memory]) -> Verdict:
        """Looks at every memory that holds."""
        verdict, texts = Verdict(), Counter[str]()
        for memory in memories:
            texts[normalise(memory.text)] += 1
            standing, label = self._find(memory)
            count = self._pick(verdict, standing)
            if count is not None:
                count[label] += 1
        return msgspec.structs.replace(
            verdict,
            units=texts.total(),
            copies=sum(count - 1 for count in texts.values()),
            secrets=sum(any(secret in text for text in texts) for secret in self.secrets),
        )

    @staticmethod
    def _pick(verdict: Verdict, standing: Standing) -> Counter[str] | None:
        tables: Mapping[Standing, Counter[str]] = {
            "chatter": verdict.junk,
            "abandoned": verdict.abandoned,
            "foreign": verdict.unsupported,
        }
        return tables.get(standing)

    def _find(self, memory: Memory) -> Entry:
        """The best that can be said of it."""
        text = normalise((memory.quote if memory.kind == "fact" else memory.text) or "")
        role = "user" if memory.kind == "fact" else memory.role
        entries = self._entries.get((role, text)) or self._entries.get((role, normalise(text.removesuffix(_CUT))))
        entries = entries or self._find_parts(role, text)
        return min(entries, key=lambda entry: _ORDER.index(entry.standing)) if entries else Entry("foreign", "other")

    def _find_parts(self, role: str, text: str) -> list[Entry]:
        """What *text* is a part of; a mask stands for anything."""
        parts = [part for part in _MASK.split(text.removesuffix(_CUT)) if part]
        if sum(map(len, parts)) < _TELLING:
            return []
        pattern = re.compile(".*".join(map(re.escape, parts)))
        return [
            entry
            for (said_by, said), entries in self._entries.items()
            if said_by == role and pattern.search(said)
            for entry in entries
        ]


_ORDER: Final[tuple[Standing, ...]] = ("real", "extra", "abandoned", "chatter", "foreign")


def normalise(text: str) -> str:
    """*text* with single spaces."""
    return " ".join(text.split())


def _simplify(text: str) -> str:
    """The words alone: who says the same with another comma has said the same."""
    return " ".join(_WORD.findall(text.casefold()))


def count_readable(folder: Path, secrets: Iterable[str]) -> int:
    """How many of *secrets* stand in a file of *folder*, as they were said."""
    wanted = {secret.encode() for secret in secrets}
    found: set[bytes] = set()
    for path in folder.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            found |= {secret for secret in wanted - found if secret in content}
    return len(found)
