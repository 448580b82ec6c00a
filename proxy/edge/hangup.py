"""Noticing that the other side hangs up while it is made to wait."""

import asyncio
import select
from collections.abc import Callable
from typing import Final

# Most pauses are over sooner, and are not worth a look.
PATIENCE_S: Final = 0.02


class HangupWatch:
    """Watches a connection whose transport reads nothing for now: event loops do not look at such a one at all.

    *orderly*: a half-closed connection counts, too, though there may be something left to read. Works on Linux;
    elsewhere it notices nothing, and neither does the loop before the reading goes on.
    """

    def __init__(self, on_hangup: Callable[[], None], *, orderly: bool) -> None:
        self._on_hangup = on_hangup
        self._orderly = orderly
        self._timer: asyncio.TimerHandle | None = None
        self._epoll: select.epoll | None = None

    def begin(self, transport: asyncio.Transport) -> None:
        """The reading has been paused."""
        if self._timer is None and self._epoll is None and hasattr(select, "epoll"):
            self._timer = asyncio.get_running_loop().call_later(PATIENCE_S, self._look, transport)

    def end(self) -> None:
        """The reading goes on, or the connection is closed."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._epoll is not None:
            asyncio.get_running_loop().remove_reader(self._epoll.fileno())
            self._epoll.close()
            self._epoll = None

    def _look(self, transport: asyncio.Transport) -> None:
        self._timer = None
        sock = transport.get_extra_info("socket")
        if transport.is_closing() or sock is None or sock.fileno() < 0:
            return
        self._epoll = select.epoll()
        # A hang-up without notice is always reported.
        self._epoll.register(sock.fileno(), select.EPOLLRDHUP if self._orderly else 0)
        asyncio.get_running_loop().add_reader(self._epoll.fileno(), self._tell)

    def _tell(self) -> None:
        self.end()
        self._on_hangup()
