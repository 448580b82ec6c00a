"""What the keeper does with entries, in a file and in Redis alike: two stages, each in order, settled in every way."""

import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import cast

import msgspec
import pytest

from proxy.models import Exchange, Message, Scope
from tests.journals import ADA, BOB, KINDS, Journal, Kind, opened, talk

SOON = 60.0


def later(seconds: float) -> float:
    return time.time() + seconds


@pytest.fixture(name="empty", params=KINDS)
def _empty(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Journal]:
    kind = cast("Kind", request.param)
    redis_url = request.getfixturevalue("redis_url") if kind == "redis" else ""
    with opened(kind, tmp_path, redis_url) as journal:
        yield journal


@pytest.fixture(name="journal")
def _journal(empty: Journal) -> Journal:
    """With entries 1, 3, 5 of ada and 2, 4, 6 of bob."""
    empty.write(*(talk(index, user=user) for index in range(3) for user in (ADA, BOB)))
    return empty


def test_an_appended_exchange_comes_back_unchanged(empty: Journal) -> None:
    """Text in any script, names, times and the tenant survive the way through."""
    at = talk(0).at
    said = Exchange("zoë \u2028 $ne", "c/1", 3, [Message("user", "日本 🎈 \x00", "Zoë", at)], at, "acme")
    empty.part = 0 if empty.kind == "sqlite" else said.scope.part
    empty.write(said)
    assert [said] == [entry.exchange for entry in empty.take()]


def test_where_something_may_be_due(journal: Journal) -> None:
    """The part in which something waits is told of, for as long as it may be taken."""
    assert list(journal.reader.find_parts()) == [journal.part]
    journal.reader.postpone(journal.seqs(1, 2, 3, 4, 5, 6), "store is away", SOON)
    assert list(journal.reader.find_parts()) == ([] if journal.kind == "redis" else [0])
    assert journal.take() == []


def test_entries_stay_until_they_are_done(journal: Journal) -> None:
    """What was not settled is returned again, with the number of times that it was."""
    first = journal.take(2)
    again = journal.take(2)
    assert journal.numbers(first + again) == [1, 2, 1, 2]
    assert [entry.taken for entry in first + again] == [0, 0, 1, 1]
    journal.reader.done([entry.seq for entry in first])
    assert journal.numbers(journal.take()) == [3, 4, 5, 6]


def test_an_entry_tells_whose_it_is_and_how_often_it_was_handed_out(journal: Journal) -> None:
    """An entry that was taken and never settled was in the hands of a process that ended."""
    (first,) = journal.take(1)
    assert (first.stage, first.attempts, first.taken, first.user_key) == (0, 0, 0, ADA.key)

    assert [entry.taken for entry in journal.take(2)] == [1, 0]
    journal.reader.postpone(journal.seqs(1), "store is away", 0)
    assert [(entry.attempts, entry.taken) for entry in journal.take(2)] == [(1, 0), (0, 1)]


def test_what_was_put_back_was_not_handed_out(journal: Journal) -> None:
    """Who takes more than can be worked on at once does not leave the rest looking as if it had ended a process."""
    journal.take(4)
    journal.take(3)
    journal.reader.put_back(journal.seqs(2, 3, 4))

    assert [entry.taken for entry in journal.take(6)] == [2, 1, 1, 0, 0, 0]


def test_what_was_handed_out_is_known_to_the_next_process(journal: Journal) -> None:
    """The number of times survives the process, which is what it is for."""
    journal.take(1)
    journal.reader.close()
    journal.reader = journal.open("second")
    with closing(journal.reader):
        assert [entry.taken for entry in journal.take(1)] == [1]


@pytest.mark.parametrize("settle", ["postpone", "park", "advance"])
def test_settling_counts_the_handing_out_anew(journal: Journal, settle: str) -> None:
    """However an entry was settled, the next one to take it is told that nobody has it."""
    journal.take(1)
    if settle == "postpone":
        journal.reader.postpone(journal.seqs(1), "store is away", 0)
    elif settle == "park":
        journal.reader.park(journal.seqs(1), "store is away", "store")
        journal.reader.retry_failed()
    else:
        journal.reader.advance(journal.seqs(1), 0)
    taken = journal.reader.take_user(1) if settle == "advance" else journal.take(1)

    assert (journal.numbers(taken), taken[0].taken) == ([1], 0)


def test_an_uncounted_postponement_is_no_attempt(journal: Journal) -> None:
    """A budget that is used up says nothing about the entry."""
    journal.reader.postpone(journal.seqs(1, 3), "budget", 0, counted=False)
    journal.reader.postpone(journal.seqs(3), "refused", 0)

    assert [entry.attempts for entry in journal.take(6)] == [0, 0, 1, 0, 0, 0]


