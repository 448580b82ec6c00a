"""Content codings, undone piece by piece."""

import gzip
import random
import zlib
from collections.abc import Callable
from contextlib import suppress

import brotli
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.dialects.decoding import OUTPUT_LIMIT, ContentDecoder, UndecodableError

# Compressible here, random there, and larger than a zstd block.
TEXT = b"".join(b"data: %d\n\n" % i for i in range(30_000)) + random.Random(1).randbytes(10_000) + b"x" * 300_000


def compress_raw(data: bytes) -> bytes:
    deflate = zlib.compressobj(wbits=-15)
    return deflate.compress(data) + deflate.flush()


ENCODINGS: dict[bytes, Callable[[bytes], bytes]] = {
    b"": lambda data: data,
    b"identity": lambda data: data,
    b"gzip": gzip.compress,
    b"x-gzip": gzip.compress,
    b"GZip": gzip.compress,
    b"deflate": zlib.compress,
    b"deflate ": compress_raw,
    b"br": brotli.compress,
    b"zstd": zstandard.compress,
    b"gzip, br": lambda data: brotli.compress(gzip.compress(data)),
    b"br,identity ,, zstd": lambda data: zstandard.compress(brotli.compress(data)),
}
SINGLE = {name: ENCODINGS[name] for name in (b"gzip", b"deflate", b"deflate ", b"br", b"zstd")}


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("size", [1, 1000, 10_000_000])
def test_pieces_decode_to_the_whole(encoding: bytes, size: int) -> None:
    """Every coding, alone and in lists, is undone in chunks of any size."""
    data = TEXT[:5000] if size == 1 else TEXT
    packed = ENCODINGS[encoding](data)
    decoder = ContentDecoder(encoding)
    assert b"".join(decoder.decode(packed[i : i + size]) for i in range(0, len(packed), size)) == data


def flushed_gzip(pieces: list[bytes]) -> list[bytes]:
    deflate = zlib.compressobj(wbits=31)
    return [deflate.compress(piece) + deflate.flush(zlib.Z_SYNC_FLUSH) for piece in pieces]


def flushed_brotli(pieces: list[bytes]) -> list[bytes]:
    compressor = brotli.Compressor()
    return [compressor.process(piece) + compressor.flush() for piece in pieces]


def flushed_zstd(pieces: list[bytes]) -> list[bytes]:
    compressor = zstandard.ZstdCompressor().compressobj()
    return [compressor.compress(piece) + compressor.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK) for piece in pieces]


@pytest.mark.parametrize(
    ("encoding", "flushed"), [(b"gzip", flushed_gzip), (b"br", flushed_brotli), (b"zstd", flushed_zstd)]
)
def test_what_was_flushed_is_there_at_once(encoding: bytes, flushed: Callable[[list[bytes]], list[bytes]]) -> None:
    """A chunk that the server flushed is decoded with that chunk, not with a later one."""
    events = [b"data: one\n\n", b"data: " + b"two" * 100_000 + b"\n\n", b"data: [DONE]\n\n"]
    decoder = ContentDecoder(encoding)
    assert [decoder.decode(chunk) for chunk in flushed(events)] == events


@pytest.mark.parametrize(("encoding", "compress"), [(b"gzip", gzip.compress), (b"zstd", zstandard.compress)])
@pytest.mark.parametrize("size", [1, 1000])
def test_members_are_joined(encoding: bytes, compress: Callable[[bytes], bytes], size: int) -> None:
    """Several gzip members or zstd frames are one content."""
    packed = compress(b"hello ") + compress(b"") + compress(b"world")
    decoder = ContentDecoder(encoding)
    assert b"".join(decoder.decode(packed[i : i + size]) for i in range(0, len(packed), size)) == b"hello world"


@pytest.mark.parametrize("encoding", [b"compress", b"gzip, aes128gcm", b"gzip;q=1", b"\xff", b"gzip," * 5])
def test_unknown_codings_are_refused(encoding: bytes) -> None:
    """A coding that nobody here knows, or too many of them, is an error from the start."""
    with pytest.raises(UndecodableError):
        ContentDecoder(encoding)


@pytest.mark.parametrize("encoding", SINGLE)
def test_corrupt_content_is_an_error(encoding: bytes) -> None:
    """Bytes that the coding cannot have made are UndecodableError, not the library's own."""
    with pytest.raises(UndecodableError):
        ContentDecoder(encoding).decode(b"\xff" * 100)


@pytest.mark.parametrize("encoding", SINGLE)
def test_bombs_are_cut(encoding: bytes) -> None:
    """Of a chunk that decodes to absurdly much there is the beginning, and nothing is decoded after it."""
    packed = SINGLE[encoding](b"data: " + bytes(4 * OUTPUT_LIMIT))
    decoder = ContentDecoder(encoding)
    decoded = decoder.decode(packed)
    assert (decoder.cut, len(decoded), decoded[:7]) == (True, OUTPUT_LIMIT, b"data: \0")
    assert decoder.decode(packed) == b""


def test_many_small_bombs_are_one() -> None:
    """Gzip members count together against the limit."""
    member = gzip.compress(bytes(OUTPUT_LIMIT // 4))
    decoder = ContentDecoder(b"gzip")
    assert (len(decoder.decode(member * 5)), decoder.cut) == (OUTPUT_LIMIT, True)


def test_a_bomb_within_another_coding_is_cut() -> None:
    """Every coding of a list has the limit."""
    decoder = ContentDecoder(b"gzip, br")
    assert len(decoder.decode(brotli.compress(gzip.compress(bytes(4 * OUTPUT_LIMIT))))) == OUTPUT_LIMIT
    assert decoder.cut


@settings(deadline=None, derandomize=True, max_examples=300)
@given(st.sampled_from(sorted(ENCODINGS)), st.binary(max_size=200), st.integers(0, 300), st.binary(max_size=9))
def test_any_bytes_are_decoded_or_refused(encoding: bytes, data: bytes, place: int, damage: bytes) -> None:
    """Damaged content decodes to something or is UndecodableError; nothing else is raised."""
    packed = ENCODINGS[encoding](data)
    decoder = ContentDecoder(encoding)
    with suppress(UndecodableError):
        for piece in (packed[:place], damage, packed[place:]):
            assert len(decoder.decode(piece)) <= OUTPUT_LIMIT
