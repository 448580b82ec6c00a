"""Chroma as a server, which replicas share: one of one's own, Distributed Chroma, or Chroma Cloud.

Nothing is asked of it before the first call, and whatever happens to it, each call stands for itself: a server that is
away is a StoreError, one that comes back is used again, one that lost its data is a new one.

What it holds and the ledger that opens it belong together, and the collection of users says which ledger that is. With
another one all its rows would pass for erased ones: every call says so instead.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any, Final

import httpx
import structlog
from chromadb.errors import NotFoundError

from proxy.config import Settings
from proxy.errors import StoreError
from proxy.ledger import Ledger
from proxy.stores.chroma import INDEX, RECORDS, USERS, ChromaStore, Limits, translated
from proxy.stores.connection import Connection
from proxy.stores.rows import USER_ROW

# A server's own limit is some 5,000 rows; of those that answer with vectors, too.
SERVER: Final = Limits(rows=1000)
# https://docs.trychroma.com/cloud/quotas-limits: 300 results, 300 records a write, 4,096 bytes a metadata value.
CLOUD: Final = Limits(rows=300, value=4096)
# Where the collection of users says which ledger it belongs to.
LEDGER: Final = "ledger"
FOREIGN: Final = (
    "this Chroma holds memories sealed by another ledger: give all replicas the same journal.url (or this one the "
    "data_dir that it had), or restore the ledger from its backup"
)

_log = structlog.get_logger()


def open_server(settings: Settings, ledger: Ledger) -> "RemoteChroma":
    """The store on the Chroma server of *settings*."""
    return RemoteChroma(Connection.to_server(settings.store), ledger, SERVER)


def open_cloud(settings: Settings, ledger: Ledger) -> "RemoteChroma":
    """The store on Chroma Cloud."""
    return RemoteChroma(Connection.to_cloud(settings.store), ledger, CLOUD)


class _Patience:
    """Keeps a server that does not answer from taking all threads: while it is silent, one caller at a time waits."""

    def __init__(self) -> None:
        self._silent = False
        self._waiting = Lock()

    @contextmanager
    def asking(self) -> Iterator[None]:
        """Around a request. Raises StoreError at once while somebody else waits for an answer to theirs in vain."""
        alone = self._silent
        if alone and not self._waiting.acquire(blocking=False):
            raise StoreError("chroma: it does not answer")
        silent = False
        try:
            yield
        except httpx.TimeoutException:
            silent = True
            raise
        finally:
            self._silent = silent
            if alone:
                self._waiting.release()


class RemoteChroma(ChromaStore):
    """A :class:`~proxy.stores.base.Store` behind *connection*, beside whoever else writes there with the same ledger.

    Raises nothing while it is made: there may be nobody at the other end yet.
    """

    def __init__(self, connection: Connection, ledger: Ledger, limits: Limits) -> None:
        super().__init__(ledger, limits)
        self._connection = connection
        self._patience = _Patience()
        # Several threads may read them at once, which is a request too many and no harm.
        self._known: dict[str, Any] | None = None

    @translated()
    def prepare(self) -> None:
        """Opens what the first calls would otherwise wait for, and finishes what a killed process has begun."""
        super().prepare()
        self._settle()

    def _names(self) -> tuple[str, ...]:
        return tuple(self._ask(self._read))

    def _use(self, name: str, work: Callable[[Any], Any], *, make: bool = False) -> Any:
        def use() -> Any:
            collection = self._make(name) if make else self._find(name)
            return None if collection is None else work(collection)

        try:
            return self._ask(use)
        except NotFoundError:
            # The server has other data than before, as after a restart without its disk.
            self._known = None
            return self._ask(use)

    def _ask(self, ask: Callable[[], Any]) -> Any:
        try:
            with self._patience.asking():
                return ask()
        except httpx.HTTPError as exc:
            raise StoreError(f"chroma at {self._connection}: {_explain(exc)}") from exc

    def _read(self) -> dict[str, Any]:
        """The collections by name, as last seen. Raises StoreError for those that are sealed by another ledger."""
        if self._known is not None:
            return self._known
        known = self._connection.list_collections()
        if USERS in known:
            self._check_ledger(known[USERS])
            # Before that nobody has put anything; somebody may at any time, and under whichever ledger.
            self._known = known
        return known

    def _find(self, name: str) -> Any | None:
        known = self._read()
        if name not in known and USERS in known and name.startswith(RECORDS):
            return self._make(name)  # somebody else may have made it meanwhile
        return known.get(name)

    def _make(self, name: str) -> Any:
        known = self._read()
        if USERS not in known:
            # First of all, since it says by whom all that follows is sealed. Looking alone does not claim a server.
            users = self._connection.make_collection(USERS, INDEX, {LEDGER: self._ledger.identify()})
            self._check_ledger(users)
            self._known = known = known | {USERS: users}
        if name not in known:
            known[name] = self._connection.make_collection(name, INDEX)
        return known[name]

    def _check_ledger(self, users: Any) -> None:
        """Raises StoreError unless what is here is sealed by our ledger."""
        mine, theirs = self._ledger.identify(), (users.metadata or {}).get(LEDGER)
        if theirs is None and self._can_open(users):
            # It was embedded once.
            users.modify(metadata={LEDGER: mine})
        elif theirs != mine:
            raise StoreError(FOREIGN)

    def _can_open(self, users: Any) -> bool:
        """Whether the ledger has a key to any of the *users*, where there are some."""
        names = users.get(limit=self._limits.rows, include=[])["ids"]
        return not names or bool(self._ledger.read_row_keys(USER_ROW, names))

    def close(self) -> None:
        """Closes the connections."""
        self._connection.close()


def _explain(error: httpx.HTTPError) -> str:
    if isinstance(error, httpx.TimeoutException):
        return "it does not answer"
    return str(error) or type(error).__name__
