"""Users on their way from the keeper: loaded once, in parts, while what they are changes."""

import asyncio

import msgspec
import numpy as np
import pytest
from structlog.testing import capture_logs

from proxy.embedders.base import pack_vector
from proxy.errors import KeeperError
from proxy.keeper import wire
from proxy.models import EmbeddingModel, Pack
from proxy.recall import loading
from tests.readpath import (
    ADA,
    AT_ONCE_S,
    BICYCLE,
    BOB,
    DOG,
    PIANO,
    WHERE_BICYCLE,
    WHERE_DOG,
    Chat,
    World,
    pack,
    texts_of,
)

GARDEN = "The bicycle is in the garden now, not in the cellar."
BROKEN = Pack(pack(DOG).memories, 0, b"", b"", b"", b"")


async def test_a_user_is_loaded_once_however_many_ask() -> None:
    """Requests that come while the memories are on their way share them."""
    world = World()
    asking = [world.ask(WHERE_BICYCLE) for _ in range(3)]
    (await world.keeper.asked()).give(BICYCLE)
    for recollection in await asyncio.gather(*asking):
        assert texts_of(recollection) == [BICYCLE]
    assert texts_of(await world.ask(WHERE_BICYCLE)) == [BICYCLE]
    assert world.keeper.loads == [ADA]


async def test_users_are_loaded_side_by_side() -> None:
    """Nobody waits for somebody else's memories."""
    world = World()
    slow, quick = world.ask(WHERE_DOG, ADA), world.ask(WHERE_DOG, BOB)
    held = await world.keeper.asked()
    (await world.keeper.asked()).give(DOG)
    assert texts_of(await quick) == [DOG]
    held.give(PIANO)
    assert texts_of(await slow) == []


async def test_a_load_that_fails_is_tried_again() -> None:
    """Everybody who waits hears of it, nothing is logged twice, and the next request asks anew."""
    world = World()
    with capture_logs() as logs:
        asking = [world.ask(WHERE_BICYCLE) for _ in range(2)]
        (await world.keeper.asked()).fail()
        for result in await asyncio.gather(*asking, return_exceptions=True):
            assert isinstance(result, KeeperError)
    assert logs == []
    again = world.ask(WHERE_BICYCLE)
    (await world.keeper.asked()).give(BICYCLE)
    assert texts_of(await again) == [BICYCLE]


async def test_parts_make_a_whole() -> None:
    """A user comes in as many parts as the keeper likes, and is kept once all are here."""
    world = World()
    asking = world.ask(WHERE_BICYCLE)
    keeper = await world.keeper.asked()
    keeper.give(PIANO, left=2)
    keeper.give(DOG, left=1)
    assert len(world.service.sets) == 0
    keeper.give(BICYCLE)
    assert texts_of(await asking) == [BICYCLE]
    assert len(world.service.sets) == 1
    assert texts_of(await world.ask(WHERE_DOG)) == [DOG]


async def test_changes_during_a_load_are_not_lost() -> None:
    """What is announced while the memories are on their way is part of them, whether or not they had it already."""
    world = World()
    asking = world.ask(WHERE_BICYCLE)
    keeper = await world.keeper.asked()
    world.keeper.on_change(wire.Changed(ADA, pack(GARDEN)))
    world.keeper.on_change(wire.Changed(ADA, removed=[BICYCLE]))
    world.keeper.on_change(wire.Changed(BOB, pack("The bicycle is Bob's.", user="bob")))
    keeper.give(BICYCLE, GARDEN)
    assert texts_of(await asking) == [GARDEN]
    assert texts_of(await world.ask(WHERE_BICYCLE)) == [GARDEN]


async def test_changes_between_two_parts_are_not_lost() -> None:
    """What has arrived is brought up to date, what is still to come as well."""
    world = World()
    world.keeper.prepare(pack(DOG), left=3)
    assert texts_of(await world.ask(WHERE_DOG, deadline_s=AT_ONCE_S)) == [DOG]
    world.keeper.on_change(wire.Changed(ADA, pack(GARDEN), removed=[DOG]))
    (await world.keeper.asked()).give(DOG, GARDEN, PIANO)
    await world.settle()
    assert texts_of(await world.ask(WHERE_DOG)) == []
    assert texts_of(await world.ask(WHERE_BICYCLE)) == [GARDEN]
    assert world.keeper.loads == [ADA]


async def test_an_erasure_during_a_load_wins() -> None:
    """Memories that were read before their user was erased are not used after it, whichever part they came with."""
    world = World()
    world.keeper.prepare(pack(DOG), left=1)
    asking = world.ask(WHERE_DOG)
    keeper = await world.keeper.asked()
    world.keeper.on_change(wire.Changed(ADA, everything=True))
    keeper.give(BICYCLE)
    assert texts_of(await asking) == []
    for question in (WHERE_DOG, WHERE_BICYCLE):
        assert texts_of(await world.ask(question)) == []


async def test_warm_users_follow_changes() -> None:
    """Additions and removals show in the next recall, without a load."""
    world = World()
    await world.warm(BICYCLE)
    world.keeper.on_change(wire.Changed(ADA, pack(DOG)))
    assert texts_of(await world.ask(WHERE_DOG)) == [DOG]
    world.keeper.on_change(wire.Changed(ADA, removed=[DOG]))
    assert texts_of(await world.ask(WHERE_DOG)) == []
    assert world.keeper.loads == [ADA]


async def test_an_erased_user_is_nobody_here() -> None:
    """And is loaded anew, in case they come back."""
    world = World()
    await world.warm(DOG)
    world.keeper.on_change(wire.Changed(ADA, everything=True))
    assert len(world.service.sets) == 0
    asking = world.ask(WHERE_DOG)
    (await world.keeper.asked()).give()
    assert (await asking).status == "empty"


