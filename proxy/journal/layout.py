"""Where the journal that replicas share lies in Redis: its keys, its values, and the scripts that work on them."""

import zlib
from collections.abc import Sequence
from functools import partial
from importlib.resources import files
from typing import Final, NamedTuple

import msgspec

from proxy.config import Settings
from proxy.errors import JournalError
from proxy.journal.entries import Draft, Seq, checksum, decode, encode
from proxy.models import PARTS, Exchange, find_part
from proxy.sharing import name_key

# As the scripts want them. The last two are the part's turn and a user's lease, where an operation has to do with them.
_OF_PART: Final = (
    "",
    "said",
    "states",
    "queued",
    "waiting",
    "waiting-by-user",
    "learning",
    "learning-by-user",
    "failed",
)


class Stored(msgspec.Struct, frozen=True, array_like=True):
    """An exchange as it is kept, and whose it is, should it have become unreadable."""

    user_id: str
    tenant: str
    crc: int
    payload: bytes


class State(msgspec.Struct, frozen=True):
    """What has become of an entry. Of one to which nothing has happened yet there is none."""

    stage: int = 0
    attempts: int = 0
    reason: str = ""
    kind: str = ""


class Keys:
    """The names of everything in Redis."""

    def __init__(self, settings: Settings) -> None:
        self.name: Final = partial(name_key, settings)
        self.bytes: Final = self.name("journal", "bytes")
        self._parts = [[self._of_part(part, kind) for kind in _OF_PART] for part in range(PARTS)]

    def part(self, part: int, *, user: str = "") -> list[str]:
        """All of a part, for ``part.lua``."""
        return [*self._parts[part], self.bytes, self.turn(part), self.lease(user)]

    def survey(self) -> list[str]:
        """What ``survey.lua`` counts."""
        return [keys[place] for keys in self._parts for place in (0, 3, 4, 6, 8)]

    def learning(self, part: int) -> str:
        """What is to be extracted from, by when it is due."""
        return self._parts[part][6]

    def turn(self, part: int) -> str:
        """Whose turn it is."""
        return self.name("turn", f"{part:02}")

    def lease(self, user: str) -> str:
        """Who looks at what a user has said."""
        return self.name("learning", user)

    def appending(self, parts: Sequence[int]) -> list[str]:
        """What ``append.lua`` writes to."""
        return [self.bytes, *(self._parts[part][place] for part in parts for place in (0, 1, 3))]

    def _of_part(self, part: int, kind: str) -> str:
        return self.name("journal", f"{part:02}", *([kind] if kind else []))


class Row(NamedTuple):
    """An exchange on its way into the stream."""

    user_key: str
    value: bytes


def make_row(draft: Draft) -> Row:
    stored = Stored(draft.user_id, draft.tenant, checksum(draft.payload), draft.payload)
    return Row(draft.user_key, msgspec.msgpack.encode(stored))


def arrange(keys: Keys, rows: Sequence[Row], most_bytes: int) -> tuple[list[str], list[str | bytes | int]]:
    """The keys and the arguments with which ``append.lua`` appends *rows*."""
    of_rows = [find_part(row.user_key) for row in rows]
    parts = list(dict.fromkeys(of_rows))
    places = {part: place for place, part in enumerate(parts)}
    arguments: list[str | bytes | int] = [most_bytes]
    for part, row in zip(of_rows, rows, strict=True):
        arguments += (places[part], row.user_key, row.value)
    return keys.appending(parts), arguments


def read_script(name: str) -> str:
    """The source of one of the scripts."""
    return files("proxy.journal").joinpath(f"{name}.lua").read_text("utf-8")


def name_seq(part: int, place: bytes) -> str:
    """What an entry is known by outside: ``07-1764510000000-0``."""
    return f"{part:02}-{place.decode()}"


def split_seq(seq: Seq) -> tuple[int, str]:
    """The part of an entry and its place in the stream."""
    part, _, place = str(seq).partition("-")
    return int(part), place


def read_value(value: bytes | None) -> Stored:
    """Raises JournalError, with the reason for parking the entry, for what was not written by us."""
    try:
        return msgspec.msgpack.decode(value or b"", type=Stored)
    except msgspec.MsgspecError:
        raise JournalError("damaged: there is no exchange in it") from None


def read_exchange(value: bytes | None) -> Exchange:
    """Raises JournalError as :func:`read_value`."""
    stored = read_value(value)
    return decode(stored.payload, stored.crc)


def rewrite(value: bytes, exchange: Exchange) -> bytes:
    """*value* with another exchange in it."""
    payload = encode(exchange)
    changed = msgspec.structs.replace(read_value(value), payload=payload, crc=zlib.crc32(payload))
    return msgspec.msgpack.encode(changed)


def read_state(value: bytes | None) -> State:
    """What is known of an entry; nothing has happened to one of which nothing is noted."""
    try:
        return msgspec.msgpack.decode(value, type=State) if value else State()
    except msgspec.MsgspecError:
        return State()
