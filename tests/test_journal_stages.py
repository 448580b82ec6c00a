"""What the keeper does with entries in a file, beyond what both journals have in common."""

import random
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from proxy.errors import JournalError
from proxy.journal import Entry, JournalReader, Seq
from proxy.journal.backoff import Backoff, delay
from proxy.models import Exchange, Message, Scope
from tests.test_journal import everything_on_disk, exchange, indexes, write

SOON = 60.0


def later(seconds: float) -> float:
    return time.time() + seconds


def seqs(entries: list[Entry]) -> list[Seq]:
    return [entry.seq for entry in entries]


@pytest.fixture(name="reader")
def _reader(tmp_path: Path) -> Iterator[JournalReader]:
    """A journal with entries 1, 3, 5 of ada and 2, 4, 6 of bob."""
    write(tmp_path, *(exchange(index, user=user) for index in range(3) for user in ("ada", "bob")))
    reader = JournalReader(tmp_path)
    yield reader
    reader.close()


def test_nothing_is_written_when_nothing_is_due(reader: JournalReader, tmp_path: Path) -> None:
    """A keeper that has nothing to do leaves the disk, and the lock that appends need, alone."""
    reader.postpone([1, 2], "store is away", SOON)
    assert reader.take(10) == []
    assert reader.take_user(10) == []
    before = everything_on_disk(tmp_path)
    holder = sqlite3.connect(tmp_path / "journal.sqlite", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")

    assert reader.take(10) == []
    assert reader.take_user(10) == []
    holder.execute("ROLLBACK")
    holder.close()
    assert before == everything_on_disk(tmp_path)


@pytest.mark.parametrize("settle", [JournalReader.done, lambda reader, which: reader.advance(which, 0)])
def test_several_are_settled_all_or_none(reader: JournalReader, tmp_path: Path, settle: object) -> None:
    """A failure in the middle of a batch leaves all of it as it was."""
    connection = sqlite3.connect(tmp_path / "journal.sqlite")
    for event in ("DELETE", "UPDATE"):
        connection.execute(
            f"CREATE TRIGGER refuse_{event} BEFORE {event} ON entries WHEN old.seq = 4 "
            "BEGIN SELECT RAISE(ABORT, 'refused'); END"
        )
    connection.close()

    assert callable(settle)
    with pytest.raises(JournalError, match="refused"):
        settle(reader, [1, 2, 3, 4, 5])
    assert seqs(reader.take(10)) == [1, 2, 3, 4, 5, 6]


def without_the_passphrase(said: Exchange) -> Exchange | None:
    """What is left of an exchange when nobody may know the passphrase any more."""
    kept = [message for message in said.messages if "PASSPHRASE" not in message.text]
    if len(kept) == len(said.messages):
        return said
    return msgspec.structs.replace(said, messages=kept) if kept else None


def tell(index: int, *texts: str) -> Exchange:
    return msgspec.structs.replace(exchange(index, user="eve"), messages=[Message("user", text) for text in texts])


def test_forgetting_changes_only_what_holds_it(tmp_path: Path) -> None:
    """Whole exchanges go, others lose a message, at every stage; numbers and attempts stay; no byte of it is left."""
    secret = "PASSPHRASE " * 900
    exchanges = [
        tell(0, "plain"),
        tell(1, secret),
        tell(2, "before", secret),
        tell(3, secret, "after"),
        tell(4, secret),
    ]
    write(tmp_path, exchange(9, user="bob", text="PASSWORD"), *exchanges)
    reader = JournalReader(tmp_path)
    reader.postpone([2, 4], "store is away", 0)
    reader.advance([5], 0)
    reader.park([6], "refused", "store")

    assert reader.forget(Scope("eve"), without_the_passphrase) == 4

    assert b"PASSPHRASE" not in everything_on_disk(tmp_path)
    assert [(entry.seq, entry.attempts, entry.exchange) for entry in reader.take(10)[1:]] == [
        (2, 1, tell(0, "plain")),
        (4, 1, tell(2, "before")),
    ]
    assert [entry.exchange for entry in reader.take_user(10)] == [tell(3, "after")]
    assert reader.failed(10) == []
    assert reader.forget(Scope("eve"), without_the_passphrase) == 0
    reader.close()


def test_an_erasure_that_was_cut_short_is_finished_by_the_next_process(tmp_path: Path) -> None:
    """Killed between the deletion and the emptying of the log, the text goes with the next look at the journal."""
    write(tmp_path, exchange(0, user="eve", text="PASSPHRASE"), exchange(1))
    other = JournalReader(tmp_path)
    other.counts()  # stays open, so that closing the first does not empty the log
    killed = JournalReader(tmp_path)
    killed.checkpoint = lambda *, force=False: False  # type: ignore[method-assign]  # as far as it came
    killed._write(lambda connection: connection.execute("DELETE FROM entries WHERE seq = 1"))
    killed.close()
    assert b"PASSPHRASE" in everything_on_disk(tmp_path)

    other.take(1)
    assert b"PASSPHRASE" not in everything_on_disk(tmp_path)
    other.close()


# Seeds with which SQLite alone, overwriting what it deletes, leaves some of the text.
@pytest.mark.parametrize("seed", [1, 19, 22])
def test_moved_rows_leave_no_copies_behind(tmp_path: Path, seed: int) -> None:
    """SQLite leaves old copies in pages whose rows it has moved to others; an erasure reaches those, too."""
    chance = random.Random(seed)

    def say(index: int) -> Exchange:
        user = chance.choice(["eve", "bob"])
        word = "PASSPHRASE " if user == "eve" else "harmless!! "
        return exchange(index, user=user, text=word * chance.randrange(1, 120))

    write(tmp_path, *(say(index) for index in range(120)))
    reader = JournalReader(tmp_path)
    reader.advance(chance.sample(range(1, 121), 40), 0)
    reader.postpone(chance.sample(range(1, 121), 40), "the store is away", 0)
    reader.done(chance.sample(range(1, 121), 60))
    reader.erase(Scope("eve"))

    assert b"PASSPHRASE" not in everything_on_disk(tmp_path)
    assert len(indexes(reader, user="bob")) > 10
    reader.close()


def test_delays_double_up_to_a_limit_and_differ() -> None:
    """Half of each delay is random, the rest says how often it failed."""
    for attempts, longest in enumerate([0.5, 1, 2, 4, 8, 16, 32, 60, 60]):
        delays = {delay(attempts, first_s=0.5, most_s=60) for _ in range(50)}
        assert longest / 2 <= min(delays) < max(delays) <= longest
    assert delay(10**9, first_s=0.5, most_s=60) <= 60


def test_a_success_begins_the_delays_anew() -> None:
    """A Backoff counts only failures in a row."""
    backoff = Backoff(1, 100)
    assert [backoff.next_delay() > bound for bound in (0.4, 0.9, 1.9, 3.9)] == [True] * 4
    backoff.reset()
    assert backoff.next_delay() <= 1
