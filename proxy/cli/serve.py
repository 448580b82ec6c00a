"""``memory-proxy serve``."""

import asyncio
import socket
from typing import Annotated

import structlog
import typer

from proxy.cli import options
from proxy.config import POINTS_AT_ITSELF, Settings
from proxy.listening import bind, make_room
from proxy.observe import logs
from proxy.versions import read_version

log = structlog.get_logger(__name__)


def serve(
    config: options.ConfigFile = None,
    data_dir: options.DataDir = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.", show_default=False)] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0 takes a free one.", show_default=False)] = None,
    upstream: Annotated[
        str | None, typer.Option(metavar="URL", help="Base URL of the OpenAI-compatible API.", show_default=False)
    ] = None,
    workers: Annotated[
        int | None, typer.Option(help="Processes that serve on the port, which share one keeper.", show_default=False)
    ] = None,
) -> None:
    """Run the proxy."""
    server = {"host": host, "port": port, "workers": workers}
    settings = options.load(config, data_dir, server=server, upstream={"base_url": upstream})
    logs.configure(settings.logs)
    with options.reported():
        run(settings)


def run(settings: Settings) -> None:
    """Serves until a signal asks for the end. An address in use, or no place for data, ends the process with 1.

    Raises:
        StoreError: the data directory is of a later version.
    """
    try:
        settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as exc:
        options.fail(f"data_dir: {settings.data_dir} cannot be created: {exc.strerror}")
    read_version(settings.data_dir)  # memory would never come up on a newer one, and nobody might notice
    try:
        listener = bind(settings.server.host, settings.server.port)
    except OSError as exc:
        options.fail(f"cannot listen on {settings.server.host}:{settings.server.port}: {exc.strerror}")
    port = listener.getsockname()[1]
    settings = settings.model_copy(update={"server": settings.server.model_copy(update={"port": port})})
    if settings.points_at_itself:
        options.fail(f"upstream.base_url: {settings.upstream.base_url}: {POINTS_AT_ITSELF}", options.USAGE)
    make_room(settings)
    if settings.server.workers > 1:
        _employ(settings, listener)
    else:
        _serve(settings, listener)


def _tell_of_trust(settings: Settings) -> None:
    identity = settings.identity
    if identity.mode == "header":
        consequence = "whoever reaches the proxy can name any user: for trusted networks only"
        log.warning("identity_trusted", header=identity.header, consequence=consequence)


def _serve(settings: Settings, listener: socket.socket) -> None:
    """Serves in this process."""
    # Here, because it brings in the whole server, which other commands, and the parent of workers, do not need.
    from proxy.app import App
    from proxy.serving import loop_factory, make_server

    async def serve() -> None:
        server = make_server(App(settings))
        _tell_of_trust(settings)
        await server.serve([listener])

    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(serve())


def _employ(settings: Settings, listener: socket.socket) -> None:
    """Serves in several processes."""
    from proxy import workers

    _tell_of_trust(settings)
    asyncio.run(workers.run(settings, listener))
