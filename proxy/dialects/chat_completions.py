"""``POST /v1/chat/completions``, the request: what was said, by whom, and where a block of memories goes.

A body is never written anew: fields that nobody here needs are skipped, and a block is spliced between the client's own
bytes, so that numbers, key order, white space and unknown fields reach upstream as they were sent.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
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

# What content begins with that more text can be added to.
_EXTENSIBLE: Final = (b'"', b"[")
_EMPTY_ARRAY: Final = re.compile(rb"\[[ \t\r\n]*\]")
# Clients that send back the SDK's own objects fill unused fields with null, some with an empty array.
_UNUSED: Final = re.compile(rb"(?:null|" + _EMPTY_ARRAY.pattern + rb")?")

# A high surrogate without a low one behind it, or a low one without a high one before it.
_HIGH: Final = rb"\\u[dD][89abAB][0-9a-fA-F]{2}"
_LOW: Final = rb"\\u[dD][c-fC-F][0-9a-fA-F]{2}"
_LONE: Final = re.compile(_HIGH + b"(?!" + _LOW + b")|" + _LOW + b"(?<!" + _HIGH + _LOW + b")")

_LONGEST_MODEL: Final = 256


class Part(msgspec.Struct, frozen=True, gc=False):
    """One element of a ``content`` array. Images, audio and files have no text and stay unparsed."""

    type: str = ""
    text: str | None = None


Content = str | list[Part] | None


_ABSENT: Final = Raw()


class _Turn(msgspec.Struct, frozen=True, gc=False):
    role: str
    content: Content = None
    name: str | None = None
    tool_calls: Raw = _ABSENT
    function_call: Raw = _ABSENT


class _Body(msgspec.Struct, frozen=True, gc=False):
    messages: list[_Turn]
    user: Raw = _ABSENT
    safety_identifier: Raw = _ABSENT
    model: Raw = _ABSENT
    stream: Raw = _ABSENT


class _TurnSpans(msgspec.Struct, frozen=True, gc=False):
    """A turn as it is written: for offsets, and where a field has a type that it should not have."""

    role: str
    content: Raw = _ABSENT
    name: Raw = _ABSENT
    tool_calls: Raw = _ABSENT
    function_call: Raw = _ABSENT


class _BodySpans(msgspec.Struct, frozen=True, gc=False):
    messages: list[_TurnSpans]
    user: Raw = _ABSENT
    safety_identifier: Raw = _ABSENT
    model: Raw = _ABSENT
    stream: Raw = _ABSENT


class _Envelope(msgspec.Struct, frozen=True, gc=False):
    messages: Raw


class _Options(msgspec.Struct, frozen=True, gc=False):
    """What few requests are asked about, and therefore read for themselves."""

    max_tokens: Raw = _ABSENT
    max_completion_tokens: Raw = _ABSENT
    tools: Raw = _ABSENT
    functions: Raw = _ABSENT


_BODY: Final = msgspec.json.Decoder(_Body)
_SPANS: Final = msgspec.json.Decoder(_BodySpans)
_ENVELOPE: Final = msgspec.json.Decoder(_Envelope)
_OPTIONS: Final = msgspec.json.Decoder(_Options)
_CONTENT: Final = msgspec.json.Decoder(Content)
_INTEGER: Final = msgspec.json.Decoder(int)
_STRING: Final = msgspec.json.Decoder(str)


class ChatRequest:
    """A request body that could be read: one that a strict JSON parser reads, too. Offsets never leave this class."""

    def __init__(self, body: bytes) -> None:
        """Prefer :meth:`parse`: this raises whatever *body* makes the decoder raise."""
        if not body.isascii():
            body.decode()  # msgspec does not look at the encoding of what it skips
        self._body = body
        self._scanned, shape = _scan(body)
        self._turns = shape.messages
        self._shape = shape
        self.body_user = self._read_id(shape.user) or self._read_id(shape.safety_identifier)

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
        return [message for _, message in self._said]

    @cached_property
    def _said(self) -> list[tuple[int, Message]]:
        """The dialogue, each message with the index of its turn."""
        return _find_said(self._turns)

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

    @cached_property
    def instructions(self) -> list[str]:
        """The texts of system and developer messages, in order, without those that have none."""
        texts = [text_of(turn.content) for turn in self._turns if turn.role in _INSTRUCTION_ROLES]
        return [text for text in texts if has_words(text)]

    @property
    def model(self) -> str | None:
        """The model that is asked, where one is named; of a name that is none, the beginning."""
        name = _read_string(self._shape.model)
        return None if name is None else name[:_LONGEST_MODEL]

    @property
    def is_streamed(self) -> bool:
        """Whether the answer is to come as a stream."""
        return _first_byte(self._shape.stream) == b"t"

    @property
    def max_tokens(self) -> int | None:
        """How long an answer may be, by the newer of the two names for it. None where nothing or no integer says so."""
        newer = _read_integer(self._options.max_completion_tokens)
        return _read_integer(self._options.max_tokens) if newer is None else newer

    @property
    def has_tools(self) -> bool:
        """Whether the model is offered any."""
        return _is_used(self._options.tools) or _is_used(self._options.functions)

    @cached_property
    def _options(self) -> _Options:
        try:
            return _OPTIONS.decode(self._scanned)
        except RecursionError:  # the stack has grown since the first scan, which went just as deep
            return _Options()

    def inject(self, block: str) -> bytes:
        """The client's body with *block* at the end of its instructions, or as the first message if it has none.

        The instructions are the first system or developer message whose content is a string or an array.
        """
        return self._splice([self._place(block)])

    def inject_tail(self, texts: Mapping[int, str]) -> bytes:
        """The client's body with each of *texts* at the end of a user's message: the one at that index of the dialogue.

        Into what the user said and into no further system message, because many chat templates refuse one there. The
        same texts at the same places of the next request make it begin with the same bytes as this one, up to where the
        two differ anyway: what a provider's prompt cache needs. IndexError where there is no such message, ValueError
        where the assistant said it.
        """
        turns = _SPANS.decode(self._scanned).messages if texts else []
        return self._splice([self._continue(turns[self._find_user(i)].content, texts[i]) for i in sorted(texts)])

    def _splice(self, insertions: Iterable[tuple[int, bytes]]) -> bytes:
        """The body with what is inserted at offsets, which ascend."""
        body, start = memoryview(self._body), 0
        pieces: list[bytes | memoryview] = []
        for position, insertion in insertions:
            pieces += body[start:position], insertion
            start = position
        return b"".join((*pieces, body[start:]))

    def _find_user(self, index: int) -> int:
        """The turn of a user's message in the dialogue."""
        if not 0 <= index < len(self._said):
            raise IndexError(f"{index} is none of {len(self._said)} messages")
        turn, message = self._said[index]
        if message.role != "user":
            raise ValueError(f"message {index} is the {message.role}'s")
        return turn

    def _place(self, block: str) -> tuple[int, bytes]:
        for content in self._instructions():
            if _first_byte(content) in _EXTENSIBLE:
                return self._continue(content, block)
        message = msgspec.json.encode({"role": "system", "content": block})
        messages = _ENVELOPE.decode(self._scanned).messages
        return self._start(messages) + 1, message + b"," if self._turns else message

    def _continue(self, content: Raw, text: str) -> tuple[int, bytes]:
        """Where and how a string or an array goes on with *text*."""
        extend = _continue_string if _first_byte(content) == b'"' else _continue_array
        return self._end(content) - 1, extend(content, text)

    def _instructions(self) -> list[Raw]:
        """The contents of system and developer messages, as they are written. A second scan, if there are any."""
        if not any(turn.role in _INSTRUCTION_ROLES for turn in self._turns):
            return []
        turns = _SPANS.decode(self._scanned).messages
        return [turn.content for turn in turns if turn.role in _INSTRUCTION_ROLES]

    def _read_id(self, raw: Raw) -> str | None:
        if raw is _ABSENT:
            return None
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
        return body, _read_shape(body)
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError:
        repaired = mend_surrogates(body)
        if repaired == body:
            raise
        return repaired, _read_shape(repaired)


