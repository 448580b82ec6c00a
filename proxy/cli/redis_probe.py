"""What ``check`` finds of a Redis that replicas share a journal in."""

from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from proxy.config import Settings
from proxy.errors import JournalError
from proxy.sharing import open_redis, translated

if TYPE_CHECKING:
    import redis

# XAUTOCLAIM that tells of what is gone, and scripts that may replicate what they have done.
OLDEST: Final = 7


class Verdict(NamedTuple):
    """*advice*: what to do about it."""

    state: Literal["ok", "note", "failed"]
    found: str
    advice: str = ""


def judge_journal(settings: Settings) -> Verdict:
    """Reaches it, and tells of the worst of what would lose exchanges there."""
    from proxy.journal.shared import SharedReader

    try:
        with closing(open_redis(settings)) as client, closing(SharedReader(settings, "check")) as reader:
            with translated(JournalError):
                worst = min(_judge(client), key=lambda verdict: ("failed", "note").index(verdict.state), default=None)
            counts = reader.counts()
    except JournalError as exc:
        return Verdict("failed", str(exc), "check journal.url, and that Redis runs there and lets this machine in")
    found = f"redis, {counts.pending + counts.extracting:,} waiting, {counts.failed:,} failed"
    if worst is not None:
        return worst._replace(found=f"{found}; {worst.found}")
    if counts.failed:
        return Verdict("note", found, "memory-proxy journal shows why, and journal retry tries again")
    return Verdict("ok", found)


def _judge(client: "redis.Redis") -> Iterator[Verdict]:
    info: dict[str, Any] = client.info()
    version = str(info["redis_version"])
    if int(version.partition(".")[0]) < OLDEST:
        yield Verdict("failed", f"this is Redis {version}", f"it should be Redis {OLDEST} or newer")
    if info.get("maxmemory") and info.get("maxmemory_policy") != "noeviction":
        found = f"when its memory is full it drops entries: maxmemory-policy is {info.get('maxmemory_policy')}"
        yield Verdict("failed", found, "set maxmemory-policy noeviction, or give the journal a Redis of its own")
    if not info.get("aof_enabled"):
        found = "it keeps no append-only file: what waits is lost when it is killed"
        yield Verdict("failed", found, "set appendonly yes and appendfsync always")
    elif (fsync := _read_fsync(client)) != "always":
        told = "this user may not ask for appendfsync" if fsync is None else f"appendfsync is {fsync}"
        yield Verdict("note", f"{told}: less than always may lose seconds", "set appendfsync always")


def _read_fsync(client: "redis.Redis") -> str | None:
    """None where that is forbidden, as hosted ones do."""
    from redis.exceptions import ResponseError

    try:
        answer: dict[Any, Any] = client.config_get("appendfsync")
    except ResponseError:
        return None
    return next((str(value, "ascii") if isinstance(value, bytes) else str(value) for value in answer.values()), None)
