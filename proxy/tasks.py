"""Owned background tasks: each has a name, a strong reference, and somebody who hears of its failure."""

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from contextlib import aclosing
from typing import Any, TypeVar

import structlog

from proxy.errors import find_place, tell

T = TypeVar("T")

log = structlog.get_logger(__name__)


class Tasks:
    """The background tasks of one event loop.

    asyncio keeps only weak references to tasks, so one that nobody holds may vanish half-way. A task that fails is
    logged, never silent; cancellation is no failure.
    """

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def spawn(self, coroutine: Coroutine[Any, Any, Any], *, name: str, awaited: bool = False) -> asyncio.Task[Any]:
        """Runs *coroutine* until it ends or :meth:`cancel` is called.

        *awaited*: somebody takes the result, and with it the failure, which is then not logged here.
        """
        task = asyncio.create_task(coroutine, name=name)  # noqa: TID251  # the one place that may
        self._tasks.add(task)
        task.add_done_callback(self._forget_quietly if awaited else self._forget)
        return task

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (failure := task.exception()) is not None:
            place = find_place(failure.__traceback__)
            log.error("task_failed", task=task.get_name(), error=tell(failure), at=place)

    def _forget_quietly(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # asyncio complains of exceptions that nobody has looked at

    async def drain(self) -> None:
        """Waits until no task is left, those spawned meanwhile included."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def cancel(self) -> None:
        """Cancels what is left and waits for it to end."""
        for task in tuple(self._tasks):
            task.cancel()
        await self.drain()


async def look_ahead(items: AsyncGenerator[T, None]) -> AsyncGenerator[T, None]:
    """*items* in their order, of which the next one is made while the caller is busy with the one before.

    What making it raises is raised in its place. Whoever stops before the end closes the iterator, and with it *items*.
    """
    async with aclosing(items):
        following = asyncio.create_task(_list_next(items), name="look-ahead")  # noqa: TID251  # awaited below
        try:
            while item := await following:
                following = asyncio.create_task(_list_next(items), name="look-ahead")  # noqa: TID251
                yield item[0]
        finally:
            following.cancel()
            await asyncio.wait((following,))
            if not following.cancelled():
                following.exception()  # asyncio complains of exceptions that nobody has looked at


async def _list_next(items: AsyncGenerator[T, None]) -> list[T]:
    """The next one of *items*, or none at their end."""
    try:
        return [await anext(items)]
    except StopAsyncIteration:
        return []
