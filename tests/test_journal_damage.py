"""A damaged database: every row outside the damage is in the new one, and no process writes into the old."""

import asyncio
import os
import random
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from proxy.errors import JournalError
from proxy.journal import JournalReader, JournalWriter
from proxy.journal.files import JournalFiles
from proxy.journal.salvage import scan
from proxy.models import Scope
from tests.test_journal import ROOT, exchange, indexes, write

PAGE = 4096
ROWS = 300
GARBAGE = random.Random(7).randbytes(PAGE)

# In another process: opening and closing a database's file drops the locks that SQLite holds on it in this one.
OVERWRITE = """
import sys
with open(sys.argv[1], "r+b") as file:
    file.seek(int(sys.argv[2]))
    file.write(bytes.fromhex(sys.stdin.read()))
"""


def overwrite(path: Path, offset: int, data: bytes) -> None:
    command = [sys.executable, "-c", OVERWRITE, str(path), str(offset)]
    subprocess.run(command, input=data.hex(), text=True, check=True)


def fill(directory: Path, *, text: str = "x" * 1500) -> Path:
    """A journal of three hundred rows, two of them on a page, all in the database file."""
    write(directory, *(exchange(index, text=text) for index in range(ROWS)))
    assert not (directory / "journal.sqlite-wal").exists()
    return directory / "journal.sqlite"


def pages(path: Path) -> int:
    return path.stat().st_size // PAGE


# Page 1 has the schema, 2 the root of the tree, 3 the counter of sequence numbers, 4 the root of the index.
@pytest.mark.parametrize("data", [GARBAGE, bytes(PAGE)], ids=["garbage", "zeros"])
@pytest.mark.parametrize("page", [1, 2, 3, 4, 5, 70, -2, -1])
def test_one_bad_page_costs_only_its_own_rows(tmp_path: Path, page: int, data: bytes) -> None:
    """Rows before and after an overwritten page are taken, in order; the damaged file is kept aside."""
    path = fill(tmp_path)
    number = page if page > 0 else pages(path) + 1 + page
    overwrite(path, (number - 1) * PAGE, data)

    reader = JournalReader(tmp_path)
    found = indexes(reader)
    last = reader.last_seq()
    reader.close()

    assert sorted(found) == found
    lost = sorted(set(range(ROWS)) - set(found))
    assert lost in ([], [*range(lost[0], lost[0] + len(lost))] if lost else [])
    assert len(lost) <= 2
    assert last >= ROWS - 2
    assert len(list(tmp_path.glob("journal.corrupt-*Z.sqlite"))) == 1


def test_a_row_that_an_index_has_lost_is_found(tmp_path: Path) -> None:
    """A page as it was before the last append is no garbage, but would hide that append for good."""
    path = tmp_path / "journal.sqlite"
    write(tmp_path, exchange(0))
    connection = sqlite3.connect(path)
    (root,) = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'queue'").fetchone()
    connection.close()
    before = path.read_bytes()[(root - 1) * PAGE : root * PAGE]
    write(tmp_path, exchange(1))
    overwrite(path, (root - 1) * PAGE, before)

    reader = JournalReader(tmp_path)
    assert indexes(reader) == [0, 1]
    reader.close()


def test_appends_go_on_after_the_damage_and_numbers_are_not_used_again(tmp_path: Path) -> None:
    """The rebuilt journal takes new rows behind the old ones, also when the last of those were gone already."""
    path = fill(tmp_path)
    reader = JournalReader(tmp_path)
    reader.done(range(ROWS - 10, ROWS + 1))
    reader.close()
    overwrite(path, PAGE, GARBAGE)

    write(tmp_path, exchange(1000))

    reader = JournalReader(tmp_path)
    assert reader.last_seq() == ROWS + 1
    assert [*range(ROWS - 11), 1000] == indexes(reader)
    reader.close()


def test_failed_entries_stay_failed(tmp_path: Path) -> None:
    """What was given up is not tried again because a page broke, and keeps its reason."""
    path = fill(tmp_path)
    reader = JournalReader(tmp_path)
    reader.park([7], "the model refuses", "store")
    reader.close()
    overwrite(path, 0, GARBAGE)

    reader = JournalReader(tmp_path)
    (failed,) = reader.failed(10)
    assert (failed.seq, failed.stage, failed.reason, failed.kind) == (7, "store", "the model refuses", "store")
    assert reader.counts().pending == ROWS - 1
    reader.close()


def test_long_rows_are_put_together_from_their_overflow_pages(tmp_path: Path) -> None:
    """A row of twenty pages is salvaged whole, with every character."""
    text = "".join(chr(0x4E00 + index % 5000) for index in range(27_000))
    write(tmp_path, exchange(0, text=text), exchange(1))
    overwrite(tmp_path / "journal.sqlite", 0, GARBAGE)

    reader = JournalReader(tmp_path)
    assert [exchange(0, text=text), exchange(1)] == [entry.exchange for entry in reader.take(10)]
    reader.close()


def shorten(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2 + 100)


def empty(path: Path) -> None:
    os.truncate(path, 0)


