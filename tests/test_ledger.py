"""What every ledger keeps to: keys, tombstones and switches, durable, apart by user, and gone once destroyed."""

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from proxy import config
from proxy.errors import StoreError
from proxy.ledger import Ledger, Standing, Tombstone, open_ledger
from proxy.models import Embedding, EmbeddingModel

AT = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
ADA, BOB = "a" * 32, "b" * 32
SIZE = 16

Reopen = Callable[[], Ledger]


@pytest.fixture(params=["file", "shared"])
def reopen(request: pytest.FixtureRequest, tmp_path: Path) -> Reopen:
    """Opens the same ledger each time."""
    shared = request.param == "shared"
    journal = {"url": request.getfixturevalue("redis_url")} if shared else {}
    settings = config.load(flags={"data_dir": tmp_path, "journal": journal})
    return lambda: open_ledger(settings)


@pytest.fixture
def ledger(reopen: Reopen) -> Iterator[Ledger]:
    with closing(reopen()) as opened:
        yield opened


def digest(number: int) -> bytes:
    return number.to_bytes(8, "big")


def make(ledger: Ledger, user: str, *rows: str) -> dict[str, bytes]:
    """Keys of rows that the store is said to have at once."""
    made = ledger.make_keys({user: rows})
    ledger.settle_keys(made)
    return made[user]


def test_keys_outlive_the_process(reopen: Reopen) -> None:
    """What was made is read again, by user and row, in full and in part, and without what there is not."""
    with closing(reopen()) as ledger:
        made = ledger.make_keys({ADA: ["one", "two"], BOB: ["one"]})
        ledger.settle_keys(made)
    assert {len(key) for keys in made.values() for key in keys.values()} == {SIZE}
    assert len({key for keys in made.values() for key in keys.values()}) == 3
    with closing(reopen()) as ledger:
        assert ledger.read_keys(ADA) == {row: (key,) for row, key in made[ADA].items()}
        assert ledger.read_keys(ADA, ["two", "three"]) == {"two": (made[ADA]["two"],)}
        assert ledger.read_keys("nobody") == ledger.read_keys(ADA, []) == {}
        assert ledger.read_row_keys("one", [BOB, ADA, "nobody"]) == {u: (made[u]["one"],) for u in (ADA, BOB)}


def test_more_names_than_a_statement_takes(ledger: Ledger) -> None:
    """Rows and users by the thousand are read, listed in their order, and destroyed."""
    rows = [f"row {number}" for number in range(2_500)]
    random.Random(1).shuffle(rows)
    made = make(ledger, ADA, *rows)
    assert ledger.read_keys(ADA, rows) == {row: (key,) for row, key in made.items()}
    assert ledger.list_rows(ADA) == rows
    users = [f"user {number}" for number in range(2_500)]
    ledger.make_keys({user: ["user"] for user in users})
    assert ledger.read_row_keys("user", users).keys() == set(users)
    pages = [ledger.page_row_keys("user", after=after, limit=2_000) for after in ("", sorted(users)[1_999], "x")]
    assert [name for page in pages for name in page] == sorted(users)
    assert pages[0] | pages[1] == ledger.read_row_keys("user", users)
    assert ledger.destroy_keys(ADA, [*rows[:2_000], "none"]) == 2_000
    assert ledger.list_rows(ADA) == rows[2_000:]


@pytest.mark.parametrize("name", ["a\x00b", "a'b", 'a"b', "%", "\U0001f600", "a" * 300, ""])
def test_a_name_is_data(ledger: Ledger, name: str) -> None:
    """A row is known by all of its name and by nothing else."""
    make(ledger, ADA, "a", "b")
    made = make(ledger, ADA, name)
    assert ledger.read_keys(ADA, [name]) == {name: (made[name],)}
    assert ledger.destroy_keys(ADA, [name]) == 1
    assert ledger.read_keys(ADA).keys() == {"a", "b"}


def test_a_row_has_both_keys_until_it_is_settled(ledger: Ledger) -> None:
    """The newest is first; a store that fails again and again uses the same new one; settling leaves just that."""
    (old,) = make(ledger, ADA, "row").values()
    new = ledger.make_keys({ADA: ["row"]})[ADA]["row"]
    assert new != old
    assert ledger.make_keys({ADA: ["row"]})[ADA]["row"] == new
    assert ledger.read_keys(ADA) == {"row": (new, old)}
    assert ledger.list_unsettled() == {ADA: ["row"]}
    ledger.settle_keys({ADA: {"row": new}})
    assert ledger.read_keys(ADA) == {"row": (new,)}
    assert ledger.list_unsettled() == {}


