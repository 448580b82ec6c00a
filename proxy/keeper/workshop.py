"""Who works on the journal, put together from the configuration: for the keeper, and for a command that works alone."""

import asyncio
from typing import Final

import structlog

from proxy.config import Settings
from proxy.errors import StoreError
from proxy.keeper.vault import Vault
from proxy.keeper.wire import Flushed
from proxy.models import Exchange, Scope
from proxy.observe.failopen import FailOpen
from proxy.observe.tracing import Tracing
from proxy.remember.asking import WatchedExtractor
from proxy.remember.courier import Courier
from proxy.remember.learner import Learner
from proxy.remember.worker import Worker
from proxy.tasks import Tasks

log = structlog.get_logger(__name__)

# What has become too old is removed when its user says something, and of all users so often.
_RETENTION_EVERY_S: Final = 6 * 3600.0
# For what is said all the time, others cannot wait longer.
_WAY_S: Final = 0.5


class Workshop:
    """The worker, and where a model is to find facts the learner. They run as *tasks* from :meth:`start` on."""

    def __init__(self, vault: Vault, settings: Settings, tasks: Tasks, tracing: Tracing | None = None) -> None:
        self._vault = vault
        self._tasks = tasks
        self._idle_s = settings.extraction.idle_s
        fail_open = FailOpen(vault.metrics)
        attempts = settings.journal.max_attempts
        self._extractor: WatchedExtractor | None = None
        if settings.extraction.effective == "llm":
            self._extractor = WatchedExtractor(settings, vault.metrics, tracing)
        self._learner: Learner | None = None
        if self._extractor is not None:
            self._learner = Learner(
                vault.journal,
                vault,
                self._extractor.extract,
                fail_open,
                tasks,
                max_attempts=attempts,
                concurrency=settings.extraction.concurrency,
            )
            vault.on_erase = self._stop_learning
        self.worker = Worker(
            vault.journal,
            vault.learn,
            vault.turns,
            fail_open,
            max_attempts=attempts,
            next_stage=self._find_next_stage,
        )
        self._courier = None if vault.spill is None else Courier(vault.spill, self.worker.notice)

    def start(self) -> list[asyncio.Task[None]]:
        """Starts working. None of the tasks ends by itself."""
        tasks = [self._tasks.spawn(self.worker.run(), name="worker")]
        if self._learner is not None:
            tasks.append(self._tasks.spawn(self._learner.run(), name="learner"))
        if self._courier is not None:
            tasks.append(self._tasks.spawn(self._courier.run(), name="courier"))
        tasks.append(self._tasks.spawn(self._apply_retention(), name="retention"))
        return tasks

    def notice_entry(self) -> None:
        """An exchange was appended to the journal, or to what is to be brought there."""
        self.worker.notice()
        if self._courier is not None:
            self._courier.notice()

    def notice(self) -> None:
        """There is something new in the journal."""
        self.worker.notice()
        if self._learner is not None:
            self._learner.notice()

    async def flush(self, *, extract: bool = True) -> Flushed:
        """Tries everything that is in the journal now, also what waits for a retry, with *extract* the model, too.

        Answers how many entries were settled meanwhile, by whom ever, and how many were not.
        """
        journal = self._vault.journal
        kept_back = await self._deliver()
        last = await asyncio.to_thread(journal.last_seq)
        before = await asyncio.to_thread(journal.counts)
        await self.worker.flush()
        if extract and self._learner is not None:
            await self._learner.flush()
        left = await asyncio.to_thread(journal.unsettled, last, extracting=extract)
        after = await asyncio.to_thread(journal.counts)
        waiting = before.pending + (before.extracting if extract else 0)
        failed = kept_back + left + max(0, after.failed - before.failed)
        return Flushed(max(0, waiting - failed), failed)

    async def _deliver(self) -> int:
        """Brings what was spilled to the shared journal; how much of it could not be brought there."""
        if self._courier is None or self._vault.spill is None or await self._courier.deliver():
            return 0
        return await asyncio.to_thread(self._vault.spill.count)

    async def give_way(self) -> None:
        """For what can wait: returns when there is nothing to be stored, and after a while in any case."""
        await self.worker.wait_for_rest(_WAY_S)

    async def aclose(self) -> None:
        """Closes connections to the model."""
        if self._extractor is not None:
            await self._extractor.aclose()

    def _stop_learning(self, scope: Scope) -> None:
        if self._learner is not None:
            self._learner.cancel(scope)

    def _find_next_stage(self, exchange: Exchange) -> float | None:
        """After how many seconds a model is to look at a stored exchange, if at all: together with what follows it."""
        asked = any(message.role == "user" and message.text.strip() for message in exchange.messages)
        return self._idle_s if self._learner is not None and asked else None

    async def _apply_retention(self) -> None:
        while True:
            try:
                await self._vault.apply_retention()
            except StoreError as exc:
                log.warning("retention_failed", reason=str(exc))
            await asyncio.sleep(_RETENTION_EVERY_S)
