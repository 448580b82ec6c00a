"""What memory holds of one user, for the user to look into."""

import asyncio
import re
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final

import numpy as np

from proxy.errors import KeeperError
from proxy.keeper import wire
from proxy.keeper.client import KeeperClient
from proxy.models import Memory, Pack, Record, Scope
from proxy.packing import make_pack
from proxy.recall.profile import ProfileLine
from proxy.recall.standing import find_standing
from proxy.text import ANALYSIS, pack_terms, terms
from proxy.workingset import WorkingSet

# Of an id these are shown, and enough to name a memory by: two of a user's 20,000 share them once in twenty users.
NAME_CHARACTERS: Final = 8
# More than anybody has.
_ALL: Final = 1_000_000

_NAME: Final = re.compile(rf"[0-9a-f]{{{NAME_CHARACTERS},}}")


@dataclass(frozen=True, slots=True)
class Holdings:
    """All of a user's memories at one moment, those as well that no longer hold. *off*: the user has switched memory
    off.
    """

    working_set: WorkingSet
    off: bool

    @property
    def memories(self) -> list[Memory]:
        """Newest first."""
        return _sort(self.working_set.memories)

    @property
    def standing(self) -> list[ProfileLine]:
        """What the user stated for good, the most important first."""
        return list(find_standing(self.working_set).profile)

    def named(self, name: str) -> Memory | None:
        """The memory whose id begins with *name*, where there is just one and *name* can be the beginning of an id."""
        if not _NAME.fullmatch(name):
            return None
        found = [memory for memory in self.working_set.memories if memory.id.startswith(name)]
        return found[0] if len(found) == 1 else None

    def having(self, words: str) -> list[Memory] | None:
        """Those that have all of the *words*, in whatever form, newest first; None where these say nothing, as "all of
        it" does.
        """
        # One by one: a language that is recognised in all of them together may not be recognised in a memory.
        wanted = sorted({term for word in words.split() for term in terms(word)})
        if not wanted:
            return None
        rows = self.working_set.find(wanted).row
        complete = np.flatnonzero(np.bincount(rows) == len(wanted))
        return _sort([self.working_set.memories[row] for row in complete.tolist()])


def _sort(memories: list[Memory]) -> list[Memory]:
    return sorted(memories, key=lambda memory: (memory.created_at, memory.message_index, memory.id), reverse=True)


def name_of(memory: Memory) -> str:
    """What a user can call a memory by."""
    return memory.id[:NAME_CHARACTERS]


async def load_holdings(keeper: KeeperClient, scope: Scope) -> Holdings:
    """All of a user's memories, as they are now. Raises KeeperError where the keeper is away or sends damaged ones."""
    working_set, off = WorkingSet(), False
    try:
        async with aclosing(keeper.load(scope)) as parts:
            async for part in parts:
                working_set.add(part.pack)
                off = part.off
    except ValueError as exc:
        raise KeeperError(f"the keeper's answer cannot be read: {exc}") from exc
    # Recall is told of no others. A user may want to know of these, too, and above all to forget them.
    page: wire.MemoryPage = await keeper.call(wire.ListMemories(scope, _ALL, None, True))
    others = [memory for memory in page.memories if memory.id not in working_set]
    if others:
        working_set.add(await asyncio.to_thread(_pack, others))
    return Holdings(working_set, off)


async def is_off(keeper: KeeperClient, scope: Scope) -> bool:
    """Whether the user has switched memory off. Raises KeeperError where it is away."""
    async with aclosing(keeper.load(scope)) as parts:
        async for part in parts:
            return part.off
    return False


def _pack(memories: list[Memory]) -> Pack:
    return make_pack([Record(memory, b"", pack_terms(memory.text, memory.name), ANALYSIS) for memory in memories])