def test_a_first_attempt_can_be_opened_as_long_as_it_may_be_under_way(ledger: Ledger) -> None:
    """A store that did not answer in time may do what it was asked to after the next attempt: both have one key."""
    first = ledger.make_keys({ADA: ["row"]})
    assert ledger.make_keys({ADA: ["row"]}) == first
    assert ledger.read_keys(ADA) == {"row": (first[ADA]["row"],)}
    ledger.settle_keys(first)
    assert ledger.read_keys(ADA) == {"row": (first[ADA]["row"],)}
    assert ledger.list_unsettled() == {}


def test_rows_are_listed_once_settled_and_keep_their_place(ledger: Ledger) -> None:
    """What the store may not have is not listed; what is put again stays where it was."""
    make(ledger, ADA, "z", "a")
    make(ledger, BOB, "x")
    waiting = ledger.make_keys({ADA: ["m"]})
    assert ledger.list_rows(ADA) == ["z", "a"]
    make(ledger, ADA, "b", "z")
    ledger.settle_keys(waiting)
    assert ledger.list_rows(ADA) == ["z", "a", "b", "m"]


def test_rows_of_an_earlier_version_come_first(ledger: Ledger) -> None:
    """They are known by an empty key, until they are put again; then the ledger knows of litter in the store."""
    assert not ledger.is_surveyed()
    make(ledger, ADA, "new")
    ledger.note_survey([(ADA, "z"), (BOB, "x"), (ADA, "a")])
    assert (ledger.is_surveyed(), ledger.is_littered()) == (True, False)
    assert ledger.list_rows(ADA) == ["z", "a", "new"]
    assert ledger.read_keys(ADA, ["z"]) == {"z": (b"",)}
    made = ledger.make_keys({ADA: ["z"]})[ADA]["z"]
    assert ledger.read_keys(ADA, ["z"]) == {"z": (made, b"")}
    assert ledger.is_littered()
    ledger.settle_keys({ADA: {"z": made}})
    assert ledger.read_keys(ADA, ["z"]) == {"z": (made,)}
    ledger.note_sweep()
    ledger.destroy_keys(ADA, ["z"])
    assert not ledger.is_littered()
    ledger.destroy_keys(BOB, ["x"])
    assert ledger.is_littered()


def test_what_is_buried_adds_up(reopen: Reopen) -> None:
    """Dates are the latest ones, whatever order they come in; ids and digests stay."""
    later = AT + timedelta(days=1)
    with closing(reopen()) as ledger:
        ledger.bury(ADA, at=AT, memory_ids=["m1", "m2"], digests=[digest(1), digest(2)])
        assert ledger.tombstone(ADA) == Tombstone(None, {"m1": AT, "m2": AT}, frozenset({digest(1), digest(2)}))
        ledger.bury(ADA, at=later, memory_ids=["m2"], digests=[digest(2), digest(3)])
        ledger.bury(ADA, at=AT, memory_ids=["m2"], digests=[])
        ledger.bury(ADA, at=later.astimezone(timezone(timedelta(hours=2))), memory_ids=None, digests=[digest(4)])
        ledger.bury(ADA, at=AT, memory_ids=None, digests=[])
        known = Tombstone(later, {"m1": AT, "m2": later}, frozenset(digest(number) for number in range(1, 5)))
        assert ledger.tombstone(ADA) == known
        assert ledger.tombstone(BOB) == Tombstone()
    with closing(reopen()) as ledger:
        assert ledger.tombstone(ADA) == known


def test_half_a_digest_is_refused(ledger: Ledger) -> None:
    """It would make all that follow it in the row unreadable."""
    with pytest.raises(ValueError, match="8 bytes"):
        ledger.bury(ADA, at=AT, memory_ids=["m"], digests=[b"short"])
    assert ledger.tombstone(ADA) == Tombstone()


def test_a_switch_outlives_the_process_and_erasures(reopen: Reopen) -> None:
    """Off stays off until it is turned on, whatever of the user is erased."""
    with closing(reopen()) as ledger:
        assert not ledger.is_off(ADA)
        ledger.switch(ADA, off=True)
        ledger.switch(ADA, off=True)
        assert (ledger.is_off(ADA), ledger.is_off(BOB)) == (True, False)
    with closing(reopen()) as ledger:
        ledger.bury(ADA, at=AT, memory_ids=["m"], digests=[])
        assert ledger.is_off(ADA)
        ledger.switch(ADA, off=False)
        assert not ledger.is_off(ADA)
        ledger.switch(ADA, off=True)
        ledger.bury(ADA, at=AT, memory_ids=None, digests=[])
        assert ledger.is_off(ADA)


