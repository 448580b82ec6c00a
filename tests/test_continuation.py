"""What a conversation is given from turn to turn: the same bytes, unless something that matters is missing."""

import msgspec
import pytest

from proxy.keeper import wire
from proxy.models import Message
from proxy.recall import continuation
from tests.readpath import (
    ADA,
    AT_ONCE_S,
    BICYCLE,
    BOB,
    DOG,
    PIANO,
    WHERE_BICYCLE,
    WHERE_DOG,
    WHO_PIANO,
    Chat,
    block_of,
    count,
    knowing,
    lines_of,
    memory,
    pack,
    texts_of,
)

# Holds any one of the memories with the words around it, and not two.
TIGHT = 75


@pytest.mark.parametrize("follow_up", ["Thanks!", "👍", "And on which blanket does Biscuit sleep?", "hi", "Why?"])
async def test_a_follow_up_gets_the_same(follow_up: str) -> None:
    """The block is the same to the byte, where nothing else is asked."""
    chat = Chat(await knowing())
    block = block_of(await chat.say(WHERE_DOG))
    assert block_of(await chat.say(follow_up)) == block


async def test_another_question_adds_to_it() -> None:
    """What there is stays where it is, and what is new comes after it."""
    chat = Chat(await knowing())
    first = await chat.say(WHERE_DOG)
    second = await chat.say(WHERE_BICYCLE)
    assert texts_of(second) == [DOG, BICYCLE]
    assert block_of(second).startswith(lines_of(first))
    third = await chat.say(WHO_PIANO)
    assert texts_of(third) == [DOG, BICYCLE, PIANO]
    assert block_of(third).startswith(lines_of(second))
    assert block_of(await chat.say(WHERE_DOG)) == block_of(third)


async def test_a_question_that_memory_knows_nothing_of_adds_nothing() -> None:
    """The block is the same to the byte."""
    chat = Chat(await knowing())
    block = block_of(await chat.say(WHERE_DOG))
    assert block_of(await chat.say("Which elephants swim across the Zambezi?")) == block


async def test_what_does_not_fit_is_made_anew() -> None:
    """The block then is about what is asked now, and stays as it is after that."""
    chat = Chat(await knowing(), budget_tokens=TIGHT)
    assert texts_of(await chat.say(WHERE_DOG)) == [DOG]
    second = await chat.say(WHERE_BICYCLE)
    assert texts_of(second) == [BICYCLE]
    assert block_of(await chat.say("Thanks!")) == block_of(second)


@pytest.mark.parametrize("budget_tokens", [TIGHT, 130, 500])
async def test_no_block_is_over_budget(budget_tokens: int) -> None:
    """However often it is added to."""
    chat = Chat(await knowing(), budget_tokens=budget_tokens)
    for question in (WHERE_DOG, WHERE_BICYCLE, WHO_PIANO, WHERE_DOG):
        found = await chat.say(question)
        assert found.block is not None
        assert found.block.tokens == count(found.block.text) <= budget_tokens


async def test_the_first_block_may_come_late_in_a_conversation() -> None:
    """A conversation that began with a greeting gets its block with its first question."""
    chat = Chat(await knowing())
    assert (await chat.say("Hello!")).status == "empty"
    assert texts_of(await chat.say(WHERE_DOG)) == [DOG]


@pytest.mark.parametrize("budget_tokens", [TIGHT, 130, 500])
async def test_a_request_sent_again_gets_the_same(budget_tokens: int) -> None:
    """A regenerated answer, a retry and the steps of a tool loop all have the block of their turn."""
    chat = Chat(await knowing(), budget_tokens=budget_tokens)
    both = "Where does Biscuit the beagle sleep, and where in the cellar is the bicycle?"
    for question in (WHERE_DOG, WHERE_BICYCLE, both, WHO_PIANO):
        blocks = {block_of(await chat.recall(question)) for _ in range(3)}
        assert blocks == {block_of(await chat.say(question))}


async def test_an_edited_message_finds_what_it_had_there() -> None:
    """What was given to the turns that the edit threw away does not count."""
    chat = Chat(await knowing())
    first = await chat.say(WHERE_DOG)
    await chat.say(WHERE_BICYCLE)
    edited = chat.with_dialogue(chat.dialogue[:2])
    assert block_of(await edited.recall("Thanks!")) == block_of(first)
    assert texts_of(await edited.recall(WHO_PIANO)) == [DOG, PIANO]


async def test_conversations_of_a_user_do_not_mix() -> None:
    """Each has what was asked in it, also where they begin with the same words."""
    world = await knowing()
    one, other = Chat(world), Chat(world)
    for chat in (one, other):
        await chat.say("Hello!")
    assert texts_of(await one.say(WHERE_DOG)) == [DOG]
    assert texts_of(await other.say(WHERE_BICYCLE)) == [BICYCLE]
    assert texts_of(await one.say("Thanks!")) == [DOG]
    assert texts_of(await other.say("Thanks!")) == [BICYCLE]


async def test_the_same_words_of_another_user_are_another_conversation() -> None:
    """Two users whose conversations are equal to the letter never share a block, whatever id they send."""
    world = await knowing()
    await world.warm("The beagle called Biscuit is Bob's and sleeps in the barn.", scope=BOB)
    ada, bob = Chat(world, ADA, conversation_id="c-1"), Chat(world, BOB, conversation_id="c-1")
    assert texts_of(await ada.say(WHERE_DOG)) == [DOG]
    assert texts_of(await bob.say(WHERE_DOG)) == ["The beagle called Biscuit is Bob's and sleeps in the barn."]
    assert texts_of(await ada.say("Thanks!")) == [DOG]
    assert texts_of(await bob.say("Thanks!")) == ["The beagle called Biscuit is Bob's and sleeps in the barn."]


