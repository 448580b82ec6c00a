"""A store whose calls are timed."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from proxy.models import Record, Scope
from proxy.observe.metrics import Metrics
from proxy.stores.base import Activity, KnownUser, Store

Observe = Callable[[float, str, bool], None]


def note_calls(metrics: Metrics) -> Observe:
    """What counts calls in *metrics*."""

    def note(seconds: float, operation: str, failed: bool) -> None:
        metrics.observe("store_seconds", seconds, operation)
        if failed:
            metrics.count("store_errors_total", operation)

    return note


class MeasuredStore:
    """As *store*; *observe* hears of every call how long it took, which operation it was, and whether it failed.

    Operations are few: what does the like to a database is one of them.
    """

    def __init__(self, store: Store, observe: Observe) -> None:
        self._store = store
        self._observe = observe

    @contextmanager
    def _timed(self, operation: str) -> Iterator[None]:
        began = time.perf_counter()
        failed = True
        try:
            yield
            failed = False
        finally:
            self._observe(time.perf_counter() - began, operation, failed)

    def put(self, records: Mapping[Scope, Sequence[Record]]) -> None:
        """As :class:`Store` has it."""
        with self._timed("put"):
            self._store.put(records)

    def prepare(self) -> None:
        """As :class:`Store` has it."""
        self._store.prepare()

    def list_rows(self, scope: Scope) -> list[str]:
        """As :class:`Store` has it."""
        with self._timed("list"):
            return self._store.list_rows(scope)

    def fetch(self, scope: Scope, rows: Sequence[str]) -> list[Record]:
        """As :class:`Store` has it."""
        with self._timed("fetch"):
            return self._store.fetch(scope, rows)

    def fetch_ids(self, scope: Scope, ids: Sequence[str]) -> list[Record]:
        """As :class:`Store` has it."""
        with self._timed("fetch"):
            return self._store.fetch_ids(scope, ids)

    def find_known(self, scope: Scope, ids: Iterable[str]) -> set[str]:
        """As :class:`Store` has it."""
        with self._timed("list"):
            return self._store.find_known(scope, ids)

    def delete(self, scope: Scope, ids: Sequence[str]) -> int:
        """As :class:`Store` has it."""
        with self._timed("delete"):
            return self._store.delete(scope, ids)

    def delete_user(self, scope: Scope) -> int:
        """As :class:`Store` has it."""
        with self._timed("delete"):
            return self._store.delete_user(scope)

    def touch(self, users: Iterable[KnownUser]) -> None:
        """As :class:`Store` has it."""
        with self._timed("touch"):
            self._store.touch(users)

    def users(self, keys: Sequence[str] | None = None) -> list[KnownUser]:
        """As :class:`Store` has it."""
        with self._timed("users"):
            return self._store.users(keys)

    def activity(self) -> dict[str, Activity]:
        """As :class:`Store` has it."""
        with self._timed("users"):
            return self._store.activity()

    def first_users(self, limit: int) -> list[KnownUser]:
        """As :class:`Store` has it."""
        with self._timed("users"):
            return self._store.first_users(limit)

    def count(self, scopes: Sequence[Scope]) -> int:
        """As :class:`Store` has it."""
        with self._timed("list"):
            return self._store.count(scopes)

    def close(self) -> None:
        """As :class:`Store` has it."""
        self._store.close()
