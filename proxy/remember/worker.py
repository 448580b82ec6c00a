"""The write path: takes exchanges from the journal and has them learnt, whatever fails on the way."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Final, NamedTuple

import structlog

from proxy.errors import EmbedderError, JournalError, StoreError
from proxy.journal import Entry, Reader, Seq
from proxy.journal.backoff import delay
from proxy.models import Exchange, now
from proxy.observe.failopen import FailOpen
from proxy.remember.turns import Turns

log = structlog.get_logger(__name__)

# The store writes a batch in up to 16 transactions of 4 ms and more each (one a shard), so that a backlog of many users
# is stored three times as fast in batches of this size than in batches of 32.
BATCH: Final = 128
# Memories written at once: a batch keeps erasures and imports waiting, and is announced in one go.
MEMORIES: Final = 256
# Handed out so often and never settled, an entry may be what the process does not survive. Once is often chance: it is
# handed out with up to 127 others.
SUSPECT: Final = 2
# The journal is looked at this often even if nobody tells of news, for what a crashed edge left behind.
IDLE_S: Final = 1.0
# Retries: 0.5 s, 1 s, 2 s … up to a minute, each shortened by up to a half so that they spread.
FIRST_DELAY_S: Final = 0.5
LONGEST_DELAY_S: Final = 60.0
# Why an entry was set aside: nothing could be stored since it came, or only it could not.
OUTAGE: Final = "outage"
ENTRY: Final = "entry"

Learn = Callable[[Sequence[Exchange]], Awaitable[None]]


class Failure(NamedTuple):
    """Why a batch was not stored. *foreseen*: the store or the embedder says so itself."""

    reason: str
    foreseen: bool


class Worker:
    """Empties the journal, one batch at a time, per user in order.

    *learn* stores what is worth it and raises StoreError or EmbedderError when it cannot; the entries then wait, are
    tried again, and after *max_attempts* set aside: until somebody asks, or, if nothing at all could be stored
    since they came, until something can. A batch is of one part, whose turn is held from taking it to its end, so that
    an erasure never falls in between; a part in which another keeper writes is left to that one. *next_stage*: stored
    entries go on to be looked at by a model instead of being done.
    """

    def __init__(
        self,
        journal: Reader,
        learn: Learn,
        turns: Turns,
        fail_open: FailOpen,
        *,
        max_attempts: int,
        next_stage: Callable[[Exchange], float | None] = lambda _: None,
    ) -> None:
        self.trouble: str | None = None
        self._journal = journal
        self._learn = learn
        self._turns = turns
        # Where the last batch was from: the next one is from another part, if there is one that has any.
        self._last_part = -1
        self._unreached = False
        self._fail_open = fail_open
        self._max_attempts = max_attempts
        self._next_stage = next_stage
        self._news = asyncio.Event()
        self._at_rest = asyncio.Event()
        self._stored_at: datetime | None = None

    def notice(self) -> None:
        """There is something new in the journal."""
        self._news.set()

    async def run(self) -> None:
        """Works until cancelled; a batch under way is stored again after a restart, which changes nothing."""
        while True:
            self._news.clear()
            self._at_rest.clear()
            while await self.step():
                pass
            self._at_rest.set()
            try:
                async with asyncio.timeout(IDLE_S):
                    await self._news.wait()
            except TimeoutError:
                continue

    async def wait_for_rest(self, within_s: float) -> None:
        """Returns when there is nothing to be stored at this moment, or after *within_s* in any case."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._at_rest.wait()

    async def flush(self) -> None:
        """Tries everything that waits to be stored now, also what waits for a retry."""
        last = await asyncio.to_thread(self._journal.last_seq)
        async with self._turns.pause():
            await asyncio.to_thread(self._journal.hasten)
        while await asyncio.to_thread(self._journal.unsettled, last, extracting=False):
            if await self.step(patient=True) is None:
                break

    async def step(self, *, patient: bool = False) -> tuple[int, int] | None:
        """One batch: how many entries were stored and how many not, or None when nothing is due, or with *patient*
        false what is due is in parts in which another keeper writes.
        """
        try:
            for part in self._order(await asyncio.to_thread(self._journal.find_parts)):
                done = await self._work_in(part, patient=patient)
                if done is not None:
                    return done
        except JournalError as exc:
            self._miss(f"journal: {exc}")
        except StoreError as exc:  # whose turn it is cannot be told
            self._miss(str(exc))
        else:
            self._reach()
        return None

    def _order(self, parts: Sequence[int]) -> list[int]:
        """*parts*, beginning behind the one that had the last batch."""
        return sorted(parts, key=lambda part: (part <= self._last_part, part))

    async def _work_in(self, part: int, *, patient: bool) -> tuple[int, int] | None:
        async with self._turns.hold(part, patient=patient) as mine:
            entries = await self._take(part) if mine else []
            if not entries:
                return None
            self._last_part = part
            return await self._work(entries)

    async def _take(self, part: int) -> list[Entry]:
        taken = await asyncio.to_thread(self._journal.take, BATCH, part=part)
        entries = _limit(taken)
        if len(entries) < len(taken):
            await asyncio.to_thread(self._journal.put_back, [entry.seq for entry in taken[len(entries) :]])
        return entries

    async def _work(self, entries: list[Entry]) -> tuple[int, int]:
        if entries[0].taken >= max(self._max_attempts, SUSPECT + 1):
            # Each time the process has ended, at least once over this entry alone.
            await self._park(entries[0], "the keeper ended each time while this was being stored", ENTRY, counted=False)
            return 0, 1
        if failure := await self._store(entries):
            if len(entries) > 1:
                return await self._work_singly(entries)
            await self._postpone(entries, failure)
            return 0, 1
        await self._settle(entries)
        return len(entries), 0

    async def _work_singly(self, entries: list[Entry]) -> tuple[int, int]:
        """After a batch has failed: is it one entry that cannot be stored, or the store that cannot store?"""
        stored = failed = 0
        while entries:
            entry, *entries = entries
            done, not_done = await self._work([entry])
            stored, failed = stored + done, failed + not_done
            if failed > 1 and not stored:
                await self._postpone(entries, Failure(self.trouble or "the store fails", foreseen=True))
                return stored, failed + len(entries)
        return stored, failed

    async def _store(self, entries: list[Entry]) -> Failure | None:
        """Stores a batch; the reason in one line when that fails."""
        with self._fail_open("store") as step:
            try:
                await self._learn([entry.exchange for entry in entries])
            except (StoreError, EmbedderError) as exc:
                return Failure(str(exc), foreseen=True)
        return Failure("something unforeseen; the keeper's log says what", foreseen=False) if step.failed else None

    async def _settle(self, entries: list[Entry]) -> None:
        further: dict[float, list[Seq]] = {}
        done: list[Seq] = []
        for entry in entries:
            wait_s = self._next_stage(entry.exchange)
            (done if wait_s is None else further.setdefault(wait_s, [])).append(entry.seq)
        if done:
            await asyncio.to_thread(self._journal.done, done)
        for wait_s, seqs in further.items():
            await asyncio.to_thread(self._journal.advance, seqs, wait_s)
        if self.trouble is not None or self._stored_at is None:
            self.trouble = None
            await asyncio.to_thread(self._journal.release, OUTAGE)
        self._stored_at = now()

    async def _postpone(self, entries: list[Entry], failure: Failure) -> None:
        self._note(failure.reason)
        for entry in entries:
            if entry.attempts + 1 >= self._max_attempts:
                await self._park(entry, failure.reason, self._blame(entry, failure), counted=True)
            else:
                wait_s = delay(entry.attempts, first_s=FIRST_DELAY_S, most_s=LONGEST_DELAY_S)
                await asyncio.to_thread(self._journal.postpone, [entry.seq], failure.reason, wait_s)

    async def _park(self, entry: Entry, reason: str, kind: str, *, counted: bool) -> None:
        log.error("entry_set_aside", seq=entry.seq, reason=reason, attempts=entry.attempts + counted)
        await asyncio.to_thread(self._journal.park, [entry.seq], reason, kind, counted=counted)

    def _blame(self, entry: Entry, failure: Failure) -> str:
        worked_since = self._stored_at is not None and self._stored_at > entry.exchange.at
        return ENTRY if worked_since or not failure.foreseen else OUTAGE

    def _miss(self, reason: str) -> None:
        self._unreached = True
        self._note(reason)

    def _reach(self) -> None:
        """The journal can be read, and there is nothing in it by which the store could show that it works."""
        if self._unreached:
            self._unreached, self.trouble = False, None

    def _note(self, reason: str) -> None:
        if reason != self.trouble:
            log.warning("storing_failed", reason=reason)
        self.trouble = reason


def _limit(entries: list[Entry]) -> list[Entry]:
    """The first of *entries*, with no more memories than are written at once, but one entry in any case.

    One that a process has not survived, as it seems, stands alone.
    """
    total = 0
    for index, entry in enumerate(entries):
        total += len(entry.exchange.messages)
        if index and (total > MEMORIES or entry.taken >= SUSPECT):
            return entries[:index]
        if entry.taken >= SUSPECT:
            return entries[:1]
    return entries
