"""The benchmark: its arithmetic, its processes, and one very small run of everything."""

import io
import json
import re
import time
from pathlib import Path
from typing import NamedTuple

import pytest
from rich.console import Console

from proxy.bench.chats import stream_headers
from proxy.bench.corpus import chat_body
from proxy.bench.load import Endpoint
from proxy.bench.plan import Plan
from proxy.bench.processes import Child, ChildError, find_children, read_cpu_seconds
from proxy.bench.report import Report, Row, difference, percentile, ratio
from proxy.bench.scrape import Scrape, bucket_quantile, quantile_between
from proxy.bench.servers import Conditions, start_floor, start_upstream
from proxy.bench.stages import run_benchmark
from proxy.cli.bench import build_table
from proxy.cli.bench_page import LEADS, write_bench_page
from proxy.cli.webpage import Run
from proxy.mock.payloads import name_model, prebuilt_events
from proxy.reporting.charts import Lines, Spreads, Strips
from tests.commands import invoke
from tests.pages import check_takes_over, read_numbers, read_page

TINY = Plan(
    rounds=1,
    chats=10,
    streams=2,
    chunks=5,
    concurrency=2,
    samples=10,
    paced_streams=2,
    paced_rounds=1,
    few=2,
    gap_ms=1,
    picture_samples=2,
    picture_bytes=100_000,
    crowd=4,
    crowd_chunks=5,
    dawdlers=8,
    fast=4,
    dawdled=20,
    dawdler_rounds=1,
    warm_up=10,
    endured=10,
    memories=20,
    store_size=60,
    hoard=40,
    visits=2,
    ladder=(10,),
    climbs=5,
    stored=100,
    backlog=60,
    kills=1,
    kill_rate=20,
    settle_s=0,
)

CHARTS = [
    "CPU time of a request, and of a stream that comes at once",
    "CPU time of a stream at 1 ms a chunk",
    "Time of a chat, one at a time",
    "Time to the first token of a stream",
    "Time of a chat with a picture of 0.1 MB",
    "Gaps between chunks, 2 streams at once",
    "Gaps between chunks, 4 streams at once",
    "Time of a chat, 4 at a time",
    "Memory of the edge over many requests",
    "Time of a chat while a backlog is stored",
    "A backlog that is stored while chats go on",
    "Time of a chat while memories are stored",
    "A backlog that is stored",
    "Recall, in a small store and in a large one",
    "Recall against the user's memories",
]


class Small(NamedTuple):
    report: Report
    said: list[str]
    parent: Path


def make_row(value: float | None, target: float | None = None, aim: float | None = None) -> Row:
    return Row(name="a row", value=value, unit="ms", target=target, aim=aim, meaning="for the test")


@pytest.mark.parametrize(
    ("row", "measured", "asked", "met"),
    [
        (make_row(1.234, 2), "1.23 ms", "≤ 2 ms", True),
        (make_row(2, 2), "2 ms", "≤ 2 ms", True),
        (make_row(1234.5, 450), "1,234 ms", "≤ 450 ms", False),
        (make_row(0, 0), "0 ms", "0 ms", True),
        (make_row(3), "3 ms", "", None),
        (make_row(None, 2), "n/a", "≤ 2 ms", None),
    ],
)
def test_rows_say_what_was_measured(row: Row, measured: str, asked: str, met: bool | None) -> None:
    """What a machine does not tell is n/a and neither met nor missed."""
    assert (row.measured, row.asked, row.met) == (measured, asked, met)


@pytest.mark.parametrize(("value", "met", "aim_met"), [(1, True, True), (2, True, False), (5, False, False)])
def test_an_aim_is_asked_apart_from_the_target(value: float, met: bool, aim_met: bool) -> None:
    """The aim never decides whether the target is met; the report has both."""
    row = make_row(value, 4, 1.5)
    assert (row.met, row.aim_met, row.aimed) == (met, aim_met, "≤ 1.50 ms")
    assert Report([row]).to_dict()["rows"] == [
        {
            "name": "a row",
            "value": value,
            "unit": "ms",
            "meaning": "for the test",
            "target": 4,
            "aim": 1.5,
            "met": met,
            "aim_met": aim_met,
        }
    ]


