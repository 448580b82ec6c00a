"""``placement: tail``: each block stays with the message that it came with, so that only what is new is new."""

from collections.abc import Mapping, Sequence

from proxy.keeper import wire
from proxy.models import Message
from proxy.recall.service import Recollection
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
    World,
    block_of,
    knowing,
    memory,
    pack,
    texts_of,
)


def tail_of(recollection: Recollection) -> Mapping[int, str]:
    assert recollection.tail is not None
    return recollection.tail


def prompt_of(dialogue: Sequence[Message], recollection: Recollection) -> list[str]:
    """What the model reads, message by message."""
    tail = tail_of(recollection)
    return [message.text + tail.get(place, "") for place, message in enumerate(dialogue)]


async def test_a_block_goes_to_the_last_message() -> None:
    """Of the user, and tells of what was asked there."""
    chat = Chat(await knowing("tail"))
    await chat.say("Hello!")
    found = await chat.say(WHERE_DOG)
    assert list(tail_of(found)) == [2]
    assert tail_of(found)[2] == block_of(found)
    assert DOG in block_of(found)


async def test_nothing_to_say_is_said_nowhere() -> None:
    """A greeting, and a user without memories, have no tail."""
    world = await knowing("tail")
    await world.warm(scope=BOB)
    for found in (await Chat(world).say("hi"), await Chat(world, BOB).say(WHERE_DOG)):
        assert (found.status, found.block, found.tail) == ("empty", None, None)


async def test_earlier_blocks_are_said_again() -> None:
    """At their messages, to the byte; each request begins with all of the one before."""
    chat = Chat(await knowing("tail"))
    before: list[str] = []
    for question in (WHERE_DOG, "Thanks!", WHERE_BICYCLE, "hi", WHO_PIANO, "And where does Biscuit sleep?"):
        found = await chat.say(question)
        prompt = prompt_of(chat.dialogue[:-1], found)
        assert prompt[: len(before)] == before
        before = prompt
    assert list(tail_of(found)) == [0, 4, 8]
    for place, said in ((0, DOG), (4, BICYCLE), (8, PIANO)):
        assert said in tail_of(found)[place]
    assert texts_of(found) == [DOG, BICYCLE, PIANO]
    assert found.block is not None
    assert len(found.block.scores) == 3


async def test_nothing_is_said_twice() -> None:
    """What an earlier block has told is in no later one, whatever is asked."""
    chat = Chat(await knowing("tail"))
    await chat.say(WHERE_DOG)
    await chat.say(WHERE_BICYCLE)
    assert texts_of(await chat.say(f"{WHERE_DOG} {WHERE_BICYCLE}")) == [DOG, BICYCLE]


async def test_a_request_sent_again_gets_the_same() -> None:
    """A retry and the steps of a tool loop add nothing, also where nothing was found at first."""
    chat = Chat(await knowing("tail"))
    for question in (WHERE_DOG, WHERE_BICYCLE, "Which elephants swim?", WHO_PIANO):
        tails = [tail_of(await chat.recall(question)) for _ in range(3)]
        assert tails[0] == tails[1] == tails[2] == tail_of(await chat.say(question))


async def test_all_blocks_together_are_bounded() -> None:
    """The earliest go when a long conversation has been told too much, and the last one is always there."""
    world = World(placement="tail")
    things = [f"{name} {'lives far away and ' * 6}sings." for name in map("Friend{}".format, range(60))]
    await world.warm(*things)
    chat = Chat(world, budget_tokens=200)
    for number in range(60):
        found = await chat.say(f"Who is Friend{number}?")
        assert found.block is not None
        assert things[number] in texts_of(found)
        lines = [line for line in found.block.text.splitlines() if line.startswith("- ")]
        assert sum(len(line) // 4 for line in lines) <= 400
    assert len(tail_of(found)) < 20


async def test_an_edited_message_finds_what_it_had_there() -> None:
    """Blocks of turns that the edit threw away are not said again, and may be told anew."""
    chat = Chat(await knowing("tail"))
    await chat.say(WHERE_DOG)
    await chat.say(WHERE_BICYCLE)
    edited = chat.with_dialogue(chat.dialogue[:2])
    assert texts_of(await edited.say(WHO_PIANO)) == [DOG, PIANO]
    assert texts_of(await edited.say(WHERE_BICYCLE)) == [DOG, PIANO, BICYCLE]


async def test_what_is_out_of_sight_is_told_anew() -> None:
    """A client that trims its history takes the blocks away with the messages; what they said may be needed again."""
    chat = Chat(await knowing("tail"), conversation_id="c-1")
    await chat.say(WHERE_DOG)
    window = chat.with_dialogue(chat.dialogue[1:])
    found = await window.say("Where again does Biscuit the beagle sleep?")
    assert list(tail_of(found)) == [1]
    assert texts_of(found) == [DOG]


async def test_what_is_erased_is_said_nowhere() -> None:
    """Neither at its message nor later; a user's erasure counts at once, before anything is loaded."""
    world = await knowing("tail")
    chat = Chat(world)
    await chat.say(WHERE_DOG)
    await chat.say(WHERE_BICYCLE)
    world.keeper.on_change(wire.Changed(ADA, removed=[DOG]))
    found = await chat.say("And is the bicycle in the cellar?")
    assert DOG not in block_of(found)
    world.keeper.on_change(wire.Changed(ADA, everything=True))
    late = await chat.say("Thanks!", deadline_s=AT_ONCE_S)
    assert (late.status, late.block) == ("timeout", None)
    (await world.keeper.asked()).give()
    await world.settle()


async def test_a_conversation_begun_anew_is_up_to_date() -> None:
    """Who begins with the same words every day gets what is known today."""
    world = await knowing("tail")
    assert texts_of(await Chat(world).say(WHERE_DOG)) == [DOG]
    new = "Biscuit the beagle sleeps in the garden since Monday."
    world.keeper.on_change(wire.Changed(ADA, pack(memory(new, day=9))))
    assert texts_of(await Chat(world).say(WHERE_DOG)) == [DOG, new]


async def test_conversations_do_not_mix() -> None:
    """Of two users, or of one, that are alike to the letter up to some point."""
    world = await knowing("tail")
    await world.warm("The beagle called Biscuit is Bob's and sleeps in the barn.", scope=BOB)
    one, other, bob = Chat(world), Chat(world), Chat(world, BOB)
    for chat in (one, other, bob):
        await chat.say("Hello!")
    assert texts_of(await one.say(WHERE_DOG)) == [DOG]
    assert texts_of(await other.say(WHERE_BICYCLE)) == [BICYCLE]
    assert texts_of(await bob.say(WHERE_DOG)) == ["The beagle called Biscuit is Bob's and sleeps in the barn."]
    assert texts_of(await other.say("Thanks!")) == [BICYCLE]
