"""Everything that only one process at a time may do with a data directory.

The keeper's server puts it on a socket; the command line uses it directly when no server runs.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Final

import msgspec

from proxy.config import Settings
from proxy.embedders import open_embedder
from proxy.embedders.base import Embedder
from proxy.embedders.measured import measure
from proxy.extraction import Extraction
from proxy.keeper import migration, wire
from proxy.keeper.catalogue import Catalogue, isoformat
from proxy.keeper.erasure import find_digests, find_related, sign, strike_out
from proxy.keeper.lock import Holder, lock_data_dir
from proxy.ledger import Ledger, Standing, open_ledger
from proxy.models import EmbeddingModel, Exchange, Memory, Pack, Record, Scope, now
from proxy.observe.metrics import Metrics
from proxy.packing import make_pack
from proxy.redaction import Redactor
from proxy.remember.access import Access, open_access
from proxy.remember.analyst import Analyst
from proxy.remember.embedding import Embeddings
from proxy.remember.facts import add_by_hand, edit_by_hand, take_facts
from proxy.remember.findable import Findable
from proxy.remember.intake import Intake
from proxy.remember.lines import Brought
from proxy.remember.plan import Draft, Plan
from proxy.remember.reading import Reading, prepare, read
from proxy.remember.reconcile import Reconciler
from proxy.remember.records import find_stated, refresh
from proxy.remember.retention import evict
from proxy.remember.scribe import Scribe
from proxy.remember.shelf import Shelf
from proxy.stores.base import Store, open_store
from proxy.stores.measured import MeasuredStore, note_calls

# Texts are embedded and written in batches of this size: large enough to share a transaction, small enough that one
# batch holds Chroma's lock for less than 50 ms.
BATCH: Final = 64
# Memories sent at once: read and packed in 25 ms, decoded and indexed by the edge in 4, which holds up its streams.
PART: Final = 1000

OnChange = Callable[[wire.Changed], None]


class Vault:
    """The memories of a data directory. All methods are for one event loop; the store works in threads.

    *on_change* hears of every change after it is durable, *on_erase* of every erasure before it begins. Writing and
    erasing exclude each other, so that nothing erased comes back through a write that was already under way: whoever
    calls a method that says so has the users' turn, see :meth:`writing`.
    """

    def __init__(
        self,
        store: Store,
        embedder: Embedder,
        access: Access,
        ledger: Ledger,
        settings: Settings,
        metrics: Metrics,
    ) -> None:
        self.metrics = metrics
        self.embeddings = Embeddings(settings, embedder, store, ledger, metrics)
        self.journal = access.journal
        self.turns = access.turns
        self.spill = access.spill
        self.ledger = ledger
        self.scribe = Scribe(store, self.embeddings, metrics)
        self.turns.on_return = self._forget_part
        self.on_erase: Callable[[Scope], None] = lambda _: None
        # Returns when whoever follows has heard of what *on_change* was told: while it is still our turn.
        self.told: Callable[[], Awaitable[None]] = _tell_nobody
        self.catalogue = Catalogue(store, None if settings.journal.redis_url is None else settings.store.refresh_s)
        self.on_change = _hear_nothing
        self.store = store
        self._embedder = embedder
        self._reconciler = Reconciler(settings.memory.template, commands=settings.memory.commands)
        self._redactor = Redactor(settings.redaction)
        self._retention = settings.retention
        self._settings = settings

    @property
    def on_change(self) -> OnChange:
        return self.scribe.on_change

    @on_change.setter
    def on_change(self, heard: OnChange) -> None:
        def hear(changed: wire.Changed) -> None:
            self.catalogue.follow(changed.scope)
            heard(changed)

        self.scribe.on_change = hear

    def _forget_part(self, part: int) -> None:
        """Another keeper has written there, of which nothing is known here."""
        self.scribe.forget_part(part)
        self.catalogue.forget_part(part)

    def writing(self, scope: Scope) -> AbstractAsyncContextManager[object]:
        """It is the caller's turn to write for a user, and for all in the same part. Raises StoreError where it cannot
        be had.
        """
        return self.turns.hold(self.turns.find_part(scope))

    async def prepare(self) -> None:
        """Reads ahead what the first calls would otherwise wait for: two seconds with 100,000 users.

        Raises:
            StoreError: it could not be read; the calls will try again.
        """
        await asyncio.to_thread(self.store.prepare)
        await asyncio.to_thread(migration.migrate, self._settings, self.ledger, self.store)
        await self.embeddings.prepare()
        await self.catalogue.prepare()

    async def load(self, scope: Scope) -> Pack:
        """All memories of a user that hold, packed."""
        model = await self.embeddings.settle()
        rows = await asyncio.to_thread(self.store.list_rows, scope)
        return await asyncio.to_thread(self._pack, scope, rows, model)

    async def load_parts(self, scope: Scope) -> AsyncGenerator[wire.Part, None]:
        """The memories that a user has now, those stored last first; one empty part for somebody without any."""
        if await asyncio.to_thread(self.ledger.is_off, scope.key):
            yield wire.Part(make_pack([]), 0, off=True)
            return
        model = await self.embeddings.settle()
        rows = await asyncio.to_thread(self.store.list_rows, scope)
        left = len(rows)
        while True:
            start = max(0, left - PART)
            yield wire.Part(await asyncio.to_thread(self._pack, scope, rows[start:left], model), start)
            if not start:
                return
            left = start

    def _pack(self, scope: Scope, rows: Sequence[str], model: EmbeddingModel | None) -> Pack:
        records = self.store.fetch(scope, rows)
        holding = [record for record in records if record.memory.superseded_by is None]
        return make_pack([refresh(record, model) for record in holding], model)

    async def fetch(self, scope: Scope, ids: Sequence[str]) -> list[Record]:
        """The user's records with these memory ids, in no order."""
        return await asyncio.to_thread(self.store.fetch_ids, scope, ids)

    async def shelf(self, scope: Scope) -> Shelf:
        """What is known of a user's memories. The caller has the turn, and changes nothing."""
        return await self.scribe.look(scope)

    # Writing.

    async def learn(self, exchanges: Sequence[Exchange]) -> None:
        """Keeps what is worth it of *exchanges*. The caller has the turn.

        Raises:
            EmbedderError, StoreError: nothing was announced; taking the same exchanges again is harmless.
        """
        plans: dict[Scope, Plan] = {}
        standings = await self._read_standings(exchange.scope for exchange in exchanges)
        for exchange in exchanges:
            scope = exchange.scope
            if standings[scope.key].off:
                self.metrics.count("messages_total", "off", by=len(exchange.messages))
                continue
            if scope not in plans:
                plans[scope] = await self.scribe.plan(scope)
            self._reconciler.take(plans[scope], exchange, standings[scope.key].tombstone)
        await self._carry_out(plans)

    async def learn_facts(self, scope: Scope, extraction: Extraction) -> None:
        """Keeps the facts that a model has found. The caller has the turn. Raises as :meth:`learn`."""
        standings = await self._read_standings([scope])
        plan = await self.scribe.plan(scope)
        take_facts(plan, scope, extraction, standings[scope.key].tombstone)
        await self._carry_out({scope: plan})

    async def _read_standings(self, scopes: Iterable[Scope]) -> dict[str, Standing]:
        """How it is with these users, by key: of all of them at once."""
        return await asyncio.to_thread(self.ledger.read_standings, {scope.key for scope in scopes})

    async def remember(self, memories: Mapping[Scope, Sequence[Memory]]) -> None:
        """Stores memories as they are. The caller has the turn. Raises as :meth:`learn`."""
        plans = {scope: await self.scribe.plan(scope) for scope in memories}
        for scope, some in memories.items():
            for memory in some:
                plans[scope].add(Draft(memory, statements=find_stated(memory)))
                plans[scope].tally["stored"] += 1
        await self._carry_out(plans)

    async def _carry_out(self, plans: Mapping[Scope, Plan], findable: Findable | None = None) -> None:
        for plan in plans.values():
            evict(plan, self._retention)
        # Users first: whoever has a memory shows in the list of users, even if this process ends in between.
        await self.catalogue.note_activity(
            {scope: [draft.memory for draft in plan.added.values()] for scope, plan in plans.items()}
        )
        for scope in plans:
            self.turns.check(self.turns.find_part(scope))
        try:
            await self.scribe.carry_out(plans, findable)
        finally:
            await self.told()

    async def add(self, scope: Scope, text: str) -> Memory:
        """A memory written by hand, which goes before what was said."""
        async with self.writing(scope):
            plan = await self.scribe.plan(scope)
            memory = add_by_hand(plan, scope, self._redactor.redact(text).text, now())
            await self._carry_out({scope: plan})
        return memory

    async def edit(self, scope: Scope, memory_id: str, text: str | None, *, restore: bool = False) -> Memory | None:
        """The memory with another *text*, and with *restore* as one that holds; None where there is none."""
        async with self.writing(scope):
            found = await self.fetch(scope, [memory_id])
            plan = await self.scribe.plan(scope)
            item = plan.shelf.get(memory_id)
            if item is None or not found:
                return None
            memory = found[0].memory
            if text is not None:
                memory = edit_by_hand(plan, memory, self._redactor.redact(text).text, item, now())
            elif restore:
                plan.revive(item)
                memory = msgspec.structs.replace(memory, superseded_by=None, valid_until=None)
            await self._carry_out({scope: plan})
        return memory

    async def switch(self, scope: Scope, *, off: bool) -> None:
        """Memory is off for a user, or on again. What is there stays."""
        async with self.writing(scope):
            await asyncio.to_thread(self.ledger.switch, scope.key, off=off)
            self.on_change(wire.Changed(scope, off=off))
            await self.told()

    async def apply_retention(self) -> None:
        """Removes what has become too old, of every user, and copies that a migration has made. Raises StoreError."""
        await asyncio.to_thread(migration.prune, self._settings.data_dir, older_than_s=migration.KEPT_S)
        if self._retention.max_age_days is None:
            return
        for scope in await self.catalogue.scopes():
            async with self.writing(scope):
                await self._carry_out({scope: await self.scribe.plan(scope)})

    async def erase(self, scope: Scope, memory_ids: Sequence[str] | None, *, held: int = 0) -> wire.Receipt:
        """Erases memories, or with None a user: from the store and from what waits in the journal, besides the *held*
        entries that never came there.

        Before anything else it is noted for good that this was erased and when, so that neither work under way nor
        history that a client sends again brings it back.
        """
        await asyncio.to_thread(migration.prune, self._settings.data_dir)
        self.on_erase(scope)
        async with self.writing(scope):
            at = now()
            if memory_ids is None:
                erased, entries = await self._erase_user(scope)
            else:
                erased, entries = await self._erase_some(scope, memory_ids)
        receipt = wire.Receipt(scope.user_id, len(erased), entries + held, isoformat(at), tenant=scope.tenant)
        return sign(receipt, erased)

    async def _erase_user(self, scope: Scope) -> tuple[list[str], int]:
        rows = await asyncio.to_thread(self.store.list_rows, scope)
        records = await asyncio.to_thread(self.store.fetch, scope, rows)
        await self._bury(scope, records, everything=True)
        entries = await asyncio.to_thread(self.journal.erase, scope)
        await asyncio.to_thread(self.store.delete_user, scope)
        await self.catalogue.forget(scope)
        self.scribe.forget(scope)
        self.on_change(wire.Changed(scope, everything=True))
        await self.told()
        return [record.memory.id for record in records], entries

    async def _erase_some(self, scope: Scope, memory_ids: Sequence[str]) -> tuple[list[str], int]:
        plan = await self.scribe.plan(scope)
        ids = find_related(plan.shelf, memory_ids)
        records = await self.fetch(scope, ids)
        if not records:
            return [], 0
        digests = await self._bury(scope, records)
        entries = await asyncio.to_thread(self.journal.forget, scope, lambda exchange: strike_out(exchange, digests))
        for item in filter(None, map(plan.shelf.get, ids)):
            plan.remove(item)
        await self._carry_out({scope: plan})
        return [record.memory.id for record in records], entries

    async def _bury(self, scope: Scope, records: Sequence[Record], *, everything: bool = False) -> set[bytes]:
        """Notes that these are erased; answers the digests by which they are known when they are sent again."""
        digests = find_digests(scope, records)
        ids = None if everything else [record.memory.id for record in records]
        await asyncio.to_thread(self.ledger.bury, scope.key, at=now(), memory_ids=ids, digests=digests)
        return digests

    async def take_in(self, lines: Iterable[bytes], *, first_line: int = 1, tenant: str = "") -> wire.Imported:
        """Stores what JSON Lines hold. What is known already is left alone, so that a second import of the same file
        changes nothing.
        """
        return await self.take_in_read(await self.read_lines(lines, first_line=first_line, tenant=tenant))

    async def read_lines(
        self, lines: Iterable[bytes], *, first_line: int = 1, tenant: str = "", analyst: Analyst | None = None
    ) -> Reading:
        """What lines hold, prepared by *analyst* as far as can be. Nothing is written, and nobody's turn is needed."""
        reading = await read(lines, self._redactor, self.store, first_line=first_line, tenant=tenant)
        return reading if analyst is None else await prepare(reading, self.scribe, analyst)

    async def take_in_read(
        self, reading: Reading, *, batch_size: int = BATCH, progress: Callable[[int], None] = lambda _: None
    ) -> wire.Imported:
        """As :meth:`take_in`, of what was read. *progress* hears of every batch how many memories it had.

        A larger *batch_size* is half again as fast, for a process in which nobody waits for the store.
        """
        known = 0
        done: Counter[str] = Counter()
        for scope, brought in reading.parsed.brought.items():
            unknown = reading.unknown[scope]
            if brought:
                # Once with the latest date, instead of once a batch with ever later ones.
                await self.catalogue.note_activity({scope: [one.memory for one in brought]})
            if len(unknown) < len(brought):
                known += len(brought) - len(unknown)
                progress(len(brought) - len(unknown))
            for start in range(0, len(unknown), batch_size):
                batch = unknown[start : start + batch_size]
                tally = await self._store_unknown(scope, batch, reading.findable)
                known += len(batch) - tally["stored"]
                done += tally
                progress(len(batch))
        return wire.Imported(done["stored"], known, reading.parsed.errors, evicted=done["evicted"])

    async def _store_unknown(self, scope: Scope, batch: Sequence[Brought], findable: Findable | None) -> Counter[str]:
        async with self.writing(scope):
            plan = await self.scribe.plan(scope)
            plan.tally["stored"] += Intake(scope, plan).take(batch)
            await self._carry_out({scope: plan}, findable)
        return plan.tally

    async def aclose(self) -> None:
        """Closes the store, the journal and the embedder."""
        await self.embeddings.aclose()
        await self._embedder.aclose()
        await asyncio.to_thread(self.store.close)
        await asyncio.to_thread(self.journal.close)
        await self.turns.aclose()
        await asyncio.to_thread(self.ledger.close)


