"""What the keepers of all replicas tell each other of, so that the edges of each follow what any of them writes.

Two things are said on their channel. That users are *touched* says the ledger itself, in the same step in which what
was written counts or what was erased does not any more: whatever happens to a keeper then, all others have heard of it.
What has *changed* the keeper says that has written it, right after that and before it gives up its turn; edges follow
that without loading the user again. A touched user of whom nothing more is heard is loaded anew.

A keeper hears itself, too, and its edges follow what is heard and nothing else: so all edges of all replicas learn the
same things in the same order, which two ways to learn them would not have.
"""

import asyncio
import time
import uuid
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

import msgspec
import structlog

from proxy.errors import StoreError
from proxy.keeper import wire
from proxy.sharing.channel import Channel, Subscription
from proxy.tasks import Tasks

log = structlog.get_logger(__name__)

# Parts of the time that something may go unnoticed: for how long a change may come after the touch, how often a sign of
# life is asked for, for how long there may be none until it counts as a loss, and how often edges are told.
_GRACE: Final = 0.5
_PING: Final = 0.15
_SILENCE: Final = 0.75
_LOOK: Final = 0.15
RETRY_S: Final = 0.2
# Of whom the last number is known; each keeper is another one after each start.
_SENDERS: Final = 1000


class Touched(msgspec.Struct, frozen=True, array_like=True, tag="touched"):
    """Something of these users, named by their keys, was written or erased. Sent by :mod:`proxy.ledger.scripts`."""

    users: list[str]


class Embedded(msgspec.Struct, frozen=True, array_like=True, tag="embedding"):
    """The ledger says something else of the embedding model. Sent by :mod:`proxy.ledger.scripts`."""


class Said(msgspec.Struct, frozen=True, array_like=True, tag="changed"):
    """The *number*-th change that *sender* has told of, a :class:`~proxy.keeper.wire.Changed` of *user*."""

    sender: str
    number: int
    user: str
    change: msgspec.Raw


_messages: Final = msgspec.msgpack.Decoder(Touched | Embedded | Said)
_encoder: Final = msgspec.msgpack.Encoder()


class Listener(Protocol):
    """The keeper's edges."""

    def pass_on(self, user: str, push: object) -> None:
        """To those that have loaded this user, named by their key."""

    def forget(self, users: list[str] | None) -> None:
        """What edges have of these users, or with None of all, may not be true any more."""

    def assure(self, age_s: float) -> None:
        """So long ago it was known here what others had written. Edges see to it themselves that it is not too long
        ago: who tells them may hang.
        """


