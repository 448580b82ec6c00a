"""The keeper's life: whatever happens to it, chats go on and what was said is stored in the end."""

import asyncio
import os
import signal
import stat
import threading
import time
from asyncio.subprocess import Process
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
import structlog

from proxy import children, config
from proxy.errors import KeeperError
from proxy.keeper import frames, link, supervise, wire
from proxy.keeper.catalogue import Catalogue
from proxy.keeper.client import KeeperClient
from proxy.keeper.link import KeeperLink
from proxy.keeper.lock import DataDirLock, Holder
from proxy.keeper.server import KeeperServer, end_without_worker
from proxy.keeper.supervise import Supervisor
from proxy.keeper.vault import open_vault
from proxy.keeper.workshop import Workshop
from proxy.models import Scope
from proxy.observe.metrics import Metrics
from proxy.tasks import Tasks
from proxy.workingset import Arrival, Change
from tests.harness.nursery import start_anew
from tests.processes import Chat, Proxy, Upstream, running_upstream

USER = "ada"


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with running_upstream() as running:
        yield running


class Load:
    """Clients that chat until they are told to stop. A chat that fails ends its thread with an error, which pytest
    reports; *said* has what was answered.
    """

    def __init__(self, url: str, *, size: int) -> None:
        self.said: list[str] = []
        self._stop = threading.Event()
        self._news = threading.Condition()
        self._threads = [threading.Thread(target=self._chat, args=(url, number)) for number in range(size)]
        for thread in self._threads:
            thread.start()

    def wait_for_more(self, count: int) -> None:
        """Blocks until so many more chats are answered."""
        with self._news:
            goal = len(self.said) + count
            assert self._news.wait_for(lambda: len(self.said) >= goal, 30)

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _chat(self, url: str, number: int) -> None:
        for turn in range(1_000_000):
            if self._stop.is_set():
                return
            text = f"remark {turn} of client {number}"
            Chat(url, USER).say(text, stream=turn % 2 == 0)
            with self._news:
                self.said.append(text)
                self._news.notify_all()


def test_a_killed_keeper_costs_no_chat_and_no_memory(tmp_path: Path, upstream: Upstream) -> None:
    """SIGKILL at varying moments under load: every chat is answered, all of it is stored once, readyz recovers."""
    with Proxy(tmp_path, upstream.url) as proxy:
        pid = proxy.wait_ready()
        load = Load(proxy.url, size=2)
        for nth, moment in enumerate((5, 23, 61), start=2):
            load.wait_for_more(moment)
            os.kill(pid, signal.SIGKILL)
            pid = proxy.wait_ready(nth=nth)
        load.stop()
        ready = proxy.call("GET", "/readyz")
        proxy.flush()
        texts = proxy.texts(USER)
    assert ready.status_code == 200, ready.text
    assert texts == dict.fromkeys([*load.said, *(f"Noted: {text}" for text in load.said)], 1)


def test_while_the_keeper_is_away_readyz_says_so(tmp_path: Path, upstream: Upstream) -> None:
    """Without a keeper readyz is 503 and names it, healthz is 200, and the control plane answers 503 at once."""
    with Proxy(tmp_path, upstream.url) as proxy:
        with DataDirLock(tmp_path, Holder(os.getpid(), "a test")):
            assert "in use by a test" in proxy.log.wait_for("keeper_cannot_start")["reason"]
            ready = proxy.call("GET", "/readyz")
            assert (ready.status_code, ready.json()["checks"]["keeper"]) == (503, "not up")
            assert proxy.call("GET", "/healthz").status_code == 200
            users = proxy.call("GET", "/memory/users")
            assert (users.status_code, users.json()["error"]["code"]) == (503, "memory_proxy_keeper_unavailable")
            chat = Chat(proxy.url, USER)
            assert chat.say("I like tea.") == "Noted: I like tea."
            assert chat.headers["x-memory-status"] == "error"
        proxy.wait_ready()
        assert proxy.call("GET", "/readyz").status_code == 200
        proxy.flush()
        assert proxy.texts(USER)["I like tea."] == 1


def test_a_hanging_keeper_stops_no_chat(tmp_path: Path, upstream: Upstream) -> None:
    """A stopped keeper: known users are still recalled, unknown ones chat without memory; it is all stored later."""
    with Proxy(tmp_path, upstream.url) as proxy:
        pid = proxy.wait_ready()
        Chat(proxy.url, USER).say("My parrot is called Polly.")
        proxy.flush()
        question = "What is the name of my parrot?"
        Chat(proxy.url, USER).say(question)
        os.kill(pid, signal.SIGSTOP)
        known, stranger = Chat(proxy.url, USER), Chat(proxy.url, "bob")
        known.say(question)
        began = time.monotonic()
        stranger.say("I have a tortoise.", stream=True)
        waited = time.monotonic() - began
        os.kill(pid, signal.SIGCONT)
        proxy.flush()
        assert proxy.texts("bob")["I have a tortoise."] == 1
    assert known.headers["x-memory-status"] == "injected"
    assert stranger.headers["x-memory-status"] == "timeout"
    assert waited < 5  # the deadline is 0.15 s; the rest is what a busy machine may add


