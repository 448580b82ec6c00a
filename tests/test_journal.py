"""The journal as its two ends use it: appended is durable, taken is in order, settled is gone."""

import asyncio
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from proxy.errors import JournalError
from proxy.journal import JournalReader, JournalWriter
from proxy.models import Exchange, Message, Scope

ROOT = Path(__file__).parents[1]
AT = datetime(2024, 5, 1, 12, tzinfo=UTC)


def exchange(index: int, *, user: str = "ada", text: str = "I moved to Lisbon", tenant: str = "") -> Exchange:
    """The exchange number *index* of a user's only conversation."""
    messages = [Message("user", f"{text} {index}"), Message("assistant", "Noted.", created_at=AT)]
    return Exchange(user, "c1", index, messages, AT, tenant)


def write(directory: Path, *exchanges: Exchange) -> None:
    """Appends from a writer that is closed again."""

    async def run() -> None:
        writer = JournalWriter(directory)
        writer.start()
        await asyncio.gather(*(writer.append(each) for each in exchanges))
        await writer.aclose()

    asyncio.run(run())


def indexes(reader: JournalReader, *, user: str | None = None, now: float | None = None) -> list[int]:
    """Which exchanges are due, in the order in which they come."""
    entries = reader.take(10_000, now=now)
    return [entry.exchange.first_index for entry in entries if user in (None, entry.exchange.user_id)]


@pytest.fixture(name="reader")
def _reader(tmp_path: Path) -> Iterator[JournalReader]:
    reader = JournalReader(tmp_path)
    yield reader
    reader.close()


@pytest.fixture(name="writer")
async def _writer(tmp_path: Path) -> AsyncIterator[JournalWriter]:
    writer = JournalWriter(tmp_path)
    writer.start()
    yield writer
    await writer.aclose()


async def test_an_appended_exchange_comes_back_unchanged(writer: JournalWriter, reader: JournalReader) -> None:
    """Text in any script, names, times and the tenant survive the way through the file."""
    said = Exchange("zoë \u2028 $ne", "c/1", 3, [Message("user", "日本 🎈 \x00", "Zoë", AT)], AT, "acme")
    await writer.append(said)

    assert [said] == [entry.exchange for entry in await asyncio.to_thread(reader.take, 10)]


async def test_a_thousand_concurrent_appends_keep_their_order(writer: JournalWriter, reader: JournalReader) -> None:
    """Appends that wait together are committed in groups, in the order of their calls."""
    groups: list[None] = []
    writer._on_written = lambda: groups.append(None)

    await asyncio.gather(*(writer.append(exchange(index)) for index in range(1000)))

    assert list(range(1000)) == indexes(reader)
    assert 8 <= len(groups) < 100


async def test_on_written_is_called_on_the_loop_after_the_commit(tmp_path: Path, reader: JournalReader) -> None:
    """Whoever pokes the keeper from the callback knows that the row is there."""
    seen: list[list[int]] = []
    loop = asyncio.get_running_loop()

    def look() -> None:
        assert asyncio.get_running_loop() is loop
        seen.append(indexes(reader))

    writer = JournalWriter(tmp_path, on_written=look)
    writer.start()
    await writer.append(exchange(1))
    await writer.aclose()

    assert seen == [[1]]


async def test_a_cancelled_append_is_written_all_the_same(writer: JournalWriter, reader: JournalReader) -> None:
    """A client that leaves while its exchange is being journaled is remembered."""
    task = asyncio.gather(writer.append(exchange(1)))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await writer.append(exchange(2))

    assert indexes(reader) == [1, 2]


async def test_append_before_start_and_after_close_says_that_the_exchange_is_lost(tmp_path: Path) -> None:
    """A writer without a thread keeps nobody waiting, and counts what it could not take."""
    writer = JournalWriter(tmp_path)
    with pytest.raises(JournalError, match="lost"):
        await writer.append(exchange(1))
    writer.start()
    await writer.aclose()
    await writer.aclose()
    with pytest.raises(JournalError, match="lost"):
        await writer.append(exchange(2))
    assert writer.state.lost == 2


async def test_text_that_is_not_unicode_is_refused_alone(writer: JournalWriter, reader: JournalReader) -> None:
    """A lone surrogate has no UTF-8 form: its exchange is refused and counted, the next one is written."""
    with pytest.raises(JournalError, match="not Unicode"):
        await writer.append(exchange(1, text="\ud800"))
    await writer.append(exchange(2))

    assert indexes(reader) == [2]
    assert writer.state.lost == 1


def test_close_writes_what_is_still_queued(tmp_path: Path, reader: JournalReader) -> None:
    """aclose() right after the appends were called loses none of them."""

    async def run() -> None:
        writer = JournalWriter(tmp_path)
        writer.start()
        appends = asyncio.gather(*(writer.append(exchange(index)) for index in range(50)))
        await asyncio.sleep(0)
        await writer.aclose()
        await appends

    asyncio.run(run())
    assert list(range(50)) == indexes(reader)


APPEND_AND_TELL = """
import asyncio, sys
from pathlib import Path
from proxy.journal import JournalWriter
from tests.test_journal import exchange

async def main():
    writer = JournalWriter(Path(sys.argv[1]))
    writer.start()
    for index in range(100_000):
        await writer.append(exchange(index))
        print(index, flush=True)

asyncio.run(main())
"""


