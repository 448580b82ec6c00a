"""Brings what a replica could not append to the shared journal there, as soon as there is a way."""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import structlog

from proxy.errors import JournalError
from proxy.journal.backoff import Backoff

if TYPE_CHECKING:
    from proxy.journal.spill import Spill

log = structlog.get_logger(__name__)

# The local journal is looked at this often even if nobody tells of news.
_IDLE_S: Final = 1.0
_FIRST_DELAY_S: Final = 0.1
_LONGEST_DELAY_S: Final = 2.0


class Courier:
    """Empties a spill. *on_delivery* hears of everything that is in the shared journal from then on."""

    def __init__(self, spill: "Spill", on_delivery: Callable[[], None]) -> None:
        self._spill = spill
        self._on_delivery = on_delivery
        self._news = asyncio.Event()
        self._trouble: str | None = None

    def notice(self) -> None:
        """There may be something new."""
        self._news.set()

    async def run(self) -> None:
        """Works until cancelled."""
        backoff = Backoff(_FIRST_DELAY_S, _LONGEST_DELAY_S)
        while True:
            self._news.clear()
            if await self.deliver():
                backoff.reset()
                await self._wait()
            else:
                # Whatever is new cannot be brought anywhere either.
                await asyncio.sleep(backoff.next_delay())

    async def deliver(self) -> bool:
        """Brings over all that there is; whether that went well."""
        try:
            while await asyncio.to_thread(self._spill.forward):
                self._on_delivery()
        except JournalError as exc:
            if str(exc) != self._trouble:
                log.warning("spill_waits", reason=str(exc))
            self._trouble = str(exc)
            return False
        self._trouble = None
        return True

    async def _wait(self) -> None:
        try:
            async with asyncio.timeout(_IDLE_S):
                await self._news.wait()
        except TimeoutError:
            pass
