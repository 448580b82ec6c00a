"""What is to become of one user's memories: made by reading exchanges, carried out by the vault in one go."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, NamedTuple

import msgspec

from proxy.models import Memory, Record
from proxy.remember.shelf import Item, Shelf, make_item
from proxy.statements import Statement

# Of where a thing was said, the last ones.
MOST_SOURCES: Final = 20


class Draft(NamedTuple):
    """A memory that is still to be made findable, with what is stated in it. *chain* and *parent* as of a record."""

    memory: Memory
    chain: bytes = b""
    parent: bytes = b""
    statements: tuple[Statement, ...] = ()


@dataclass
class Plan:
    """Changes of one user's memories, made on *shelf* at once and in the store when the vault carries them out.

    A plan that could not be carried out leaves its shelf in the future: it has to be made anew from the store.
    *changed*: other values for fields of memories that are stored. *tally* counts what became of what was said.
    """

    shelf: Shelf
    added: dict[str, Draft] = field(default_factory=dict)
    changed: dict[str, dict[str, Any]] = field(default_factory=dict)
    removed: set[str] = field(default_factory=set)
    tally: Counter[str] = field(default_factory=Counter)

    def add(self, draft: Draft) -> None:
        """A new memory, or a new text of one."""
        memory = draft.memory
        self.removed.discard(memory.id)
        self.changed.pop(memory.id, None)
        self.added[memory.id] = draft
        self.shelf.add(make_item(memory, draft.chain, draft.parent, draft.statements))

    def supersede(self, item: Item, by: str, at: datetime) -> None:
        """*item* does not hold any more."""
        item.superseded_by = by
        self._change(item.id, superseded_by=by, valid_until=at)

    def revive(self, item: Item) -> None:
        """*item* holds again."""
        item.superseded_by = None
        self._change(item.id, superseded_by=None, valid_until=None)

    def strengthen(self, item: Item, source: tuple[str, int]) -> None:
        """*item* was said again, there."""
        item.seen += 1
        item.sources = (*item.sources, source)[-MOST_SOURCES:]
        self._change(item.id, seen=item.seen, sources=item.sources)

    def remove(self, item: Item) -> None:
        """*item* is as if it had never been."""
        self.shelf.remove(item.id)
        self.changed.pop(item.id, None)
        if self.added.pop(item.id, None) is None:
            self.removed.add(item.id)

    def _change(self, memory_id: str, **fields: Any) -> None:
        draft = self.added.get(memory_id)
        if draft is None:
            self.changed.setdefault(memory_id, {}).update(fields)
        else:
            self.added[memory_id] = draft._replace(memory=msgspec.structs.replace(draft.memory, **fields))

    def apply(self, records: Iterable[Record]) -> list[Record]:
        """*records* with what has changed of them."""
        return [
            msgspec.structs.replace(record, memory=msgspec.structs.replace(record.memory, **fields))
            for record in records
            if (fields := self.changed.get(record.memory.id)) is not None
        ]
