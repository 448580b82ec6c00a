"""The keeper's end of a journal in Redis, as several keepers have it and through its outages."""

import asyncio
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from proxy.errors import ConfigError, JournalError
from proxy.journal import Entry
from proxy.journal.shared import SharedReader
from proxy.journal.shared_writer import SharedWriter
from proxy.models import Scope
from proxy.sharing import open_redis
from tests.journals import ADA, BOB, Journal, opened, shared_settings, talk
from tests.redis_server import RedisServer, running_redis


@pytest.fixture(name="journal")
def _journal(tmp_path: Path, redis_url: str) -> Iterator[Journal]:
    with opened("redis", tmp_path, redis_url) as journal:
        yield journal


def places(entries: list[Entry]) -> list[int]:
    return [entry.exchange.first_index for entry in entries]


def test_what_a_killed_keeper_had_taken_goes_to_another_in_order(journal: Journal) -> None:
    """It is claimed before anything that came later, and told to have been handed out before."""
    journal.write(*(talk(index) for index in range(6)))
    killed, other = journal.open("killed"), journal.open("other")
    with closing(killed), closing(other):
        assert places(killed.take(4, part=journal.part)) == [0, 1, 2, 3]
        taken = other.take(3, part=journal.part)
        assert (places(taken), [entry.taken for entry in taken]) == ([0, 1, 2], [1, 1, 1])
        other.done([entry.seq for entry in taken])
        taken = other.take(100, part=journal.part)
        assert (places(taken), [entry.taken for entry in taken]) == ([3, 4, 5], [1, 0, 0])
        other.done([entry.seq for entry in taken])
        assert killed.take(100, part=journal.part) == []
        assert other.counts().pending == 0


def test_a_burst_keeps_its_order(tmp_path: Path, journal: Journal) -> None:
    """More exchanges in one millisecond than fit into one digit, appended at once, put off and taken again."""

    async def append() -> None:
        writer = SharedWriter(journal.settings)
        writer.start()
        await writer.append(talk(0))  # in a group of its own
        await asyncio.gather(*(writer.append(talk(index)) for index in range(1, 300)))
        await writer.aclose()

    asyncio.run(append())
    taken = journal.reader.take(1000, part=journal.part)
    assert places(taken) == list(range(300))
    assert len({str(entry.seq).split("-")[1] for entry in taken}) < 100  # else this shows nothing
    for entry in reversed(taken):
        journal.reader.postpone([entry.seq], "store is away", 0)
    again: list[int] = []
    while entries := journal.reader.take(7, part=journal.part):
        again += places(entries)
        journal.reader.done([entry.seq for entry in entries])
    assert again == list(range(300))


def test_what_is_done_in_somebody_else_s_turn_is_refused(journal: Journal) -> None:
    """A keeper that was stopped for too long changes nothing when it goes on; who has the turn does."""
    journal.write(talk(0), talk(1))
    client = journal.reader_client()
    client.set(f"memory-proxy:turn:{journal.part:02}", "theirs")
    late = SharedReader(journal.settings, "late", fence=lambda _: "ours")
    current = SharedReader(journal.settings, "current", fence=lambda _: "theirs")
    with closing(client), closing(late), closing(current):
        seqs = [entry.seq for entry in current.take(9, part=journal.part)]
        for attempt in (
            lambda: late.take(9, part=journal.part),
            lambda: late.done(seqs),
            lambda: late.postpone(seqs, "x", 0),
            lambda: late.park(seqs, "x", "store"),
            lambda: late.advance(seqs, 0),
        ):
            with pytest.raises(JournalError, match="another keeper"):
                attempt()
        assert late.counts().pending == 2
        current.done(seqs)
        assert current.counts().pending == 0


def test_a_user_is_worked_for_by_one_keeper(journal: Journal) -> None:
    """While one looks at what a user has said nobody else does; when it says that it has done, or nothing any more,
    another one may.
    """
    journal.write(talk(0), talk(0, user=BOB))
    first, second = journal.open("first"), journal.open("second")
    with closing(first), closing(second), closing(journal.reader_client()) as client:
        first.advance([entry.seq for entry in first.take(9, part=journal.part)], -1)
        assert [entry.user_key for entry in first.take_user(9)] == [ADA.key]
        assert [entry.user_key for entry in second.take_user(9)] == [BOB.key]
        assert second.take_user(9, busy=[BOB.key]) == []
        assert first.keep_user(ADA.key)

        first.release_user(ADA.key)
        assert [entry.user_key for entry in second.take_user(9, busy=[BOB.key])] == [ADA.key]
        assert not first.keep_user(ADA.key)
        first.release_user(ADA.key)  # no longer its own to release
        assert first.take_user(9) == []

        client.delete(f"memory-proxy:learning:{ADA.key}")  # as after its time
        assert [entry.user_key for entry in first.take_user(9)] == [ADA.key]
        assert 0 < client.pttl(f"memory-proxy:learning:{ADA.key}") <= 30_000


