"""Many replicas on shared engines: what a siege counts, and one small siege of everything."""

import socket
from pathlib import Path

import pytest

from proxy.bench.crowd import Failure
from proxy.bench.engines import Engine, find_program
from proxy.bench.fleet import Fleet, Kill, Member, Siege, draw_siege, find_unexplained, list_siege_rows, run_siege
from proxy.bench.servers import Conditions
from proxy.bench.talker import Seen, mark
from proxy.errors import MemoryProxyError

FIRST, SECOND = "127.0.0.1:1001", "127.0.0.1:1002"
FAILURE = Failure(7, 100.0, 101.0, "closed")


@pytest.mark.parametrize(
    ("served", "kill", "explained"),
    [
        ([(7, FIRST, 101.0)], Kill("replica", FIRST, 100.5, 102.0), True),
        ([(7, FIRST, 101.0)], Kill("replica", SECOND, 100.5, 102.0), False),
        ([(7, FIRST, 101.0)], Kill("keeper", FIRST, 100.5, 102.0), False),
        ([(7, FIRST, 101.0)], Kill("redis", "", 100.5, 102.0), False),
        ([(7, FIRST, 101.0)], Kill("replica", FIRST, 90.0, 91.0), False),
        ([(7, FIRST, 80.0)], Kill("replica", FIRST, 100.5, 102.0), False),  # an earlier chat that said the same
        ([(8, FIRST, 101.0)], Kill("replica", FIRST, 100.5, 102.0), False),
        ([], Kill("replica", FIRST, 100.5, 102.0), False),
    ],
)
def test_a_failure_is_explained_by_its_own_replica_alone(
    served: list[tuple[int, str, float]], kill: Kill, explained: bool
) -> None:
    """Who died has to be who served, and at that time."""
    assert find_unexplained([FAILURE], served, [kill]) == ([] if explained else [FAILURE])


def test_the_access_log_tells_who_served(tmp_path: Path) -> None:
    """Of a chat that was passed on, the last one; requests that are no chats are left out."""
    fleet = Fleet("http://127.0.0.1:1", tmp_path, Conditions(), replicas=1)
    lines = [
        '1764510000.123 0.100 200 "42" "127.0.0.1:1001" "200"',
        '1764510001.000 0.100 200 "43" "127.0.0.1:1001, 127.0.0.1:1002" "502, 200"',
        '1764510002.000 0.000 502 "-" "127.0.0.1:1001" "502"',
    ]
    (tmp_path / "access.log").write_text("\n".join(lines))
    assert list(fleet.read_access()) == [(42, FIRST, 1764510000.123), (43, SECOND, 1764510001.0)]


def test_a_missing_program_is_named() -> None:
    """With what a fleet needs."""
    with pytest.raises(MemoryProxyError, match="no-such-engine is not on this machine; a fleet needs redis-server"):
        find_program("no-such-engine")


async def test_an_engine_whose_port_is_taken_does_not_start(tmp_path: Path) -> None:
    """While it was away somebody else has come, who would be taken for it: a Redis of other data, say."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        engine = Engine("redis", ["sleep", "60"], tmp_path, other.getsockname()[1])
        with pytest.raises(MemoryProxyError, match="somebody else listens on its port"):
            await engine.start()


def test_prompts_of_two_users_are_seen() -> None:
    """By the marks of what they said, wherever these stand."""
    seen = Seen()
    ada, bob = mark("ada").encode(), mark("bob").encode()
    for body in (ada, ada + b"<memory>" + ada, ada + bob.upper(), b""):
        seen.note(body)
    assert (seen.chats, seen.remembered, seen.mixed) == (4, 1, 1)


@pytest.mark.timeout(300)
def test_a_small_siege(tmp_path: Path) -> None:
    """Each member is killed; no chat fails but those whose replica died, and nothing is lost, doubled or mixed up."""
    members: tuple[Member, ...] = ("replica", "keeper", "redis", "chroma")
    relief = run_siege(
        Siege(seconds=1, seed=2, rate=20, replicas=2, members=members, least=4), tmp_path / "fleet", Conditions()
    )
    rows = {row.name: row for row in list_siege_rows(relief)}
    told = {name: (row.value, row.meaning) for name, row in rows.items() if row.met is False}
    assert (told, relief.unexplained) == ({}, [])
    assert relief.crowd.finished > 50
    assert {kill.member for kill in relief.kills} == set(members)
    assert relief.seen.remembered
    chart = draw_siege(relief)
    assert {lane.split()[0] for lane in chart.lanes} == set(members)
    assert sum(map(len, chart.lanes.values())) == len(relief.kills)
    assert sum(chart.pulses["failed"]) * chart.bin_s == pytest.approx(len(relief.crowd.failures))
