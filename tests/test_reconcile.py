"""What is worth keeping, and what becomes of what was known before."""

from datetime import timedelta

import msgspec
import pytest

from proxy.config import DEFAULT_TEMPLATE
from proxy.ledger import Tombstone
from proxy.remember.facts import add_by_hand
from tests.conversations import ADA, Memory

DOG = "My dog is called Rex."
BLOCK = DEFAULT_TEMPLATE.replace("{memories}", f"- 2024-05-01: {DOG}\n- 2024-05-02: I live in Berlin these days.")


@pytest.mark.parametrize("said", ["Hi", "thanks!", "ok", "Yes, please.", "…", "Danke!", "Vielen Dank!", "谢谢", "👍"])
def test_greetings_and_thanks_are_not_kept(said: str) -> None:
    """Nor is the short answer to them."""
    memory = Memory()
    memory.say(said, answer="You're welcome! Anything else?")
    assert memory.live == []
    assert memory.plan.tally["wordless"] == 2


def test_a_long_answer_to_a_short_yes_is_kept() -> None:
    """It says something, whatever it answers."""
    memory = Memory()
    plan = "Here is the plan for your garden. " * 8
    memory.say("Yes, please.", answer=plan)
    assert memory.live == [plan]


def test_said_again_is_one_memory() -> None:
    """But for case, punctuation and fillers; the newest stands, and tells how often it was said and where."""
    memory = Memory()
    first = memory.say("I like sushi very much.", answer="Sushi it is, then.")
    memory.say("Oh, I really like sushi very much!", answer="So you said.", later=timedelta(days=2))
    assert memory.live == ["Sushi it is, then.", "Oh, I really like sushi very much!", "So you said."]
    newest = memory.plan.added[next(i.id for i in memory.plan.shelf if i.live and i.seen == 2)].memory
    assert newest.sources == ((first.conversation_id, 0),)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("I ran 5 km this morning.", "I ran 6 km this morning."),
        ("We have a garden behind the house.", "We don't have a garden behind the house."),
        ("Blue.", "Blue."),
    ],
)
def test_what_differs_is_kept_apart(one: str, other: str) -> None:
    """A number, a negation; and an answer that means nothing without its question."""
    memory = Memory()
    memory.say(one, answer="First answer to that.")
    memory.say(other, answer="Second answer to that.", later=timedelta(days=1))
    assert [text for text in memory.live if not text.endswith("that.")] == [one, other]


def test_a_preference_supersedes_one_of_the_same_kind() -> None:
    """By rule, with the time until which the old one held."""
    memory = Memory()
    memory.say("I'm vegetarian.", answer="Good to know that.")
    exchange = memory.say("I'm vegan.", answer="So no cheese, then.")
    assert memory.live == ["Good to know that.", "I'm vegan.", "So no cheese, then."]
    old = next(draft.memory for draft in memory.plan.added.values() if draft.memory.text == "I'm vegetarian.")
    new = next(draft.memory for draft in memory.plan.added.values() if draft.memory.text == "I'm vegan.")
    assert (old.superseded_by, old.valid_until) == (new.id, exchange.at)


def test_a_longer_message_is_more_than_its_statement() -> None:
    """It holds, since only a part of it is outdated."""
    memory = Memory()
    said = "I'm vegetarian. Can you find me a recipe with chickpeas, spinach and rice that takes less than an hour?"
    memory.say(said, answer="Here is one for you.")
    memory.say("I'm vegan.", answer="So no cheese, then.")
    assert said in memory.live


def test_what_is_by_hand_gives_way_to_nothing_that_is_not() -> None:
    """And takes the place of what was said."""
    memory = Memory()
    memory.say("I'm vegetarian.", answer="Good to know that.")
    added = add_by_hand(memory.plan, ADA, "I'm vegan.", memory.now)
    memory.say("I'm pescatarian.", answer="Fish is fine, then.")
    item = memory.plan.shelf.get(added.id)
    assert item is not None
    assert item.live
    assert "I'm vegetarian." not in [memory.texts.get(item.id) for item in memory.plan.shelf if item.live]


