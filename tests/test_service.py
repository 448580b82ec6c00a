"""The read path: what a request gets, by when, and what its conversation gets afterwards."""

import asyncio

import msgspec
import pytest

from proxy.errors import EmbedderError, KeeperError
from proxy.keeper import wire
from proxy.models import EmbeddingModel, Message
from tests.doubles import FailingEmbedder, HeldEmbedder
from tests.harness.upstream import within
from tests.readpath import (
    ADA,
    AT_ONCE_S,
    BICYCLE,
    BOB,
    DOG,
    PATIENCE_S,
    PIANO,
    WHERE_BICYCLE,
    WHERE_DOG,
    WHO_PIANO,
    Chat,
    World,
    block_of,
    lines_of,
    pack,
    texts_of,
)

# Of the size of HeldEmbedder's, and just like them.
VECTOR = bytes.fromhex("0038") * 4
# Shares no word with what is known: only a vector finds something.
UNWORDED = "Which animal rests near our oven?"


@pytest.mark.parametrize("thing", ["hi", "Hello!", "thanks", "Thank you!", "👍", "…"])
async def test_greetings_and_thanks_get_nothing(thing: str) -> None:
    """Whatever there is to know, nothing was asked."""
    world = World()
    await world.warm(DOG, BICYCLE)
    assert (await world.ask(thing)).status == "empty"


async def test_strangers_get_nothing() -> None:
    """A user without memories gets no block, whatever others have said and whatever is asked."""
    world = World()
    await world.warm(DOG, BICYCLE, scope=BOB)
    await world.warm()
    found = await world.ask(WHERE_DOG)
    assert (found.status, found.block, found.tail) == ("empty", None, None)


async def test_what_the_request_says_itself_is_not_repeated() -> None:
    """A memory whose text stands in the dialogue adds nothing."""
    world = World()
    await world.warm(BICYCLE, "The bicycle is red.")
    chat = Chat(world).with_dialogue([Message("user", "The bicycle is red. "), Message("assistant", "Nice.")])
    assert texts_of(await chat.say(WHERE_BICYCLE)) == [BICYCLE]


async def test_a_load_that_is_late_serves_the_next_request() -> None:
    """The deadline ends the wait and not the loading, which goes on and is not begun anew."""
    world = World()
    assert (await world.ask(WHERE_BICYCLE, deadline_s=AT_ONCE_S)).status == "timeout"
    (await world.keeper.asked()).give(BICYCLE)
    await world.settle()
    assert texts_of(await world.ask(WHERE_BICYCLE)) == [BICYCLE]
    assert world.keeper.loads == [ADA]


@pytest.mark.parametrize("placement", ["system", "tail"])
@pytest.mark.parametrize("follow_up", ["and?", "Thanks anyway.", WHO_PIANO])
async def test_what_was_late_is_in_the_next_turn(follow_up: str, placement: str) -> None:
    """The conversation's next request gets what the last one asked for, whatever it asks itself."""
    world = World(placement=placement)  # type: ignore[arg-type]
    chat = Chat(world)
    assert (await chat.say(WHERE_BICYCLE, deadline_s=AT_ONCE_S)).status == "timeout"
    (await world.keeper.asked()).give(DOG, BICYCLE, PIANO)
    await world.settle()
    found = await chat.say(follow_up)
    assert BICYCLE in texts_of(found)
    assert DOG not in texts_of(found)
    assert (PIANO in texts_of(found)) == (follow_up == WHO_PIANO)


async def test_what_was_late_is_of_its_own_conversation_only() -> None:
    """Another conversation of the user does not get what this one asked for."""
    world = World()
    assert (await Chat(world).say(WHERE_BICYCLE, deadline_s=AT_ONCE_S)).status == "timeout"
    (await world.keeper.asked()).give(BICYCLE, PIANO)
    await world.settle()
    assert texts_of(await Chat(world).say(WHO_PIANO)) == [PIANO]


