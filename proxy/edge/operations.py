"""The control plane's routes, in one table: what is served, and what ``GET /memory/openapi.json`` says of it."""

from collections.abc import Mapping
from typing import Any, Final, Literal, NamedTuple

from proxy.config.fields import NAME
from proxy.edge import answers, parameters
from proxy.edge.history import HistoryAnswer
from proxy.identity import MAX_CHARACTERS
from proxy.keeper import wire
from proxy.keeper.moves import ReembeddingState
from proxy.models import Memory
from proxy.observe.metrics import CONTENT_TYPE

JSON: Final = "application/json"
# The name that more programs know of the two that are in use for JSON Lines.
LINES: Final = "application/x-ndjson"
EVENTS: Final = "text/event-stream"
TEXT: Final[Mapping[str, Any]] = {"type": "string"}


class Parameter(NamedTuple):
    """Something in a path or a query."""

    name: str
    where: Literal["path", "query"]
    schema: Mapping[str, Any]
    says: str


class Content(NamedTuple):
    """A body. *kind*: a msgspec type, or a schema as it is."""

    kind: Any
    media: str = JSON


class Answer(NamedTuple):
    """What is answered where nothing is wrong."""

    says: str
    content: Content
    status: int = 200


class Operation(NamedTuple):
    """One method of one path. *errors*: statuses of errors that not every operation has.

    *guarded*: the gatekeeper decides who may. *changes*: not those who may only look.
    """

    name: str
    method: str
    path: str
    says: str
    answers: tuple[Answer, ...]
    parameters: tuple[Parameter, ...] = ()
    body: Content | None = None
    errors: tuple[int, ...] = ()
    guarded: bool = True
    changes: bool = False


# No control characters. Halves of surrogate pairs are no characters at all.
_USER: Final = Parameter(
    "user",
    "path",
    {
        "type": "string",
        "minLength": 1,
        "maxLength": MAX_CHARACTERS,
        "pattern": r"^[^\x00-\x1f\x7f-\x9f]+$",
    },
    "The user's id.",
)
_MEMORY: Final = Parameter("memory", "path", {"type": "string", "minLength": 1}, "The memory's id.")
_LIMIT: Final = Parameter(
    "limit",
    "query",
    {"type": "integer", "minimum": 1, "maximum": parameters.MAX_LIMIT, "default": parameters.DEFAULT_LIMIT},
    "How many at most.",
)
_CURSOR: Final = Parameter("cursor", "query", {"type": "string", "format": "cursor"}, "Where the last page ended.")
_INCLUDE: Final = Parameter(
    "include", "query", {"type": "string", "enum": ["superseded"]}, "Those as well that no longer hold."
)
_AGAIN: Final = Parameter(
    "again",
    "query",
    {"type": "string", "enum": ["true", "false"]},
    "Also what has vectors of the configured model, behind whose name there may be another one now.",
)
_TENANT_SCHEMA: Final = {"type": "string", "pattern": f"^({NAME.pattern})?$"}
TENANT: Final = Parameter(
    "tenant",
    "query",
    _TENANT_SCHEMA,
    "Whose user it is. Required where clients are configured; empty for what was stored before there were any.",
)
_PART: Final = Parameter("search", "query", {**TEXT, "maxLength": MAX_CHARACTERS}, "Those whose id has this in it.")
_BEFORE: Final = Parameter(
    "cursor", "query", {"type": "string", "pattern": "^[0-9]{0,18}$"}, "Where the last page ended."
)
_TENANTS: Final = Parameter("tenant", "query", _TENANT_SCHEMA, "Of this tenant only; without it, of all.")

