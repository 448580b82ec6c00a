"""``python -m proxy.keeper``: started by the edge, never by hand. Its settings come over standard input."""

import asyncio
import os
import pickle
import signal
import sys

import structlog

from proxy.config import Settings
from proxy.errors import MemoryProxyError
from proxy.keeper.server import run
from proxy.observe import logs

# The edge's answers go first when both want the same core.
NICENESS = 10


def main() -> int:
    """Runs until the edge is gone."""
    # A terminal's Ctrl-C and a service manager's SIGTERM reach the whole group. The edge decides when this process
    # ends, because it still drains its open streams.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.nice(NICENESS)
    os.umask(0o077)  # Chroma makes its files readable for everybody, and the data directory may be somebody else's
    logs.configure()
    settings = pickle.load(sys.stdin.buffer)  # noqa: S301  # written by our own parent process
    if not isinstance(settings, Settings):
        raise SystemExit("the keeper is started by memory-proxy serve")
    try:
        asyncio.run(run(settings, sys.stdin.buffer))
    except MemoryProxyError as exc:
        structlog.get_logger().error("keeper_cannot_start", reason=str(exc))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
