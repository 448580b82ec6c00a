"""The keeper's process: the vault on a Unix socket, and the worker that empties the journal."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import IO, Any, Final

import msgspec
import structlog

from proxy.config import Settings
from proxy.errors import ApiError, KeeperError, MemoryProxyError
from proxy.keeper import wire
from proxy.keeper.lock import Holder
from proxy.keeper.vault import Vault, open_vault
from proxy.models import Scope
from proxy.remember.worker import Worker
from proxy.tasks import Tasks

log = structlog.get_logger(__name__)

# How long a new keeper waits for its predecessor to let go of the data directory.
PATIENCE_S: Final = 5.0
# Bytes of announcements that may wait for an edge that does not read.
MAX_UNREAD: Final = 64 << 20

_requests = msgspec.msgpack.Decoder(wire.AnyRequest)


class KeeperServer:
    """Answers the edges' calls; each connection's calls are worked on side by side.

    An edge hears of the changes of those users whose memories it has asked for on this connection, and of no others:
    what it has not loaded it need not follow.
    """

    def __init__(self, vault: Vault, worker: Worker, tasks: Tasks) -> None:
        self._vault = vault
        self._worker = worker
        self._tasks = tasks
        self._edges: dict[asyncio.StreamWriter, set[str]] = {}  # with the keys of the users that each has loaded
        vault.on_change = self._announce
        self._handlers: dict[type[wire.Request], Callable[[Any], Awaitable[object]]] = {
            wire.ListUsers: lambda call: vault.users(call.limit, call.cursor),
            wire.ListMemories: lambda call: vault.memories(
                call.scope, call.limit, call.cursor, include_superseded=call.include_superseded
            ),
            wire.Erase: lambda call: vault.erase(call.scope, call.memory_id),
            wire.Import: lambda call: vault.take_in(call.lines.split(b"\n"), first_line=call.first_line),
            wire.Flush: self._flush,
            wire.Status: self._status,
        }

    async def serve_edge(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One edge's connection, from its first frame to its last."""
        self._edges[writer] = set()
        try:
            while True:
                envelope = await wire.read_frame(reader)
                self._accept(writer, envelope.number, _requests.decode(envelope.payload))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        except asyncio.CancelledError:
            pass  # the process ends; asyncio's streams would report a cancelled connection as a failure
        except (KeeperError, msgspec.MsgspecError) as exc:
            log.warning("bad_frame", error=str(exc))
        finally:
            self._edges.pop(writer, None)
            writer.close()

    def _accept(self, writer: asyncio.StreamWriter, number: int, request: wire.Request) -> None:
        if isinstance(request, wire.Journaled):
            self._worker.notice()
            return
        if isinstance(request, wire.Load):
            # Before the store is read: a change that comes in between is announced, and seen twice at the most.
            self._edges[writer].add(request.scope.key)
        self._tasks.spawn(self._answer(writer, number, request), name="answer")

    async def _answer(self, writer: asyncio.StreamWriter, number: int, request: wire.Request) -> None:
        # For what nobody foresaw, which goes on to the log: a caller without an answer would wait for ever.
        reply = wire.frame(number, wire.Failure("the keeper failed; its log says how"), failed=True)
        try:
            if isinstance(request, wire.Load):
                reply = await self._send_parts(writer, number, request.scope)
            else:
                reply = wire.frame(number, await self._handlers[type(request)](request))
        except (MemoryProxyError, ApiError) as exc:
            reply = wire.frame(number, wire.Failure(str(exc)), failed=True)
        finally:
            await _send(writer, reply)

    async def _send_parts(self, writer: asyncio.StreamWriter, number: int, scope: Scope) -> bytes:
        """Sends all parts but the last, which is the answer. Reads the store no faster than the edge reads."""
        reply = b""
        async with aclosing(self._vault.load_parts(scope)) as parts:
            async for part in parts:
                if reply:
                    await _send(writer, reply)
                reply = wire.frame(number, part)
                if writer.is_closing():
                    break
        return reply

    def _announce(self, change: wire.Changed) -> None:
        listening = [writer for writer, loaded in self._edges.items() if change.scope.key in loaded]
        data = wire.frame(0, change) if listening else b""
        for writer in listening:
            # Written at once, so that announcements keep the order of the changes; an edge that reads none of them for
            # too long is cut off, and starts with nothing when it comes back.
            if writer.transport.get_write_buffer_size() > MAX_UNREAD:
                writer.transport.abort()
            else:
                writer.write(data)

    async def _flush(self, _: wire.Flush) -> wire.Flushed:
        return wire.Flushed(*await self._worker.flush())

    async def _status(self, _: wire.Status) -> wire.KeeperStatus:
        counts = await asyncio.to_thread(self._vault.journal.counts)
        return wire.KeeperStatus(os.getpid(), counts.pending, counts.failed, counts.oldest_age_s, self._worker.trouble)


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
    async with open_vault(settings, holder, patience_s=PATIENCE_S) as vault:
        tasks = Tasks()
        worker = Worker(vault.journal, vault.remember, vault.writing)
        keeper = KeeperServer(vault, worker, tasks)
        path = wire.socket_path(settings.data_dir)
        path.unlink(missing_ok=True)
        server = await asyncio.start_unix_server(keeper.serve_edge, path)
        path.chmod(0o600)
        tasks.spawn(vault.prepare(), name="prepare")
        tasks.spawn(worker.run(), name="worker").add_done_callback(end_without_worker)
        await asyncio.to_thread(lifeline.read)
        server.close()
        async with vault.writing:  # a batch under way is brought to its end
            await tasks.cancel()
        path.unlink(missing_ok=True)


def end_without_worker(worker: asyncio.Task[None]) -> None:
    """A keeper that stores nothing any more would look healthy: the edge had better start another one."""
    if not worker.cancelled():
        os._exit(1)


def _url(settings: Settings) -> str | None:
    server = settings.server
    return f"http://{server.host}:{server.port}" if server.port else None
