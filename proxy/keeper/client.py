"""The edge's end of the wire to the keeper."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import msgspec
import structlog

from proxy.errors import KeeperError
from proxy.keeper import frames, wire
from proxy.models import Scope
from proxy.observe.served import SERVED
from proxy.observe.traces import Trace
from proxy.tasks import Tasks

log = structlog.get_logger(__name__)

_Push = wire.Changed | wire.Inquiry | wire.Sync | wire.Traced
_pushes: msgspec.msgpack.Decoder[_Push] = msgspec.msgpack.Decoder(_Push)
_failures = msgspec.msgpack.Decoder(wire.Failure)

Answers = asyncio.Queue[msgspec.Raw | KeeperError]


class KeeperClient:
    """Calls to the keeper, and its announcements. For one event loop; any number of calls may be under way.

    *on_change* hears of every change, in order, and *on_sync* between them how far they can be relied on, where other
    replicas write, too. *on_connect* runs after each new connection: what was announced while there was none is unknown
    then. *on_inquiry* answers how many exchanges this edge holds that are not journaled, and forgets a user's that is
    erased. *on_traced* hears of chats that other edges have served.
    """

    def __init__(self, path: Path, tasks: Tasks) -> None:
        self.on_change: Callable[[wire.Changed], None] = lambda _: None
        self.on_sync: Callable[[wire.Sync], None] = lambda _: None
        self.on_traced: Callable[[list[Trace]], None] = lambda _: None
        self.on_connect: Callable[[], None] = lambda: None
        self.on_inquiry: Callable[[Scope | None], Awaitable[int]] = _hold_nothing
        self.connected = asyncio.Event()
        self.closed = asyncio.Event()
        self.closed.set()
        self._path = path
        self._tasks = tasks
        self._numbers = count(1)
        self._waiting: dict[int, Answers] = {}
        self._writer: asyncio.StreamWriter | None = None

    async def connect(self) -> None:
        """Opens the connection.

        Raises:
            OSError: nobody listens there (yet).
        """
        reader, self._writer = await asyncio.open_unix_connection(self._path)
        self.closed.clear()
        self._tasks.spawn(self._listen(reader), name="keeper-listen")
        self.on_connect()
        self.connected.set()

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        try:
            while True:
                self._receive(await frames.read_frame(reader))
                # Frames that are there already come without a pause, and each may take a while: others' turn.
                await asyncio.sleep(0)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        except (KeeperError, msgspec.MsgspecError) as exc:
            log.warning("bad_frame", error=str(exc))
        finally:
            self._disconnect()

    def _receive(self, envelope: frames.Envelope) -> None:
        if envelope.number == 0:
            self._hear(_pushes.decode(envelope.payload))
            return
        answers = self._waiting.get(envelope.number)
        if answers is None:
            return  # its caller gave up
        if envelope.failed:
            answers.put_nowait(KeeperError(_failures.decode(envelope.payload).message))
        else:
            answers.put_nowait(envelope.payload)

    def _hear(self, pushed: _Push) -> None:
        if isinstance(pushed, wire.Changed):
            self.on_change(pushed)
        elif isinstance(pushed, wire.Inquiry):
            self._tasks.spawn(self._tell(pushed), name="keeper-inquiry")
        elif isinstance(pushed, wire.Traced):
            self.on_traced(pushed.traces)
        else:
            self.on_sync(pushed)

    async def _tell(self, inquiry: wire.Inquiry) -> None:
        self.push(wire.Held(inquiry.number, await self.on_inquiry(inquiry.erased)))

    def _disconnect(self) -> None:
        self.connected.clear()
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()
        waiting, self._waiting = self._waiting, {}
        for answers in waiting.values():
            answers.put_nowait(KeeperError("the keeper went away"))
        self.closed.set()

    async def call(self, request: wire.Request) -> Any:
        """The keeper's answer, of the request's reply type.

        Raises:
            KeeperError: it is away, goes away meanwhile, or could not do it.
        """
        with self._asking(request) as answers:
            return _read(await answers.get(), type(request).reply)

    async def load(self, scope: Scope) -> AsyncGenerator[wire.Part, None]:
        """A user's memories in parts, the newest first; the last one has nothing left.

        Between two parts changes of the user may be announced, and a later part may have been read before these: see
        :class:`proxy.workingset.Arrival`. Whoever stops before the end closes the iterator.

        Raises:
            KeeperError: as :meth:`call`, also between two parts.
        """
        with self._asking(wire.Load(scope)) as answers:
            left = 1
            while left:
                part: wire.Part = _read(await answers.get(), wire.Part)
                left = part.left
                yield part

    @contextmanager
    def _asking(self, request: wire.Request) -> Iterator[Answers]:
        """Sends *request*; its answers arrive until the end of the block."""
        if self._writer is None:
            raise KeeperError("the keeper is not up")
        number = next(self._numbers)
        answers = self._waiting[number] = Answers()
        served = SERVED.get()
        try:
            self._writer.write(frames.frame(number, request, origin="" if served is None else served.id))
            yield answers
        finally:
            self._waiting.pop(number, None)

    def push(self, request: wire.Request) -> None:
        """Sends what needs no answer; does nothing while the keeper is away."""
        if self._writer is not None:
            self._writer.write(frames.frame(0, request))

    async def aclose(self) -> None:
        """Hangs up; calls under way fail."""
        if self._writer is not None:
            self._writer.close()
            await self.closed.wait()


async def _hold_nothing(_: Scope | None) -> int:
    return 0


def _read(answer: msgspec.Raw | KeeperError, kind: Any) -> Any:
    if isinstance(answer, KeeperError):
        raise answer
    try:
        return msgspec.msgpack.decode(answer, type=kind)
    except msgspec.MsgspecError as exc:
        raise KeeperError(f"the keeper's answer cannot be read: {exc}") from exc
