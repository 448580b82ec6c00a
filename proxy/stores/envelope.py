"""How a record lies in a store: packed, compressed where that pays, sealed under its own key, as text.

AES-GCM with a random nonce: a key seals one text, or a few while a failing store is tried again. The row and its owner
are sealed in, so that what lies in one row can be opened in no other.
"""

import os
import threading
from base64 import b64encode
from typing import Final, Generic, TypeVar

import msgspec
import zstandard
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from proxy.ledger import Keys

T = TypeVar("T")

# The first byte of what is sealed: what the content is.
PACKED: Final = 1
COMPRESSED: Final = 2
# In bytes. Of what is shorter, most is vector and terms, from which nothing can be pressed; to unpack it takes 3 µs.
COMPRESSED_FROM: Final = 4000
NONCE: Final = 12
_HEAD: Final = 1 + NONCE
# How what earlier versions have stored begins, JSON, or what was blanked: base64 has neither.
_UNSEALED_STARTS: Final = ("{", "[", "")
# An empty key belongs to what is not sealed.
_UNSEALED: Final = b""


class _Compression(threading.local):
    """Contexts of one thread: to make them takes longer than to use them, and no two threads may share one."""

    def __init__(self) -> None:
        self.compressor = zstandard.ZstdCompressor(write_checksum=False)
        self.decompressor = zstandard.ZstdDecompressor()


class Envelopes(Generic[T]):
    """Seals and opens things of one type."""

    def __init__(self, type_: type[T]) -> None:
        self._json = msgspec.json.Decoder(type_)
        self._msgpack = msgspec.msgpack.Decoder(type_)
        self._compression = _Compression()

    def pack(self, thing: T) -> bytes:
        """What is to be sealed."""
        return msgspec.msgpack.encode(thing)

    def seal(self, packed: bytes, key: bytes, *, user_key: str, row: str) -> str:
        """*packed*, to be opened in this user's *row* only, with *key*."""
        version = PACKED if len(packed) < COMPRESSED_FROM else COMPRESSED
        content = packed if version == PACKED else self._compression.compressor.compress(packed)
        nonce = os.urandom(NONCE)
        sealed = AESGCM(key).encrypt(nonce, content, _bind(version, user_key, row))
        return b64encode(bytes([version]) + nonce + sealed).decode()

    def open(self, text: str, keys: Keys, *, user_key: str, row: str) -> T | None:
        """What is in *text*, or None if none of *keys* opens it.

        Raises ValueError for what no version known here has written.
        """
        if not is_sealed(text):
            return self._json.decode(text) if text and _UNSEALED in keys else None
        raw: bytes = msgspec.convert(text, bytes)  # three times as fast as the standard library
        version = raw[0]
        if version not in (PACKED, COMPRESSED):
            raise ValueError(f"sealed by a newer version ({version}, known is {COMPRESSED})")
        nonce, sealed, bound = raw[1:_HEAD], raw[_HEAD:], _bind(version, user_key, row)
        for key in keys:
            if key == _UNSEALED:
                continue
            try:
                content = AESGCM(key).decrypt(nonce, sealed, bound)
            except InvalidTag:
                continue
            if version == COMPRESSED:
                content = self._compression.decompressor.decompress(content)
            return self._msgpack.decode(content)
        return None


def is_sealed(text: str) -> bool:
    """Whether *text* is in an envelope, and not as earlier versions have stored it, or blank."""
    return text[:1] not in _UNSEALED_STARTS


def _bind(version: int, user_key: str, row: str) -> bytes:
    return f"{version}\x00{user_key}\x00{row}".encode()
