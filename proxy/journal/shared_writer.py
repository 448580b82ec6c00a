"""The edge's end of the journal that replicas share, with a file of this replica's own for when Redis is away."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

import structlog

from proxy.config import Settings
from proxy.errors import JournalError
from proxy.journal.backoff import Backoff
from proxy.journal.entries import Draft, JournalState, draft
from proxy.journal.files import JournalFiles
from proxy.journal.layout import Keys, Row, arrange, make_row, read_script
from proxy.journal.reader import JournalReader
from proxy.journal.spill import count_spilled
from proxy.journal.writer import HOLD_BYTES, JournalWriter
from proxy.models import Exchange, Scope
from proxy.sharing import open_async_redis, translated
from proxy.tasks import Tasks

if TYPE_CHECKING:
    from redis.asyncio import Redis

# One that takes longer is taken for dead, and the exchange goes to the disk, while a client waits for its last byte.
PATIENCE_S: Final = 1.0
# While exchanges go to the disk it is looked so often whether they have to.
LOOK_S: Final = 0.2
# When so few are left there, what is new waits until they are gone, but for no longer than that; where nobody takes
# them away, ever more seldom.
_FEW: Final = 512
_CATCH_UP_S: Final = 0.5
_CATCH_UP_EVERY_S: Final = 0.01
_LONGEST_WAIT_S: Final = 10.0
_LONGEST_RETRY_S: Final = 2.0
_GROUP_ROWS: Final = 128
_GROUP_BYTES: Final = 4 << 20
FULL: Final = "redis: the journal has reached its largest size"

Stamp = tuple[int, int, int]

_log = structlog.get_logger()


class _Waiting(NamedTuple):
    draft: Draft
    row: Row
    done: asyncio.Future[None]


class SharedWriter:
    """A :class:`~proxy.journal.base.Writer` on Redis.

    What Redis has answered for is on its disk, where that is configured as it should be. While Redis is away, slow or
    full, exchanges go to the local journal, which is as durable, and whose keeper brings them to Redis as soon as it
    answers. As long as anything is there all others follow it, so that none overtakes one of its user: one task writes
    everything, and goes back to Redis only when it has seen the local journal empty. Another edge of this replica may
    have come to write there meanwhile: before each group it is looked whether that file has changed.

    A group whose answer was lost goes to the local journal although it may be in Redis, and is then stored twice, which
    changes nothing.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        on_written: Callable[[], None] | None = None,
        on_cost: Callable[[float], None] | None = None,
        hold_bytes: int = HOLD_BYTES,
        patience_s: float = PATIENCE_S,
        backoff: Backoff | None = None,
    ) -> None:
        self._most_bytes = int(settings.journal.max_mb * (1 << 20))
        self._settings = settings
        self._spill = JournalWriter(
            settings.data_dir, on_written=on_written, hold_bytes=hold_bytes, max_bytes=self._most_bytes
        )
        self._spilled = JournalReader(settings.data_dir)
        self._client: Redis = open_async_redis(settings)
        self._append = self._client.register_script(read_script("append"))
        self._keys = Keys(settings)
        self._on_written = on_written
        self._on_cost = on_cost
        self._hold_bytes = hold_bytes
        self._patience_s = patience_s
        self._backoff = backoff or Backoff(most_s=_LONGEST_RETRY_S)
        self._patience = Backoff(LOOK_S, _LONGEST_WAIT_S)
        self._tasks = Tasks()
        self._news = asyncio.Event()
        self._queue: deque[_Waiting] = deque()
        self._queued_bytes = 0
        self._lost = 0
        self._open = False
        # What an earlier process left in the local journal goes first.
        self._direct = False
        self._files = JournalFiles(settings.data_dir)
        self._seen: Stamp | None = None
        self._failing: str | None = None
        self._retry_at = 0.0

    @property
    def state(self) -> JournalState:
        """How it goes right now. *failing* also while exchanges are safe, but in the local journal only."""
        spill = self._spill.state
        reasons = [] if self._direct else [reason for reason in (self._failing, spill.failing) if reason is not None]
        return JournalState("; ".join(reasons) or None, spill.held, self._lost + spill.lost)

    def start(self) -> None:
        """Starts the task that writes."""
        self._open = True
        self._spill.start()
        self._tasks.spawn(self._run(), name="journal-writer")

    async def append(self, exchange: Exchange) -> None:
        """See :class:`~proxy.journal.base.Writer`."""
        began = time.thread_time()
        admitted = self._admit(exchange)
        item = _Waiting(admitted, make_row(admitted), asyncio.get_running_loop().create_future())
        self._queue.append(item)
        self._queued_bytes += len(item.row.value)
        self._news.set()
        if self._on_cost is not None:
            self._on_cost(time.thread_time() - began)
        await item.done

    async def discard(self, scope: Scope) -> int:
        """See :class:`~proxy.journal.base.Writer`."""
        out = [item for item in self._queue if item.row.user_key == scope.key]
        self._queue = deque(item for item in self._queue if item.row.user_key != scope.key)
        self._queued_bytes -= sum(len(item.row.value) for item in out)
        for item in out:
            _answer(item)
        return len(out) + await self._spill.discard(scope)

    async def aclose(self) -> None:
        """See :class:`~proxy.journal.base.Writer`."""
        self._open = False
        self._news.set()
        await self._tasks.drain()
        await self._spill.aclose()
        await asyncio.to_thread(self._spilled.close)
        await self._client.aclose()

    def _admit(self, exchange: Exchange) -> Draft:
        if not self._open:
            raise self._lose("the journal is closed")
        try:
            admitted = draft(exchange)
        except JournalError as exc:
            raise self._lose(str(exc)) from exc
        if self._queued_bytes + len(admitted.payload) > self._hold_bytes:
            raise self._lose(f"too much waits to be written, {self._failing or 'slow Redis'}")
        return admitted

    def _lose(self, reason: str) -> JournalError:
        self._lost += 1
        if self._lost.bit_count() == 1:
            _log.error("journal.lost", count=self._lost, reason=reason)
        return JournalError(f"the exchange is lost: {reason}")

    # The task.

    async def _run(self) -> None:
        try:
            while self._open or self._queue:
                await self._wait()
                if not self._direct or self._stamp() != self._seen:
                    self._direct = False
                    await self._try_to_return()
                if group := self._next_group():
                    await self._write(group)
        finally:
            # Ended, or died of something unforeseen: nobody may wait for it any longer.
            self._open = False
            for item in self._queue:
                _answer(item, self._lose("the journal's writer ended"))

    async def _wait(self) -> None:
        """Returns when there is something to write, or to look after."""
        if self._queue or not self._open:
            return
        self._news.clear()
        try:
            async with asyncio.timeout(None if self._direct else LOOK_S):
                await self._news.wait()
        except TimeoutError:
            pass

    def _next_group(self) -> list[_Waiting]:
        group: list[_Waiting] = []
        size = 0
        while self._queue and len(group) < _GROUP_ROWS and size < _GROUP_BYTES:
            item = self._queue.popleft()
            group.append(item)
            size += len(item.row.value)
        self._queued_bytes -= size
        return group

    async def _write(self, group: Sequence[_Waiting]) -> None:
        appended = await self._send(group) if self._direct else 0
        for item in group[:appended]:
            _answer(item)
        if appended and self._on_written is not None:
            self._on_written()
        if appended < len(group):
            await self._divert(group[appended:])

    async def _try_to_return(self) -> None:
        """Goes back to Redis if it answers and nothing of ours is anywhere else."""
        if time.monotonic() < self._retry_at or await self._ask(()) is None:
            return
        if not await self._catch_up():
            self._retry_at = time.monotonic() + self._patience.next_delay()
            return
        self._recover()
        if self._spill.state.failing is not None:
            held = [_Waiting(item, make_row(item), _done()) for item in await self._spill.withdraw()]
            self._queue.extendleft(reversed(held))
            self._queued_bytes += sum(len(item.row.value) for item in held)

    async def _catch_up(self) -> bool:
        """Whether the local journal is empty. Where little is left it is waited for: users who go on talking would
        otherwise add to it as fast as it is emptied.

        From a disk that is broken nothing comes: waiting for it would help nobody, while what is held in memory can go
        to Redis instead.
        """
        deadline = time.monotonic() + _CATCH_UP_S
        while self._spill.state.failing is None:
            self._seen = self._stamp()
            try:
                left = await asyncio.to_thread(count_spilled, self._spilled)
            except JournalError:
                break
            if not left:
                break
            if left > _FEW or time.monotonic() > deadline:
                return False
            await asyncio.sleep(_CATCH_UP_EVERY_S)
        return True

    def _stamp(self) -> Stamp | None:
        """By what is written to the local journal first. None while there is no such file, or a disk that fails."""
        try:
            status = self._files.wal.stat()
        except OSError:
            return None
        return status.st_ino, status.st_mtime_ns, status.st_size

    async def _send(self, group: Sequence[_Waiting]) -> int:
        """Appends to Redis; answers how many it has for certain."""
        appended = await self._ask([item.row for item in group])
        if appended is not None and appended < len(group):
            self._fail(FULL)
        return appended or 0

    async def _ask(self, rows: Sequence[Row]) -> int | None:
        """How many of *rows* Redis has taken; None, and it is noted, when it has not answered."""
        try:
            with translated(JournalError):
                async with asyncio.timeout(self._patience_s):
                    appended: int = await self._append(*arrange(self._keys, rows, self._most_bytes))
        except TimeoutError:
            self._fail("redis: no answer")
        except JournalError as exc:
            self._fail(str(exc))
        else:
            return appended
        return None

    async def _divert(self, group: Sequence[_Waiting]) -> None:
        """Writes to the local journal, which holds in memory what it cannot write."""
        appends = [self._spill.append_draft(item.draft) for item in group]
        for item, result in zip(group, await asyncio.gather(*appends, return_exceptions=True), strict=True):
            _answer(item, result)

    def _fail(self, reason: str) -> None:
        if self._failing is None:
            _log.error("journal.failing", reason=reason, consequence="exchanges go to the local journal")
        self._failing, self._direct = reason, False
        self._retry_at = time.monotonic() + self._backoff.next_delay()

    def _recover(self) -> None:
        if self._failing is not None:
            _log.info("journal.recovered")
        self._failing, self._direct = None, True
        self._backoff.reset()
        self._patience.reset()


def _answer(item: _Waiting, failure: BaseException | None = None) -> None:
    if item.done.done():
        return
    if failure is None:
        item.done.set_result(None)
    else:
        item.done.set_exception(failure)


def _done() -> asyncio.Future[None]:
    """Of an exchange that nobody waits for any more."""
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    future.set_result(None)
    return future
