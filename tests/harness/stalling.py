"""Writers that are made to wait."""

import asyncio
from typing import Any, Final

# Who gets on with nothing for this long has been stopped.
STALL_S: Final = 0.3


async def wait_for_stall(sent: list[int], task: asyncio.Task[Any]) -> int:
    """Returns the sum of *sent*, to which *task* adds, when it gets on no more, or is through."""
    before = -1
    while len(sent) != before and not task.done():
        before = len(sent)
        await asyncio.wait((task,), timeout=STALL_S)
    return sum(sent)
