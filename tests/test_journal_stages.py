"""What the keeper does with entries: two stages, each in order, and settled by all the ways there are."""

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


def test_an_entry_tells_whose_it_is_and_how_often_it_was_handed_out(reader: JournalReader) -> None:
    """An entry that was taken and never settled was in the hands of a process that ended."""
    (first,) = reader.take(1)
    assert (first.stage, first.attempts, first.taken, first.user_key) == (0, 0, 0, Scope("ada").key)

    assert [entry.taken for entry in reader.take(2)] == [1, 0]
    reader.postpone([1], "store is away", 0)
    assert [(entry.attempts, entry.taken) for entry in reader.take(2)] == [(1, 0), (0, 1)]


def test_what_was_put_back_was_not_handed_out(reader: JournalReader) -> None:
    """Who takes more than can be worked on at once does not leave the rest looking as if it had ended a process."""
    reader.take(4)
    reader.take(3)
    reader.put_back([2, 3, 4])

    assert [entry.taken for entry in reader.take(6)] == [2, 1, 1, 0, 0, 0]


def test_what_was_handed_out_is_known_to_the_next_process(reader: JournalReader, tmp_path: Path) -> None:
    """The number of times survives the process, which is what it is for."""
    reader.take(1)
    reader.close()

    again = JournalReader(tmp_path)
    assert [entry.taken for entry in again.take(1)] == [1]
    again.close()


@pytest.mark.parametrize("settle", ["postpone", "park", "advance"])
def test_settling_counts_the_handing_out_anew(reader: JournalReader, settle: str) -> None:
    """However an entry was settled, the next one to take it is told that nobody has it."""
    reader.take(1)
    if settle == "postpone":
        reader.postpone([1], "store is away", 0)
    elif settle == "park":
        reader.park([1], "store is away", "store")
        reader.retry_failed()
    else:
        reader.advance([1], 0)
    (entry,) = reader.take_user(1) if settle == "advance" else reader.take(1)

    assert (entry.seq, entry.taken) == (1, 0)


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


def test_an_uncounted_postponement_is_no_attempt(reader: JournalReader) -> None:
    """A budget that is used up says nothing about the entry."""
    reader.postpone([1, 3], "budget", 0, counted=False)
    reader.postpone([3], "refused", 0)

    assert [entry.attempts for entry in reader.take(6)] == [0, 0, 1, 0, 0, 0]


def test_what_is_stored_goes_on_to_be_extracted_from(reader: JournalReader) -> None:
    """Advanced entries are no longer among those to be stored, are due after their delay, and begin anew."""
    reader.postpone([1], "store is away", 0)
    reader.advance([1, 3], SOON)

    assert seqs(reader.take(10)) == [2, 4, 5, 6]
    assert reader.take_user(10) == []
    entries = reader.take_user(10, now=later(SOON + 1))
    assert [(entry.seq, entry.stage, entry.attempts) for entry in entries] == [(1, 1, 0), (3, 1, 0)]


def test_a_user_is_taken_with_entries_that_are_not_due_yet(reader: JournalReader) -> None:
    """One call of a model looks at all that there is, in order, but at no more than the limit."""
    reader.advance([1], 0)
    reader.advance([3, 5], SOON)

    assert seqs(reader.take_user(10)) == [1, 3, 5]
    assert seqs(reader.take_user(2)) == [1, 3]


def test_nothing_overtakes_within_a_stage(reader: JournalReader) -> None:
    """A user whose oldest entry backs off waits with all of them; storing goes on beside."""
    reader.advance([1, 3], 0)
    reader.postpone([1], "429", SOON)

    assert reader.take_user(10) == []
    assert seqs(reader.take(10)) == [2, 4, 5, 6]
    assert seqs(reader.take_user(10, now=later(SOON + 1))) == [1, 3]


def test_the_user_who_waits_longest_is_next_and_busy_ones_are_passed_over(reader: JournalReader) -> None:
    """Fair by when the oldest entry came due, not by when it was appended."""
    reader.advance([1], -10)
    reader.advance([2], -20)

    assert seqs(reader.take_user(10)) == [2]
    assert seqs(reader.take_user(10, busy={Scope("bob").key})) == [1]
    assert reader.take_user(10, busy=[Scope("bob").key, Scope("ada").key]) == []


