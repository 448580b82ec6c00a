"""``POST /v1/chat/completions``, the request: what was said, by whom, and where a block of memories goes.

A body is scanned once and never written anew: fields that nobody here needs are skipped, and a block is spliced between
the client's own bytes, so that numbers, key order, white space and unknown fields reach upstream as they were sent.
"""

import re
from collections.abc import Sequence
from functools import cached_property
from typing import Final, Self

import msgspec
import numpy as np
from msgspec import Raw

from proxy.models import Message

_INSTRUCTION_ROLES: Final = frozenset({"system", "developer"})
_RESULT_ROLES: Final = frozenset({"tool", "function"})

# What msgspec raises for bytes that are no JSON, have another shape, are not UTF-8, or nest deeper than the stack.
_UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

_EMPTY_ARRAY: Final = re.compile(rb"\[[ \t\r\n]*\]")
# Clients that send back the SDK's own objects fill unused fields with null, some with an empty array.
_UNUSED: Final = re.compile(rb"(?:null|" + _EMPTY_ARRAY.pattern + rb")?")

# A high surrogate without a low one behind it, or a low one without a high one before it.
_HIGH: Final = rb"\\u[dD][89abAB][0-9a-fA-F]{2}"
_LOW: Final = rb"\\u[dD][c-fC-F][0-9a-fA-F]{2}"
_LONE: Final = re.compile(_HIGH + b"(?!" + _LOW + b")|" + _LOW + b"(?<!" + _HIGH + _LOW + b")")


class Part(msgspec.Struct, frozen=True, gc=False):
    """One element of a ``content`` array. Images, audio and files have no text and stay unparsed."""

    type: str = ""
    text: str | None = None


Content = str | list[Part] | None


class _Turn(msgspec.Struct, frozen=True, gc=False):
    role: str
    content: Raw = Raw()
    name: Raw = Raw()
    tool_calls: Raw = Raw()
    function_call: Raw = Raw()


class _Body(msgspec.Struct, frozen=True, gc=False):
    messages: list[_Turn]
    user: Raw = Raw()
    safety_identifier: Raw = Raw()


class _Envelope(msgspec.Struct, frozen=True, gc=False):
    messages: Raw


_BODY: Final = msgspec.json.Decoder(_Body)
_ENVELOPE: Final = msgspec.json.Decoder(_Envelope)
_CONTENT: Final = msgspec.json.Decoder(Content)
_STRING: Final = msgspec.json.Decoder(str)


class ChatRequest:
    """A request body that could be read. Texts are decoded when first asked for; offsets never leave this class."""

    def __init__(self, body: bytes) -> None:
        """Prefer :meth:`parse`: this raises whatever *body* makes the decoder raise."""
        self._body = body
        self._scanned, self._shape = _scan(body)
        self._turns = self._shape.messages
        self.body_user = self._read_id(self._shape.user) or self._read_id(self._shape.safety_identifier)
        if not body.isascii():  # only then can a text be invalid UTF-8, which has to be known now
            self.dialogue = _read_dialogue(self._turns)

    @classmethod
    def parse(cls, body: bytes) -> Self | None:
        """None for what is no chat request with readable messages: such a body is upstream's to judge, unmodified."""
        try:
            return cls(body)
        except _UNREADABLE:
            return None

    @cached_property
    def dialogue(self) -> list[Message]:
        """What the user and the assistant said, in order.

        Instructions, tool results, an assistant's tool calls and messages without text are not part of it, so that
        positions do not move when a client adds or trims those.
        """
        return _read_dialogue(self._turns)

    @cached_property
    def first_new(self) -> int:
        """Where in :attr:`dialogue` that begins which no finished answer follows yet; its length if nothing is new."""
        answers = (i for i in reversed(range(len(self.dialogue))) if self.dialogue[i].role == "assistant")
        return next(answers, -1) + 1

    @property
    def new(self) -> list[Message]:
        """The user's messages that this request asks about."""
        return self.dialogue[self.first_new :]

    @property
    def is_tool_step(self) -> bool:
        """Whether the request only hands a tool's result back: nobody said anything since the last request."""
        return bool(self._turns) and self._turns[-1].role in _RESULT_ROLES

    def inject(self, block: str) -> bytes:
        """The client's body with *block* at the end of its instructions, or as the first message if it has none.

        The instructions are the first system or developer message whose content is a string or an array.
        """
        position, insertion = self._place(block)
        body = memoryview(self._body)
        return b"".join((body[:position], insertion, body[position:]))

    def _place(self, block: str) -> tuple[int, bytes]:
        for turn in self._turns:
            if turn.role not in _INSTRUCTION_ROLES:
                continue
            if (kind := _first_byte(turn.content)) == b'"':
                return self._end(turn.content) - 1, _continue_string(turn.content, block)
            if kind == b"[":
                return self._end(turn.content) - 1, _continue_array(turn.content, block)
        message = msgspec.json.encode({"role": "system", "content": block})
        # A second scan, but only for requests without instructions: the first one keeps no trace of the array itself.
        messages = _ENVELOPE.decode(self._scanned).messages
        return self._start(messages) + 1, message + b"," if self._turns else message

    def _read_id(self, raw: Raw) -> str | None:
        if self._scanned is not self._body and _first_byte(raw):
            start, end = self._start(raw), self._end(raw)
            # Half an emoji makes no id: once both halves are U+FFFD, two users would share one memory.
            if self._body[start:end] != self._scanned[start:end]:
                return None
        return _read_string(raw)

    def _start(self, raw: Raw) -> int:
        """The offset of *raw* in the body: an address difference, which no equal text earlier in it can deceive."""
        return _address(memoryview(raw)) - _address(self._scanned)

    def _end(self, raw: Raw) -> int:
        return self._start(raw) + len(memoryview(raw))