async def test_a_keeper_that_hangs_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that answers nobody for too long is killed, and another takes its place."""
    monkeypatch.setattr(supervise, "STOP_S", 0.1)
    settings = config.load(flags={"data_dir": tmp_path})
    tasks = Tasks()
    client = KeeperClient(frames.socket_path(tmp_path), tasks)
    supervisor = Supervisor(settings, KeeperLink(client, Metrics()), Metrics())
    tasks.spawn(supervisor.run(), name="supervise")
    try:
        await client.connected.wait()
        first = (await client.call(wire.Status())).pid
        os.kill(first, signal.SIGSTOP)
        monkeypatch.setattr(link, "HANGS_AFTER_S", 0.2)
        monkeypatch.setattr(link, "PING_EVERY_S", 0.01)
        await client.closed.wait()
        monkeypatch.setattr(link, "HANGS_AFTER_S", 60)  # its successor may be slow to begin with
        while (await _next_pid(client)) == first:
            pass
        with pytest.raises(ProcessLookupError):
            os.kill(first, 0)
    finally:
        await tasks.cancel()


async def _next_pid(client: KeeperClient) -> int:
    """Of a keeper that answers: one that the link does not want, or gives up, is left while it is asked."""
    while True:
        await client.connected.wait()
        with suppress(KeeperError):
            status: wire.KeeperStatus = await client.call(wire.Status())
            return status.pid


@pytest.mark.parametrize("busy", [False, True], ids=["idle", "busy"])
def test_the_keeper_goes_with_its_edge(tmp_path: Path, upstream: Upstream, busy: bool) -> None:
    """When the edge is killed the keeper ends by itself and lets go of the data directory."""
    with Proxy(tmp_path, upstream.url) as proxy:
        proxy.wait_ready()
        if busy:
            for number in range(20):
                Chat(proxy.url, USER).say(f"remark {number}")
        proxy.kill()
        proxy.log.wait_for_end()
    with DataDirLock(tmp_path, Holder(os.getpid(), "a test")):
        assert not (tmp_path / "keeper.sock").exists()


def test_a_second_server_says_who_holds_the_directory(tmp_path: Path, upstream: Upstream) -> None:
    """A second server relays, tells whose the directory is, and takes over once the first is gone; nothing is lost."""
    with ExitStack() as stack:
        first = stack.enter_context(Proxy(tmp_path, upstream.url))
        holder = first.wait_ready()
        second = stack.enter_context(Proxy(tmp_path, upstream.url))
        Chat(second.url, USER).say("Said to the second.")
        reason = second.log.wait_for("keeper_cannot_start")["reason"]
        assert reason == f"{tmp_path} is in use by memory-proxy serve (process {holder}); add --server {first.url}"
        first.flush()
        assert first.texts(USER)["Said to the second."] == 1
        assert first.stop() == 0
        second.wait_ready()
        assert second.texts(USER)["Said to the second."] == 1


def test_a_directory_with_a_long_path(tmp_path: Path, upstream: Upstream) -> None:
    """Where the path is too long for a socket, memory works all the same, and the socket is private and cleared."""
    folder = tmp_path / ("d" * 100) / ("e" * 100)
    socket = frames.socket_path(folder)
    with Proxy(folder, upstream.url) as proxy:
        proxy.wait_ready()
        Chat(proxy.url, USER).say("I collect stamps.")
        proxy.flush()
        assert proxy.texts(USER)["I collect stamps."] == 1
        assert stat.S_IMODE(socket.parent.stat().st_mode) == 0o700
        assert not socket.is_relative_to(folder)
        assert proxy.stop() == 0
    assert not socket.exists()


def test_another_folder_called_proxy_is_not_taken_for_ours(tmp_path: Path, upstream: Upstream) -> None:
    """Started in a project that has a ``proxy`` of its own, the keeper is still this package's."""
    (tmp_path / "proxy").mkdir()
    (tmp_path / "proxy" / "__init__.py").write_text("raise SystemExit('the wrong one')")
    with Proxy(tmp_path / "data", upstream.url, cwd=tmp_path) as proxy:
        proxy.wait_ready()
        assert "the wrong one" not in proxy.log.text


