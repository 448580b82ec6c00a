"""A chat completion's reply, folded out of the response's bytes while they pass: one JSON body or an event stream."""

import json
from io import StringIO
from typing import Any, Final, Protocol, Self, TypeVar

import msgspec

from proxy.dialects.chat_completions import Content, has_words, text_of
from proxy.dialects.decoding import ContentDecoder, UndecodableError
from proxy.dialects.events import EventReader

# The longest answers of today's models (128,000 tokens) are about half of this.
TEXT_LIMIT: Final = 1_000_000

# Of a JSON body, decoded. Images and audio in base64 are what makes bodies large.
BODY_LIMIT: Final = 16 * 1024 * 1024

_DONE: Final = b"[DONE]"
_STEPS: Final = frozenset({"tool_calls", "function_call"})

T = TypeVar("T")


class Reply(msgspec.Struct, frozen=True):
    """A finished answer of the assistant. *truncated*: the text is only the first :data:`TEXT_LIMIT` characters."""

    text: str
    finish_reason: str
    truncated: bool


class Fold:
    """Eats a response, chunk by chunk as relayed, and says what the assistant answered. Never raises on any bytes."""

    def __init__(self, reader: "_Reader | None", decoder: ContentDecoder | None) -> None:
        self._reader = reader
        self._decoder = decoder

    @classmethod
    def for_response(cls, content_type: bytes, content_encoding: bytes) -> Self:
        """From the values of upstream's headers, ``b""`` for one that is missing."""
        try:
            decoder = ContentDecoder(content_encoding) if content_encoding else None
        except UndecodableError:
            return cls(None, None)
        return cls(_reader_for(content_type), decoder)

    def feed(self, chunk: bytes) -> bool:
        """True from the chunk on that holds a stream's terminating event: nothing that follows changes the reply.

        :meth:`finish` may be called then, before the body has ended. Always False for a JSON body.
        """
        if self._reader is None:
            return False
        try:
            data = self._decoder.decode(chunk) if self._decoder else chunk
        except UndecodableError:
            # What comes after the terminating event, checksums included, is of no concern.
            if not self._reader.ended:
                self._reader = None
            return self._reader is not None
        return self._reader.feed(data)

    def finish(self) -> Reply | None:
        """The reply, or None if there is none worth keeping: no text, a tool call, an error, or no proper end.

        To be called when the body has ended cleanly or :meth:`feed` has said True; more than once is fine.
        """
        return self._reader.finish() if self._reader else None


class _Reader(Protocol):
    @property
    def ended(self) -> bool: ...

    def feed(self, data: bytes) -> bool: ...

    def finish(self) -> Reply | None: ...


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


class _Failure(msgspec.Struct, frozen=True, gc=False):
    error: Any = None


_COMPLETION: Final = msgspec.json.Decoder(_Completion)
_FAILURE: Final = msgspec.json.Decoder(_Failure)


class _Answer:
    """Choice 0 as it grows."""

    def __init__(self) -> None:
        self._text = StringIO()
        self._room = TEXT_LIMIT
        self._cut = False
        self._finish_reason = ""
        self._is_step = False
        self._failed = False

    def take(self, payload: bytes) -> None:
        completion = _decode(_COMPLETION, payload)
        if completion is None:
            failure = _decode(_FAILURE, payload)
            self._failed |= bool(failure and failure.error)
            return
        self._failed |= bool(completion.error)
        for choice in completion.choices or ():
            if not choice.index:
                self._add(choice)

    def cut(self) -> None:
        """Notes that something between what was taken is missing."""
        self._cut = True

    def reply(self) -> Reply | None:
        if self._failed or self._is_step or not self._finish_reason:
            return None
        text = _mend(self._text.getvalue())
        return Reply(text, self._finish_reason, self._cut) if has_words(text) else None

    def _add(self, choice: _Choice) -> None:
        if said := choice.delta or choice.message:
            # A call with text beside it is still a step, whatever the reason says: requests do not count it either.
            self._is_step |= bool(said.tool_calls or said.function_call)
            if said.content:
                self._write(text_of(said.content, separator="\n" if choice.message else ""))
        if choice.finish_reason:
            self._finish_reason = choice.finish_reason
            self._is_step |= choice.finish_reason in _STEPS

    def _write(self, text: str) -> None:
        if len(text) > self._room:
            self._cut = True
            text = text[: self._room]
        self._room -= len(text)
        self._text.write(text)


class _StreamReader:
    def __init__(self) -> None:
        self.ended = False
        self._events = EventReader()
        self._answer = _Answer()

    def feed(self, data: bytes) -> bool:
        if not self.ended:
            self._take(self._events.feed(data))
            # A client that reads line by line may leave before the empty line after it.
            self.ended = self.ended or self._events.holds(_DONE)
        return self.ended

    def finish(self) -> Reply | None:
        if not self.ended:
            self._take(self._events.flush())
        if self._events.dropped:
            self._answer.cut()
        return self._answer.reply() if self.ended else None

    def _take(self, events: list[bytes]) -> None:
        for payload in events:
            if payload.strip() == _DONE:
                self.ended = True
                break
            self._answer.take(payload)


class _BodyReader:
    ended = False

    def __init__(self) -> None:
        self._body: bytearray | None = bytearray()

    def feed(self, data: bytes) -> bool:
        if self._body is not None:
            self._body += data
            if len(self._body) > BODY_LIMIT:
                self._body = None
        return False

    def finish(self) -> Reply | None:
        if self._body is None:
            return None
        answer = _Answer()
        answer.take(bytes(self._body))
        return answer.reply()


class _Sniffer:
    """For a response that does not say what it is: an object is a body, all else a stream."""

    def __init__(self) -> None:
        self._reader: _Reader | None = None

    @property
    def ended(self) -> bool:
        return self._reader is not None and self._reader.ended

    def feed(self, data: bytes) -> bool:
        if self._reader is None:
            start = data.lstrip()[:1]
            if not start:
                return False
            self._reader = _BodyReader() if start == b"{" else _StreamReader()
        return self._reader.feed(data)

    def finish(self) -> Reply | None:
        return self._reader.finish() if self._reader else None


def _reader_for(content_type: bytes) -> _Reader:
    media_type = content_type.partition(b";")[0].strip().lower()
    if media_type == b"text/event-stream":
        return _StreamReader()
    if media_type == b"application/json" or media_type.endswith(b"+json"):
        return _BodyReader()
    return _Sniffer()


def _decode(decoder: "msgspec.json.Decoder[T]", payload: bytes) -> T | None:
    try:
        return decoder.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    # Python servers write NaN into logprobs, JavaScript ones cut emojis in half between two deltas: the standard
    # library reads both.
    try:
        return msgspec.convert(json.loads(payload), decoder.type)
    except (ValueError, RecursionError):
        return None


def _mend(text: str) -> str:
    """*text* with the halves of surrogate pairs joined where they meet, and U+FFFD for those left alone."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text