@pytest.mark.parametrize("after", [0, 1, 50, 500])
def test_nothing_appended_is_lost_when_the_process_is_killed(tmp_path: Path, after: int) -> None:
    """After SIGKILL every exchange whose append had returned is there, once and in order."""
    command = [sys.executable, "-c", APPEND_AND_TELL, str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        told = [next(process.stdout) for _ in range(after + 1)]
        process.kill()
        told += process.stdout.readlines()

    reader = JournalReader(tmp_path)
    found = indexes(reader)
    reader.close()
    assert list(range(len(found))) == found
    assert len(found) >= sum(line.endswith("\n") for line in told) > after


def test_counts_and_sequence_numbers_survive_an_empty_table(tmp_path: Path, reader: JournalReader) -> None:
    """A number is never given twice, so that "everything before this one" keeps its meaning."""
    assert (reader.last_seq(), reader.counts().oldest_age_s) == (0, None)
    write(tmp_path, exchange(0), exchange(1), exchange(2))
    reader.park([2], "no", "store")

    counts = reader.counts()
    assert (counts.pending, counts.failed) == (2, 1)
    assert 0 <= (counts.oldest_age_s or -1) < 60
    assert reader.unsettled(1) == 1
    reader.done([1])
    assert reader.unsettled(2) == 0
    assert reader.unsettled(3) == 1
    reader.done([3])
    assert reader.unsettled(3) == 0
    assert reader.drop_failed() == 1
    assert reader.last_seq() == 3
    write(tmp_path, exchange(3))
    assert [entry.seq for entry in reader.take(1)] == [4]


def test_a_row_with_a_wrong_checksum_is_parked(tmp_path: Path, reader: JournalReader) -> None:
    """Bytes that are not those that were written are never made a memory of; rows behind them go on."""
    write(tmp_path, exchange(0), exchange(1))
    with sqlite3.connect(tmp_path / "journal.sqlite") as connection:
        connection.execute("UPDATE entries SET payload = replace(payload, 'Lisbon', 'London') WHERE seq = 1")
    connection.close()

    assert [entry.exchange.first_index for entry in reader.take(1)] == [1]
    assert [failed.reason for failed in reader.failed(10)] == ["damaged: the checksum does not match"]


def test_a_payload_of_another_shape_is_parked(tmp_path: Path, reader: JournalReader) -> None:
    """A right checksum over something that is no exchange fails with its reason."""
    write(tmp_path, exchange(0))
    with sqlite3.connect(tmp_path / "journal.sqlite") as connection:
        connection.execute("UPDATE entries SET payload = x'93010203', crc = 609011801")
    connection.close()

    assert indexes(reader) == []
    assert "not an exchange" in reader.failed(10)[0].reason


def everything_on_disk(directory: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(directory.iterdir()))


async def test_erasing_leaves_no_trace_of_a_user(tmp_path: Path, writer: JournalWriter, reader: JournalReader) -> None:
    """Text that was done, pending or failed is in none of the files afterwards; other users' entries are untouched."""
    filler = "words " * 2000  # with overflow pages, which are freed apart from the row's own page
    for index in range(20):
        await writer.append(exchange(index, user="eve", text=f"PASSPHRASE {filler if index % 2 else ''}"))
        await writer.append(exchange(index, user="bob", text="plain"))
    reader.park([1], "no", "store")
    reader.done([3, 5])
    assert b"PASSPHRASE" in everything_on_disk(tmp_path)

    assert reader.erase(Scope("eve")) == 18

    assert b"PASSPHRASE" not in everything_on_disk(tmp_path)
    assert b"eve" not in everything_on_disk(tmp_path)
    assert list(range(20)) == indexes(reader)


async def test_the_log_is_folded_in_once_it_has_grown(
    tmp_path: Path, writer: JournalWriter, reader: JournalReader
) -> None:
    """A reader that finds a large log empties it; rows stay."""
    log = tmp_path / "journal.sqlite-wal"
    for index in range(40):
        await writer.append(exchange(index, text="x" * 50_000))
    assert log.stat().st_size > 1 << 20

    assert list(range(40)) == indexes(reader)
    assert log.stat().st_size == 0


async def test_the_log_stays_bounded_without_a_reader(tmp_path: Path, writer: JournalWriter) -> None:
    """With the keeper away for long, the writer's side folds the log in."""
    for _ in range(40):
        await asyncio.gather(*(writer.append(exchange(index, text="x" * 50_000)) for index in range(20)))
        await asyncio.to_thread(writer._checkpoints.wait)

    assert (tmp_path / "journal.sqlite-wal").stat().st_size < 8 << 20


def test_the_files_are_for_their_owner_only(tmp_path: Path) -> None:
    """What people said is readable to nobody else, whatever the umask."""
    write(tmp_path / "data", exchange(0))

    assert {0o600} == {path.stat().st_mode & 0o777 for path in (tmp_path / "data").iterdir()}
    assert (tmp_path / "data").stat().st_mode & 0o777 == 0o700


def test_a_journal_of_a_newer_version_is_left_alone(tmp_path: Path, reader: JournalReader) -> None:
    """An older program neither reads nor replaces what it does not know."""
    write(tmp_path, exchange(0))
    with sqlite3.connect(tmp_path / "journal.sqlite") as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()

    with pytest.raises(JournalError, match="newer version"):
        reader.take(1)
    assert list(tmp_path.glob("journal.corrupt-*")) == []
