"""``python -m proxy.keeper``: started by the edge, never by hand. Its settings come over standard input."""

import asyncio
import os
import signal
import sys
from contextlib import suppress

import structlog

from proxy import cores
from proxy.children import read_order
from proxy.config import Settings
from proxy.errors import MemoryProxyError
from proxy.keeper.server import run
from proxy.observe import logs

NICENESS = 10


def _step_back() -> None:
    """Lets the edge go first when both want the same core, and leaves it one half of the cores.

    Measured on two cores, memories stored through chats: a chat's added latency at p99 is 2.0 to 2.8 times that of an
    idle machine with niceness alone; 1.2 to 1.8 times when Linux also knows that this process need not be prompt; 1.0
    to 1.5 times on half of the cores, where it stores even faster, because Chroma's threads then fight less for
    Python's lock.
    """
    with suppress(OSError):  # some sandboxes forbid it, and nothing depends on it
        os.nice(NICENESS)
        if sys.platform == "linux":
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    cores.take_half()


def _read_settings() -> Settings:
    settings = read_order(sys.stdin.buffer)
    if not isinstance(settings, Settings):
        raise SystemExit("the keeper is started by memory-proxy serve, not by hand")
    return settings


def main() -> int:
    """Runs until the edge is gone."""
    # A terminal's Ctrl-C and a service manager's SIGTERM reach the whole group. The edge decides when this process
    # ends, because it still drains its open streams.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    _step_back()
    os.umask(0o077)  # Chroma makes its files readable for everybody, and the data directory may be somebody else's
    settings = _read_settings()
    logs.configure(settings.logs)
    try:
        asyncio.run(run(settings, sys.stdin.buffer))
    except MemoryProxyError as exc:
        structlog.get_logger().error("keeper_cannot_start", reason=str(exc))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