def _read_shape(body: bytes) -> _Body:
    try:
        return _BODY.decode(body)
    except msgspec.ValidationError:
        # Few bodies have a content or a name of another type. These are read in two steps, each field for itself.
        spans = _SPANS.decode(body)
        turns = [_read_turn(turn) for turn in spans.messages]
        return _Body(turns, spans.user, spans.safety_identifier, spans.model, spans.stream)


def _read_turn(spans: _TurnSpans) -> _Turn:
    content, name = _read_content(spans.content), _read_string(spans.name)
    return _Turn(spans.role, content, name, spans.tool_calls, spans.function_call)


def mend_surrogates(body: bytes) -> bytes:
    r"""*body* with U+FFFD for half surrogate pairs, in as many bytes: ``\ud83d`` → ``\ufffd``.

    msgspec refuses such escapes even where it skips; JavaScript clients make them when they cut an emoji in half.
    Escaped backslashes (``\\ud83d`` is no escape) are hidden behind NULs, which JSON cannot contain, meanwhile.
    """
    if not _LONE.search(body):
        return body
    if b"\0" in body:
        raise msgspec.DecodeError("a NUL is not JSON")
    masked = body.replace(rb"\\", b"\0\0")
    return _LONE.sub(rb"\\ufffd", masked).replace(b"\0\0", rb"\\")


def _find_said(turns: Sequence[_Turn]) -> list[tuple[int, Message]]:
    said = []
    for index, turn in enumerate(turns):
        if turn.role == "user" or (turn.role == "assistant" and not _calls_tools(turn)):
            text = text_of(turn.content)
            if has_words(text):
                said.append((index, Message(turn.role, text, turn.name or None)))
    return said


def _calls_tools(turn: _Turn) -> bool:
    return _is_used(turn.tool_calls) or _is_used(turn.function_call)


def _is_used(raw: Raw) -> bool:
    return raw is not _ABSENT and not _UNUSED.fullmatch(memoryview(raw))


def _read_content(raw: Raw) -> Content:
    """None for content of a shape that has no text."""
    try:
        content: Content = _CONTENT.decode(raw)
    except (msgspec.DecodeError, RecursionError):
        return None
    return content


def _read_string(raw: Raw) -> str | None:
    """None for an empty string, for what is no string and for a missing field."""
    return (_STRING.decode(raw) or None) if _first_byte(raw) == b'"' else None


def _read_integer(raw: Raw) -> int | None:
    try:
        return None if raw is _ABSENT else _INTEGER.decode(raw)
    except msgspec.DecodeError:
        return None


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
