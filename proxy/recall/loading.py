"""Users' memories on their way from the keeper into the edge."""

import asyncio
import math
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final, NamedTuple

from proxy.keeper import wire
from proxy.keeper.client import KeeperClient
from proxy.models import Scope
from proxy.observe.failopen import FailOpen
from proxy.tasks import Tasks
from proxy.workingset import Arrival, Change, WorkingSet, WorkingSets

# A user of 1,000 memories takes 2.5 MB; so many megabytes keep some fifty such users warm.
WORKING_SETS_BYTES: Final = 128 << 20


class Loaded(NamedTuple):
    """A user's memories; not *whole* while there are more to come."""

    working_set: WorkingSet
    whole: bool


@dataclass(slots=True)
class _Loading:
    task: asyncio.Task[WorkingSet]
    arrival: Arrival


class Loader:
    """The working sets of one edge. A user is loaded once, however many ask; for one event loop.

    *stale_s*: how long what another replica has written may go unnoticed.
    """

    def __init__(self, keeper: KeeperClient, fail_open: FailOpen, tasks: Tasks, *, stale_s: float = math.inf) -> None:
        self.sets = WorkingSets(WORKING_SETS_BYTES)
        self._stale_s = stale_s
        # A time of the loop's clock, which moves on with each sign of a keeper that hears other replicas.
        self._true_until = math.inf if stale_s == math.inf else -math.inf
        self._keeper = keeper
        self._fail_open = fail_open
        self._tasks = tasks
        self._loading: dict[str, _Loading] = {}
        keeper.on_change = self.follow
        keeper.on_connect = self.sets.clear

    async def load_until(self, scope: Scope, deadline: float) -> Loaded | None:
        """What is there of a user's memories at *deadline*, a time of the loop's clock; None when nothing is.

        Loading goes on after that. Raises KeeperError for a keeper that is away.
        """
        warm = self.sets.get(scope)
        if warm is not None:
            return Loaded(warm, whole=True)
        loading = self._start(scope)
        await asyncio.wait((loading.task,), timeout=max(0, deadline - asyncio.get_running_loop().time()))
        if loading.task.done():
            return Loaded(loading.task.result(), whole=True)
        arrived = loading.arrival.working_set
        return Loaded(arrived, whole=False) if len(arrived) else None

    async def load(self, scope: Scope) -> WorkingSet:
        """All of a user's memories. Raises KeeperError for a keeper that is away."""
        warm = self.sets.get(scope)
        return warm if warm is not None else await asyncio.shield(self._start(scope).task)

    def _start(self, scope: Scope) -> _Loading:
        loading = self._loading.get(scope.key)
        if loading is None:
            arrival = Arrival()
            task = self._tasks.spawn(self._load(scope, arrival), name="load-user", awaited=True)
            loading = self._loading[scope.key] = _Loading(task, arrival)
        return loading

    async def _load(self, scope: Scope, arrival: Arrival) -> WorkingSet:
        wanted = False
        try:
            async with aclosing(self._keeper.load(scope)) as parts:
                async for part in parts:
                    arrival.take(part.pack, left=part.left)
                    arrival.working_set.off = part.off
        finally:
            current = self._loading.get(scope.key)
            if wanted := current is not None and current.arrival is arrival:
                del self._loading[scope.key]
        if wanted:
            self.sets.put(scope, arrival.working_set)
        return arrival.working_set

    def sync(self, sync: wire.Sync) -> None:
        """Hears how far what is here can be relied on, where other replicas write, too."""
        if isinstance(sync, wire.InTouch):
            self._true_until = asyncio.get_running_loop().time() - sync.age_s + self._stale_s
        else:
            self.drop(sync.users)

    @property
    def is_true(self) -> bool:
        """Whether what is here is what there is. For as long as it is not, nothing that is loaded is to be used."""
        return self._true_until == math.inf or asyncio.get_running_loop().time() <= self._true_until

    def drop(self, users: list[str] | None) -> None:
        """To be loaded anew, of these users by key or of all; what is on its way for somebody is theirs alone."""
        if users is None:
            self.sets.clear()
            self._loading.clear()
            return
        for key in users:
            self.sets.drop(key)
            self._loading.pop(key, None)

    def follow(self, changed: wire.Changed) -> None:
        """Brings what is here of the user up to date."""
        if changed.off is not None:  # to be loaded anew
            self.sets.discard(changed.scope)
            self._loading.pop(changed.scope.key, None)
            return
        change = Change(added=changed.pack, removed=changed.removed, erased=changed.everything)
        loading = self._loading.get(changed.scope.key)
        known = loading.arrival.working_set if loading is not None else self.sets.get(changed.scope)
        # One keeper may already find memories by another model than the one that these were loaded from.
        mixed = known is not None and changed.pack is not None and not known.compares_with(changed.pack)
        with self._fail_open("follow") as step:
            if changed.everything:
                self._empty(known)
            if loading is None:
                self.sets.apply(changed.scope, change)
            else:
                loading.arrival.follow(change)
        if step.failed or mixed:  # to be loaded anew
            self.sets.discard(changed.scope)
            self._loading.pop(changed.scope.key, None)

    def _empty(self, working_set: WorkingSet | None) -> None:
        """For requests that are about to look into it."""
        if working_set is not None:
            working_set.remove([memory.id for memory in working_set.memories])
