"""The write path by itself: a backlog of exchanges, and how fast a keeper on one core makes memories of it."""

import asyncio
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from proxy.bench.control import Control
from proxy.bench.corpus import TURNS, WORDS, Corpus
from proxy.bench.load import Endpoint
from proxy.bench.plan import Plan
from proxy.bench.processes import Child, read_cpu_seconds
from proxy.bench.report import Row, difference
from proxy.bench.servers import POLL_S, Conditions, find_keeper, start_proxy, start_upstream
from proxy.dialects.answer import Reply
from proxy.dialects.chat_completions import ChatRequest
from proxy.edge.conversation import Conversation
from proxy.errors import MemoryProxyError
from proxy.journal import JournalWriter
from proxy.models import Exchange, Scope

USERS: Final = 50
REPLY_WORDS: Final = 2 * WORDS
# What is asked of verbatim mode: 300 exchanges a second on one core.
TARGET_MS: Final = 1000 / 300
# A keeper shows up within a second or two of its edge.
PATIENCE_S: Final = 30.0


async def measure_writing(plan: Plan, data_dir: Path, conditions: Conditions) -> list[Row]:
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
        done = await control.flush()
        wall, spent = time.perf_counter() - began, difference(read_cpu_seconds(keeper), cpu)
        endpoint.close()
    if done.failed or not done.stored:
        raise MemoryProxyError(f"{done.failed} exchanges of the backlog failed, {done.stored} were stored")
    return _list_rows(done.stored, wall, spent, pinned=pinned)


def _list_rows(stored: int, wall_s: float, cpu_s: float | None, *, pinned: bool) -> list[Row]:
    core = "on one core" if pinned else "on all cores: this system pins no process"
    what = f"journal to store, embedded, {stored:,} exchanges of {USERS} users, the keeper {core}"
    cpu_ms = None if cpu_s is None else cpu_s * 1000 / stored
    return [
        Row(name="exchanges stored", value=stored / wall_s, unit="/s", meaning=what),
        Row(name="storing an exchange", value=wall_s * 1000 / stored, unit="ms", target=TARGET_MS, meaning=what),
        Row(name="… CPU time of the keeper", value=cpu_ms, unit="ms", meaning=what),
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
