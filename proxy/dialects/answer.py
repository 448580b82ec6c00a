"""What the assistant said, put together from the JSON of one body or of many events."""

import json
from collections.abc import Iterable
from io import StringIO
from typing import Any, Final, TypeVar

import msgspec

from proxy.dialects.chat_completions import Content, has_words, text_of
from proxy.dialects.events import CutEvent
from proxy.dialects.fragments import complete
from proxy.dialects.usage import read_usage
from proxy.models import Details, Usage

# The longest answers of today's models (128,000 tokens) are about half of this.
TEXT_LIMIT: Final = 1_000_000

DONE: Final = b"[DONE]"

# How much of an event tells whether it is the terminating one.
PEEK: Final = 100

_STEPS: Final = frozenset({"tool_calls", "function_call"})
_UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

T = TypeVar("T")


class Reply(msgspec.Struct, frozen=True):
    """A finished answer of the assistant.

    *truncated*: the text is not all of it: more than :data:`TEXT_LIMIT` characters, or too many bytes around them to be
    read. *finish_reason* is empty where it was among what was not read. *is_step*: it calls tools, and the text, if
    any, is none that a conversation counts.
    """

    text: str
    finish_reason: str
    truncated: bool
    is_step: bool = False


class _Said(msgspec.Struct, frozen=True, gc=False):
    """``delta`` or ``message``. Reasoning, refusals and audio are other fields."""

    content: Content = None
    tool_calls: Any = None
    function_call: Any = None


class _Choice(msgspec.Struct, frozen=True, gc=False):
    index: int | None = None
    delta: _Said | None = None
    message: _Said | None = None
    finish_reason: str | None = None


class _Completion(msgspec.Struct, frozen=True, gc=False):
    """An event of a stream, or a whole body: they differ in where a choice has its words."""

    choices: list[_Choice] | None = None
    error: Any = None
    usage: Any = None


class _Detailed(_Completion, frozen=True, gc=False):
    """With what is asked of few answers. Of any type: what they tell of themselves spoils no reply."""

    id: Any = None
    model: Any = None


class _Failure(msgspec.Struct, frozen=True, gc=False):
    error: Any = None


_COMPLETION: Final = msgspec.json.Decoder(_Completion)
_DETAILED: Final[msgspec.json.Decoder[_Completion]] = msgspec.json.Decoder(_Detailed)
_FAILURE: Final = msgspec.json.Decoder(_Failure)


class Answer:
    """Choice 0 as it grows. Never raises on any bytes; holds at most :data:`TEXT_LIMIT` characters.

    *details* are filled in, where they are given.
    """

    def __init__(self, details: Details | None = None) -> None:
        self._details = details
        self._decoder = _COMPLETION if details is None else _DETAILED
        self._text = StringIO()
        self._room = TEXT_LIMIT
        self._is_cut = False
        self._is_partly_read = False
        self._is_step = False
        self._failed = False
        self._finish_reason = ""
        self._usage: Any = None

    def take_events(self, events: Iterable[bytes]) -> bool:
        """Whether one of *events* is the terminating one; what follows it is not taken."""
        decode = self._decoder.decode
        for event in events:
            try:
                completion = decode(event)
            except _UNREADABLE:
                if is_end(event):
                    return True
                self._take_odd(event)
            else:
                self._add(completion)
        return False

    def take(self, body: bytes | bytearray) -> None:
        """A whole JSON body, or an event that is no terminating one. What cannot be read is skipped."""
        completion = _decode(self._decoder, body)
        if completion is not None:
            self._add(completion)
        elif failure := _decode(_FAILURE, body):
            self._failed |= bool(failure.error)

    def take_head(self, head: bytes) -> None:
        """The beginning of a body or an event, of which more was not held."""
        self.skip()
        self.take(complete(head))

    def skip(self) -> None:
        """Notes that some of the response was not read, and that its finish reason may have been there."""
        self._is_partly_read = True

    def reply(self) -> Reply | None:
        """None without a proper end, for an error, and without text unless tools are called."""
        if self._failed or not (self._finish_reason or self._is_partly_read):
            return None
        if self._is_step:
            return Reply("", self._finish_reason, truncated=False, is_step=True)
        text = _mend(self._text.getvalue())
        return Reply(text, self._finish_reason, self._is_cut or self._is_partly_read) if has_words(text) else None

    @property
    def usage(self) -> Usage | None:
        """The last one that was reported: some servers add up as they go."""
        return read_usage(self._usage)

    def _take_odd(self, event: bytes) -> None:
        if isinstance(event, CutEvent):
            self.take_head(event)
        else:
            self.take(event)

    def _add(self, completion: _Completion) -> None:
        if self._details is not None and isinstance(completion, _Detailed):
            _note(self._details, completion)
        if completion.error:
            self._failed = True
        if completion.usage:
            self._usage = completion.usage
        for choice in completion.choices or ():
            if choice.index:
                continue
            if said := choice.delta or choice.message:
                # A call with text beside it is still a step, whatever the reason says: requests do not count it either.
                if said.tool_calls or said.function_call:
                    self._is_step = True
                if content := said.content:
                    self._write(content, separator="\n" if choice.message else "")
            if choice.finish_reason:
                self._finish_reason = choice.finish_reason
                self._is_step |= choice.finish_reason in _STEPS

    def _write(self, content: Content, *, separator: str) -> None:
        text = content if isinstance(content, str) else text_of(content, separator=separator)
        if len(text) > self._room:
            self._is_cut = True
            text = text[: self._room]
        self._room -= len(text)
        self._text.write(text)


def _note(details: Details, told: _Detailed) -> None:
    """Later events of a stream tell more, and never less."""
    if isinstance(told.id, str) and told.id:
        details.id = told.id
    if isinstance(told.model, str) and told.model:
        details.model = told.model
    if (usage := read_usage(told.usage)) is not None:
        details.usage = usage
    for choice in told.choices or ():
        if not choice.index and choice.finish_reason:
            details.finish_reason = choice.finish_reason


def is_end(data: bytes) -> bool:
    """Whether *data*, of a whole event or of one whose lines are still coming, is the terminating event's.

    Its first line decides. A client that reads line by line takes that for the end, and may leave.
    """
    return data[:PEEK].lstrip().partition(b"\n")[0].rstrip() == DONE


def _decode(decoder: "msgspec.json.Decoder[T]", payload: bytes | bytearray) -> T | None:
    try:
        return decoder.decode(payload)
    except _UNREADABLE:
        pass
    # Python servers write NaN into logprobs, JavaScript ones cut emojis in half between two deltas: the standard
    # library reads both.
    try:
        converted: T = msgspec.convert(json.loads(payload), decoder.type)
    except (ValueError, RecursionError):
        return None
    return converted


def _mend(text: str) -> str:
    """*text* with the halves of surrogate pairs joined where they meet, and U+FFFD for those left alone."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text
