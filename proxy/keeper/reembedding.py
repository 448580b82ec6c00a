"""All memories on their way to the configured embedding model, found until they are there by the vectors they have.

Where they are to go is noted first, and from then on whatever is written is given vectors of both models. When
everybody who may have begun to write before that is through, which a turn of each part tells, all memories are read,
and those without the new vector are given it; and so on until a reading finds none. Only then does the note say that
the new model is in force, in one step: until then everything goes by the old vectors, from then on by the new ones. If
anything was written without a new vector in between, the note tells of it, and another reading follows.

How far it is is kept nowhere else. What was interrupted passes by what has its vector already, and goes on.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

import msgspec
import structlog

from proxy.errors import EmbedderError, MemoryProxyError, StoreError
from proxy.journal.backoff import delay
from proxy.keeper.mover import InterruptionError, Mover, Progress
from proxy.keeper.moves import Movement, ReembeddingState
from proxy.keeper.vault import BATCH, Vault
from proxy.models import PARTS, Embedding, EmbeddingModel
from proxy.remember.embedding import WAY_OUT
from proxy.tasks import Tasks

# After so many attempts in a row that came to nothing, within a minute and a half, somebody has to look.
ATTEMPTS: Final = 8
FIRST_DELAY_S: Final = 1.0
LONGEST_DELAY_S: Final = 30.0
# Readings that find something that is missing, one after the other. The second finds what came during the first.
SWEEPS: Final = 20
UNFORESEEN: Final = "something unforeseen; the log says what"

log = structlog.get_logger(__name__)


async def _give_way_to_nobody() -> None:
    """Nobody else needs the store."""


class Reembedding:
    """What moves a vault's memories, one move at a time. For one event loop.

    *batch* and *give_way*: see :class:`~proxy.keeper.mover.Mover`.
    """

    def __init__(
        self, vault: Vault, *, batch: int = BATCH, give_way: Callable[[], Awaitable[None]] = _give_way_to_nobody
    ) -> None:
        self._vault = vault
        self._embeddings = vault.embeddings
        self._batch = batch
        self._give_way = give_way
        self._progress = Progress()
        self._began: float | None = None
        self._took = 0.0
        self._verifying = False
        self._error: str | None = None

    @property
    def state(self) -> ReembeddingState:
        """How far it is."""
        noted, progress = self._embeddings.noted, self._progress
        took = self._took if self._began is None else time.monotonic() - self._began
        return ReembeddingState(
            state=self._name_state(),
            serving=None if noted is None else str(noted.serving),
            configured=self._embeddings.configured,
            target=None if noted is None or noted.target is None else str(noted.target),
            total=progress.total,
            done=progress.done,
            moved=progress.moved,
            rate=round(progress.moved / took, 1) if took else 0.0,
            error=self._error if self._began is None else None,
        )

    def _name_state(self) -> Movement:
        if self._began is not None:
            return "verifying" if self._verifying else "moving"
        if self._error is not None:
            return "failed"
        return "due" if self._embeddings.differs else "settled"

    @property
    def summary(self) -> str | None:
        """The same in one line; None where there is nothing to tell."""
        state = self.state
        if self._began is not None:
            return f"serving {state.serving}, {state.state}: {state.done:,} of {state.total:,} memories"
        if not self._embeddings.differs:
            return None
        return f"serving {state.serving}, configured {state.configured}: {WAY_OUT}"

    def start(self, tasks: Tasks, *, again: bool = False) -> None:
        """Begins to move, or goes on, as one of *tasks*, unless that is being done already."""
        if self._began is None:
            self._began = time.monotonic()
            tasks.spawn(self._run_aside(again), name="reembed")

    async def _run_aside(self, again: bool) -> None:
        with suppress(MemoryProxyError):  # which the state tells of
            await self.run(again=again)

    async def run(self, *, again: bool = False) -> bool:
        """Moves everything, or goes on with it; whether it came to the end, and was not stopped.

        *again*: also what has vectors of the configured model, which may be another one than it was by the same name.

        Raises:
            EmbedderError: the model does not answer, or not as it did before.
            StoreError: memories cannot be read or written.
            MemoryProxyError: somebody else moves them elsewhere.
        """
        self._progress, self._error, self._verifying = Progress(), UNFORESEEN, False
        began = self._began = time.monotonic()
        try:
            target = await self._set_out(again=again)
            if target is not None:
                await self._arrive(target)
        except InterruptionError:
            self._error = None
            return False
        except MemoryProxyError as exc:
            self._error = str(exc)
            log.warning("reembedding_failed", reason=self._error)
            raise
        finally:
            self._took, self._began = time.monotonic() - began, None
        self._error = None
        return True

    def stop(self) -> None:
        """Ends it after the memories that are being written."""
        self._progress.stopping.set()

    async def _set_out(self, *, again: bool) -> EmbeddingModel | None:
        """Notes where everything is to go; None where there is nothing."""
        found = await self._embeddings.probe()
        while True:
            await self._embeddings.look()
            noted = self._embeddings.noted
            if noted is None:
                return None
            planned = _plan(noted, found, again=again)
            if planned == noted or await self._embeddings.change(noted, planned):
                target = planned.target or planned.serving
                log.info("reembedding", serving=str(planned.serving), target=str(target))
                return target

    async def _arrive(self, target: EmbeddingModel) -> None:
        """Tries until it is done."""
        attempts = moved = 0
        while True:
            try:
                await self._try(target)
            except (EmbedderError, StoreError) as exc:
                attempts = 1 if self._progress.moved > moved else attempts + 1
                moved = self._progress.moved
                if attempts == ATTEMPTS:
                    raise
                log.warning("reembedding_delayed", reason=str(exc), attempts=attempts)
                await self._wait(delay(attempts, first_s=FIRST_DELAY_S, most_s=LONGEST_DELAY_S))
            else:
                return

    async def _wait(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._progress.stopping.wait()
        self._progress.check()

    async def _try(self, target: EmbeddingModel) -> None:
        mover = Mover(self._vault, target, self._progress, batch=self._batch, give_way=self._give_way)
        await self._pass_turns()
        for _ in range(SWEEPS):
            noted = await self._require(target)
            if await mover.sweep():
                await self._verify(mover, noted)
                if await self._finish(noted):
                    return
            self._verifying = True
        raise MemoryProxyError(
            f"memories go on being written without vectors of {target.name}: see that all that run have it configured, "
            f"and that it answers them, then {WAY_OUT}"
        )

    async def _pass_turns(self) -> None:
        """Returns when those are through who may have begun to write before there was a target."""
        for part in range(PARTS):
            async with self._vault.turns.hold(part):
                pass

    async def _require(self, target: EmbeddingModel) -> Embedding:
        """What is noted, which still has to be about *target*."""
        noted = await self._embeddings.look_again()
        if noted is None or not target.compares_with(noted.target or noted.serving):
            raise MemoryProxyError("somebody else moves memories to another embedding model: configure one for all")
        return noted

    async def _verify(self, mover: Mover, noted: Embedding) -> None:
        if await mover.compare_sample():
            return
        name = self._embeddings.configured
        if noted.target is None:
            raise MemoryProxyError(
                f"{name}: it answers otherwise than when memories were given their vectors; if another model goes by "
                f"this name now, {WAY_OUT} --again"
            )
        # Nothing that it has made so far may be used, nor is to be taken for done.
        await self._embeddings.change(noted, _give_up(noted, noted.target))
        raise MemoryProxyError(
            f"{name}: it answers otherwise than a moment ago, so that what it has made was given up; see that there is "
            f"one model behind that name, and {WAY_OUT} to begin anew"
        )

    async def _finish(self, noted: Embedding) -> bool:
        """Whether the target of *noted* is in force now."""
        if noted.target is None:
            self._embeddings.on_switch()  # of memories that had no vector edges have none
            return True
        # Alone for that moment: who writes says to edges by which of the two models what was written is found.
        async with self._vault.turns.pause():
            return await self._embeddings.change(noted, Embedding(noted.target, again=noted.again))


def _plan(noted: Embedding, found: EmbeddingModel, *, again: bool) -> Embedding:
    """What is to be noted to get from there to the model that was *found*."""
    if again:
        return _give_up(noted, found)
    if noted.target is not None and _is_like(noted.target, found):
        return noted
    if _is_like(noted.serving, found):
        return msgspec.structs.replace(noted, target=None)
    return msgspec.structs.replace(noted, target=msgspec.structs.replace(found, again=noted.again), misses=0)


def _is_like(model: EmbeddingModel, found: EmbeddingModel) -> bool:
    return (model.name, model.dim) == (found.name, found.dim)


def _give_up(noted: Embedding, target: EmbeddingModel) -> Embedding:
    """As *noted*, with a *target* of which there are no vectors yet."""
    again = noted.again + 1
    return msgspec.structs.replace(noted, target=msgspec.structs.replace(target, again=again), misses=0, again=again)
