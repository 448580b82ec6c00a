"""Everything that only one process at a time may do with a data directory.

The keeper's server puts it on a socket; the command line uses it directly when no server runs.
"""

import asyncio
import heapq
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Final, TypeVar

import msgspec

from proxy.config import Settings
from proxy.embedders import open_embedder
from proxy.embedders.base import Embedder
from proxy.journal import JournalReader
from proxy.keeper import wire
from proxy.keeper.lock import DataDirLock, Holder
from proxy.models import Memory, Pack, Scope, now
from proxy.packing import make_pack
from proxy.remember.lines import parse
from proxy.remember.records import make_records, refresh
from proxy.stores.base import KnownUser, Store, open_store

# Texts are embedded and written in batches of this size: large enough to share a transaction, small enough that one
# batch holds Chroma's lock for less than 50 ms.
BATCH: Final = 64
# Memories sent at once: read and packed in 25 ms, decoded and indexed by the edge in 4, which holds up its streams.
PART: Final = 1000

Item = TypeVar("Item")
OnChange = Callable[[wire.Changed], None]


class Vault:
    """The memories of a data directory. All methods are for one event loop; the store works in threads.

    *on_change* hears of every change after it is durable. Writing and erasing exclude each other, so that nothing
    erased comes back through a write that was already under way.
    """

    def __init__(self, store: Store, embedder: Embedder, journal: JournalReader) -> None:
        self.embedder = embedder
        self.journal = journal
        self.writing = asyncio.Lock()
        self.on_change: OnChange = lambda _: None
        self._reading = asyncio.Lock()
        self._store = store
        self._active: dict[str, datetime] | None = None  # by the user's key

    async def prepare(self) -> None:
        """Reads ahead what the first calls would otherwise wait for: two seconds with 100,000 users.

        Raises:
            StoreError: it could not be read; the calls will try again.
        """
        await asyncio.to_thread(self._store.prepare)
        await self._activity()

    async def load(self, scope: Scope) -> Pack:
        """All memories of a user, packed."""
        rows = await asyncio.to_thread(self._store.list_rows, scope)
        return await asyncio.to_thread(self._pack, scope, rows)

    async def load_parts(self, scope: Scope) -> AsyncGenerator[wire.Part, None]:
        """The memories that a user has now, those stored last first; one empty part for somebody without any."""
        rows = await asyncio.to_thread(self._store.list_rows, scope)
        left = len(rows)
        while True:
            start = max(0, left - PART)
            yield wire.Part(await asyncio.to_thread(self._pack, scope, rows[start:left]), start)
            if not start:
                return
            left = start

    def _pack(self, scope: Scope, rows: Sequence[str]) -> Pack:
        return make_pack([refresh(record, self.embedder.name) for record in self._store.fetch(scope, rows)])

    async def remember(self, memories: Mapping[Scope, Sequence[Memory]]) -> None:
        """Stores memories and announces them. The caller holds :attr:`writing`.

        Raises:
            EmbedderError, StoreError: nothing was announced; some may be stored, and storing them again is harmless.
        """
        # Users first: whoever has a memory shows in the list of users, even if this process ends in between.
        await self._note_activity(memories)
        flat = [memory for some in memories.values() for memory in some]
        records = iter(await make_records(flat, self.embedder))
        owned = {scope: [next(records) for _ in some] for scope, some in memories.items() if some}
        if owned:
            await asyncio.to_thread(self._store.put, owned)
        for scope, some in owned.items():
            self.on_change(wire.Changed(scope, make_pack(some)))

    async def _note_activity(self, memories: Mapping[Scope, Sequence[Memory]]) -> None:
        active = await self._activity()
        seen = {
            scope.key: KnownUser(scope, _latest(some, active.get(scope.key)))
            for scope, some in memories.items()
            if some
        }
        news = [user for key, user in seen.items() if user.last_activity != active.get(key)]
        if news:
            await asyncio.to_thread(self._store.touch, news)
            active.update((user.scope.key, user.last_activity) for user in news)

    async def _activity(self) -> dict[str, datetime]:
        # Read once, and by one caller: this process is the only writer, so that what it has read stays true, and a
        # second reading that began before a write must not take the place of the first. Without the users' names, which
        # would be three quarters of it.
        async with self._reading:
            if self._active is None:
                self._active = await asyncio.to_thread(self._store.activity)
            return self._active

    async def users(self, limit: int, cursor: wire.Cursor | None) -> wire.UserPage:
        """Users, latest activity first."""
        active = await self._activity()
        page, following = _cut(active.items(), limit, cursor, _activity_key)
        rows = await asyncio.to_thread(self._describe, [key for key, _ in page])
        return wire.UserPage(rows, following)

    def _describe(self, keys: Sequence[str]) -> list[wire.UserRow]:
        """Rows of the users with these *keys*, in their order; without those who are erased meanwhile."""
        users = {user.scope.key: user for user in self._store.users(keys)}
        return [
            wire.UserRow(user.scope.user_id, len(self._store.list_rows(user.scope)), _isoformat(user.last_activity))
            for user in (users[key] for key in keys if key in users)
        ]

    async def memories(
        self, scope: Scope, limit: int, cursor: wire.Cursor | None, *, include_superseded: bool = False
    ) -> wire.MemoryPage:
        """One user's memories, newest first."""
        rows = await asyncio.to_thread(self._store.list_rows, scope)
        records = await asyncio.to_thread(self._store.fetch, scope, rows)
        memories = [r.memory for r in records if include_superseded or r.memory.superseded_by is None]
        return wire.MemoryPage(*_cut(memories, limit, cursor, _age_key))

    async def erase(self, scope: Scope, memory_id: str | None) -> wire.Receipt:
        """Erases one memory, or with None a user: from the store, and from what waits in the journal."""
        async with self.writing:
            entries = 0
            if memory_id is None:
                active = await self._activity()  # first: its pages would shift if one were deleted meanwhile
                entries = await asyncio.to_thread(self.journal.erase, scope)
                erased = await asyncio.to_thread(self._store.delete_user, scope)
                active.pop(scope.key, None)
                self.on_change(wire.Changed(scope, everything=True))
            else:
                erased = await asyncio.to_thread(self._store.delete, scope, [memory_id])
                self.on_change(wire.Changed(scope, removed=[memory_id]))
        return wire.Receipt(scope.user_id, erased, entries, _isoformat(now()))

    async def take_in(
        self,
        lines: Iterable[bytes],
        *,
        first_line: int = 1,
        batch_size: int = BATCH,
        progress: Callable[[int], None] = lambda _: None,
    ) -> wire.Imported:
        """Stores what JSON Lines hold. *progress* hears of every batch how many memories it had.

        What is known already is left alone, so that a second import of the same file changes nothing. A larger
        *batch_size* than the default is half again as fast, for a process in which nobody waits for the store.
        """
        parsed = parse(lines, first_line=first_line)
        stored = known = 0
        for scope, memories in parsed.memories.items():
            if memories:
                # Once with the latest date, instead of once a batch with ever later ones.
                await self._note_activity({scope: memories})
            for start in range(0, len(memories), batch_size):
                batch = {memory.id: memory for memory in memories[start : start + batch_size]}
                fresh = await self._store_unknown(scope, batch)
                stored, known = stored + fresh, known + len(batch) - fresh
                progress(len(batch))
        return wire.Imported(stored, known, parsed.errors)

    async def _store_unknown(self, scope: Scope, batch: dict[str, Memory]) -> int:
        async with self.writing:
            known = await asyncio.to_thread(self._store.known, scope, list(batch))
            fresh = [memory for memory_id, memory in batch.items() if memory_id not in known]
            if fresh:
                await self.remember({scope: fresh})
        return len(fresh)

    async def aclose(self) -> None:
        """Closes the store, the journal and the embedder."""
        await self.embedder.aclose()
        await asyncio.to_thread(self._store.close)
        await asyncio.to_thread(self.journal.close)


