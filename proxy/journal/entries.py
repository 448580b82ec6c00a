"""What the journal holds, as callers see it and as rows."""

import time
import zlib
from datetime import datetime
from typing import Final, Literal, NamedTuple

import msgspec

from proxy.errors import JournalError
from proxy.models import Exchange, Scope

encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Exchange).decode


# What an entry is known by: the number of its row, or its part and its place in a stream. Opaque to callers.
Seq = int | str
Stage = Literal["store", "extract"]
STAGES: Final[tuple[Stage, ...]] = ("store", "extract")


class Entry(msgspec.Struct, frozen=True):
    """One journaled exchange. *attempts*: how many have failed.

    *stage*: 0 to be stored, 1 stored and to be extracted from. *taken*: how often it was handed out before, since it
    was settled last: if ever, whoever had it ended meanwhile. *user_key*: :attr:`proxy.models.Scope.key`.
    """

    seq: Seq
    exchange: Exchange
    attempts: int
    stage: int
    taken: int
    user_key: str


class FailedEntry(msgspec.Struct, frozen=True):
    """An entry that nobody tries any more, at what, and why. It stays until it is retried, dropped or erased."""

    seq: Seq
    user_id: str
    tenant: str
    stage: Stage
    attempts: int
    reason: str
    kind: str
    created_at: datetime


class JournalCounts(msgspec.Struct, frozen=True):
    """How many entries are to be stored, to be extracted from, and parked. *oldest_age_s* is the age of the oldest of
    the first; None when there is none.
    """

    pending: int
    extracting: int
    failed: int
    oldest_age_s: float | None


class JournalState(msgspec.Struct, frozen=True):
    """How writing goes. *failing*: one line while it is broken. *held*: exchanges that wait in memory until it works
    again. *lost*: exchanges that could not even be held, since the process started."""

    failing: str | None
    held: int
    lost: int


class Draft(NamedTuple):
    """An exchange on its way into the journal."""

    user_key: str
    user_id: str
    tenant: str
    created_at: float
    payload: bytes


def draft(exchange: Exchange) -> Draft:
    """Raises JournalError for text that has no UTF-8 form (lone surrogates)."""
    try:
        scope = Scope(exchange.user_id, exchange.tenant)
        return Draft(scope.key, scope.user_id, scope.tenant, time.time(), encode(exchange))
    except UnicodeEncodeError as exc:
        raise JournalError(f"not Unicode: {exc.reason}") from exc


def checksum(payload: bytes) -> int:
    return zlib.crc32(payload)


def decode(payload: object, crc: object) -> Exchange:
    """Raises JournalError, with the reason for parking the row, when these are not the bytes that were written.

    In a damaged row a value may even be of another type.
    """
    if not isinstance(payload, bytes) or checksum(payload) != crc:
        raise JournalError("damaged: the checksum does not match")
    try:
        return _decode(payload)
    except msgspec.MsgspecError as exc:
        raise JournalError(f"not an exchange: {exc}") from exc
