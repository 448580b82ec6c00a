"""What data commands need of memories, whether a data directory is open or a running proxy is asked."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Sequence
from typing import Final, Protocol

import msgspec

from proxy.edge.answers import Found
from proxy.keeper.moves import ReembeddingState
from proxy.keeper.wire import Imported, JournalPage, Receipt, UserRow
from proxy.models import Memory, Scope

NO_SUCH_MEMORY: Final = "this user has no memory of this id"
# How often whoever waits hears how far it is.
TELL_EVERY_S: Final = 0.2


class Users(msgspec.Struct, frozen=True):
    """Users, latest activity first. *more*: the limit has cut the list."""

    users: list[UserRow]
    more: bool


class Memories(msgspec.Struct, frozen=True):
    """One user's memories, newest first. *more*: the limit has cut the list."""

    memories: list[Memory]
    more: bool


class Backend(Protocol):
    """What data commands can do. All methods raise MemoryProxyError, with a line that says what to do."""

    async def users(self, limit: int | None) -> Users:
        """At most *limit* users, or with None all."""

    async def memories(self, scope: Scope, limit: int | None, *, superseded: bool = False) -> Memories:
        """At most *limit* of a user's memories, or with None all. *superseded*: those as well that no longer hold."""

    async def search(self, scope: Scope, query: str, budget_tokens: int) -> Found:
        """What a chat that says *query* would get."""

    async def add(self, scope: Scope, text: str) -> Memory:
        """Remembers something written by hand."""

    async def edit(self, scope: Scope, memory_id: str, text: str | None, *, restore: bool) -> Memory:
        """Another text for a memory, or with None the same; with *restore* one that was superseded holds again. An id
        that the user has no memory of is an error.
        """

    async def erase(self, scope: Scope, memory_id: str | None) -> Receipt:
        """Erases one memory, or with None a user. An id that the user has no memory of is an error."""

    def export(self, scope: Scope, *, superseded: bool) -> AsyncIterator[bytes]:
        """A user's memories as JSON Lines, those first that were first stored, in pieces that end where a line ends.

        Without *superseded* only those that hold.
        """

    def take_in(
        self, pieces: Iterable[Sequence[bytes]], *, progress: Callable[[int], None]
    ) -> AsyncGenerator[Imported, None]:
        """Stores JSON Lines, and says of each piece, whose lines are numbered from 0, what became of it. *progress*
        hears of memories as they come. The next piece may be asked for before the last one is stored.
        """

    async def journal(self, limit: int) -> JournalPage:
        """What waits, and at most *limit* of what was set aside."""

    async def retry_failed(self) -> int:
        """Has everything tried again that was set aside; answers how much that is."""

    async def drop_failed(self) -> int:
        """Deletes everything that was set aside; answers how much that was."""

    async def reembed(self, *, again: bool, progress: Callable[[ReembeddingState], None]) -> ReembeddingState:
        """Moves all memories to the configured embedding model, or goes on with it, until that is done.

        *progress* hears every now and then how far it is. *again*: as :class:`~proxy.keeper.wire.Reembed` has it.
        """