def test_nothing_overtakes_an_entry_of_its_user_that_backs_off(journal: Journal) -> None:
    """While one exchange waits for its next attempt, later ones of that user wait too, and other users' do not."""
    journal.take()
    journal.reader.postpone(journal.seqs(3), "store is away", 1000)

    assert journal.numbers(journal.take()) == [1, 2, 4, 6]
    journal.write(talk(3), talk(3, user=BOB))
    assert journal.numbers(journal.take()) == [1, 2, 4, 6, 8]
    due = journal.take(now=later(1001))
    assert journal.numbers(due) == [1, 2, 3, 4, 5, 6, 7, 8]
    assert [entry.attempts for entry in due] == [0, 0, 1, 0, 0, 0, 0, 0]


def test_what_waits_behind_another_waits_for_as_long_as_that_one(journal: Journal) -> None:
    """An earlier entry that fails once more holds up what has waited for it, due or not."""
    journal.reader.postpone(journal.seqs(3), "store is away", 10)
    journal.reader.postpone(journal.seqs(1), "store is away", 5)
    journal.take()
    assert journal.numbers(journal.take(now=later(6))) == [1, 2, 4, 6]
    journal.reader.postpone(journal.seqs(1), "store is away", 1000)
    assert journal.numbers(journal.take(now=later(900))) == [2, 4, 6]
    assert journal.numbers(journal.take(now=later(1001))) == [1, 2, 3, 4, 5, 6]


def test_a_limit_cuts_behind_what_is_first(journal: Journal) -> None:
    """However entries came to wait, the oldest of a user go first when there is not room for all."""
    journal.reader.postpone(journal.seqs(1), "store is away", 5)
    journal.take()
    due = journal.take(2, now=later(6))
    assert set(journal.numbers(due)) <= {1, 2, 4, 6}
    settled: list[int] = []
    for _ in range(6):
        some = journal.take(2, now=later(6))
        settled += journal.numbers(some)
        journal.reader.done([entry.seq for entry in some])
    assert [number for number in settled if number % 2] == [1, 3, 5]
    assert [number for number in settled if not number % 2] == [2, 4, 6]


def test_users_of_two_tenants_do_not_wait_for_each_other(empty: Journal) -> None:
    """The same user id in another tenant is another user."""
    tenants = (Scope("ada", str(number)) for number in range(1000))
    scope = next(scope for scope in tenants if scope.part == ADA.part)
    empty.write(talk(0), talk(1, user=scope))
    empty.reader.postpone([empty.take(1)[0].seq], "store is away", 1000)

    assert empty.numbers(empty.take()) == [2]


def test_what_is_stored_goes_on_to_be_extracted_from(journal: Journal) -> None:
    """Advanced entries are no longer among those to be stored, are due after their delay, and begin anew."""
    journal.reader.postpone(journal.seqs(1), "store is away", 0)
    journal.reader.advance(journal.seqs(1, 3), SOON)

    assert journal.numbers(journal.take()) == [2, 4, 5, 6]
    assert journal.reader.take_user(10) == []
    entries = journal.reader.take_user(10, now=later(SOON + 1))
    assert journal.numbers(entries) == [1, 3]
    assert [(entry.stage, entry.attempts) for entry in entries] == [(1, 0), (1, 0)]


def test_a_user_is_taken_with_entries_that_are_not_due_yet(journal: Journal) -> None:
    """One call of a model looks at all that there is, in order, but at no more than the limit."""
    journal.reader.advance(journal.seqs(1), 0)
    journal.reader.advance(journal.seqs(3, 5), SOON)

    assert journal.numbers(journal.reader.take_user(10)) == [1, 3, 5]
    assert journal.numbers(journal.reader.take_user(2)) == [1, 3]


def test_nothing_overtakes_within_a_stage(journal: Journal) -> None:
    """A user whose oldest entry backs off waits with all of them; storing goes on beside."""
    journal.reader.advance(journal.seqs(1, 3), 0)
    journal.reader.postpone(journal.seqs(1), "429", SOON)

    assert journal.reader.take_user(10) == []
    assert journal.numbers(journal.take()) == [2, 4, 5, 6]
    assert journal.numbers(journal.reader.take_user(10, now=later(SOON + 1))) == [1, 3]


def test_the_user_who_waits_longest_is_next_and_busy_ones_are_passed_over(journal: Journal) -> None:
    """Fair by when the oldest entry came due, not by when it was appended."""
    journal.reader.advance(journal.seqs(1), -10)
    journal.reader.advance(journal.seqs(2), -20)

    assert journal.numbers(journal.reader.take_user(10)) == [2]
    assert journal.numbers(journal.reader.take_user(10, busy={BOB.key})) == [1]
    assert journal.reader.take_user(10, busy=[BOB.key, ADA.key]) == []


