"""The keeper's process: the vault on a Unix socket, and what empties the journal."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from functools import partial
from typing import IO, TYPE_CHECKING, Any, Final

import msgspec
import structlog

from proxy.config import Settings
from proxy.errors import ApiError, JournalError, KeeperError, MemoryProxyError, StoreError
from proxy.journal import JournalCounts
from proxy.keeper import frames, wire
from proxy.keeper.bulletin import Bulletin
from proxy.keeper.catalogue import isoformat
from proxy.keeper.inquiries import Inquiries
from proxy.keeper.lock import Holder
from proxy.keeper.moves import ReembeddingState
from proxy.keeper.precedence import Precedence
from proxy.keeper.reembedding import Reembedding
from proxy.keeper.vault import Vault, open_vault
from proxy.keeper.workshop import Workshop
from proxy.models import Scope
from proxy.observe.lag import measure_lag
from proxy.observe.served import SERVED, Served
from proxy.observe.tracing import open_tracing
from proxy.tasks import Tasks

if TYPE_CHECKING:
    from proxy.sharing.channel import Channel

log = structlog.get_logger(__name__)

# How long a new keeper waits for its predecessor to let go of the data directory.
PATIENCE_S: Final = 5.0
# Bytes of announcements that may wait for an edge that does not read.
MAX_UNREAD: Final = 64 << 20
# For what is told of the journal together with how this process is.
COUNT_S: Final = 2.0
# Threads that wait for a Chroma server rather than work.
REMOTE_THREADS: Final = 32
# How long to wait before what could not be read ahead is tried again: ever longer.
FIRST_DELAY_S: Final = 0.5
LONGEST_DELAY_S: Final = 30.0

_requests = msgspec.msgpack.Decoder(wire.AnyRequest)


class KeeperServer:
    """Answers the edges' calls; each connection's calls are worked on side by side.

    An edge hears of the changes of those users whose memories it has asked for on this connection, and of no others:
    what it has not loaded it need not follow.
    """

    def __init__(self, vault: Vault, workshop: Workshop, tasks: Tasks) -> None:
        self._vault = vault
        self._workshop = workshop
        self._precedence = Precedence(workshop.give_way)
        self._reembedding = Reembedding(vault, give_way=self._precedence.give_way)
        self._tasks = tasks
        self._edges: dict[asyncio.StreamWriter, set[str]] = {}  # with the keys of the users that each has loaded
        self._inquiries = Inquiries()
        self._bulletin = Bulletin(vault)
        self._counts = JournalCounts(0, 0, 0, None)  # when it was looked at last
        # Raises StoreError while changes by others would go unnoticed, so that nothing may be loaded.
        self.check: Callable[[], None] = lambda: None
        vault.on_change = self._announce
        vault.embeddings.on_switch = lambda: self.forget(None)
        self._handlers: dict[type[wire.Request], Callable[[Any], Awaitable[object]]] = {
            wire.ListUsers: lambda call: vault.catalogue.users(call.limit, call.cursor, call.tenant, call.part),
            wire.ListMemories: lambda call: vault.catalogue.memories(
                call.scope, call.limit, call.cursor, include_superseded=call.include_superseded
            ),
            wire.ListRows: lambda call: vault.catalogue.rows(call.scope),
            wire.ReadRows: lambda call: vault.catalogue.read(call.scope, call.rows),
            wire.Erase: self._erase,
            wire.Add: lambda call: vault.add(call.scope, call.text),
            wire.Edit: lambda call: vault.edit(call.scope, call.memory_id, call.text, restore=call.restore),
            wire.Switch: self._switch,
            wire.ListJournal: self._list_journal,
            wire.RetryFailed: self._retry_failed,
            wire.DropFailed: self._drop_failed,
            wire.Import: lambda call: vault.take_in(
                call.lines.split(b"\n"), first_line=call.first_line, tenant=call.tenant
            ),
            wire.Flush: self._flush,
            wire.Reembed: self._reembed,
            wire.Status: self._status,
        }

    async def serve_edge(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One edge's connection, from its first frame to its last."""
        self._edges[writer] = set()
        try:
            while True:
                envelope = await frames.read_frame(reader)
                # What is logged about the call is found by the id of the request that it is for.
                token = SERVED.set(Served.known_as(envelope.origin) if envelope.origin else None)
                self._accept(writer, envelope.number, _requests.decode(envelope.payload))
                SERVED.reset(token)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        except asyncio.CancelledError:
            pass  # the process ends; asyncio's streams would report a cancelled connection as a failure
        except (KeeperError, msgspec.MsgspecError) as exc:
            log.warning("bad_frame", error=str(exc))
        finally:
            self._edges.pop(writer, None)
            self._inquiries.forget(writer)
            self._bulletin.forget(writer)
            writer.close()

    def _accept(self, writer: asyncio.StreamWriter, number: int, request: wire.Request) -> None:
        if isinstance(request, wire.Journaled):
            self._workshop.notice_entry()
            return
        if isinstance(request, wire.Held):
            self._inquiries.hear(request)
            return
        if isinstance(request, wire.Tell):
            self._bulletin.hear(writer, request)
            return
        if isinstance(request, wire.Traced):
            self._spread(writer, request)
            return
        if isinstance(request, wire.Load):
            # Before the store is read: a change that comes in between is announced, and seen twice at the most.
            self._edges[writer].add(request.scope.key)
        self._tasks.spawn(self._answer(writer, number, request), name="answer")

    async def _answer(self, writer: asyncio.StreamWriter, number: int, request: wire.Request) -> None:
        # For what nobody foresaw, which goes on to the log: a caller without an answer would wait for ever.
        reply = frames.frame(number, wire.Failure("the keeper failed; its log says how"), failed=True)
        try:
            if isinstance(request, wire.Load):
                with self._precedence.loading():
                    reply = await self._send_parts(writer, number, request.scope)
            elif isinstance(request, wire.Scrape):
                reply = frames.frame(number, await self._bulletin.scrape(writer))
            elif isinstance(request, wire.GetReports):
                reply = frames.frame(number, self._bulletin.reports(writer, request.name))
            else:
                reply = frames.frame(number, await self._handlers[type(request)](request))
        except (MemoryProxyError, ApiError) as exc:
            reply = frames.frame(number, wire.Failure(str(exc)), failed=True)
        finally:
            await _send(writer, reply)

    async def _send_parts(self, writer: asyncio.StreamWriter, number: int, scope: Scope) -> bytes:
        """Sends all parts but the last, which is the answer. Reads the store no faster than the edge reads."""
        self.check()
        reply = b""
        async with aclosing(self._vault.load_parts(scope)) as parts:
            async for part in parts:
                if reply:
                    await _send(writer, reply)
                reply = frames.frame(number, part)
                if writer.is_closing():
                    break
        return reply

    def _spread(self, writer: asyncio.StreamWriter, traced: wire.Traced) -> None:
        """Tells the other edges, who are to hear of it when what they are told of is erased."""
        others = {other: loaded for other, loaded in self._edges.items() if other is not writer}
        users = {Scope(trace.user_id, trace.tenant).key for trace in traced.traces if trace.user_id is not None}
        for loaded in others.values():
            loaded |= users
        _push(list(others), traced)

    def _announce(self, change: wire.Changed) -> None:
        self.pass_on(change.scope.key, change)

    def pass_on(self, user: str, push: object) -> None:
        """Tells the edges that have loaded this user, named by their key."""
        listening = [writer for writer, loaded in self._edges.items() if user in loaded]
        _push(listening, push)

    def forget(self, users: list[str] | None) -> None:
        """What edges have of these users, or with None of all, may not be true any more."""
        if users is None:
            _push(list(self._edges), wire.Stale())
            return
        for writer, loaded in self._edges.items():
            if known := loaded.intersection(users):
                _push([writer], wire.Stale(sorted(known)))

    def assure(self, age_s: float) -> None:
        """Tells all edges that so long ago it was known here what others had written."""
        _push(list(self._edges), wire.InTouch(age_s))

    async def _erase(self, call: wire.Erase) -> wire.Receipt:
        held = 0 if call.memory_ids is not None else await self._inquiries.ask(self._edges, erased=call.scope)
        return await self._vault.erase(call.scope, call.memory_ids, held=held)

    async def _flush(self, call: wire.Flush) -> wire.Flushed:
        done = await self._workshop.flush(extract=call.extract)
        # Without a model, somebody only waits for what is there.
        held = await self._inquiries.ask(self._edges) if call.extract else 0
        return wire.Flushed(done.stored, done.failed + held)

    async def _switch(self, call: wire.Switch) -> wire.Settled:
        await self._vault.switch(call.scope, off=call.off)
        return wire.Settled(0)

    async def _list_journal(self, call: wire.ListJournal) -> wire.JournalPage:
        counts = await asyncio.to_thread(self._vault.journal.counts)
        failed = await asyncio.to_thread(self._vault.journal.failed, call.limit)
        rows = [
            wire.FailedRow(
                row.seq, row.user_id, row.stage, row.attempts, row.reason, isoformat(row.created_at), row.tenant
            )
            for row in failed
        ]
        trouble = self._workshop.worker.trouble
        return wire.JournalPage(counts.pending, counts.extracting, counts.failed, counts.oldest_age_s, trouble, rows)

    async def _retry_failed(self, _: wire.RetryFailed) -> wire.Settled:
        count = await asyncio.to_thread(self._vault.journal.retry_failed)
        self._workshop.notice()
        return wire.Settled(count)

    async def _drop_failed(self, _: wire.DropFailed) -> wire.Settled:
        return wire.Settled(await asyncio.to_thread(self._vault.journal.drop_failed))

    async def _reembed(self, call: wire.Reembed) -> ReembeddingState:
        await self._vault.embeddings.settle()
        if call.start:
            self._reembedding.start(self._tasks, again=call.again)
        return self._reembedding.state

    async def _status(self, _: wire.Status) -> wire.KeeperStatus:
        trouble = self._workshop.worker.trouble
        try:
            # With all threads waiting for a store that hangs, this process still does not.
            async with asyncio.timeout(COUNT_S):
                self._counts = await asyncio.to_thread(self._vault.journal.counts)
        except JournalError as exc:
            # A keeper whose journal is away is up all the same: memories are loaded, and chats get them.
            trouble = trouble or f"journal: {exc}"
        except TimeoutError:
            trouble = trouble or "journal: it could not be counted in time"
        counts = self._counts
        return wire.KeeperStatus(
            os.getpid(),
            counts.pending,
            counts.failed,
            counts.oldest_age_s,
            trouble,
            counts.extracting,
            self._reembedding.summary,
        )