def test_users_of_all_parts_are_looked_at(journal: Journal, tmp_path: Path) -> None:
    """Those first who have waited the longest, whatever part they are in, and however many others are busy."""
    users = [f"user-{number}" for number in range(300)]
    exchanges = [talk(number, user=Scope(user)) for number, user in enumerate(users)]
    journal.write(*exchanges)
    for part in journal.reader.find_parts():
        entries = journal.reader.take(1000, part=part)
        for entry in entries:
            journal.reader.advance([entry.seq], 1000.0 * (entry.exchange.first_index - len(users)))
    busy: list[str] = []
    while entries := journal.reader.take_user(1, busy=busy):
        busy.append(entries[0].user_key)
    assert busy == [Scope(user).key for user in users]


def test_a_group_that_is_lost_is_made_anew(journal: Journal) -> None:
    """What waits is handed out once more, and what was stored or set aside is not."""
    journal.write(*(talk(index) for index in range(5)))
    taken = journal.reader.take(9, part=journal.part)
    journal.reader.advance([taken[0].seq], 60)
    journal.reader.park([taken[1].seq], "no", "store")
    journal.reader.postpone([taken[2].seq], "store is away", 0)
    with closing(journal.reader_client()) as client:
        client.xgroup_destroy(f"memory-proxy:journal:{journal.part:02}", "keepers")
    again = journal.reader.take(9, part=journal.part)
    assert places(again) == [2, 3, 4]
    journal.reader.done([entry.seq for entry in again])
    assert journal.reader.take(9, part=journal.part) == []
    counts = journal.reader.counts()
    assert (counts.pending, counts.extracting, counts.failed) == (0, 1, 1)


