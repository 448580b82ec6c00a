"""``python -m proxy.serving.worker``: one edge of several, started by :mod:`proxy.workers`, never by hand."""

import asyncio
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from proxy.app import App
from proxy.children import read_order
from proxy.errors import ConfigError
from proxy.observe import logs
from proxy.serving.server import DrainingServer, loop_factory, make_server
from proxy.workers import UP, Post

LIFELINE: Final = 0  # standard input
ANSWERS: Final = 1  # standard output
FAILURE: Final = 1


class WorkerServer(DrainingServer):
    """A server that starts and stops for whoever started it: its standard input ends when it is to drain."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leaves them ignored: see :class:`proxy.workers.Workers`."""
        yield

    def announce(self) -> None:
        """Says that connections are accepted."""
        os.write(ANSWERS, UP)
        # Not in the loop's pool, for which the end of the process would wait.
        loop = asyncio.get_running_loop()
        threading.Thread(target=self._hold, args=(loop,), name="lifeline", daemon=True).start()

    def _hold(self, loop: asyncio.AbstractEventLoop) -> None:
        while os.read(LIFELINE, 1):
            pass
        loop.call_soon_threadsafe(self.drain)


def main() -> int:
    """Serves until there is nobody any more who wants it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    # Unbuffered, so that nothing is taken out of the pipe that the lifeline waits for.
    with open(LIFELINE, "rb", buffering=0, closefd=False) as lifeline:
        post = read_order(lifeline)
    if not isinstance(post, Post):
        raise SystemExit("workers are started by memory-proxy serve, not by hand")
    logs.configure(post.settings.logs, worker=post.number)
    try:
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            runner.run(_serve(post))
    except ConfigError as exc:
        os.write(ANSWERS, f"{exc}\n".encode())
        return FAILURE
    return 0


async def _serve(post: Post) -> None:
    server = make_server(App(post.settings, worker=post.number), WorkerServer)
    await server.serve([socket.socket(fileno=post.listener)])


if __name__ == "__main__":
    sys.exit(main())
