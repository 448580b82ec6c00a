"""The metrics of all processes in one answer, whichever of them is asked."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from proxy.errors import KeeperError
from proxy.keeper import wire
from proxy.keeper.client import KeeperClient
from proxy.observe.exposition import Family, label, merge, render
from proxy.observe.metrics import Metrics

# Prometheus waits ten seconds, people look at a page: what is here is told without what does not come.
PATIENCE_S: Final = 0.5
TELL_EVERY_S: Final = 2.0
LABEL: Final = "worker"


class Exposition:
    """What there is to tell of this edge, of the keeper, and of the other edges if there are several.

    Of several edges that share a port, a scraper reaches one by chance. So each tells the keeper every
    :data:`TELL_EVERY_S` how it is, *worker* is a label of all its series, and any of them answers for all. In *reports*
    parts of the edge leave what else is to be told, by name: something that can be added to what others tell of it.
    """

    def __init__(self, metrics: Metrics, keeper: KeeperClient, worker: int | None) -> None:
        self.reports: dict[str, Callable[[], bytes]] = {}
        self._metrics = metrics
        self._keeper = keeper
        self._worker = worker

    async def run(self) -> None:
        """Tells the others, if there may be any, until cancelled."""
        while self._worker is not None:
            await self._keeper.connected.wait()
            self.tell(self._worker)
            await asyncio.sleep(TELL_EVERY_S)

    def tell(self, worker: int) -> None:
        """Sends the others what is new."""
        reports = {name: make() for name, make in self.reports.items()}
        self._keeper.push(wire.Tell(worker, self._metrics.snapshot(), reports))

    async def render(self) -> bytes:
        """Everything, for Prometheus; without the keeper only this process's own."""
        return render(await self.gather())

    async def gather(self) -> list[Family]:
        """The same, not rendered."""
        own = self._metrics.snapshot()
        scraped = wire.Scraped([])
        with suppress(KeeperError, TimeoutError):
            async with asyncio.timeout(PATIENCE_S):
                scraped = await self._keeper.call(wire.Scrape())
        others = [_number(metrics, worker) for worker, metrics in sorted(scraped.edges.items())]
        return merge(_number(own, self._worker), *others, scraped.keeper)

    async def collect(self, name: str) -> list[bytes]:
        """The report of that name of every edge, this one's first; without the keeper only this one's."""
        own = self.reports[name]()
        found = wire.Reports([])
        if self._worker is not None:
            with suppress(KeeperError, TimeoutError):
                async with asyncio.timeout(PATIENCE_S):
                    found = await self._keeper.call(wire.GetReports(name))
        return [own, *found.reports]


def _number(metrics: list[Family], worker: int | None) -> list[Family]:
    return metrics if worker is None else label(metrics, **{LABEL: str(worker)})
