"""Gives memories a vector of another embedding model, some at a time, while others write."""

import asyncio
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing
from typing import Final, NamedTuple

import numpy as np

from proxy.embedders.base import Vectors
from proxy.errors import StoreError
from proxy.keeper import wire
from proxy.keeper.vault import Vault
from proxy.models import EmbeddingModel, Record, Scope
from proxy.remember.analyst import Analyst, Task
from proxy.remember.records import Made, add_vector, find_text, find_vector
from proxy.tasks import look_ahead

# Records that are read and looked at in one go, in 30 ms.
READ: Final = 256
# Of one call of an endpoint; calls for one batch are made at the same time.
CALL: Final = 32
# Users who are counted in one go.
_COUNTED: Final = 1_000
# Vectors that are made a second time in the end. A model that runs on several machines answers a little differently on
# each; one that has taken another one's place has nothing in common with that one.
SAMPLE: Final = 64
LIKE: Final = 0.95
MOST_UNLIKE: Final = 0.1
# How far from 1 the length of a vector may be that is stored as float16.
_ROUNDING: Final = 0.01

Owned = tuple[Scope, Record]


class Chunk(NamedTuple):
    """Some records of one part: how many of them have a proper vector of the target, and those that have none."""

    sound: int
    lacking: list[Owned]


class Vector(NamedTuple):
    """What was made of a text, in stored form."""

    text: str
    packed: bytes


class Batch(NamedTuple):
    """What is to be given to memories of one part, by their users and ids, and how many *sound* ones were read on the
    way.
    """

    sound: int
    vectors: Mapping[Scope, Mapping[str, Vector]]


class InterruptionError(Exception):
    """Somebody has said that it is to end here."""


class Progress:
    """How far it is: *done* is how many memories are known to have the vector, *moved* to how many it was given.

    It is to end when *stopping* is set.
    """

    def __init__(self) -> None:
        self.total = self.done = self.moved = 0
        self.stopping = asyncio.Event()

    def check(self) -> None:
        """Raises InterruptionError when it is to end."""
        if self.stopping.is_set():
            raise InterruptionError


