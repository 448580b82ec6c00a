"""A disk that refuses: appends raise, what they brought is held, and nothing of it is lost when the disk is back."""

import asyncio
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import cast

import pytest

from proxy.errors import JournalError
from proxy.journal import JournalReader, JournalWriter
from proxy.journal.backoff import Backoff
from proxy.journal.files import FileLock
from proxy.journal.handover import Handover
from proxy.models import Scope
from tests.test_journal import ROOT, exchange, indexes, write


class Written:
    """Waits for the commit that ends a failure."""

    def __init__(self, directory: Path, *, hold_bytes: int = 1 << 20) -> None:
        self.event = asyncio.Event()
        self.writer = JournalWriter(
            directory, on_written=self.event.set, hold_bytes=hold_bytes, busy_s=0.01, backoff=Backoff(0.01, 0.02)
        )
        self.writer.start()


class Lock:
    """Another process that keeps the database to itself."""

    def __init__(self, directory: Path) -> None:
        self._connection = sqlite3.connect(directory / "journal.sqlite", isolation_level=None)
        self._connection.execute("BEGIN IMMEDIATE")

    def release(self) -> None:
        self._connection.execute("ROLLBACK")
        self._connection.close()


async def fail_to_append(writer: JournalWriter, *indices: int, user: str = "ada") -> None:
    for index in indices:
        with pytest.raises(JournalError):
            await writer.append(exchange(index, user=user))


async def test_held_exchanges_are_written_in_order_once_the_lock_is_gone(tmp_path: Path) -> None:
    """Each append that failed is written exactly once and before those that came later."""
    await asyncio.to_thread(write, tmp_path, exchange(0))
    lock = Lock(tmp_path)
    written = Written(tmp_path)
    await fail_to_append(written.writer, 1, 2, 3)
    assert (written.writer.state.failing, written.writer.state.held) == ("database is locked", 3)

    lock.release()
    await written.event.wait()
    await written.writer.append(exchange(4))
    state = written.writer.state
    await written.writer.aclose()

    reader = JournalReader(tmp_path)
    assert indexes(reader) == [0, 1, 2, 3, 4]
    reader.close()
    assert (state.failing, state.held, state.lost) == (None, 0, 0)


async def test_what_exceeds_the_room_to_hold_is_refused_and_counted(tmp_path: Path) -> None:
    """The newest are refused, so that what is held stays in order without gaps before it."""
    await asyncio.to_thread(write, tmp_path, exchange(0))
    lock = Lock(tmp_path)
    written = Written(tmp_path, hold_bytes=500)
    await fail_to_append(written.writer, *range(1, 21))
    held = written.writer.state.held
    assert 0 < held < 20
    assert written.writer.state.lost == 20 - held

    lock.release()
    await written.event.wait()
    await written.writer.aclose()

    reader = JournalReader(tmp_path)
    assert list(range(held + 1)) == indexes(reader)
    reader.close()


async def test_closing_while_it_fails_counts_what_is_lost(tmp_path: Path) -> None:
    """A process that ends with a broken disk says how many exchanges go with it."""
    await asyncio.to_thread(write, tmp_path, exchange(0))
    lock = Lock(tmp_path)
    written = Written(tmp_path)
    await fail_to_append(written.writer, 1, 2)
    await written.writer.aclose()
    lock.release()

    assert written.writer.state.lost == 2


async def test_an_erased_user_s_held_exchanges_are_not_written(tmp_path: Path) -> None:
    """discard() reaches what only memory holds, of that user alone."""
    await asyncio.to_thread(write, tmp_path, exchange(0))
    lock = Lock(tmp_path)
    written = Written(tmp_path)
    await fail_to_append(written.writer, 1, 2, user="eve")
    await fail_to_append(written.writer, 3)

    assert await written.writer.discard(Scope("eve")) == 2
    lock.release()
    await written.event.wait()
    await written.writer.aclose()

    reader = JournalReader(tmp_path)
    assert indexes(reader) == [0, 3]
    reader.close()


