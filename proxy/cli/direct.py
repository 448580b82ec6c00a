"""The data directory itself, while no server runs."""

import asyncio
import sys
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import aclosing
from typing import Final

import msgspec

from proxy.cli.backend import NO_SUCH_MEMORY, TELL_EVERY_S, Memories, Users
from proxy.edge.answers import Found, tell_block, write_lines
from proxy.errors import MemoryProxyError
from proxy.keeper.moves import ReembeddingState
from proxy.keeper.reembedding import Reembedding
from proxy.keeper.vault import Vault
from proxy.keeper.wire import FailedRow, Imported, JournalPage, Receipt
from proxy.models import Memory, Message, Scope, now
from proxy.recall.composing import find_block
from proxy.recall.explaining import explain
from proxy.recall.query import Query
from proxy.remember.analyst import Analyst
from proxy.remember.reading import Reading
from proxy.tasks import Tasks, look_ahead
from proxy.tokens import TokenCounter
from proxy.workingset import WorkingSet

# Memories written at once. The keeper takes fewer, because users wait for it meanwhile.
BATCH: Final = 256
# Memories of an export that are read at once.
PAGE: Final = 500


class Direct:
    """A :class:`~proxy.cli.backend.Backend` on an open vault, which stays the caller's to close.

    *flush* brings what waits in the journal to its end, as nobody else does while no server runs. *tenant*: whose users
    are listed, and whose an import's are; None lists all.
    """

    def __init__(self, vault: Vault, flush: Callable[[], Awaitable[object]], tenant: str | None = None) -> None:
        self._vault = vault
        self._flush = flush
        self._tenant = tenant

    async def users(self, limit: int | None) -> Users:
        page = await self._vault.catalogue.users(limit or sys.maxsize, None, self._tenant)
        return Users(page.users, page.cursor is not None)

    async def memories(self, scope: Scope, limit: int | None, *, superseded: bool = False) -> Memories:
        page = await self._vault.catalogue.memories(scope, limit or sys.maxsize, None, include_superseded=superseded)
        return Memories(page.memories, page.cursor is not None)

    async def search(self, scope: Scope, query: str, budget_tokens: int) -> Found:
        """By the code that serves chats, without its deadline: who looks would rather wait than miss something."""
        tokens = TokenCounter()
        tokens.load_tables()
        began = time.perf_counter()
        working_set = WorkingSet.from_pack(await self._vault.load(scope))
        asked = Query.from_dialogue([Message("user", query)], asked_at=now())
        vector = await self._vault.embeddings.embed_question(asked.topic(working_set.speakers))
        asked = asked.with_vector(vector)
        block = find_block(working_set, asked, budget_tokens=budget_tokens, count=tokens.count, visible={query})
        elapsed_ms = (time.perf_counter() - began) * 1000
        if block is None:
            return tell_block("empty", None, {}, elapsed_ms)
        ids = [memory.id for memory in block.memories]
        why = dict(zip(ids, explain(working_set, asked, [working_set.row(one) for one in ids]), strict=True))
        return tell_block("injected", block, why, elapsed_ms)

    async def add(self, scope: Scope, text: str) -> Memory:
        return await self._vault.add(scope, text)

    async def edit(self, scope: Scope, memory_id: str, text: str | None, *, restore: bool) -> Memory:
        memory = await self._vault.edit(scope, memory_id, text, restore=restore)
        if memory is None:
            raise MemoryProxyError(NO_SUCH_MEMORY)
        return memory

    async def erase(self, scope: Scope, memory_id: str | None) -> Receipt:
        receipt = await self._vault.erase(scope, None if memory_id is None else [memory_id])
        if memory_id is not None and not receipt.memories:
            raise MemoryProxyError(NO_SUCH_MEMORY)
        return receipt

    async def export(self, scope: Scope, *, superseded: bool) -> AsyncIterator[bytes]:
        catalogue = self._vault.catalogue
        rows = await catalogue.rows(scope)
        for start in range(0, len(rows), PAGE):
            yield write_lines(await catalogue.read(scope, rows[start : start + PAGE]), superseded=superseded)

    async def take_in(
        self, pieces: Iterable[Sequence[bytes]], *, progress: Callable[[int], None]
    ) -> AsyncGenerator[Imported, None]:
        async with Analyst() as analyst, aclosing(look_ahead(self._read(pieces, analyst))) as readings:
            async for reading in readings:
                yield await self._vault.take_in_read(reading, batch_size=BATCH, progress=progress)

    async def _read(self, pieces: Iterable[Sequence[bytes]], analyst: Analyst) -> AsyncGenerator[Reading, None]:
        for number, lines in enumerate(pieces):
            # One piece alone is stored sooner than another process is up.
            helper = analyst if number else None
            yield await self._vault.read_lines(lines, first_line=0, tenant=self._tenant or "", analyst=helper)

    async def journal(self, limit: int) -> JournalPage:
        journal = self._vault.journal
        counts = await asyncio.to_thread(journal.counts)
        failed = await asyncio.to_thread(journal.failed, limit)
        entries = [
            FailedRow(
                entry.seq,
                entry.user_id,
                entry.stage,
                entry.attempts,
                entry.reason,
                msgspec.to_builtins(entry.created_at),
                entry.tenant,
            )
            for entry in failed
        ]
        return JournalPage(counts.pending, counts.extracting, counts.failed, counts.oldest_age_s, None, entries)

    async def retry_failed(self) -> int:
        retried = await asyncio.to_thread(self._vault.journal.retry_failed)
        await self._flush()
        return retried

    async def drop_failed(self) -> int:
        return await asyncio.to_thread(self._vault.journal.drop_failed)

    async def reembed(self, *, again: bool, progress: Callable[[ReembeddingState], None]) -> ReembeddingState:
        await self._vault.embeddings.settle()
        move, tasks = Reembedding(self._vault, batch=BATCH), Tasks()
        moving = tasks.spawn(move.run(again=again), name="reembed", awaited=True)
        try:
            while not moving.done():
                progress(move.state)
                await asyncio.wait((moving,), timeout=TELL_EVERY_S)
        finally:
            move.stop()
            await asyncio.wait((moving,))  # for what is being written: somebody may have pressed Ctrl-C
        moving.result()
        return move.state
