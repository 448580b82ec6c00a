"""Who may write now, among the keepers of all replicas: a lock in Redis for each part."""

import asyncio
import random
import time
import uuid
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final

import structlog

from proxy.config import Settings
from proxy.errors import StoreError
from proxy.models import PARTS, Scope
from proxy.sharing import name_key, open_async_redis, translated
from proxy.tasks import Tasks

if TYPE_CHECKING:
    from redis.asyncio import Redis

# A keeper that is stopped or cut off for so long has lost its turn.
TURN_S: Final = 10.0
# Of that: so often it says that it is alive, and so long before the end it counts its turn as lost, for what is under
# way then, and for a clock that runs faster.
_RENEW: Final = 0.3
_MARGIN: Final = 0.1
PATIENCE_S: Final = 15.0
_POLL_S: Final = (0.02, 0.05)
# For so long those that need no turn right now leave it to somebody who waits for it.
_WANTED_MS: Final = 200

_KINDS: Final = ("turn", "wanted", "writer")
# Answers who wrote last, '' for nobody, or nothing when it is not the caller's turn. KEYS: the turn, who wants it, who
# wrote last. ARGV: the caller's token, its name, how long the turn may be, and how long it is wanted for: 0 by those
# who do not wait.
_ACQUIRE: Final = """
if ARGV[4] == '0' and redis.call('EXISTS', KEYS[2]) == 1 then return false end
if not redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[3]) then
  if ARGV[4] ~= '0' then redis.call('SET', KEYS[2], '1', 'PX', ARGV[4]) end
  return false
end
local last = redis.call('GET', KEYS[3]) or ''
if last ~= ARGV[2] then redis.call('SET', KEYS[3], ARGV[2]) end
return last
"""
_EXTEND: Final = (
    "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('PEXPIRE', KEYS[1], ARGV[2]) end return 0"
)
_RELEASE: Final = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"

log = structlog.get_logger(__name__)


class _Turn:
    """A turn that this keeper has, and until when nobody else can have it."""

    def __init__(self, token: str, until: float) -> None:
        self.token: Final = token
        self.until = until


class SharedTurns:
    """:class:`~proxy.remember.turns.Turns` of a keeper that is called *name* among all of them.

    *on_return* hears of a part in which another keeper has written since it was this one's turn: what is known of its
    users from then is not what is there.
    """

    def __init__(
        self, settings: Settings, name: str, *, patience_s: float = PATIENCE_S, turn_s: float = TURN_S
    ) -> None:
        self.on_return: Callable[[int], None] = lambda _: None
        self._client: Redis = open_async_redis(settings)
        self._acquire = self._client.register_script(_ACQUIRE)
        self._extend = self._client.register_script(_EXTEND)
        self._release = self._client.register_script(_RELEASE)
        self._name = name
        self._patience_s = patience_s
        self._turn_s = turn_s
        self._keys = [[name_key(settings, kind, f"{part:02}") for kind in _KINDS] for part in range(PARTS)]
        self._locks = [asyncio.Lock() for _ in range(PARTS)]
        self._turns: dict[int, _Turn] = {}
        self._tasks = Tasks()

    @asynccontextmanager
    async def hold(self, part: int, *, patient: bool = True) -> AsyncGenerator[bool, None]:
        """See :class:`~proxy.remember.turns.Turns`."""
        async with self._locks[part]:
            turn = await (self._wait_for(part) if patient else self._try(part))
            if turn is None:
                yield False
                return
            async with self._having(part, turn):
                yield True

    def find_part(self, scope: Scope) -> int:
        """See :class:`~proxy.remember.turns.Turns`."""
        return scope.part

    def fence(self, part: int) -> str:
        """The token of this keeper's turn, which Redis knows whether it still holds; '' while it has none."""
        turn = self._turns.get(part)
        return "" if turn is None else turn.token

    def check(self, part: int) -> None:
        """See :class:`~proxy.remember.turns.Turns`."""
        turn = self._turns.get(part)
        if turn is None or time.monotonic() > turn.until:
            raise StoreError("the turn to write was lost to another replica")

    @asynccontextmanager
    async def pause(self) -> AsyncGenerator[None, None]:
        """See :class:`~proxy.remember.turns.Turns`. Other keepers go on."""
        async with AsyncExitStack() as stack:
            for lock in self._locks:
                await stack.enter_async_context(lock)
            yield

    async def aclose(self) -> None:
        """See :class:`~proxy.remember.turns.Turns`."""
        await self._tasks.cancel()
        await self._client.aclose()

    async def _wait_for(self, part: int) -> _Turn:
        deadline = time.monotonic() + self._patience_s
        while True:
            turn = await self._try(part, wanted_ms=_WANTED_MS)
            if turn is not None:
                return turn
            if time.monotonic() > deadline:
                raise StoreError("another replica is writing")
            await asyncio.sleep(random.uniform(*_POLL_S))  # noqa: S311 (spreads load, hides nothing)

    async def _try(self, part: int, *, wanted_ms: int = 0) -> _Turn | None:
        turn = _Turn(uuid.uuid4().hex, self._end_of_turn())
        arguments: list[str | int] = [turn.token, self._name, int(self._turn_s * 1000), wanted_ms]
        with translated(StoreError):
            last: bytes | None = await self._acquire(self._keys[part], arguments)
        if last is None:
            return None
        if last.decode() != self._name:
            self.on_return(part)
        return turn

    def _end_of_turn(self) -> float:
        """Of a turn that is given now: nobody else has it before that."""
        return time.monotonic() + self._turn_s * (1 - _MARGIN)

    @asynccontextmanager
    async def _having(self, part: int, turn: _Turn) -> AsyncGenerator[None, None]:
        self._turns[part] = turn
        renewal = self._tasks.spawn(self._keep(part, turn), name="turn")
        try:
            yield
        finally:
            renewal.cancel()
            del self._turns[part]
            with suppress(StoreError), translated(StoreError):  # it ends by itself
                await self._release(self._keys[part][:1], [turn.token])

    async def _keep(self, part: int, turn: _Turn) -> None:
        while True:
            await asyncio.sleep(self._turn_s * _RENEW)
            until = self._end_of_turn()
            try:
                with translated(StoreError):
                    kept = await self._extend(self._keys[part][:1], [turn.token, int(self._turn_s * 1000)])
            except StoreError as exc:
                log.warning("turn_not_renewed", reason=str(exc))
                continue
            if not kept:
                log.warning("turn_lost", part=part)
                turn.until = 0.0
                return
            turn.until = until
