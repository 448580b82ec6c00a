"""A power cut: what was confirmed is there once, whatever part of the last writes reached the disk."""

import os
import random
import shutil
import sqlite3
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from proxy.journal import JournalReader
from proxy.journal.frames import commits, count_sound
from tests.test_journal import ROOT, exchange, write

PAGE, HEADER, FRAME_HEADER = 4096, 32, 24
FRAME = PAGE + FRAME_HEADER

# Appends alone and in groups, long ones and short ones, in between what the keeper does; tells after each confirmed
# append which one it was and how long the log was then, and ends by SIGKILL, as a power cut would.
SCRIPT = """
import asyncio, os, sqlite3, sys
from pathlib import Path
from proxy.journal import JournalReader, JournalWriter
from tests.test_journal import exchange

async def main():
    directory = Path(sys.argv[1])
    settling, moving = sys.argv[2] == "settling", sys.argv[3] == "checkpoint"
    log = directory / "journal.sqlite-wal"
    writer = JournalWriter(directory)
    writer.start()
    reader = JournalReader(directory)
    reader.take(1)
    reader._fold = lambda threshold: None  # one round of the log for the whole of it
    index = 0
    for step in range(24):
        group = range(index, index + (1 if step % 4 else 6))
        index = group.stop
        await asyncio.gather(*(writer.append(exchange(each, text="x" * (each * 977 % 9000))) for each in group))
        print(index, log.stat().st_size, flush=True)
        if settling and step % 3 == 2:
            entries = reader.take(4)
            reader.done([entry.seq for entry in entries[:2]])
            reader.postpone([entry.seq for entry in entries[2:]], "store is away", 0)
        if moving and step == 12:
            (directory / "old").write_bytes((directory / "journal.sqlite").read_bytes())
            looking = sqlite3.connect(directory / "journal.sqlite", isolation_level=None)
            looking.execute("BEGIN")
            looking.execute("SELECT count(*) FROM entries").fetchone()  # keeps the log from being begun anew
            assert reader._database.checkpoint() is False
    os.kill(os.getpid(), 9)

asyncio.run(main())
"""


class Crash:
    """A directory as a power cut found it, and how many appends were confirmed when the log was how long."""

    def __init__(self, directory: Path, *options: str) -> None:
        self.directory = directory
        command = [sys.executable, "-c", SCRIPT, str(directory), *options]
        told = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False).stdout
        self.confirmed = [(int(size), int(count)) for count, size in (line.split() for line in told.splitlines())]
        self.log = directory / "journal.sqlite-wal"
        assert len(self.confirmed) == 24

    def at(self, size: int) -> int:
        """How many exchanges were confirmed with this much of the log on disk."""
        return max((count for length, count in self.confirmed if length <= size), default=0)

    def copy(self, target: Path) -> Path:
        """A copy to be cut; answers its log."""
        target.mkdir()
        for name in ("journal.sqlite", "journal.sqlite-wal"):
            shutil.copy(self.directory / name, target / name)
        return target / "journal.sqlite-wal"


@pytest.fixture(name="appended", scope="module")
def _appended(tmp_path_factory: pytest.TempPathFactory) -> Crash:
    return Crash(tmp_path_factory.mktemp("appended"), "appending", "")


@pytest.fixture(name="settled", scope="module")
def _settled(tmp_path_factory: pytest.TempPathFactory) -> Crash:
    return Crash(tmp_path_factory.mktemp("settled"), "settling", "")


def found_in(directory: Path) -> list[int]:
    """What there is, after checking that it is whole, in order, in the journal once, and that the journal goes on."""
    write(directory, exchange(1000, text="after"))
    reader = JournalReader(directory)
    entries = reader.take(10_000)
    assert reader.failed(10) == []
    reader.close()
    indexes = [entry.exchange.first_index for entry in entries]
    assert indexes[-1] == 1000
    assert indexes == sorted(set(indexes))
    for entry in entries[:-1]:
        index = entry.exchange.first_index
        assert entry.exchange == exchange(index, text="x" * (index * 977 % 9000))
    return indexes[:-1]


