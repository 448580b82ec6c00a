"""The ledger that replicas share, in the Redis of their journal."""

import os
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import msgspec
from redis.exceptions import ResponseError

from proxy import versions
from proxy.chain import split
from proxy.config import Settings
from proxy.errors import StoreError
from proxy.ledger import scripts
from proxy.ledger.base import Standing, decode_embedding
from proxy.ledger.keys import SIZE, Keys
from proxy.ledger.tombstones import Tombstone, join, read_date, write_date
from proxy.models import Embedding
from proxy.sharing import CHANGES, name_key, open_redis, translated
from proxy.sharing.rewriting import Rewriting

# Places are a sorted set's scores, which are exact up to 2^53.
FIRST_UNSEALED: Final = -(2**52)
# Of one call, so that Redis, which does nothing else meanwhile, is at it for milliseconds.
_ROWS: Final = 1000
_OTHER: Final = "OTHERLEDGER"
_NEWER: Final = "NEWERVERSION"
# Where the memories are that are sealed here: in a store that replicas share, or in one that somebody alone has.
_SHARED: Final = "shared"
_ELSEWHERE: Final = (
    "this journal's memories are not in this replica's embedded store: set store.mode to http or cloud for all "
    "replicas, or give this one another journal.prefix"
)

_names: Final = msgspec.msgpack.Decoder(list[str])


