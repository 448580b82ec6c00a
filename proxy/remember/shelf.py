"""What the write path knows of one user's memories: who precedes whom, what says the same, what is about what."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from hashlib import blake2b
from typing import Final

import msgspec

from proxy.models import Kind, Memory, Message, Origin, Record
from proxy.statements import Statement
from proxy.text import terms

_WORD: Final = re.compile(r"\w+(?:['’]\w+)*")
# Said with or without these, it is the same.
_FILLERS: Final = frozenset(
    "oh well so just really actually please hey hi hello um uh okay ok btw also anyway".split()  # noqa: SIM905  # one glance
)
# Of a text that states something, so much has to be the statement for it to be about nothing else.
_SOLE: Final = 0.6
# A shorter answer means what its question makes of it.
_SELF_CONTAINED: Final = 4
# In characters.
_BEGINNING: Final = 500

# Ids of memories by what they have in common.
_Index = defaultdict[bytes | str, list[str]]


class Item(msgspec.Struct):
    """One memory, without its text. *gist*: what :func:`find_gist` makes of that; *topics*: what it states something
    about, if it does little else. Both are empty for what nothing can be said of. *words*: of a conversation's first
    message, what it is known by when it is edited.
    """

    id: str
    kind: Kind
    role: str
    origin: Origin
    conversation_id: str
    index: int
    at: datetime
    chain: bytes
    parent: bytes
    gist: bytes
    topics: tuple[str, ...]
    superseded_by: str | None
    seen: int
    sources: tuple[tuple[str, int], ...]
    words: frozenset[int] = frozenset()

    @property
    def live(self) -> bool:
        return self.superseded_by is None


class Shelf:
    """The items of one user. Not thread-safe."""

    def __init__(self, records: Iterable[Record] = ()) -> None:
        self._items: dict[str, Item] = {}
        self._by_chain: _Index = defaultdict(list)
        self._by_parent: _Index = defaultdict(list)
        self._by_gist: _Index = defaultdict(list)
        self._by_topic: _Index = defaultdict(list)
        self._by_conversation: _Index = defaultdict(list)
        self._last: dict[str, int] = {}  # index of each conversation
        for record in records:
            self.add(make_item(record.memory, record.chain, record.parent, record.statements))

    def __len__(self) -> int:
        return len(self._items)

    def __contains__(self, memory_id: object) -> bool:
        return memory_id in self._items

    def __iter__(self) -> Iterator[Item]:
        return iter(self._items.values())

    def get(self, memory_id: str) -> Item | None:
        return self._items.get(memory_id)

    def add(self, item: Item) -> None:
        """One more, or another one in the place of the one with its id."""
        last = self.last_index(item.conversation_id)
        self.remove(item.id)
        self._items[item.id] = item
        for index, key in self._keys(item):
            index[key].append(item.id)
        if item.kind == "turn":
            self._last[item.conversation_id] = max(item.index, last)

    def remove(self, memory_id: str) -> None:
        item = self._items.pop(memory_id, None)
        if item is None:
            return
        for index, key in self._keys(item):
            index[key].remove(memory_id)
            if not index[key]:
                del index[key]
        if item.conversation_id not in self._by_conversation:
            self._last.pop(item.conversation_id, None)

    def with_chain(self, chain: bytes) -> list[Item]:
        """What ends the conversation of this *chain*, and the facts that are from there."""
        return self._find(self._by_chain, chain)

    def with_parent(self, chain: bytes) -> list[Item]:
        """What goes on from the conversation of this *chain*."""
        return self._find(self._by_parent, chain)

    def with_gist(self, gist: bytes) -> list[Item]:
        """What says the same."""
        return self._find(self._by_gist, gist) if gist else []

    def with_topic(self, topic: str) -> list[Item]:
        """What states something about *topic*, and little else."""
        return self._find(self._by_topic, topic)

    def with_conversation(self, conversation_id: str) -> list[Item]:
        """What was said in a conversation, in the order in which it came."""
        return [item for item in self._find(self._by_conversation, conversation_id) if item.kind == "turn"]

    def last_index(self, conversation_id: str) -> int:
        """Of what was said last in a conversation; -1 where nothing was."""
        return self._last.get(conversation_id, -1)

    def _find(self, index: "_Index", key: bytes | str) -> list[Item]:
        return [self._items[memory_id] for memory_id in index.get(key, ())]

    def _keys(self, item: Item) -> "Iterator[tuple[_Index, bytes | str]]":
        indexes: tuple[tuple[_Index, tuple[bytes | str, ...]], ...] = (
            (self._by_chain, (item.chain,)),
            (self._by_parent, (item.parent,)),
            (self._by_gist, (item.gist,)),
            (self._by_topic, item.topics),
            (self._by_conversation, (item.conversation_id,)),
        )
        for index, keys in indexes:
            for key in keys:
                if key:
                    yield index, key


def make_item(memory: Memory, chain: bytes, parent: bytes, statements: Sequence[Statement]) -> Item:
    """What is known of *memory* without its text."""
    return Item(
        id=memory.id,
        kind=memory.kind,
        role=memory.role,
        origin=memory.origin,
        conversation_id=memory.conversation_id,
        index=memory.message_index,
        at=memory.created_at,
        chain=chain,
        parent=parent,
        gist=find_gist(memory),
        topics=_find_topics(memory, statements),
        superseded_by=memory.superseded_by,
        seen=memory.seen,
        sources=memory.sources,
        words=find_words(memory) if memory.kind == "turn" and memory.message_index == 0 else frozenset(),
    )


def find_words(said: Memory | Message) -> frozenset[int]:
    """The index words that a text begins with."""
    return frozenset(terms(said.text[:_BEGINNING]))


def find_gist(memory: Memory) -> bytes:
    """A digest of what is said and by whom, without case, punctuation and fillers; empty for what says nothing alone.

    Nothing cleverer: "I ran 5 km" and "I ran 6 km", "I eat meat" and "I don't eat meat" are not the same.
    """
    words = [word for word in _WORD.findall(memory.text.casefold().replace("’", "'")) if word not in _FILLERS]
    if len(words) < _SELF_CONTAINED and sum(map(len, words)) < 2 * _SELF_CONTAINED:
        return b""
    raw = "\x00".join((memory.kind, memory.role, memory.name or "", *words))
    return blake2b(raw.encode("utf-8", "surrogatepass"), digest_size=12, person=b"mp-gist").digest()


def _find_topics(memory: Memory, statements: Sequence[Statement]) -> tuple[str, ...]:
    sole = _SOLE * len(memory.text)
    return tuple(
        statement.topic
        for statement in statements
        if statement.topic and not statement.topic.startswith("!") and statement.end - statement.begin >= sole
    )
