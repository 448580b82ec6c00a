"""Who may write now. Memories are planned from what is there, so that of two who write at once one would not know what
the other has just written.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol

from proxy.models import Scope


class Turns(Protocol):
    """The turns of a keeper. For one event loop.

    Users are in parts, and of each part it is the turn of one task of one keeper at a time. *on_return* hears, when it
    is this keeper's turn again, of a part in which another one has written meanwhile.
    """

    on_return: Callable[[int], None]

    def hold(self, part: int, *, patient: bool = True) -> AbstractAsyncContextManager[bool]:
        """It is the caller's turn until the end of the block. Waits for whoever has it.

        Who is not *patient* waits for tasks of this keeper only: false, and it is not the caller's turn, while another
        keeper has it.

        Raises:
            StoreError: another keeper has it for too long, or it is not known who has it.
        """
        ...

    def find_part(self, scope: Scope) -> int:
        """The part that a user is in."""
        ...

    def check(self, part: int) -> None:
        """To be called right before something is written.

        Raises:
            StoreError: it is not this keeper's turn any more. A process that is stopped for long, or that cannot reach
                who gives the turns, loses its own.
        """
        ...

    def pause(self) -> AbstractAsyncContextManager[object]:
        """In the block, which begins when all who have a turn are through, nobody of this keeper has one."""
        ...

    async def aclose(self) -> None:
        """Lets go of connections."""
        ...


class LocalTurns:
    """The turns of the only keeper there is: one at a time, of all users."""

    def __init__(self) -> None:
        self.on_return: Callable[[int], None] = lambda _: None
        self._lock = asyncio.Lock()

    @asynccontextmanager
    async def hold(self, _: int, *, patient: bool = True) -> AsyncGenerator[bool, None]:
        """Waits for who has it, in the order in which they came; *patient* or not, it is a task of this keeper."""
        async with self._lock:
            yield True

    def find_part(self, _: Scope) -> int:
        """The only one."""
        return 0

    def check(self, _: int) -> None:
        """Nobody can have taken it."""

    def pause(self) -> AbstractAsyncContextManager[object]:
        """A turn of everybody's."""
        return self.hold(0)

    async def aclose(self) -> None:
        """There is nothing to let go of."""
