"""Has Redis write its append-only file anew, which still holds what was deleted."""

import threading
import time
from typing import TYPE_CHECKING, Final

import structlog
from redis.exceptions import RedisError

if TYPE_CHECKING:
    import redis

# It costs the server a fork and writing all that it holds. So it waits for what is deleted together with the first.
FIRST_S: Final = 1.0
EVERY_S: Final = 60.0

_log = structlog.get_logger(__name__)


class Rewriting:
    """Asks for it, as often as is bearable, and again where it was refused. That it fails changes no answer.

    Safe to call from several threads.
    """

    def __init__(self, client: "redis.Redis", *, first_s: float = FIRST_S, every_s: float = EVERY_S) -> None:
        self._client = client
        self._first_s = first_s
        self._every_s = every_s
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None
        self._not_before = 0.0

    def ask(self) -> None:
        """Something was erased."""
        with self._lock:
            if self._timer is None:
                # A thread of its own: what was erased last must not stay there because nothing else happens.
                wait_s = max(self._first_s, self._not_before - time.monotonic())
                self._timer = threading.Timer(wait_s, self._go_on)
                self._timer.daemon = True
                self._timer.start()

    def close(self) -> None:
        """Does what is left to do, once."""
        with self._lock:
            timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
            self._rewrite()

    def _go_on(self) -> None:
        with self._lock:
            self._timer = None
            self._not_before = time.monotonic() + self._every_s
        if not self._rewrite():
            self.ask()

    def _rewrite(self) -> bool:
        try:
            # A rewrite that runs already may have begun before the erasure, and is then refused: another follows it.
            if self._client.info("persistence")["aof_enabled"]:
                self._client.bgrewriteaof()
        except RedisError as exc:
            _log.warning("redis_not_rewritten", reason=type(exc).__name__)
            return False
        return True
