"""The way to a backend: the data directory itself, or the proxy that runs on it."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TypeVar

from proxy.cli import options
from proxy.cli.backend import Backend
from proxy.config import Settings
from proxy.errors import MemoryProxyError
from proxy.sharing import shares_everything
from proxy.tasks import Tasks

T = TypeVar("T")


def run(
    work: Callable[[Backend], Awaitable[T]],
    settings: Settings,
    server: str | None,
    *,
    tenant: str | None = None,
    create: bool = False,
) -> T:
    """What *work* returns. Expected failures end the process with one line.

    *create*: a data directory that is not there yet is made; otherwise it is most likely a mistyped one.
    """

    async def work_on_backend() -> T:
        async with open_backend(settings, server, tenant=tenant, create=create) as backend:
            return await work(backend)

    with options.reported():
        return asyncio.run(work_on_backend())


@asynccontextmanager
async def open_backend(
    settings: Settings, server: str | None, *, tenant: str | None = None, create: bool = False
) -> AsyncIterator[Backend]:
    """The proxy at *server*, or with None the data directory of *settings*. *tenant*: whose users it is asked about.

    Raises:
        MemoryProxyError: it cannot be opened; LockedError where a server runs on it.
    """
    async with AsyncExitStack() as stack:
        if server is not None:
            from proxy.cli.remote import Remote

            yield await stack.enter_async_context(Remote(server, settings.admin.token, tenant))
        else:
            yield await _open_directly(settings, stack, tenant, create=create)


async def _open_directly(settings: Settings, stack: AsyncExitStack, tenant: str | None, *, create: bool) -> Backend:
    # Here and not above: what follows brings in the store, the embedder and the whole of recall.
    from proxy.cli.direct import Direct
    from proxy.keeper.lock import Holder
    from proxy.keeper.vault import open_vault
    from proxy.keeper.workshop import Workshop

    try:
        if not create and not shares_everything(settings):
            _require(settings.data_dir)
        holder = Holder(os.getpid(), "another memory-proxy command")
        vault = await stack.enter_async_context(open_vault(settings, holder, exclusive=False))
        workshop = Workshop(vault, settings, Tasks())
        stack.push_async_callback(workshop.aclose)
    except OSError as exc:
        raise MemoryProxyError(f"{settings.data_dir}: cannot be opened: {exc.strerror or exc}") from exc
    # What a server that was killed had journaled belongs to the memories, too. Facts can wait for the next server: a
    # command that only looks asks no model.
    await workshop.flush(extract=False)
    return Direct(vault, workshop.flush, tenant)


def _require(data_dir: Path) -> None:
    if not data_dir.is_dir():
        raise MemoryProxyError(
            f"{data_dir}: there is no such directory, so nothing is stored there; check --data-dir, or name a running "
            "proxy with --server"
        )
