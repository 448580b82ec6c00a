"""A proxy as a service manager runs it: whenever it is gone it is started again, at its address and on its data."""

import asyncio
import random
import socket
import time
from functools import partial
from pathlib import Path
from typing import Final, Literal, get_args

from proxy.bench.control import Control
from proxy.bench.load import Endpoint
from proxy.bench.processes import Child, kill_group
from proxy.bench.servers import HOST, POLL_S, Conditions, find_keeper, start_proxy
from proxy.errors import MemoryProxyError

Victim = Literal["edge", "keeper", "both"]
VICTIMS: Final[tuple[Victim, ...]] = get_args(Victim)

# Below the ports that systems hand out by themselves: a client that calls a port where nobody listens any more can get
# that very port as its own, would be connected to itself, and the server could not come back.
_PORTS: Final = range(20_000, 32_000)
_ATTEMPTS: Final = 100
# An edge that is up starts a keeper within a fraction of a second; where there is no /proc, none is ever found.
KEEPER_S: Final = 10.0


class Manager:
    """Runs a proxy, and kills it. Times are seconds from a kill until what was killed is back."""

    def __init__(self, upstream_url: str, data_dir: Path, conditions: Conditions) -> None:
        self.port: Final = find_port()
        self._launch = partial(start_proxy, upstream_url, data_dir, conditions, port=self.port)
        self._edge: Child | None = None
        self.url: Final = f"http://{HOST}:{self.port}"
        self.control: Final = Control(Endpoint(self.url), conditions.admin_headers)

    @property
    def edge(self) -> Child:
        if self._edge is None:
            raise MemoryProxyError("the proxy was not started")
        return self._edge

    async def start(self) -> None:
        """Returns when the edge listens.

        Raises:
            ChildError: it does not.
        """
        self._edge = self._launch()
        await asyncio.to_thread(self._edge.url)

    async def kill(self, victim: Victim) -> None:
        """SIGKILL to the process groups of *victim*, and a new edge if that is part of it; the edge starts keepers.

        The edge listens again when this returns. A keeper that is to be killed and is not there yet is waited for.
        """
        keeper = None if victim == "edge" else await self._find_keeper()
        if victim != "keeper":
            self.edge.kill()
        if keeper is not None:
            kill_group(keeper)
        if victim != "keeper":
            await self.start()

    async def wait_ready(self) -> None:
        """Returns when there is a keeper at work."""
        await self.control.wait_ready()

    async def _find_keeper(self) -> int | None:
        deadline = time.monotonic() + KEEPER_S
        while time.monotonic() < deadline:
            if (keeper := await asyncio.to_thread(find_keeper, self.edge)) is not None:
                return keeper
            await asyncio.sleep(POLL_S)
        return None

    def close(self) -> None:
        """Ends the proxy in order."""
        if self._edge is not None:
            self._edge.stop()


def find_port() -> int:
    """A port of this machine that nobody uses.

    Raises:
        MemoryProxyError: there is none.
    """
    for port in random.sample(_PORTS, _ATTEMPTS):
        try:
            with socket.create_server((HOST, port)):
                return port
        except OSError:
            continue
    raise MemoryProxyError(f"none of {_ATTEMPTS} ports from {_PORTS.start} to {_PORTS.stop} is free")
