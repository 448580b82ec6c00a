"""Bodies of the API beyond chat completions, as small as the clients accept them."""

import json
from typing import Any

from tests.harness import respond
from tests.harness.upstream import JSON, Script

REQUEST_ID = ("x-request-id", "req_123")
LIMITS = [
    ("x-ratelimit-remaining-requests", "59"),
    ("openai-processing-ms", "42"),
    ("set-cookie", "a=1; Path=/"),
    ("set-cookie", "b=2; Path=/"),
]


def answer(payload: object, *, status: int = 200) -> Script:
    """A JSON answer, with the headers that OpenAI's have."""
    return respond(json.dumps(payload).encode(), status=status, headers=[JSON, REQUEST_ID, *LIMITS])


def page(*items: dict[str, Any], has_more: bool = False) -> dict[str, Any]:
    """One page of a list."""
    ends = {"first_id": items[0]["id"], "last_id": items[-1]["id"]} if items else {}
    return {"object": "list", "data": list(items), "has_more": has_more, **ends}


def file(name: str) -> dict[str, Any]:
    """An uploaded file, called and identified by *name*."""
    return {
        "id": name,
        "object": "file",
        "bytes": 3,
        "created_at": 1_700_000_000,
        "filename": name,
        "purpose": "batch",
        "status": "processed",
    }


def named_event(kind: str, **fields: Any) -> bytes:
    """One event of a stream whose events have names."""
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()


def response(text: str, *, status: str = "completed") -> dict[str, Any]:
    """An object of the responses API."""
    part = {"type": "output_text", "text": text, "annotations": []}
    message = {"id": "msg_1", "type": "message", "role": "assistant", "status": status, "content": [part]}
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 1_700_000_000,
        "status": status,
        "model": "double",
        "output": [message] if text else [],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
    }


def response_events(*texts: str) -> list[bytes]:
    """A whole stream of the responses API: a delta for each of *texts*."""
    whole = "".join(texts)
    at = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    empty = {"type": "output_text", "text": "", "annotations": []}
    started = {"id": "msg_1", "type": "message", "role": "assistant", "status": "in_progress", "content": []}
    finished = response(whole)["output"][0]
    steps: list[tuple[str, dict[str, Any]]] = [
        ("response.created", {"response": response("", status="in_progress")}),
        ("response.output_item.added", {"output_index": 0, "item": started}),
        ("response.content_part.added", {**at, "part": empty}),
        *(("response.output_text.delta", {**at, "delta": text, "logprobs": []}) for text in texts),
        ("response.output_text.done", {**at, "text": whole, "logprobs": []}),
        ("response.content_part.done", {**at, "part": finished["content"][0]}),
        ("response.output_item.done", {"output_index": 0, "item": finished}),
        ("response.completed", {"response": response(whole)}),
    ]
    return [named_event(kind, sequence_number=i, **fields) for i, (kind, fields) in enumerate(steps)]
