"""Logs: a JSON line an event on standard error, readable lines on a terminal. Never message text, never secrets."""

import logging
import sys
from functools import partial

import structlog
from structlog.typing import EventDict

from proxy.errors import UpstreamTruncatedError


def _drop_truncations(record: logging.LogRecord) -> bool:
    return not (record.exc_info and isinstance(record.exc_info[1], UpstreamTruncatedError))


def _name_worker(worker: int, _: object, __: str, event: EventDict) -> EventDict:
    return {**event, "worker": worker}


def configure(*, level: int = logging.INFO, worker: int | None = None) -> None:
    """Sets up structlog and the standard library's logging for this process. Called once, by the command line.

    *worker*: this process's number among several, which its lines tell.
    """
    terminal = sys.stderr.isatty()
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        *([partial(_name_worker, worker)] if worker is not None else []),
    ]
    last: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer() if terminal else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[*shared, structlog.processors.format_exc_info, last],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        # Line and end in one write: several processes share the stream, and print() takes two.
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(processor=last, foreign_pre_chain=shared))
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logging.getLogger("uvicorn.error").addFilter(_drop_truncations)