def _push(writers: list[asyncio.StreamWriter], push: object) -> None:
    data = frames.frame(0, push) if writers else b""
    for writer in writers:
        # Written at once, so that announcements keep the order of the changes; an edge that reads none of them for too
        # long is cut off, and starts with nothing when it comes back.
        if writer.transport.get_write_buffer_size() > MAX_UNREAD:
            writer.transport.abort()
        else:
            writer.write(data)


async def _send(writer: asyncio.StreamWriter, data: bytes) -> None:
    try:
        writer.write(data)
        await writer.drain()
    except ConnectionError:
        pass  # the edge is gone; so is its interest in the answer


async def run(settings: Settings, lifeline: IO[bytes]) -> None:
    """Serves until *lifeline* ends, which is when the edge that started this process is gone, however it went.

    Raises:
        LockedError, StoreError, JournalError, EmbedderError: the data directory cannot be opened.
    """
    holder = Holder(os.getpid(), "memory-proxy serve", _url(settings))
    tracing = open_tracing(settings, "keeper")
    if settings.store.mode != "embedded":
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(REMOTE_THREADS))
    async with open_vault(settings, holder, patience_s=PATIENCE_S) as vault:
        tasks = Tasks()
        workshop = Workshop(vault, settings, tasks, tracing)
        keeper = KeeperServer(vault, workshop, tasks)
        channel = _join_replicas(settings, vault, keeper, tasks)
        path = frames.socket_path(settings.data_dir)
        path.unlink(missing_ok=True)
        server = await asyncio.start_unix_server(keeper.serve_edge, path)
        path.chmod(0o600)
        tasks.spawn(measure_lag(partial(vault.metrics.observe, "keeper_loop_lag_seconds")), name="loop-lag")
        tasks.spawn(_prepare(vault), name="prepare")
        for task in workshop.start():
            task.add_done_callback(end_without_worker)
        await asyncio.to_thread(lifeline.read)
        server.close()
        async with vault.turns.pause():  # a batch under way is brought to its end
            await tasks.cancel()
        await workshop.aclose()
        if channel is not None:
            await channel.aclose()
        path.unlink(missing_ok=True)
    if tracing is not None:
        await tracing.aclose()


