"""The keeper's end of the journal that replicas share: a Redis stream for each part, with one consumer group."""

import contextlib
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import structlog

from proxy.config import Settings
from proxy.errors import JournalError
from proxy.journal.base import Change
from proxy.journal.entries import STAGES, Entry, FailedEntry, JournalCounts, Seq
from proxy.journal.layout import (
    Keys,
    Stored,
    name_seq,
    read_exchange,
    read_script,
    read_state,
    read_value,
    rewrite,
    split_seq,
)
from proxy.journal.reader import DAMAGED
from proxy.journal.spill import Spill
from proxy.models import PARTS, Exchange, Scope, find_part
from proxy.sharing import open_redis, translated
from proxy.sharing.rewriting import Rewriting

if TYPE_CHECKING:
    import redis

# A keeper that has died leaves its users to others after that, and says so often that it is alive.
LEASE_S: Final = 30.0
# Keepers have names of their own, and a group remembers them until it is told to forget.
GONE_S: Final = 24 * 3600.0
_USERS: Final = 100
_PAGE: Final = 1000
_EXTEND: Final = (
    "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('PEXPIRE', KEYS[1], ARGV[2]) end return 0"
)
_RELEASE: Final = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"

_log = structlog.get_logger()


class _Row(NamedTuple):
    """What ``survey.lua`` tells of a part."""

    queued: int
    backing_off: int
    learning: int
    failed: int
    oldest: bytes
    last: bytes