async def test_what_was_late_reaches_a_conversation_known_by_its_id() -> None:
    """A client that trims its history gets it, too."""
    world = World()
    chat = Chat(world, conversation_id="c-1")
    assert (await chat.say(WHERE_BICYCLE, deadline_s=AT_ONCE_S)).status == "timeout"
    (await world.keeper.asked()).give(BICYCLE)
    await world.settle()
    del chat.dialogue[0]
    assert texts_of(await chat.say("and?")) == [BICYCLE]


async def test_what_is_late_does_not_undo_what_came_since() -> None:
    """A conversation known by its id that has gone on meanwhile keeps what it was given."""
    embedder = HeldEmbedder()
    world = World(embedder)
    await _warm_by_vector(world, embedder, DOG, BICYCLE)
    chat = Chat(world, conversation_id="c-1")
    await chat.say(UNWORDED, deadline_s=AT_ONCE_S)
    second = await chat.say(WHERE_BICYCLE, deadline_s=AT_ONCE_S)
    assert texts_of(second) == [BICYCLE]
    embedder.free.set()
    await world.settle()
    del chat.dialogue[0]
    assert BICYCLE in texts_of(await chat.say("Thanks!"))


async def test_parts_that_are_there_serve() -> None:
    """What has arrived by the deadline is injected; what the rest adds comes with the next request."""
    world = World()
    chat = Chat(world)
    world.keeper.prepare(pack(DOG, PIANO, "The bicycle cellar is damp."), left=1)
    first = await chat.say("Where in the cellar is the bicycle, behind boxes?", deadline_s=AT_ONCE_S)
    assert (first.status, texts_of(first)) == ("injected", ["The bicycle cellar is damp."])
    rest = [BICYCLE, *(f"In the cellar, behind box {n}, stands the bicycle of friend {n}." for n in range(4))]
    (await world.keeper.asked()).give(*rest)
    await world.settle()
    second = await chat.say("and?")
    assert texts_of(second)[0] == "The bicycle cellar is damp."
    assert set(rest) <= set(texts_of(second))
    assert block_of(second).startswith(lines_of(first))


async def test_parts_with_nothing_to_say_are_a_timeout() -> None:
    """Nobody knows what the other parts would have said."""
    world = World()
    world.keeper.prepare(pack(PIANO), left=1)
    assert (await world.ask(WHERE_DOG, deadline_s=AT_ONCE_S)).status == "timeout"
    (await world.keeper.asked()).give(DOG)
    await world.settle()


async def test_a_block_survives_a_load_that_is_late() -> None:
    """A conversation whose user has to be loaded anew has its block meanwhile, to the byte, and after that."""
    world = World()
    await world.warm(DOG)
    chat = Chat(world)
    block = block_of(await chat.say(WHERE_DOG))
    world.keeper.on_connect()
    late = await chat.say("Thanks!", deadline_s=AT_ONCE_S)
    assert (late.status, block_of(late)) == ("injected", block)
    (await world.keeper.asked()).give(DOG)
    await world.settle()
    assert block_of(await chat.say("Thanks again!")) == block


async def test_a_keeper_that_is_away_is_an_error() -> None:
    """It is raised where the memories are not here, also when it goes away between two parts."""
    world = World()
    world.keeper.prepare(pack(BICYCLE), left=1)
    asking = world.ask(WHERE_BICYCLE)
    (await world.keeper.asked()).fail()
    with pytest.raises(KeeperError):
        await asking


async def test_a_keeper_that_goes_away_after_the_deadline() -> None:
    """What had arrived has served; the failure is counted once, and the next request loads anew."""
    world = World()
    world.keeper.prepare(pack(BICYCLE), left=1)
    assert texts_of(await world.ask(WHERE_BICYCLE, deadline_s=AT_ONCE_S)) == [BICYCLE]
    (await world.keeper.asked()).fail()
    await world.settle()
    assert world.failures("late") == 1
    world.keeper.prepare(pack(BICYCLE))
    assert texts_of(await world.ask(WHERE_BICYCLE)) == [BICYCLE]
    assert world.keeper.loads == [ADA, ADA]