@asynccontextmanager
async def open_vault(settings: Settings, holder: Holder, *, patience_s: float = 0) -> AsyncIterator[Vault]:
    """Locks the data directory of *settings* and opens what is in it.

    Raises:
        LockedError: another process has it.
        StoreError, JournalError, EmbedderError: it cannot be opened.
    """
    with DataDirLock(settings.data_dir, holder, patience_s=patience_s):
        embedder = open_embedder(settings)
        store = await asyncio.to_thread(open_store, settings.store.mode, settings.data_dir)
        vault = Vault(store, embedder, JournalReader(settings.data_dir))
        try:
            yield vault
        finally:
            await vault.aclose()


def _latest(memories: Sequence[Memory], known: datetime | None) -> datetime:
    latest = max(memory.created_at for memory in memories)
    return latest if known is None else max(latest, known)


def _isoformat(when: datetime) -> str:
    text: str = msgspec.to_builtins(when)  # as in JSON: RFC 3339, with Z for UTC
    return text


def _activity_key(user: tuple[str, datetime]) -> wire.Cursor:
    key, last_activity = user
    return last_activity.timestamp(), key


def _age_key(memory: Memory) -> wire.Cursor:
    # The position breaks ties within a conversation, whose turns often share one date.
    return memory.created_at.timestamp(), f"{memory.conversation_id}/{memory.message_index:09d}/{memory.id}"


def _cut(
    items: Iterable[Item], limit: int, cursor: wire.Cursor | None, key: Callable[[Item], wire.Cursor]
) -> tuple[list[Item], wire.Cursor | None]:
    """One page of *items*, latest first, and the cursor of the next page."""
    after = items if cursor is None else (item for item in items if key(item) < cursor)
    ordered = heapq.nlargest(limit + 1, after, key=key)
    page = ordered[:limit]
    return page, key(page[-1]) if len(ordered) > limit else None
