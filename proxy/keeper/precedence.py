"""Who goes first where the store is wanted by several: it holds this process up while it writes."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

# Longer than that nobody waits for others.
WAY_S: Final = 0.5


class Precedence:
    """First comes what chats wait for, then what was said last: *rest* returns when that is stored. Then all else."""

    def __init__(self, rest: Callable[[], Awaitable[None]]) -> None:
        self._rest = rest
        self._loads = 0
        self._nobody_loads = asyncio.Event()
        self._nobody_loads.set()

    @contextmanager
    def loading(self) -> Iterator[None]:
        """Somebody's memories are read, for a chat."""
        self._loads += 1
        self._nobody_loads.clear()
        try:
            yield
        finally:
            self._loads -= 1
            if not self._loads:
                self._nobody_loads.set()

    async def give_way(self) -> None:
        """For what can wait: returns when it is not in the way of anybody, and after a while in any case."""
        await self._rest()
        with suppress(TimeoutError):
            async with asyncio.timeout(WAY_S):
                await self._nobody_loads.wait()