async def test_start_survives_a_data_directory_that_cannot_be_made(tmp_path: Path) -> None:
    """Where a file is in the way, the writer runs, fails, and works as soon as it is gone."""
    blocked = tmp_path / "data"
    blocked.write_text("in the way")
    written = Written(blocked)
    await fail_to_append(written.writer, 0, 1)
    assert "exists" in (written.writer.state.failing or "")

    blocked.unlink()
    await written.event.wait()
    await written.writer.aclose()

    reader = JournalReader(blocked)
    assert indexes(reader) == [0, 1]
    reader.close()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
async def test_nobody_waits_for_a_writer_that_died(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever ends the thread, appends that wait for it and later ones raise, and count as lost."""
    writer = JournalWriter(tmp_path)
    writer.start()
    await writer.append(exchange(0))
    monkeypatch.setattr(writer._database, "run", lambda *_, **__: 1 / 0)
    await fail_to_append(writer, 1, 2)
    await writer.aclose()

    assert (writer.state.failing, writer.state.lost) == ("the writer thread died", 2)


class Timers:
    """Stands in for an event loop whose time the test lets pass."""

    def __init__(self) -> None:
        self.due: list[Callable[[], None]] = []
        self.delay = 0.0

    def call_later(self, delay: float, call: Callable[..., None], *args: object) -> None:
        self.delay = delay
        self.due.append(partial(call, *args))

    def elapse(self) -> None:
        due, self.due = self.due, []
        for call in due:
            call()


def test_a_busy_loop_gives_way_only_to_an_overdue_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop stands still for a moment while nothing is answered, not while answers come or nobody waits."""
    handover, timers, waits = Handover(), Timers(), list[float]()
    monkeypatch.setattr(handover._committed, "wait", waits.append)
    loop = cast("asyncio.AbstractEventLoop", timers)

    handover.begin(loop)
    handover.begin(loop)
    timers.elapse()
    assert len(waits) == 1
    handover.end()
    timers.elapse()
    assert len(waits) == 1
    timers.elapse()
    assert len(waits) == 2
    for _ in range(10):
        timers.elapse()
    assert timers.delay == 0.08  # waiting did not help, so it is done rarely
    handover.end()
    timers.elapse()
    assert (len(waits), timers.due) == (12, [])


def test_a_reader_of_a_broken_directory_raises_and_recovers(tmp_path: Path) -> None:
    """The keeper's end fails with a JournalError, and works on the next call after the cause is gone."""
    blocked = tmp_path / "data"
    blocked.write_text("in the way")
    reader = JournalReader(blocked)
    with pytest.raises(JournalError):
        reader.counts()
    blocked.unlink()
    assert reader.counts().pending == 0
    reader.close()


async def test_a_deleted_journal_is_made_anew(tmp_path: Path) -> None:
    """After somebody removed the file under a running writer, the next append goes to one that readers see."""
    writer = JournalWriter(tmp_path)
    writer.start()
    await writer.append(exchange(0))
    (tmp_path / "journal.sqlite").unlink()
    await writer.append(exchange(1))
    await writer.aclose()

    reader = JournalReader(tmp_path)
    assert indexes(reader) == [0, 1]  # the first was still in the log that was left
    reader.close()


async def test_a_directory_that_is_gone_is_made_anew(tmp_path: Path) -> None:
    """Who deletes the data directory under both ends loses what was in it, and nothing that comes later."""
    data = tmp_path / "data"
    written = Written(data)
    reader = JournalReader(data)
    await written.writer.append(exchange(0))
    assert indexes(reader) == [0]
    await asyncio.to_thread(shutil.rmtree, data)

    for index in (1, 2):
        with suppress(JournalError):  # it is held then
            await written.writer.append(exchange(index))
    await written.writer.append(exchange(3))
    assert (await asyncio.to_thread(indexes, reader))[-2:] == [2, 3]
    await written.writer.aclose()
    reader.close()
    assert written.writer.state.lost == 0


def test_two_ends_lock_the_same_file_even_if_it_was_deleted(tmp_path: Path) -> None:
    """A lock on a file that others no longer find keeps nobody out, so it is not taken for one."""
    path = tmp_path / "lock"
    first, second = FileLock(path), FileLock(path)
    with first.hold(wait_s=0):
        path.unlink()
    with (
        second.hold(exclusive=True, wait_s=0),
        pytest.raises(JournalError, match="locked"),
        first.hold(wait_s=0),
    ):
        pytest.fail("both have it")
    first.close()
    second.close()


async def test_a_journal_that_was_replaced_is_the_one_that_counts(tmp_path: Path) -> None:
    """After a backup was put in its place, both ends go on with that, and what comes later is there for both."""
    await asyncio.to_thread(write, tmp_path, exchange(0))
    backup = tmp_path / "backup"
    backup.write_bytes((tmp_path / "journal.sqlite").read_bytes())
    writer, reader = JournalWriter(tmp_path), JournalReader(tmp_path)
    writer.start()
    await writer.append(exchange(1))
    assert await asyncio.to_thread(reader.checkpoint, force=True)
    assert indexes(reader) == [0, 1]

    (tmp_path / "journal.sqlite-wal").unlink()
    (tmp_path / "journal.sqlite-shm").unlink()
    backup.replace(tmp_path / "journal.sqlite")
    await writer.append(exchange(2))
    assert await asyncio.to_thread(indexes, reader) == [0, 2]
    await writer.aclose()
    reader.close()


COMMON = """
import asyncio, concurrent.futures.thread, os, resource, sys, tempfile
from pathlib import Path
from proxy.errors import JournalError
from proxy.journal import JournalReader, JournalWriter
from proxy.journal.backoff import Backoff
from tests.test_journal import exchange, indexes

async def run(directory, break_disk, repair):
    event = asyncio.Event()
    writer = JournalWriter(directory, on_written=event.set, backoff=Backoff(0.01, 0.02))
    writer.start()
    await writer.append(exchange(0))
    break_disk()
    failed = 0
    for index in range(1, 6):
        try:
            await writer.append(exchange(index, text="x" * 100_000))
        except JournalError as exc:
            failed += 1
            print(exc)
    assert failed == 5, failed
    assert writer.state.held == 5, writer.state
    event.clear()
    repair()
    await event.wait()
    await writer.append(exchange(6))
    await writer.aclose()
    reader = JournalReader(directory)
    assert indexes(reader) == list(range(7))
    reader.close()
"""

FULL = """
def limit(size):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

asyncio.run(run(Path(sys.argv[1]), lambda: limit(60_000), lambda: limit(resource.RLIM_INFINITY)))
"""

# Root may write anywhere, so it becomes nobody. Its temporary folder is not within one that only root may enter.
READ_ONLY = """
with tempfile.TemporaryDirectory() as name:
    directory = Path(name)
    if os.geteuid() == 0:
        os.chown(directory, 65534, 65534)
        os.seteuid(65534)

    def allow(folder, file):
        directory.chmod(0o700)
        for path in directory.iterdir():
            path.chmod(file)
        directory.chmod(folder)

    def forbid():
        # A file that is open stays writable, whatever its mode: put an equal one in its place.
        other = JournalReader(directory)
        other.checkpoint(force=True)
        other.close()
        copy = directory / "copy"
        copy.write_bytes((directory / "journal.sqlite").read_bytes())
        copy.replace(directory / "journal.sqlite")
        (directory / "journal.sqlite-wal").unlink()
        (directory / "journal.sqlite-shm").unlink()
        allow(0o500, 0o400)

    asyncio.run(run(directory, forbid, lambda: allow(0o700, 0o600)))
    os.seteuid(os.getuid())
"""


@pytest.mark.parametrize("script", [FULL, READ_ONLY], ids=["full", "read-only"])
def test_a_disk_that_takes_nothing_for_a_while_loses_nothing(tmp_path: Path, script: str) -> None:
    """With no room, or no permission, appends fail and are held; all are written, in order, when that is over."""
    command = [sys.executable, "-c", COMMON + script, str(tmp_path)]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)

    assert result.returncode == 0, result.stdout + result.stderr