class Feed:
    """One keeper's part in the conversation. Its tasks run from :meth:`start` on; for one event loop.

    *look* looks what the ledger says of the embedding model, and raises StoreError where it cannot.
    """

    def __init__(
        self,
        channel: Channel,
        listener: Listener,
        *,
        look: Callable[[], Awaitable[None]],
        refresh_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._channel = channel
        self._listener = listener
        self._look = look
        self._refresh_s = refresh_s
        self._clock = clock
        self._name = uuid.uuid4().hex
        self._number = 0
        self._outbox: deque[Said] = deque()
        self._sending = asyncio.Lock()
        self._echo = 0  # the last number of our own that was heard
        self._echoed = asyncio.Condition()
        self._pending: dict[str, float] = {}  # touched users, and until when more is to be heard of them
        self._numbers: dict[str, int] = {}  # the last one of each sender
        self._contact_at: float | None = None
        self._listening = False

    def start(self, tasks: Tasks) -> None:
        """Listens, from now on until *tasks* are cancelled."""
        tasks.spawn(self._listen(), name="listen-to-replicas")
        tasks.spawn(self._watch(), name="watch-replicas")
        tasks.spawn(self._keep_looking(), name="watch-embedding")

    def check(self) -> None:
        """Raises StoreError while it is not known what others write: what is loaded then could not be followed."""
        if not self._in_touch():
            raise StoreError("redis: no contact, so that it is not known what other replicas have written")

    def tell(self, changed: wire.Changed) -> None:
        """Has *changed* told with the next :meth:`flush`."""
        self._number += 1
        change = msgspec.Raw(_encoder.encode(changed))
        self._outbox.append(Said(self._name, self._number, changed.scope.key, change))

    async def flush(self) -> None:
        """Returns when everybody who can be reached has been told, and this keeper's edges, too."""
        number = self._number
        async with self._sending:
            try:
                while self._outbox:
                    await self._channel.publish(_encoder.encode(self._outbox.popleft()))
            except StoreError as exc:
                # They hear of it by the touch, or by the gap in the numbers.
                log.warning("replicas_not_told", reason=str(exc))
                self._outbox.clear()
                self._echo = self._number  # which nobody is to wait for
                return
        await self._hear_echo(number)

    async def _hear_echo(self, number: int) -> None:
        try:
            async with asyncio.timeout(self._refresh_s * _GRACE), self._echoed:
                await self._echoed.wait_for(lambda: self._echo >= number or not self._listening)
        except TimeoutError:
            log.warning("replicas_not_heard", silent_s=self._refresh_s * _GRACE)

    async def _listen(self) -> None:
        while True:
            try:
                async with self._channel.subscribe() as subscription:
                    await self._follow(subscription)
            except StoreError as exc:
                if self._listening:
                    log.warning("replicas_out_of_reach", reason=str(exc))
            self._listening = False
            async with self._echoed:
                self._echoed.notify_all()
            await asyncio.sleep(RETRY_S)

    async def _follow(self, subscription: Subscription) -> None:
        """Returns when there is no sign of life any more."""
        ping_s = self._refresh_s * _PING
        ping_at = self._clock() + ping_s
        while True:
            heard = await subscription.receive(ping_s)
            if heard is not None:
                await self._hear(heard)
            elif not (self._listening and self._in_touch()):
                return
            if self._clock() >= ping_at:
                await subscription.ping()
                ping_at = self._clock() + ping_s

    async def _hear(self, data: bytes) -> None:
        self._contact_at = self._clock()
        if not self._listening:
            # What was said while nobody listened is unknown.
            self._listening = True
            await self._look_up()
            self._forget_all()
            self._listener.assure(0.0)
            log.info("listening_to_replicas")
        if not data:
            return
        try:
            message = _messages.decode(data)
        except msgspec.MsgspecError as exc:
            log.warning("replica_not_understood", reason=type(exc).__name__)
            self._forget_all()
            return
        if isinstance(message, Touched):
            until = self._clock() + self._refresh_s * _GRACE
            for user in message.users:
                self._pending.setdefault(user, until)
        elif isinstance(message, Embedded):
            # Before anything that comes after it: packs of one model are for edges that know that it is in force.
            await self._look_up()
        else:
            await self._take(message)

    async def _take(self, said: Said) -> None:
        before = self._numbers.pop(said.sender, said.number - 1)
        self._numbers[said.sender] = said.number
        if len(self._numbers) > _SENDERS:
            del self._numbers[next(iter(self._numbers))]
        if said.number != before + 1:
            self._forget_all()
        self._pending.pop(said.user, None)
        self._listener.pass_on(said.user, said.change)
        if said.sender == self._name:
            async with self._echoed:
                self._echo = said.number
                self._echoed.notify_all()

    async def _look_up(self) -> None:
        """What cannot be looked up now is looked up again soon."""
        try:
            await self._look()
        except StoreError as exc:
            log.warning("embedding_unknown", reason=str(exc))

    async def _keep_looking(self) -> None:
        while True:
            await asyncio.sleep(self._refresh_s)
            await self._look_up()

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self._refresh_s * _LOOK)
            now = self._clock()
            if self._contact_at is not None:
                self._listener.assure(now - self._contact_at)
            if late := [user for user, until in self._pending.items() if until < now]:
                for user in late:
                    del self._pending[user]
                self._listener.forget(late)

    def _in_touch(self) -> bool:
        return self._contact_at is not None and self._clock() - self._contact_at <= self._refresh_s * _SILENCE

    def _forget_all(self) -> None:
        self._pending.clear()
        self._listener.forget(None)
