"""Recall: from what a conversation says now to the block that goes with it, within a deadline."""

import asyncio
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from proxy.embedders.base import Embedder
from proxy.errors import KeeperError
from proxy.keeper import wire
from proxy.keeper.client import KeeperClient
from proxy.models import Memory, Message, Scope, Status, now
from proxy.observe.failopen import FailOpen
from proxy.recall.composing import Block, Composer
from proxy.recall.continuation import Continuation, Placement, Point
from proxy.recall.explaining import explain
from proxy.recall.frame import Frame
from proxy.recall.loading import Loader
from proxy.recall.query import Query
from proxy.recall.ranking import rank
from proxy.recall.sticky import Talk, Talks
from proxy.recall.vectors import NOTHING_ASKED, Open, Question, QuestionVectors
from proxy.recall.why import Why
from proxy.tasks import Tasks
from proxy.workingset import WorkingSet


@dataclass(frozen=True, slots=True)
class Recollection:
    """What recall found: ``injected`` with a block, or ``empty``, ``timeout``, ``error`` or ``off`` without one.

    Where *tail* is None, the block's text belongs at the end of the instructions. Else each of its texts belongs at the
    end of the user's message that stands there in the dialogue, and the block tells of all of them together.
    *withheld*: how many tokens a block has that was found, and that nobody is to be given.
    """

    status: Status
    block: Block | None = None
    tail: Mapping[int, str] | None = None
    withheld: int = 0


@dataclass(frozen=True, slots=True)
class Search:
    """What was looked for and found: index words with what they weigh, and memories, best first.

    *relevance*: as of :class:`~proxy.recall.ranking.Ranked`.
    """

    words: Mapping[str, float]
    relevance: float
    found: Sequence[tuple[Memory, float, Why]]