class SharedReader:
    """A :class:`~proxy.journal.base.Reader` on Redis, for one keeper, called *name* among all of them.

    *fence* answers the token of the turn under which a part is worked on, '' for none: what is done under a turn that
    another keeper has taken meanwhile fails. *spill*: what this replica could not append, where this keeper is to look
    after it.

    An erased user's text is gone from Redis's memory at once, and from its append-only file when that is written anew,
    which is asked for. What another replica has spilled is out of reach, and comes later: the ledger tells that it was
    said before the erasure.
    """

    def __init__(
        self, settings: Settings, name: str, *, fence: Callable[[int], str] = lambda _: "", spill: Spill | None = None
    ) -> None:
        self._client: redis.Redis = open_redis(settings)
        self._keys = Keys(settings)
        self._name = name
        self._fence = fence
        self._spill = spill
        self._survey = self._client.register_script(read_script("survey"))
        self._part = self._client.register_script(read_script("part"))
        self._extend = self._client.register_script(_EXTEND)
        self._release = self._client.register_script(_RELEASE)
        self._rewriting = Rewriting(self._client)
        self._tidied: set[int] = set()

    def find_parts(self) -> Sequence[int]:
        """The parts in which something is due to be stored."""
        return [part for part, row in enumerate(self._look()) if row.queued > row.backing_off]

    def take(self, limit: int, *, part: int = 0, now: float | None = None) -> list[Entry]:
        """See :class:`~proxy.journal.base.Reader`; the caller has the turn of *part*."""
        if part not in self._tidied:
            self._run(part, "tidy", int(GONE_S * 1000))
            self._tidied.add(part)
        more = 1
        while more:
            at = time.time() if now is None else now
            more, rows = self._run(part, "take", self._name, limit, repr(at))
            if entries := self._decode(part, rows, stage=0):
                return entries
        return []

    def take_user(self, limit: int, *, busy: Collection[str] = (), now: float | None = None) -> list[Entry]:
        """See :class:`~proxy.journal.base.Reader`."""
        for user in self._list_due(busy, time.time() if now is None else now):
            part = find_part(user)
            rows = self._run(part, "take_user", self._name, int(LEASE_S * 1000), user, limit, user=user)
            if entries := self._decode(part, rows, stage=1):
                return entries
        return []

    def keep_user(self, key: str) -> bool:
        """See :class:`~proxy.journal.base.Reader`."""
        with translated(JournalError):
            return bool(self._extend([self._keys.lease(key)], [self._name, int(LEASE_S * 1000)]))

    def release_user(self, key: str) -> None:
        """See :class:`~proxy.journal.base.Reader`."""
        with translated(JournalError):
            self._release([self._keys.lease(key)], [self._name])

    def put_back(self, seqs: Sequence[Seq]) -> None:
        """See :class:`~proxy.journal.base.Reader`."""
        self._run_each(seqs, "put_back", self._name)

    def done(self, seqs: Sequence[Seq]) -> None:
        """See :class:`~proxy.journal.base.Reader`."""
        self._run_each(seqs, "done")

    def advance(self, seqs: Sequence[Seq], delay_s: float) -> None:
        """See :class:`~proxy.journal.base.Reader`."""
        self._run_each(seqs, "advance", repr(time.time() + delay_s))

    def postpone(self, seqs: Sequence[Seq], reason: str, delay_s: float, *, counted: bool = True) -> None:
        """See :class:`~proxy.journal.base.Reader`."""
        self._run_each(seqs, "postpone", int(counted), reason, repr(time.time() + delay_s))

    def park(self, seqs: Sequence[Seq], reason: str, kind: str, *, counted: bool = False) -> None:
        """See :class:`~proxy.journal.base.Reader`."""
        self._run_each(seqs, "park", int(counted), reason, kind)

    def release(self, kind: str) -> int:
        """See :class:`~proxy.journal.base.Reader`."""
        return self._run_all("release", kind, where=lambda row: row.failed)

    def retry_failed(self) -> int:
        """See :class:`~proxy.journal.base.Reader`."""
        return self._run_all("release", "", where=lambda row: row.failed)

    def drop_failed(self) -> int:
        """See :class:`~proxy.journal.base.Reader`."""
        return self._run_all("drop_failed", where=lambda row: row.failed)

    def hasten(self) -> int:
        """See :class:`~proxy.journal.base.Reader`."""
        return self._run_all("hasten", where=lambda row: row.backing_off + row.learning)

    def last_seq(self) -> list[bytes]:
        """The last place in each part's stream."""
        return [row.last for row in self._look()]

    def unsettled(self, mark: Sequence[bytes], *, extracting: bool = True) -> int:
        """See :class:`~proxy.journal.base.Reader`. Of those of one millisecond a few too many may be counted."""
        rows = self._look()
        return sum(
            self._run(part, "unsettled", last, int(extracting))
            for part, last in enumerate(mark)
            if rows[part].queued or (extracting and rows[part].learning)
        )

    def counts(self) -> JournalCounts:
        """How much waits, how much failed, and since when; with what only this replica has."""
        rows = self._look()
        oldest = min((int(row.oldest.partition(b"-")[0]) for row in rows if row.oldest), default=None)
        age_s = None if oldest is None else max(0.0, time.time() - oldest / 1000)
        spilled = JournalCounts(0, 0, 0, None) if self._spill is None else self._spill.counts()
        return JournalCounts(
            spilled.pending + sum(row.queued for row in rows),
            sum(row.learning for row in rows),
            sum(row.failed for row in rows),
            max((age for age in (age_s, spilled.oldest_age_s) if age is not None), default=None),
        )

    def failed(self, limit: int) -> list[FailedEntry]:
        """See :class:`~proxy.journal.base.Reader`."""
        rows = [
            _failed(part, *found)
            for part, row in enumerate(self._look())
            if row.failed
            for found in self._run(part, "failed", limit)
        ]
        return sorted(rows, key=lambda row: row.created_at)[:limit]

    def erase(self, scope: Scope) -> int:
        """See :class:`~proxy.journal.base.Reader`; the caller has the turn of the user's part."""
        count = 0 if self._spill is None else self._spill.erase(scope)
        places = [place for place, _ in self._list_user(scope)]
        for start in range(0, len(places), _PAGE):
            count += self._run(scope.part, "done", *places[start : start + _PAGE])
        self._rewriting.ask()
        return count

    def forget(self, scope: Scope, change: Change) -> int:
        """See :class:`~proxy.journal.base.Reader`; the caller has the turn of the user's part."""
        changes: list[bytes] = []
        for place, value in self._list_user(scope):
            before = _read_or_none(value)
            after = change(before) if before is not None else None
            if after is None or value is None:
                changes += (place, b"")
            elif after != before:
                changes += (place, rewrite(value, after))
        count = 0 if self._spill is None else self._spill.forget(scope, change)
        if changes:
            self._run(scope.part, "amend", *changes)
            self._rewriting.ask()
        return count + len(changes) // 2

    def close(self) -> None:
        """Closes all connections; what this keeper had taken and not settled is another's from then on."""
        if self._spill is not None:
            self._spill.close()
        self._rewriting.close()
        with contextlib.suppress(JournalError), translated(JournalError):
            self._client.close()

    def _look(self) -> list[_Row]:
        with translated(JournalError):
            rows: list[Any] = self._survey(self._keys.survey(), [repr(time.time())])
        return [_Row(*row) for row in rows]

    def _run(self, part: int, operation: str, *arguments: str | bytes | int, user: str = "") -> Any:
        with translated(JournalError):
            return self._part(self._keys.part(part, user=user), [operation, self._fence(part), *arguments])

    def _run_each(self, seqs: Sequence[Seq], operation: str, *arguments: str | bytes | int) -> None:
        parts: defaultdict[int, list[str]] = defaultdict(list)
        for seq in seqs:
            part, place = split_seq(seq)
            parts[part].append(place)
        for part, places in parts.items():
            self._run(part, operation, *arguments, *places)

    def _run_all(self, operation: str, *arguments: str, where: Callable[[_Row], int]) -> int:
        return sum(self._run(part, operation, *arguments) for part, row in enumerate(self._look()) if where(row))

    def _list_due(self, busy: Collection[str], now: float) -> Iterator[str]:
        """The keys of users who have something to be extracted from, those first who have been waiting the longest."""
        start = 0
        seen = set(busy)
        while True:
            with translated(JournalError), self._client.pipeline(transaction=False) as pipeline:
                for part in range(PARTS):
                    pipeline.zrangebyscore(
                        self._keys.learning(part), "-inf", repr(now), start=start, num=_USERS, withscores=True
                    )
                pages: list[list[tuple[bytes, float]]] = pipeline.execute()
            due = sorted((score, member) for page in pages for member, score in page)
            for _, member in due:
                user = member.partition(b":")[0].decode()
                if user not in seen:
                    seen.add(user)
                    yield user
            if all(len(page) < _USERS for page in pages):
                return
            start += _USERS

    def _list_user(self, scope: Scope) -> list[tuple[bytes, bytes | None]]:
        """Where a user's entries are in the stream, and what is in them."""
        found: list[tuple[bytes, bytes | None]] = []
        start: bytes | str = "-"
        while start:
            start, rows = self._run(scope.part, "list_user", scope.key, start, _PAGE)
            found += [(place, value) for place, value in rows]
        return found

    def _decode(self, part: int, rows: list[Any], *, stage: int) -> list[Entry]:
        """The entries in *rows*. Those that cannot be read are parked."""
        entries: list[Entry] = []
        for place, user, value, attempts, taken in rows:
            seq = name_seq(part, place)
            try:
                entries.append(Entry(seq, read_exchange(value), attempts, stage, taken, user.decode()))
            except JournalError as exc:
                _log.error("journal.damaged_rows", seqs=[seq])
                self.park([seq], str(exc), DAMAGED)
        return entries


def _read_or_none(value: bytes | None) -> Exchange | None:
    try:
        return read_exchange(value)
    except JournalError:
        return None


def _failed(part: int, place: bytes, value: bytes | None, state: bytes | None) -> FailedEntry:
    try:
        stored = read_value(value)
    except JournalError:
        stored = Stored("", "", 0, b"")
    known = read_state(state)
    created_at = datetime.fromtimestamp(int(place.partition(b"-")[0]) / 1000, UTC)
    return FailedEntry(
        name_seq(part, place),
        stored.user_id,
        stored.tenant,
        STAGES[known.stage],
        known.attempts,
        known.reason,
        known.kind,
        created_at,
    )
