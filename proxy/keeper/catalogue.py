"""Who is known, and what of them: for people who look, page by page."""

import asyncio
import heapq
import sys
import time
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final, NamedTuple, TypeVar

import msgspec

from proxy.errors import StoreError
from proxy.keeper import wire
from proxy.models import Memory, Scope, find_part
from proxy.remember.exported import describe
from proxy.stores.base import Activity, KnownUser, Store

Item = TypeVar("Item")


# Of users of one part, whose activity was noted last.
_RECENT: Final = 1_000
# Of reading what others erase, or put again, at the same time.
_ATTEMPTS: Final = 3
# Users whose ids are looked through at once.
_SEARCHED: Final = 1_000
# Users whose memories somebody looks through at a time, 200 bytes a memory.
_ORDERS: Final = 4


class _Order(NamedTuple):
    """One user's memories by age, the oldest first, as long as they are in these *rows*."""

    rows: list[str]
    keys: list[wire.Cursor]
    ids: list[str]


class Catalogue:
    """The users of a store. For one event loop.

    What is known of them may be *stale_s* seconds old, where others write as well; with None this process is the only
    writer.
    """

    def __init__(self, store: Store, stale_s: float | None = None) -> None:
        self._store = store
        self._stale_s = stale_s
        self._reading = asyncio.Lock()
        self._active: dict[str, Activity] | None = None  # by the user's key
        self._read_at = 0.0
        self._recent: defaultdict[int, dict[str, Activity]] = defaultdict(dict)  # by part, and the user's key
        self._orders: dict[str, _Order] = {}  # by the user's key, those looked at last

    async def prepare(self) -> None:
        """Reads ahead what will be true as long as this process lives, if anything is. Raises StoreError."""
        if self._stale_s is None:
            await self.activity()

    async def users(
        self, limit: int, cursor: wire.Cursor | None, tenant: str | None = None, part: str = ""
    ) -> wire.UserPage:
        """Users of a tenant, or with None of all, whose id has *part* in it, in whatever case; latest activity first.

        Ids are only in the store, and sealed there: to look through 100,000 of them takes some seconds, in a thread.
        """
        active = await self.activity()
        users = (user for user in active.items() if tenant is None or user[1].tenant == tenant)
        if part:
            return await self._find_users(users, limit, cursor, part.casefold())
        page, following = _cut(users, limit, cursor, _activity_key)
        rows = await asyncio.to_thread(self._describe, [key for key, _ in page])
        return wire.UserPage(rows, following)

    async def _find_users(
        self, users: Iterable[tuple[str, Activity]], limit: int, cursor: wire.Cursor | None, part: str
    ) -> wire.UserPage:
        rows: list[wire.UserRow] = []
        ordered = list(users)
        while True:
            page, cursor = _cut(ordered, _SEARCHED, cursor, _activity_key)
            found = await asyncio.to_thread(self._match, [key for key, _ in page], part)
            keys = found[: limit - len(rows)]
            rows += await asyncio.to_thread(self._describe, keys)
            if len(found) > len(keys):
                # The next page begins behind the last one shown.
                return wire.UserPage(rows, next(_activity_key(user) for user in page if user[0] == keys[-1]))
            if len(rows) == limit or cursor is None:
                return wire.UserPage(rows, cursor)

    def _match(self, keys: Sequence[str], part: str) -> list[str]:
        """Those of the users with these *keys* whose id has *part* in it, in their order."""
        matching = {user.scope.key for user in self._store.users(keys) if part in user.scope.user_id.casefold()}
        return [key for key in keys if key in matching]

    async def memories(
        self, scope: Scope, limit: int, cursor: wire.Cursor | None, *, include_superseded: bool = False
    ) -> wire.MemoryPage:
        """One user's memories, newest first.

        All are read once, to know their order: 0.5 s of 20,000. Page after page then takes as long as it has memories.
        """
        rows = await asyncio.to_thread(self._store.list_rows, scope)
        order = self._orders.get(scope.key)
        if order is None or order.rows != rows:
            order = await asyncio.to_thread(self._sort, scope, rows)
            self._keep(scope, order)
        # What no longer holds, or is erased by now, leaves room for what comes after it.
        page: list[Memory] = []
        left = order.ids if cursor is None else order.ids[: bisect_left(order.keys, cursor)]
        while left and len(page) <= limit:
            left, some = left[: -(limit + 1)], left[-(limit + 1) :]
            page += await asyncio.to_thread(self._list, scope, some, include_superseded)
        shown = page[:limit]
        return wire.MemoryPage(shown, _age_key(shown[-1]) if len(page) > limit else None)

    def _sort(self, scope: Scope, rows: list[str]) -> "_Order":
        records = self._store.fetch(scope, rows)
        aged = sorted((_age_key(record.memory), record.memory.id) for record in records)
        return _Order(rows, [key for key, _ in aged], [memory_id for _, memory_id in aged])

    def _list(self, scope: Scope, ids: Sequence[str], include_superseded: bool) -> list[Memory]:
        records = self._store.fetch_ids(scope, ids)
        memories = [r.memory for r in records if include_superseded or r.memory.superseded_by is None]
        return sorted(memories, key=_age_key, reverse=True)

    def _keep(self, scope: Scope, order: "_Order") -> None:
        self._orders[scope.key] = order
        while len(self._orders) > _ORDERS:
            del self._orders[next(iter(self._orders))]

    def follow(self, scope: Scope) -> None:
        """The user's memories have changed."""
        self._orders.pop(scope.key, None)

    async def rows(self, scope: Scope) -> list[str]:
        """Where all memories of a user are, for :meth:`read`: those first that were first stored."""
        return await asyncio.to_thread(self._store.list_rows, scope)

    async def read(self, scope: Scope, rows: Sequence[str]) -> list[Memory]:
        """The user's memories in *rows* as an export has them, without those that were erased meanwhile.

        Raises:
            StoreError: one is there and cannot be read, so that what was read would pass for all that there is.
        """
        return await asyncio.to_thread(self._read, scope, rows)

    def _read(self, scope: Scope, rows: Sequence[str]) -> list[Memory]:
        for _ in range(_ATTEMPTS):
            records = self._store.fetch(scope, rows)
            if len(records) == len(rows):
                return [describe(record) for record in records]
            there = set(self._store.list_rows(scope))
            rows = [row for row in rows if row in there]
        raise StoreError(f"{len(rows) - len(records):,} memories of {len(rows):,} are there and cannot be read")

    async def activity(self) -> dict[str, Activity]:
        """When each user was last active, by the user's key."""
        # Read by one caller, and where this process is the only writer once: what it has read stays true, and a second
        # reading that began before a write must not take the place of the first. Without the users' names, which would
        # be three quarters of it.
        async with self._reading:
            if self._active is None or self._is_stale():
                read_at = time.monotonic()
                self._active = await asyncio.to_thread(self._store.activity)
                self._read_at = read_at
            return self._active

    def _is_stale(self) -> bool:
        return self._stale_s is not None and time.monotonic() - self._read_at > self._stale_s

    async def note_activity(self, memories: Mapping[Scope, Sequence[Memory]]) -> None:
        """These are about to be written, and make their users known and active. The caller has the users' turn."""
        written = {scope: some for scope, some in memories.items() if some}
        active = await self._look_up(list(written))
        seen = {
            scope: Activity(_latest(some, active.get(scope.key)), sys.intern(scope.tenant))
            for scope, some in written.items()
        }
        news = {scope: activity for scope, activity in seen.items() if activity != active.get(scope.key)}
        if news:
            await asyncio.to_thread(self._store.touch, [KnownUser(scope, user.at) for scope, user in news.items()])
            self._take_in(news)

    async def _look_up(self, scopes: Sequence[Scope]) -> dict[str, Activity]:
        """When these users were last active."""
        if self._stale_s is None:
            return await self.activity()
        known = {scope.key: at for scope in scopes if (at := self._recent[scope.part].get(scope.key)) is not None}
        if unknown := [scope.key for scope in scopes if scope.key not in known]:
            found = await asyncio.to_thread(self._store.users, unknown)
            known |= {user.scope.key: Activity(user.last_activity, sys.intern(user.scope.tenant)) for user in found}
        return known

    def _take_in(self, news: Mapping[Scope, Activity]) -> None:
        if self._active is not None:
            self._active.update((scope.key, activity) for scope, activity in news.items())
        if self._stale_s is not None:
            for scope, activity in news.items():
                recent = self._recent[scope.part]
                if len(recent) >= _RECENT:
                    recent.clear()
                recent[scope.key] = activity

    def forget_part(self, part: int) -> None:
        """Somebody else has written about users of *part*."""
        self._recent.pop(part, None)
        for key in [key for key in self._orders if find_part(key) == part]:
            del self._orders[key]

    async def forget(self, scope: Scope) -> None:
        """The user is erased."""
        self._recent[scope.part].pop(scope.key, None)
        async with self._reading:  # or who reads at this moment would bring the user back
            if self._active is not None:
                self._active.pop(scope.key, None)

    async def scopes(self) -> list[Scope]:
        """Every user."""
        return [user.scope for user in await asyncio.to_thread(self._store.users)]

    def _describe(self, keys: Sequence[str]) -> list[wire.UserRow]:
        """Rows of the users with these *keys*, in their order; without those who are erased meanwhile."""
        users = {user.scope.key: user for user in self._store.users(keys)}
        return [
            wire.UserRow(
                user.scope.user_id,
                len(self._store.list_rows(user.scope)),
                isoformat(user.last_activity),
                user.scope.tenant,
            )
            for user in (users[key] for key in keys if key in users)
        ]


def isoformat(when: datetime) -> str:
    text: str = msgspec.to_builtins(when)  # as in JSON: RFC 3339, with Z for UTC
    return text


def _latest(memories: Sequence[Memory], known: Activity | None) -> datetime:
    latest = max(memory.created_at for memory in memories)
    return latest if known is None else max(latest, known.at)


def _activity_key(user: tuple[str, Activity]) -> wire.Cursor:
    key, activity = user
    return activity.at.timestamp(), key


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
