"""Chats that one of several edges has served, on their way to the others."""

import asyncio
from typing import Final

from proxy.keeper import wire
from proxy.keeper.client import KeeperClient
from proxy.observe.traces import Trace

# What ends within so long goes together: a frame for each would cost as much as the rest of the request's traces.
PAUSE_S: Final = 0.2


class Messenger:
    """Sends traces by way of the keeper, who knows all edges. What it is away for is not told. For one event loop."""

    def __init__(self, keeper: KeeperClient) -> None:
        self._keeper = keeper
        self._waiting: list[Trace] = []

    def take(self, trace: Trace) -> None:
        """Sends it within :data:`PAUSE_S`."""
        if not self._waiting:
            asyncio.get_running_loop().call_later(PAUSE_S, self._send)
        self._waiting.append(trace)

    def _send(self) -> None:
        waiting, self._waiting = self._waiting, []
        self._keeper.push(wire.Traced(waiting))
