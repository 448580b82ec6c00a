"""The read path without other processes: a keeper that answers when the test says so, and conversations."""

import asyncio
import copy
from collections.abc import AsyncGenerator, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from proxy.embedders.base import NoEmbedder
from proxy.errors import KeeperError
from proxy.keeper import wire
from proxy.models import Memory, Message, Pack, Record, Scope
from proxy.observe.failopen import FailOpen
from proxy.observe.metrics import Metrics
from proxy.packing import make_pack
from proxy.recall.continuation import Placement
from proxy.recall.service import RecallService, Recollection
from proxy.tasks import Tasks
from proxy.text import ANALYSIS, pack_terms
from tests.harness.upstream import within

ADA: Final = Scope("ada")
BOB: Final = Scope("bob")
# What no test waits for, and what has passed by the time that anything is asked.
PATIENCE_S: Final = 60.0
AT_ONCE_S: Final = 0.0

DOG: Final = "Biscuit the beagle sleeps on a blanket in the kitchen."
BICYCLE: Final = "The bicycle is in the cellar behind the boxes."
PIANO: Final = "The piano was tuned by Mister Hofer in spring."
WHERE_DOG: Final = "Where does Biscuit the beagle sleep?"
WHERE_BICYCLE: Final = "Where did I leave the bicycle, in which cellar?"
WHO_PIANO: Final = "Who tuned the piano?"


def memory(text: str, *, user: str = "ada", day: int = 0, superseded_by: str | None = None) -> Memory:
    """A memory with its text as id, and a conversation of its own."""
    at = datetime(2024, 3, 1, tzinfo=UTC) + timedelta(days=day)
    return Memory(text, user, "turn", "user", text, at, text, 0, superseded_by=superseded_by)


def pack(*said: str | Memory, user: str = "ada", vector: bytes = b"") -> Pack:
    """Memories of these texts, each of a later day than the one before."""
    memories = [memory(one, user=user, day=day) if isinstance(one, str) else one for day, one in enumerate(said)]
    return make_pack([Record(one, vector, pack_terms(one.text), ANALYSIS, "test") for one in memories])


def count(text: str) -> int:
    """Tokens, four characters each."""
    return len(text) // 4


class Keeper:
    """Answers loads when the test says so."""

    def __init__(self) -> None:
        self.on_change: Callable[[wire.Changed], None] = lambda _: None
        self.on_sync: Callable[[wire.Sync], None] = lambda _: None
        self.on_connect: Callable[[], None] = lambda: None
        self.loads: list[Scope] = []
        self._under_way: asyncio.Queue[asyncio.Queue[wire.Part | KeeperError]] = asyncio.Queue()
        self._ready: list[wire.Part] = []

    def prepare(self, *parts: Pack, left: int = 0) -> None:
        """The next load gets these parts the moment it asks; it is not over while some memories are *left*."""
        self._ready = [wire.Part(part, left + len(parts) - number) for number, part in enumerate(parts, 1)]

    async def load(self, scope: Scope) -> AsyncGenerator[wire.Part, None]:
        self.loads.append(scope)
        answers: asyncio.Queue[wire.Part | KeeperError] = asyncio.Queue()
        for part in self._ready:
            answers.put_nowait(part)
        self._ready = []
        self._under_way.put_nowait(answers)
        left = 1
        while left:
            answer = await answers.get()
            if isinstance(answer, KeeperError):
                raise answer
            left = answer.left
            yield answer

    async def asked(self) -> "Answering":
        """The oldest load that the test has not dealt with, as soon as there is one."""
        answers: asyncio.Queue[wire.Part | KeeperError] = await within(self._under_way.get())
        return Answering(answers)


