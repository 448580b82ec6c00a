"""What a store of memories can do. Synchronous: only the keeper's worker threads speak to one."""

import importlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final, NamedTuple, Protocol

import msgspec

from proxy.config import Settings
from proxy.ledger import Ledger
from proxy.models import Record, Scope


class KnownUser(NamedTuple):
    """A user who has, or had, something stored."""

    scope: Scope
    last_activity: datetime


class Activity(msgspec.Struct, frozen=True, gc=False):
    """What is kept of every user in memory: when they were last active, and whose they are."""

    at: datetime
    tenant: str = ""


class Store(Protocol):
    """Keeps records by user. Every method raises :class:`~proxy.errors.StoreError` when the store fails.

    Safe to call from several threads. One user's records never show up for another, whatever their ids contain.
    What was put is on disk when the call returns; what was deleted cannot be read any more, by nobody, from then on,
    however a process that was killed, or the power, may have ended in the middle of a call.
    """

    def put(self, records: Mapping[Scope, Sequence[Record]]) -> None:
        """Adds users' records, replacing those with the same memory id."""

    def prepare(self) -> None:
        """Opens what the first calls would otherwise wait for."""

    def list_rows(self, scope: Scope) -> list[str]:
        """Where all records of a user are, for :meth:`fetch`: those first that were first put."""

    def fetch(self, scope: Scope, rows: Sequence[str]) -> list[Record]:
        """The user's records that are in *rows*, those first that were first put."""

    def fetch_ids(self, scope: Scope, ids: Sequence[str]) -> list[Record]:
        """The user's records with these memory ids, in no particular order."""

    def find_known(self, scope: Scope, ids: Iterable[str]) -> set[str]:
        """Those of these memory ids of which the user has a record. A hundredth of the cost of fetching them."""

    def delete(self, scope: Scope, ids: Sequence[str]) -> int:
        """Erases records by memory id; answers how many there were."""

    def delete_user(self, scope: Scope) -> int:
        """Erases all records of a user, and the user; answers how many records there were."""

    def touch(self, users: Iterable[KnownUser]) -> None:
        """Notes that these users exist and when each was last active."""

    def users(self, keys: Sequence[str] | None = None) -> list[KnownUser]:
        """The users with these keys, or every user, in no particular order."""

    def activity(self) -> dict[str, Activity]:
        """When each user was last active, by the user's key."""

    def first_users(self, limit: int) -> list[KnownUser]:
        """At most *limit* users, by the order of their keys, which has to do with nothing else."""

    def count(self, scopes: Sequence[Scope]) -> int:
        """How many records these users have together."""

    def close(self) -> None:
        """Releases files and connections."""


STORES: Final = {
    "embedded": "proxy.stores.embedded:open_embedded",
    "http": "proxy.stores.remote:open_server",
    "cloud": "proxy.stores.remote:open_cloud",
}


def open_store(settings: Settings, ledger: Ledger) -> Store:
    """The store that ``store.mode`` names in the table. Imported only now, so that nobody pays for what is not
    configured.

    What it writes is sealed under keys that *ledger* keeps, which the caller closes after the store.
    """
    module, _, name = STORES[settings.store.mode].partition(":")
    factory: Callable[[Settings, Ledger], Store] = getattr(importlib.import_module(module), name)
    return factory(settings, ledger)
