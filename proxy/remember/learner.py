"""The second look: a model reads what was stored, and the facts that it finds are kept beside it."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager
from itertools import groupby
from typing import Any, Final, Protocol

import structlog

from proxy.errors import EmbedderError, ExtractionError, JournalError, StoreError
from proxy.extraction import Batch, Extraction, Known, Said
from proxy.journal import Entry, Reader
from proxy.journal.backoff import delay
from proxy.models import Exchange, Memory, Record, Scope
from proxy.observe.failopen import FailOpen
from proxy.remember.branches import find_place
from proxy.remember.shelf import Item, Shelf
from proxy.tasks import Tasks
from proxy.text import terms

log = structlog.get_logger(__name__)

# Exchanges of one user that are looked at together, of one conversation after the other.
_AT_ONCE: Final = 32
# What was said before them, to understand them by, and facts to hold them against.
_CONTEXT: Final = 6
_KNOWN: Final = 30
# Facts whose texts are read to choose from.
_COMPARED: Final = 500
_IDLE_S: Final = 1.0
_FIRST_DELAY_S: Final = 5.0
_LONGEST_DELAY_S: Final = 600.0
_KIND: Final = "extraction"
# Well within the time after which another keeper would take a user for abandoned.
_KEEP_EVERY_S: Final = 10.0


class Memories(Protocol):
    """What the learner needs of the vault. All raise StoreError, *learn_facts* EmbedderError, too."""

    def writing(self, scope: Scope) -> AbstractAsyncContextManager[object]: ...

    async def shelf(self, scope: Scope) -> Shelf: ...

    async def fetch(self, scope: Scope, ids: Sequence[str]) -> list[Record]: ...

    async def learn_facts(self, scope: Scope, extraction: Extraction) -> None: ...


class Learner:
    """Takes stored exchanges from the journal, of several users at the same time and of each in order.

    What cannot be had from the model now is asked for again later, and after *max_attempts* set aside.
    """

    def __init__(
        self,
        journal: Reader,
        memories: Memories,
        extract: Callable[[Scope, Batch], Coroutine[Any, Any, Extraction]],
        fail_open: FailOpen,
        tasks: Tasks,
        *,
        max_attempts: int,
        concurrency: int,
    ) -> None:
        self._journal = journal
        self._memories = memories
        self._extract = extract
        self._fail_open = fail_open
        self._tasks = tasks
        self._max_attempts = max_attempts
        self._concurrency = concurrency
        # By the user's key.
        self._at_work: dict[str, asyncio.Task[None]] = {}
        self._asking: dict[str, asyncio.Task[Extraction]] = {}
        self._news = asyncio.Event()

    def notice(self) -> None:
        """There is something new to look at."""
        self._news.set()

    def cancel(self, scope: Scope) -> None:
        """Nobody waits any longer for what the model finds about this user; its entries are tried again, if they stay.

        Storing is not interrupted: it goes on in a thread, and what comes next has to wait for it.
        """
        if task := self._asking.get(scope.key):
            task.cancel()

    async def run(self) -> None:
        """Works until cancelled."""
        while True:
            self._news.clear()
            await self._start_all()
            try:
                async with asyncio.timeout(_IDLE_S):
                    await self._news.wait()
            except TimeoutError:
                continue

    async def flush(self) -> None:
        """Looks at everything that waits now, whatever it waits for, once."""
        last = await asyncio.to_thread(self._journal.last_seq)
        await asyncio.to_thread(self._journal.hasten)
        while await asyncio.to_thread(self._journal.unsettled, last):
            await self._start_all()
            if not self._at_work:
                return
            await asyncio.wait(self._at_work.values(), return_when=asyncio.FIRST_COMPLETED)

    async def _start_all(self) -> None:
        """As many users as may be worked for at the same time."""
        while len(self._at_work) < self._concurrency:
            try:
                entries = await asyncio.to_thread(self._journal.take_user, _AT_ONCE, busy=list(self._at_work))
            except JournalError as exc:
                log.warning("learning_failed", reason=f"journal: {exc}")
                return
            if not entries:
                return
            key = entries[0].user_key
            self._at_work[key] = self._tasks.spawn(self._work(key, entries), name="learn")

    async def _work(self, key: str, entries: list[Entry]) -> None:
        keeping = self._tasks.spawn(self._keep(key), name="keep-user")
        try:
            for _, group in groupby(entries, key=lambda entry: entry.exchange.conversation_id):
                if not await self._look_at(list(group)):
                    return  # order: what follows waits, too
        finally:
            keeping.cancel()
            try:
                await asyncio.to_thread(self._journal.release_user, key)
            except JournalError as exc:  # the user is free after a while in any case
                log.warning("learning_failed", reason=f"journal: {exc}")
            finally:
                del self._at_work[key]
                self._news.set()

    async def _keep(self, key: str) -> None:
        """Says that the user is being worked for; stops the work when another keeper has taken it over."""
        while True:
            await asyncio.sleep(_KEEP_EVERY_S)
            try:
                ours = await asyncio.to_thread(self._journal.keep_user, key)
            except JournalError as exc:
                log.warning("learning_failed", reason=f"journal: {exc}")
                continue
            if not ours and key in self._asking:
                self._asking[key].cancel()

    async def _look_at(self, entries: list[Entry]) -> bool:
        """One conversation's new exchanges. Whether they are settled."""
        failure = ExtractionError("something unforeseen; the keeper's log says what")
        with self._fail_open("extract"):
            try:
                await self._learn(entries)
            except ExtractionError as exc:
                failure = exc
            except (StoreError, EmbedderError) as exc:
                failure = ExtractionError(str(exc))
            else:
                await asyncio.to_thread(self._journal.done, [entry.seq for entry in entries])
                return True
        with self._fail_open("postpone"):
            await self._put_off(entries, failure)
        return False

    async def _put_off(self, entries: list[Entry], failure: ExtractionError) -> None:
        reason = str(failure)
        log.warning("extraction_failed", reason=reason, attempts=entries[0].attempts + 1)
        spent = [entry.seq for entry in entries if failure.counted and entry.attempts + 1 >= self._max_attempts]
        if spent:
            await asyncio.to_thread(self._journal.park, spent, reason, _KIND, counted=True)
        left = [entry.seq for entry in entries if entry.seq not in spent]
        if left:
            wait_s = delay(entries[0].attempts, first_s=_FIRST_DELAY_S, most_s=_LONGEST_DELAY_S)
            wait_s = max(wait_s, failure.after_s or 0.0)
            await asyncio.to_thread(self._journal.postpone, left, reason, wait_s, counted=failure.counted)

    async def _learn(self, entries: list[Entry]) -> None:
        scope = entries[0].exchange.scope
        async with self._memories.writing(scope):
            shelf = await self._memories.shelf(scope)
            batch = await self._read(shelf, scope, [entry.exchange for entry in entries])
        if not any(said.role == "user" and not said.context for said in batch.messages):
            return
        extraction = await self._ask(scope, batch)
        async with self._memories.writing(scope):
            await self._memories.learn_facts(scope, extraction)

    async def _ask(self, scope: Scope, batch: Batch) -> Extraction:
        asking = self._asking[scope.key] = self._tasks.spawn(self._extract(scope, batch), name="ask", awaited=True)
        try:
            await asyncio.wait((asking,))
        finally:
            del self._asking[scope.key]
            asking.cancel()  # does nothing to one that has ended
        if asking.cancelled():
            raise ExtractionError("something of this user was erased, or is done by another keeper", counted=False)
        found: Extraction = asking.result()
        return found

    async def _read(self, shelf: Shelf, scope: Scope, exchanges: Sequence[Exchange]) -> Batch:
        """What is still kept of *exchanges*, in what it was said, beside what it may concern."""
        new = [item for exchange in exchanges for item in _find_turns(shelf, exchange)]
        before = _precede(shelf, new[0]) if new else []
        facts = [item for item in shelf if item.kind == "fact" and item.live]
        facts = sorted(facts, key=lambda item: item.at)[-_COMPARED:]
        wanted = list(dict.fromkeys(item.id for item in (*before, *new, *facts)))
        found = {record.memory.id: record.memory for record in await self._memories.fetch(scope, wanted)}
        messages = [_say(found[item.id], context=True) for item in before if item.id in found]
        messages += [_say(found[item.id]) for item in new if item.id in found]
        known = _choose(messages, [(item, found[item.id]) for item in facts if item.id in found])
        blocks = "\n".join(exchange.block for exchange in exchanges if exchange.block)
        return Batch(messages, blocks, known, tuple(one.traceparent for one in exchanges if one.traceparent))


