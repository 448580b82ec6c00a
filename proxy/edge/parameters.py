"""What requests to the control plane say: paths, queries and bodies, read strictly."""

import base64
import json
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any, Final, NamedTuple, TypeVar
from urllib.parse import unquote

import msgspec
from msgspec import UNSET, UnsetType
from starlette.requests import Request

from proxy.config.fields import NAME
from proxy.errors import ApiError
from proxy.identity import MAX_CHARACTERS, bad_user_id, check_user_id
from proxy.keeper import wire
from proxy.models import Scope

DEFAULT_LIMIT: Final = 50
MAX_LIMIT: Final = 1000
# Of a memory that is written by hand, in characters. A block has room for far less.
MAX_TEXT: Final = 100_000
MAX_BUDGET: Final = 100_000  # as of memory.budget_tokens
# Of a body that is read at once: what the longest text takes with each character as two escapes, 1.2 MB.
MAX_BODY: Final = 5 << 18
# What is sent to the keeper in one frame of an import.
IMPORT_BYTES: Final = 1 << 20
# Of an import. No conversation is that long, and without an end what is no JSON Lines at all would be one line.
LONGEST_LINE: Final = 16 << 20

# Reasons quote what they are about.
LONGEST_REASON: Final = 300

T = TypeVar("T")


class RecallRequest(msgspec.Struct):
    """The body of ``POST /memory/users/{user}/recall``."""

    query: str | None = None
    messages: msgspec.Raw = msgspec.Raw()  # no "| None": msgspec then takes nothing but null
    budget_tokens: int | float | None = None  # 1000.0 is a whole number, too: some languages write them so
    asked_at: datetime | None = None


class SearchRequest(msgspec.Struct, forbid_unknown_fields=True):
    """The body of ``POST /memory/users/{user}/search``."""

    query: str
    limit: int | float = DEFAULT_LIMIT  # as of budget_tokens


class NewMemory(msgspec.Struct, forbid_unknown_fields=True):
    """The body of ``POST /memory/users/{user}/memories``."""

    text: str


class MemoryChange(msgspec.Struct, forbid_unknown_fields=True):
    """The body of ``PATCH /memory/users/{user}/memories/{id}``: another text, or that it holds again."""

    text: str | UnsetType = UNSET
    superseded_by: UnsetType | None = UNSET


class Lines(NamedTuple):
    """Some lines of an import, of which the first is number *first_line*; or, with *too_long*, that one alone and
    without what it says.
    """

    first_line: int
    lines: bytes
    too_long: bool = False


async def read_body(request: Request, kind: type[T]) -> T:
    """The body, which is JSON of this *kind*.

    Raises:
        ApiError: 400 for what is not, and for what other readers would understand otherwise; 413.
    """
    body = await _read_bytes(request)
    try:
        found = msgspec.json.decode(body, type=kind)
        # msgspec takes the last of two members of one name, others the first.
        json.loads(body, object_pairs_hook=_refuse_repetition)
    except (msgspec.MsgspecError, ValueError, RecursionError) as exc:
        reason = "it is nested too deeply" if isinstance(exc, RecursionError) else str(exc)[:LONGEST_REASON]
        raise ApiError(400, "bad_request", f"The body is not what this route reads: {reason}") from None
    return found


async def _read_bytes(request: Request) -> bytes:
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > MAX_BODY:
            raise ApiError(413, "body_too_large", f"The body is larger than {MAX_BODY:,} bytes.")
    return bytes(body)


def _refuse_repetition(members: list[tuple[str, Any]]) -> None:
    if len(dict(members)) < len(members):
        raise ValueError("an object has two members of one name")


def check_text(text: str) -> str:
    """*text*, when it can be a memory: one to 100,000 characters that are not only white space.

    Raises:
        ApiError: 400.
    """
    if not text or text.isspace():
        raise ApiError(400, "bad_request", "The text has no words.", param="text")
    if len(text) > MAX_TEXT:
        message = f"The text has {len(text):,} characters; {MAX_TEXT:,} are allowed."
        raise ApiError(400, "bad_request", message, param="text")
    return text


def read_user_id(request: Request) -> str:
    """Whose memories the path names."""
    try:
        return check_user_id(unquote(request.path_params["user"], errors="strict"))
    except UnicodeDecodeError:
        raise bad_user_id("is not valid UTF-8") from None


def read_scope(request: Request, *, required: bool) -> Scope:
    """Whose memories the path and ``?tenant=`` name. *required*: see :func:`require_tenant`."""
    return Scope(read_user_id(request), require_tenant(request, required=required))


