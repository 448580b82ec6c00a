"""A line for every request, where ``logs.requests`` asks for it."""

import time

import structlog

from proxy.observe.served import Served

log = structlog.get_logger(__name__)


def log_request(served: Served, route: str, code: str) -> None:
    """Who asked for what, and what came of it; neither what was said nor under which name or path."""
    told: dict[str, object] = {"method": served.method, "route": route, "status": code}
    told["total_ms"] = _ms(time.perf_counter() - served.began)
    if served.memory:
        told |= {"memory": served.memory, "recall_ms": _ms(served.recall_s)}
    if served.count:
        told |= {"memories": served.count, "tokens": served.tokens}
    if served.client:
        told["client"] = served.client
    if served.user:
        told["user"] = served.user
    log.info("request", **told)


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)
