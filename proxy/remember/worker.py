"""The write path: takes exchanges from the journal, makes memories of them, and stores these."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

import structlog

from proxy.errors import EmbedderError, JournalError, StoreError
from proxy.journal import Entry, JournalReader
from proxy.models import Memory, Scope
from proxy.remember.segment import segment

log = structlog.get_logger(__name__)

# The store writes a batch in up to 16 transactions of 4 ms and more each (one a shard), so that a backlog of many users
# is stored three times as fast in batches of this size than in batches of 32.
BATCH: Final = 128
# Memories written at once: a batch keeps erasures and imports waiting, and is announced in one go.
MEMORIES: Final = 256
# The journal is looked at this often even if nobody tells of news, for what a crashed edge left behind.
IDLE_S: Final = 1.0
# Retries: 0.5 s, 1 s, 2 s … up to a minute, each shortened by up to a half so that they spread.
FIRST_DELAY_S: Final = 0.5
LONGEST_DELAY_S: Final = 60.0

Remember = Callable[[Mapping[Scope, Sequence[Memory]]], Awaitable[None]]


class Worker:
    """Empties the journal, one batch at a time, per user in order.

    *remember* stores memories and raises StoreError or EmbedderError when it cannot; the entries then wait and are
    tried again. *writing* is held from taking a batch to its end, so that an erasure never falls in between.
    """

    def __init__(self, journal: JournalReader, remember: Remember, writing: asyncio.Lock) -> None:
        self.trouble: str | None = None
        self._journal = journal
        self._remember = remember
        self._writing = writing
        self._news = asyncio.Event()

    def notice(self) -> None:
        """There is something new in the journal."""
        self._news.set()

    async def run(self) -> None:
        """Works until cancelled; a batch under way is stored again after a restart, which changes nothing."""
        while True:
            self._news.clear()
            while await self.step():
                pass
            try:
                async with asyncio.timeout(IDLE_S):
                    await self._news.wait()
            except TimeoutError:
                continue

    async def flush(self) -> tuple[int, int]:
        """Tries everything that is in the journal now, also what waits for a retry.

        Returns how many entries were stored meanwhile, by whom ever, and how many were not.
        """
        last, waiting, parked = await asyncio.to_thread(self._look)
        async with self._writing:
            await asyncio.to_thread(self._journal.hasten)
        while await asyncio.to_thread(self._journal.unsettled, last):
            if await self.step() is None:
                break
        left = await asyncio.to_thread(self._journal.unsettled, last)
        parked = await asyncio.to_thread(self._count_parked) - parked
        return max(0, waiting - left - parked), left + parked

    def _look(self) -> tuple[int, int, int]:
        """The journal's last number, how many entries up to it wait, and how many are parked."""
        last = self._journal.last_seq()
        return last, self._journal.unsettled(last), self._count_parked()

    def _count_parked(self) -> int:
        return self._journal.counts().failed

    async def step(self) -> tuple[int, int] | None:
        """One batch: how many entries were stored and how many not, or None when nothing is due."""
        async with self._writing:
            try:
                entries = await asyncio.to_thread(self._journal.take, BATCH)
                return await self._work(_limit(entries)) if entries else None
            except JournalError as exc:
                self._note(f"journal: {exc}")
                return None

    async def _work(self, entries: list[Entry]) -> tuple[int, int]:
        if failure := await self._store(entries):
            if len(entries) > 1:
                return await self._work_singly(entries)
            await self._postpone(entries, failure)
            return 0, 1
        await asyncio.to_thread(self._journal.done, [entry.seq for entry in entries])
        self.trouble = None
        return len(entries), 0

    async def _work_singly(self, entries: list[Entry]) -> tuple[int, int]:
        """After a batch has failed: is it one entry that cannot be stored, or the store that cannot store?"""
        stored = failed = 0
        while entries:
            entry, *entries = entries
            done, not_done = await self._work([entry])
            stored, failed = stored + done, failed + not_done
            if failed > 1 and not stored:
                await self._postpone(entries, self.trouble or "the store fails")
                return stored, failed + len(entries)
        return stored, failed

    async def _store(self, entries: list[Entry]) -> str | None:
        """Stores a batch; the reason in one line when that fails."""
        memories: dict[Scope, list[Memory]] = {}
        for entry in entries:
            memories.setdefault(entry.exchange.scope, []).extend(segment(entry.exchange))
        try:
            await self._remember(memories)
        except (StoreError, EmbedderError) as exc:
            return str(exc)
        return None

    async def _postpone(self, entries: list[Entry], reason: str) -> None:
        self._note(reason)
        for entry in entries:
            delay = min(LONGEST_DELAY_S, FIRST_DELAY_S * 2 ** min(entry.attempts, 10))
            spread = delay * random.uniform(0.5, 1)  # noqa: S311  # spreads retries, hides nothing
            await asyncio.to_thread(self._journal.postpone, [entry.seq], reason, spread)

    def _note(self, reason: str) -> None:
        if reason != self.trouble:
            log.warning("storing_failed", reason=reason)
        self.trouble = reason


def _limit(entries: list[Entry]) -> list[Entry]:
    """The first of *entries*, with no more memories than are written at once, but one entry in any case."""
    total = 0
    for index, entry in enumerate(entries):
        total += len(entry.exchange.messages)
        if index and total > MEMORIES:
            return entries[:index]
    return entries
