"""The socket to listen on, and the room for the connections that come."""

import resource
import socket
from contextlib import suppress
from typing import Final

import structlog

from proxy.config import Settings

log = structlog.get_logger(__name__)

BACKLOG: Final = 2048
# A client's connection, and beside it what it leads to: a file, a pipe, a look for its end.
FILES_PER_CONNECTION: Final = 2


def bind(host: str, port: int) -> socket.socket:
    """A listening socket, bound before anything else is started so that a port in use is told of at once.

    Raises:
        OSError: the address cannot be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
    except OSError:
        listener.close()
        raise
    listener.set_inheritable(False)
    return listener


def describe(listener: socket.socket) -> str:
    """The URL under which *listener* is reached."""
    host, port = listener.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def make_room(settings: Settings) -> None:
    """Raises this process's limit of open files as far as it may, and warns where that is not enough.

    The limit is low by default for the sake of programs that use ``select``, of which this is none.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with suppress(ValueError, OSError):  # macOS has a lower limit than the one it tells
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
    needed = FILES_PER_CONNECTION * settings.server.max_connections + settings.upstream.max_connections
    if soft != resource.RLIM_INFINITY and soft < needed:
        log.warning(
            "few_open_files", limit=soft, needed=needed, keys="server.max_connections, upstream.max_connections"
        )
