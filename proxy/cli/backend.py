"""One way to memories, whether a data directory is opened directly or a running proxy is asked."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final, Protocol, TypeVar

import msgspec

from proxy.cli import options
from proxy.config import Settings
from proxy.errors import MemoryProxyError
from proxy.keeper.wire import Imported, Receipt, UserRow
from proxy.models import Memory, Scope, Status

NO_SUCH_MEMORY: Final = "this user has no memory of this id"

T = TypeVar("T")


class Users(msgspec.Struct, frozen=True):
    """Users, latest activity first. *more*: the limit has cut the list."""

    users: list[UserRow]
    more: bool


class Memories(msgspec.Struct, frozen=True):
    """One user's memories, newest first. *more*: the limit has cut the list."""

    memories: list[Memory]
    more: bool


class Scored(Memory, frozen=True, omit_defaults=True, kw_only=True):
    """A memory with what ranking gave it; scores of different queries do not compare."""

    score: float


class Found(msgspec.Struct, frozen=True):
    """What would be injected for a query, in the shape of the control plane's answer. Memories are oldest first."""

    status: Status
    tokens: int
    elapsed_ms: float
    block: str | None
    memories: list[Scored]


class Backend(Protocol):
    """What data commands can do. All methods raise MemoryProxyError, with a line that says what to do."""

    async def users(self, limit: int | None) -> Users:
        """At most *limit* users, or with None all."""

    async def memories(self, scope: Scope, limit: int | None) -> Memories:
        """At most *limit* of a user's memories, or with None all."""

    async def search(self, scope: Scope, query: str, budget_tokens: int) -> Found:
        """What a chat that says *query* would get."""

    async def erase(self, scope: Scope, memory_id: str | None) -> Receipt:
        """Erases one memory, or with None a user. An id that the user has no memory of is an error."""

    async def take_in(self, lines: Sequence[bytes], *, first_line: int, progress: Callable[[int], None]) -> Imported:
        """Stores JSON Lines, of which the first is number *first_line*; *progress* hears of memories as they come."""


def run(work: Callable[[Backend], Awaitable[T]], settings: Settings, server: str | None, *, create: bool = False) -> T:
    """What *work* returns. Expected failures end the process with one line.

    *create*: a data directory that is not there yet is made; otherwise it is most likely a mistyped one.
    """

    async def work_on_backend() -> T:
        async with open_backend(settings, server, create=create) as backend:
            return await work(backend)

    with options.reported():
        return asyncio.run(work_on_backend())


@asynccontextmanager
async def open_backend(settings: Settings, server: str | None, *, create: bool = False) -> AsyncIterator[Backend]:
    """The proxy at *server*, or with None the data directory of *settings*.

    Raises:
        MemoryProxyError: it cannot be opened; LockedError where a server runs on it.
    """
    async with AsyncExitStack() as stack:
        if server is not None:
            from proxy.cli.remote import Remote

            yield await stack.enter_async_context(Remote(server, settings.admin.token))
        else:
            yield await _open_directly(settings, stack, create=create)


async def _open_directly(settings: Settings, stack: AsyncExitStack, *, create: bool) -> Backend:
    # Here and not above: what follows brings in the store, the embedder and the whole of recall.
    from proxy.cli.direct import Direct
    from proxy.keeper.lock import Holder
    from proxy.keeper.vault import open_vault
    from proxy.remember.worker import Worker

    try:
        if not create:
            _require(settings.data_dir)
        holder = Holder(os.getpid(), "another memory-proxy command")
        vault = await stack.enter_async_context(open_vault(settings, holder))
    except OSError as exc:
        raise MemoryProxyError(f"{settings.data_dir}: cannot be opened: {exc.strerror or exc}") from exc
    # What a server that was killed had journaled belongs to the memories, too.
    await Worker(vault.journal, vault.remember, vault.writing).flush()
    return Direct(vault)


def _require(data_dir: Path) -> None:
    if not data_dir.is_dir():
        raise MemoryProxyError(
            f"{data_dir}: there is no such directory, so nothing is stored there; check --data-dir, or name a running "
            "proxy with --server"
        )
