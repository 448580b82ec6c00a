"""``GET /memory/stats``: what memory makes of a difference."""

from collections.abc import Callable

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from proxy.config import Settings
from proxy.edge.control import Handler
from proxy.edge.measures import Measures
from proxy.experiment.report import describe


class Stats:
    """Tells of users with memory and without, since the start of the process."""

    def __init__(self, measures: Measures, settings: Settings) -> None:
        self._measures = measures
        self._head = {"mode": settings.memory.mode, "holdout_percent": settings.memory.holdout_percent}

    def routes(self, guard: Callable[[Handler], Handler]) -> list[Route]:
        """*guard* lets pass who may see it."""
        return [Route("/memory/stats", guard(self.tell), methods=["GET"])]

    async def tell(self, _: Request) -> Response:
        """Both arms, and the differences between them."""
        told = self._head | describe(self._measures.experiment)
        return Response(msgspec.json.encode(told), media_type="application/json")
