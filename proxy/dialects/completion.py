"""``POST /v1/chat/completions``, the answer, where the proxy itself gives it: one completion, or the stream of one."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from msgspec import Raw

from proxy.upstream import RawHeaders

# As many as OpenAI gives: each is the whole text once more.
_MOST_CHOICES: Final = 128
_NO_USAGE: Final = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}


@dataclass(frozen=True, slots=True)
class Asked:
    """What an answer has to look like, and *typed*: the last message, where it is a user's and nothing but one text."""

    model: str
    choices: int
    stream: bool
    usage: bool
    typed: str | None


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole response, of status 200."""

    headers: RawHeaders
    body: bytes


class _Part(msgspec.Struct, gc=False):
    type: str = ""
    text: str | None = None


class _Message(msgspec.Struct, gc=False):
    role: str
    content: Raw = Raw()


class _Request(msgspec.Struct, gc=False):
    """Fields of any type: what nobody can make sense of is left at its default, as the answer asks nobody."""

    messages: list[_Message]
    model: Any = None
    n: Any = None
    stream: Any = None
    stream_options: Any = None


_REQUEST: Final = msgspec.json.Decoder(_Request)
_CONTENT: Final = msgspec.json.Decoder(str | list[_Part] | None)


def read_asked(body: bytes) -> Asked | None:
    """None for a body that cannot be read. Takes about 1 ms a megabyte."""
    try:
        request = _REQUEST.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    options = request.stream_options if isinstance(request.stream_options, dict) else {}
    counted = isinstance(request.n, int) and not isinstance(request.n, bool)
    return Asked(
        model=request.model if isinstance(request.model, str) else "",
        choices=min(max(request.n, 1), _MOST_CHOICES) if counted else 1,
        stream=request.stream is True,
        usage=options.get("include_usage") is True,
        typed=_read_typed(request.messages),
    )


def _read_typed(messages: list[_Message]) -> str | None:
    if not messages or messages[-1].role != "user":
        return None
    try:
        content: str | list[_Part] | None = _CONTENT.decode(messages[-1].content)
    except (msgspec.DecodeError, RecursionError):
        return None
    if isinstance(content, list):
        return content[0].text if len(content) == 1 and content[0].type == "text" else None
    return content


def write_answer(text: str, asked: Asked, *, number: str, created: int) -> Answer:
    """*text* as the assistant's, in the form that was *asked* for.

    *number*: what makes the completion's id its own. *created*: when, in Unix seconds.
    """
    head = {"id": f"chatcmpl-memory-{number}", "created": created, "model": asked.model}
    if not asked.stream:
        body = msgspec.json.encode(_whole(text, head, asked))
        return Answer([(b"content-type", b"application/json"), _length(body)], body)
    body = b"".join(b"data: %b\n\n" % msgspec.json.encode(chunk) for chunk in _chunks(text, head, asked))
    body += b"data: [DONE]\n\n"
    # nginx holds event streams back unless told not to.
    fixed = [(b"cache-control", b"no-cache"), (b"x-accel-buffering", b"no"), _length(body)]
    return Answer([(b"content-type", b"text/event-stream; charset=utf-8"), *fixed], body)


def _length(body: bytes) -> tuple[bytes, bytes]:
    return b"content-length", b"%d" % len(body)


def _whole(text: str, head: dict[str, Any], asked: Asked) -> dict[str, Any]:
    message = {"role": "assistant", "content": text, "refusal": None}
    choices = [
        {"index": index, "message": message, "logprobs": None, "finish_reason": "stop"}
        for index in range(asked.choices)
    ]
    return {**head, "object": "chat.completion", "choices": choices, "usage": _NO_USAGE}


def _chunks(text: str, head: dict[str, Any], asked: Asked) -> Iterator[dict[str, Any]]:
    head = {**head, "object": "chat.completion.chunk"}
    counted: dict[str, Any] = {"usage": None} if asked.usage else {}
    deltas: list[tuple[dict[str, str], str | None]] = [
        ({"role": "assistant", "content": ""}, None),
        ({"content": text}, None),
        ({}, "stop"),
    ]
    for delta, reason in deltas:
        for index in range(asked.choices):
            choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": reason}
            yield {**head, "choices": [choice], **counted}
    if asked.usage:
        yield {**head, "choices": [], "usage": _NO_USAGE}
