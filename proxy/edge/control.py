"""The control plane: ``/memory/*``, for operators and the command line."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from functools import partial
from typing import Any, Final

import msgspec
from msgspec import UNSET
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from proxy import __version__
from proxy.config import Settings
from proxy.dialects.chat_completions import ChatRequest
from proxy.edge import answers, parameters
from proxy.edge.admin import Gatekeeper
from proxy.edge.openapi import describe
from proxy.edge.operations import LINES, OPERATIONS, Operation
from proxy.edge.page import PATH, Page
from proxy.errors import ApiError, KeeperError
from proxy.keeper import wire
from proxy.keeper.client import KeeperClient
from proxy.keeper.moves import ReembeddingState
from proxy.models import Exported, Memory, Message, Scope
from proxy.observe.served import SERVED
from proxy.recall.service import RecallService

# Who looks into memory would rather wait than miss something: chats have memory.deadline_ms instead.
INSPECTION_DEADLINE_S: Final = 10.0
# Memories that an export asks the keeper for at once.
EXPORT_PAGE: Final = 500
# Bad lines of an import that are named one by one.
MOST_ERRORS: Final = 10_000

Handler = Callable[[Request], Awaitable[Response]]


class ControlPlane:
    """Answers operators, from the keeper. Nothing here reads a file, starts a process or follows a URL: what a request
    says is a name to look for or a text to keep.
    """

    def __init__(self, keeper: KeeperClient, recall: RecallService, settings: Settings) -> None:
        self._keeper = keeper
        self._recall = recall
        self._settings = settings
        self._gatekeeper = Gatekeeper(settings)
        self._page = Page()
        # An id alone tells nobody apart where several applications have users.
        self._has_tenants = bool(settings.clients)
        self._document = msgspec.json.encode(describe(OPERATIONS, has_tenants=self._has_tenants))

    def routes(self, others: Mapping[str, Handler]) -> list[Route]:
        """The table's routes; *others* answer what is not of this class, by operation.

        Paths are matched as they were sent, percent-encoded, so that a slash within a user id separates nothing.
        """
        handlers = {**self._handlers(), **others}
        if handlers.keys() != {operation.name for operation in OPERATIONS}:
            raise LookupError("every operation of the table needs a handler, and every handler an operation")
        paths: dict[str, list[Operation]] = {}
        for operation in OPERATIONS:
            paths.setdefault(operation.path, []).append(operation)
        routes = [self._route(path, operations, handlers) for path, operations in paths.items()]
        pages = self._shape(self.show_page, self._gatekeeper.check_page)
        return [*routes, *(Route(path, pages) for path in (PATH, f"{PATH}/{{file:path}}"))]

    def _handlers(self) -> dict[str, Handler]:
        return {
            "describe": self.describe,
            "list_users": self.list_users,
            "erase_user": self.erase_user,
            "list_memories": self.list_memories,
            "add_memory": self.add_memory,
            "edit_memory": self.edit_memory,
            "erase_memory": self.erase_memory,
            "try_recall": self.try_recall,
            "search": self.search,
            "access": self.access,
            "export": self.export,
            "take_in": self.take_in,
            "flush": self.flush,
            "list_journal": self.list_journal,
            "drop_failed": self.drop_failed,
            "retry_failed": self.retry_failed,
            "tell_of_reembedding": self.tell_of_reembedding,
            "reembed": self.reembed,
        }

    def _route(self, path: str, operations: Iterable[Operation], handlers: Mapping[str, Handler]) -> Route:
        """One for all methods of *path*: of several, a client with another one would be told the first one's only."""
        methods = {
            operation.method: self._guard(handlers[operation.name], changes=operation.changes)
            if operation.guarded
            else handlers[operation.name]
            for operation in operations
        }

        async def dispatch(request: Request) -> Response:
            return await methods["GET" if request.method == "HEAD" else request.method](request)

        return Route(path, dispatch, methods=list(methods))

    def _guard(self, handler: Handler, *, changes: bool = False) -> Handler:
        """*handler* for those who may pass; its errors in the shape of the API."""
        return self._shape(handler, partial(self._gatekeeper.check, changes=changes))

    def _shape(self, handler: Handler, check: Callable[[Request], object]) -> Handler:
        async def guarded(request: Request) -> Response:
            try:
                check(request)
                return await handler(request)
            except ApiError as exc:
                return render_error(exc)
            except ClientDisconnect:
                return Response(status_code=499)  # nobody reads it; without one the server would report a failure
            except KeeperError as exc:
                return render_error(ApiError(503, "keeper_unavailable", str(exc), retry_after=1))

        return guarded

    def may_see(self, request: Request) -> bool:
        """Whether *request* is of somebody who may use the control plane."""
        try:
            self._gatekeeper.check(request)
        except ApiError:
            return False
        return True

    def _scope(self, request: Request) -> Scope:
        return parameters.read_scope(request, required=self._has_tenants)

    async def describe(self, _: Request) -> Response:
        """``GET /memory/openapi.json``."""
        return Response(self._document, media_type="application/json")

    async def show_page(self, request: Request) -> Response:
        """``GET /ui`` and what it links to."""
        response = self._page.answer(request)
        if response is None:
            raise not_found(request)
        return response

    async def list_users(self, request: Request) -> Response:
        """``GET /memory/users``."""
        call = wire.ListUsers(
            parameters.read_limit(request),
            parameters.read_cursor(request),
            parameters.read_tenant(request),
            parameters.read_part(request),
        )
        page: wire.UserPage = await self._keeper.call(call)
        return _json(answers.UserList(page.users, parameters.write_cursor(page.cursor)))

    async def list_memories(self, request: Request) -> Response:
        """``GET /memory/users/{user}/memories``."""
        call = wire.ListMemories(
            self._scope(request),
            parameters.read_limit(request),
            parameters.read_cursor(request),
            parameters.read_superseded(request),
        )
        page: wire.MemoryPage = await self._keeper.call(call)
        return _json(answers.MemoryList(page.memories, parameters.write_cursor(page.cursor)))

    async def add_memory(self, request: Request) -> Response:
        """``POST /memory/users/{user}/memories``: one written by hand."""
        scope = self._scope(request)
        text = parameters.check_text((await parameters.read_body(request, parameters.NewMemory)).text)
        memory: Memory = await self._keeper.call(wire.Add(scope, text))
        return _json(memory, 201)

    async def edit_memory(self, request: Request) -> Response:
        """``PATCH /memory/users/{user}/memories/{id}``: another text, or one that was superseded holds again."""
        scope, memory_id = self._scope(request), parameters.read_memory_id(request)
        change = await parameters.read_body(request, parameters.MemoryChange)
        text = None if change.text is UNSET else parameters.check_text(change.text)
        restore = change.superseded_by is None
        if text is None and not restore:
            raise ApiError(400, "bad_request", 'Send {"text": "…"} or {"superseded_by": null}.')
        memory: Memory | None = await self._keeper.call(wire.Edit(scope, memory_id, text, restore))
        if memory is None:
            raise _no_such_memory()
        return _json(memory)

    async def erase_memory(self, request: Request) -> Response:
        """``DELETE /memory/users/{user}/memories/{id}``."""
        call = wire.Erase(self._scope(request), [parameters.read_memory_id(request)])
        receipt: wire.Receipt = await self._keeper.call(call)
        if receipt.memories == 0:
            raise _no_such_memory()
        return _json(receipt)

    async def erase_user(self, request: Request) -> Response:
        """``DELETE /memory/users/{user}``."""
        receipt: wire.Receipt = await self._keeper.call(wire.Erase(self._scope(request), None))
        return _json(receipt)

    async def try_recall(self, request: Request) -> Response:
        """``POST /memory/users/{user}/recall``: what would be injected."""
        scope = self._scope(request)
        asked = await parameters.read_body(request, parameters.RecallRequest)
        budget = self._settings.memory.budget_tokens if asked.budget_tokens is None else asked.budget_tokens
        if not (1 <= budget <= parameters.MAX_BUDGET and budget == int(budget)):
            reason = f"budget_tokens should be a whole number from 1 to {parameters.MAX_BUDGET}."
            raise ApiError(400, "bad_request", reason, param="budget_tokens")
        dialogue = _dialogue(asked)
        began = time.perf_counter()
        recollection = await self._recall.recall(
            scope,
            dialogue,
            budget_tokens=int(budget),
            deadline_s=INSPECTION_DEADLINE_S,
            asked_at=asked.asked_at,
            sticky=False,
        )
        elapsed_ms = (time.perf_counter() - began) * 1000
        block, why = recollection.block, {}
        if block is not None:
            ids = [memory.id for memory in block.memories]
            why = await self._recall.explain(
                scope, dialogue, ids, deadline_s=INSPECTION_DEADLINE_S, asked_at=asked.asked_at
            )
        return _json(answers.tell_block(recollection.status, block, why, elapsed_ms))

    async def search(self, request: Request) -> Response:
        """``POST /memory/users/{user}/search``: what has most to do with a text, injected or not."""
        scope = self._scope(request)
        asked = await parameters.read_body(request, parameters.SearchRequest)
        limit = int(asked.limit)
        if not (1 <= limit <= parameters.MAX_LIMIT and limit == asked.limit):
            reason = f"limit should be a whole number from 1 to {parameters.MAX_LIMIT}."
            raise ApiError(400, "bad_limit", reason, param="limit")
        began = time.perf_counter()
        found = await self._recall.search(scope, asked.query, limit=limit, deadline_s=INSPECTION_DEADLINE_S)
        return _json(
            answers.SearchResult(
                elapsed_ms=round((time.perf_counter() - began) * 1000, 3),
                relevance=round(found.relevance, 4),
                words=[answers.Word(word, round(weight, 4)) for word, weight in found.words.items()],
                memories=[answers.tell_score(memory, score, why) for memory, score, why in found.found],
            )
        )

    async def access(self, request: Request) -> Response:
        """``GET /memory/access``."""
        settings = self._settings
        told = answers.Access(
            version=__version__,
            read_only=self._gatekeeper.admit(request),
            content=settings.traces.content,
            tenants=sorted({client.effective_tenant for client in settings.clients}),
            mode=settings.memory.mode,
            placement=settings.memory.placement,
            budget_tokens=settings.memory.budget_tokens,
            embedding=self._recall.embedding,
        )
        return _json(told)

    async def export(self, request: Request) -> Response:
        """``GET /memory/users/{user}/export``: all that there is now, in constant memory; what comes meanwhile may be
        missing, and moves nothing.
        """
        scope, superseded = self._scope(request), parameters.read_superseded(request)
        # Before the answer begins: an error can still be one.
        rows: list[str] = await self._keeper.call(wire.ListRows(scope))
        return StreamingResponse(self._export(scope, rows, superseded), media_type=LINES)

    async def _export(self, scope: Scope, rows: list[str], superseded: bool) -> AsyncIterator[bytes]:
        for start in range(0, len(rows), EXPORT_PAGE):
            call = wire.ReadRows(scope, rows[start : start + EXPORT_PAGE])
            memories: list[Exported] = await self._keeper.call(call)
            yield answers.write_lines(memories, superseded=superseded)

    async def flush(self, _: Request) -> Response:
        """``POST /memory/flush``."""
        done: wire.Flushed = await self._keeper.call(wire.Flush())
        return _json(done)

    async def take_in(self, request: Request) -> Response:
        """``POST /memory/import``: JSON Lines of any length, in constant memory."""
        tenant = parameters.require_tenant(request, required=self._has_tenants)
        stored = known = unnamed = evicted = 0
        errors: list[answers.BadLine] = []
        async for lines in parameters.read_lines(request):
            if lines.too_long:
                done = wire.Imported(0, 0, [(lines.first_line, f"longer than {parameters.LONGEST_LINE:,} bytes")])
            else:
                done = await self._keeper.call(wire.Import(lines.lines, lines.first_line, tenant))
            stored, known, evicted = stored + done.stored, known + done.known, evicted + done.evicted
            named = done.errors[: MOST_ERRORS - len(errors)]
            errors += [answers.BadLine(line, reason) for line, reason in named]
            unnamed += len(done.errors) - len(named)
        return _json(answers.ImportReport(stored, known, errors, unnamed, evicted))

    async def list_journal(self, request: Request) -> Response:
        """``GET /memory/journal``: what waits, and what was set aside and why."""
        page: wire.JournalPage = await self._keeper.call(wire.ListJournal(parameters.read_limit(request)))
        return _json(page)

    async def retry_failed(self, _: Request) -> Response:
        """``POST /memory/journal/retry``: everything that was set aside is tried again."""
        done: wire.Settled = await self._keeper.call(wire.RetryFailed())
        return _json(answers.Retried(done.count))

    async def drop_failed(self, _: Request) -> Response:
        """``DELETE /memory/journal``: everything that was set aside is given up."""
        done: wire.Settled = await self._keeper.call(wire.DropFailed())
        return _json(answers.Dropped(done.count))

    async def tell_of_reembedding(self, _: Request) -> Response:
        """``GET /memory/reembed``: which embedding models there are, and how far memories are from one to the other."""
        state: ReembeddingState = await self._keeper.call(wire.Reembed(start=False))
        return _json(state)

    async def reembed(self, request: Request) -> Response:
        """``POST /memory/reembed``: has all memories moved to the configured model."""
        state: ReembeddingState = await self._keeper.call(
            wire.Reembed(start=True, again=parameters.read_again(request))
        )
        return _json(state, 202)


