"""The command table."""

from typing import Annotated

import typer

from proxy import __version__
from proxy.cli.serve import serve

COMMANDS = (serve,)


def make_cli() -> typer.Typer:
    """All commands."""
    cli = typer.Typer(name="memory-proxy", no_args_is_help=True, pretty_exceptions_enable=False)
    cli.callback()(_take_global_options)
    for command in COMMANDS:
        cli.command()(command)
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
    make_cli()()