def test_missing_numbers_stay_missing() -> None:
    """Arithmetic with an unknown number gives an unknown number, not zero."""
    assert percentile([], 99) is None
    assert percentile([1.0, 3.0], 50) == 2
    assert difference(None, 1) is difference(1, None) is None
    assert difference(3, 1, scale=1000) == 2000
    assert ratio(1, None) is ratio(1, 0) is None
    assert ratio(3, 2) == 1.5


@pytest.mark.parametrize(
    ("buckets", "share", "value"),
    [
        ({}, 0.5, None),
        ({1.0: 0, float("inf"): 0}, 0.5, None),
        ({1.0: 10, 2.0: 10, float("inf"): 10}, 0.5, 0.5),
        ({1.0: 0, 2.0: 10, float("inf"): 10}, 0.9, 1.9),
        ({1.0: 5, 2.0: 5, float("inf"): 10}, 0.9, 2.0),
    ],
)
def test_quantiles_lie_inside_their_bucket(buckets: dict[float, float], share: float, value: float | None) -> None:
    """Interpolated within a bucket; beyond the last bound, that bound."""
    found = bucket_quantile(buckets, share)
    assert found == (None if value is None else pytest.approx(value))


def test_only_what_came_between_two_scrapes_counts() -> None:
    """What a histogram had before the first scrape is taken off; label sets are added up."""
    text = (
        "# TYPE lag histogram\n"
        'lag_bucket{{p="a",le="1.0"}} {fast}\nlag_bucket{{p="a",le="2.0"}} {all}\nlag_bucket{{p="a",le="+Inf"}} {all}\n'
        'lag_bucket{{p="b",le="1.0"}} 0\nlag_bucket{{p="b",le="2.0"}} 0\nlag_bucket{{p="b",le="+Inf"}} 0\n'
    )
    before, after = Scrape(text.format(fast=100, all=100)), Scrape(text.format(fast=100, all=110))
    assert quantile_between(before, after, "lag", 0.5) == pytest.approx(1.5)
    assert quantile_between(after, after, "lag", 0.5) is None
    assert quantile_between(before, after, "no_such_metric", 0.5) is None


def test_counters_are_added_up() -> None:
    """All label sets of one together, of no other; what is not there is 0."""
    text = '# TYPE a_total counter\na_total{p="x"} 2\na_total{p="y"} 3\n# TYPE b_total counter\nb_total 9\n'
    assert Scrape(text).total("a_total") == 5
    assert Scrape(text).total("c_total") == 0


def test_a_child_that_ends_early_says_why() -> None:
    """The error holds the last lines that the child wrote."""
    with Child("proxy.bench.no_such_module") as child:
        with pytest.raises(ChildError, match="No module named"):
            child.url()
        with pytest.raises(ChildError, match="ended with 1"):
            child.wait()


def test_a_child_listens_and_is_stopped() -> None:
    """The upstream's process is measured while it lives, and is gone afterwards."""
    with Child("proxy.mock.upstream") as child:
        assert child.url().startswith("http://127.0.0.1:")
        assert (read_cpu_seconds(child.pid) or 1) > 0
    assert read_cpu_seconds(child.pid) is None
    assert find_children(child.pid) == []


async def test_the_floor_relays() -> None:
    """What the proxy is measured against does the same work: status, body and stream arrive as they were sent."""
    body, headers = chat_body("Hello", stream=True), stream_headers(7, gap_ms=1)
    with start_upstream() as upstream, start_floor(upstream.url()) as floor:
        direct, floored = Endpoint(upstream.url()), Endpoint(floor.url())
        for sent in (headers, {"X-Mock-Chunks": "7"}):
            assert (await floored.chat(body, sent)).body == (await direct.chat(body, sent)).body != b""
        answer = await floored.chat(body, {"X-Mock-Status": "429"}, expected=429)
        assert answer.headers["retry-after"] == "1"
        assert (await floored.call("GET", "/v1/models?limit=1", {})).status == 200
        direct.close()
        floored.close()


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Small:
    """A run of everything, what it said meanwhile, and the folder that it had."""
    parent = tmp_path_factory.mktemp("bench")
    said: list[str] = []
    return Small(run_benchmark(TINY, said.append, Conditions(), parent=parent), said, parent)