def _find_turns(shelf: Shelf, exchange: Exchange) -> list[Item]:
    """Those of an exchange's messages that are kept and hold."""
    place = find_place(shelf, exchange)
    places = range(place.index, place.index + len(exchange.messages))
    return [
        item
        for item in _list_conversation(shelf, place.conversation_id)
        if item.index in places and item.at == exchange.at
    ]


def _precede(shelf: Shelf, first: Item) -> list[Item]:
    return [item for item in _list_conversation(shelf, first.conversation_id) if item.index < first.index][-_CONTEXT:]


def _list_conversation(shelf: Shelf, conversation_id: str) -> list[Item]:
    """What holds of a conversation, in order."""
    turns = [item for item in shelf.with_conversation(conversation_id) if item.live]
    return sorted(turns, key=lambda item: item.index)


def _say(memory: Memory, *, context: bool = False) -> Said:
    return Said(
        conversation_id=memory.conversation_id,
        index=memory.message_index,
        role="assistant" if memory.role == "assistant" else "user",
        text=memory.text,
        at=memory.created_at,
        name=memory.name,
        context=context,
    )


def _choose(messages: Sequence[Said], facts: Sequence[tuple[Item, Memory]]) -> list[Known]:
    """The facts that have most words in common with what was said; of equal ones the newest."""
    said = {term for message in messages if message.role == "user" for term in terms(message.text)}
    ranked = sorted(facts, key=lambda pair: (len(said & set(terms(pair[1].text))), pair[0].at), reverse=True)
    return [Known(item.id, memory.text, next(iter(item.topics), ""), item.at) for item, memory in ranked[:_KNOWN]]