def test_advancing_twice_does_not_begin_anew(journal: Journal) -> None:
    """An entry that is at the second stage already keeps its attempts and its time."""
    journal.reader.advance(journal.seqs(1), 0)
    journal.reader.postpone(journal.seqs(1), "429", 0)
    journal.reader.advance(journal.seqs(1), SOON)

    assert [entry.attempts for entry in journal.reader.take_user(1)] == [1]


def test_released_are_those_that_were_parked_for_that_reason(journal: Journal) -> None:
    """When the store works again, what only waited for it is tried anew, at its stage and with no attempts."""
    journal.reader.advance(journal.seqs(3), 0)
    journal.reader.postpone(journal.seqs(1, 3), "store is away", 0)
    journal.reader.park(journal.seqs(1, 3), "store is away", "store")
    journal.reader.park(journal.seqs(2), "no JSON", "extraction")

    assert journal.reader.release("store") == 2
    assert journal.reader.release("store") == 0
    due = journal.take(2)
    assert (journal.numbers(due), [entry.attempts for entry in due]) == ([1, 4], [0, 0])
    due = journal.reader.take_user(2)
    assert (journal.numbers(due), [entry.attempts for entry in due]) == ([3], [0])
    assert journal.numbers(journal.reader.failed(10)) == [2]


def test_what_was_parked_comes_back_to_its_place(journal: Journal) -> None:
    """Released, an entry goes before those that were said after it and have not been stored meanwhile."""
    journal.reader.park(journal.seqs(1, 2), "store is away", "store")
    journal.take(2)
    assert journal.reader.retry_failed() == 2
    assert journal.numbers(journal.take()) == [1, 2, 3, 4, 5, 6]


def test_a_parked_entry_holds_up_nobody_and_can_be_dropped(journal: Journal) -> None:
    """It keeps its reason, and leaves only when it is told to."""
    journal.reader.park(journal.seqs(1), "the model refuses", "store", counted=True)

    assert journal.numbers(journal.take()) == [2, 3, 4, 5, 6]
    (failed,) = journal.reader.failed(10)
    assert (failed.user_id, failed.tenant, failed.attempts, failed.reason) == ("ada", "", 1, "the model refuses")
    assert abs(failed.created_at.timestamp() - time.time()) < 60
    assert journal.reader.drop_failed() == 1
    assert journal.reader.failed(10) == []
    assert journal.reader.retry_failed() == 0


def test_a_parked_entry_says_at_which_stage_and_what_for(journal: Journal) -> None:
    """Whoever looks at the journal learns whether something is not stored, or only not extracted from."""
    journal.reader.advance(journal.seqs(3), 0)
    journal.reader.park(journal.seqs(1, 3), "refused", "extraction")

    failed = journal.reader.failed(10)
    assert journal.numbers(failed) == [1, 3]
    assert [(each.stage, each.kind, each.reason) for each in failed] == [
        ("store", "extraction", "refused"),
        ("extract", "extraction", "refused"),
    ]
    assert journal.reader.failed(1)[0].user_id == "ada"


def test_what_waits_is_counted_by_stage(journal: Journal) -> None:
    """Pending are those to be stored; all that are neither parked nor gone are unsettled."""
    mark = journal.reader.last_seq()
    journal.reader.advance(journal.seqs(1, 2, 3), 0)
    journal.reader.park(journal.seqs(3, 4), "refused", "store")
    counts = journal.reader.counts()

    assert (counts.pending, counts.extracting, counts.failed) == (2, 2, 2)
    assert 0 <= (counts.oldest_age_s or -1) < 60
    assert (journal.reader.unsettled(mark), journal.reader.unsettled(mark, extracting=False)) == (4, 2)
    journal.reader.done(journal.seqs(5, 6))
    assert journal.reader.counts().oldest_age_s is None
    assert (journal.reader.unsettled(mark), journal.reader.unsettled(mark, extracting=False)) == (2, 0)


def test_a_mark_is_behind_what_there_was(journal: Journal) -> None:
    """What is appended after it is not waited for, even when all before it is gone."""
    mark = journal.reader.last_seq()
    journal.reader.done(journal.seqs(1, 2, 3, 4, 5, 6))
    time.sleep(0.002)  # a stream's places are of milliseconds
    journal.write(talk(3))
    assert journal.reader.unsettled(mark) == 0
    assert journal.reader.unsettled(journal.reader.last_seq()) == 1
    assert journal.numbers(journal.take()) == [7]