async def _warm_by_vector(world: World, embedder: HeldEmbedder, *said: str) -> None:
    """ADA is warm, all memories are near whatever is asked, and the embedder holds from now on."""
    embedder.free.set()
    await world.warm(*said, vector=VECTOR)
    await world.settle()
    embedder.free.clear()
    embedder.entered.clear()


async def test_a_late_vector_leaves_words_alone() -> None:
    """At the deadline words decide; ``timeout`` is said only where they find nothing."""
    embedder = HeldEmbedder()
    world = World(embedder)
    await _warm_by_vector(world, embedder, DOG)
    found = await within(world.ask(WHERE_DOG, deadline_s=AT_ONCE_S))
    assert (found.status, texts_of(found)) == ("injected", [DOG])
    assert (await within(world.ask(UNWORDED, deadline_s=AT_ONCE_S))).status == "timeout"
    assert not embedder.cancelled.is_set()
    embedder.free.set()
    await world.settle()


async def test_what_a_late_vector_finds_is_in_the_next_turn() -> None:
    """The embedder's answer is used as soon as the conversation goes on."""
    embedder = HeldEmbedder()
    world = World(embedder)
    await _warm_by_vector(world, embedder, DOG)
    chat = Chat(world)
    assert (await chat.say(UNWORDED, deadline_s=AT_ONCE_S)).status == "timeout"
    embedder.free.set()
    await world.settle()
    assert texts_of(await chat.say("and?")) == [DOG]


async def test_an_embedder_is_asked_while_the_memories_are_on_their_way() -> None:
    """Neither waits for the other."""
    embedder = HeldEmbedder()
    world = World(embedder)
    asking = world.ask(UNWORDED)
    await within(embedder.entered.wait())
    embedder.free.set()
    (await world.keeper.asked()).give_pack(pack(DOG, vector=VECTOR))
    assert texts_of(await asking) == [DOG]


async def test_a_greeting_waits_for_no_embedder() -> None:
    """Who asks nothing is not held up by a provider that is slow, and it is not even asked."""
    embedder = HeldEmbedder()
    world = World(embedder)
    await world.warm(BICYCLE)
    assert (await within(world.ask("Thanks!"))).status == "empty"
    assert not embedder.entered.is_set()


async def test_a_failing_embedder_leaves_words_alone() -> None:
    """``error`` is said only where they find nothing; each failure is counted once."""
    embedder = FailingEmbedder(None)
    world = World(embedder)
    await world.warm(BICYCLE)
    embedder.failure = lambda: EmbedderError("no")
    found = await world.ask(WHERE_BICYCLE)
    assert (found.status, texts_of(found)) == ("injected", [BICYCLE])
    assert world.failures("embed") == 1
    assert (await world.ask("What about elephants?")).status == "error"
    assert world.failures("embed") == 2


async def test_a_request_that_is_cancelled_leaves_the_rest_alone() -> None:
    """Others may wait for the load and the vector, and the next one wants them."""
    embedder = HeldEmbedder()
    world = World(embedder)
    asking = world.ask(UNWORDED)
    keeper = await world.keeper.asked()
    await within(embedder.entered.wait())
    asking.cancel()
    await asyncio.wait((asking,))
    keeper.give_pack(pack(DOG, vector=VECTOR))
    embedder.free.set()
    await world.settle()
    assert not embedder.cancelled.is_set()
    embedder.free.clear()
    assert texts_of(await world.ask(UNWORDED, deadline_s=AT_ONCE_S)) == [DOG]


async def test_a_trial_leaves_no_trace() -> None:
    """What an operator looks at changes no conversation, and does not show what a conversation has been given."""
    world = World()
    await world.warm(DOG, BICYCLE)
    chat = Chat(world)
    assert texts_of(await chat.recall(WHERE_BICYCLE, sticky=False)) == [BICYCLE]
    await chat.say(WHERE_DOG)
    assert texts_of(await chat.recall(WHERE_BICYCLE, sticky=False)) == [BICYCLE]
    assert texts_of(await chat.recall("Thanks!")) == [DOG]


