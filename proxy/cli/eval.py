"""``memory-proxy eval``: how well recall finds what was said, on a data set with known answers."""

import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from proxy.cli import options, output
from proxy.errors import ConfigError

if TYPE_CHECKING:
    from proxy.evaluation.month import MonthReport, Run
    from proxy.evaluation.report import Report

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


def evaluate_recall(
    directory: Annotated[
        Path, typer.Argument(metavar="DIR", help="Has conversations.jsonl (or .jsonl.gz) and questions.json.")
    ],
    quick: Annotated[
        bool, typer.Option("--quick", help="Leave out the common store, the replayed conversations and the clock.")
    ] = False,
    others: Annotated[
        Path | None,
        typer.Option("--others", metavar="DIR", help="Another data set: its questions should find nothing here."),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option("--plot", metavar="FILE.svg", help="Draw the share of evidence against the budget."),
    ] = None,
    month: Annotated[
        bool,
        typer.Option(
            "--month", help="Only this: hold all conversations through the proxy, and look at what is stored."
        ),
    ] = False,
    users: Annotated[int | None, typer.Option(min=1, metavar="N", help="So many users of the set for --month.")] = None,
    seed: Annotated[int, typer.Option(help="Of what --month draws.")] = 5,
    as_json: options.AsJson = False,
    config: options.ConfigFile = None,
    data_dir: options.DataDir = None,
) -> None:
    """Score recall: the share of each question's evidence that is inside a block, and what memory costs otherwise.

    The data directory is neither read nor written: what has to be stored lies in a temporary folder. A data set of
    50,000 messages takes some minutes, mostly to embed them.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that it, too, removes the temporary store
    options.load(config, data_dir)
    if month:
        _evaluate_month(directory, users, seed, as_json=as_json)
        return
    from proxy.evaluation.stages import CURVE_BUDGETS, Plan, evaluate

    if plot is not None:
        _write(plot, "")  # now, since nobody wants to hear of it minutes later
    plan = Plan(quick=quick, others=others, curve_budgets=CURVE_BUDGETS if plot is not None else ())
    with _follow() as progress:
        report = evaluate(directory, plan, progress)
    if plot is not None:
        _write(plot, _draw(report))
    if as_json:
        output.print_json(report.to_dict())
    else:
        _show(report)


def _evaluate_month(directory: Path, users: int | None, seed: int, *, as_json: bool) -> None:
    from proxy.evaluation.month import MonthPlan, evaluate_month

    with _follow() as progress:
        report = evaluate_month(directory, MonthPlan(users=users, seed=seed), progress)
    if as_json:
        output.print_json(report.to_dict())
    else:
        _show_month(report)


@contextmanager
def _follow() -> Iterator[Callable[[str, int, int], None]]:
    """Shows how far a measurement is, and ends the process with one line where it fails."""
    with options.reported(), _show_progress() as progress:
        try:
            yield progress
        except ConfigError as exc:  # of the data set, not of this program
            options.fail(str(exc))


@contextmanager
def _show_progress() -> Iterator[Callable[[str, int, int], None]]:
    console = output.make_console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("reading", total=None)
        yield lambda stage, done, of: progress.update(task, description=stage, completed=done, total=of)


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, "utf-8")
    except OSError as exc:
        options.fail(f"--plot: {path}: cannot be written: {exc.strerror}", options.USAGE)


def _draw(report: "Report") -> str:
    from proxy.evaluation.plot import Point, draw_lines

    series = {
        name: [Point(budget, share.mean, share.low, share.high) for budget, share in curve.items()]
        for name, curve in report.curves.items()
    }
    title = "Evidence inside the block"
    return draw_lines(title, "tokens of the block", "share of the evidence", series, emphasis="all")


def _show(report: "Report") -> None:
    from proxy.cli.scoreboard import list_sections

    console = output.make_console()
    for heading, table in list_sections(report):
        console.print(heading, style="bold")
        console.print(table)
    for line in _conclude(report):
        console.print(line)


def _conclude(report: "Report") -> Iterator[str]:
    if (seen := report.isolation) is not None:
        yield (
            f"Other users' memories in a block: {seen.foreign:,} (should be 0) of {seen.memories:,} shown "
            f"to {output.count(seen.users, 'user')} of one store."
        )
    left_out = f", {report.left_out:,} without evidence left out" if report.left_out else ""
    asked = report.overall.questions + sum(scores.questions for scores in report.apart.values())
    yield (
        f"{output.count(report.users, 'user')}, {output.count(report.memories, 'memory')}, "
        f"{output.count(asked, 'question')}{left_out}. "
        f"A recall takes {report.recall_ms.p50:.2f} ms at p50 and {report.recall_ms.p99:.2f} ms at p99 "
        f"(CPU {report.cpu_ms.p50:.2f} and {report.cpu_ms.p99:.2f} ms)."
    )


def _show_month(report: "MonthReport") -> None:
    console = output.make_console()
    table = output.make_table()
    for name in ("what", "clean", "noisy", "should be"):
        table.add_column(name, justify="left" if name == "what" else "right")
    clean, noisy = _describe_run(report.clean), _describe_run(report.noisy)
    for (name, target), one, other in zip(_MONTH_ROWS, clean, noisy, strict=True):
        table.add_row(name, one, other, target)
    console.print("A month through the proxy, once as it was and once with what else real clients send.", style="bold")
    console.print(table)
    console.print("What came between the turns, and what memory said to it.", style="bold")
    console.print(_tabulate_noise(report))
    held = f"{output.count(report.users, 'user')}, {output.count(report.conversations, 'conversation')}"
    console.print(
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