class SharedLedger:
    """A :class:`~proxy.ledger.base.Ledger` in Redis, for any number of processes at the same time.

    Nothing is remembered here, because another one may have changed it since. How durable it is says Redis'
    configuration: see ``journal.url``.
    """

    def __init__(self, settings: Settings) -> None:
        """Raises ConfigError without Redis' package. Redis itself may be away."""
        self._redis = open_redis(settings)
        self._rewriting = Rewriting(self._redis)
        self._identity: str | None = None
        self._home = _name_home(settings.data_dir) if settings.store.mode == "embedded" else _SHARED
        self._home_key = name_key(settings, "ledger", "home")
        names = ("identity", "users", "unsettled", "notes", "places", "off", "version", "embedding")
        self._keys = [name_key(settings, "ledger", name) for name in names]
        self._prefix = name_key(settings, "ledger", "")
        self._channel = name_key(settings, CHANGES)
        self._scripts: dict[str, Callable[..., Any]] = {}

    def identify(self) -> str:
        """Which ledger this is: a random name, given to it once. What is sealed here opens with no other.

        Raises StoreError where several replicas have embedded stores: each would see a part of the memories.
        """
        if self._identity is None:
            with _translated():
                pipe = self._redis.pipeline()
                pipe.set(self._keys[0], secrets.token_hex(8), nx=True)
                pipe.get(self._keys[0])
                # A store of one's own may become one that is shared, and not the other way.
                pipe.set(self._home_key, self._home, nx=self._home != _SHARED)
                pipe.get(self._home_key)
                _, identity, _, home = pipe.execute()
            if home.decode() != self._home:
                raise StoreError(_ELSEWHERE)
            self._identity = identity.decode()
        return self._identity

    def _run(self, script: str, batch: object, binary: bytes = b"") -> Any:
        identity = self.identify()
        with _translated():
            packed = msgspec.msgpack.encode(batch)
            known = self._scripts.get(script)
            if known is None:
                known = self._scripts[script] = self._redis.register_script(script)
            version = str(versions.SCHEMA)
            return known(keys=self._keys, args=[identity, self._prefix, self._channel, packed, binary, version])

    def make_keys(self, rows: Mapping[str, Sequence[str]]) -> dict[str, dict[str, bytes]]:
        """The key to seal each of the users' *rows* under."""
        if not rows:
            return {}
        count = sum(map(len, rows.values()))
        made = _cut(self._run(scripts.MAKE, list(rows.items()), os.urandom(SIZE * count)), SIZE)
        return {user: {name: next(made) for name in names} for user, names in rows.items()}

    def settle_keys(self, keys: Mapping[str, Mapping[str, bytes]]) -> None:
        """The store has these rows under these *keys*."""
        batch = [(user, list(some)) for user, some in keys.items() if some]
        if batch and self._run(scripts.SETTLE, batch, b"".join(key for some in keys.values() for key in some.values())):
            self._rewriting.ask()

    def list_unsettled(self) -> dict[str, list[str]]:
        """Rows, by user key, that were made a key and not settled."""
        found: dict[str, list[str]] = {}
        for member in _names.decode(self._run(scripts.UNSETTLED, None)):
            user, _, row = member.partition("\0")
            found.setdefault(user, []).append(row)
        return found

    def read_keys(self, user_key: str, rows: Sequence[str] | None = None) -> dict[str, Keys]:
        """The keys of a user's *rows*, or with None of all rows."""
        if rows is None:
            names, values = self._run(scripts.READ, (user_key, None))
            return dict(_pair(_names.decode(names), values))
        found: dict[str, Keys] = {}
        for some in _slices(rows):
            found |= _pair(some, self._run(scripts.READ, (user_key, some))[1])
        return found

    def read_row_keys(self, row: str, user_keys: Sequence[str]) -> dict[str, Keys]:
        """The keys that users have of the *row* that goes by the same name with each of them."""
        found: dict[str, Keys] = {}
        for some in _slices(user_keys):
            found |= _pair(some, self._run(scripts.READ_ROW, (row, some)))
        return found

    def page_row_keys(self, row: str, *, after: str, limit: int) -> dict[str, Keys]:
        """The same of the first *limit* users, in the order of their keys, that come *after* this one."""
        names, values = self._run(scripts.PAGE, (row, after, limit))
        return dict(_pair(_names.decode(names), values))

    def list_rows(self, user_key: str) -> list[str]:
        """All of a user's rows that the store has, in the order in which they were first settled."""
        return _names.decode(self._run(scripts.LIST, user_key))

    def count_everybodys_rows(self, shared_row: str) -> int | None:
        """None: they are in a set for each user."""
        return None

    def destroy_keys(self, user_key: str, rows: Sequence[str] | None = None) -> int:
        """Destroys the keys of a user's *rows*, or with None of all rows; how many rows had any.

        In the append-only file they stay until it is written anew, which Redis is asked to do soon.
        """
        batches = [None] if rows is None else list(_slices(rows))
        destroyed = sum(int(self._run(scripts.DESTROY, (user_key, some))) for some in batches)
        if destroyed:
            self._rewriting.ask()
        return destroyed

    def is_surveyed(self) -> bool:
        """Whether it is known what the store holds from before there was a ledger."""
        return bool(self._run(scripts.NOTED, "surveyed"))

    def note_survey(self, unsealed: Iterable[tuple[str, str]]) -> None:
        """Takes in all (user key, row) that the store holds *unsealed*."""
        rows = [(user, row, place) for place, (user, row) in enumerate(unsealed, FIRST_UNSEALED)]
        for some in _slices(rows):
            self._run(scripts.REGISTER, some)
        self._run(scripts.NOTE, ("surveyed", True))

    def is_littered(self) -> bool:
        """Whether something unsealed was erased or replaced, whose text may lie in the store's files still."""
        return bool(self._run(scripts.NOTED, "littered"))

    def note_sweep(self) -> None:
        """The store's files hold nothing of that any more."""
        self._run(scripts.NOTE, ("littered", False))

    def bury(self, user_key: str, *, at: datetime, memory_ids: Sequence[str] | None, digests: Iterable[bytes]) -> None:
        """Remembers that memories of a user were erased, or with *memory_ids* None the user, and which texts."""
        self._run(scripts.BURY, (user_key, str(write_date(at)), memory_ids), join(digests))

    def tombstone(self, user_key: str) -> Tombstone:
        """What a user has erased."""
        return self.read_standings([user_key])[user_key].tombstone

    def switch(self, user_key: str, *, off: bool) -> None:
        """Turns a user's memory off or on again."""
        self._run(scripts.SWITCH, (user_key, off))

    def is_off(self, user_key: str) -> bool:
        """Whether a user has turned memory off."""
        return bool(self._run(scripts.IS_OFF, user_key))

    def read_standings(self, user_keys: Iterable[str]) -> dict[str, Standing]:
        """How it is with each of these users."""
        users = list(dict.fromkeys(user_keys))
        found: dict[str, Standing] = {}
        for some in _slices(users):
            answers = self._run(scripts.STANDING, some)
            found |= {user: _read_standing(*answer) for user, answer in zip(some, answers, strict=True)}
        return found

    def count_rows(self, user_keys: Sequence[str]) -> int:
        """How many rows the store has of these users together."""
        return sum(int(self._run(scripts.COUNT, some)) for some in _slices(user_keys))

    def read_embedding(self) -> Embedding | None:
        """Which embedding model is in force; None until :meth:`change_embedding` was told of one."""
        noted: bytes = self._run(scripts.EMBEDDING, None)
        return decode_embedding(noted) if noted else None

    def change_embedding(self, old: Embedding | None, new: Embedding) -> bool:
        """Notes *new* in one step, if what is noted is *old*, and has all keepers hear of it."""
        before = b"" if old is None else msgspec.json.encode(old)
        return bool(self._run(scripts.CHANGE_EMBEDDING, (before.decode(), msgspec.json.encode(new).decode())))

    def read_version(self) -> int:
        """The version of what replicas share."""
        return int(self._run(scripts.VERSION, None))

    def write_version(self, version: int) -> None:
        """It is of this *version* from now on, or of a later one if it was."""
        self._run(scripts.STAMP, version)

    def close(self) -> None:
        """Closes the connections."""
        self._rewriting.close()
        self._redis.close()


