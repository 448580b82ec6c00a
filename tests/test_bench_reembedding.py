"""``bench --reembed``: memories move while chats go on and the keeper is killed, and what is told of it."""

from array import array
from pathlib import Path

import pytest

from proxy.bench import reembedding
from proxy.bench.load import Answer
from proxy.bench.reembedding import Asked, Moved, Removal, list_removal_rows, run_removal
from proxy.bench.servers import Conditions
from proxy.keeper.moves import ReembeddingState

STATE = ReembeddingState("settled", "new (12 dimensions)", "new")


def test_a_small_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All is moved, nothing is left to do, no chat fails, and where there is a keeper each has its memory."""
    monkeypatch.setattr(reembedding, "IDLE_S", 0.5)
    patient = Conditions(variables={"MEMORY_PROXY_MEMORY__DEADLINE_MS": "10000"})  # however busy the machine is
    removal = Removal(memories=500, kills=1)
    rows = {row.name: row for row in run_removal(removal, tmp_path / "moved", patient).rows}
    assert rows["keepers killed"].value == 1
    assert {name: row.value for name, row in rows.items() if row.target == 0} == {
        "left to do afterwards": 0,
        "chats failed": 0,
        "… without memory": 0,
    }
    assert rows["memories moved"].value is not None
    assert "of 0 chats" not in rows["chats failed"].meaning


def ask(at: float, status: str | None, seconds: float = 0.01) -> Asked:
    """A chat with this memory status; None: it failed."""
    if status is None:
        return Asked(at, None)
    return Asked(at, Answer(200, {"x-memory-status": status}, b"", array("d"), array("Q"), seconds))


def test_what_is_told_of_it() -> None:
    """Memories are missed where there is a keeper, and where there is none; time without a keeper moves nothing."""
    busy = [ask(1, "injected"), ask(2, "timeout"), ask(5, "error"), ask(6, None), ask(7, "injected", 0.05)]
    moved = Moved(12.0, 3.0, [ask(0, "injected")] * 9, busy, [(4.0, 6.0)], STATE)
    rows = {row.name: row for row in list_removal_rows(Removal(memories=1_000), moved)}
    assert {name: row.value for name, row in rows.items()} == {
        "memories moved": pytest.approx(100),
        "moving a memory": pytest.approx(10),
        "… CPU time of the keepers": pytest.approx(3),
        "keepers killed": 1,
        "left to do afterwards": 0,
        "chats failed": 1,
        "… without memory": 1,
        "… while there was no keeper": 1,
        "chat meanwhile, p99": pytest.approx(50, rel=0.05),
        "… against before, p99": pytest.approx(5, rel=0.05),
    }
    assert [rows[name].met for name in ("moving a memory", "left to do afterwards", "chats failed")] == [
        False,
        True,
        False,
    ]
