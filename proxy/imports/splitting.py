"""The elements of a JSON array one by one, from a file of any length.

Nothing is parsed here but where strings and brackets begin and end, so that an element which is no JSON does not stop
the next one. Some 50 MB a second, ten times as fast as messages are stored.
"""

import re
from collections.abc import Collection, Iterator
from contextlib import suppress
from io import BytesIO
from typing import Final, NamedTuple, Protocol

from proxy.errors import MemoryProxyError

# What is read at once.
PIECE: Final = 1 << 20
_SPACE: Final = re.compile(rb"[ \t\r\n]*+")
_BETWEEN: Final = re.compile(rb"[ \t\r\n,]*+")
# Up to the next bracket, or to a string of which not all is there. Possessive: what it has taken it gives back never.
_FLAT: Final = re.compile(rb'[^"\[\]{}]*+(?:"[^"\\]*+(?:\\.[^"\\]*+)*+"[^"\[\]{}]*+)*+', re.DOTALL)
_STRING: Final = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+', re.DOTALL)
_SCALAR: Final = re.compile(rb'[^\s,:"\[\]{}]*+')
_OPENING: Final = b"[{"
_CLOSING: Final = b"]}"
_QUOTE: Final = ord('"')


class Bytes(Protocol):
    """Where bytes come from."""

    def read(self, size: int, /) -> bytes:
        """At most *size* bytes; none at the end."""


class Element(NamedTuple):
    """One element. *key*: the member whose array it is in, "" for an array by itself. What was *too_long* is empty."""

    key: str
    data: bytes
    too_long: bool = False


class CutShortError(MemoryProxyError):
    """The file ends where more has to follow, or goes on where it should not."""


def split(file: Bytes, keys: Collection[str], *, longest: int) -> Iterator[Element]:
    """The elements of all arrays in *file* that stand by themselves, one behind the other, or are the members *keys* of
    an object; without *keys* an object is an element by itself. Elements of more than *longest* bytes are not held.

    Raises:
        CutShortError: it ends in the middle, or there is something else than arrays and objects.
    """
    text = _Text(file, longest)
    while text.peek(_SPACE) is not None:
        opening = text.peek(_SPACE)
        if opening == ord("["):
            text.take()
            yield from _split_array(text, "")
        elif opening == ord("{") and keys:
            text.take()
            yield from _split_object(text, keys)
        elif opening == ord("{"):
            yield _read_element(text, "")
        else:
            raise CutShortError("there is something behind the end of its JSON")


def list_members(head: bytes) -> list[tuple[str, str]]:
    """The members of the object that a file begins with, each with the first character of its value, as far as *head*,
    the first bytes of the file, tells.
    """
    text = _Text(BytesIO(head), len(head))
    found: list[tuple[str, str]] = []
    with suppress(CutShortError):
        text.require(_SPACE)
        text.take()
        while text.require(_BETWEEN) not in _CLOSING:
            key = _read_key(text)
            found.append((key, chr(text.require(_SPACE))))
            text.read_value()
    return found


def _split_array(text: "_Text", key: str) -> Iterator[Element]:
    while text.require(_BETWEEN) not in _CLOSING:
        yield _read_element(text, key)
    text.take()


def _split_object(text: "_Text", keys: Collection[str]) -> Iterator[Element]:
    while text.require(_BETWEEN) not in _CLOSING:
        key = _read_key(text)
        if text.require(_SPACE) == ord("[") and key in keys:
            text.take()
            yield from _split_array(text, key)
        elif text.require(_SPACE) not in b",}":
            text.read_value()
    text.take()


def _read_element(text: "_Text", key: str) -> Element:
    data = text.read_value()
    return Element(key, data or b"", too_long=data is None)


def _read_key(text: "_Text") -> str:
    name = text.read_value() or b""
    if text.require(_SPACE) == ord(":"):
        text.take()
    return name.strip(b'"').decode("utf-8", "replace")


class _Text:
    """What has been read of a file and not yet been used."""

    def __init__(self, file: Bytes, longest: int) -> None:
        self._file = file
        self._longest = longest
        self._held = bytearray()
        self._at = 0

    def peek(self, skipped: re.Pattern[bytes]) -> int | None:
        """The next byte that is not *skipped*; None at the end."""
        while True:
            self._at = self._match(skipped)
            if self._at < len(self._held):
                return self._held[self._at]
            self._drop()
            if not self._fill():
                return None

    def require(self, skipped: re.Pattern[bytes]) -> int:
        """As :meth:`peek`, where something has to follow."""
        found = self.peek(skipped)
        if found is None:
            raise CutShortError("it is cut short")
        return found

    def take(self) -> int:
        """The next byte."""
        self._at += 1
        return self._held[self._at - 1]

    def read_value(self) -> bytes | None:
        """The value that begins here, as it is written; None if it is too long to be held."""
        self._drop()
        depth, dropped = 0, False
        while True:
            self._at = self._match(_FLAT if depth else _SCALAR)
            if self._at == len(self._held):
                dropped |= self._make_room()
                continue
            byte = self._held[self._at]
            if byte == _QUOTE:
                dropped |= self._pass_string()
            elif byte in _OPENING:
                depth += 1
                self._at += 1
            elif depth and byte in _CLOSING:
                depth -= 1
                self._at += 1
            elif not self._at:
                self._at += 1  # a stray sign is a value that nobody can read
            if not depth:
                break
        data = bytes(self._held[: self._at])
        self._drop()
        return None if dropped else data

    def _pass_string(self) -> bool:
        """Goes behind the string that begins here; whether what was held had to be dropped."""
        self._at += 1
        dropped = False
        while True:
            self._at = self._match(_STRING)
            if self._held[self._at : self._at + 1] == b'"':
                self._at += 1
                return dropped
            dropped |= self._make_room()

    def _make_room(self) -> bool:
        """Reads on within a value; whether what was held of it had to be dropped."""
        full = self._at > self._longest
        if full:
            self._drop()
        if not self._fill():
            raise CutShortError("it is cut short")
        return full

    def _match(self, pattern: re.Pattern[bytes]) -> int:
        found = pattern.match(self._held, self._at)
        return self._at if found is None else found.end()

    def _fill(self) -> bool:
        piece = self._file.read(PIECE)
        self._held += piece
        return bool(piece)

    def _drop(self) -> None:
        del self._held[: self._at]
        self._at = 0