def test_an_answer_that_repeats_the_block_is_not_kept() -> None:
    """It would bring itself up again and again."""
    memory = Memory()
    memory.say("What do you know of me?", answer=f"{DOG} I live in Berlin these days.", block=BLOCK)
    assert memory.live == ["What do you know of me?"]
    assert memory.plan.tally["echo"] == 1


def test_an_answer_that_uses_the_block_is_kept() -> None:
    """Most of it is new."""
    answer = f"{DOG} A walk along the river, two hours at most, will do both of you good today; take some water along."
    memory = Memory()
    memory.say("What shall we do today?", answer=answer, block=BLOCK)
    assert answer in memory.live


@pytest.mark.parametrize("cut", [len(BLOCK), len(BLOCK) - 20])
def test_a_block_that_is_sent_back_is_taken_out(cut: int) -> None:
    """Whole, or without its end; the user's own words around it are kept."""
    memory = Memory()
    memory.say(f"Is this about my dog?\n{BLOCK[:cut]}", answer="It is all as you say.")
    assert memory.live == ["Is this about my dog?", "It is all as you say."]


def test_a_template_of_few_words_is_not_looked_for() -> None:
    """It could stand in anybody's text."""
    memory = Memory(template="Known:\n{memories}")
    memory.say("Known: the old harbour and the zoo.")
    assert memory.live == ["Known: the old harbour and the zoo.", "Noted."]


def test_what_came_before_an_erasure_does_not_come_back() -> None:
    """Neither what waited in the journal, nor a request that was under way."""
    memory = Memory()
    memory.tombstone = Tombstone(memory.now + timedelta(minutes=5), {}, frozenset())
    memory.say(DOG)
    assert memory.live == []
    memory.say(DOG, later=timedelta(minutes=9))
    assert DOG in memory.live


def test_history_does_not_teach_what_was_erased() -> None:
    """A client that sends it without the answers in between has said only the last message."""
    memory, seen = Memory(), Memory()
    erased = seen.say(DOG)
    memory.tombstone = Tombstone(None, {}, frozenset({erased.links[:8]}))
    exchange = memory.say("What was it again?", answer="I do not know that.")
    said = [msgspec.structs.replace(exchange.messages[0], text=DOG), *exchange.messages]
    memory.take(msgspec.structs.replace(exchange, messages=said, links=erased.links[:8] + exchange.links, named=False))
    assert DOG not in memory.live
    assert memory.plan.tally["erased"] == 1


def test_what_was_erased_can_be_said_again() -> None:
    """In a conversation of its own, for that is no history; at the same place of a named one it is."""
    memory = Memory()
    erased = memory.say(DOG, named="c")
    digests = frozenset({erased.links[:8], *(i.chain for i in memory.plan.shelf)})
    memory = Memory()
    memory.tombstone = Tombstone(None, {}, digests)
    memory.say(DOG, named="c")
    assert memory.live == []
    memory.say(DOG)
    assert DOG in memory.live


def test_an_exchange_becomes_its_turns() -> None:
    """Positions are those of the conversation, dates are the request's."""
    memory = Memory()
    exchange = memory.say("Where is the harbour?", "By the river.", "And the zoo?", answer="In the middle of the city.")
    turns = [draft.memory for draft in memory.plan.added.values()]
    assert [(turn.role, turn.text, turn.message_index) for turn in turns] == [
        ("user", "And the zoo?", 2),
        ("assistant", "In the middle of the city.", 3),
    ]
    assert {(turn.user_id, turn.kind, turn.created_at) for turn in turns} == {("ada", "turn", exchange.at)}


def test_a_command_that_is_sent_again_is_not_kept() -> None:
    """By a client that drops what the proxy answered to it; without commands it is text like any other."""
    for commands, kept in ((True, []), (False, ["/memory forget the harbour"])):
        memory = Memory(commands=commands)
        memory.say("/memory forget the harbour", answer="")
        assert memory.live == kept