def test_keepers_that_are_gone_are_forgotten(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    """But not while something that they had taken is unsettled."""
    journal.write(talk(0))

    def list_keepers() -> set[bytes]:
        rows = client.xinfo_consumers(f"memory-proxy:journal:{journal.part:02}", "keepers")
        return {row["name"] for row in rows}

    monkeypatch.setattr("proxy.journal.shared.GONE_S", -1.0)
    with closing(journal.reader_client()) as client, closing(journal.open("a")) as a, closing(journal.open("b")) as b:
        assert len(a.take(9, part=journal.part)) == 1
        (entry,) = b.take(9, part=journal.part)
        assert list_keepers() == {b"b"} | {b"a"}
        with closing(journal.open("c")) as c:
            assert len(c.take(9, part=journal.part)) == 1
            assert list_keepers() == {b"b", b"c"}
            c.done([entry.seq])
        with closing(journal.open("d")) as d:
            journal.write(talk(1))
            assert len(d.take(9, part=journal.part)) == 1
            assert list_keepers() == {b"d"}


def test_erasing_leaves_no_trace(journal: Journal, shared_redis: RedisServer) -> None:
    """Neither in Redis's memory nor, once it has written its append-only file anew, on its disk."""
    for index in range(20):
        journal.write(talk(index, text="PASSPHRASE"), talk(index, user=BOB, text="plain"))
    taken = journal.take(6)
    journal.reader.done([entry.seq for entry in taken[:2]])
    journal.reader.advance([entry.seq for entry in taken[2:4]], 60)
    journal.reader.park([entry.seq for entry in taken[4:]], "no", "store")
    assert b"PASSPHRASE" in everything_on_disk(shared_redis)

    assert journal.reader.erase(ADA) == 19
    journal.reader.close()  # what is to be written anew soon is then written at once
    with closing(journal.reader_client()) as client:
        wait_for_rewrite(client)
        left = [client.dump(key) for key in client.scan_iter()]
    assert not any(b"PASSPHRASE" in value or b"ada" in value for value in left)
    assert b"PASSPHRASE" not in everything_on_disk(shared_redis)
    assert places(journal.take(100)) == [*range(3, 20)]


def test_forgetting_leaves_no_trace(journal: Journal, shared_redis: RedisServer) -> None:
    """What is changed in its place is gone from memory and disk as well."""
    journal.write(talk(0, text="PASSPHRASE"), talk(1))
    assert journal.reader.forget(ADA, lambda said: None if said.first_index == 0 else said) == 1
    journal.reader.close()  # what is to be written anew soon is then written at once
    with closing(journal.reader_client()) as client:
        wait_for_rewrite(client)
        assert int(client.get("memory-proxy:journal:bytes")) == sum(
            map(len, client.hvals(f"memory-proxy:journal:{journal.part:02}:said"))
        )
    assert b"PASSPHRASE" not in everything_on_disk(shared_redis)


def everything_on_disk(server: RedisServer) -> bytes:
    return b"".join(path.read_bytes() for path in server.directory.rglob("*") if path.is_file())


def wait_for_rewrite(client: Any) -> None:
    """Until Redis has nothing to write anew any more. The pauses are the round trips."""
    while True:
        state = client.info("persistence")
        if not state["aof_rewrite_in_progress"] and not state["aof_rewrite_scheduled"]:
            return


def test_nothing_of_an_entry_is_left_when_it_is_done(journal: Journal) -> None:
    """However it went on its way: the size that waits is nothing, and Redis holds names and places only."""
    journal.write(*(talk(index) for index in range(6)))
    taken = journal.take()
    journal.reader.postpone([taken[0].seq, taken[1].seq], "store is away", 60)
    journal.reader.advance([taken[2].seq], 60)
    journal.reader.park([taken[3].seq], "no", "store")
    journal.reader.done([entry.seq for entry in taken])
    with closing(journal.reader_client()) as client:
        assert client.get("memory-proxy:journal:bytes") == b"0"
        stream = f"memory-proxy:journal:{journal.part:02}"
        assert set(client.scan_iter()) == {b"memory-proxy:journal:bytes", stream.encode()}
        assert (client.xlen(stream), client.xpending(stream, "keepers")["pending"]) == (0, 0)


def test_it_goes_on_after_redis_was_killed(tmp_path: Path) -> None:
    """What was confirmed is there; the same reader takes and settles it. While Redis is away each call says so."""
    with running_redis() as server, opened("redis", tmp_path, server.url) as journal:
        journal.write(talk(0), talk(1))
        taken = journal.take(1)
        server.kill()
        with pytest.raises(JournalError, match=r"^redis: ConnectionError$"):
            journal.reader.counts()
        with pytest.raises(JournalError, match=r"^redis: ConnectionError$"):
            journal.reader.done([taken[0].seq])
        server.start()
        again = journal.take()
        assert (places(again), [entry.taken for entry in again]) == ([0, 1], [1, 0])
        journal.reader.done([entry.seq for entry in again])
        assert journal.reader.counts().pending == 0


def test_no_error_tells_the_password(tmp_path: Path) -> None:
    """Nor what was said, which Redis quotes in some of its own messages."""
    with running_redis("--requirepass", "hunter2") as server:
        url = server.url.replace("redis://", "redis://:wrong-hunter3@")
        reader = SharedReader(shared_settings(tmp_path, url), "one")
        with closing(reader), pytest.raises(JournalError) as caught:
            reader.counts()
        assert str(caught.value) == "redis: AuthenticationError"
        assert caught.value.__cause__ is None
        assert caught.value.__suppress_context__
        right = SharedReader(shared_settings(tmp_path, server.url.replace("redis://", "redis://:hunter2@")), "one")
        with closing(right):
            assert right.counts().pending == 0


@pytest.mark.parametrize("url", ["redis://localhost:6379/?socket_timeout=hunter2", "redis://localhost/?hunter2=1"])
def test_what_is_wrong_with_a_url_is_told_without_it(tmp_path: Path, url: str) -> None:
    """The configuration is refused in one line, like any other."""
    with pytest.raises(ConfigError, match=r"^journal.url: should be redis://") as caught:
        open_redis(shared_settings(tmp_path, url))
    assert "hunter2" not in str(caught.value)


def test_the_package_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it a configuration that needs it says what to install."""
    monkeypatch.setitem(__import__("sys").modules, "redis", None)
    with pytest.raises(ConfigError, match=r"pip install 'memory-proxy\[redis\]'"):
        open_redis(shared_settings(tmp_path, "redis://localhost"))
