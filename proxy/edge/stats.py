"""``GET /memory/stats``: what memory makes of a difference."""

from typing import Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from proxy.config import Settings
from proxy.edge.exposition import Exposition
from proxy.edge.measures import Measures
from proxy.experiment.arms import Experiment
from proxy.experiment.report import describe

REPORT: Final = "experiment"


class Stats:
    """Tells of users with memory and without, since the start of the process, and of all that share its port."""

    def __init__(self, measures: Measures, exposition: Exposition, settings: Settings) -> None:
        self._exposition = exposition
        self._head = {"mode": settings.memory.mode, "holdout_percent": settings.memory.holdout_percent}
        exposition.reports[REPORT] = lambda: msgspec.msgpack.encode(measures.experiment.to_builtins())

    async def tell(self, _: Request) -> Response:
        """Both arms, and the differences between them."""
        own, *others = await self._exposition.collect(REPORT)
        whole = _read(own)
        for other in others:
            whole.merge(_read(other))
        return Response(msgspec.json.encode(self._head | describe(whole)), media_type="application/json")


def _read(report: bytes) -> Experiment:
    return Experiment.from_builtins(msgspec.msgpack.decode(report))
