"""What requests to the control plane say: paths, queries and bodies, read strictly."""

import base64
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Final, TypeVar
from urllib.parse import unquote

import msgspec
from msgspec import UNSET, UnsetType
from starlette.requests import Request

from proxy.errors import ApiError
from proxy.identity import bad_user_id, check_user_id
from proxy.keeper import wire
from proxy.models import Scope

DEFAULT_LIMIT: Final = 50
MAX_LIMIT: Final = 1000
# Of a memory that is written by hand, in characters. A block has room for far less.
MAX_TEXT: Final = 100_000
# What is sent to the keeper in one frame of an import.
IMPORT_BYTES: Final = 1 << 20

T = TypeVar("T")


class RecallRequest(msgspec.Struct):
    """The body of ``POST /memory/users/{user}/recall``."""

    query: str | None = None
    messages: msgspec.Raw = msgspec.Raw()  # no "| None": msgspec then takes nothing but null
    budget_tokens: int | None = None
    asked_at: datetime | None = None


class NewMemory(msgspec.Struct, forbid_unknown_fields=True):
    """The body of ``POST /memory/users/{user}/memories``."""

    text: str


class MemoryChange(msgspec.Struct, forbid_unknown_fields=True):
    """The body of ``PATCH /memory/users/{user}/memories/{id}``: another text, or that it holds again."""

    text: str | UnsetType = UNSET
    superseded_by: UnsetType | None = UNSET


def read_body(body: bytes, kind: type[T]) -> T:
    """Raises ApiError, 400, for what is not of this *kind*."""
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as exc:
        raise ApiError(400, "bad_request", f"The body is not what this route reads: {exc}") from None


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


def read_user(request: Request) -> Scope:
    """Whose memories the path names."""
    try:
        return Scope(check_user_id(unquote(request.path_params["user"], errors="strict")))
    except UnicodeDecodeError:
        raise bad_user_id("is not valid UTF-8") from None


def read_memory_id(request: Request) -> str:
    """Which memory the path names."""
    return unquote(request.path_params["memory"])


def read_limit(request: Request) -> int:
    text = request.query_params.get("limit", str(DEFAULT_LIMIT))
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= MAX_LIMIT):
        raise ApiError(400, "bad_limit", f"limit should be a number from 1 to {MAX_LIMIT}.", param="limit")
    return int(text)


def write_cursor(cursor: wire.Cursor | None) -> str | None:
    return None if cursor is None else base64.urlsafe_b64encode(msgspec.json.encode(cursor)).decode()


def read_cursor(request: Request) -> wire.Cursor | None:
    """What :func:`write_cursor` has given, or None where the listing begins."""
    text = request.query_params.get("cursor")
    if not text:
        return None
    try:
        cursor: wire.Cursor = msgspec.json.decode(base64.urlsafe_b64decode(text), type=wire.Cursor)
    except (ValueError, msgspec.MsgspecError):
        raise ApiError(400, "bad_cursor", "cursor should be one that a listing gave.", param="cursor") from None
    return cursor


async def read_whole_lines(request: Request) -> AsyncIterator[bytes]:
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
