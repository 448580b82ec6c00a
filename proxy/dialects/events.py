"""Server-sent events out of bytes that arrive in any pieces."""

from typing import Final

# The largest events are audio deltas of some 100 kB in base64: what is longer than this is not an event stream.
EVENT_LIMIT: Final = 8 * 1024 * 1024

_BOM: Final = b"\xef\xbb\xbf"


class EventReader:
    r"""Takes chunks, gives the data of each event as soon as the empty line after it has arrived.

    Lines end with ``\n``, ``\r`` or ``\r\n`` and nothing else. Only ``data`` is kept. An event or line of more than
    *limit* bytes is left out and counted in :attr:`dropped`; no more than about *limit* bytes are ever held.
    """

    def __init__(self, *, limit: int = EVENT_LIMIT) -> None:
        self.dropped = 0
        self._limit = limit
        self._line = bytearray()  # the start of a line whose end has not arrived
        self._data: bytearray | None = None  # of the event under way, each of its lines followed by \n
        self._dropping = False
        self._after_cr = False  # a \n now would belong to the line end before it
        self._at_start = True
        self._between = True  # between two events, with nothing held

    def feed(self, chunk: bytes) -> list[bytes]:
        # Nearly always a chunk is one event with one line: taking it apart line by line would cost four times as much.
        if (
            self._between
            and chunk.startswith(b"data: ")
            and chunk.find(b"\n") == len(chunk) - 2
            and chunk.endswith(b"\n")
            and b"\r" not in chunk
        ):
            self._at_start = False
            return [chunk[6:-2]]
        lines, rest = self._split(chunk)
        events = [event for line in lines if (event := self._take(line)) is not None]
        self._hold(rest)
        self._between = not (self._line or self._dropping) and self._data is None
        return events

    def holds(self, payload: bytes) -> bool:
        """Whether *payload* is all the data so far of an event whose empty line has not arrived."""
        return self._data is not None and self._data == payload + b"\n"

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

    def _hold(self, rest: bytes) -> None:
        if self._has_room(len(self._line) + len(rest)):
            self._line += rest
        if self._dropping and (self._line or rest):
            self._line[:] = b":"  # not empty: its end must not pass for the end of the event

    def _take(self, line: bytes) -> bytes | None:
        """The finished event, if *line* is the empty one after it."""
        if self._at_start:
            self._at_start = False
            line = line.removeprefix(_BOM)
        if not line:
            return self._finish()
        if line.startswith(b"data:"):
            self._append(line[6:] if line[5:6] == b" " else line[5:])
        elif line == b"data":
            self._append(b"")
        return None

    def _append(self, value: bytes) -> None:
        if self._has_room(len(value)):
            self._data = bytearray() if self._data is None else self._data
            self._data += value
            self._data += b"\n"

    def _has_room(self, size: int) -> bool:
        """Whether *size* bytes more may be held; if not, the rest of the event is dropped."""
        if not self._dropping and size + len(self._data or b"") > self._limit:
            self._dropping = True
            self._data = None
            self.dropped += 1
        return not self._dropping

    def _finish(self) -> bytes | None:
        data, self._data = self._data, None
        self._dropping = False
        return None if data is None else bytes(data[:-1])
