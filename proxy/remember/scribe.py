"""Carries plans out: in the store, and for whoever follows a user's memories."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from proxy.keeper import wire
from proxy.models import EmbeddingModel, Memory, Record, Scope, find_part
from proxy.observe.metrics import Metrics
from proxy.packing import make_pack
from proxy.remember.analyst import Analyst, Task
from proxy.remember.embedding import Embedded, Embeddings
from proxy.remember.findable import Findable
from proxy.remember.plan import Draft, Plan
from proxy.remember.records import (
    WORDS_ALONE,
    Made,
    find_terms_beside,
    find_text,
    join,
    keep_vectors,
    list_texts,
    refresh,
)
from proxy.remember.shelf import Shelf
from proxy.stores.base import Store

# Memories on all shelves together, about 800 bytes each.
MOST_ITEMS: Final = 100_000


class Scribe:
    """Knows the shelves of the users written to last, and writes for one caller at a time.

    *on_change* hears of every change after it is durable. *metrics* count what became of what was said.
    """

    def __init__(self, store: Store, embeddings: Embeddings, metrics: Metrics) -> None:
        self.on_change: Callable[[wire.Changed], None] = lambda _: None
        self._metrics = metrics
        self._store = store
        self._embeddings = embeddings
        self._shelves: OrderedDict[str, Shelf] = OrderedDict()

    async def look(self, scope: Scope) -> Shelf:
        """What is known of a user, for somebody who changes nothing. Raises StoreError when it cannot be read."""
        shelf = self._shelves.get(scope.key)
        if shelf is None:
            shelf = self._shelves[scope.key] = await asyncio.to_thread(self._read, scope)
        self._shelves.move_to_end(scope.key)
        return shelf

    async def plan(self, scope: Scope) -> Plan:
        """A new plan for a user. Raises StoreError when what is known of them cannot be read."""
        shelf = await self.look(scope)
        # Until the plan is carried out the shelf is ahead of the store. If it never is, it takes the shelf along: on
        # one that was kept, what was not stored would pass for known.
        self.forget(scope)
        return Plan(shelf)

    def forget(self, scope: Scope) -> None:
        """Reads the user's memories anew when they are needed next."""
        self._shelves.pop(scope.key, None)

    def forget_part(self, part: int) -> None:
        """As :meth:`forget`, of all users in *part*: somebody else has written there."""
        for key in [key for key in self._shelves if find_part(key) == part]:
            del self._shelves[key]

    async def prepare(self, memories: Sequence[Memory], analyst: Analyst) -> Findable | None:
        """What :meth:`carry_out` can use of *memories*, before it is the caller's turn; None where that has to wait."""
        embedding = await self._embeddings.find_settled()
        if embedding is None:
            return None
        texts = [find_text(memory) for memory in memories]
        task = Task(texts, [(memory.text, memory.name) for memory in memories])
        analysed = await analyst.analyse(embedding.serving, task)
        if analysed is None:
            return None
        vectors, terms = analysed
        rows = {(memory.id, text): row for row, (memory, text) in enumerate(zip(memories, texts, strict=True))}
        return Findable(embedding, Made(embedding.serving.label, vectors), terms, rows)

    async def carry_out(self, plans: Mapping[Scope, Plan], findable: Findable | None = None) -> None:
        """Writes what *plans* say. *findable*: what was prepared of it.

        Raises:
            EmbedderError, StoreError: nothing was announced. Some may be written, and planning anew finds it there.
        """
        await self._carry_out(plans, findable)
        for scope, plan in plans.items():
            self._shelves[scope.key] = plan.shelf
            self._count(plan)
        self._trim()

    async def _carry_out(self, plans: Mapping[Scope, Plan], findable: Findable | None) -> None:
        drafts = [draft for plan in plans.values() for draft in plan.added.values()]
        (made, ahead, embedding), terms = await self._make_findable(drafts, findable)
        records = iter(join(drafts, terms, made, ahead))
        fresh = {scope: [next(records) for _ in plan.added] for scope, plan in plans.items()}
        changed = {scope: await self._change(scope, plan) for scope, plan in plans.items()}
        changed = {scope: [keep_vectors(record, embedding) for record in some] for scope, some in changed.items()}
        owned = {scope: [*fresh[scope], *changed[scope]] for scope in plans if fresh[scope] or changed[scope]}
        if owned:
            await asyncio.to_thread(self._store.put, owned)
        model = None if embedding is None else embedding.serving
        for scope, plan in plans.items():
            if plan.removed:
                await asyncio.to_thread(self._store.delete, scope, sorted(plan.removed))
            self._announce(scope, owned.get(scope, []), plan.removed, model)

    async def _make_findable(
        self, drafts: Sequence[Draft], findable: Findable | None
    ) -> tuple[Embedded, Sequence[bytes]]:
        if findable is not None and (found := findable.pick(drafts)) is not None:
            made, terms = found
            if await self._embeddings.find_settled() == findable.embedding:
                return Embedded(made, WORDS_ALONE, findable.embedding), terms
        return await find_terms_beside(drafts, self._embeddings.embed(list_texts(drafts)))

    async def _change(self, scope: Scope, plan: Plan) -> list[Record]:
        if not plan.changed:
            return []
        return plan.apply(await asyncio.to_thread(self._store.fetch_ids, scope, list(plan.changed)))

    def _announce(self, scope: Scope, records: list[Record], removed: set[str], model: EmbeddingModel | None) -> None:
        """What holds is there, and what does not is gone."""
        holding = [refresh(record, model) for record in records if record.memory.superseded_by is None]
        gone = {record.memory.id for record in records if record.memory.superseded_by is not None} | removed
        if holding or gone:
            pack = make_pack(holding, model) if holding else None
            self.on_change(wire.Changed(scope, pack, removed=sorted(gone), erased=bool(removed)))

    def _read(self, scope: Scope) -> Shelf:
        return Shelf(self._store.fetch(scope, self._store.list_rows(scope)))

    def _count(self, plan: Plan) -> None:
        for key, count in plan.tally.items():
            name, _, label = key.rpartition(".")
            if name == "extraction":
                self._metrics.count(f"extraction_{label}_total", by=count)
            else:
                self._metrics.count("facts_total" if name else "messages_total", label, by=count)

    def _trim(self) -> None:
        """Keeps the shelves that were used last."""
        total = sum(map(len, self._shelves.values()))
        while total > MOST_ITEMS and len(self._shelves) > 1:
            _, dropped = self._shelves.popitem(last=False)
            total -= len(dropped)
