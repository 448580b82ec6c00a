"""What conversations have been given, so that they are given the same again.

A provider's prompt cache pays for what a request has in common with an earlier one, from the beginning on. A block at
the beginning that is another one with every turn would make each turn's whole history new.
"""

from collections import OrderedDict
from collections.abc import Collection, Sequence
from typing import Final, NamedTuple

from proxy.models import Message, Scope
from proxy.recall.composing import Block, Sheet

# Lines of conversations, the least recently used ones forgotten first: with 1,000 tokens a block, four thousand.
MOST_BYTES: Final = 16 << 20
_ENTRY_BYTES: Final = 300
# A line's memory is in the working set, too, as long as that is kept.
_LINE_BYTES: Final = 200
# Providers keep a prompt for five minutes to an hour after it was last seen: later, nothing can be saved any more.
FORGOTTEN_S: Final = 3600.0


class Given(NamedTuple):
    """Lines that came into a conversation with the user's message that :func:`chain` gives *prefix* for."""

    prefix: int
    lines: Sheet


class Talk(NamedTuple):
    """What a conversation has been given up to some message, and what was found too late to be.

    *at*: when that message came, in seconds of the loop's clock. *block*: all that was given, where that is one block.
    """

    given: tuple[Given, ...] = ()
    late: Sheet = ()
    at: float = 0.0
    block: Block | None = None

    @property
    def lines(self) -> list[Sheet]:
        return [given.lines for given in self.given]

    @property
    def ids(self) -> set[str]:
        """Of the memories that it has been given."""
        return {line.memory.id for given in self.given for line in given.lines}

    def has_any(self, memory_ids: Collection[str]) -> bool:
        """Whether one of these memories is in what it has been or is to be given."""
        wanted = set(memory_ids)
        return any(line.memory.id in wanted for lines in (*self.lines, self.late) for line in lines)


def chain(scope: Scope, dialogue: Sequence[Message], conversation_id: str | None = None) -> list[int]:
    """A number for the conversation up to each message, which says all of it and whose it is.

    Two conversations have equal numbers as far as they are equal, unless their ids differ: of those whose clients send
    the last messages only, many begin with "Thanks!". Clients trim what they resend, so white space at the ends does
    not count. Numbers are of this process only.
    """
    numbers = []
    number = hash((scope.key, conversation_id))
    for message in dialogue:
        number = hash((number, message.role, message.text.strip()))
        numbers.append(number)
    return numbers


class Talks:
    """What conversations were given, by where they were: a conversation that goes on finds what it had before, one
    that goes back to an earlier message, or that is edited there, finds what it had then.
    """

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self.nbytes = 0
        self._most_bytes = most_bytes
        self._talks: OrderedDict[tuple[str, int | str], tuple[Talk, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._talks)

    def find(self, scope: Scope, prefixes: Sequence[int], conversation_id: str | None = None) -> Talk | None:
        """What the conversation had last; by its id where its beginning is gone, as in a sliding window."""
        for prefix in reversed(prefixes):
            if (entry := self._talks.get((scope.key, prefix))) is not None:
                self._talks.move_to_end((scope.key, prefix))
                return entry[0]
        entry = self._talks.get((scope.key, conversation_id)) if conversation_id else None
        return entry[0] if entry else None

    def put(self, scope: Scope, prefix: int, talk: Talk, conversation_id: str | None = None) -> None:
        """From now on, this is what a conversation has that has come to *prefix*."""
        self._put((scope.key, prefix), talk)
        if conversation_id:
            self._put((scope.key, conversation_id), talk)

    def forget(self, scope: Scope, memory_ids: Collection[str] | None = None) -> None:
        """Drop what conversations of the user were given: all of it, or where it has one of these memories."""
        for key, (talk, _) in list(self._talks.items()):
            if key[0] == scope.key and (memory_ids is None or talk.has_any(memory_ids)):
                self._discard(key)

    def forget_users(self, users: Collection[str] | None) -> None:
        """Drop what conversations of these users, by key, or with None all conversations were given."""
        for key in [key for key in self._talks if users is None or key[0] in users]:
            self._discard(key)

    def _put(self, key: tuple[str, int | str], talk: Talk) -> None:
        self._discard(key)
        # Lines are shared with the entries of earlier messages, so that only the last ones are new.
        newest = (*(talk.given[-1].lines if talk.given else ()), *talk.late)
        size = _ENTRY_BYTES + sum(_LINE_BYTES + len(line.text) for line in newest)
        self._talks[key] = (talk, size)
        self.nbytes += size
        while self.nbytes > self._most_bytes:
            _, (_, freed) = self._talks.popitem(last=False)
            self.nbytes -= freed

    def _discard(self, key: tuple[str, int | str]) -> None:
        _, freed = self._talks.pop(key, (None, 0))
        self.nbytes -= freed
