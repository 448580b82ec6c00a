"""The command table."""

import io
import os
import sys
from collections.abc import Callable, Mapping
from typing import Annotated, Final

import typer

from proxy import __version__
from proxy.cli.bench import bench
from proxy.cli.changing import edit, forget, remember
from proxy.cli.check import check
from proxy.cli.data import list_memories, list_users, search
from proxy.cli.demo import demo
from proxy.cli.eval import evaluate_recall
from proxy.cli.exporting import export_memories
from proxy.cli.importing import import_file
from proxy.cli.journal import journal
from proxy.cli.reembed import reembed
from proxy.cli.serve import serve
from proxy.config.sections import Logs
from proxy.observe import logs

COMMANDS: Final[Mapping[str, Callable[..., None]]] = {
    "serve": serve,
    "demo": demo,
    "check": check,
    "users": list_users,
    "memories": list_memories,
    "search": search,
    "remember": remember,
    "edit": edit,
    "forget": forget,
    "import": import_file,
    "export": export_memories,
    "journal": journal,
    "reembed": reembed,
    "bench": bench,
    "eval": evaluate_recall,
}


def make_cli() -> typer.Typer:
    """All commands."""
    cli = typer.Typer(name="memory-proxy", no_args_is_help=True, pretty_exceptions_enable=False)
    cli.callback()(_take_global_options)
    for name, command in COMMANDS.items():
        cli.command(name)(command)
    return cli


def _print_version(wanted: bool) -> None:
    if wanted:
        print(__version__)
        raise typer.Exit


def _take_global_options(
    _: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Persistent memory for any OpenAI-compatible chatbot, by changing only its base URL."""


def main() -> None:
    """The entry point of the command ``memory-proxy``."""
    # NumPy's matrices are small here: a second thread for them costs more than it brings, in time and in memory.
    # Before NumPy is imported, which reads it then; child processes inherit it.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # Nor is a text worth threads that cut it into tokens.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    # structlog's own default is standard output, which belongs to what was asked for.
    logs.configure(Logs(level="warning"))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that cannot show a memory's script shows question marks
    make_cli()()
