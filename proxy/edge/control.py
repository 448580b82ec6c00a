"""The control plane: ``/memory/*``, for operators and the command line."""

import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec
from msgspec import UNSET
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from proxy.config import Settings
from proxy.dialects.chat_completions import ChatRequest
from proxy.edge import parameters
from proxy.edge.admin import Gatekeeper
from proxy.errors import ApiError, KeeperError
from proxy.journal import Writer
from proxy.keeper import wire
from proxy.keeper.client import KeeperClient
from proxy.models import Memory, Message
from proxy.recall.service import RecallService, Recollection

MAX_BUDGET: Final = 100_000  # as of memory.budget_tokens
# Who looks into memory would rather wait than miss something: chats have memory.deadline_ms instead.
INSPECTION_DEADLINE_S: Final = 10.0

Handler = Callable[[Request], Awaitable[Response]]


class ControlPlane:
    """Answers operators, from the keeper. Nothing here reads a file, starts a process or follows a URL."""

    def __init__(self, keeper: KeeperClient, recall: RecallService, journal: Writer, settings: Settings) -> None:
        self._keeper = keeper
        self._recall = recall
        self._journal = journal
        self._settings = settings
        self._gatekeeper = Gatekeeper(settings)

    def routes(self) -> list[Route]:
        """Paths are matched as they were sent, percent-encoded, so that a slash within a user id separates nothing."""
        return [
            self._route("/memory/users", GET=self.list_users),
            self._route("/memory/users/{user}", DELETE=self.erase_user),
            self._route("/memory/users/{user}/memories", GET=self.list_memories, POST=self.add_memory),
            self._route("/memory/users/{user}/memories/{memory}", PATCH=self.edit_memory, DELETE=self.erase_memory),
            self._route("/memory/users/{user}/recall", POST=self.try_recall),
            self._route("/memory/flush", POST=self.flush),
            self._route("/memory/import", POST=self.take_in),
            self._route("/memory/journal", GET=self.list_journal, DELETE=self.drop_failed),
            self._route("/memory/journal/retry", POST=self.retry_failed),
        ]

    def _route(self, path: str, **handlers: Handler) -> Route:
        """One for all methods of *path*: of several, a client with another one would be told the first one's only."""

        async def dispatch(request: Request) -> Response:
            return await handlers["GET" if request.method == "HEAD" else request.method](request)

        return Route(path, self.guard(dispatch), methods=list(handlers))

    def guard(self, handler: Handler) -> Handler:
        """*handler* for those who may pass; its errors in the shape of the API."""

        async def guarded(request: Request) -> Response:
            try:
                self._gatekeeper.check(request)
                return await handler(request)
            except ApiError as exc:
                return render_error(exc)
            except KeeperError as exc:
                return render_error(ApiError(503, "keeper_unavailable", str(exc), retry_after=1))

        return guarded

    async def list_users(self, request: Request) -> Response:
        """``GET /memory/users``."""
        page: wire.UserPage = await self._keeper.call(
            wire.ListUsers(parameters.read_limit(request), parameters.read_cursor(request))
        )
        return _json({"users": page.users, "cursor": parameters.write_cursor(page.cursor)})

    async def list_memories(self, request: Request) -> Response:
        """``GET /memory/users/{user}/memories``."""
        superseded = request.query_params.get("include") == "superseded"
        call = wire.ListMemories(
            parameters.read_user(request), parameters.read_limit(request), parameters.read_cursor(request), superseded
        )
        page: wire.MemoryPage = await self._keeper.call(call)
        return _json({"memories": page.memories, "cursor": parameters.write_cursor(page.cursor)})

    async def add_memory(self, request: Request) -> Response:
        """``POST /memory/users/{user}/memories``: one written by hand."""
        scope = parameters.read_user(request)
        text = parameters.check_text(parameters.read_body(await request.body(), parameters.NewMemory).text)
        memory: Memory = await self._keeper.call(wire.Add(scope, text))
        return _json(memory, 201)

    async def edit_memory(self, request: Request) -> Response:
        """``PATCH /memory/users/{user}/memories/{id}``: another text, or one that was superseded holds again."""
        scope, memory_id = parameters.read_user(request), parameters.read_memory_id(request)
        change = parameters.read_body(await request.body(), parameters.MemoryChange)
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
        call = wire.Erase(parameters.read_user(request), [parameters.read_memory_id(request)])
        receipt: wire.Receipt = await self._keeper.call(call)
        if receipt.memories == 0:
            raise _no_such_memory()
        return _json(receipt)

    async def erase_user(self, request: Request) -> Response:
        """``DELETE /memory/users/{user}``."""
        scope = parameters.read_user(request)
        held = await self._journal.discard(scope)
        receipt: wire.Receipt = await self._keeper.call(wire.Erase(scope, None))
        return _json(msgspec.structs.replace(receipt, journal_entries=receipt.journal_entries + held))

    async def try_recall(self, request: Request) -> Response:
        """``POST /memory/users/{user}/recall``: what would be injected."""
        scope = parameters.read_user(request)
        asked = parameters.read_body(await request.body(), parameters.RecallRequest)
        budget = self._settings.memory.budget_tokens if asked.budget_tokens is None else asked.budget_tokens
        if not 1 <= budget <= MAX_BUDGET:
            reason = f"budget_tokens should be a number from 1 to {MAX_BUDGET}."
            raise ApiError(400, "bad_request", reason, param="budget_tokens")
        began = time.perf_counter()
        recollection = await self._recall.recall(
            scope,
            _dialogue(asked),
            budget_tokens=budget,
            deadline_s=INSPECTION_DEADLINE_S,
            asked_at=asked.asked_at,
            sticky=False,
        )
        return _json(_describe(recollection, (time.perf_counter() - began) * 1000))

    async def flush(self, _: Request) -> Response:
        """``POST /memory/flush``."""
        done: wire.Flushed = await self._keeper.call(wire.Flush())
        held = self._journal.state.held
        return _json(msgspec.structs.replace(done, failed=done.failed + held))

    async def take_in(self, request: Request) -> Response:
        """``POST /memory/import``: JSON Lines of any length, in constant memory."""
        stored = known = 0
        errors: list[tuple[int, str]] = []
        first_line = 1
        async for lines in parameters.read_whole_lines(request):
            done: wire.Imported = await self._keeper.call(wire.Import(lines, first_line))
            stored, known = stored + done.stored, known + done.known
            errors += done.errors
            first_line += lines.count(b"\n")
        return _json(
            {"stored": stored, "known": known, "errors": [{"line": line, "reason": why} for line, why in errors]}
        )

    async def list_journal(self, request: Request) -> Response:
        """``GET /memory/journal``: what waits, and what was set aside and why."""
        page: wire.JournalPage = await self._keeper.call(wire.ListJournal(parameters.read_limit(request)))
        return _json(page)

    async def retry_failed(self, _: Request) -> Response:
        """``POST /memory/journal/retry``: everything that was set aside is tried again."""
        done: wire.Settled = await self._keeper.call(wire.RetryFailed())
        return _json({"retried": done.count})

    async def drop_failed(self, _: Request) -> Response:
        """``DELETE /memory/journal``: everything that was set aside is given up."""
        done: wire.Settled = await self._keeper.call(wire.DropFailed())
        return _json({"dropped": done.count})


