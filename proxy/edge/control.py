"""The control plane: ``/memory/*``, for operators and the command line."""

import base64
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime
from typing import Any, Final
from urllib.parse import unquote

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from proxy.config import Settings
from proxy.dialects.chat_completions import ChatRequest
from proxy.edge.admin import Gatekeeper
from proxy.errors import ApiError, KeeperError
from proxy.identity import bad_user_id, check_user_id
from proxy.journal import JournalWriter
from proxy.keeper import wire
from proxy.keeper.client import KeeperClient
from proxy.models import Message, Scope
from proxy.recall.service import RecallService, Recollection

DEFAULT_LIMIT: Final = 50
MAX_LIMIT: Final = 1000
MAX_BUDGET: Final = 100_000  # as of memory.budget_tokens
# Who looks into memory would rather wait than miss something: chats have memory.deadline_ms instead.
INSPECTION_DEADLINE_S: Final = 10.0
# What is sent to the keeper in one frame of an import.
IMPORT_BYTES: Final = 1 << 20

Handler = Callable[[Request], Awaitable[Response]]


class RecallRequest(msgspec.Struct):
    """The body of ``POST /memory/users/{user}/recall``."""

    query: str | None = None
    messages: msgspec.Raw = msgspec.Raw()  # no "| None": msgspec then takes nothing but null
    budget_tokens: int | None = None
    asked_at: datetime | None = None


class ControlPlane:
    """Answers operators, from the keeper. Nothing here reads a file, starts a process or follows a URL."""

    def __init__(self, keeper: KeeperClient, recall: RecallService, journal: JournalWriter, settings: Settings) -> None:
        self._keeper = keeper
        self._recall = recall
        self._journal = journal
        self._settings = settings
        self._gatekeeper = Gatekeeper(settings)

    def routes(self) -> list[Route]:
        """Paths are matched as they were sent, percent-encoded, so that a slash within a user id separates nothing."""
        return [
            Route("/memory/users", self.guard(self.list_users), methods=["GET"]),
            Route("/memory/users/{user}", self.guard(self.erase_user), methods=["DELETE"]),
            Route("/memory/users/{user}/memories", self.guard(self.list_memories), methods=["GET"]),
            Route("/memory/users/{user}/memories/{memory}", self.guard(self.erase_memory), methods=["DELETE"]),
            Route("/memory/users/{user}/recall", self.guard(self.try_recall), methods=["POST"]),
            Route("/memory/flush", self.guard(self.flush), methods=["POST"]),
            Route("/memory/import", self.guard(self.take_in), methods=["POST"]),
        ]

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
        page: wire.UserPage = await self._keeper.call(wire.ListUsers(_limit(request), _cursor(request)))
        return _json({"users": page.users, "cursor": _write_cursor(page.cursor)})

    async def list_memories(self, request: Request) -> Response:
        """``GET /memory/users/{user}/memories``."""
        superseded = request.query_params.get("include") == "superseded"
        call = wire.ListMemories(_user(request), _limit(request), _cursor(request), superseded)
        page: wire.MemoryPage = await self._keeper.call(call)
        return _json({"memories": page.memories, "cursor": _write_cursor(page.cursor)})

    async def erase_memory(self, request: Request) -> Response:
        """``DELETE /memory/users/{user}/memories/{id}``."""
        memory_id = unquote(request.path_params["memory"])
        receipt: wire.Receipt = await self._keeper.call(wire.Erase(_user(request), memory_id))
        if receipt.memories == 0:
            raise ApiError(404, "no_such_memory", "This user has no memory of this id.", param="id")
        return _json(receipt)

    async def erase_user(self, request: Request) -> Response:
        """``DELETE /memory/users/{user}``."""
        scope = _user(request)
        held = await self._journal.discard(scope)
        receipt: wire.Receipt = await self._keeper.call(wire.Erase(scope, None))
        return _json(msgspec.structs.replace(receipt, journal_entries=receipt.journal_entries + held))

    async def try_recall(self, request: Request) -> Response:
        """``POST /memory/users/{user}/recall``: what would be injected."""
        scope = _user(request)
        asked = _decode(await request.body(), RecallRequest)
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
        async for lines in _whole_lines(request):
            done: wire.Imported = await self._keeper.call(wire.Import(lines, first_line))
            stored, known = stored + done.stored, known + done.known
            errors += done.errors
            first_line += lines.count(b"\n")
        return _json(
            {"stored": stored, "known": known, "errors": [{"line": line, "reason": why} for line, why in errors]}
        )


def render_error(error: ApiError) -> Response:
    """An error of the proxy's own as a Starlette response."""
    extra = {"retry-after": str(error.retry_after)} if error.retry_after is not None else {}
    return Response(error.body(), error.status, headers=extra, media_type="application/json")


def _json(value: Any) -> Response:
    return Response(msgspec.json.encode(value), media_type="application/json")


def _decode(body: bytes, kind: type[RecallRequest]) -> RecallRequest:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as exc:
        raise ApiError(400, "bad_request", f"The body is not what this route reads: {exc}") from None


def _dialogue(asked: RecallRequest) -> list[Message]:
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


def _user(request: Request) -> Scope:
    try:
        return Scope(check_user_id(unquote(request.path_params["user"], errors="strict")))
    except UnicodeDecodeError:
        raise bad_user_id("is not valid UTF-8") from None


def _limit(request: Request) -> int:
    text = request.query_params.get("limit", str(DEFAULT_LIMIT))
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= MAX_LIMIT):
        raise ApiError(400, "bad_limit", f"limit should be a number from 1 to {MAX_LIMIT}.", param="limit")
    return int(text)


def _write_cursor(cursor: wire.Cursor | None) -> str | None:
    return None if cursor is None else base64.urlsafe_b64encode(msgspec.json.encode(cursor)).decode()


def _cursor(request: Request) -> wire.Cursor | None:
    text = request.query_params.get("cursor")
    if not text:
        return None
    try:
        cursor: wire.Cursor = msgspec.json.decode(base64.urlsafe_b64decode(text), type=wire.Cursor)
    except (ValueError, msgspec.MsgspecError):
        raise ApiError(400, "bad_cursor", "cursor should be one that a listing gave.", param="cursor") from None
    return cursor


async def _whole_lines(request: Request) -> AsyncIterator[bytes]:
    """The body in pieces of about a megabyte, each ending where a line ends."""
    kept = bytearray()
    async for piece in request.stream():
        kept += piece
        # Only the new piece is searched: a line without an end would be searched from its start every time.
        if b"\n" in piece and len(kept) >= IMPORT_BYTES:
            end = kept.rfind(b"\n") + 1
            yield bytes(kept[:end])
            del kept[:end]
    if kept:
        yield bytes(kept)
