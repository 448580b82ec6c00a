"""``memory-proxy eval``: how well recall finds what was said, on a data set with known answers."""

import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from proxy.cli import options, output, webpage
from proxy.cli.monthboard import conclude_month, list_month_sections
from proxy.cli.scoreboard import Section, conclude, list_sections
from proxy.errors import ConfigError

if TYPE_CHECKING:
    from proxy.evaluation.report import Report


def evaluate_recall(
    context: typer.Context,
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
    report_file: webpage.ReportFile = None,
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
    for option, path in (("--plot", plot), ("--report", report_file)):
        if path is not None:
            webpage.check_writable(option, path)
    run = webpage.Run.begin(context)
    if month:
        _evaluate_month(directory, users, seed, report_file, run, as_json=as_json)
        return
    from proxy.evaluation.stages import CURVE_BUDGETS, Plan, evaluate

    curves = CURVE_BUDGETS if plot is not None or report_file is not None else ()
    with _follow() as progress:
        report = evaluate(directory, Plan(quick=quick, others=others, curve_budgets=curves), progress)
    if as_json:
        output.print_json(report.to_dict())
    else:
        _show(list_sections(report), conclude(report))
    if plot is not None:
        _write_plot(plot, report)
    if report_file is not None:
        from proxy.cli.eval_page import write_eval_page

        write_eval_page(report_file, run, report, directory)


def _write_plot(path: Path, report: "Report") -> None:
    from proxy.evaluation.pictures import draw_curves
    from proxy.reporting.drawing import write_svg

    webpage.write_file("--plot", path, write_svg(draw_curves(report)))


def _evaluate_month(
    directory: Path, users: int | None, seed: int, report_file: Path | None, run: webpage.Run, *, as_json: bool
) -> None:
    from proxy.evaluation.month import MonthPlan, evaluate_month

    with _follow() as progress:
        report = evaluate_month(directory, MonthPlan(users=users, seed=seed), progress)
    if as_json:
        output.print_json(report.to_dict())
    else:
        _show(list_month_sections(report), conclude_month(report))
    if report_file is not None:
        from proxy.cli.eval_page import write_month_page

        write_month_page(report_file, run, report, directory)


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


def _show(sections: Iterable[Section], closing: Iterable[str]) -> None:
    console = output.make_console()
    for section in sections:
        console.print(section.heading, style="bold")
        console.print(section.table)
    for line in closing:
        console.print(line)
