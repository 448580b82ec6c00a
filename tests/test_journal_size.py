"""A journal of bounded size: beyond it appends are held, then refused, and settling makes room for them."""

import asyncio
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
import structlog

from proxy.errors import JournalError
from proxy.journal import JournalReader, JournalWriter
from proxy.journal.backoff import Backoff
from tests.test_journal import exchange, write
from tests.test_journal_damage import leave_a_log

MB = 1 << 20
TEXT = "x" * 10_000


class Room:
    """A writer whose journal may have a megabyte, and the event that something was written."""

    def __init__(self, directory: Path, *, hold_bytes: int = 64 * MB, max_bytes: int = MB) -> None:
        self.written = asyncio.Event()
        self.writer = JournalWriter(
            directory,
            on_written=self.written.set,
            hold_bytes=hold_bytes,
            max_bytes=max_bytes,
            backoff=Backoff(0.001, 0.002),
        )
        self.appended = 0

    async def append(self, text: str = TEXT) -> bool:
        """Whether the next exchange was written at once."""
        self.appended += 1
        try:
            await self.writer.append(exchange(self.appended, text=text))
        except JournalError:
            return False
        return True

    async def fill(self) -> int:
        """Appends until one is refused; answers how many were not."""
        while await self.append():
            pass
        return self.appended - 1

    async def drained(self) -> None:
        while self.writer.state.held:
            self.written.clear()
            await self.written.wait()


@asynccontextmanager
async def room(directory: Path, **options: int) -> AsyncIterator[Room]:
    made = Room(directory, **options)
    made.writer.start()
    yield made
    await made.writer.aclose()


@pytest.fixture(name="reader")
def _reader(tmp_path: Path) -> Iterator[JournalReader]:
    reader = JournalReader(tmp_path)
    yield reader
    reader.close()


def empty(reader: JournalReader) -> list[int]:
    """Settles all that is due, a few at a time; which exchanges that were."""
    found = []
    while entries := reader.take(7):
        found += [entry.exchange.first_index for entry in entries]
        reader.done([entry.seq for entry in entries])
    return found


async def test_a_full_journal_holds_what_comes_and_takes_it_when_it_drains(
    tmp_path: Path, reader: JournalReader
) -> None:
    """The file never exceeds its size, and everything goes through it, once and in order."""
    async with room(tmp_path) as full:
        fitted = await full.fill()
        for _ in range(200):
            assert not await full.append()
        state = full.writer.state
        assert (state.failing, state.held, state.lost) == ("the journal has reached its largest size", 201, 0)

        found: list[int] = []
        while full.writer.state.held:
            full.written.clear()
            found += await asyncio.to_thread(empty, reader)
            await full.written.wait()
        assert await full.append()
        found += await asyncio.to_thread(empty, reader)
        state = full.writer.state

    assert fitted > 50
    assert found == list(range(1, full.appended + 1))
    assert (state.failing, state.held, state.lost) == (None, 0, 0)
    assert (tmp_path / "journal.sqlite").stat().st_size <= MB


async def test_the_keeper_can_do_everything_with_a_full_journal(tmp_path: Path, reader: JournalReader) -> None:
    """Settling in each way, and counting, needs no room that the writer could have taken."""
    async with room(tmp_path) as full:
        fitted = await full.fill()

        def settle() -> None:
            seqs = [entry.seq for entry in reader.take(1000)]
            assert len(seqs) == fitted  # the last one is held
            reader.postpone(seqs, "store is away" * 20, 0)
            reader.advance(seqs[::2], 0)
            reader.park(seqs[1::2], "refused" * 20, "store")
            assert reader.release("store") == len(seqs[1::2])
            assert reader.checkpoint(force=True)
            reader.done(seqs)

        await asyncio.to_thread(settle)
        await full.drained()
        assert await full.append()


async def test_room_for_one_is_used_for_one(tmp_path: Path, reader: JournalReader) -> None:
    """Many that wait together do not wait until there is room for all of them together."""
    async with room(tmp_path) as full:
        await full.fill()
        await asyncio.gather(*(full.append() for _ in range(100)))
        held = full.writer.state.held
        full.written.clear()
        await asyncio.to_thread(lambda: reader.done([entry.seq for entry in reader.take(4)]))
        await full.written.wait()

        assert 0 < full.writer.state.held < held


