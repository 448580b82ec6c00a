"""Logs: a JSON line an event on standard error, readable lines on a terminal. Never message text, never secrets."""

import logging
import sys
import traceback
from functools import partial
from typing import Any, Final, TextIO, cast

import msgspec
import structlog
from structlog.typing import EventDict, ExcInfo, Processor, WrappedLogger

from proxy.config.sections import Logs
from proxy.errors import UpstreamTruncatedError, tell
from proxy.observe.served import SERVED

# Others may log what goes through their hands, bodies and headers, from here down.
OTHERS: Final = logging.WARNING
# Frames of a traceback that are told, the innermost: the outer ones are the server's.
FRAMES: Final = 12


def configure(settings: Logs, *, worker: int | None = None) -> None:
    """Sets up structlog and the standard library's logging for this process.

    *settings* decide of our own lines; other libraries' come out from :data:`OTHERS` on, whatever levels they set.
    *worker*: this process's number among several, which its lines tell.
    """
    last = _make_renderer(settings)
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        _add_request_id,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.ExceptionRenderer(_tell_exception),
        *([partial(_name_worker, worker)] if worker is not None else []),
    ]
    structlog.configure(
        processors=[*shared, last],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[settings.level.upper()]),
        # One write a line: what several processes write to one pipe does not mix.
        logger_factory=structlog.WriteLoggerFactory(cast("TextIO", _StandardError())),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setLevel(OTHERS)
    chain = [structlog.stdlib.add_logger_name, *shared]
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(processor=last, foreign_pre_chain=chain))
    logging.basicConfig(handlers=[handler], level=OTHERS, force=True)
    logging.getLogger("uvicorn.error").addFilter(_drop_truncations)
    logging.getLogger("asyncio").addFilter(_shorten)


class _StandardError:
    """Whatever that is when a line is written: loggers outlive it, where somebody redirects it for a while."""

    def write(self, text: str) -> None:
        sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()


def _make_renderer(settings: Logs) -> Processor:
    is_text = sys.stderr.isatty() if settings.format == "auto" else settings.format == "text"
    if is_text:
        return structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    # Half of what a line costs with the standard library's encoder.
    return _JsonRenderer()


class _JsonRenderer:
    def __init__(self) -> None:
        # What is no JSON is told by its type: its repr may say more than a log should.
        self._encode = msgspec.json.Encoder(enc_hook=lambda value: type(value).__name__).encode

    def __call__(self, _: WrappedLogger, __: str, event: EventDict) -> str:
        event.pop("_record", None)  # of the standard library's, beside what was read out of it
        event.pop("_from_structlog", None)
        try:
            return self._encode(event).decode()
        except UnicodeEncodeError:  # half a surrogate pair, out of somebody's file name
            return self._encode({key: _mend(value) for key, value in event.items()}).decode()


def _mend(value: Any) -> Any:
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value


def _name_worker(worker: int, _: WrappedLogger, __: str, event: EventDict) -> EventDict:
    return {**event, "worker": worker}


def _add_request_id(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    served = SERVED.get()
    if served is not None:
        event["request_id"] = served.id
    return event


def _tell_exception(exc_info: ExcInfo) -> str:
    """Where it was raised, through which functions, and what: in our own words only."""
    kind, exc, trace = exc_info
    frames = traceback.extract_tb(trace)[-FRAMES:]
    places = [f"{frame.filename.rpartition('/')[2]}:{frame.lineno} {frame.name}" for frame in frames]
    return " > ".join([*places, tell(exc) if exc is not None else kind.__name__])


def _drop_truncations(record: logging.LogRecord) -> bool:
    return not (record.exc_info and isinstance(record.exc_info[1], UpstreamTruncatedError))


def _shorten(record: logging.LogRecord) -> bool:
    """Leaves asyncio's complaints their first line: what follows shows objects, and the exceptions in them."""
    record.msg, record.args = record.getMessage().partition("\n")[0], ()
    return True