def _hear_nothing(_: wire.Changed) -> None:
    """Nobody follows."""


async def _tell_nobody() -> None:
    """Nobody else is to be told."""


@asynccontextmanager
async def open_vault(
    settings: Settings, holder: Holder, *, patience_s: float = 0, exclusive: bool = True
) -> AsyncIterator[Vault]:
    """Locks the data directory of *settings* and opens what is in it, and what replicas share.

    With *exclusive* false, what all of it is shared is opened beside another process, too.

    Raises:
        LockedError: another process has the data directory.
        ConfigError, StoreError, JournalError, EmbedderError: it cannot be opened.
    """
    with lock_data_dir(settings, holder, patience_s=patience_s, exclusive=exclusive) as owner:
        metrics = Metrics("keeper")
        embedder = measure(open_embedder(settings), partial(metrics.observe, "embed_seconds"))
        if owner:
            await asyncio.to_thread(migration.prepare, settings)
        ledger = await asyncio.to_thread(open_ledger, settings)
        store = await asyncio.to_thread(open_store, settings, ledger)
        store = MeasuredStore(store, note_calls(metrics))
        if settings.store.mode == "embedded" and settings.journal.redis_url is None:
            # Else there are servers, which may be away for now: see Vault.prepare.
            await asyncio.to_thread(migration.migrate, settings, ledger, store)
        vault = Vault(store, embedder, open_access(settings, owner=owner), ledger, settings, metrics)
        try:
            yield vault
        finally:
            await vault.aclose()
