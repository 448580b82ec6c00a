"""What the journal holds, as callers see it and as rows."""

import time
import zlib
from datetime import datetime
from typing import NamedTuple

import msgspec

from proxy.errors import JournalError
from proxy.models import Exchange, Scope

VERSION = 1
PAGE_SIZE = 4096
PENDING, FAILED = 0, 1

# One statement each, in this order. AUTOINCREMENT: a sequence number is never used twice, so "everything before this
# one" keeps its meaning when the table is empty. The index holds only what is backing off: a fresh row costs nothing.
SCHEMA = (
    """CREATE TABLE entries (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        user_key TEXT NOT NULL,
        user_id TEXT NOT NULL,
        tenant TEXT NOT NULL,
        state INTEGER NOT NULL DEFAULT 0,
        attempts INTEGER NOT NULL DEFAULT 0,
        not_before REAL NOT NULL DEFAULT 0,
        created_at REAL NOT NULL,
        reason TEXT NOT NULL DEFAULT '',
        crc INTEGER NOT NULL,
        payload BLOB NOT NULL
    )""",
    "CREATE INDEX waiting ON entries (user_key, seq) WHERE state = 0 AND not_before > 0",
)
COLUMNS = "seq, user_key, user_id, tenant, state, attempts, not_before, created_at, reason, crc, payload"

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Exchange).decode


class Entry(msgspec.Struct, frozen=True):
    """One journaled exchange. *attempts*: how often it was postponed before."""

    seq: int
    exchange: Exchange
    attempts: int


class FailedEntry(msgspec.Struct, frozen=True):
    """An entry that nobody tries any more, and why. It stays until it is retried, dropped or its user erased."""

    seq: int
    user_id: str
    tenant: str
    attempts: int
    reason: str
    created_at: datetime


class JournalCounts(msgspec.Struct, frozen=True):
    """*oldest_age_s* is the age of the oldest pending entry; None when nothing is pending."""

    pending: int
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
        return Draft(scope.key, scope.user_id, scope.tenant, time.time(), _encode(exchange))
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