def render_error(error: ApiError) -> Response:
    """An error of the proxy's own as a Starlette response."""
    extra = {"retry-after": str(error.retry_after)} if error.retry_after is not None else {}
    return Response(error.body(), error.status, headers=extra, media_type="application/json")


def _json(value: Any, status: int = 200) -> Response:
    return Response(msgspec.json.encode(value), status, media_type="application/json")


def _no_such_memory() -> ApiError:
    return ApiError(404, "no_such_memory", "This user has no memory of this id.", param="id")


def _dialogue(asked: parameters.RecallRequest) -> list[Message]:
    if asked.query is not None:
        return [Message("user", asked.query)]
    parsed = ChatRequest.parse(b'{"messages":' + bytes(asked.messages) + b"}")
    if parsed is None:
        raise ApiError(400, "bad_request", 'Send {"query": "…"} or {"messages": […]}.')
    return parsed.dialogue


def _describe(recollection: Recollection, elapsed_ms: float) -> dict[str, Any]:
    block = recollection.block
    memories = []
    if block is not None:
        for memory, score in zip(block.memories, block.scores, strict=True):
            memories.append({**msgspec.to_builtins(memory), "score": round(score, 4)})
    return {
        "status": recollection.status,
        "tokens": block.tokens if block is not None else 0,
        "elapsed_ms": round(elapsed_ms, 3),
        "block": block.text if block is not None else None,
        "memories": memories,
    }
