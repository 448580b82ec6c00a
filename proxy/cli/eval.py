"""``memory-proxy eval``: how well recall finds what was said, on a data set with known answers."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from proxy.cli import options, output
from proxy.errors import ConfigError

if TYPE_CHECKING:
    from proxy.evaluation.report import Report


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
    as_json: options.AsJson = False,
    config: options.ConfigFile = None,
    data_dir: options.DataDir = None,
) -> None:
    """Score recall: the share of each question's evidence that is inside a block, and what memory costs otherwise.

    The data directory is neither read nor written: what has to be stored lies in a temporary folder. A data set of
    50,000 messages takes some minutes, mostly to embed them.
    """
    from proxy.evaluation.stages import CURVE_BUDGETS, Plan, evaluate

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that it, too, removes the temporary store
    options.load(config, data_dir)
    if plot is not None:
        _write(plot, "")  # now, since nobody wants to hear of it minutes later
    plan = Plan(quick=quick, others=others, curve_budgets=CURVE_BUDGETS if plot is not None else ())
    with options.reported(), _show_progress() as progress:
        try:
            report = evaluate(directory, plan, progress)
        except ConfigError as exc:  # of the data set, not of this program
            options.fail(str(exc))
    if plot is not None:
        _write(plot, _draw(report))
    if as_json:
        output.print_json(report.to_dict())
    else:
        _show(report)


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