def test_advancing_twice_does_not_begin_anew(reader: JournalReader) -> None:
    """An entry that is at the second stage already keeps its attempts and its time."""
    reader.advance([1], 0)
    reader.postpone([1], "429", 0)
    reader.advance([1], SOON)

    assert [entry.attempts for entry in reader.take_user(1)] == [1]


def test_released_are_those_that_were_parked_for_that_reason(reader: JournalReader) -> None:
    """When the store works again, what only waited for it is tried anew, at its stage and with no attempts."""
    reader.advance([3], 0)
    reader.postpone([1, 3], "store is away", 0)
    reader.park([1, 3], "store is away", "store")
    reader.park([2], "no JSON", "extraction")

    assert reader.release("store") == 2
    assert reader.release("store") == 0
    assert [(entry.seq, entry.attempts) for entry in reader.take(2)] == [(1, 0), (4, 0)]
    assert [(entry.seq, entry.attempts) for entry in reader.take_user(2)] == [(3, 0)]
    assert [failed.seq for failed in reader.failed(10)] == [2]


def test_a_parked_entry_says_at_which_stage_and_what_for(reader: JournalReader) -> None:
    """Whoever looks at the journal learns whether something is not stored, or only not extracted from."""
    reader.advance([3], 0)
    reader.park([1, 3], "refused", "extraction")

    assert [(each.seq, each.stage, each.kind, each.reason) for each in reader.failed(10)] == [
        (1, "store", "extraction", "refused"),
        (3, "extract", "extraction", "refused"),
    ]
    assert reader.failed(1)[0].user_id == "ada"


def test_what_waits_is_counted_by_stage(reader: JournalReader) -> None:
    """Pending are those to be stored; all that are neither parked nor gone are unsettled."""
    reader.advance([1, 2, 3], 0)
    reader.park([3, 4], "refused", "store")
    counts = reader.counts()

    assert (counts.pending, counts.extracting, counts.failed) == (2, 2, 2)
    assert (reader.unsettled(4), reader.unsettled(6)) == (2, 4)
    assert (reader.unsettled(4, extracting=False), reader.unsettled(6, extracting=False)) == (0, 2)
    reader.done([5, 6])
    assert reader.counts().oldest_age_s is None


def test_hastening_reaches_both_stages(reader: JournalReader) -> None:
    """A flush waits for no delay."""
    reader.advance([1], SOON)
    reader.postpone([2], "store is away", SOON)

    assert reader.hasten() == 2
    assert seqs(reader.take(10)) == [2, 3, 4, 5, 6]
    assert seqs(reader.take_user(10)) == [1]


def test_numbers_that_are_gone_are_ignored(reader: JournalReader) -> None:
    """What somebody else has erased meanwhile can be settled in every way, and stays gone."""
    taken = seqs(reader.take(6))
    reader.erase(Scope("ada"))

    reader.done([1])
    reader.advance([1, 2], 0)
    reader.postpone([3], "late", 0)
    reader.park([5, 99], "late", "store")
    assert taken == [1, 2, 3, 4, 5, 6]
    assert seqs(reader.take(10)) == [4, 6]
    assert seqs(reader.take_user(10)) == [2]
    assert reader.failed(10) == []


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


def test_erasing_reaches_both_stages(reader: JournalReader) -> None:
    """No stage, and no failure, keeps an entry of a user who is forgotten."""
    reader.advance([1], 0)
    reader.park([3], "refused", "store")

    assert reader.erase(Scope("ada")) == 3
    counts = reader.counts()
    assert (counts.pending, counts.extracting, counts.failed) == (3, 0, 0)


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


def test_forgetting_deletes_what_nobody_can_read(reader: JournalReader, tmp_path: Path) -> None:
    """A damaged row may hold the very words, so it does not outlive them."""
    reader.close()
    with sqlite3.connect(tmp_path / "journal.sqlite") as connection:
        connection.execute("UPDATE entries SET crc = 1 WHERE seq = 3")
    connection.close()

    assert reader.forget(Scope("ada"), lambda said: said) == 1
    assert indexes(reader, user="ada") == [0, 2]


def test_forgetting_is_all_or_nothing(reader: JournalReader) -> None:
    """What the callback raises comes through, and nothing was changed."""

    def refuse_the_last(said: Exchange) -> Exchange | None:
        if said.first_index == 2:
            raise LookupError
        return None

    with pytest.raises(LookupError):
        reader.forget(Scope("ada"), refuse_the_last)
    assert indexes(reader, user="ada") == [0, 1, 2]


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