def render_error(error: ApiError) -> Response:
    """An error of the proxy's own as a Starlette response."""
    extra = {"retry-after": str(error.retry_after)} if error.retry_after is not None else {}
    if (served := SERVED.get()) is not None:
        extra["x-request-id"] = served.id
    return Response(error.body(), error.status, headers=extra, media_type="application/json")


def _json(value: Any, status: int = 200) -> Response:
    return Response(msgspec.json.encode(value), status, media_type="application/json")


def not_found(request: Request) -> ApiError:
    """Of what there is not. By the path as it was sent: a ``Host`` that is none makes no URL."""
    return ApiError(404, "not_found", f"There is no {request.method} {request.scope['path']} here.")


def _no_such_memory() -> ApiError:
    return ApiError(404, "no_such_memory", "This user has no memory of this id.", param="id")


def _dialogue(asked: parameters.RecallRequest) -> list[Message]:
    messages = bytes(asked.messages)
    parsed = ChatRequest.parse(b'{"messages":' + messages + b"}")
    if parsed is None and (asked.query is None or messages not in (b"", b"null")):
        raise ApiError(400, "bad_request", 'Send {"query": "…"} or {"messages": […]}.')
    if asked.query is not None:
        return [Message("user", asked.query)]
    return parsed.dialogue if parsed is not None else []
