"""What the processes of one proxy tell each other of themselves: the keeper is the one that all of them know."""

import asyncio
import math
import time
from contextlib import suppress
from typing import Final

from proxy.errors import JournalError, StoreError
from proxy.keeper import wire
from proxy.keeper.vault import Vault
from proxy.observe.exposition import Family
from proxy.stores.rows import USER_ROW

Edge = asyncio.StreamWriter  # an edge's connection stands for it

COUNT_EVERY_S: Final = 10.0
GAUGES: Final = ("pending", "extracting", "failed")


class Bulletin:
    """Holds what each edge told last, for as long as it is connected, beside the keeper's own metrics."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        self._told: dict[Edge, wire.Tell] = {}
        self._memories = math.nan
        self._counted_at = -math.inf

    def hear(self, edge: Edge, told: wire.Tell) -> None:
        """It has news of itself."""
        self._told[edge] = told

    def forget(self, edge: Edge) -> None:
        """It is gone."""
        self._told.pop(edge, None)

    async def scrape(self, asking: Edge) -> wire.Scraped:
        """All metrics but those of the edge that is *asking*."""
        return wire.Scraped(
            await self._scrape_keeper(), {told.edge: told.metrics for told in self._told_by_others(asking)}
        )

    def reports(self, asking: Edge, name: str) -> wire.Reports:
        """What the others had to tell under *name*."""
        return wire.Reports([told.reports[name] for told in self._told_by_others(asking) if name in told.reports])

    def _told_by_others(self, asking: Edge) -> list[wire.Tell]:
        return [told for edge, told in self._told.items() if edge is not asking]

    async def _scrape_keeper(self) -> list[Family]:
        metrics = self._vault.metrics
        with suppress(JournalError):  # these stay what they were, and all others are told
            counts = await asyncio.to_thread(self._vault.journal.counts)
            for name in GAUGES:
                metrics.gauge(f"journal_{name}").set(getattr(counts, name))
            metrics.gauge("journal_oldest_seconds").set(counts.oldest_age_s or 0)
        with suppress(StoreError):
            metrics.gauge("memories").set(await self._count_memories())
        return metrics.snapshot()

    async def _count_memories(self) -> float:
        """As it was at most :data:`COUNT_EVERY_S` ago: a count looks at all keys, 20 ms of 300,000."""
        at = time.monotonic()
        if at - self._counted_at >= COUNT_EVERY_S:
            self._counted_at = at
            count = await asyncio.to_thread(self._vault.ledger.count_everybodys_rows, USER_ROW)
            self._memories = math.nan if count is None else count
        return self._memories
