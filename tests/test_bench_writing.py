"""What the benchmarks of the write path are made of: a backlog, texts that are like no other, and a port."""

import os
from pathlib import Path

import pytest

from proxy.bench.corpus import TURNS, Babble
from proxy.bench.manager import find_port
from proxy.bench.plan import Plan
from proxy.bench.processes import find_children
from proxy.bench.servers import Conditions, start_upstream
from proxy.bench.writing import USERS, journal_backlog, measure_writing
from proxy.errors import MemoryProxyError
from proxy.journal import JournalReader


async def test_a_backlog_is_of_whole_conversations(tmp_path: Path) -> None:
    """Exchanges of one conversation follow each other without a gap, and a long one is followed by another."""
    turns = TURNS // 2 + 1
    await journal_backlog(tmp_path, USERS * turns)
    reader = JournalReader(tmp_path)
    exchanges = [entry.exchange for entry in reader.take(USERS * turns)]
    reader.close()
    assert len(exchanges) == USERS * turns
    places = [(e.conversation_id, e.first_index) for e in exchanges if e.user_id == "writer-7"]
    assert places == [*(("7-0", 2 * turn) for turn in range(turns - 1)), ("7-1", 0)]
    assert all([message.role for message in e.messages] == ["user", "assistant"] for e in exchanges)


async def test_a_backlog_that_cannot_be_stored_is_no_result(tmp_path: Path) -> None:
    """Nothing is divided by nothing."""
    with pytest.raises(MemoryProxyError, match="0 were stored"):
        await measure_writing(Plan(backlog=0), tmp_path, Conditions())


def test_babble_never_repeats_itself() -> None:
    """What one seed says, it says again, and no other one does."""
    said = Babble("a").text(500).lower().rstrip(".").split()
    assert Babble("a").text(500).lower().rstrip(".").split() == said
    assert len(set(said)) > 490
    assert len(set(said) & set(Babble("b").text(500).lower().split())) < 10


def test_a_port_is_none_that_a_client_gets() -> None:
    """It lies below those that the system hands out by itself."""
    assert 20_000 <= find_port() < 32_000


def test_a_killed_child_is_gone() -> None:
    """Its group, too, and killing it again does nothing."""
    with start_upstream() as child:
        child.url()
        child.kill()
        with pytest.raises(ProcessLookupError):
            os.kill(child.pid, 0)
        assert find_children(child.pid) == []
        child.kill()
