"""``memory-proxy eval``: how well recall finds what was said, on a data set with known answers."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from proxy.cli import options, output
from proxy.errors import ConfigError

if TYPE_CHECKING:
    from proxy.bench.evaluation import Report, Scores


def evaluate_recall(
    directory: Annotated[
        Path, typer.Argument(metavar="DIR", help="Has conversations.jsonl (or .jsonl.gz) and questions.json.")
    ],
    as_json: options.AsJson = False,
    config: options.ConfigFile = None,
    data_dir: options.DataDir = None,
) -> None:
    """Score recall: the share of each question's evidence that is inside a block, and among the ten best memories.

    Nothing is stored: the data directory is neither read nor written.
    """
    from proxy.bench.evaluation import evaluate

    options.load(config, data_dir)
    with options.reported(), _show_progress() as progress:
        try:
            report = evaluate(directory, progress=progress)
        except ConfigError as exc:  # of the data set, not of this program
            options.fail(str(exc))
    if as_json:
        output.print_json(report.to_dict())
    else:
        _show(report)


@contextmanager
def _show_progress() -> Iterator[Callable[[int, int], None]]:
    console = output.make_console(stderr=True)
    columns = (TextColumn("users"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("users", total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


def _show(report: "Report") -> None:
    console = output.make_console()
    console.print(_make_table(report))
    left_out = f", {report.left_out:,} without evidence left out" if report.left_out else ""
    console.print(
        f"{output.count(report.users, 'user')}, {output.count(report.memories, 'memory')}, "
        f"{output.count(report.overall.questions, 'question')}{left_out}. "
        f"A recall takes {report.recall_ms['p50']:.2f} ms at p50 and {report.recall_ms['p99']:.2f} ms at p99 "
        f"(CPU {report.cpu_ms['p50']:.2f} and {report.cpu_ms['p99']:.2f} ms)."
    )


def _make_table(report: "Report") -> Table:
    table = output.make_table()
    table.add_column("question type", overflow="fold")
    budgets = [f"share at {budget:,}" for budget in report.overall.share]
    for name in ("questions", *budgets, "R@10"):
        table.add_column(name, justify="right")
    for name, scores in report.types.items():
        table.add_row(output.make_cell(name), *_format(scores))
    table.add_section()
    table.add_row("all", *_format(report.overall), style="bold")
    return table


def _format(scores: "Scores") -> list[str]:
    return [
        f"{scores.questions:,}",
        *(f"{share:.3f}" for share in scores.share.values()),
        f"{scores.recall_at_10:.3f}",
    ]
