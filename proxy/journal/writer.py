"""The edge's end of the journal: durable appends from an event loop, committed in groups by one thread."""

import asyncio
import queue
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeVar

import structlog

from proxy.errors import JournalError
from proxy.journal.backoff import Backoff
from proxy.journal.checkpoints import Checkpoints
from proxy.journal.database import BUSY_S, Database, FullError
from proxy.journal.entries import Draft, JournalState, checksum, draft
from proxy.journal.handover import Handover
from proxy.models import Exchange, Scope

T = TypeVar("T")

_INSERT = "INSERT INTO entries (user_key, user_id, tenant, created_at, payload, crc) VALUES "
HOLD_BYTES = 64 << 20
_MAX_BYTES = 1 << 30
# Held exchanges are safe from nothing: a disk that works again is found soon. An attempt costs a few milliseconds.
_LONGEST_RETRY_S = 2.0
# One group is one statement. More would delay those who wait for it by more than a second one costs.
_GROUP_ROWS = 128
_GROUP_BYTES = 4 << 20
# The keeper usually empties the log; at this size nobody does.
_CHECKPOINT_BYTES = 4 << 20

_log = structlog.get_logger()


class _Waiting(NamedTuple):
    """Something to write, and who waits for it. The future is done already when it was refused and is only held."""

    draft: Draft
    done: asyncio.Future[None]


class _Discard(NamedTuple):
    """What waits is to be given up: one user's, or with None everybody's."""

    user_key: str | None
    done: asyncio.Future[list[Draft]]


