"""Which version what is stored has, and whether this program may touch it.

A data directory says so in a file, a Redis that replicas share in a key. What is older is brought up to date by the
keeper, or by a command, before it is used (:mod:`proxy.keeper.migration`); what is newer is used by nobody.
"""

from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from proxy import __version__, durable
from proxy.errors import StoreError

# 0: from before there were versions. 1: the ledger knows the embedding model that is in force.
SCHEMA: Final = 1
FILE: Final = "version.json"
# What makes a directory one that has been in use. A journal alone does not: the edge has one before there is a keeper,
# and sees to its versions itself.
_IN_USE: Final = ("ledger.sqlite3", "chroma/chroma.sqlite3")


class Version(msgspec.Struct, frozen=True):
    """*app*: the version of memory-proxy that has made, or brought up to date, what is there."""

    schema: int
    app: str
    since: datetime


def read_version(data_dir: Path) -> int | None:
    """The version of a data directory; None for one that nothing was stored in yet.

    Raises:
        StoreError: it is newer than this program, or cannot be told. The message says what to do.
    """
    path = data_dir / FILE
    try:
        if not path.exists():
            return 0 if any((data_dir / name).exists() for name in _IN_USE) else None
        found = msgspec.json.decode(path.read_bytes(), type=Version)
    except OSError as exc:
        raise StoreError(f"{path}: cannot be read: {exc.strerror or exc}") from exc
    except msgspec.MsgspecError as exc:
        raise StoreError(f"{path}: says nothing that is known here; restore it from a backup of the directory") from exc
    check(found.schema, f"{data_dir}: memory-proxy {found.app} brought it up to date")
    return found.schema


def check(schema: int, whose: str) -> None:
    """Raises StoreError for a version that is newer than this program."""
    if schema > SCHEMA:
        raise StoreError(
            f"{whose}, whose data (version {schema}) memory-proxy {__version__} does not know (known is {SCHEMA}): "
            "install that version again, or restore a backup"
        )


def is_behind(data_dir: Path) -> bool:
    """Whether a data directory is still to be brought up to date, which may take as long as copying it does."""
    try:
        version = read_version(data_dir)
    except StoreError:
        return False
    return version is not None and version < SCHEMA


def write_version(data_dir: Path) -> None:
    """A data directory is of this program's version from now on, also after a power cut.

    Raises:
        OSError: that could not be written; it is what it was.
    """
    version = Version(SCHEMA, __version__, datetime.now(UTC))
    durable.replace(data_dir / FILE, msgspec.json.encode(version) + b"\n")