@contextmanager
def _translated() -> Iterator[None]:
    with translated(StoreError):
        try:
            yield
        except ResponseError as exc:
            if _NEWER in str(exc):
                versions.check(int(str(exc).rpartition(" ")[2]), "redis: a later memory-proxy brought it up to date")
            if _OTHER in str(exc):
                raise StoreError(
                    "redis: what this process has worked with is not there any more: restore Redis from its backup, "
                    "or, if all memories are to be lost, restart"
                ) from None
            raise
        except UnicodeError as exc:  # half a surrogate pair has no UTF-8
            raise StoreError(f"ledger: {type(exc).__name__}") from exc


def _name_home(data_dir: Path) -> str:
    """What the embedded store of a data directory is known by: a random name beside it, given to it once."""
    path = data_dir / "store.id"
    draft = data_dir / f"store.{secrets.token_hex(4)}.id"
    try:
        data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        draft.write_text(secrets.token_hex(8))
        with suppress(FileExistsError):
            path.hardlink_to(draft)
        draft.unlink()
        return path.read_text()
    except OSError as exc:
        raise StoreError(f"{path}: {exc.strerror}") from exc


def _slices(items: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for start in range(0, len(items), _ROWS):
        yield items[start : start + _ROWS]


def _cut(joined: bytes, size: int) -> Iterator[bytes]:
    return (joined[start : start + size] for start in range(0, len(joined), size))


def _pair(names: Sequence[str], values: bytes) -> Iterator[tuple[str, Keys]]:
    """Keys by name, of those that have some. A value has its length before it, none is 0 long."""
    start = 0
    for name in names:
        size = values[start]
        if size:
            end = start + 1 + size
            first = values[start + 2 : start + 2 + SIZE]
            # Of two, marked as such, the older one may be empty: it was not sealed.
            yield name, (first,) if values[start + 1 : start + 2] == b"1" else (first, values[start + 2 + SIZE : end])
        start += 1 + size


def _read_standing(off: int, fields: Sequence[bytes], digests: bytes) -> Standing:
    dates = {name.decode(): read_date(int(at)) for name, at in zip(fields[::2], fields[1::2], strict=True)}
    erased_at = dates.pop("u", None)
    ids = {name[1:]: at for name, at in dates.items()}
    return Standing(bool(off), Tombstone(erased_at, ids, frozenset(split(digests))))