def test_an_empty_journal_has_nothing(empty: Journal) -> None:
    """Nothing is due, nothing is counted, and a mark is behind nothing."""
    assert (empty.take(), empty.reader.take_user(9), empty.reader.failed(9)) == ([], [], [])
    counts = empty.reader.counts()
    assert (counts.pending, counts.extracting, counts.failed, counts.oldest_age_s) == (0, 0, 0, None)
    assert empty.reader.unsettled(empty.reader.last_seq()) == 0
    assert empty.reader.erase(ADA) == 0


def test_hastening_reaches_both_stages(journal: Journal) -> None:
    """A flush waits for no delay."""
    journal.reader.advance(journal.seqs(1), SOON)
    journal.reader.postpone(journal.seqs(2), "store is away", SOON)

    assert journal.reader.hasten() == 2
    assert journal.numbers(journal.take()) == [2, 3, 4, 5, 6]
    assert journal.numbers(journal.reader.take_user(10)) == [1]


def test_numbers_that_are_gone_are_ignored(journal: Journal) -> None:
    """What somebody else has erased meanwhile can be settled in every way, and stays gone."""
    assert journal.numbers(journal.take()) == [1, 2, 3, 4, 5, 6]
    journal.reader.erase(ADA)

    journal.reader.done(journal.seqs(1))
    journal.reader.advance(journal.seqs(1, 2), 0)
    journal.reader.postpone(journal.seqs(3), "late", 0)
    journal.reader.park(journal.seqs(5, 99), "late", "store")
    journal.reader.put_back(journal.seqs(5, 99))
    assert journal.numbers(journal.take()) == [4, 6]
    assert journal.numbers(journal.reader.take_user(10)) == [2]
    assert journal.reader.failed(10) == []


def test_erasing_reaches_both_stages(journal: Journal) -> None:
    """No stage, and no failure, keeps an entry of a user who is forgotten; nobody else's goes."""
    journal.reader.advance(journal.seqs(1), 0)
    journal.reader.park(journal.seqs(3), "refused", "store")

    assert journal.reader.erase(ADA) == 3
    counts = journal.reader.counts()
    assert (counts.pending, counts.extracting, counts.failed) == (3, 0, 0)
    assert journal.numbers(journal.take()) == [2, 4, 6]


def test_a_damaged_entry_is_parked(journal: Journal) -> None:
    """Bytes that are not those that were written are never made a memory of; those behind them go on."""
    journal.damage(1)
    assert journal.numbers(journal.take(1)) == [2]
    assert [failed.reason for failed in journal.reader.failed(10)] == ["damaged: the checksum does not match"]


def test_forgetting_deletes_what_nobody_can_read(journal: Journal) -> None:
    """A damaged entry may hold the very words, so it does not outlive them."""
    journal.damage(3)
    assert journal.reader.forget(ADA, lambda said: said) == 1
    assert journal.numbers(journal.take()) == [1, 2, 4, 5, 6]


def without_the_passphrase(said: Exchange) -> Exchange | None:
    """What is left of an exchange when nobody may know the passphrase any more."""
    kept = [message for message in said.messages if "PASSPHRASE" not in message.text]
    if len(kept) == len(said.messages):
        return said
    return msgspec.structs.replace(said, messages=kept) if kept else None


def tell(index: int, *texts: str) -> Exchange:
    return msgspec.structs.replace(talk(index), messages=[Message("user", text) for text in texts])


def test_forgetting_changes_only_what_holds_it(empty: Journal) -> None:
    """Whole exchanges go, others lose a message, at every stage; places and attempts stay."""
    secret = "PASSPHRASE " * 900
    told = [tell(0, "plain"), tell(1, secret), tell(2, "before", secret), tell(3, secret, "after"), tell(4, secret)]
    empty.write(talk(9, user=BOB, text="PASSPHRASE"), *told)
    empty.reader.postpone(empty.seqs(2, 4), "store is away", 0)
    empty.reader.advance(empty.seqs(5), 0)
    empty.reader.park(empty.seqs(6), "refused", "store")

    assert empty.reader.forget(ADA, without_the_passphrase) == 4

    due = empty.take()
    assert empty.numbers(due) == [1, 2, 4]
    assert [(entry.attempts, entry.exchange) for entry in due[1:]] == [(1, tell(0, "plain")), (1, tell(2, "before"))]
    assert [entry.exchange for entry in empty.reader.take_user(10)] == [tell(3, "after")]
    assert empty.reader.failed(10) == []
    assert empty.reader.forget(ADA, without_the_passphrase) == 0


def test_forgetting_is_all_or_nothing(journal: Journal) -> None:
    """What the callback raises comes through, and nothing was changed."""

    def refuse_the_last(said: Exchange) -> Exchange | None:
        if said.first_index == 2:
            raise LookupError
        return None

    with pytest.raises(LookupError):
        journal.reader.forget(ADA, refuse_the_last)
    assert journal.numbers(journal.take()) == [1, 2, 3, 4, 5, 6]