def test_a_keeper_that_ends_at_once_is_started_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that dies before it has read its settings does not end its supervision, with the loop that serves."""
    uvloop = pytest.importorskip("uvloop", reason="needs uvloop, which is installed everywhere but on Windows")
    start = asyncio.create_subprocess_exec
    programs = iter(["false"])

    async def start_badly_once(program: str, *arguments: str, **options: Any) -> Process:
        first = next(programs, None)
        process = await start(first or program, *arguments, **options)
        if first:
            await process.wait()
        return process

    monkeypatch.setattr(asyncio, "create_subprocess_exec", start_badly_once)
    monkeypatch.setattr(children, "start", start_anew)

    async def supervise_until_connected() -> None:
        tasks = Tasks()
        client = KeeperClient(frames.socket_path(tmp_path), tasks)
        settings = config.load(flags={"data_dir": tmp_path})
        supervisor = Supervisor(settings, KeeperLink(client, Metrics()), Metrics())
        tasks.spawn(supervisor.run(), name="supervise")
        try:
            async with asyncio.timeout(30):
                await client.connected.wait()
        finally:
            await tasks.cancel()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(supervise_until_connected())
    assert next(programs, None) is None


async def test_a_call_is_answered_even_if_nobody_foresaw_its_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bug in the keeper is logged, its caller gets an error instead of waiting, and other calls go on."""
    settings = config.load(flags={"data_dir": tmp_path, "embedding": {"provider": "none"}})
    tasks = Tasks()

    def fail(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(Catalogue, "users", fail)
    async with open_vault(settings, Holder(os.getpid(), "a test")) as vault:
        workshop = Workshop(vault, settings, tasks)
        listening = await asyncio.start_unix_server(KeeperServer(vault, workshop, tasks).serve_edge, tmp_path / "s")
        client = KeeperClient(tmp_path / "s", tasks)
        await client.connect()
        with structlog.testing.capture_logs() as logs:
            with pytest.raises(KeeperError, match="its log says how"):
                await client.call(wire.ListUsers(5, None))
            assert (await client.call(wire.Flush())) == wire.Flushed(0, 0)
        await client.aclose()
        listening.close()
        await tasks.drain()
    assert [(line["event"], line["task"]) for line in logs] == [("task_failed", "answer")]


async def test_a_user_comes_over_the_wire_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The newest first, and what changes between two parts is announced: the edge ends with what there is."""
    monkeypatch.setattr("proxy.keeper.vault.PART", 2)
    settings = config.load(flags={"data_dir": tmp_path, "embedding": {"provider": "none"}})
    tasks = Tasks()
    async with open_vault(settings, Holder(os.getpid(), "a test")) as vault:
        workshop = Workshop(vault, settings, tasks)
        listening = await asyncio.start_unix_server(KeeperServer(vault, workshop, tasks).serve_edge, tmp_path / "s")
        client = KeeperClient(tmp_path / "s", tasks)
        arrival = Arrival()
        client.on_change = lambda changed: arrival.follow(Change(changed.pack, changed.removed, changed.everything))
        await client.connect()
        await client.call(wire.Import(_conversation("one", "abcde"), 1))
        sizes = []
        async for part in client.load(Scope(USER)):
            arrival.take(part.pack, left=part.left)
            sizes.append(len(part.pack.memories))
            if len(sizes) == 1:
                (first,) = (await client.call(wire.ListMemories(Scope(USER), 9, None, True))).memories[-1:]
                await client.call(wire.Erase(Scope(USER), [first.id]))
                await client.call(wire.Import(_conversation("two", "x"), 1))
        await client.aclose()
        listening.close()
        await tasks.drain()
    assert sizes[0] == 2
    assert sorted(memory.text for memory in arrival.working_set.memories) == [*"bcde", "x"]


def _conversation(name: str, texts: str) -> bytes:
    messages = [{"role": "user", "content": text} for text in texts]
    started = "2026-01-02T00:00:00Z"
    line = {"user_id": USER, "conversation_id": name, "started_at": started, "messages": messages}
    return msgspec.json.encode(line)


@pytest.mark.parametrize(("ends", "codes"), [("fails", [1]), ("is cancelled", [])])
async def test_a_keeper_does_not_outlive_its_worker(
    monkeypatch: pytest.MonkeyPatch, ends: str, codes: list[int]
) -> None:
    """When the worker fails in a way that nobody foresaw the process ends, for the edge to start another one."""
    exits: list[int] = []
    monkeypatch.setattr(os, "_exit", exits.append)
    tasks = Tasks()

    async def work() -> None:
        if ends == "fails":
            raise ZeroDivisionError
        await asyncio.Event().wait()

    with structlog.testing.capture_logs():
        tasks.spawn(work(), name="worker").add_done_callback(end_without_worker)
        await asyncio.sleep(0)
        await tasks.cancel()
    assert exits == codes


def test_the_data_directory_is_private(tmp_path: Path, upstream: Upstream) -> None:
    """Nobody else may read anything in it, also where the directory itself was made by somebody less careful."""
    for folder in (tmp_path / "new", tmp_path / "open"):
        if folder.name == "open":
            folder.mkdir(mode=0o755)
        with Proxy(folder, upstream.url) as proxy:
            proxy.wait_ready()
            Chat(proxy.url, USER).say("My password is hunter2.")
            proxy.flush()
            found = {path.relative_to(folder): stat.S_IMODE(path.stat().st_mode) for path in folder.rglob("*")}
        assert not {str(path): oct(mode) for path, mode in found.items() if mode & 0o077}
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o700
    assert {Path("keeper.sock"), Path("keeper.lock"), Path("journal.sqlite"), Path("chroma")} <= found.keys()