class JournalWriter:
    """Appends exchanges. All methods belong to the event loop that called :meth:`start`.

    While writing fails, what was appended is held in memory, up to *hold_bytes*, and written in order as soon as that
    works again. So it is while the journal has *max_bytes*; emptying it makes room for more, the file stays as large.
    *on_written* is called on the loop after every commit, *on_cost* for every exchange with the CPU seconds that taking
    it has cost the loop.
    """

    def __init__(
        self,
        directory: Path,
        *,
        on_written: Callable[[], None] | None = None,
        on_cost: Callable[[float], None] | None = None,
        hold_bytes: int = HOLD_BYTES,
        max_bytes: int = _MAX_BYTES,
        busy_s: float = BUSY_S,
        backoff: Backoff | None = None,
    ) -> None:
        self._database = Database(directory, busy_s=busy_s, durable=True, max_bytes=max_bytes)
        self._checkpoints = Checkpoints(directory)
        self._handover = Handover()
        self._on_written = on_written
        self._on_cost = on_cost
        self._hold_bytes = hold_bytes
        # One that would not even fit into an empty journal would hold up all that come after it.
        self._largest = max_bytes // 2
        self._backoff = backoff or Backoff(most_s=_LONGEST_RETRY_S)
        self._queue: queue.SimpleQueue[_Waiting | _Discard | None] = queue.SimpleQueue()
        self._loop: asyncio.AbstractEventLoop  # from start() on; before it nothing gets past _open
        self._open = False
        self._ended = asyncio.Event()
        self._thread = threading.Thread(target=self._main, name="journal-writer", daemon=True)
        # Each of these counters has one writer: the loop counts in and lost, the thread counts out.
        self._bytes_in = 0
        self._bytes_out = 0
        self._lost = 0
        # The thread's own; the loop only looks at them.
        self._pending: deque[_Waiting] = deque()
        self._awaited: list[asyncio.Future[None]] = []
        self._group_rows = _GROUP_ROWS
        self._failing: str | None = None
        self._retry_at = 0.0
        self._closing = False

    @property
    def state(self) -> JournalState:
        """How it goes right now. Cheap."""
        failing = self._failing
        return JournalState(failing, len(self._pending) if failing else 0, self._lost)

    def start(self) -> None:
        """Starts the thread, which opens the journal. Never fails: a broken disk shows in :attr:`state`."""
        self._loop = asyncio.get_running_loop()
        self._open = True
        self._thread.start()

    async def append(self, exchange: Exchange) -> None:
        """Returns when *exchange* is committed and survives this process, and a power cut.

        Raises JournalError when it could not be written now, after at most a few seconds. It is then held in memory
        and tried again, unless the error says that it is lost. Cancelling the wait does not take it back.
        """
        began = time.thread_time()
        done = self._enqueue(self._draft(exchange))
        if self._on_cost is not None:
            self._on_cost(time.thread_time() - began)
        await self._wait_for(done)

    async def append_draft(self, admitted: Draft) -> None:
        """As :meth:`append`, of what is encoded already."""
        await self._wait_for(self._enqueue(admitted))

    def _enqueue(self, admitted: Draft) -> asyncio.Future[None]:
        if not self._open:
            raise self._lose("the journal is closed")
        self._admit(admitted)
        item = _Waiting(admitted, self._loop.create_future())
        self._handover.begin(self._loop)
        self._queue.put(item)
        return item.done

    async def _wait_for(self, done: asyncio.Future[None]) -> None:
        try:
            await done
        finally:
            self._handover.end()

    async def discard(self, scope: Scope) -> int:
        """Forgets what is held of this user and not yet written; answers how many exchanges that were."""
        return len(await self._give_up(scope.key))

    async def withdraw(self) -> list[Draft]:
        """What is held and not yet written, in order, for somebody who can write it elsewhere. It is held no longer."""
        return await self._give_up(None)

    async def _give_up(self, user_key: str | None) -> list[Draft]:
        if not self._open:
            return []
        item = _Discard(user_key, self._loop.create_future())
        self._queue.put(item)
        return await item.done

    async def aclose(self) -> None:
        """Writes what can be written in one more attempt and ends the thread. What stays unwritten counts as lost."""
        if self._open:
            self._open = False
            self._queue.put(None)
        if self._thread.ident is not None:
            await self._ended.wait()
            await asyncio.to_thread(self._thread.join)

    def _draft(self, exchange: Exchange) -> Draft:
        try:
            return draft(exchange)
        except JournalError as exc:
            raise self._lose(str(exc)) from exc

    def _admit(self, admitted: Draft) -> None:
        size = len(admitted.payload)
        if size > self._largest:
            raise self._lose("larger than half of the journal may be")
        if self._bytes_in - self._bytes_out + size > self._hold_bytes:
            raise self._lose(f"too much waits to be written, {self._failing or 'slow disk'}")
        self._bytes_in += size

    def _lose(self, reason: str) -> JournalError:
        """Counts what cannot be kept. Told of at 1, 2, 4, 8 …: a disk may be full for many exchanges."""
        self._lost += 1
        if self._lost.bit_count() == 1:
            _log.error("journal.lost", count=self._lost, reason=reason)
        return JournalError(f"the exchange is lost: {reason}")

    # The writer thread.

    def _main(self) -> None:
        try:
            self._write()  # nothing yet: opens the file, so that a broken disk is known before the first exchange
            while not self._closing:
                self._collect()
                if self._closing or time.monotonic() >= self._retry_at:
                    self._write()
                else:
                    self._refuse()
        finally:
            self._database.close()
            self._checkpoints.close()
            self._on_loop(self._end)

    def _collect(self) -> None:
        """Waits for something to do, then takes everything that is queued."""
        wait_s = max(0.0, self._retry_at - time.monotonic()) if self._failing else None
        try:
            self._accept(self._queue.get(timeout=wait_s))
            while True:
                self._accept(self._queue.get_nowait())
        except queue.Empty:
            pass

    def _accept(self, item: _Waiting | _Discard | None) -> None:
        if isinstance(item, _Waiting):
            self._pending.append(item)
            self._awaited.append(item.done)
        elif isinstance(item, _Discard):
            self._on_loop(_settle, [item.done], self._take_out(item.user_key))
        else:
            self._closing = True

    def _take_out(self, user_key: str | None) -> list[Draft]:
        """Removes one user's exchanges, or all; who still waits for one has been answered by that."""
        out = [item for item in self._pending if user_key in (None, item.draft.user_key)]
        self._pending = deque(item for item in self._pending if user_key not in (None, item.draft.user_key))
        self._bytes_out += sum(len(item.draft.payload) for item in out)
        self._on_loop(_settle, [item.done for item in out], None)
        return [item.draft for item in out]

    def _write(self) -> None:
        """Writes all that waits, oldest first. On failure the rest stays, and whoever waits is told."""
        try:
            while self._write_group():
                pass
        except JournalError as exc:
            self._fail(str(exc))
            return
        self._awaited = []

    def _write_group(self) -> bool:
        """Writes the next ones; answers whether there are more."""
        group = self._group()
        try:
            # Even nothing at all takes the write lock, which a read-only disk refuses.
            self._database.run(partial(_insert, group), begin=None if group else "BEGIN IMMEDIATE")
        except FullError:
            if len(group) < 2:
                raise
            self._group_rows = len(group) // 2  # for some of them there may be room
            return True
        self._written(group)
        return bool(self._pending)

    def _group(self) -> list[_Waiting]:
        """The next ones to write, as many as one transaction should hold."""
        group: list[_Waiting] = []
        size = 0
        for item in self._pending:
            group.append(item)
            size += len(item.draft.payload)
            if len(group) == self._group_rows or size >= _GROUP_BYTES:
                break
        return group

    def _written(self, group: list[_Waiting]) -> None:
        self._backoff.reset()
        self._group_rows = min(_GROUP_ROWS, self._group_rows * 2)
        for _ in group:
            self._pending.popleft()
        if self._failing and not self._pending:
            _log.info("journal.recovered")
            self._failing = None
        if group:
            size = sum(len(item.draft.payload) for item in group)
            self._bytes_out += size
            self._on_loop(self._announce, [item.done for item in group])
            self._handover.commit()
            if self._database.files.wal_size() > _CHECKPOINT_BYTES:
                self._checkpoints.ask()

    def _fail(self, reason: str) -> None:
        if self._failing is None:
            _log.error("journal.failing", reason=reason, held=len(self._pending))
        self._failing = reason
        self._retry_at = time.monotonic() + self._backoff.next_delay()
        self._refuse()

    def _refuse(self) -> None:
        """Tells those who wait that their exchange is not on disk. It stays in memory."""
        if self._awaited:
            self._on_loop(_reject, self._awaited, self._failing)
            self._awaited = []

    def _on_loop(self, call: Callable[..., None], *args: object) -> None:
        try:
            self._loop.call_soon_threadsafe(call, *args)
        except RuntimeError:
            # The loop was closed without aclose(): nobody waits any more, but what is queued is still written.
            _log.warning("journal.loop_closed")

    # Back on the loop.

    def _announce(self, futures: list[asyncio.Future[None]]) -> None:
        _settle(futures, None)
        if self._on_written is not None:
            self._on_written()

    def _end(self) -> None:
        """The thread is through, or died of something unforeseen: nobody may wait for it any longer."""
        self._open = False
        while not self._queue.empty():
            self._accept(self._queue.get_nowait())
        if not self._closing:
            self._failing = "the writer thread died"
        if self._pending:
            _log.error("journal.lost_at_close", count=len(self._pending), reason=self._failing)
            self._lost += len(self._pending)
            self._pending.clear()
        _reject(self._awaited, self._failing)
        self._ended.set()


def _insert(group: list[_Waiting], connection: sqlite3.Connection) -> None:
    """All in one statement: each call into SQLite gives up the interpreter's lock, which a busy loop is slow to return.

    Row by row, commits of a saturated process took seconds.
    """
    if group:
        rows = ", ".join(["(?, ?, ?, ?, ?, ?)"] * len(group))
        values = [value for item in group for value in (*item.draft, checksum(item.draft.payload))]
        connection.execute(_INSERT + rows, values)


def _settle(futures: list[asyncio.Future[T]], result: T) -> None:
    for future in futures:
        if not future.done():
            future.set_result(result)


def _reject(futures: list[asyncio.Future[None]], reason: str | None) -> None:
    for future in futures:
        if not future.done():
            future.set_exception(JournalError(reason or "the journal is closed"))