def require_tenant(request: Request, *, required: bool) -> str:
    """The tenant that is meant. Only where it is not *required*, which is where there are no clients, may it be left
    out: with clients the same id may be several people's.

    Raises:
        ApiError: 400.
    """
    tenant = read_tenant(request)
    if tenant is None and required:
        raise ApiError(400, "tenant_required", "There are several tenants: name one with ?tenant=.", param="tenant")
    return tenant or ""


def read_tenant(request: Request) -> str | None:
    """``?tenant=``: any that a client might have, or have had; empty for what was stored without clients."""
    tenant = _read_query(request, "tenant")
    if tenant and not NAME.fullmatch(tenant):
        reason = "tenant should have 1 to 64 letters, digits, dots, dashes and underscores."
        raise ApiError(400, "bad_tenant", reason, param="tenant")
    return tenant


def read_superseded(request: Request) -> bool:
    """Whether ``?include=`` asks for what no longer holds."""
    included = _read_query(request, "include")
    if included not in (None, "superseded"):
        raise ApiError(400, "bad_include", "include should be superseded, or be left out.", param="include")
    return included == "superseded"


def read_again(request: Request) -> bool:
    """Whether ``?again=true`` asks for everything anew."""
    again = _read_query(request, "again")
    if again not in (None, "true", "false"):
        raise ApiError(400, "bad_again", "again should be true or false.", param="again")
    return again == "true"


def _read_query(request: Request, name: str) -> str | None:
    values = request.query_params.getlist(name)
    if len(values) > 1:
        raise ApiError(400, f"bad_{name}", f"{name} was given twice.", param=name)
    return values[0] if values else None


def read_part(request: Request) -> str:
    """What the ids of users that are looked for have in them; empty for all."""
    part = _read_query(request, "search") or ""
    if len(part) > MAX_CHARACTERS:
        reason = f"search should have at most {MAX_CHARACTERS} characters, as ids have."
        raise ApiError(400, "bad_search", reason, param="search")
    return part


def read_number(text: str | None, name: str) -> int | None:
    """The number of a trace, as a listing or a stream has given it."""
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise ApiError(400, f"bad_{name}", f"{name} should be one that was given here.", param=name)
    return int(text)


def read_trace_cursor(request: Request) -> int | None:
    """Where the last page of traces ended, or None where the listing begins."""
    return read_number(_read_query(request, "cursor"), "cursor")


def read_memory_id(request: Request) -> str:
    """Which memory the path names."""
    return unquote(request.path_params["memory"])


def read_limit(request: Request) -> int:
    text = _read_query(request, "limit")
    if text is None:
        return DEFAULT_LIMIT
    # Python reads numbers in the digits of every script, and takes its time for a million of them.
    if not (text.isascii() and text.isdigit() and len(text) < 10 and 1 <= int(text) <= MAX_LIMIT):
        raise ApiError(400, "bad_limit", f"limit should be a number from 1 to {MAX_LIMIT}.", param="limit")
    return int(text)


def write_cursor(cursor: wire.Cursor | None) -> str | None:
    return None if cursor is None else base64.urlsafe_b64encode(msgspec.json.encode(cursor)).decode()


def read_cursor(request: Request) -> wire.Cursor | None:
    """What :func:`write_cursor` has given, or None where the listing begins."""
    text = _read_query(request, "cursor")
    if not text:
        return None
    try:
        decoded = base64.b64decode(text, altchars=b"-_", validate=True)
        cursor: wire.Cursor = msgspec.json.decode(decoded, type=wire.Cursor)
    except (ValueError, msgspec.MsgspecError, RecursionError):
        raise ApiError(400, "bad_cursor", "cursor should be one that a listing gave.", param="cursor") from None
    return cursor


async def read_lines(request: Request) -> AsyncIterator[Lines]:
    """The body in pieces of about a megabyte, each ending where a line ends. A line that is too long is not held."""
    kept = bytearray()
    line, end, skipping = 1, 0, False  # *end*: behind the last line end in *kept*, which begins with line *line*
    async for piece in request.stream():
        if skipping:
            piece = piece[piece.find(b"\n") :] if b"\n" in piece else b""
            skipping = not piece
        # Only the new piece is searched: a line without an end would be searched from its start every time.
        if b"\n" in piece:
            end = len(kept) + piece.rfind(b"\n") + 1
        kept += piece
        if end and len(kept) >= IMPORT_BYTES:
            yield Lines(line, bytes(kept[:end]))
            line += kept.count(b"\n", 0, end)
            del kept[:end]
            end = 0
        if len(kept) > LONGEST_LINE:
            yield Lines(line, b"", too_long=True)
            kept.clear()
            skipping = True
    if kept:
        yield Lines(line, bytes(kept))
