"""The pages of ``memory-proxy eval --report``."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

from proxy.cli import output, pages, webpage
from proxy.cli.monthboard import conclude_month, list_month_sections
from proxy.cli.scoreboard import Section as Printed
from proxy.cli.scoreboard import conclude, list_sections
from proxy.evaluation.asking import DEFAULT_BUDGET
from proxy.evaluation.month import MonthReport
from proxy.evaluation.pictures import list_charts, list_month_charts
from proxy.evaluation.report import Report
from proxy.evaluation.statistics import Interval
from proxy.evaluation.strangers import MUCH
from proxy.reporting.charts import Chart
from proxy.reporting.page import Section, Tile

_NAMES: Final[Mapping[str, str]] = {
    "shares": "Evidence",
    "blocks": "Answers and tokens",
    "updates": "What changed",
    "relevance": "Strangers",
    "replays": "Prompt cache",
    "digressions": "Sudden questions",
    "timing": "Time",
    "month": "Both months",
    "noise": "Noise",
}
_UNTABLED: Final = "Drawn, and in the sentences at the end."
# What noise may cost.
_MOST_LOST: Final = 0.01


def write_eval_page(path: Path, run: webpage.Run, report: Report, directory: Path) -> None:
    """The page of an ordinary run."""
    pages.write_report(
        path,
        run,
        title="memory-proxy eval",
        lead="How well recall finds what was said, on a data set with known answers, and what it costs.",
        facts={"data set": _describe(directory, report.users, output.count(report.memories, "memory"))},
        tiles=list(_pick_tiles(report)),
        sections=_join(list_sections(report), list_charts(report)),
        closing=list(conclude(report)),
    )


def write_month_page(path: Path, run: webpage.Run, report: MonthReport, directory: Path) -> None:
    """The page of a month."""
    held = output.count(report.conversations, "conversation")
    pages.write_report(
        path,
        run,
        title="memory-proxy eval --month",
        lead="All conversations of a data set held through the proxy, once as they were and once with noise.",
        facts={"data set": _describe(directory, report.users, held)},
        tiles=list(_pick_month_tiles(report)),
        sections=_join(list_month_sections(report), list_month_charts(report)),
        closing=list(conclude_month(report)),
    )


def _describe(directory: Path, users: int, rest: str) -> str:
    return f"{directory.resolve().name}: {output.count(users, 'user')}, {rest}"


def _join(printed: Iterable[Printed], charts: Iterable[tuple[str, Chart]]) -> list[Section]:
    """Tables and charts of a topic together."""
    tables = {section.topic: section for section in printed}
    drawn: defaultdict[str, list[Chart]] = defaultdict(list)
    for topic, chart in charts:
        drawn[topic].append(chart)
    sections = []
    for topic, name in _NAMES.items():
        if section := tables.get(topic):
            table = pages.convert(section.table)
            sections.append(Section(name=name, text=section.heading, table=table, charts=drawn[topic]))
        elif drawn[topic]:
            sections.append(Section(name=name, text=_UNTABLED, charts=drawn[topic]))
    return sections


def _pick_tiles(report: Report) -> Iterator[Tile]:
    scores, relevance = report.overall, report.relevance
    budget = DEFAULT_BUDGET
    yield _make_share_tile(f"evidence inside {budget:,} tokens", scores.share[budget])
    yield _make_share_tile("evidence among the ten best", scores.recall_at_10)
    yield _make_share_tile(f"strangers' questions that bring in over {MUCH} tokens", relevance.questions)
    yield _make_share_tile("greetings that bring in anything", relevance.greetings)
    if (seen := report.isolation) is not None:
        note = f"of {seen.memories:,} shown; should be 0"
        foreign = "others' memories in a block"
        yield Tile(label=foreign, value=f"{seen.foreign:,}", note=note, tone="bad" if seen.foreign else "good")
    times = report.recall_ms
    yield Tile(label="a recall, p50", value=f"{times.p50:.2f} ms", note=f"p99 {times.p99:.2f} ms")


def _make_share_tile(label: str, share: Interval) -> Tile:
    return Tile(label=label, value=f"{share.mean:.1%}", note=f"95% interval: {share.low:.1%} to {share.high:.1%}")


def _pick_month_tiles(report: MonthReport) -> Iterator[Tile]:
    for label, lost in (
        ("evidence inside blocks that noise costs", report.share_lost),
        ("evidence among the ten best that noise costs", report.first_lost),
    ):
        kept = lost <= _MOST_LOST
        yield Tile(label=label, value=f"{lost:.2%}", note="at most 1 %", tone="good" if kept else "bad")
    noisy = report.noisy
    for label, found in (
        ("memories that nobody said", sum(noisy.verdict.unsupported.values())),
        ("secrets in memories", noisy.verdict.secrets),
        ("secrets in files", noisy.readable),
    ):
        yield Tile(label=label, value=f"{found:,}", note="should be 0", tone="bad" if found else "good")
    yield Tile(label="requests", value=f"{report.clean.requests + noisy.requests:,}", note="of both months")
