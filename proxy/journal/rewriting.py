"""Has Redis write its append-only file anew, which still holds what was erased."""

import time
from typing import TYPE_CHECKING, Final

import structlog

if TYPE_CHECKING:
    import redis

# It costs the server a fork and writing all that it holds.
_EVERY_S: Final = 60.0

_log = structlog.get_logger()


class Rewriting:
    """Asks for it, as often as is bearable, and again where it was refused. That it fails changes no answer."""

    def __init__(self, client: "redis.Redis") -> None:
        self._client = client
        self._wanted = False
        self._not_before = 0.0

    def ask(self) -> None:
        """Something was erased."""
        self._wanted = True
        self.go_on()

    def go_on(self) -> None:
        """Does what was asked for, if it is time. To be called every now and then."""
        from redis.exceptions import RedisError

        if not self._wanted or time.monotonic() < self._not_before:
            return
        self._not_before = time.monotonic() + _EVERY_S
        try:
            # A rewrite that runs already may have begun before the erasure, and is then refused: another follows it.
            if self._client.info("persistence")["aof_enabled"]:
                self._client.bgrewriteaof()
            self._wanted = False
        except RedisError as exc:
            _log.warning("journal.rewrite_failed", reason=type(exc).__name__)