def text_of(content: Content, *, separator: str = "\n") -> str:
    """The text in *content*, "" if there is none: its text parts joined, whatever else it holds skipped."""
    if content is None or isinstance(content, str):
        return content or ""
    return separator.join(part.text for part in content if part.type == "text" and part.text)


def has_words(text: str) -> bool:
    """Whether *text* counts as something said. Requests and replies must agree, or positions would drift apart."""
    return bool(text) and not text.isspace()


def _scan(body: bytes) -> tuple[bytes, _Body]:
    """*body*'s shape, and the bytes that its spans point into: *body*, or a readable copy with the same offsets."""
    try:
        return body, _BODY.decode(body)
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError:
        if not _LONE.search(body):
            raise
        repaired = _replace_lone_surrogates(body)
        return repaired, _BODY.decode(repaired)


def _replace_lone_surrogates(body: bytes) -> bytes:
    r"""*body* with U+FFFD for half surrogate pairs, in as many bytes: ``\ud83d`` → ``\ufffd``.

    msgspec refuses such escapes even where it skips; JavaScript clients make them when they cut an emoji in half.
    Escaped backslashes (``\\ud83d`` is no escape) are hidden behind NULs, which JSON cannot contain, meanwhile.
    """
    if b"\0" in body:
        raise msgspec.DecodeError("a NUL is not JSON")
    masked = body.replace(rb"\\", b"\0\0")
    return _LONE.sub(rb"\\ufffd", masked).replace(b"\0\0", rb"\\")


def _read_dialogue(turns: Sequence[_Turn]) -> list[Message]:
    said = []
    for turn in turns:
        if turn.role == "user" or (turn.role == "assistant" and not _calls_tools(turn)):
            text = _read_text(turn.content)
            if has_words(text):
                said.append(Message(turn.role, text, _read_string(turn.name)))
    return said


def _calls_tools(turn: _Turn) -> bool:
    return not all(_UNUSED.fullmatch(memoryview(calls)) for calls in (turn.tool_calls, turn.function_call))


def _read_text(content: Raw) -> str:
    """Empty for content of a shape that has no text. Invalid UTF-8 is :class:`UnicodeDecodeError`."""
    try:
        return text_of(_CONTENT.decode(content))
    except (msgspec.DecodeError, RecursionError):
        return ""


def _read_string(raw: Raw) -> str | None:
    """None for an empty string, for what is no string and for a missing field."""
    return (_STRING.decode(raw) or None) if _first_byte(raw) == b'"' else None


def _first_byte(raw: Raw) -> bytes:
    return bytes(memoryview(raw)[:1])


def _continue_string(content: Raw, block: str) -> bytes:
    is_empty = len(memoryview(content)) == len('""')
    return msgspec.json.encode(block if is_empty else f"\n\n{block}")[1:-1]


def _continue_array(content: Raw, block: str) -> bytes:
    part = msgspec.json.encode({"type": "text", "text": block})
    return part if _EMPTY_ARRAY.fullmatch(memoryview(content)) else b"," + part


def _address(buffer: bytes | memoryview) -> int:
    address: int = np.frombuffer(buffer, np.uint8).__array_interface__["data"][0]
    return address
