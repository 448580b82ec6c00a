"""Where the memories of an evaluation lie: in a real store that all users share, or nowhere."""

import os
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from operator import itemgetter
from pathlib import Path
from typing import Protocol

import msgspec
import numpy as np

from proxy.embedders.base import Embedder
from proxy.evaluation.conditions import make_settings
from proxy.keeper.lock import Holder
from proxy.keeper.vault import Vault, open_vault
from proxy.models import Memory, Pack, Scope
from proxy.packing import make_pack
from proxy.remember.plan import Draft
from proxy.remember.records import find_stated, make_records

MemoriesOf = Mapping[str, Sequence[Memory]]


class Archive(Protocol):
    """Hands out a user's memories, made findable."""

    async def load(self, user_id: str) -> Pack:
        """All that the user has, in no particular order."""


class UnstoredArchive:
    """Makes records of a user's memories whenever they are asked for: half the time, and proves nothing of a store."""

    def __init__(self, memories: MemoriesOf, embedder: Embedder) -> None:
        self._memories = memories
        self._embedder = embedder

    async def load(self, user_id: str) -> Pack:
        return await make_findable(self._memories[user_id], self._embedder)


class StoredArchive:
    """All users' memories in one embedded store, as ``memory-proxy import`` would have put them there."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault

    async def load(self, user_id: str) -> Pack:
        return await self._vault.load(Scope(user_id))


@asynccontextmanager
async def open_store_archive(memories: MemoriesOf, progress: Callable[[int], None]) -> AsyncIterator[StoredArchive]:
    """A temporary store with all of *memories* in it; *progress* hears how many users' are.

    Raises:
        StoreError, EmbedderError: it could not be filled.
    """
    with tempfile.TemporaryDirectory(prefix="memory-proxy-eval-") as name:
        async with open_vault(make_settings(Path(name)), Holder(os.getpid(), "memory-proxy eval")) as vault:
            for done, (user_id, said) in enumerate(memories.items(), start=1):
                scope = Scope(user_id)
                async with vault.writing(scope):
                    await vault.remember({scope: said})
                progress(done)
            yield StoredArchive(vault)


async def make_findable(memories: Sequence[Memory], embedder: Embedder) -> Pack:
    """A pack of *memories*, which need not be stored for it.

    Raises:
        EmbedderError: there are no vectors.
    """
    drafts = [Draft(memory, statements=find_stated(memory)) for memory in memories]
    return make_pack(await make_records(drafts, embedder))


def pick(pack: Pack, rows: Sequence[int]) -> Pack:
    """The memories of *pack* in *rows*, in that order, as a pack of their own."""
    sizes = np.frombuffer(pack.sizes, "<u4").astype(np.intp)
    ends = np.cumsum(sizes)
    # Of each wanted row, where its terms are; the empty one is there for packs of no rows.
    terms = np.concatenate([np.zeros(0, np.intp), *(np.arange(ends[row] - sizes[row], ends[row]) for row in rows)])
    places = {row: place for place, row in enumerate(rows)}
    return msgspec.structs.replace(
        pack,
        memories=[pack.memories[row] for row in rows],
        vectors=np.frombuffer(pack.vectors, "<f2").reshape(len(sizes), -1)[rows].tobytes(),
        hashes=np.frombuffer(pack.hashes, "<u4")[terms].tobytes(),
        counts=np.frombuffer(pack.counts, "<u2")[terms].tobytes(),
        sizes=sizes[list(rows)].astype("<u4").tobytes(),
        statements=sorted(
            ((places[row], statement) for row, statement in pack.statements if row in places), key=itemgetter(0)
        ),
    )
