"""What it costs to see: one very small run."""

from pathlib import Path

import msgspec

from proxy.bench.plan import Plan
from proxy.bench.servers import Conditions
from proxy.bench.watching import EYES, KINDS, MEANINGS, run_watching
from proxy.reporting.charts import Strips

SMALL = msgspec.structs.replace(Plan(), rounds=1, chats=10, concurrency=2, memories=20)


def test_a_small_run(tmp_path: Path) -> None:
    """Every kind of request is compared, with the usual eyes and with all of them, to a proxy without any."""
    report = run_watching(SMALL, tmp_path / "watching", Conditions())
    rows = report.rows
    assert [row.name for row in rows] == [f"{kind} request, {eyes}" for kind in KINDS for eyes in MEANINGS]
    assert set(EYES) == {"blind", *MEANINGS}
    assert all(row.value is not None and row.value > 0 for row in rows)
    (chart,) = report.charts
    assert isinstance(chart, Strips)
    assert {name: len(rounds) for name, rounds in chart.rows.items()} == {row.name: SMALL.rounds for row in rows}
    assert chart.bounds.keys() == {row.name for row in rows if row.target is not None}