class Answering:
    """One load, in the keeper's hands."""

    def __init__(self, answers: asyncio.Queue[wire.Part | KeeperError]) -> None:
        self._answers = answers

    def give(self, *said: str | Memory, left: int = 0) -> None:
        self._answers.put_nowait(wire.Part(pack(*said), left))

    def give_pack(self, part: Pack, left: int = 0) -> None:
        self._answers.put_nowait(wire.Part(part, left))

    def fail(self) -> None:
        self._answers.put_nowait(KeeperError("gone"))


class World:
    """A recall service with a keeper under control. *options* are the service's own."""

    def __init__(self, embedder: Any = None, *, placement: Placement = "system", **options: Any) -> None:
        self.keeper = Keeper()
        self.tasks = Tasks()
        self.metrics = Metrics()
        self.service = RecallService(
            self.keeper,  # type: ignore[arg-type]  # what the service uses of it
            embedder or NoEmbedder(),
            count,
            FailOpen(self.metrics),
            self.tasks,
            placement=placement,
            **options,
        )

    def ask(self, text: str, scope: Scope = ADA, *, deadline_s: float = PATIENCE_S) -> asyncio.Task[Recollection]:
        """A conversation's first request."""
        return self.tasks.spawn(Chat(self, scope).recall(text, deadline_s=deadline_s), name="recall", awaited=True)

    async def warm(self, *said: str | Memory, scope: Scope = ADA, vector: bytes = b"") -> None:
        """Makes *scope* a user whose memories, these, are here."""
        self.keeper.prepare(pack(*said, user=scope.user_id, vector=vector))
        assert (await self.ask("Hello!", scope)).block is None
        await self.keeper.asked()

    def failures(self, step: str) -> float:
        """How often *step* has failed."""
        value = self.metrics.registry.get_sample_value("memory_proxy_memory_errors_total", {"step": step})
        return value or 0.0

    async def settle(self) -> None:
        """Returns when nothing is under way in the background."""
        await within(self.tasks.drain())


async def knowing(placement: Placement = "system") -> World:
    """ADA has spoken of three things that have nothing to do with each other."""
    world = World(placement=placement)
    await world.warm(DOG, BICYCLE, PIANO)
    return world


class Chat:
    """A conversation as a client keeps it: each request sends all of it."""

    def __init__(
        self, world: World, scope: Scope = ADA, *, budget_tokens: int = 500, conversation_id: str | None = None
    ) -> None:
        self.dialogue: list[Message] = []
        self._world = world
        self._scope = scope
        self._budget_tokens = budget_tokens
        self._conversation_id = conversation_id

    def with_dialogue(self, dialogue: Sequence[Message]) -> "Chat":
        """The same conversation of a client that has thrown some of it away, or changed it."""
        chat = copy.copy(self)
        chat.dialogue = list(dialogue)
        return chat

    async def recall(self, text: str, *, deadline_s: float = PATIENCE_S, sticky: bool = True) -> Recollection:
        """What the next request gets if the user says *text*, without the conversation going on."""
        return await self._world.service.recall(
            self._scope,
            [*self.dialogue, Message("user", text)],
            budget_tokens=self._budget_tokens,
            deadline_s=deadline_s,
            conversation_id=self._conversation_id,
            sticky=sticky,
        )

    async def say(self, text: str, *, reply: str = "All right.", deadline_s: float = PATIENCE_S) -> Recollection:
        """The same, and the conversation goes on with *reply*."""
        recollection = await self.recall(text, deadline_s=deadline_s)
        self.dialogue += [Message("user", text), Message("assistant", reply)]
        return recollection


def texts_of(recollection: Recollection) -> list[str]:
    """The memories of a block, in the order of its lines."""
    return [one.text for one in recollection.block.memories] if recollection.block else []


def block_of(recollection: Recollection) -> str:
    """The text of a block that must be there."""
    assert recollection.block is not None
    return recollection.block.text


def lines_of(recollection: Recollection) -> str:
    """The block but for its closing words, which are not cached anyway once something is appended."""
    text = block_of(recollection)
    return text[: text.rindex("\n</memory>")]