def replace_by_text(path: Path) -> None:
    path.write_text("This was a journal.\n" * 1000)


def replace_by_another_database(path: Path) -> None:
    path.unlink()
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE entries (something TEXT)")
    connection.close()


@pytest.mark.parametrize("ruin", [shorten, empty, replace_by_text, replace_by_another_database])
def test_a_file_that_is_no_journal_any_more_is_replaced(tmp_path: Path, ruin: object) -> None:
    """Cut short, emptied or exchanged: what can be read is kept, and the journal works again."""
    path = fill(tmp_path)
    assert callable(ruin)
    ruin(path)

    write(tmp_path, exchange(1000))

    reader = JournalReader(tmp_path)
    found = indexes(reader)
    reader.close()
    assert found[-1] == 1000
    assert found[:-1] == list(range(len(found) - 1))
    assert len(found) > ROWS // 3 if ruin is shorten else found == [1000]


async def test_rows_that_are_only_in_the_log_are_salvaged(tmp_path: Path) -> None:
    """Damage while both ends are open loses nothing that was appended since the last checkpoint."""
    writer = JournalWriter(tmp_path)
    writer.start()
    for index in range(50):
        await writer.append(exchange(index))
    await asyncio.to_thread(overwrite, tmp_path / "journal.sqlite", 0, GARBAGE)

    reader = JournalReader(tmp_path)
    assert list(range(50)) == indexes(reader)
    await writer.append(exchange(50))
    assert list(range(51)) == indexes(reader)
    await writer.aclose()
    reader.close()


@pytest.mark.parametrize(("offset", "size"), [(0, 32), (5000, 64), (400_000, 64), (400_000, 3 * PAGE)])
def test_committed_rows_behind_a_damaged_part_of_the_log_are_kept(tmp_path: Path, offset: int, size: int) -> None:
    """SQLite would silently end the log at the damage; what was committed behind it is salvaged."""
    log = leave_a_log(tmp_path, 100)
    assert log.stat().st_size > 500_000
    overwrite(log, offset, (GARBAGE * 3)[:size])

    reader = JournalReader(tmp_path)
    found = indexes(reader)
    reader.close()
    assert len(found) >= 97
    assert {0, 1, 98, 99} <= set(found)


def test_a_commit_cut_short_by_a_kill_is_no_damage(tmp_path: Path) -> None:
    """The last commit of a process that died while writing it is left out, and nothing is rebuilt."""
    log = leave_a_log(tmp_path, 10)
    overwrite(log, log.stat().st_size - 100, bytes(50))

    reader = JournalReader(tmp_path)
    assert indexes(reader) == list(range(9))
    reader.close()
    assert list(tmp_path.glob("journal.corrupt-*")) == []


def leave_a_log(directory: Path, rows: int) -> Path:
    """What a process leaves that was killed after its appends: everything is in the log."""
    script = (
        "import asyncio, os, sys\n"
        "from pathlib import Path\n"
        "from proxy.journal import JournalWriter\n"
        "from tests.test_journal import exchange\n"
        "async def main():\n"
        "    writer = JournalWriter(Path(sys.argv[1]))\n"
        "    writer.start()\n"
        "    for index in range(int(sys.argv[2])):\n"
        "        await writer.append(exchange(index, text='x' * 1500))\n"
        "    os.kill(os.getpid(), 9)\n"
        "asyncio.run(main())\n"
    )
    subprocess.run([sys.executable, "-c", script, str(directory), str(rows)], cwd=ROOT, check=False)
    return directory / "journal.sqlite-wal"


OTHER_END = """
import asyncio, sys
from pathlib import Path
from proxy.journal import JournalWriter
from tests.test_journal import exchange

async def main():
    writer = JournalWriter(Path(sys.argv[1]))
    writer.start()
    for line in sys.stdin:
        await writer.append(exchange(int(line)))
        print("written", flush=True)
    await writer.aclose()

asyncio.run(main())
"""


