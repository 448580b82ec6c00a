"""Bodies in the shape of the chat completions API, as small as they can be."""

import json
from collections.abc import Sequence
from typing import Any

DONE = b"data: [DONE]\n\n"
TOOL_CALL = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}


def completion(text: str | None, *, finish_reason: str = "stop", **message: Any) -> bytes:
    """The body of an answer with one choice; *message* adds fields to its message."""
    return completion_of([{"role": "assistant", "content": text, **message}], finish_reason)


def completion_of(messages: Sequence[dict[str, Any]], finish_reason: str = "stop") -> bytes:
    """The body of an answer with a choice for each of *messages*."""
    choices = [{"index": i, "message": m, "finish_reason": finish_reason} for i, m in enumerate(messages)]
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    head = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1_700_000_000, "model": "double"}
    return json.dumps({**head, "choices": choices, "usage": usage}).encode()


def event(delta: dict[str, Any], finish_reason: str | None = None) -> bytes:
    """One event of a stream."""
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1_700_000_000, "model": "double"}
    return b"data: " + json.dumps({**head, "choices": [choice]}).encode() + b"\n\n"


def events(*texts: str, finish_reason: str | None = "stop", done: bool = True) -> list[bytes]:
    """A whole stream: a delta for each of *texts*, then the reason (unless it is None), then the end (if *done*)."""
    pieces = [event({"role": "assistant", "content": ""}), *(event({"content": text}) for text in texts)]
    if finish_reason is not None:
        pieces.append(event({}, finish_reason))
    return [*pieces, DONE] if done else pieces


def failure(message: str, *, kind: str = "invalid_request_error", code: str | None = None) -> bytes:
    """The body of an upstream's error."""
    return json.dumps({"error": {"message": message, "type": kind, "param": None, "code": code}}).encode()


def ask(*texts: str, **fields: Any) -> bytes:
    """A request: user and assistant by turns, the user first."""
    messages = [{"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(texts)]
    return json.dumps({"model": "double", "messages": messages, **fields}).encode()
