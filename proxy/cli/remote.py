"""A running proxy, through its admin API."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType, TracebackType
from typing import Any, Final, Protocol, Self, TypeVar
from urllib.parse import quote

import httpx2
import msgspec
from pydantic import SecretStr

from proxy.cli.backend import NO_SUCH_MEMORY, TELL_EVERY_S, Memories, Users
from proxy.edge.answers import Dropped, Found, ImportReport, Retried
from proxy.edge.operations import LINES
from proxy.errors import MemoryProxyError
from proxy.keeper.moves import ReembeddingState
from proxy.keeper.wire import Imported, JournalPage, Receipt, UserRow
from proxy.models import Memory, Scope

# What the admin API gives at once, at most.
PAGE: Final = 1000
# An import's megabyte of short messages takes seconds, and with a slow embedding API minutes.
TIMEOUT: Final = httpx2.Timeout(600, connect=5)
# For a server that is started anew while somebody waits for what it does.
PATIENCE_S: Final = 60.0

Item = TypeVar("Item")
T = TypeVar("T")


class _Page(Protocol[Item]):
    @property
    def cursor(self) -> str | None: ...

    @property
    def items(self) -> list[Item]: ...


class _UserPage(msgspec.Struct):
    items: list[UserRow] = msgspec.field(name="users")
    cursor: str | None = None


class _MemoryPage(msgspec.Struct):
    items: list[Memory] = msgspec.field(name="memories")
    cursor: str | None = None


class _Error(msgspec.Struct):
    message: str
    code: str | None = None


class _ErrorBody(msgspec.Struct):
    error: _Error


class Remote:
    """A :class:`~proxy.cli.backend.Backend` at a URL. An asynchronous context manager, to be entered once.

    *tenant*: whose users it is asked about. None leaves that to the server, which knows whether there are several.
    """

    def __init__(self, server: str, token: SecretStr | None, tenant: str | None = None) -> None:
        self._server = server
        self._tenant = {} if tenant is None else {"tenant": tenant}
        headers = {} if token is None else {"authorization": f"Bearer {token.get_secret_value()}"}
        # Not by the environment: a .netrc would replace the token, and HTTP_PROXY seldom knows the way to localhost.
        self._client = httpx2.AsyncClient(headers=headers, timeout=TIMEOUT, trust_env=False)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.aclose()

    async def users(self, limit: int | None) -> Users:
        users, more = await self._list("/memory/users", _UserPage, limit)
        if limit is None:
            await self._catch_up(users)
        return Users(users, more)

    async def _catch_up(self, users: list[UserRow]) -> None:
        """Adds those who became active while they were listed, and so moved to the front of what was listed before."""
        known = {(row.tenant, row.user_id) for row in users}
        first = PAGE
        while len(known) >= PAGE:
            rows, _ = await self._list("/memory/users", _UserPage, first)
            missed = [row for row in rows if (row.tenant, row.user_id) not in known]
            if not missed:
                return
            users += missed
            known |= {(row.tenant, row.user_id) for row in missed}
            first *= 2

    async def memories(self, scope: Scope, limit: int | None, *, superseded: bool = False) -> Memories:
        included = {"include": "superseded"} if superseded else {}
        return Memories(*await self._list(f"{_path(scope)}/memories", _MemoryPage, limit, included))

    async def search(self, scope: Scope, query: str, budget_tokens: int) -> Found:
        body = {"query": query, "budget_tokens": budget_tokens}
        return await self._call("POST", f"{_path(scope)}/recall", Found, json=body)

    async def add(self, scope: Scope, text: str) -> Memory:
        return await self._call("POST", f"{_path(scope)}/memories", Memory, json={"text": text})

    async def edit(self, scope: Scope, memory_id: str, text: str | None, *, restore: bool) -> Memory:
        body = ({} if text is None else {"text": text}) | ({"superseded_by": None} if restore else {})
        return await self._call("PATCH", f"{_path(scope)}/memories/{_quote(memory_id)}", Memory, json=body)

    async def erase(self, scope: Scope, memory_id: str | None) -> Receipt:
        path = _path(scope) if memory_id is None else f"{_path(scope)}/memories/{_quote(memory_id)}"
        return await self._call("DELETE", path, Receipt)

    async def export(self, scope: Scope, *, superseded: bool) -> AsyncIterator[bytes]:
        params = {**({"include": "superseded"} if superseded else {}), **self._tenant}
        with self._translated():
            async with self._client.stream("GET", f"{self._server}{_path(scope)}/export", params=params) as response:
                if not response.is_success:
                    await response.aread()
                    raise MemoryProxyError(self._explain(response))
                if not response.headers.get("content-type", "").startswith(LINES):
                    raise self._is_stranger(response)
                # One that is cut, as when the server fails in the middle, raises.
                async for piece in response.aiter_bytes():
                    yield piece

    async def take_in(
        self, pieces: Iterable[Sequence[bytes]], *, progress: Callable[[int], None]
    ) -> AsyncGenerator[Imported, None]:
        for lines in pieces:
            done = await self._call("POST", "/memory/import", ImportReport, content=b"".join(lines))
            progress(done.stored + done.known)
            # The server numbers the lines of a request from 1.
            errors = [(bad.line - 1, bad.reason) for bad in done.errors]
            yield Imported(done.stored, done.known, errors, done.unnamed, done.evicted)

    async def journal(self, limit: int) -> JournalPage:
        return await self._call("GET", "/memory/journal", JournalPage, params={"limit": str(min(limit, PAGE))})

    async def retry_failed(self) -> int:
        return (await self._call("POST", "/memory/journal/retry", Retried)).retried

    async def drop_failed(self) -> int:
        return (await self._call("DELETE", "/memory/journal", Dropped)).dropped

    async def reembed(self, *, again: bool, progress: Callable[[ReembeddingState], None]) -> ReembeddingState:
        state = await self._ask_to_reembed(again=again)
        while state.state != "settled":
            progress(state)
            if state.state == "failed":
                raise MemoryProxyError(f"{self._server}: {state.error}")
            await asyncio.sleep(TELL_EVERY_S)
            state = await self._look_at_reembedding()
            if state.state == "due":
                state = await self._ask_to_reembed(again=False)  # it was started anew meanwhile
        return state

    async def _ask_to_reembed(self, *, again: bool) -> ReembeddingState:
        asked = {"again": "true"} if again else {}
        return await self._call("POST", "/memory/reembed", ReembeddingState, params=asked)

    async def _look_at_reembedding(self) -> ReembeddingState:
        """What it says as soon as it says something: it may be started anew at any time."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                return await self._call("GET", "/memory/reembed", ReembeddingState)
            except MemoryProxyError:
                if time.monotonic() > deadline:
                    raise
            await asyncio.sleep(TELL_EVERY_S)

    async def _list(
        self, path: str, kind: type[_Page[Item]], limit: int | None, included: Mapping[str, str] = MappingProxyType({})
    ) -> tuple[list[Item], bool]:
        """Up to *limit* items of a listing, page by page, and whether there are more."""
        items: list[Item] = []
        cursor: str | None = ""
        while cursor is not None and (limit is None or len(items) < limit):
            size = PAGE if limit is None else min(PAGE, limit - len(items))
            page = await self._call("GET", path, kind, params={"limit": str(size), "cursor": cursor, **included})
            items += page.items
            cursor = page.cursor
        return items, cursor is not None

    async def _call(
        self, method: str, path: str, kind: type[T], params: Mapping[str, str] = MappingProxyType({}), **content: Any
    ) -> T:
        with self._translated():
            response = await self._client.request(
                method, self._server + path, params={**params, **self._tenant}, **content
            )
        if not response.is_success:
            raise MemoryProxyError(self._explain(response))
        return self._decode(response, kind)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except httpx2.TimeoutException as exc:
            raise MemoryProxyError(f"{self._server} does not answer in time ({type(exc).__name__})") from exc
        except httpx2.RemoteProtocolError as exc:
            raise MemoryProxyError(f"{self._server} broke off its answer: {exc}; its log may say why") from exc
        except (httpx2.HTTPError, httpx2.InvalidURL) as exc:
            why = str(exc) or type(exc).__name__
            raise MemoryProxyError(f"{self._server} cannot be reached: {why}; is memory-proxy running there?") from exc

    def _explain(self, response: httpx2.Response) -> str:
        error = self._decode(response, _ErrorBody).error
        if response.status_code == 401:
            return f"{self._server} refuses the admin token; set admin.token or MEMORY_PROXY_ADMIN__TOKEN to its own"
        if error.code == "memory_proxy_no_such_memory":
            return NO_SUCH_MEMORY
        if error.code == "memory_proxy_tenant_required":
            return f"{self._server} has clients, so --tenant has to say whose users are meant"
        return f"{self._server}: {error.message}"

    def _decode(self, response: httpx2.Response, kind: type[T]) -> T:
        try:
            return msgspec.json.decode(response.content, type=kind)
        except (msgspec.MsgspecError, UnicodeDecodeError) as exc:
            raise self._is_stranger(response) from exc

    def _is_stranger(self, response: httpx2.Response) -> MemoryProxyError:
        status = response.status_code
        return MemoryProxyError(f"{self._server} answers {status}, and not as memory-proxy; check --server")


def _path(scope: Scope) -> str:
    return f"/memory/users/{_quote(scope.user_id)}"


def _quote(text: str) -> str:
    # Dots as well: "." and ".." would be taken for steps of the path, and so get lost on the way.
    return quote(text, safe="").replace(".", "%2E")