def test_another_process_notices_the_swap(tmp_path: Path) -> None:
    """A writer that had the damaged file open appends to the new one; its end takes the new one's log with it not."""
    command = [sys.executable, "-c", OTHER_END, str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdin is not None
        assert other.stdout is not None

        def append(index: int) -> None:
            assert other.stdin is not None
            assert other.stdout is not None
            other.stdin.write(f"{index}\n")
            other.stdin.flush()
            assert other.stdout.readline() == "written\n"

        for index in range(5):
            append(index)
        overwrite(tmp_path / "journal.sqlite", 0, GARBAGE)
        reader = JournalReader(tmp_path)
        assert list(range(5)) == indexes(reader)
        append(5)
        append(6)
        assert list(range(7)) == indexes(reader)
        other.stdin.close()
        assert other.wait() == 0
        assert list(range(7)) == indexes(reader)
        reader.close()

    reader = JournalReader(tmp_path)
    assert list(range(7)) == indexes(reader)
    reader.close()


@pytest.mark.parametrize("step", ["database moved", "log moved"])
def test_a_swap_that_was_cut_short_is_carried_through(tmp_path: Path, step: str) -> None:
    """Killed between two renames, the next to come finishes with all rows, and the old log meets no new database."""
    leave_a_log(tmp_path, 20)
    files = JournalFiles(tmp_path)
    with sqlite3.connect(files.database) as source, sqlite3.connect(files.ready) as target:
        source.backup(target)
    target.close()
    overwrite(files.database, 0, GARBAGE)
    files.database.rename(tmp_path / "journal.corrupt-20240501T120000.000000Z.sqlite")
    if step == "log moved":
        files.wal.rename(tmp_path / "journal.corrupt-20240501T120000.000000Z.sqlite-wal")

    reader = JournalReader(tmp_path)
    assert list(range(20)) == indexes(reader)
    reader.close()
    assert not files.ready.exists()
    source.close()


def test_only_a_few_damaged_databases_are_kept_and_erasing_deletes_them(tmp_path: Path) -> None:
    """They hold everybody's text: bounded in number, and gone with the first user who wants to be forgotten."""
    for _ in range(5):
        write(tmp_path, exchange(0))
        overwrite(tmp_path / "journal.sqlite", 0, GARBAGE)
    reader = JournalReader(tmp_path)
    assert reader.counts().pending == 5
    assert len(list(tmp_path.glob("journal.corrupt-*.sqlite"))) == 3
    (tmp_path / "journal.building.sqlite").touch()
    (tmp_path / "journal.ready.sqlite").touch()

    reader.erase(Scope("somebody"))
    reader.close()
    assert {path.name for path in tmp_path.iterdir()} == {"journal.sqlite", "journal.lock"}


def test_a_reader_waits_no_longer_than_it_should_for_a_recovery(tmp_path: Path) -> None:
    """Where another process is replacing the file, a call fails rather than hangs."""
    write(tmp_path, exchange(0))
    reader = JournalReader(tmp_path, busy_s=0.01)
    holder = (
        "import fcntl, sys\nfile = open(sys.argv[1])\nfcntl.flock(file, fcntl.LOCK_EX)\n"
        "print('held', flush=True)\nsys.stdin.read()\n"
    )
    command = [sys.executable, "-c", holder, str(tmp_path / "journal.lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdin is not None
        other.stdout.readline()
        with pytest.raises(JournalError, match="locked"):
            reader.take(1)
        other.stdin.close()
    assert indexes(reader) == [0]
    reader.close()


def test_opening_during_another_s_checkpoint_is_no_damage(tmp_path: Path) -> None:
    """Who cannot learn how far SQLite read the log draws no conclusion from that."""
    leave_a_log(tmp_path, 5)
    first = JournalReader(tmp_path)
    assert indexes(first) == list(range(5))
    # Byte 121 of the index file is the lock of whoever checkpoints.
    holder = (
        "import fcntl, sys\nfile = open(sys.argv[1], 'r+b')\nfcntl.lockf(file, fcntl.LOCK_EX, 1, 121)\n"
        "print('held', flush=True)\nsys.stdin.read()\n"
    )
    command = [sys.executable, "-c", holder, str(tmp_path / "journal.sqlite-shm")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        other.stdout.readline()
        second = JournalReader(tmp_path)
        assert indexes(second) == list(range(5))
        other.communicate()
    second.close()
    first.close()
    assert list(tmp_path.glob("journal.corrupt-*")) == []


@pytest.mark.parametrize("seed", range(20))
def test_scanning_garbage_ends_without_an_error(tmp_path: Path, seed: int) -> None:
    """Whatever the bytes of a file and its log, a scan finds what it finds and nothing escapes it."""
    noise = random.Random(seed)
    path = fill(tmp_path)
    data = bytearray(path.read_bytes())
    for _ in range(2000):
        data[noise.randrange(len(data))] = noise.randrange(256)
    path.write_bytes(data)
    log = tmp_path / "noise"
    log.write_bytes(b"\x37\x7f\x06\x82" + noise.randbytes(PAGE * 3))

    assert len([row for row in scan(path, log) if row is not None]) > 0


LOOK_WHILE_IT_IS_CUT = """
import subprocess, sys
from pathlib import Path
from proxy.journal.frames import commits

CUT = '''
import os, sys
parent = os.getppid()
data = open(sys.argv[1], "rb").read()
print("ready", flush=True)
with open(sys.argv[1], "r+b") as file:
    while os.getppid() == parent:
        file.truncate(0)
        file.seek(0)
        file.write(data)
'''
log = Path(sys.argv[1])
assert len(commits(log)[1]) > 50
cutting = subprocess.Popen([sys.executable, "-c", CUT, str(log)], stdout=subprocess.PIPE)
cutting.stdout.readline()
for _ in range(1000):
    commits(log)
cutting.kill()
cutting.communicate()
"""


def test_a_log_may_be_emptied_while_another_looks_at_it(tmp_path: Path) -> None:
    """A process that opens the journal during another one's checkpoint is not killed for what is no longer there."""
    log = leave_a_log(tmp_path, 100)
    done = subprocess.run([sys.executable, "-c", LOOK_WHILE_IT_IS_CUT, str(log)], cwd=ROOT, check=False)

    assert done.returncode == 0
