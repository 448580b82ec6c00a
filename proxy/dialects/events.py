"""Server-sent events out of bytes that arrive in any pieces."""

from typing import Final

# The largest events are images in base64, of a few megabytes: what is longer than this is not an event stream.
EVENT_LIMIT: Final = 8 * 1024 * 1024

# What is kept of an event that is longer than that: its text is at the beginning, if it has any.
HEAD_LIMIT: Final = 4 * 1024 * 1024

_BOM: Final = b"\xef\xbb\xbf"
_SHORTEST_TELLING: Final = len(_BOM + b"data:")


class CutEvent(bytes):
    """The beginning of the data of an event that was too large to be held."""

    __slots__ = ()


class EventReader:
    r"""Takes chunks, gives the data of each event as soon as the empty line after it has arrived.

    Lines end with ``\n``, ``\r`` or ``\r\n`` and nothing else. Only ``data`` is kept. Of an event with more than
    *limit* bytes of data the beginning is given, as a :class:`CutEvent`. Between two chunks no more than *limit* bytes
    and a few are held; how the bytes are cut into chunks makes no difference to the events.
    """

    def __init__(self, *, limit: int = EVENT_LIMIT) -> None:
        self._limit = limit
        self._line = bytearray()  # the start of a line whose end has not arrived
        self._data: bytearray | None = None  # of the event under way, each of its lines followed by \n
        self._is_cut = False  # nothing more of the event under way is kept
        self._after_cr = False  # a \n now would belong to the line end before it
        self._at_start = True

    def feed(self, chunk: bytes) -> list[bytes]:
        size = len(self._line) + len(chunk)
        lines, rest = self._split(chunk)
        events = self._take_plain(lines) if self._data is None and size <= self._limit else None
        if events is None:
            events = [event for line in lines if (event := self._take(line)) is not None]
        if rest:
            self._hold(rest)
        return events

    @property
    def is_idle(self) -> bool:
        """Whether the last chunk ended between two events."""
        return not self._line and self._data is None

    def peek(self, size: int) -> bytes:
        """The first *size* bytes of data, as far as they are there, of an event whose empty line has not arrived."""
        return bytes(self._data[:size]) if self._data else b""

    def flush(self) -> list[bytes]:
        """The event that a clean end of the stream left without its empty line. The reader is done then."""
        last, self._line = bytes(self._line), bytearray()
        return [event for line in (last, b"") if (event := self._take(line)) is not None]

    def _split(self, chunk: bytes) -> tuple[list[bytes], bytes]:
        """The lines that end in *chunk*, and what follows them."""
        if not chunk:
            return [], b""
        if self._after_cr:
            chunk = chunk.removeprefix(b"\n")
        self._after_cr = chunk.endswith(b"\r")
        lines = chunk.splitlines()
        rest = lines.pop() if lines and not chunk.endswith((b"\n", b"\r")) else b""
        if lines and self._line:
            lines[0] = bytes(self._line) + lines[0]
            self._line.clear()
        return lines, rest

    def _take_plain(self, lines: list[bytes]) -> list[bytes] | None:
        """The events, if each is one line of data and an empty one, as nearly all are; else None, and nothing taken.

        Taking such events line by line would cost four times as much.
        """
        if len(lines) % 2 or any(lines[1::2]):
            return None
        events = [line[6:] for line in lines[::2] if line.startswith(b"data: ")]
        if len(events) * 2 != len(lines):
            return None
        self._at_start = self._at_start and not lines
        return events

    def _hold(self, rest: bytes) -> None:
        self._line += rest
        if len(self._line) < _SHORTEST_TELLING:
            return
        if self._at_start:
            self._at_start = False
            self._line[:] = self._line.removeprefix(_BOM)
        if not self._line.startswith(b"data:"):
            self._line[:] = b":"  # it will not count, however it ends
        elif self._is_cut or len(self._line) - len(b"data: ") > self._room():
            self._append(_value(bytes(self._line)))
            self._line[:] = b":"

    def _take(self, line: bytes) -> bytes | None:
        """The finished event, if *line* is the empty one after it."""
        if self._at_start:
            self._at_start = False
            line = line.removeprefix(_BOM)
        if not line:
            return self._finish()
        if line.startswith(b"data:") or line == b"data":
            self._append(_value(line))
        return None

    def _append(self, value: bytes) -> None:
        if self._is_cut:
            return
        room = self._room()
        self._data = bytearray() if self._data is None else self._data
        self._data += value + b"\n"
        if len(value) > room:
            self._is_cut = True
            del self._data[min(self._limit, HEAD_LIMIT) :]

    def _room(self) -> int:
        """How long one more line of the event's data may be; negative when there may be none."""
        return self._limit - len(self._data or b"")

    def _finish(self) -> bytes | None:
        data, self._data = self._data, None
        is_cut, self._is_cut = self._is_cut, False
        if data is None:
            return None
        return CutEvent(data) if is_cut else bytes(data[:-1])


def _value(line: bytes) -> bytes:
    return line[5:].removeprefix(b" ")
