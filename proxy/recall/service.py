"""Recall: from what a conversation says now to the block that goes with it, within a deadline."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

import numpy as np
from numpy.typing import NDArray

from proxy.embedders.base import Embedder
from proxy.keeper import wire
from proxy.keeper.client import KeeperClient
from proxy.models import Message, Pack, Scope, Status
from proxy.observe.failopen import FailOpen
from proxy.recall.block import Block, render
from proxy.recall.query import Query
from proxy.recall.ranking import rank
from proxy.tasks import Tasks
from proxy.workingset import Change, WorkingSet, WorkingSets

# A user of 1,000 memories takes 2.5 MB; so many megabytes keep some fifty such users warm.
WORKING_SETS_BYTES: Final = 128 << 20

Vector = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Recollection:
    """What recall found: ``injected`` with a block, or ``empty``, ``timeout`` or ``error`` without one."""

    status: Status
    block: Block | None = None


@dataclass(slots=True)
class _Loading:
    """A user's memories on their way from the keeper, and what was announced of them meanwhile."""

    task: asyncio.Task[WorkingSet]
    changes: list[Change] = field(default_factory=list)


class RecallService:
    """Recall over the working sets of one edge. For one event loop; never writes anything.

    A user whose memories are not here yet is loaded once, however many requests ask for it; one that is not there
    within the deadline is loaded all the same and serves the next request.
    """

    def __init__(
        self,
        keeper: KeeperClient,
        embedder: Embedder,
        count_tokens: Callable[[str], int],
        fail_open: FailOpen,
        tasks: Tasks,
    ) -> None:
        self.sets = WorkingSets(WORKING_SETS_BYTES)
        self._keeper = keeper
        self._embedder = embedder
        self._count_tokens = count_tokens
        self._fail_open = fail_open
        self._tasks = tasks
        self._loading: dict[str, _Loading] = {}
        keeper.on_change = self._follow
        keeper.on_connect = self.sets.clear

    async def recall(
        self,
        scope: Scope,
        dialogue: Sequence[Message],
        *,
        budget_tokens: int,
        deadline_s: float,
        asked_at: datetime | None = None,
    ) -> Recollection:
        """The block for a conversation of *scope* that has come to the end of *dialogue*.

        What stands in the dialogue itself is not repeated. Raises nothing for a keeper or an embedder that is late;
        raises KeeperError for one that is away while the user's memories are not here.
        """
        deadline = asyncio.get_running_loop().time() + deadline_s
        query = Query.from_dialogue(dialogue, asked_at=asked_at)
        vector = self._start_embedding(query.text)
        try:
            working_set = self.sets.get(scope)
            if working_set is None:
                working_set = await self._load_until(scope, deadline)
            if working_set is None:
                return Recollection("timeout")
            trouble, found = await self._await_vector(vector, deadline)
        finally:
            if isinstance(vector, asyncio.Task):
                vector.cancel()  # nobody waits for it any more, however this came to its end
        block = self._find(working_set, query.with_vector(found), dialogue, budget_tokens)
        if block is not None:
            return Recollection("injected", block)
        return Recollection(trouble or "empty")

    def _find(
        self, working_set: WorkingSet, query: Query, dialogue: Sequence[Message], budget_tokens: int
    ) -> Block | None:
        ranked = rank(working_set, query)
        visible = {message.text for message in dialogue}
        return render(
            working_set.memories, ranked, budget_tokens=budget_tokens, count=self._count_tokens, visible=visible
        )

    def _start_embedding(self, text: str) -> Vector | asyncio.Task[Vector | None] | None:
        """The vector itself where the embedder can tell at once, else a task that asks for it; None when it failed."""
        embed_now = getattr(self._embedder, "embed_now", None)
        if embed_now is not None:
            with self._fail_open("embed"):
                return np.ravel(embed_now([text]))
            return None
        return self._tasks.spawn(self._embed(text), name="embed-query")

    async def _embed(self, text: str) -> Vector | None:
        with self._fail_open("embed"):
            return np.ravel(await self._embedder.embed([text]))
        return None

    async def _await_vector(
        self, vector: Vector | asyncio.Task[Vector | None] | None, deadline: float
    ) -> tuple[Status | None, Vector | None]:
        """The vector, or why there is none: recall then goes by words alone."""
        if isinstance(vector, np.ndarray):
            return None, vector if vector.size else None
        if vector is None:
            return "error", None
        await asyncio.wait((vector,), timeout=max(0, deadline - asyncio.get_running_loop().time()))
        if not vector.done():
            return "timeout", None
        found = vector.result()
        return (None, found) if found is not None else ("error", None)

    async def _load_until(self, scope: Scope, deadline: float) -> WorkingSet | None:
        loading = self._loading.get(scope.key)
        if loading is None:
            loading = _Loading(self._tasks.spawn(self._load(scope), name="load-user", awaited=True))
            self._loading[scope.key] = loading
        await asyncio.wait((loading.task,), timeout=max(0, deadline - asyncio.get_running_loop().time()))
        return loading.task.result() if loading.task.done() else None

    async def _load(self, scope: Scope) -> WorkingSet:
        try:
            pack: Pack = await self._keeper.call(wire.Load(scope))
            working_set = WorkingSet.from_pack(pack)
        finally:
            loading = self._loading.pop(scope.key)
        self.sets.put(scope, working_set)
        # Announced while the answer was under way: it may or may not have seen them, and twice does no harm.
        for change in loading.changes:
            self.sets.apply(scope, change)
        return working_set

    def _follow(self, changed: wire.Changed) -> None:
        change = Change(added=changed.pack, removed=changed.removed, erased=changed.everything)
        if (loading := self._loading.get(changed.scope.key)) is not None:
            loading.changes.append(change)
        with self._fail_open("follow") as step:
            self.sets.apply(changed.scope, change)
        if step.failed:
            self.sets.discard(changed.scope)  # to be loaded anew
