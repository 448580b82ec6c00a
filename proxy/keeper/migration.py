"""An older data directory brought up to the version that this program works with, after a copy of it was made.

Before the copy is whole nothing is changed, and the new version is written last of all: whatever a killed process
leaves is begun again, by steps that may be taken twice.

The copy has what was said and the keys to it. So it is deleted where anything is erased (who erases does not want it to
lie somewhere else), and when it is a week old. What replicas share has no copy: whoever runs Redis and Chroma has
backups of them.
"""

import os
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

import structlog

from proxy import durable, versions
from proxy.config import Settings
from proxy.errors import StoreError
from proxy.ledger import Ledger
from proxy.remember.embedding import survey
from proxy.stores.base import Store
from proxy.stores.indexes import remove_indexes

FOLDER: Final = "backups"
KEPT_S: Final = 7 * 86_400.0
# What is left free, for what goes on being written.
RESERVE: Final = 64 << 20
# A copy that is not whole yet. No finished one begins so.
_DRAFT: Final = ".unfinished"
_BLOCK: Final = bytes(1 << 20)

log = structlog.get_logger(__name__)

Step = Callable[[Settings, Ledger, Store], object]


def _note_embedding(settings: Settings, ledger: Ledger, store: Store) -> None:
    """Until then nothing said of which model vectors are."""
    if ledger.read_embedding() is None:
        survey(store, ledger, settings)


# What brings each version to the next one.
STEPS: Final[Mapping[int, Step]] = {0: _note_embedding}


class Source(NamedTuple):
    """A database of a data directory, and what it is called in a copy."""

    path: Path
    name: str


def prepare(settings: Settings) -> None:
    """Sees to it that the data directory may be opened: an older one is copied first, a new one gets its version.

    The caller has the directory's lock, and has opened nothing in it.

    Raises:
        StoreError: it is newer than this program, or there is no room for a copy. The message says what to do.
    """
    data_dir = settings.data_dir
    with _explained(data_dir):
        version = versions.read_version(data_dir)
        if version is None:
            versions.write_version(data_dir)
        elif version < versions.SCHEMA:
            back_up(settings, version)
        else:
            prune(data_dir, older_than_s=KEPT_S)


def migrate(settings: Settings, ledger: Ledger, store: Store) -> None:
    """Takes all steps from the version that data directory, or ledger, has to this program's.

    Raises StoreError when one cannot be taken; they are all begun anew then.
    """
    data_dir = settings.data_dir
    of_directory = versions.read_version(data_dir)
    of_ledger = ledger.read_version()
    version = of_directory if of_ledger is None else of_ledger
    for number in range(versions.SCHEMA if version is None else version, versions.SCHEMA):
        STEPS[number](settings, ledger, store)
        log.info("migrated", before=number, now=number + 1)
    ledger.write_version(versions.SCHEMA)
    if of_directory is not None and of_directory < versions.SCHEMA:
        with _explained(data_dir):
            versions.write_version(data_dir)


@contextmanager
def _explained(data_dir: Path) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise StoreError(f"{exc.filename or data_dir}: {exc.strerror or exc}") from exc


def back_up(settings: Settings, version: int) -> None:
    """A copy of all databases in the data directory, unless an interrupted migration has made one.

    Raises:
        StoreError: there is no room for it.
        OSError: it could not be written.
    """
    folder = settings.data_dir / FOLDER
    folder.mkdir(mode=0o700, exist_ok=True)
    if any(folder.glob(f"{version}-*")):
        return
    need, free = measure_copy(settings)
    if need > free:
        raise StoreError(
            f"{folder}: before an older data directory is migrated, it is copied there; that takes {need >> 20:,} MB, "
            f"and {free >> 20:,} are free: make room, or make {FOLDER} a link to a larger disk"
        )
    remove_indexes(settings.data_dir / "chroma")  # as with every start, they are begun anew
    draft = folder / _DRAFT
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(mode=0o700)
    for source in _find_sources(settings):
        _copy(source.path, draft / source.name)
    for path in draft.iterdir():
        with path.open("r+b") as file:
            os.fsync(file.fileno())
    durable.sync_directory(draft)
    finished = folder / f"{version}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    draft.rename(finished)
    durable.sync_directory(folder)
    size = sum(path.stat().st_size for path in finished.iterdir())
    log.warning("data_directory_backed_up", folder=str(finished), bytes=size, deleted_after_days=KEPT_S / 86_400)


def _find_sources(settings: Settings) -> Iterator[Source]:
    data_dir = settings.data_dir
    sources = (
        Source(data_dir / "ledger.sqlite3", "ledger.sqlite3"),
        Source(data_dir / "journal.sqlite", "journal.sqlite"),
        Source(data_dir / "chroma" / "chroma.sqlite3", "chroma.sqlite3"),
    )
    return (source for source in sources if source.path.exists())


def measure_copy(settings: Settings) -> tuple[int, int]:
    """How many bytes have to be free for a copy, and how many are."""
    folder = settings.data_dir / FOLDER
    free = shutil.disk_usage(folder if folder.exists() else settings.data_dir).free
    return sum(source.path.stat().st_size for source in _find_sources(settings)) + RESERVE, free


def _copy(path: Path, copy: Path) -> None:
    """A consistent copy, also while somebody writes."""
    os.close(os.open(copy, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    try:
        with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(copy)) as target:
            source.backup(target)
    except sqlite3.Error:
        # What SQLite cannot read, whoever opens it tells of, or mends: as it is, then.
        for ending in ("", "-wal"):
            if Path(f"{path}{ending}").exists():
                shutil.copyfile(f"{path}{ending}", f"{copy}{ending}")


def prune(data_dir: Path, *, older_than_s: float = 0.0) -> None:
    """Overwrites and deletes copies that are so old, and what is left of unfinished ones.

    Raises:
        StoreError: one is still there, or a part of it.
    """
    folder = data_dir / FOLDER
    if not folder.is_dir():
        return
    limit = time.time() - older_than_s
    with _explained(folder):
        for copy in list(folder.iterdir()):
            if copy.is_dir() and (copy.name == _DRAFT or copy.stat().st_mtime <= limit):
                for path in copy.iterdir():
                    _blank(path)
                shutil.rmtree(copy)
                durable.sync_directory(folder)


def _blank(path: Path) -> None:
    with path.open("r+b") as file:
        left = path.stat().st_size
        while left > 0:
            left -= file.write(_BLOCK[: min(left, len(_BLOCK))])
        file.flush()
        os.fsync(file.fileno())