_NULL: Final = {"type": "null"}
# As in a chat: what else a message has, and content that is no text, is for models.
_TURN: Final = {"type": "object", "required": ["role"], "properties": {"role": TEXT, "content": {}}}
_TURNS: Final = {"type": "array", "items": _TURN}
_RECALL: Final = {
    "type": "object",
    "description": "What a user says, alone or as the end of a conversation.",
    "properties": {
        "query": {"anyOf": [TEXT, _NULL]},
        "messages": {"anyOf": [_TURNS, _NULL]},
        "budget_tokens": {"anyOf": [{"type": "integer", "minimum": 1, "maximum": parameters.MAX_BUDGET}, _NULL]},
        "asked_at": {"anyOf": [{"type": "string", "format": "date-time"}, _NULL]},
    },
    "anyOf": [
        {"required": ["query"], "properties": {"query": TEXT}},
        {"required": ["messages"], "properties": {"messages": _TURNS}},
    ],
}
_SEARCH: Final = {
    "type": "object",
    "required": ["query"],
    "properties": {
        "query": TEXT,
        "limit": {
            "type": "integer",
            "minimum": 1,
            "maximum": parameters.MAX_LIMIT,
            "default": parameters.DEFAULT_LIMIT,
        },
    },
    "additionalProperties": False,
}
_NEW: Final = {"type": "string", "minLength": 1, "maxLength": parameters.MAX_TEXT, "pattern": r"\S"}
_NEW_MEMORY: Final = {
    "type": "object",
    "required": ["text"],
    "properties": {"text": _NEW},
    "additionalProperties": False,
}
_CHANGE: Final = {
    "type": "object",
    "properties": {"text": _NEW, "superseded_by": _NULL},
    "additionalProperties": False,
    "minProperties": 1,
}


def _one(says: str, kind: Any, media: str = JSON, status: int = 200) -> tuple[Answer]:
    return (Answer(says, Content(kind, media), status),)


