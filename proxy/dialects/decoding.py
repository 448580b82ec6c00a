"""Content codings of a captured response, undone as its chunks arrive. What the client gets is never decoded."""

import zlib
from collections.abc import Callable, Iterator
from typing import Final, Protocol

import brotli
import zstandard

from proxy.errors import MemoryProxyError

# One chunk of 64 kB can decode to gigabytes. No answer does: 16 MB is also the largest JSON body that is read whole.
OUTPUT_LIMIT: Final = 16 * 1024 * 1024

# Header lists are bounded by nobody else, and each coding holds a window.
_MOST_CODINGS: Final = 4

# A zstd block of 4 bytes decodes to at most 128 kB, so that a slice of 512 yields no more than OUTPUT_LIMIT.
_ZSTD_SLICE: Final = 512

# What RFC 9659 allows on the web.
_ZSTD_WINDOW: Final = 8 * 1024 * 1024

_GZIP: Final = zlib.MAX_WBITS | 16
_RAW: Final = -zlib.MAX_WBITS


class UndecodableError(MemoryProxyError):
    """The response has an unknown coding, or is corrupt."""


class _Coding(Protocol):
    def decode(self, chunk: bytes) -> Iterator[bytes]:
        """What *chunk* completes, in pieces of bounded size."""


class ContentDecoder:
    """Undoes the codings that a ``content-encoding`` header names, last one first.

    *cut*: a chunk decoded to more than :data:`OUTPUT_LIMIT` bytes; nothing after these is decoded any more.
    """

    def __init__(self, content_encoding: bytes) -> None:
        self.cut = False
        names = [name.strip().lower() for name in content_encoding.split(b",")]
        names = [name for name in names if name not in (b"", b"identity")]
        if len(names) > _MOST_CODINGS or any(name not in _CODINGS for name in names):
            raise UndecodableError(f"content-encoding {content_encoding[:100]!r}")
        self._codings = [_CODINGS[name]() for name in reversed(names)]

    def decode(self, chunk: bytes) -> bytes:
        """As much as *chunk* completes. After :class:`UndecodableError` the decoder is of no more use."""
        if self.cut:
            return b""
        try:
            for coding in self._codings:
                chunk = self._join(coding.decode(chunk))
        except (zlib.error, brotli.error, zstandard.ZstdError) as exc:
            raise UndecodableError("corrupt content") from exc
        return chunk

    def _join(self, pieces: Iterator[bytes]) -> bytes:
        joined, room = [], OUTPUT_LIMIT
        for piece in pieces:
            joined.append(piece[:room])
            room -= len(piece)
            if room <= 0:  # exactly 0, too: zlib stops there, and keeps the rest
                self.cut = True
                break
        return b"".join(joined)


class _Gzip:
    """One or more members."""

    def __init__(self) -> None:
        self._member = zlib.decompressobj(_GZIP)

    def decode(self, chunk: bytes) -> Iterator[bytes]:
        while chunk:
            yield self._member.decompress(chunk, OUTPUT_LIMIT)
            if not self._member.eof:
                break
            chunk = self._member.unused_data
            self._member = zlib.decompressobj(_GZIP)


class _Deflate:
    """With the zlib header that the standard asks for, or without, as some servers send it."""

    def __init__(self) -> None:
        self._head = b""
        self._stream: zlib._Decompress | None = None

    def decode(self, chunk: bytes) -> Iterator[bytes]:
        if self._stream is None:
            chunk = self._head = self._head + chunk
            if len(chunk) < 2:  # two bytes tell the formats apart
                return
            is_zlib = chunk[0] & 0x0F == zlib.DEFLATED and int.from_bytes(chunk[:2], "big") % 31 == 0
            self._stream = zlib.decompressobj(zlib.MAX_WBITS if is_zlib else _RAW)
        yield self._stream.decompress(chunk, OUTPUT_LIMIT)


class _Brotli:
    def __init__(self) -> None:
        self._stream = brotli.Decompressor()

    def decode(self, chunk: bytes) -> Iterator[bytes]:
        # process() stops when its output buffer is full and does not say so: ask until nothing comes.
        while piece := self._stream.process(chunk, output_buffer_limit=OUTPUT_LIMIT):
            yield piece
            chunk = b""


class _Zstd:
    def __init__(self) -> None:
        decompressor = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW)
        self._stream = decompressor.decompressobj(read_across_frames=True)

    def decode(self, chunk: bytes) -> Iterator[bytes]:
        for start in range(0, len(chunk), _ZSTD_SLICE):
            yield self._stream.decompress(chunk[start : start + _ZSTD_SLICE])


_CODINGS: Final[dict[bytes, Callable[[], _Coding]]] = {
    b"gzip": _Gzip,
    b"x-gzip": _Gzip,
    b"deflate": _Deflate,
    b"br": _Brotli,
    b"zstd": _Zstd,
}
