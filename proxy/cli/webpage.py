"""``--report`` of ``bench`` and ``eval``: the option, the run that it tells of, and files that are written."""

import shlex
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Self

import msgspec
import typer

from proxy import __version__
from proxy.cli import options
from proxy.reporting.machine import describe_machine

ReportFile = Annotated[
    Path | None,
    typer.Option(
        "--report",
        metavar="FILE.html",
        help="Write a report with charts, as one page that loads nothing.",
        show_default=False,
    ),
]


class Run(msgspec.Struct, frozen=True):
    """One measurement: how it was asked for, and when it began. Times are in seconds."""

    command: str
    began: float
    clock: float

    @classmethod
    def begin(cls, context: typer.Context) -> Self:
        """From now on."""
        return cls(_spell_out(context), time.time(), time.perf_counter())

    def describe(self) -> dict[str, str]:
        """What every report begins with."""
        taken = round(time.perf_counter() - self.clock)
        return {
            "version": __version__,
            "date": datetime.fromtimestamp(self.began, UTC).strftime("%Y-%m-%d %H:%M UTC"),
            "duration": f"{taken // 60} min {taken % 60} s" if taken >= 60 else f"{taken} s",
            **describe_machine(),
        }


def check_writable(option: str, path: Path) -> None:
    """Ends the process unless the file can be written: nobody wants to hear of it when all is measured.

    What is in the file stays there until there is something better.
    """
    try:
        path.open("a").close()
    except OSError as exc:
        options.fail(f"{option}: {path}: cannot be written: {exc.strerror}", options.USAGE)


def write_file(option: str, path: Path, text: str) -> None:
    """Ends the process where it cannot be done."""
    try:
        path.write_text(text, "utf-8")
    except OSError as exc:
        options.fail(f"{option}: {path}: cannot be written: {exc.strerror}")


def _spell_out(context: typer.Context) -> str:
    """The command as it could be typed again: what was given on the command line, defaults left out."""
    words = ["memory-proxy", context.info_name or ""]
    for parameter in context.command.params:
        name = parameter.name or ""
        source = context.get_parameter_source(name)
        if source is None or source.name != "COMMANDLINE":
            continue
        value = context.params[name]
        if parameter.param_type_name == "option":
            words.append(parameter.opts[0])
        if value is not True:
            words.append(f"{value:g}" if isinstance(value, float) else str(value))
    return shlex.join(words)