async def test_what_cannot_even_be_held_is_lost_aloud(tmp_path: Path) -> None:
    """Refused, counted and logged, at a rate that a full disk's log can bear; the error says so."""
    async with room(tmp_path, hold_bytes=3 * len(TEXT)) as full:
        with structlog.testing.capture_logs() as logs:
            await full.fill()
            for _ in range(20):
                await full.append()
            with pytest.raises(JournalError, match="lost: too much waits to be written, the journal has reached"):
                await full.writer.append(exchange(0, text=TEXT))
        state = full.writer.state

    assert state.held + state.lost == 22
    assert [log["count"] for log in logs if log["event"] == "journal.lost"] == [1, 2, 4, 8, 16]


async def test_what_no_journal_has_room_for_holds_nothing_up(tmp_path: Path) -> None:
    """An exchange larger than half of the journal is lost at once; those behind it are written."""
    async with room(tmp_path) as small:
        with pytest.raises(JournalError, match="lost: larger"):
            await small.writer.append(exchange(0, text="x" * MB))
        assert await small.append()
        assert small.writer.state.lost == 1


async def test_a_limit_below_what_is_there_stops_appends_only(tmp_path: Path, reader: JournalReader) -> None:
    """Who lowers the limit loses nothing: the journal has to drain first."""
    await asyncio.to_thread(write, tmp_path, *(exchange(index, text="x" * 50_000) for index in range(60)))
    assert (tmp_path / "journal.sqlite").stat().st_size > 2 * MB

    async with room(tmp_path) as lowered:
        assert not await lowered.append()
        found = await asyncio.to_thread(empty, reader)
        await lowered.drained()
    assert found + empty(reader) == [*range(60), 1]


@pytest.fixture(name="small_disk")
def _small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of three megabytes."""
    directory = tmp_path / "disk"
    directory.mkdir()
    mount, umount = shutil.which("mount"), shutil.which("umount")
    command = [mount or "mount", "-t", "tmpfs", "-o", "size=3m,mode=0700", "tmpfs", str(directory)]
    if (
        mount is None
        or umount is None
        or os.geteuid()
        or subprocess.run(command, capture_output=True, check=False).returncode
    ):
        pytest.skip("only root may mount a file system, and not everywhere")
    yield directory
    subprocess.run([umount, "--lazy", str(directory)], check=True)


def fill_up(directory: Path) -> None:
    """Leaves no byte on the disk."""
    with (directory / "filler").open("wb", buffering=0) as filler, suppress(OSError):
        while True:
            filler.write(bytes(4096))


async def test_a_full_disk_can_be_read_and_drained(small_disk: Path) -> None:
    """With no byte left, deletions find the room that they need in the log by emptying it."""
    async with room(small_disk, max_bytes=1 << 30) as full:
        reader = JournalReader(small_disk)
        for _ in range(50):
            assert await full.append()
        await asyncio.to_thread(reader.checkpoint, force=True)
        await asyncio.to_thread(reader.done, range(1, 26))
        await asyncio.to_thread(fill_up, small_disk)
        assert not await full.append()
        assert full.writer.state.failing == "the disk is full"

        found = await asyncio.to_thread(empty, reader)
        (small_disk / "filler").unlink()
        await full.drained()
        assert found + await asyncio.to_thread(empty, reader) == list(range(26, 52))
        reader.close()


def test_a_journal_on_a_full_disk_can_be_opened_and_read(small_disk: Path) -> None:
    """Where the log cannot even be folded in, what waits is seen all the same."""
    leave_a_log(small_disk, 50)
    fill_up(small_disk)

    reader = JournalReader(small_disk)
    assert reader.counts().pending == 50
    with pytest.raises(JournalError, match="the disk is full"):
        reader.take(1)
    (small_disk / "filler").unlink()
    assert empty(reader) == list(range(50))
    reader.close()