async def test_a_new_connection_forgets_everything() -> None:
    """What changed while there was none is unknown, so all is loaded anew."""
    world = World()
    await world.warm(BICYCLE)
    world.keeper.on_connect()
    assert len(world.service.sets) == 0


async def test_a_change_that_does_not_fit_is_loaded_anew() -> None:
    """A broken announcement costs the working set, and is counted."""
    world = World()
    await world.warm(BICYCLE)
    with capture_logs():
        world.keeper.on_change(wire.Changed(ADA, BROKEN))
    assert len(world.service.sets) == 0
    assert world.failures("follow") == 1


async def test_a_change_that_does_not_fit_costs_the_load_under_way() -> None:
    """What it was part of is not kept, and the next request loads anew."""
    world = World()
    asking = world.ask(WHERE_BICYCLE)
    keeper = await world.keeper.asked()
    with capture_logs():
        world.keeper.on_change(wire.Changed(ADA, BROKEN))
    again = world.ask(WHERE_BICYCLE)
    anew = await world.keeper.asked()
    keeper.give()
    await asking
    assert len(world.service.sets) == 0
    anew.give(BICYCLE)
    assert texts_of(await again) == [BICYCLE]
    assert len(world.service.sets) == 1


async def test_a_part_that_does_not_fit_fails_the_load() -> None:
    """It is a failure of memory like any other, and nothing of it is kept."""
    world = World()
    asking = world.ask(WHERE_BICYCLE)
    (await world.keeper.asked()).give_pack(BROKEN)
    with pytest.raises(ValueError, match="do not"):
        await asking
    assert len(world.service.sets) == 0


async def test_users_leave_when_memory_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    """The least recently used one is loaded again when it comes back."""
    monkeypatch.setattr(loading, "WORKING_SETS_BYTES", 8_000)
    world = World()
    await world.warm(BICYCLE * 100)
    await world.warm(DOG * 100, scope=BOB)
    assert world.service.sets.get(ADA) is None
    assert world.service.sets.get(BOB) is not None
    world.keeper.prepare(pack(BICYCLE))
    assert texts_of(await world.ask(WHERE_BICYCLE)) == [BICYCLE]


async def test_what_may_be_stale_is_loaded_anew() -> None:
    """Users that are named, or all; what is on its way for one of them is not kept."""
    world = World(stale_s=60)
    world.keeper.on_sync(wire.InTouch(0))
    await world.warm(DOG)
    await world.warm("Bob's piano.", scope=BOB)
    world.keeper.on_sync(wire.Stale([ADA.key]))
    asking = world.ask(WHERE_DOG)
    held = await world.keeper.asked()
    world.keeper.on_sync(wire.Stale([ADA.key]))
    held.give(DOG)
    assert texts_of(await asking) == [DOG]
    assert len(world.service.sets) == 1
    again = world.ask(WHERE_DOG)
    (await world.keeper.asked()).give(GARDEN)
    assert texts_of(await again) == []
    world.keeper.on_sync(wire.Stale())
    assert len(world.service.sets) == 0
    assert world.keeper.loads == [ADA, BOB, ADA, ADA]


async def test_nothing_is_used_for_longer_than_it_is_true() -> None:
    """A keeper that has said for too long that it hears the others is not there, or does not: nothing is relied on."""
    world = World(stale_s=60)
    # Before the first sign nothing is kept for the next request.
    await world.warm(DOG)
    asking = world.ask(WHERE_DOG)
    (await world.keeper.asked()).give(DOG)
    assert texts_of(await asking) == [DOG]
    world.keeper.on_sync(wire.InTouch(0))
    chat = Chat(world)
    assert texts_of(await chat.say(WHERE_DOG)) == [DOG]
    assert texts_of(await chat.say("Thanks!")) == [DOG]
    assert world.keeper.loads == [ADA, ADA]
    # What was heard of others is older than it may be, and with it what the conversation was given.
    world.keeper.on_sync(wire.InTouch(61))
    late = await chat.say("And now?", deadline_s=AT_ONCE_S)
    assert (late.status, late.block) == ("timeout", None)
    assert len(world.service.sets) == 0
    (await world.keeper.asked()).give()
    await world.settle()


async def test_alone_everything_is_true() -> None:
    """Where no other replica writes, nobody has to say so."""
    world = World()
    await world.warm(DOG)
    assert texts_of(await world.ask(WHERE_DOG)) == [DOG]
    assert world.keeper.loads == [ADA]


async def test_vectors_of_two_models_do_not_meet() -> None:
    """Where a change comes with vectors of another model, the user is loaded anew, and asked for by that model."""
    one, other = EmbeddingModel("local", "one", 2), EmbeddingModel("local", "other", 2)
    vector = pack_vector(np.array([1, 0], np.float32))

    def tagged(model: EmbeddingModel, *said: str) -> Pack:
        return msgspec.structs.replace(pack(*said, vector=vector), model=model)

    world = World()
    world.keeper.prepare(tagged(one, BICYCLE))
    await world.ask(WHERE_BICYCLE)
    world.keeper.on_change(wire.Changed(ADA, tagged(one, DOG)))
    assert texts_of(await world.ask(WHERE_DOG)) == [DOG]
    world.keeper.on_change(wire.Changed(ADA, tagged(other, PIANO)))
    assert world.service.sets.get(ADA) is None
    world.keeper.prepare(tagged(other, BICYCLE, DOG, PIANO))
    assert texts_of(await world.ask(WHERE_BICYCLE)) == [BICYCLE]
    found = world.service.sets.get(ADA)
    assert found is not None
    assert (found.model, found.vectors.tolist()) == (other, [[1, 0]] * 3)
