"""What every command shares: its options, and how errors leave the process."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn

import typer
from pydantic import TypeAdapter, ValidationError

from proxy import config
from proxy.config import Settings
from proxy.config.fields import NAME
from proxy.config.sections import Logs
from proxy.errors import ApiError, ConfigError, MemoryProxyError
from proxy.identity import check_user_id
from proxy.observe import logs

USAGE: Final = 2
FAILURE: Final = 1
DEFAULT_LIMIT: Final = 50
# A command answers on standard output; that it works is not worth a line beside it.
UNASKED: Final = Logs(level="warning")

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
Limit = Annotated[int, typer.Option(min=1, help="Show at most so many.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


def check_user(user: str) -> str:
    """*user*, if it can be the id of one; else that is bad usage."""
    try:
        return check_user_id(user)
    except ApiError as exc:
        fail(str(exc), USAGE)


User = Annotated[str, typer.Argument(metavar="USER", help="The user's id.", callback=check_user)]


def _check_tenant(tenant: str | None) -> str | None:
    if tenant and not NAME.fullmatch(tenant):
        fail(f"--tenant: {tenant!r}: should have 1 to 64 letters, digits, dots, dashes and underscores", USAGE)
    return tenant


Tenant = Annotated[
    str | None,
    typer.Option(
        "--tenant",
        metavar="NAME",
        help="Whose users, where the configuration has clients; '' for what was stored before it had any.",
        show_default=False,
        callback=_check_tenant,
    ),
]


def require_tenant(settings: Settings, server: str | None, tenant: str | None) -> str:
    """The tenant whose users are meant. With clients the same id may be several people's, and so it has to be said.

    A *server* has a configuration of its own, and says so itself.
    """
    if tenant is None and server is None and settings.clients:
        names = ", ".join(sorted({client.effective_tenant for client in settings.clients}))
        fail(f"there are clients, so --tenant has to say whose users are meant: {names}", USAGE)
    return tenant or ""


def load(file: Path | None, data_dir: Path | None, **flags: Mapping[str, Any]) -> Settings:
    """Settings for a command; flags over environment over file. Bad configuration ends the process with 2."""
    try:
        settings = config.load(file, flags={"data_dir": data_dir, **flags})
    except ConfigError as exc:
        fail(str(exc), USAGE)
    told = settings.logs if "level" in settings.logs.model_fields_set else UNASKED
    logs.configure(settings.logs.model_copy(update={"level": told.level}))
    return settings


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


def confirm(question: str, *, refused: str, unasked: str | None) -> None:
    """Returns if a person says yes; else ends the process, with *refused* on standard error.

    Only a person can have meant otherwise. Where there is no terminal to ask on, *unasked* is bad usage, and without it
    nobody has to be asked.
    """
    if sys.stdin.isatty():
        if not typer.confirm(question, err=True):
            fail(refused)
    elif unasked is not None:
        fail(unasked, USAGE)


def tell_of_more(more: bool, message: str) -> None:
    """Says on standard error that a listing is cut, if it is."""
    if more:
        print(message, file=sys.stderr)