async def test_a_trial_shows_a_whole_block_whatever_the_placement() -> None:
    """There is no request whose messages it could go to."""
    world = World(placement="tail")
    await world.warm(DOG)
    found = await Chat(world).recall(WHERE_DOG, sticky=False)
    assert (texts_of(found), found.tail) == ([DOG], None)


async def test_what_is_erased_during_a_request_is_not_in_it() -> None:
    """While a vector was awaited the user was erased: neither this request nor the next one has anything of it."""
    embedder = HeldEmbedder()
    world = World(embedder)
    await _warm_by_vector(world, embedder, DOG)
    chat = Chat(world)
    asking = world.tasks.spawn(chat.say(WHERE_DOG), name="recall", awaited=True)
    await within(embedder.entered.wait())
    world.keeper.on_change(wire.Changed(ADA, everything=True))
    embedder.free.set()
    assert texts_of(await asking) == []
    late = await chat.say("Thanks!", deadline_s=AT_ONCE_S)
    assert texts_of(late) == []
    (await world.keeper.asked()).give()
    await world.settle()


async def test_what_is_erased_before_it_could_be_used_is_gone() -> None:
    """What a late vector would have found, and what a conversation had, do not come back."""
    embedder = HeldEmbedder()
    world = World(embedder)
    await _warm_by_vector(world, embedder, DOG, BICYCLE)
    chat = Chat(world)
    assert texts_of(await chat.say(WHERE_BICYCLE, deadline_s=AT_ONCE_S)) == [BICYCLE]
    assert texts_of(await chat.say(UNWORDED, deadline_s=AT_ONCE_S)) == [BICYCLE]
    world.keeper.on_change(wire.Changed(ADA, everything=True))
    embedder.free.set()
    (await world.keeper.asked()).give()
    await world.settle()
    assert (await chat.say("and?")).status == "empty"


async def test_one_that_is_erased_while_a_vector_is_late_is_gone() -> None:
    """It is not in what the conversation has, and not in what it is to be given."""
    embedder = HeldEmbedder()
    world = World(embedder)
    await _warm_by_vector(world, embedder, DOG, BICYCLE)
    chat = Chat(world)
    assert texts_of(await chat.say(WHERE_BICYCLE, deadline_s=AT_ONCE_S)) == [BICYCLE]
    assert texts_of(await chat.say(UNWORDED, deadline_s=AT_ONCE_S)) == [BICYCLE]
    world.keeper.on_change(wire.Changed(ADA, removed=[BICYCLE]))
    embedder.free.set()
    await world.settle()
    world.keeper.on_connect()
    late = await chat.say("and?", deadline_s=AT_ONCE_S)
    assert BICYCLE not in texts_of(late)
    (await world.keeper.asked()).give(DOG)
    await world.settle()


async def test_a_request_has_the_patience_it_was_given() -> None:
    """A load that is in time is waited for."""
    world = World()
    asking = world.ask(WHERE_DOG, deadline_s=PATIENCE_S)
    (await world.keeper.asked()).give(DOG)
    assert (await asking).status == "injected"


async def test_a_question_is_asked_of_the_model_that_memories_have_vectors_of() -> None:
    """Whatever is configured, and although it was asked of that while nobody knew yet."""
    configured, former = HeldEmbedder(), HeldEmbedder()
    former.free.set()
    world = World(configured, open_model=lambda _: former)
    model = EmbeddingModel("openai", "former", former.dim)
    world.keeper.prepare(msgspec.structs.replace(pack(DOG, vector=VECTOR), model=model))
    assert texts_of(await world.ask(UNWORDED)) == [DOG]
    assert (configured.entered.is_set(), former.entered.is_set()) == (True, True)
    configured.entered.clear()
    # From now on nobody asks the configured one any more.
    world.keeper.prepare(msgspec.structs.replace(pack(DOG, user="bob", vector=VECTOR), model=model))
    assert texts_of(await world.ask(UNWORDED, BOB)) == [DOG]
    assert not configured.entered.is_set()
    configured.free.set()
    await world.settle()
    await world.service.aclose()
