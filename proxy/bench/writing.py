"""The write path by itself: a backlog of exchanges, and how fast a keeper on one core makes memories of it."""

import asyncio
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, Final

import msgspec

from proxy.bench.control import Control, Flushed
from proxy.bench.corpus import TURNS, WORDS, Corpus
from proxy.bench.load import Endpoint, work_together
from proxy.bench.plan import Plan
from proxy.bench.processes import Child, read_cpu_seconds
from proxy.bench.report import Report, Row, difference
from proxy.bench.servers import POLL_S, Conditions, find_keeper, start_proxy, start_upstream
from proxy.dialects.answer import Reply
from proxy.dialects.chat_completions import ChatRequest
from proxy.edge.conversation import Conversation
from proxy.errors import MemoryProxyError
from proxy.journal import JournalReader, JournalWriter
from proxy.models import Exchange, Scope
from proxy.reporting.charts import Axis, Lines, Point

USERS: Final = 50
REPLY_WORDS: Final = 2 * WORDS
# What is asked of verbatim mode: 300 exchanges a second on one core.
TARGET_MS: Final = 1000 / 300
# A keeper shows up within a second or two of its edge.
PATIENCE_S: Final = 30.0
# How often the journal is looked at while it empties; with more looks than so many, every other one is forgotten.
LOOK_S: Final = 0.1
LOOKS: Final = 240


async def measure_writing(plan: Plan, data_dir: Path, conditions: Conditions) -> Report:
    """Journals a backlog in an empty *data_dir*, starts a proxy there, its keeper on one core, and waits for the end.

    Raises:
        MemoryProxyError: the proxy did not start, or something could not be stored.
    """
    await journal_backlog(data_dir, plan.backlog)
    with start_upstream() as upstream, start_proxy(upstream.url(), data_dir, conditions) as proxy:
        keeper = await _find_keeper(proxy)
        pinned = _pin(keeper)
        endpoint = Endpoint(await asyncio.to_thread(proxy.url))
        control = Control(endpoint, conditions.admin_headers)
        await control.wait_ready()
        began, cpu = time.perf_counter(), read_cpu_seconds(keeper)

        async def store() -> tuple[Flushed, float, float | None]:
            flushed = await control.flush()
            return flushed, time.perf_counter() - began, difference(read_cpu_seconds(keeper), cpu)

        async with work_together() as group:
            storing = group.create_task(store())
            following = group.create_task(follow_backlog(data_dir, storing))
        done, wall, spent = storing.result()
        endpoint.close()
    if done.failed or not done.stored:
        raise MemoryProxyError(f"{done.failed} exchanges of the backlog failed, {done.stored} were stored")
    rows = _list_rows(done.stored, wall, spent, pinned=pinned)
    return Report(rows, draw_backlog("A backlog that is stored", following.result()))


def _list_rows(stored: int, wall_s: float, cpu_s: float | None, *, pinned: bool) -> list[Row]:
    core = "on one core" if pinned else "on all cores: this system pins no process"
    what = f"journal to store, embedded, {stored:,} exchanges of {USERS} users, the keeper {core}"
    cpu_ms = None if cpu_s is None else cpu_s * 1000 / stored
    return [
        Row(name="exchanges stored", value=stored / wall_s, unit="/s", meaning=what),
        Row(name="storing an exchange", value=wall_s * 1000 / stored, unit="ms", target=TARGET_MS, meaning=what),
        Row(name="… CPU time of the keeper", value=cpu_ms, unit="ms", meaning=what),
    ]


async def follow_backlog(data_dir: Path, storing: "asyncio.Task[Any]") -> list[Point]:
    """Exchanges that wait, by seconds, until *storing* is done. Neither edge nor keeper is asked, but the journal."""
    began, due, every_s = time.perf_counter(), 0.0, LOOK_S
    course: list[Point] = []
    with closing(JournalReader(data_dir)) as journal:
        while True:
            is_last = storing.done()
            waiting = (await asyncio.to_thread(journal.counts)).pending
            course.append(Point(time.perf_counter() - began, waiting))
            if is_last:
                return course
            if len(course) > LOOKS:
                course, every_s = course[::2], every_s * 2
            due += every_s
            await asyncio.wait([storing], timeout=max(0.0, began + due - time.perf_counter()))


def draw_backlog(title: str, course: Sequence[Point]) -> list[Lines]:
    """How fast it became less."""
    return [
        Lines(
            title=title,
            caption=(
                "Exchanges that wait in the journal. The steeper the line falls, the faster they are stored; where it "
                "is level, something else had its turn, or the keeper was starting."
            ),
            x=Axis(label="time", unit="s", scale="linear"),
            y=Axis(label="exchanges that wait", scale="linear"),
            series={"waiting": course},
            from_zero=True,
        )
    ]


async def journal_backlog(data_dir: Path, exchanges: int) -> None:
    """Writes so many exchanges of :data:`USERS` users, in conversations of usual length, as an edge does."""
    writer = JournalWriter(data_dir)
    writer.start()
    try:
        for exchange in _make_backlog(exchanges):
            await writer.append(exchange)
    finally:
        await writer.aclose()


def _make_backlog(exchanges: int) -> Iterator[Exchange]:
    """Users take turns, so that a batch is one of many users."""
    corpus, rounds = Corpus(seed=6), -(-exchanges // USERS)
    histories: list[list[dict[str, str]]] = [[] for _ in range(USERS)]
    for number in range(rounds * USERS):
        turn, user = divmod(number, USERS)
        if number == exchanges:
            return
        if len(histories[user]) == TURNS:
            histories[user] = []
        question, answer = corpus.text(), corpus.text(REPLY_WORDS)
        history = histories[user] = [*histories[user], {"role": "user", "content": question}]
        yield _make_exchange(Scope(f"writer-{user}"), history, answer, f"{user}-{2 * turn // TURNS}")
        history.append({"role": "assistant", "content": answer})


def _make_exchange(scope: Scope, history: list[dict[str, str]], answer: str, conversation_id: str) -> Exchange:
    """As the edge makes it."""
    request = ChatRequest(msgspec.json.encode({"model": "mock", "messages": history}))
    conversation = Conversation(scope, request.dialogue, request.first_new, conversation_id)
    return conversation.exchange(Reply(answer, "stop", truncated=False))


async def _find_keeper(proxy: Child) -> int:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if (keeper := await asyncio.to_thread(find_keeper, proxy)) is not None:
            return keeper
        await asyncio.sleep(POLL_S)
    raise MemoryProxyError(proxy.describe("no keeper was found: there is no /proc, or it does not start"))


def _pin(pid: int) -> bool:
    """Leaves a process, with all that it starts later, one core; whether that was possible.

    A keeper that is found is a millisecond old: its library threads come later, and go where the first one is.
    """
    if not hasattr(os, "sched_setaffinity"):
        return False
    core = max(os.sched_getaffinity(0))
    threads = [int(thread.name) for thread in Path(f"/proc/{pid}/task").iterdir()]
    for thread in threads:
        with suppress(ProcessLookupError):
            os.sched_setaffinity(thread, {core})
    return True
