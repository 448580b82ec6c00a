"""Questions put to a user's memories, by the production code and nothing else."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from proxy.embedders.local import LocalEmbedder
from proxy.models import Memory
from proxy.recall.composing import Block, find_block
from proxy.recall.query import Query
from proxy.recall.ranking import rank
from proxy.workingset import WorkingSet

# What ``memory.budget_tokens`` is when nobody sets it.
DEFAULT_BUDGET: Final = 1000


def count_quarters(text: str) -> int:
    """Tokens of *text*, taken as four characters each so that figures compare between models."""
    return -(-len(text) // 4)


@dataclass(frozen=True, slots=True)
class Isolation:
    """Whose memories the blocks held. *foreign* counts those that are not the asking user's, and should be 0."""

    users: int
    blocks: int
    memories: int
    foreign: int


class Witness:
    """Looks at every block that is made, whoever asked for it."""

    def __init__(self) -> None:
        self._owned: dict[str, Collection[str]] = {}
        self._blocks = self._memories = self._foreign = 0

    def enrol(self, user_id: str, memories: Collection[Memory]) -> None:
        """From now on *memories* are what the user may see: those of the data set's file, not of the store."""
        self._owned[user_id] = {memory.id for memory in memories}

    def see(self, user_id: str, block: Block | None) -> None:
        """Look at each memory of a block that was made for this user."""
        if block is None:
            return
        owned = self._owned[user_id]
        self._blocks += 1
        self._memories += len(block.memories)
        self._foreign += sum(memory.user_id != user_id or memory.id not in owned for memory in block.memories)

    def report(self) -> Isolation:
        """What was seen so far."""
        return Isolation(len(self._owned), self._blocks, self._memories, self._foreign)


class Asker:
    """Asks one user's working set, each question as a conversation of its own; *witness* sees every block."""

    def __init__(self, user_id: str, working_set: WorkingSet, embedder: LocalEmbedder, witness: Witness) -> None:
        self.user_id: Final = user_id
        self._working_set = working_set
        self._embedder = embedder
        self._witness = witness

    def make_query(self, text: str, asked_at: datetime | None = None) -> Query:
        """The query that a new conversation with this one message makes."""
        query = Query.from_text(text, asked_at=asked_at)
        return query.with_vector(self._embedder.embed_now([query.topic(self._working_set.speakers)])[0])

    def rank(self, query: Query, most: int) -> list[Memory]:
        """The *most* best memories, best first."""
        rows = rank(self._working_set, query).rows[:most]
        return [self._working_set.memories[row] for row in rows.tolist()]

    def find(self, query: Query, budget_tokens: int = DEFAULT_BUDGET) -> Block | None:
        """What would be injected."""
        block = find_block(self._working_set, query, budget_tokens=budget_tokens, count=count_quarters)
        self._witness.see(self.user_id, block)
        return block