def test_threads_share_a_ledger(ledger: Ledger) -> None:
    """Several at once make, read and destroy keys, and each finds its own."""
    failures: list[BaseException] = []

    def work(user: str) -> None:
        try:
            for number in range(20):
                (key,) = make(ledger, user, f"row {number}").values()
                assert ledger.read_keys(user, [f"row {number}"]) == {f"row {number}": (key,)}
                ledger.bury(user, at=AT, memory_ids=[f"m{number}"], digests=[digest(number)])
                assert f"m{number}" in ledger.tombstone(user).ids
            assert ledger.destroy_keys(user) == 20
        except (AssertionError, StoreError) as exc:
            failures.append(exc)

    threads = [threading.Thread(target=work, args=(f"user {number}",)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_what_is_put_again_meanwhile_is_not_settled(ledger: Ledger) -> None:
    """Who settles what a killed process has put may come between two steps of another that puts it again."""
    first = ledger.make_keys({ADA: ["row"]})
    ledger.settle_keys(first)
    second = ledger.make_keys({ADA: ["row"]})
    ledger.settle_keys(first)
    assert ledger.read_keys(ADA) == {"row": (second[ADA]["row"], first[ADA]["row"])}
    assert ledger.list_unsettled() == {ADA: ["row"]}
    ledger.settle_keys(second)
    assert ledger.read_keys(ADA) == {"row": (second[ADA]["row"],)}


def test_a_ledger_has_a_name_of_its_own(reopen: Reopen) -> None:
    """The same one each time that it is opened."""
    with closing(reopen()) as ledger:
        name = ledger.identify()
        assert len(name) == 16
        assert ledger.identify() == name
    with closing(reopen()) as ledger:
        ledger.switch(ADA, off=True)
        assert ledger.identify() == name


def test_standings_are_read_together(ledger: Ledger) -> None:
    """What a batch of several users has to know: once for all of them, and nothing of those who have done nothing."""
    ledger.switch(ADA, off=True)
    ledger.bury(BOB, at=AT, memory_ids=["m"], digests=[digest(1)])
    assert ledger.read_standings([ADA, BOB, "nobody", ADA]) == {
        ADA: Standing(off=True, tombstone=Tombstone()),
        BOB: Standing(off=False, tombstone=Tombstone(None, {"m": AT}, frozenset({digest(1)}))),
        "nobody": Standing(off=False, tombstone=Tombstone()),
    }
    assert ledger.read_standings([]) == {}


def test_users_are_found_as_long_as_they_have_keys(ledger: Ledger) -> None:
    """Pages show whoever has the row, however many others there are in between."""
    for number in range(30):
        make(ledger, f"user {number:02d}", "user" if number % 10 == 0 else "other")
    assert list(ledger.page_row_keys("user", after="", limit=2)) == ["user 00", "user 10"]
    ledger.destroy_keys("user 10")
    assert list(ledger.page_row_keys("user", after="", limit=5)) == ["user 00", "user 20"]
    assert ledger.page_row_keys("user", after="user 20", limit=5) == {}


OLD = EmbeddingModel("openai", "openai:old", 8, "old", "https://api.example.org/v1")
NEW = EmbeddingModel("local", "new", 12, again=2)


def test_the_embedding_model_is_changed_by_who_knows_it(reopen: Reopen) -> None:
    """In one step, from what it was and from nothing else; it outlives the process."""
    first, second = Embedding(OLD), Embedding(OLD, NEW, misses=3, again=2)
    with closing(reopen()) as ledger:
        assert ledger.read_embedding() is None
        assert not ledger.change_embedding(first, second)
        assert ledger.change_embedding(None, first)
        assert not ledger.change_embedding(None, second)
        assert ledger.read_embedding() == first
        assert ledger.change_embedding(first, second)
        assert not ledger.change_embedding(first, Embedding(NEW))
    with closing(reopen()) as ledger:
        assert ledger.read_embedding() == second
        assert ledger.change_embedding(second, Embedding(NEW))


def test_of_many_who_change_it_at_once_one_does(ledger: Ledger) -> None:
    """As replicas do that write their first memory at the same moment."""
    done: list[str] = []
    together = threading.Barrier(8)

    def claim(name: str) -> None:
        together.wait()
        if ledger.change_embedding(None, Embedding(EmbeddingModel("openai", name, 8))):
            done.append(name)

    threads = [threading.Thread(target=claim, args=(str(number),)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    noted = ledger.read_embedding()
    assert noted is not None
    assert [noted.serving.name] == done


def test_rows_are_counted(ledger: Ledger) -> None:
    """Those that the store has, of many users together."""
    users = [f"user {number}" for number in range(1_200)]
    ledger.settle_keys(ledger.make_keys({user: ["one", "two"] for user in users}))
    ledger.make_keys({users[0]: ["three"]})
    assert ledger.count_rows(users) == 2_400
    assert ledger.count_rows([*users[:3], "nobody"]) == 6
    assert ledger.count_rows([]) == 0
