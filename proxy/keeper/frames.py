"""How edge and keeper speak: length-prefixed msgpack frames over a Unix socket.

A frame is four bytes of length (big-endian) and an :class:`Envelope`.
"""

import asyncio
import hashlib
import os
import struct
import tempfile
from pathlib import Path
from typing import Final

import msgspec

from proxy.errors import KeeperError

LENGTH: Final = struct.Struct(">I")
# 20,000 memories of 8 kB each are 160 MB; more than this is a damaged frame, not a message.
MAX_FRAME: Final = 1 << 30
# A Unix socket's path has room for 108 bytes on Linux and 104 on macOS, its final NUL included.
MAX_SOCKET_PATH: Final = 100


class Envelope(msgspec.Struct, frozen=True, array_like=True):
    """One frame's content. *failed*: the payload is a :class:`~proxy.keeper.wire.Failure`. *origin*: the id of the
    client's request for which this is asked, "" where it is for none.
    """

    number: int
    payload: msgspec.Raw
    failed: bool = False
    origin: str = ""


_encoder = msgspec.msgpack.Encoder()
_envelopes = msgspec.msgpack.Decoder(Envelope)


def frame(number: int, payload: object, *, failed: bool = False, origin: str = "") -> bytes:
    """One frame, ready to be written."""
    body = _encoder.encode(Envelope(number, msgspec.Raw(_encoder.encode(payload)), failed, origin))
    return LENGTH.pack(len(body)) + body


async def read_frame(reader: asyncio.StreamReader) -> Envelope:
    """The next frame.

    Raises:
        asyncio.IncompleteReadError: the other side is gone.
        KeeperError: what came is no frame.
    """
    (length,) = LENGTH.unpack(await reader.readexactly(LENGTH.size))
    if length > MAX_FRAME:
        raise KeeperError(f"a frame of {length} bytes is longer than any message")
    try:
        return _envelopes.decode(await reader.readexactly(length))
    except msgspec.MsgspecError as exc:
        raise KeeperError(f"not a frame: {exc}") from exc


def socket_path(data_dir: Path) -> Path:
    """Where the keeper of *data_dir* listens: inside it, or, where that path is too long for a socket, in a private
    folder for temporary files.
    """
    path = data_dir.resolve() / "keeper.sock"
    if len(os.fsencode(path)) <= MAX_SOCKET_PATH:
        return path
    name = hashlib.blake2b(os.fsencode(path), digest_size=8).hexdigest()
    folder = Path(tempfile.gettempdir()) / f"memory-proxy-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    status = folder.lstat()
    if status.st_uid != os.getuid() or status.st_mode & 0o077:
        raise KeeperError(f"{folder} belongs to somebody else; set data_dir to a shorter path")
    return folder / f"{name}.sock"
