"""The tables of ``memory-proxy eval --month``."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final

from rich.table import Table

from proxy.cli import output
from proxy.cli.scoreboard import Section

if TYPE_CHECKING:
    from proxy.evaluation.month import MonthReport, Run

# What a month is judged by, and what it should be.
_MONTH_ROWS: Final = (
    ("requests", ""),
    ("memories that hold", ""),
    ("… that no user message supports", "0"),
    ("… of an edited message or a replaced answer", "0"),
    ("… of small talk", "0"),
    ("… that are copies of another", "< 1 %"),
    ("secrets in memories", "0"),
    ("secrets in files", "0"),
    ("evidence inside 1,000 tokens", ""),
    ("evidence among the ten best", ""),
)


def list_month_sections(report: "MonthReport") -> Iterator[Section]:
    """Both months beside each other, and what came between the turns."""
    table = output.make_table()
    for name in ("what", "clean", "noisy", "should be"):
        table.add_column(name, justify="left" if name == "what" else "right")
    clean, noisy = _describe_run(report.clean), _describe_run(report.noisy)
    for (name, target), one, other in zip(_MONTH_ROWS, clean, noisy, strict=True):
        table.add_row(name, one, other, target)
    heading = "A month through the proxy, once as it was and once with what else real clients send."
    yield Section("month", heading, table)
    yield Section("noise", "What came between the turns, and what memory said to it.", _tabulate_noise(report))


def conclude_month(report: "MonthReport") -> Iterator[str]:
    """What is said in sentences."""
    held = f"{output.count(report.users, 'user')}, {output.count(report.conversations, 'conversation')}"
    yield (
        f"{held}, {output.count(report.questions, 'question')}. Noise costs {report.share_lost:.2%} of the evidence "
        f"inside blocks and {report.first_lost:.2%} among the ten best (at most 1 %)."
    )


def _describe_run(run: "Run") -> Iterator[str]:
    """A cell for each of :data:`_MONTH_ROWS`."""
    verdict = run.verdict
    yield f"{run.requests:,}"
    yield f"{verdict.units:,}"
    yield _name_kinds(verdict.unsupported)
    yield _name_kinds(verdict.abandoned)
    yield _name_kinds(verdict.junk)
    yield f"{verdict.copies / max(verdict.units, 1):.2%}"
    yield f"{verdict.secrets} of {run.secrets}"
    yield f"{run.readable} of {run.secrets}"
    yield f"{run.share:.3f}"
    yield f"{run.first:.3f}"


def _name_kinds(counts: Mapping[str, int]) -> str:
    kinds = ", ".join(f"{name} {count:,}" for name, count in sorted(counts.items()))
    return f"{sum(counts.values()):,}" + (f" ({kinds})" if kinds else "")


def _tabulate_noise(report: "MonthReport") -> Table:
    table = output.make_table()
    table.add_column("request")
    table.add_column("times", justify="right")
    table.add_column("X-Memory-Status")
    for label, counts in sorted(report.noisy.statuses.items()):
        table.add_row(label, f"{sum(counts.values()):,}", ", ".join(f"{k} {v:,}" for k, v in sorted(counts.items())))
    return table
