"""The read path: loading users, following changes, deadlines."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from structlog.testing import capture_logs

from proxy.embedders.base import NoEmbedder
from proxy.errors import EmbedderError, KeeperError
from proxy.keeper import wire
from proxy.models import Memory, Message, Pack, Record, Scope
from proxy.observe.failopen import FailOpen
from proxy.observe.metrics import Metrics
from proxy.packing import make_pack
from proxy.recall import service
from proxy.recall.service import RecallService, Recollection
from proxy.tasks import Tasks
from proxy.text import ANALYSIS, pack_terms
from tests.doubles import FailingEmbedder, HeldEmbedder

ADA, BOB = Scope("ada"), Scope("bob")
LONG_S = 60.0


def pack(*texts: str, user: str = "ada") -> Pack:
    """Memories of these texts, each with its text as id."""
    at = datetime(2024, 3, 1, tzinfo=UTC)
    memories = [Memory(text, user, "turn", "user", text, at, "c", index) for index, text in enumerate(texts)]
    return make_pack([Record(memory, b"", pack_terms(memory.text), ANALYSIS) for memory in memories])


class Keeper:
    """Answers loads when the test says so."""

    def __init__(self) -> None:
        self.on_change: Any = None
        self.on_connect: Any = None
        self.loads: list[Scope] = []
        self.answers: list[asyncio.Future[Pack]] = []
        self.asked: asyncio.Queue[Scope] = asyncio.Queue()

    async def call(self, request: wire.Load) -> Pack:
        self.loads.append(request.scope)
        self.answers.append(asyncio.get_running_loop().create_future())
        self.asked.put_nowait(request.scope)
        return await self.answers[-1]


class World:
    """A recall service with a keeper under control."""

    def __init__(self, embedder: Any = None) -> None:
        self.keeper = Keeper()
        self.tasks = Tasks()
        self.metrics = Metrics()
        self.recall = RecallService(
            self.keeper,  # type: ignore[arg-type]  # what the service uses of it
            embedder or NoEmbedder(),
            lambda text: len(text) // 4,
            FailOpen(self.metrics),
            self.tasks,
        )

    def ask(self, text: str, scope: Scope = ADA, *, deadline_s: float = LONG_S) -> asyncio.Task[Recollection]:
        asking = self.recall.recall(scope, [Message("user", text)], budget_tokens=500, deadline_s=deadline_s)
        return self.tasks.spawn(asking, name="recall", awaited=True)

    async def loading(self) -> None:
        """Returns when the next load is under way."""
        await self.keeper.asked.get()

    async def warm(self, *texts: str) -> None:
        """Makes ADA a user whose memories are here."""
        asking = self.ask("Hello!")
        await self.loading()
        self.keeper.answers[0].set_result(pack(*texts))
        await asking


def texts_of(recollection: Recollection) -> Sequence[str]:
    return [memory.text for memory in recollection.block.memories] if recollection.block else []


async def test_a_user_is_loaded_once_however_many_ask() -> None:
    """Requests that come while the memories are on their way share them."""
    world = World()
    asking = [world.ask("Where is my bicycle?") for _ in range(3)]
    await world.loading()
    world.keeper.answers[0].set_result(pack("The bicycle is in the cellar."))
    for recollection in await asyncio.gather(*asking):
        assert texts_of(recollection) == ["The bicycle is in the cellar."]
    assert (await world.ask("Where is my bicycle?")).status == "injected"
    assert world.keeper.loads == [ADA]


async def test_a_load_that_is_late_serves_the_next_request() -> None:
    """The deadline ends the wait and not the loading."""
    world = World()
    assert (await world.ask("Where is my bicycle?", deadline_s=0.001)).status == "timeout"
    world.keeper.answers[0].set_result(pack("The bicycle is in the cellar."))
    await world.tasks.drain()
    assert (await world.ask("Where is my bicycle?")).status == "injected"
    assert world.keeper.loads == [ADA]


async def test_a_load_that_fails_is_tried_again() -> None:
    """Everybody who waits hears of it, nothing is logged twice, and the next request asks anew."""
    world = World()
    with capture_logs() as logs:
        asking = [world.ask("Where is my bicycle?") for _ in range(2)]
        await world.loading()
        world.keeper.answers[0].set_exception(KeeperError("gone"))
        for result in await asyncio.gather(*asking, return_exceptions=True):
            assert isinstance(result, KeeperError)
    assert logs == []
    again = world.ask("Where is my bicycle?")
    await world.loading()
    world.keeper.answers[1].set_result(pack("The bicycle is in the cellar."))
    assert (await again).status == "injected"


async def test_changes_during_a_load_are_not_lost() -> None:
    """What is announced while the memories are on their way is part of them, whether or not they had it already."""
    world = World()
    asking = world.ask("Where is my bicycle?")
    await world.loading()
    world.keeper.on_change(wire.Changed(ADA, pack("The bicycle is in the garden.")))
    world.keeper.on_change(wire.Changed(ADA, removed=["The bicycle is in the cellar."]))
    world.keeper.on_change(wire.Changed(BOB, pack("The bicycle is Bob's.", user="bob")))
    world.keeper.answers[0].set_result(pack("The bicycle is in the cellar."))
    await asking
    assert texts_of(await world.ask("Where is my bicycle?")) == ["The bicycle is in the garden."]


async def test_an_erasure_during_a_load_wins() -> None:
    """Memories that were read before their user was erased are not used after it."""
    world = World()
    asking = world.ask("Hello!")
    await world.loading()
    world.keeper.on_change(wire.Changed(ADA, everything=True))
    world.keeper.answers[0].set_result(pack("The bicycle is in the cellar."))
    await asking
    again = world.ask("Where is my bicycle?")
    await world.loading()
    world.keeper.answers[1].set_result(pack())
    assert (await again).status == "empty"


async def test_warm_users_follow_changes() -> None:
    """Additions and removals show in the next recall."""
    world = World()
    await world.warm("The bicycle is in the cellar.")
    world.keeper.on_change(wire.Changed(ADA, pack("The car is in the street.")))
    assert "The car is in the street." in texts_of(await world.ask("Where is my car?"))
    world.keeper.on_change(wire.Changed(ADA, removed=["The car is in the street."]))
    assert "The car is in the street." not in texts_of(await world.ask("Where is my car?"))


async def test_a_new_connection_forgets_everything() -> None:
    """What changed while there was none is unknown, so all is loaded anew."""
    world = World()
    await world.warm("The bicycle is in the cellar.")
    world.keeper.on_connect()
    assert len(world.recall.sets) == 0


async def test_a_change_that_does_not_fit_is_loaded_anew() -> None:
    """A broken announcement costs the working set, and is counted."""
    world = World()
    await world.warm("The bicycle is in the cellar.")
    broken = pack("The car is in the street.")
    world.keeper.on_change(wire.Changed(ADA, Pack(broken.memories, 0, b"", b"", b"", b"")))
    assert len(world.recall.sets) == 0
    assert world.metrics.registry.get_sample_value("memory_proxy_memory_errors_total", {"step": "follow"}) == 1


async def test_what_the_request_says_itself_is_not_repeated() -> None:
    """A memory whose text stands in the dialogue adds nothing."""
    world = World()
    await world.warm("The bicycle is in the cellar.", "The bicycle is red.")
    dialogue = [Message("user", "The bicycle is red."), Message("assistant", "Nice."), Message("user", "My bicycle?")]
    found = await world.recall.recall(ADA, dialogue, budget_tokens=500, deadline_s=LONG_S)
    assert texts_of(found) == ["The bicycle is in the cellar."]


async def test_a_slow_embedder_costs_its_part_only() -> None:
    """At the deadline words alone decide, and the embedder's work is cancelled."""
    embedder = HeldEmbedder()
    world = World(embedder)
    embedder.free.set()
    await world.warm("The bicycle is in the cellar.")
    embedder.free.clear()
    assert (await world.ask("Where is my bicycle?", deadline_s=0.001)).status == "injected"
    assert (await world.ask("What about elephants?", deadline_s=0.001)).status == "timeout"
    await world.tasks.drain()
    assert embedder.cancelled.is_set()


