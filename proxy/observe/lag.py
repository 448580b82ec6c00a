"""How late an event loop is."""

import asyncio
from collections.abc import Callable
from typing import Final

EVERY_S: Final = 0.05


async def measure_lag(observe: Callable[[float], None]) -> None:
    """Runs a timer again and again until cancelled; *observe* hears how late each was, in seconds."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + EVERY_S
        await asyncio.sleep(EVERY_S)
        observe(max(0.0, loop.time() - due))