def _join_replicas(settings: Settings, vault: Vault, keeper: KeeperServer, tasks: Tasks) -> "Channel | None":
    """Where the ledger is shared, edges follow what all keepers write, and not this one alone."""
    if settings.journal.redis_url is None:
        return None
    from proxy.keeper.feed import Feed
    from proxy.sharing.channel import Channel

    channel = Channel(settings)
    feed = Feed(channel, keeper, look=vault.embeddings.look, refresh_s=settings.store.refresh_s)
    keeper.check = feed.check
    vault.on_change = feed.tell
    vault.told = feed.flush
    feed.start(tasks)
    return channel


async def _prepare(vault: Vault) -> None:
    """Store and ledger may come up after this process; what cannot be read ahead is read when it is needed."""
    delay_s = FIRST_DELAY_S
    while True:
        try:
            await vault.prepare()
        except StoreError as exc:
            if delay_s == FIRST_DELAY_S:
                log.warning("store_away", reason=str(exc))
            await asyncio.sleep(delay_s)
            delay_s = min(delay_s * 2, LONGEST_DELAY_S)
        else:
            if delay_s > FIRST_DELAY_S:
                log.info("store_ready")
            vault.embeddings.tell()
            return


def end_without_worker(worker: asyncio.Task[None]) -> None:
    """A keeper that stores nothing any more would look healthy: the edge had better start another one."""
    if not worker.cancelled():
        os._exit(1)


def _url(settings: Settings) -> str | None:
    server = settings.server
    return f"http://{server.host}:{server.port}" if server.port else None
