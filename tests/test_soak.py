"""Memory over time: how growth is told, and one very short run."""

from pathlib import Path

from proxy.bench.servers import Conditions
from proxy.bench.soak import describe_growth, run_soak

MB = 1_000_000


def test_warming_up_is_no_growth() -> None:
    """The first quarter does not count, and one peak changes no median."""
    sizes = [10 * MB, 50 * MB, 100 * MB, 100 * MB, 100 * MB, 100 * MB, 100 * MB, 900 * MB, 101 * MB, 102 * MB, 103 * MB]
    row = describe_growth("edge", [*sizes, 103 * MB], "some chats")
    assert (row.value, row.met) == (3.0, True)
    assert "103 MB at the end" in row.meaning


def test_growth_is_told() -> None:
    """Half a megabyte with every sample is missed by far."""
    row = describe_growth("keeper", [number * MB // 2 for number in range(100)], "some chats")
    assert (row.value, row.met) == (25.0, False)


def test_a_machine_without_proc() -> None:
    """Tells nothing."""
    assert describe_growth("edge", [None, None, None, None], "some chats").value is None


def test_a_short_soak(tmp_path: Path) -> None:
    """Every kind of chat succeeds, no keeper ends, and both processes are looked at."""
    rows = run_soak(0.1, tmp_path / "soaked", Conditions())
    assert [row.name for row in rows] == ["keepers that ended", "growth of the edge", "growth of the keeper"]
    assert rows[0].value == 0
    assert all(row.value is not None for row in rows)
