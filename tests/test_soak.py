"""Memory over time: how growth is told, and one very short run."""

import json
from pathlib import Path

from proxy.bench.soak import describe_growth
from tests.commands import invoke
from tests.pages import check_takes_over, find_lines, read_page, read_places, read_text

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
    """Every kind of chat succeeds, no keeper ends, and both processes are looked at, which the page shows over time."""
    files = {"--json": tmp_path / "soak.json", "--report": tmp_path / "soak.html"}
    options = [part for option, file in files.items() for part in (option, file)]
    result = invoke("bench", "--soak", "0.1", "--data-dir", tmp_path / "data", *options)
    assert result.exit_code == 0, result.output
    rows = json.loads(files["--json"].read_text("utf-8"))["rows"]
    assert [row["name"] for row in rows] == ["keepers that ended", "growth of the edge", "growth of the keeper"]
    assert rows[0]["value"] == 0
    assert all(row["value"] is not None for row in rows)
    page = read_page(files["--report"].read_text("utf-8"))
    check_takes_over(page, make_plain(result.stdout))
    assert read_text(page.find("h1")[0]) == "memory-proxy bench --soak"
    assert [row[0] for row in page.tables[0][1:]] == [row["name"] for row in rows]
    edge, keeper = (len(read_places(line)) for line in find_lines(page.figures["Memory over time"]))
    assert 80 <= edge == keeper <= 101


def make_plain(printed: str) -> str:
    """What a boxed table says, without words that its columns have cut in two."""
    cells = [line.split("│") for line in printed.splitlines() if line.startswith("│")]
    return " ".join(cell for row in cells for cell in row[1:-2])