class Mover:
    """Moves the memories of *vault* to one model, whose turn it takes for each batch. For one event loop.

    *give_way* returns when those who store what was just said need the store less urgently.
    """

    def __init__(
        self,
        vault: Vault,
        target: EmbeddingModel,
        progress: Progress,
        *,
        batch: int,
        give_way: Callable[[], Awaitable[None]],
    ) -> None:
        self._vault = vault
        self._store = vault.store
        self._target = target
        self._progress = progress
        self._batch = batch
        self._give_way = give_way
        self._sample: list[Record] = []
        self._seen = 0
        self._random = random.Random()  # noqa: S311  # it only chooses what is looked at twice

    async def sweep(self) -> bool:
        """Reads all memories, and gives the vector to those that lack it; whether there were none.

        Raises:
            EmbedderError, StoreError: it could not go on; what is done stays done.
            InterruptionError: it was told to end.
        """
        scopes = sorted(await self._vault.catalogue.scopes(), key=lambda scope: (scope.part, scope.key))
        self._progress.total = await asyncio.to_thread(self._count, scopes)
        self._progress.done = self._seen = 0
        self._sample = []
        complete = True
        # The next vectors are made, elsewhere, while the last ones are written.
        async with Analyst() as analyst, aclosing(look_ahead(self._prepare(scopes, analyst))) as batches:
            async for batch in batches:
                self._progress.check()
                self._progress.done += batch.sound
                if batch.vectors:
                    complete = False
                    await self._move(batch.vectors)
        self._progress.check()
        return complete

    async def _prepare(self, scopes: Sequence[Scope], analyst: Analyst) -> AsyncGenerator[Batch, None]:
        """All memories, with vectors for those that lack them."""
        chunks, helper = self._read(scopes), None
        while (chunk := await asyncio.to_thread(next, chunks, None)) is not None:
            yield Batch(chunk.sound, {})
            for start in range(0, len(chunk.lacking), self._batch):
                yield Batch(0, await self._make(chunk.lacking[start : start + self._batch], helper))
                helper = analyst  # one batch alone is moved sooner than another process is up

    def _count(self, scopes: Sequence[Scope]) -> int:
        return sum(self._store.count(scopes[start : start + _COUNTED]) for start in range(0, len(scopes), _COUNTED))

    def _read(self, scopes: Sequence[Scope]) -> Iterator[Chunk]:
        """All records, of one part after the other. For one thread at a time."""
        held: list[Owned] = []
        for scope in scopes:
            if held and held[0][0].part != scope.part:
                yield self._judge(held)
                held = []
            rows = self._store.list_rows(scope)
            for start in range(0, len(rows), READ):
                held += ((scope, record) for record in self._store.fetch(scope, rows[start : start + READ]))
                if len(held) >= READ:
                    yield self._judge(held)
                    held = []
        if held:
            yield self._judge(held)

    def _judge(self, read: list[Owned]) -> Chunk:
        vectors = [find_vector(record, self._target) for _, record in read]
        having = [place for place, vector in enumerate(vectors) if vector is not None]
        sound = _check_vectors([vectors[place] or b"" for place in having], self._target.dim)
        proper = {place for place, is_sound in zip(having, sound, strict=True) if is_sound}
        self._choose([read[place][1] for place in having if place in proper])
        return Chunk(len(proper), [owned for place, owned in enumerate(read) if place not in proper])

    def _choose(self, records: Sequence[Record]) -> None:
        """Keeps a fair sample of all that it is ever given."""
        for record in records:
            if self._seen < SAMPLE:
                self._sample.append(record)
            elif (place := self._random.randrange(self._seen + 1)) < SAMPLE:
                self._sample[place] = record
            self._seen += 1

    async def _make(self, some: Sequence[Owned], analyst: Analyst | None) -> dict[Scope, dict[str, Vector]]:
        await self._give_way()
        texts = [find_text(record.memory) for _, record in some]
        analysed = None if analyst is None else await analyst.analyse(self._target, Task(texts, ()))
        made = Made(self._target.label, await self._embed(texts) if analysed is None else analysed[0])
        by_scope: dict[Scope, dict[str, Vector]] = {}
        for row, (scope, record) in enumerate(some):
            by_scope.setdefault(scope, {})[record.memory.id] = Vector(texts[row], made.pack(row))
        return by_scope

    async def _move(self, by_scope: Mapping[Scope, Mapping[str, Vector]]) -> None:
        """Gives memories their vectors. They may have been changed, or erased, since they were read."""
        await self._give_way()
        async with self._vault.turns.hold(self._vault.turns.find_part(next(iter(by_scope)))):
            moved = await self._write(by_scope)
        self._progress.done += moved
        self._progress.moved += moved
        self._vault.metrics.count("reembedded_total", by=moved)

    async def _embed(self, texts: Sequence[str]) -> Vectors:
        embedder = await self._vault.embeddings.open(self._target)
        if hasattr(embedder, "embed_now"):
            return await embedder.embed(texts)
        calls = (embedder.embed(texts[start : start + CALL]) for start in range(0, len(texts), CALL))
        return np.concatenate(await asyncio.gather(*calls))

    async def _write(self, by_scope: Mapping[Scope, Mapping[str, Vector]]) -> int:
        """How many there still were. It is our turn: what is read here is what is there when it is written."""
        noted = await self._vault.embeddings.look_again()
        if noted is None or not self._target.compares_with(noted.target or noted.serving):
            raise StoreError("memories are on their way to another embedding model by now")
        found: dict[Scope, list[Record]] = {}
        for scope, vectors in by_scope.items():
            records = await asyncio.to_thread(self._store.fetch_ids, scope, list(vectors))
            fresh = [record for record in records if find_text(record.memory) == vectors[record.memory.id].text]
            if fresh:
                found[scope] = [
                    add_vector(record, noted, self._target, vectors[record.memory.id].packed) for record in fresh
                ]
        if found:
            self._vault.turns.check(self._vault.turns.find_part(next(iter(found))))
            await asyncio.to_thread(self._store.put, found)
            await self._tell(found)
        return sum(map(len, found.values()))

    async def _tell(self, scopes: Iterable[Scope]) -> None:
        """That nothing has changed for edges: those of replicas hear that something was written, and would load it."""
        noted = self._vault.embeddings.noted
        if self._vault.embeddings.is_shared and noted is not None and noted.target is not None:
            for scope in scopes:
                self._vault.on_change(wire.Changed(scope))
            await self._vault.told()

    async def compare_sample(self) -> bool:
        """Whether the model, asked once more for some of what the last sweep has read, answers as it did."""
        if not self._target.dim or not self._sample:
            return True
        stored = [find_vector(record, self._target) or b"" for record in self._sample]
        before = _unpack(stored, self._target.dim)
        now = await self._embed([find_text(record.memory) for record in self._sample])
        # Of a text without anything to embed, both are zeros.
        alike = np.vecdot(before, now) + (~before.any(axis=1) & ~now.any(axis=1))
        return bool((alike < LIKE).mean() <= MOST_UNLIKE)


def _unpack(vectors: Sequence[bytes], dim: int) -> Vectors:
    return np.frombuffer(b"".join(vectors), "<f2").reshape(len(vectors), dim).astype(np.float32)


def _check_vectors(vectors: Sequence[bytes], dim: int) -> list[bool]:
    """Of each, whether it has unit length or is all zeros, and is finite."""
    if not dim:
        return [True] * len(vectors)
    rows = _unpack(vectors, dim)
    lengths = np.sqrt(np.vecdot(rows, rows))
    sound: list[bool] = ((np.abs(lengths - 1) < _ROUNDING) | (lengths == 0)).tolist()
    return sound
