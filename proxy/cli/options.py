"""What every command shares: its options, and how errors leave the process."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from pydantic import TypeAdapter, ValidationError

from proxy import config
from proxy.config import Settings
from proxy.errors import ConfigError, MemoryProxyError

USAGE = 2
FAILURE = 1

ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="YAML file; see config.example.yaml.", show_default=False),
]
DataDir = Annotated[
    Path | None, typer.Option("--data-dir", metavar="DIR", help="Where journal and memories live.", show_default=False)
]


def _check_server(url: str | None) -> str | None:
    if url is None:
        return None
    try:
        return TypeAdapter(config.Url).validate_python(url)
    except ValidationError:
        fail(f"--server: {url!r}: should be a URL such as http://127.0.0.1:8787", USAGE)


ServerUrl = Annotated[
    str | None,
    typer.Option(
        "--server",
        metavar="URL",
        help="Ask the proxy running there instead of opening the data directory; its admin.token goes along.",
        show_default=False,
        callback=_check_server,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="JSON on standard output instead of a table.")]


def load(file: Path | None, data_dir: Path | None, **flags: Mapping[str, Any]) -> Settings:
    """Settings for a command; flags over environment over file. Bad configuration ends the process with 2."""
    try:
        return config.load(file, flags={"data_dir": data_dir, **flags})
    except ConfigError as exc:
        fail(str(exc), USAGE)


def fail(message: str, code: int = FAILURE) -> NoReturn:
    """Ends the process with one line on standard error."""
    print(f"memory-proxy: {message}", file=sys.stderr)
    raise typer.Exit(code)


@contextmanager
def reported() -> Iterator[None]:
    """Ends the process with one line, instead of a traceback, for errors that are raised on purpose."""
    try:
        yield
    except ConfigError as exc:
        fail(str(exc), USAGE)
    except MemoryProxyError as exc:
        fail(str(exc))