async def test_an_id_finds_a_conversation_whose_beginning_is_gone() -> None:
    """As of clients that send the last messages only; without the id, or as another user, it is a new one."""
    world = await knowing()
    await world.warm(DOG, scope=BOB)
    chat = Chat(world, conversation_id="c-1")
    block = block_of(await chat.say(WHERE_DOG))
    window = chat.dialogue[1:]
    assert (await Chat(world).with_dialogue(window).recall("Thanks!")).block is None
    assert (await Chat(world, BOB, conversation_id="c-1").with_dialogue(window).recall("Thanks!")).block is None
    assert block_of(await chat.with_dialogue(window).recall("Thanks!")) == block


async def test_ids_keep_conversations_apart() -> None:
    """Two that send their last message only, and say the same, have each what was asked in it."""
    world = await knowing()
    dog, bicycle = Chat(world, conversation_id="c-1"), Chat(world, conversation_id="c-2")
    await dog.recall(WHERE_DOG)
    await bicycle.recall(WHERE_BICYCLE)
    for chat, known in ((dog, DOG), (bicycle, BICYCLE), (dog, DOG)):
        assert texts_of(await chat.recall("Thanks!")) == [known]


async def test_white_space_at_the_ends_does_not_count() -> None:
    """Clients trim what they resend."""
    chat = Chat(await knowing())
    block = block_of(await chat.say(f"  {WHERE_DOG}\n", reply=" In the kitchen. \n"))
    trimmed = [Message(message.role, message.text.strip()) for message in chat.dialogue]
    assert block_of(await chat.with_dialogue(trimmed).recall("Thanks!")) == block


async def test_a_memory_that_is_erased_is_gone_at_once() -> None:
    """From every block that had it; what else the conversation had is found anew."""
    world = await knowing()
    chat = Chat(world)
    await chat.say(WHERE_DOG)
    assert texts_of(await chat.say(WHERE_BICYCLE)) == [DOG, BICYCLE]
    world.keeper.on_change(wire.Changed(ADA, removed=[DOG]))
    assert DOG not in texts_of(await chat.say("Where is the bicycle?"))


async def test_a_user_that_is_erased_is_gone_at_once() -> None:
    """Also while nobody can tell yet what is left of the user."""
    world = await knowing()
    chat = Chat(world, conversation_id="c-1")
    await chat.say(WHERE_DOG)
    world.keeper.on_change(wire.Changed(ADA, everything=True))
    late = await chat.say("Thanks!", deadline_s=AT_ONCE_S)
    assert (late.status, late.block) == ("timeout", None)
    (await world.keeper.asked()).give()
    await world.settle()
    assert (await chat.say(WHERE_DOG)).status == "empty"


async def test_a_memory_that_is_superseded_is_left_out() -> None:
    """From the next block on, which is made anew."""
    world = await knowing()
    chat = Chat(world)
    await chat.say(WHERE_DOG)
    assert texts_of(await chat.say(WHERE_BICYCLE)) == [DOG, BICYCLE]
    world.keeper.on_change(wire.Changed(ADA, pack(memory(DOG, superseded_by=BICYCLE))))
    assert texts_of(await chat.say(WHERE_BICYCLE)) == [BICYCLE]


async def test_a_memory_that_was_edited_is_read_anew() -> None:
    """What it said before is in no block any more."""
    world = await knowing()
    chat = Chat(world)
    await chat.say(WHERE_DOG)
    edited = msgspec.structs.replace(memory(DOG), text="Biscuit the beagle sleeps on the sofa.")
    world.keeper.on_change(wire.Changed(ADA, pack(edited)))
    assert texts_of(await chat.say(WHERE_DOG)) == [edited.text]


async def test_what_is_told_elsewhere_reaches_a_conversation() -> None:
    """A new memory that answers what is asked now is added."""
    world = await knowing()
    chat = Chat(world)
    first = await chat.say(WHERE_DOG)
    new = "The violin lies under the bed of the guests."
    world.keeper.on_change(wire.Changed(ADA, pack(memory(new, day=9))))
    second = await chat.say("Under which bed lies the violin?")
    assert texts_of(second) == [DOG, new]
    assert block_of(second).startswith(lines_of(first))


async def test_a_conversation_begun_anew_is_up_to_date() -> None:
    """Who begins with the same words every day gets what is known today."""
    world = await knowing()
    assert texts_of(await Chat(world).say(WHERE_DOG)) == [DOG]
    new = "Biscuit the beagle sleeps in the garden since Monday."
    world.keeper.on_change(wire.Changed(ADA, pack(memory(new, day=9))))
    assert texts_of(await Chat(world).say(WHERE_DOG)) == [DOG, new]


async def test_after_an_hour_nothing_is_cached_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """A conversation that is taken up again gets a block for what it is about then."""
    chat = Chat(await knowing())
    await chat.say(WHERE_DOG)
    monkeypatch.setattr(continuation, "FORGOTTEN_S", -1.0)
    assert texts_of(await chat.say(WHERE_BICYCLE)) == [BICYCLE]