def test_a_small_run_measures_everything(small: Small) -> None:
    """All rows are there, once each; the promises that do not depend on the machine's speed are kept."""
    report, said, parent = small
    rows = {row.name: row for row in report.rows}
    assert len(rows) == len(report.rows) == 66
    kept = ("failed chats", "lost", "stored twice", "stored, never said", "failed streams", "lost or reordered bytes")
    assert [rows[name].value for name in kept] == [0] * len(kept)
    events = name_model(prebuilt_events(TINY.crowd_chunks, usage=False), "mock-000")
    assert f"of {TINY.crowd * len(b''.join(events)):,}, compared" in rows["lost or reordered bytes"].meaning
    assert (rows["chats with memory"].value or 0) >= 50  # a machine that stalls for the deadline may miss one or two
    assert "killing the keeper" in said
    assert list(parent.iterdir()) == []
    written = json.loads(json.dumps(report.to_dict()))
    assert {row["met"] for row in written["rows"]} <= {True, False, None}
    assert written["machine"]["cpus"] >= 1


def test_the_page_of_a_run(small: Small, tmp_path: Path) -> None:
    """Each row of the table with its numbers and whether bounds are kept, and a chart of each distribution."""
    file = tmp_path / "report.html"
    printed = build_table(small.report)
    write_bench_page(file, Run("memory-proxy bench", time.time(), time.perf_counter()), small.report, printed, "")
    page = read_page(file.read_text("utf-8"))
    console = Console(width=250, record=True, color_system=None, file=io.StringIO())
    console.print(printed)
    check_takes_over(page, console.export_text())
    table = page.tables[0]
    assert table[0] == ["what", "measured", "target", "aim", "kept", "meaning"]
    kept = {True: "met", False: "missed", None: ""}
    assert [row[:4] + row[5:] for row in table[1:]] == [
        [row.name, row.measured, row.asked, row.aimed, row.meaning] for row in small.report.rows
    ]
    assert [row[4].split(" aim")[0].removeprefix("aim ") for row in table[1:] if row[2]] == [
        kept[row.met] for row in small.report.rows if row.asked
    ]
    assert list(page.figures) == CHARTS
    for figure in page.figures.values():
        assert len(read_numbers(figure)) > 1


def test_each_way_to_measure_has_its_page() -> None:
    """What is measured alone says so in its title, and what it is about."""
    text = " ".join(invoke("bench", "--help", COLUMNS="200").stdout.split())
    alone = {option for option, told in re.findall(r"(--\w+) (.*?)(?= --|$)", text) if "Only this:" in told}
    assert alone | {""} == LEADS.keys()


def test_charts_are_of_what_was_measured(small: Small) -> None:
    """A dot a round, a line of all samples, a point a look."""
    charts = {chart.title: chart for chart in small.report.charts}
    chats = charts["Time of a chat, one at a time"]
    assert isinstance(chats, Spreads)
    assert {name: sample.count for name, sample in chats.series.items()} == dict.fromkeys(
        ("direct", "through the floor", "through the proxy", "with memory"), TINY.samples
    )
    gaps = charts["Gaps between chunks, 4 streams at once"]
    assert isinstance(gaps, Spreads)
    assert gaps.series["direct"].count == TINY.crowd * len(list(prebuilt_events(TINY.crowd_chunks, usage=False))[1:])
    rounds = charts["CPU time of a request, and of a stream that comes at once"]
    assert isinstance(rounds, Strips)
    assert {len(values) for values in rounds.rows.values()} == {TINY.rounds}
    recall = charts["Recall against the user's memories"]
    assert isinstance(recall, Lines)
    assert [point.x for point in recall.series["p50"]] == [*TINY.ladder, TINY.memories, TINY.hoard]
    backlog = charts["A backlog that is stored"]
    assert isinstance(backlog, Lines)
    assert [point.y for point in backlog.series["waiting"]][:: len(backlog.series["waiting"]) - 1] == [TINY.backlog, 0]


def test_a_report_that_cannot_be_written_is_told_at_once(tmp_path: Path) -> None:
    """Before anything is measured."""
    result = invoke("bench", "--report", tmp_path / "nowhere" / "bench.html")
    assert result.exit_code == 2
    assert result.stderr.endswith("bench.html: cannot be written: No such file or directory\n")


def test_the_table_shows_every_row() -> None:
    """Rows with equal names are both shown, and an unknown number as such."""
    console = Console(width=120, record=True, color_system=None)
    console.print(build_table(Report([make_row(1, 2, 1.5), make_row(None)])))
    printed = console.export_text()
    assert printed.count("a row") == 2
    assert "n/a" in printed
    assert "≤ 1.50 ms" in printed
