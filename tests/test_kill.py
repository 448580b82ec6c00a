"""``kill -9``: what a client has seen to its end is remembered, once."""

from collections.abc import Iterator
from datetime import UTC, datetime
from http.client import HTTPException
from pathlib import Path
from typing import Final

import msgspec
import pytest

from proxy.bench.crowd import Crowd, Losses
from proxy.bench.durability import Ordeal, draw_kills, list_rows, run_ordeal
from proxy.bench.manager import VICTIMS
from proxy.bench.servers import Conditions, start_talker
from proxy.models import Memory
from tests.processes import Chat, Proxy, Upstream, running_upstream

SHORT: Final = Ordeal(kills=25, longest_s=0.4, patience=0.1)
USER: Final = "ada"
NOON: Final = datetime(2024, 3, 1, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with running_upstream() as running:
        yield running


def test_every_finished_exchange_survives_twenty_five_kills(tmp_path: Path) -> None:
    """The short ``bench --kills``: what clients have seen the end of is there, nothing twice, and nothing else."""
    after = run_ordeal(SHORT, tmp_path / "data", Conditions())
    assert after.kills.total() == SHORT.kills
    assert all(after.kills[victim] for victim in VICTIMS)
    assert after.crowd.finished > SHORT.kills
    assert after.crowd.broken > 0
    assert {row.name: row.value for row in list_rows(after) if row.target == 0} == {
        "wrong answers": 0,
        "lost": 0,
        "stored twice": 0,
        "stored, never said": 0,
        "not storable": 0,
    }
    chart = draw_kills(after)
    edges, keepers = (chart.lanes[lane] for lane in ("edge", "keeper"))
    assert len(edges) == after.kills["edge"] + after.kills["both"]
    assert len(keepers) >= after.kills["keeper"] + after.kills["both"]
    assert all(0 <= span.start <= span.end <= chart.seconds for span in (*edges, *keepers))
    ended = chart.bin_s * sum(map(sum, chart.pulses.values()))
    assert ended == pytest.approx(after.crowd.finished + len(after.crowd.failures), abs=after.crowd.finished * 0.02)


async def test_a_crowd_notices_what_is_wrong(tmp_path: Path) -> None:
    """What was heard and is not stored is lost; what is stored twice, or was never said, is counted as that."""
    with start_talker() as upstream:
        crowd = Crowd(upstream.url(), seed=1, rate=200)
        await crowd.talk(most=5)
    user = next(iter(crowd.users))
    said = [Memory(f"{n}", user, "turn", role, text, NOON, "c", n) for n, (role, text) in enumerate(crowd.said(user))]
    assert crowd.review(user, said) == Losses()
    stranger = msgspec.structs.replace(said[0], text="Nobody said this.")
    assert crowd.review(user, [*said[1:], said[1], stranger]) == Losses(lost=1, doubled=1, invented=1)


def test_positions_go_on_after_a_kill(tmp_path: Path, upstream: Upstream) -> None:
    """A conversation that goes on with another process is one conversation, numbered through."""
    with Proxy(tmp_path, upstream.url) as proxy:
        first = Chat(proxy.url, USER)
        first.say("I moved to Porto.", stream=True)
    with Proxy(tmp_path, upstream.url) as proxy:
        proxy.wait_ready()
        second = Chat(proxy.url, USER)
        second.history = first.history
        second.say("And I bought a bicycle.")
        proxy.flush()
        memories = proxy.memories(USER)
    assert len({memory["conversation_id"] for memory in memories}) == 1
    assert [memory["message_index"] for memory in memories] == [3, 2, 1, 0]


def test_a_cut_answer_is_not_remembered(tmp_path: Path, upstream: Upstream) -> None:
    """What the client never saw the end of, because the proxy was killed in its middle, is not stored."""
    gate = upstream.gate("cut")
    with Proxy(tmp_path, upstream.url) as proxy:
        Chat(proxy.url, USER).say("My cat is called Ink.")
        with Chat(proxy.url, USER, **{"X-Gate": "cut"}).start("My dog is called Rex.", stream=True) as response:
            assert gate.reached.wait(10)
            proxy.kill()
            gate.opened.set()
            with pytest.raises((HTTPException, ConnectionError)):
                response.read()
    with Proxy(tmp_path, upstream.url) as proxy:
        proxy.wait_ready()
        proxy.flush()
        assert proxy.texts(USER) == {"My cat is called Ink.": 1, "Noted: My cat is called Ink.": 1}