def settled_before(size: int, crash: Crash) -> int:
    """How many of the first exchanges may have been stored, and so be gone, with this much of the log on disk."""
    steps = sum(length <= size for length, _ in crash.confirmed)
    return 2 * (steps // 3)


def test_a_log_cut_at_any_frame_has_all_that_was_confirmed_before(appended: Crash, tmp_path: Path) -> None:
    """Exactly the transactions that were whole, and none half, at each of the places where the log may end."""
    size = appended.log.stat().st_size
    for number, cut in enumerate(range(HEADER, size + 1, FRAME)):
        log = appended.copy(tmp_path / str(number))
        os.truncate(log, cut)
        found = found_in(log.parent)
        assert found == list(range(len(found)))
        assert len(found) >= appended.at(cut)
        shutil.rmtree(log.parent)


@pytest.mark.parametrize("seed", range(20))
def test_a_log_cut_anywhere_has_all_that_was_confirmed_before(
    appended: Crash, settled: Crash, tmp_path: Path, seed: int
) -> None:
    """Within a frame, or within the header; with what the keeper did in between, too."""
    for name, crash in (("appended", appended), ("settled", settled)):
        log = crash.copy(tmp_path / name)
        cut = random.Random(seed).randrange(0, log.stat().st_size)
        os.truncate(log, cut)
        expected = range(settled_before(cut, crash), crash.at(cut))
        assert set(expected) <= set(found_in(log.parent))


@pytest.mark.parametrize("tail", ["zeros", "noise", "earlier"])
@pytest.mark.parametrize("seed", range(8))
def test_a_tail_that_never_reached_the_disk_costs_nothing_before_it(
    settled: Crash, tmp_path: Path, seed: int, tail: str
) -> None:
    """Where the file was long enough already, its end holds zeros, anything, or an earlier round of the log."""
    chance = random.Random(seed)
    log = settled.copy(tmp_path / "cut")
    data = bytearray(log.read_bytes())
    cut = chance.randrange(HEADER, len(data))
    end = {"zeros": bytes(len(data)), "noise": chance.randbytes(len(data)), "earlier": bytes(data[::-1])}[tail]
    data[cut:] = end[cut:]
    log.write_bytes(data)

    assert set(range(settled_before(cut, settled), settled.at(cut))) <= set(found_in(log.parent))


@pytest.mark.parametrize("seed", range(30))
def test_a_disk_that_writes_out_of_order_hides_nothing_that_was_safe(settled: Crash, tmp_path: Path, seed: int) -> None:
    """Of what was written after the last wait for the disk, any sectors may be there and any may not.

    Frames behind a torn one may be whole: pages from which rows were moved to others that are torn, for example.
    """
    chance = random.Random(seed)
    log = settled.copy(tmp_path / "cut")
    data = bytearray(log.read_bytes())
    cut = HEADER + chance.randrange(len(data) // FRAME) * FRAME
    for sector in range(cut, len(data), 512):
        if chance.random() < 0.3:
            data[sector : sector + 512] = bytes(len(data[sector : sector + 512]))
    log.write_bytes(data)

    assert set(range(settled_before(cut, settled), settled.at(cut))) <= set(found_in(log.parent))


def test_an_older_database_with_a_newer_log_is_made_good_from_the_log(tmp_path: Path) -> None:
    """Pages that a checkpoint had moved, and that never reached the disk, are in the log still."""
    crash = Crash(tmp_path / "crash", "appending", "checkpoint")
    log = crash.copy(tmp_path / "cut")
    shutil.copy(crash.directory / "old", log.parent / "journal.sqlite")

    assert found_in(log.parent) == list(range(crash.confirmed[-1][1]))


@pytest.mark.parametrize("seed", range(8))
def test_a_checkpoint_that_was_cut_short_is_made_good_from_the_log(appended: Crash, tmp_path: Path, seed: int) -> None:
    """Some of its pages are in the database, some are not, one is torn: the log, which it began from, has them all."""
    chance = random.Random(seed)
    whole = appended.copy(tmp_path / "whole").parent
    with sqlite3.connect(whole / "journal.sqlite") as connection:
        connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        moved = (whole / "journal.sqlite").read_bytes()
    connection.close()
    log = appended.copy(tmp_path / "cut")
    database = log.with_name("journal.sqlite")
    data = bytearray(database.read_bytes().ljust(len(moved), b"\0"))
    for sector in range(0, len(moved), 512):
        if chance.random() < 0.5:
            data[sector : sector + 512] = moved[sector : sector + 512]
    database.write_bytes(data)

    assert found_in(log.parent) == list(range(appended.confirmed[-1][1]))


def test_a_database_from_before_the_log_s_time_is_opened_all_the_same(settled: Crash, tmp_path: Path) -> None:
    """Restored from some backup, the file does not fit its log: what is whole is there once, and it goes on."""
    write(tmp_path / "old", *(exchange(index, text="x" * (index * 977 % 9000)) for index in range(12)))
    log = settled.copy(tmp_path / "cut")
    shutil.copy(tmp_path / "old" / "journal.sqlite", log.parent / "journal.sqlite")

    assert len(found_in(log.parent)) > 20


def test_the_log_is_read_just_as_far_as_sqlite_reads_it(settled: Crash, tmp_path: Path) -> None:
    """The checksums of frames, computed anew, end where SQLite's end, in logs of either byte order."""
    chance = random.Random(5)
    whole = settled.log.read_bytes()
    assert count_sound(whole) == commits(settled.log)[1][-1]
    for number in range(20):
        log = settled.copy(tmp_path / str(number))
        data = bytearray(whole)
        data[chance.randrange(len(data))] ^= 0x40
        log.write_bytes(data)
        connection = sqlite3.connect(log.with_name("journal.sqlite"))
        connection.execute("SELECT count(*) FROM entries").fetchall()
        _, frames, _ = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        assert count_sound(bytes(data)) == max(frames, 0)
        connection.close()


def test_a_log_of_the_other_byte_order_is_read_as_well() -> None:
    """A file that was brought from another machine."""
    page = bytes(range(256)) * 16
    sums = [0, 0]

    def add(data: bytes) -> bytes:
        for first, second in struct.iter_unpack(">II", data):
            sums[0] = (sums[0] + first + sums[1]) % 2**32
            sums[1] = (sums[1] + second + sums[0]) % 2**32
        return struct.pack(">II", *sums)

    header = struct.pack(">IIIIII", 0x377F0683, 3007000, PAGE, 0, 7, 9)
    log = header + add(header)
    for number in (1, 2):
        frame = struct.pack(">II", number, number)
        add(frame)
        log += frame + struct.pack(">II", 7, 9) + add(page) + page
    assert count_sound(log) == 2
    assert count_sound(log[:-1]) == 1