OPERATIONS: Final = (
    Operation(
        "live",
        "GET",
        "/healthz",
        "Whether the process should be left alone.",
        (
            Answer("It should.", Content(answers.Liveness)),
            Answer("It drains.", Content(answers.Liveness), 503),
        ),
        guarded=False,
    ),
    Operation(
        "ready",
        "GET",
        "/readyz",
        "Whether chats get their memory.",
        (
            Answer("They do.", Content(answers.Readiness)),
            Answer("They are relayed without.", Content(answers.Readiness), 503),
        ),
        guarded=False,
    ),
    Operation("metrics", "GET", "/metrics", "All metrics, for Prometheus.", _one("Metrics.", TEXT, CONTENT_TYPE)),
    Operation(
        "stats",
        "GET",
        "/memory/stats",
        "What memory makes of a difference: users with it against those held out, with intervals.",
        _one("Both arms, and the differences between them.", {"type": "object"}),
    ),
    Operation(
        "access",
        "GET",
        "/memory/access",
        "What this proxy is, and what whoever asks may do.",
        _one("Both.", answers.Access),
    ),
    Operation(
        "traces",
        "GET",
        "/memory/traces",
        "The last chats, newest first.",
        _one("A page of them.", answers.TraceList),
        (_LIMIT, _BEFORE),
    ),
    Operation(
        "trace_stream",
        "GET",
        "/memory/traces/stream",
        "Chats as they end, as server-sent events; with Last-Event-ID those as well that have ended since that one.",
        _one("Events named trace, whose data is of the schema Trace.", TEXT, EVENTS),
        errors=(429,),
    ),
    Operation(
        "history",
        "GET",
        "/memory/history",
        "How the last hour went, in samples of ten seconds.",
        _one("Samples, oldest first.", HistoryAnswer),
    ),
    Operation(
        "describe",
        "GET",
        "/memory/openapi.json",
        "This document.",
        _one("An OpenAPI document.", {"type": "object"}),
    ),
    Operation(
        "list_users",
        "GET",
        "/memory/users",
        "Users, latest activity first.",
        _one("A page of them.", answers.UserList),
        (_LIMIT, _CURSOR, _PART, _TENANTS),
    ),
    Operation(
        "erase_user",
        "DELETE",
        "/memory/users/{user}",
        "Erases everything about a user.",
        _one("A receipt.", wire.Receipt),
        (_USER, TENANT),
        changes=True,
    ),
    Operation(
        "list_memories",
        "GET",
        "/memory/users/{user}/memories",
        "A user's memories, newest first.",
        _one("A page of them.", answers.MemoryList),
        (_USER, _LIMIT, _CURSOR, _INCLUDE, TENANT),
    ),
    Operation(
        "add_memory",
        "POST",
        "/memory/users/{user}/memories",
        "Remembers something written by hand.",
        _one("The memory.", Memory, status=201),
        (_USER, TENANT),
        Content(_NEW_MEMORY),
        (413,),
        changes=True,
    ),
    Operation(
        "edit_memory",
        "PATCH",
        "/memory/users/{user}/memories/{memory}",
        "Another text for a memory, or one that was superseded holds again.",
        _one("The memory as it is now.", Memory),
        (_USER, _MEMORY, TENANT),
        Content(_CHANGE),
        (404, 413),
        changes=True,
    ),
    Operation(
        "erase_memory",
        "DELETE",
        "/memory/users/{user}/memories/{memory}",
        "Erases a memory, and what was learnt from it alone.",
        _one("A receipt.", wire.Receipt),
        (_USER, _MEMORY, TENANT),
        errors=(404,),
        changes=True,
    ),
    Operation(
        "try_recall",
        "POST",
        "/memory/users/{user}/recall",
        "What would be injected, without injecting it.",
        _one("What was found.", answers.Found),
        (_USER, TENANT),
        Content(_RECALL),
        (413,),
    ),
    Operation(
        "search",
        "POST",
        "/memory/users/{user}/search",
        "The memories that have most to do with a text, and why.",
        _one("Memories with scores, best first.", answers.SearchResult),
        (_USER, TENANT),
        Content(_SEARCH),
        (413,),
    ),
    Operation(
        "export",
        "GET",
        "/memory/users/{user}/export",
        "A user's memories, one a line, those first that were first stored.",
        _one(
            "Memories as JSON Lines, each of the schema Memory. A fact has beside it what it states, and its topic.",
            TEXT,
            LINES,
        ),
        (_USER, _INCLUDE, TENANT),
    ),
    Operation(
        "take_in",
        "POST",
        "/memory/import",
        "Stores conversations and memories. The same lines twice change nothing.",
        _one("What was stored, and which lines could not be read.", answers.ImportReport),
        (TENANT,),
        Content({"type": "string", "format": "binary"}, LINES),
        changes=True,
    ),
    Operation(
        "flush",
        "POST",
        "/memory/flush",
        "Answers when all that was journaled before is stored or has failed.",
        _one("How much that was.", wire.Flushed),
        changes=True,
    ),
    Operation(
        "list_journal",
        "GET",
        "/memory/journal",
        "What waits to be stored, and what was set aside and why.",
        _one("The journal.", wire.JournalPage),
        (_LIMIT,),
    ),
    Operation(
        "drop_failed",
        "DELETE",
        "/memory/journal",
        "Gives up all that was set aside.",
        _one("How much that was.", answers.Dropped),
        changes=True,
    ),
    Operation(
        "retry_failed",
        "POST",
        "/memory/journal/retry",
        "Tries all again that was set aside.",
        _one("How much that is.", answers.Retried),
        changes=True,
    ),
    Operation(
        "tell_of_reembedding",
        "GET",
        "/memory/reembed",
        "Which embedding model is in force, which one is configured, and how far memories are on their way to that.",
        _one("The models, and the move.", ReembeddingState),
    ),
    Operation(
        "reembed",
        "POST",
        "/memory/reembed",
        "Moves all memories to the configured embedding model, or goes on with it. Meanwhile they are found as before.",
        _one("It is begun, or was.", ReembeddingState, status=202),
        (_AGAIN,),
    ),
)
