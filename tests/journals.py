"""Both kinds of journal, for tests of what they have in common."""

import asyncio
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import count
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from proxy import config
from proxy.config import Settings
from proxy.journal import Entry, FailedEntry, JournalReader, Reader, Seq, open_writer
from proxy.journal.layout import name_seq
from proxy.journal.shared import SharedReader
from proxy.models import Exchange, Scope
from tests.test_journal import exchange

Kind = Literal["sqlite", "redis"]
KINDS: Final[tuple[Kind, ...]] = ("sqlite", "redis")

ADA: Final = Scope("ada")
# In ada's part, where order and limits are the same in both kinds.
BOB: Final = next(scope for number in count() if (scope := Scope(f"bob-{number}")).part == ADA.part)


def shared_settings(data_dir: Path, redis_url: str, **flags: Any) -> Settings:
    """Of a replica with a journal in Redis."""
    journal = {"url": redis_url, **flags.pop("journal", {})}
    return config.load(
        flags={"data_dir": data_dir, "journal": journal, "embedding": {"provider": "none"}, **flags}, environ={}
    )


def write(settings: Settings, *exchanges: Exchange) -> None:
    """Appends, one after the other, from a writer that is closed again."""

    async def run() -> None:
        writer = open_writer(settings, on_written=lambda: None, on_cost=lambda _: None)
        writer.start()
        for each in exchanges:
            await writer.append(each)
        await writer.aclose()

    asyncio.run(run())


class Journal:
    """A journal in which entries are called 1, 2, 3 … as they were appended. All are of one part."""

    def __init__(self, kind: Kind, settings: Settings) -> None:
        self.kind = kind
        self.settings = settings
        self.part = 0 if kind == "sqlite" else ADA.part
        self.reader = self.open("first")
        self._seqs: list[Seq] = []

    def open(self, name: str) -> Reader:
        """Another keeper's end of it."""
        if self.kind == "sqlite":
            return JournalReader(self.settings.data_dir)
        return SharedReader(self.settings, name)

    def write(self, *exchanges: Exchange) -> None:
        """Appends."""
        write(self.settings, *exchanges)
        known = set(self._seqs)
        self._seqs += [seq for seq in self._list() if seq not in known]

    def take(self, limit: int = 100, *, now: float | None = None) -> list[Entry]:
        """What is due to be stored."""
        return self.reader.take(limit, part=self.part, now=now)

    def seqs(self, *numbers: int) -> list[Seq]:
        """What these entries are known by; of the number 99 there is none."""
        gone: Seq = 99 if self.kind == "sqlite" else f"{self.part:02}-1-1"
        return [gone if number == 99 else self._seqs[number - 1] for number in numbers]

    def numbers(self, entries: Sequence[Entry | FailedEntry]) -> list[int]:
        """Which entries these are."""
        return [self._seqs.index(entry.seq) + 1 for entry in entries]

    def damage(self, number: int) -> None:
        """Changes what an entry says behind the journal's back."""
        (seq,) = self.seqs(number)
        if self.kind == "sqlite":
            with closing(sqlite3.connect(self.settings.data_dir / "journal.sqlite")) as connection, connection:
                connection.execute(
                    "UPDATE entries SET payload = replace(payload, 'Lisbon', 'London') WHERE seq = ?", [seq]
                )
            return
        with closing(self.reader_client()) as client:
            key, place = f"memory-proxy:journal:{self.part:02}:said", str(seq)[3:]
            value = client.hget(key, place)
            assert isinstance(value, bytes)
            client.hset(key, place, value.replace(b"Lisbon", b"London"))

    def reader_client(self) -> Any:
        """A client of Redis of the test's own."""
        import redis

        url = self.settings.journal.redis_url
        assert url is not None
        return redis.Redis.from_url(url, protocol=2)

    def _list(self) -> list[Seq]:
        if self.kind == "sqlite":
            with closing(sqlite3.connect(self.settings.data_dir / "journal.sqlite")) as connection:
                return [seq for (seq,) in connection.execute("SELECT seq FROM entries ORDER BY seq")]
        with closing(self.reader_client()) as client:
            rows = client.xrange(f"memory-proxy:journal:{self.part:02}")
        return [name_seq(self.part, place) for place, _ in rows]


@contextmanager
def opened(kind: Kind, tmp_path: Path, redis_url: str) -> Iterator[Journal]:
    """An empty journal."""
    if kind == "sqlite":
        settings = config.load(flags={"data_dir": tmp_path}, environ={})
    else:
        settings = shared_settings(tmp_path, redis_url)
    journal = Journal(kind, settings)
    with closing(journal.reader):
        yield journal


def talk(index: int, *, user: Scope = ADA, text: str = "I moved to Lisbon") -> Exchange:
    """The exchange number *index* of a user's only conversation."""
    return msgspec.structs.replace(exchange(index, text=text), user_id=user.user_id, tenant=user.tenant)