class RecallService:
    """Recall over the working sets of one edge. For one event loop; never writes anything.

    A user whose memories are not here yet is loaded once, however many requests ask for it; what is late is found all
    the same, and serves the conversation's next request.
    """

    def __init__(
        self,
        keeper: KeeperClient,
        embedder: Embedder,
        count_tokens: Callable[[str], int],
        fail_open: FailOpen,
        tasks: Tasks,
        *,
        placement: Placement = "system",
        frame: Frame | None = None,
        stale_s: float = math.inf,
        open_model: Open | None = None,
    ) -> None:
        self._loader = Loader(keeper, fail_open, tasks, stale_s=stale_s)
        self.sets = self._loader.sets
        self._vectors = QuestionVectors(embedder, fail_open, tasks, open_model)
        self._composer = Composer(count_tokens, frame)
        self._continuation = Continuation(self._composer, placement)
        self._fresh = Continuation(self._composer, "system")
        self._talks = Talks()
        # Hears by key whose words nobody may tell any more, None for everybody's, and whether nothing is left of them.
        self.on_erase: Callable[[str | None, bool], None] = lambda *_: None
        self._fail_open = fail_open
        self._tasks = tasks
        keeper.on_change = self._follow
        keeper.on_sync = self._sync

    @property
    def embedding(self) -> str:
        """The name of the model that questions are embedded with."""
        return self._vectors.model

    async def recall(
        self,
        scope: Scope,
        dialogue: Sequence[Message],
        *,
        budget_tokens: int,
        deadline_s: float,
        asked_at: datetime | None = None,
        conversation_id: str | None = None,
        sticky: bool = True,
    ) -> Recollection:
        """The block for a conversation of *scope* that has come to the end of *dialogue*.

        What stands in the dialogue itself is not repeated. Unless *sticky*, what the conversation has been given before
        does not count. Raises nothing for a keeper or an embedder that is late; raises KeeperError for one that is away
        while the user's memories are not here.
        """
        self._check()
        deadline = asyncio.get_running_loop().time() + deadline_s
        point = Point(scope, dialogue, budget_tokens, asyncio.get_running_loop().time(), conversation_id)
        query = Query.from_dialogue(dialogue, asked_at=asked_at or now())
        # A vector that takes a request of its own is asked for while the memories are on their way.
        known = self.sets.get(scope)
        is_immediate = self._vectors.is_immediate(None if known is None else known.model)
        question = None if is_immediate else self._ask(query, known)
        loaded = await self._loader.load_until(scope, deadline)
        if loaded is not None and loaded.working_set.off:
            return Recollection("off")
        if loaded is None:
            self._finish_later(point, query, question, sticky=sticky)
            return self._show(point, self._resume(point, sticky=sticky).talk, "timeout", sticky=sticky)
        question = self._suit(question, query, loaded.working_set)
        trouble, vector = await self._vectors.wait(question, loaded.working_set.model, deadline)
        if question.late or not loaded.whole:
            self._finish_later(point, query, question, sticky=sticky)
            trouble = "timeout"
        ranked = rank(loaded.working_set, query.with_vector(vector))
        point = self._resume(point, sticky=sticky)
        continuation = self._continuation if sticky else self._fresh
        talk = continuation.advance(point, loaded.working_set, ranked, whole=loaded.whole)
        if sticky and (talk.given or point.talk.given):
            self._talks.put(scope, point.prefix, talk, conversation_id)
        return self._show(point, talk, trouble or "empty", sticky=sticky)

    def keep(
        self, scope: Scope, dialogue: Sequence[Message], conversation_id: str | None, budget_tokens: int
    ) -> Recollection:
        """What the conversation has been given already, and ``skipped`` where that is nothing. Waits for nobody."""
        if not any(message.role == "user" for message in dialogue):
            return Recollection("skipped")
        self._check()
        at = asyncio.get_running_loop().time()
        point = self._resume(Point(scope, dialogue, budget_tokens, at, conversation_id))
        return self._show(point, point.talk, "skipped", sticky=True)

    async def search(self, scope: Scope, text: str, *, limit: int, deadline_s: float) -> Search:
        """The memories that have most to do with *text*, and why, for somebody who looks.

        Raises:
            KeeperError: they cannot be read within *deadline_s*.
        """
        working_set, query = await self._look(scope, [Message("user", text)], deadline_s, None)
        ranked = rank(working_set, query, limit=limit)
        rows = ranked.rows.tolist()
        found = zip(rows, ranked.scores.tolist(), explain(working_set, query, rows), strict=True)
        return Search(
            ranked.words, ranked.relevance, [(working_set.memories[row], score, why) for row, score, why in found]
        )

    async def explain(
        self,
        scope: Scope,
        dialogue: Sequence[Message],
        memory_ids: Collection[str],
        *,
        deadline_s: float,
        asked_at: datetime | None = None,
    ) -> dict[str, Why]:
        """Why memories that :meth:`recall` has found have their scores, by id; raises as :meth:`search`."""
        working_set, query = await self._look(scope, dialogue, deadline_s, asked_at)
        known = [memory_id for memory_id in memory_ids if memory_id in working_set]
        return dict(zip(known, explain(working_set, query, [working_set.row(one) for one in known]), strict=True))

    async def _look(
        self, scope: Scope, dialogue: Sequence[Message], deadline_s: float, asked_at: datetime | None
    ) -> tuple[WorkingSet, Query]:
        self._check()
        deadline = asyncio.get_running_loop().time() + deadline_s
        try:
            async with asyncio.timeout(deadline_s):
                working_set = await self._loader.load(scope)
        except TimeoutError as exc:
            raise KeeperError("the user's memories could not be read in time") from exc
        query = Query.from_dialogue(dialogue, asked_at=asked_at or now())
        _, vector = await self._vectors.wait(self._ask(query, working_set), working_set.model, deadline)
        return working_set, query.with_vector(vector)

    def _resume(self, point: Point, *, sticky: bool = True) -> Point:
        """*point* with what the conversation has been given. For after all waiting: meanwhile it may be erased."""
        known = self._talks.find(point.scope, point.prefixes, point.conversation_id) if sticky else None
        return point if known is None else replace(point, talk=known)

    def _ask(self, query: Query, working_set: WorkingSet | None) -> Question:
        # A greeting is looked for nowhere, and should wait for nobody.
        if not query.words:
            return NOTHING_ASKED
        if working_set is None:
            return self._vectors.ask(query.text)
        return self._vectors.ask(query.topic(working_set.speakers), working_set.model)

    def _suit(self, question: Question | None, query: Query, working_set: WorkingSet) -> Question:
        """*question*, or where it was asked of another model than the memories' vectors are of, another one."""
        if question is None or not question.suits(working_set.model):
            return self._ask(query, working_set)
        return question

    def _show(self, point: Point, talk: Talk, otherwise: Status, *, sticky: bool) -> Recollection:
        """What *talk* comes to, or a status that says why it comes to nothing."""
        block, tail = (self._continuation if sticky else self._fresh).render(point, talk)
        return Recollection("injected", block, tail) if block is not None else Recollection(otherwise)

    def _finish_later(self, point: Point, query: Query, question: Question | None, *, sticky: bool) -> None:
        """Goes on without the request, for the conversation's next one."""
        if sticky:
            self._tasks.spawn(self._finish(point, query, question), name="finish-recall")

    async def _finish(self, point: Point, query: Query, question: Question | None) -> None:
        with self._fail_open("late"):
            working_set = await self._loader.load(point.scope)
            question = self._suit(question, query, working_set)
            _, vector = await self._vectors.wait(question, working_set.model, math.inf)
            # Since then the request itself may have been given something, and the user may have been erased.
            working_set = await self._loader.load(point.scope)
            if not question.suits(working_set.model):
                vector = None
            point = self._resume(point)
            ranked = rank(working_set, query.with_vector(vector))
            late = self._continuation.find_late(point, working_set, ranked)
            if late:
                # A conversation that has gone on meanwhile has its own by now.
                latest = self._talks.find(point.scope, (), point.conversation_id)
                named = point.conversation_id if latest in (None, point.talk) else None
                self._talks.put(point.scope, point.prefix, point.talk._replace(late=late), named)

    async def aclose(self) -> None:
        """Lets go of embedders that were opened for memories of former times."""
        await self._vectors.aclose()

    def _check(self) -> None:
        """What others may have erased meanwhile is not used."""
        if not self._loader.is_true:
            self._sync(wire.Stale())

    def _sync(self, sync: wire.Sync) -> None:
        self._loader.sync(sync)
        if isinstance(sync, wire.Stale):
            # What conversations were given may be among it. To find it anew costs them a provider's cache, and no more.
            self._composer.forget()
            self._talks.forget_users(sync.users)
            for user_key in (None,) if sync.users is None else sync.users:
                self.on_erase(user_key, False)

    def _follow(self, changed: wire.Changed) -> None:
        self._loader.follow(changed)
        if changed.everything or changed.erased:
            self.on_erase(changed.scope.key, changed.everything)
        if changed.everything or changed.removed:
            self._composer.forget(None if changed.everything else changed.removed)
            self._talks.forget(changed.scope, None if changed.everything else changed.removed)
