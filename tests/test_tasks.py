"""Owned background tasks."""

import asyncio
import gc
import warnings
from collections.abc import AsyncGenerator
from contextlib import aclosing

import pytest
import structlog

from proxy.tasks import Tasks, look_ahead


async def fail() -> None:
    raise ValueError("on purpose")


async def test_a_task_is_kept_until_it_is_done() -> None:
    """Nobody but the owner holds it, and still it is not collected half-way."""
    tasks = Tasks()
    gate, done = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        await gate.wait()
        done.set()

    tasks.spawn(work(), name="work")
    await asyncio.sleep(0)
    gc.collect()
    gate.set()
    await tasks.drain()
    assert done.is_set()


async def test_a_drain_waits_for_what_tasks_spawn() -> None:
    """Tasks spawned by tasks are waited for, too."""
    tasks = Tasks()
    done: list[int] = []

    async def work(left: int) -> None:
        await asyncio.sleep(0)
        done.append(left)
        if left:
            tasks.spawn(work(left - 1), name=f"work {left}")

    tasks.spawn(work(3), name="work")
    await tasks.drain()
    assert done == [3, 2, 1, 0]


async def test_a_failure_is_told_of_once() -> None:
    """One line with the task's name; the others go on."""
    tasks = Tasks()
    with structlog.testing.capture_logs() as logs:
        tasks.spawn(fail(), name="the one that fails")
        other = tasks.spawn(asyncio.sleep(0, "fine"), name="other")
        await tasks.drain()
    assert [(line["event"], line["task"]) for line in logs] == [("task_failed", "the one that fails")]
    assert other.result() == "fine"


async def test_an_awaited_failure_is_its_callers() -> None:
    """Who takes the result gets the failure; it is not logged, nor complained of when nobody came for it after all."""
    tasks = Tasks()
    with structlog.testing.capture_logs() as logs, warnings.catch_warnings():
        warnings.simplefilter("error")
        task = tasks.spawn(fail(), name="awaited", awaited=True)
        with pytest.raises(ValueError, match="on purpose"):
            await task
        tasks.spawn(fail(), name="forgotten", awaited=True)
        await tasks.drain()
        gc.collect()
    assert logs == []


async def test_a_cancel_ends_everything_and_is_no_failure() -> None:
    """Cleaning up may take a while, and is waited for."""
    tasks = Tasks()
    cleaned: list[str] = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            cleaned.append("up")

    with structlog.testing.capture_logs() as logs:
        task = tasks.spawn(work(), name="work")
        await asyncio.sleep(0)
        await tasks.cancel()
    assert task.cancelled()
    assert (cleaned, logs) == (["up"], [])
    await tasks.cancel()


async def test_tasks_have_their_names() -> None:
    """What hangs can be told from the rest."""
    tasks = Tasks()
    task = tasks.spawn(asyncio.sleep(0), name="a name")
    assert task.get_name() == "a name"
    await tasks.drain()


async def test_the_next_one_is_made_meanwhile() -> None:
    """One, and not more of them; and they come in their order."""
    begun: list[int] = []
    second = asyncio.Event()

    async def make() -> AsyncGenerator[int, None]:
        for number in range(4):
            begun.append(number)
            if number == 1:
                second.set()
            yield number

    seen: list[tuple[int, int]] = []
    async with aclosing(look_ahead(make())) as items:
        async for item in items:
            await second.wait()
            seen.append((item, len(begun)))
            await asyncio.sleep(0)
    assert [item for item, _ in seen] == [0, 1, 2, 3]
    assert all(made <= item + 2 for item, made in seen)


async def test_what_fails_does_so_in_its_place() -> None:
    """What came before has its turn, however early the failure is known."""
    failed = asyncio.Event()

    async def make() -> AsyncGenerator[int, None]:
        yield 0
        failed.set()
        raise ValueError("on purpose")

    async with aclosing(look_ahead(make())) as items:
        assert await anext(items) == 0
        await failed.wait()
        with pytest.raises(ValueError, match="on purpose"):
            await anext(items)


@pytest.mark.parametrize("fails", [False, True])
async def test_who_stops_leaves_nothing_behind(fails: bool) -> None:
    """What was being made is given up and closed, and nobody complains of it."""
    making, closed = asyncio.Event(), asyncio.Event()

    async def make() -> AsyncGenerator[int, None]:
        try:
            yield 0
            making.set()
            if fails:
                raise ValueError("on purpose")
            await asyncio.Event().wait()
        finally:
            closed.set()

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        async with aclosing(look_ahead(make())) as items:
            assert await anext(items) == 0
            await making.wait()
        assert closed.is_set()
        assert len(asyncio.all_tasks()) == 1
        gc.collect()