async def test_a_failing_embedder_costs_its_part_only() -> None:
    """``error`` is said only where words find nothing."""
    embedder = FailingEmbedder(None)
    world = World(embedder)
    await world.warm("The bicycle is in the cellar.")
    embedder.failure = lambda: EmbedderError("no")
    with capture_logs():
        assert (await world.ask("Where is my bicycle?")).status == "injected"
        assert (await world.ask("What about elephants?")).status == "error"


async def test_a_request_that_is_cancelled_leaves_the_load_alone() -> None:
    """Others may wait for it, and the next one wants it; the question to the embedder is withdrawn."""
    embedder = HeldEmbedder()
    world = World(embedder)
    asking = world.ask("Where is my bicycle?")
    await world.loading()
    asking.cancel()
    await asyncio.wait((asking,))
    world.keeper.answers[0].set_result(pack("The bicycle is in the cellar."))
    await world.tasks.drain()
    assert embedder.cancelled.is_set()
    assert len(world.recall.sets) == 1


async def test_users_leave_when_memory_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    """The least recently used one is loaded again when it comes back."""
    monkeypatch.setattr(service, "WORKING_SETS_BYTES", 3000)
    world = World()
    await world.warm("The bicycle is in the cellar. " * 20)
    other = world.ask("Hello!", BOB)
    await world.loading()
    world.keeper.answers[1].set_result(pack("The bicycle is Bob's. " * 60, user="bob"))
    await other
    assert world.recall.sets.get(ADA) is None
    assert world.recall.sets.get(BOB) is not None
