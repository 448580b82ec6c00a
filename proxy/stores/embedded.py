"""Chroma in a folder of the data directory, in the keeper's own process."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import chromadb
import structlog
from chromadb.config import Settings as ChromaSettings

from proxy.config import Settings
from proxy.errors import StoreError
from proxy.ledger import Ledger
from proxy.stores.chroma import INDEX, USERS, ChromaStore, Limits, translated
from proxy.stores.envelope import is_sealed
from proxy.stores.indexes import fill_freed_memory, remove_indexes
from proxy.stores.rows import USER_ROW
from proxy.stores.sweep import sweep

# Well below what SQLite allows in one statement.
LIMITS: Final = Limits(rows=1000)
# Rows that one statement may answer with: Chroma fails beyond 32,000. The more of them, the fewer are counted over,
# but larger answers leave tens of megabytes behind.
PAGE: Final = 5_000
NO_KEYS: Final = "the ledger is new, but memories are sealed: restore ledger.sqlite3, or Redis, from its backup"

_log = structlog.get_logger()


def open_embedded(settings: Settings, ledger: Ledger) -> "EmbeddedChroma":
    """The store in the data directory. Raises StoreError when it cannot be opened."""
    return EmbeddedChroma(settings.data_dir, ledger)


class EmbeddedChroma(ChromaStore):
    """Chroma in a folder, for one process at a time: the keeper's lock sees to that.

    Where text that earlier versions have not sealed was erased or replaced, it is taken out of the file the next time
    that the store is opened.
    """

    def __init__(self, data_dir: Path, ledger: Ledger) -> None:
        super().__init__(ledger, LIMITS)
        folder = data_dir / "chroma"
        fill_freed_memory()
        self._sweep(folder)
        settings = ChromaSettings(anonymized_telemetry=False)
        with translated():
            remove_indexes(folder)
            self._client = chromadb.PersistentClient(str(folder), settings=settings)
            self._collections: dict[str, Any] = {c.name: c for c in self._client.list_collections()}
            if not ledger.is_surveyed():
                ledger.note_survey(self._find_unsealed())
            self._settle()

    def _sweep(self, folder: Path) -> None:
        if not self._ledger.is_littered():
            return
        try:
            sweep(folder, self._ledger, USER_ROW)
        except StoreError as exc:
            # A full disk, say. Everything else works, and the next start tries again.
            _log.warning("store.unswept", reason=str(exc))
        else:
            self._ledger.note_sweep()

    def _find_unsealed(self) -> Iterator[tuple[str, str]]:
        """What an earlier version has stored: (user key, row)."""
        for name, collection in self._collections.items():
            for found in _read_pages(collection):
                for row, metadata in zip(found["ids"], found["metadatas"], strict=True):
                    if is_sealed(metadata["m"]):
                        raise StoreError(NO_KEYS)
                    yield (row, USER_ROW) if name == USERS else (metadata["u"], row)

    def _names(self) -> tuple[str, ...]:
        return tuple(self._collections)

    def _use(self, name: str, work: Callable[[Any], Any], *, make: bool = False) -> Any:
        collection = self._collections.get(name)
        if collection is None and make:
            collection = self._client.get_or_create_collection(name, embedding_function=None, configuration=INDEX)
            self._collections[name] = collection
        return None if collection is None else work(collection)

    @translated()
    def close(self) -> None:
        """Releases the files."""
        self._client.close()


def _read_pages(collection: Any) -> Iterator[Any]:
    """All that *collection* has, in pages."""
    start = 0
    while (found := collection.get(include=["metadatas"], limit=PAGE, offset=start))["ids"]:
        yield found
        start += len(found["ids"])
