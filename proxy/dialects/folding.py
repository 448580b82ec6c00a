"""A chat completion's reply, folded out of the response's bytes while they pass: one JSON body or an event stream."""

from collections.abc import Callable
from typing import Final, Protocol, Self

from proxy.dialects.answer import DONE, PEEK, Answer, Reply, is_end
from proxy.dialects.decoding import ContentDecoder, UndecodableError
from proxy.dialects.events import HEAD_LIMIT, EventReader
from proxy.models import Details, Usage

# Of a JSON body, decoded. Images and audio in base64 are what makes bodies large.
BODY_LIMIT: Final = 16 * 1024 * 1024

# Events that are put aside until they are folded together: some 200, which take about 0.2 ms.
HELD_LIMIT: Final = 64 * 1024


class Fold:
    """Eats a response, chunk by chunk as relayed, and says what the assistant answered. Never raises on any bytes.

    It holds at most :data:`BODY_LIMIT` of a JSON body; of a stream the text so far, :data:`HELD_LIMIT` of what follows
    and the event under way, each within its limit. Of what is larger it reads the beginning: the reply is truncated.
    """

    hold: Callable[[bytes], bool]
    """Puts a chunk aside and answers True, unless the chunk may complete the reply or has to be looked into for another
    reason: then nothing is taken, and :meth:`feed` has to be called. Nearly every chunk of a stream ends here, at a
    fifth of the cost. The reader's own method, because a call in between would double that.
    """

    def __init__(self, reader: "_Reader | None", decoder: ContentDecoder | None) -> None:
        self._reader = reader
        self._decoder = decoder
        self.hold = _hold_nothing if decoder or not reader else reader.hold

    @classmethod
    def for_response(cls, content_type: bytes, content_encoding: bytes, details: Details | None = None) -> Self:
        """From the values of upstream's headers, ``b""`` for one that is missing. *details* are filled in, if given."""
        try:
            decoder = ContentDecoder(content_encoding) if content_encoding else None
        except UndecodableError:
            return cls(None, None)
        return cls(_reader_for(content_type, details), decoder)

    def feed(self, chunk: bytes) -> bool:
        """True from the chunk on that holds a stream's terminating event: nothing that follows changes the reply.

        :meth:`finish` may be called then, before the body has ended. Always False for a JSON body.
        """
        if self._reader is None:
            return False
        if self._decoder is None:
            return not self._reader.hold(chunk) and self._reader.feed(chunk)
        return self._feed_coded(self._reader, self._decoder, chunk)

    def finish(self) -> Reply | None:
        """The reply, or None if there is none: no text and no call of a tool, an error, or no proper end.

        To be called when the body has ended cleanly or :meth:`feed` has said True; more than once is fine. A stream
        whose body ended cleanly after a finish reason has a proper end: some servers send no terminating event.
        """
        return self._reader.finish() if self._reader else None

    @property
    def usage(self) -> Usage | None:
        """What the upstream says that it took, as far as :meth:`finish` has read; None where it does not say."""
        return self._reader.usage if self._reader else None

    def _feed_coded(self, reader: "_Reader", decoder: ContentDecoder, chunk: bytes) -> bool:
        try:
            data = decoder.decode(chunk)
        except UndecodableError:
            # What comes after the terminating event, checksums included, is of no concern.
            if not reader.ended:
                self._reader = None
            return reader.ended
        complete = not reader.hold(data) and reader.feed(data)
        if decoder.cut:
            reader.cut()
        return complete


class _Reader(Protocol):
    @property
    def ended(self) -> bool: ...

    @property
    def usage(self) -> Usage | None: ...

    def hold(self, data: bytes) -> bool: ...

    def feed(self, data: bytes) -> bool:
        """Only for what :meth:`hold` has not taken."""

    def cut(self) -> None:
        """Nothing more will come, though there was more."""

    def finish(self) -> Reply | None: ...


class _StreamReader:
    def __init__(self, details: Details | None) -> None:
        self.ended = False
        self._held = bytearray()
        self._is_urgent = False  # the next chunk may complete the reply, whatever is in it
        self._events = EventReader()
        self._answer = Answer(details)

    def hold(self, data: bytes) -> bool:
        # The terminating event is known by one line. That is in this chunk whole, or began in one before.
        if self._is_urgent or DONE in data or not data.endswith(b"\n") or len(self._held) + len(data) > HELD_LIMIT:
            return False
        self._held += data
        return True

    def feed(self, data: bytes) -> bool:
        if not self.ended:
            if self._held:
                data = bytes(self._held) + data
                self._held.clear()
            self.ended = self._answer.take_events(self._events.feed(data)) or is_end(self._events.peek(PEEK))
            self._is_urgent = self.ended or not self._events.is_idle
        return self.ended

    def cut(self) -> None:
        if not self.ended:
            self._answer.skip()

    def finish(self) -> Reply | None:
        if not self.feed(b""):
            self._answer.take_events(self._events.flush())
        return self._answer.reply()

    @property
    def usage(self) -> Usage | None:
        return self._answer.usage


class _BodyReader:
    ended = False

    def __init__(self, details: Details | None) -> None:
        self._details = details
        self.usage: Usage | None = None
        self._body = bytearray()
        self._is_cut = False

    def hold(self, data: bytes) -> bool:
        return self._is_cut  # nothing more is of use

    def feed(self, data: bytes) -> bool:
        self._body += data
        if len(self._body) > BODY_LIMIT:
            self.cut()
        return False

    def cut(self) -> None:
        self._is_cut = True
        del self._body[HEAD_LIMIT:]

    def finish(self) -> Reply | None:
        answer = Answer(self._details)
        if self._is_cut:
            answer.take_head(bytes(self._body))
        else:
            answer.take(self._body)
        self.usage = answer.usage
        return answer.reply()


class _Sniffer:
    """For a response that does not say what it is: an object is a body, all else a stream."""

    def __init__(self, details: Details | None) -> None:
        self._reader: _Reader | None = None
        self._details = details

    @property
    def ended(self) -> bool:
        return self._reader is not None and self._reader.ended

    @property
    def usage(self) -> Usage | None:
        return self._reader.usage if self._reader else None

    def hold(self, data: bytes) -> bool:
        return self._reader is not None and self._reader.hold(data)

    def feed(self, data: bytes) -> bool:
        if self._reader is None:
            start = data.lstrip()[:1]
            if not start:
                return False
            self._reader = _BodyReader(self._details) if start == b"{" else _StreamReader(self._details)
        return self._reader.feed(data)

    def cut(self) -> None:
        if self._reader:
            self._reader.cut()

    def finish(self) -> Reply | None:
        return self._reader.finish() if self._reader else None


def _reader_for(content_type: bytes, details: Details | None) -> _Reader:
    media_type = content_type.partition(b";")[0].strip().lower()
    if media_type == b"text/event-stream":
        return _StreamReader(details)
    if media_type == b"application/json" or media_type.endswith(b"+json"):
        return _BodyReader(details)
    return _Sniffer(details)


def _hold_nothing(_: bytes) -> bool:
    return False
