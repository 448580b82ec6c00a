"""Edits, regenerations, branches, retries and windows: what of a conversation holds."""

from datetime import timedelta

import pytest

from proxy.models import Exchange, Scope
from tests.conversations import Memory

DOG, NICE = "My dog is called Rex.", "What a nice name for a dog."
BERLIN, LOVELY = "I live in Berlin.", "Berlin is lovely."
MUNICH, FINE = "I live in Munich now.", "Munich is fine."
MAP, CITY, SEA = "Where is Lisbon on the map?", "Lisbon is a city in Portugal.", "It lies in Portugal, by the sea."


def edited() -> Memory:
    memory = Memory()
    memory.say(DOG, answer=NICE)
    memory.say(DOG, NICE, BERLIN, answer=LOVELY)
    memory.say(DOG, NICE, BERLIN, LOVELY, "And I like tea.", answer="Tea is good.")
    memory.say(DOG, NICE, MUNICH, answer=FINE)
    return memory


def test_an_edit_retracts_what_came_of_the_abandoned_branch() -> None:
    """The message, its answer and all that followed them are superseded; what precedes them holds."""
    memory = edited()
    assert memory.live == [DOG, NICE, MUNICH, FINE]
    assert memory.superseded == [BERLIN, LOVELY, "And I like tea.", "Tea is good."]
    assert memory.plan.tally["retracted"] == 4


def test_who_goes_back_to_a_branch_has_it_again() -> None:
    """Going on from an abandoned message revives the way to it, and abandons the other one."""
    memory = edited()
    memory.say(DOG, NICE, BERLIN, LOVELY, "Where is the zoo?", answer="In the middle of the city.")
    assert memory.live == [DOG, NICE, BERLIN, LOVELY, "Where is the zoo?", "In the middle of the city."]
    assert {MUNICH, FINE, "And I like tea."} <= set(memory.superseded)


def test_an_edit_back_to_the_first_words() -> None:
    """The message that was there before is there again, once."""
    memory = edited()
    memory.say(DOG, NICE, BERLIN, answer=LOVELY)
    assert memory.live == [DOG, NICE, BERLIN, LOVELY]


def test_an_edit_of_the_first_message_where_the_conversation_is_named() -> None:
    """Nearly the same words at the beginning of the same conversation, though the answer is the same, too."""
    memory = Memory()
    memory.say(BERLIN, named="c")
    memory.say(MUNICH, named="c")
    assert memory.live == [MUNICH, "Noted."]
    assert memory.superseded == [BERLIN]


def test_a_regenerated_first_answer_replaces_the_old_one() -> None:
    """Though the conversation's id is made of the answer."""
    memory = Memory()
    memory.say(MAP, answer=CITY)
    memory.say(MAP, answer=SEA)
    assert memory.live == [MAP, SEA]


def test_a_regenerated_later_answer_replaces_what_followed_it() -> None:
    """The old answer and the message after it are superseded; the question is stored once."""
    memory = Memory()
    memory.say(MAP, answer=CITY)
    memory.say(MAP, CITY, "And Porto?", answer="North.")
    memory.say(MAP, CITY, "And Porto?", "North.", "How far away?", answer="Three hours.")
    memory.say(MAP, CITY, "And Porto?", answer="In the north of it.")
    assert memory.live == [MAP, CITY, "And Porto?", "In the north of it."]


def test_the_same_question_days_later_is_another_conversation() -> None:
    """What followed its first answer holds; of two equal questions the newest stands for both."""
    memory = Memory()
    memory.say(MAP, answer=CITY)
    memory.say(MAP, CITY, DOG, answer=NICE)
    memory.say(MAP, answer=SEA, later=timedelta(days=3))
    assert memory.live == [CITY, DOG, NICE, MAP, SEA]


def test_two_conversations_that_begin_with_the_same_greeting() -> None:
    """Nothing of the first is an older version of the second."""
    memory = Memory()
    for said, answer in ((BERLIN, LOVELY), (DOG, NICE)):
        memory.say("Hi", answer="Hello! How can I help?")
        memory.say("Hi", "Hello! How can I help?", said, answer=answer)
    assert memory.live == [BERLIN, LOVELY, DOG, NICE]


def test_the_same_opening_much_later_is_no_edit() -> None:
    """A canned first question and its answer may begin many conversations."""
    memory = Memory()
    memory.say(MAP, answer=CITY)
    memory.say(MAP, CITY, BERLIN, answer=LOVELY)
    memory.say(MAP, CITY, DOG, answer=NICE, later=timedelta(days=1))
    assert {BERLIN, DOG} <= set(memory.live)


def test_an_edit_deep_in_a_conversation_is_known_however_late() -> None:
    """Two equal questions with equal answers are no coincidence."""
    memory = Memory()
    memory.say(MAP, answer=CITY)
    memory.say(MAP, CITY, DOG, answer=NICE)
    memory.say(MAP, CITY, DOG, NICE, BERLIN, answer=LOVELY)
    memory.say(MAP, CITY, DOG, NICE, MUNICH, answer=FINE, later=timedelta(days=9))
    assert memory.live == [MAP, CITY, DOG, NICE, MUNICH, FINE]


def test_a_retry_is_one_exchange() -> None:
    """The same exchange sent twice, or taken from the journal twice, is stored once."""
    memory = Memory()
    exchange = memory.say(DOG, answer=NICE)
    memory.say(DOG, answer=NICE)
    memory.take(exchange)
    assert memory.live == [DOG, NICE]
    assert memory.superseded == []


def test_taking_everything_again_changes_nothing() -> None:
    """As after a process that was killed before it could say that it is done: the edit stays the last word."""
    memory = Memory()
    taken = [
        memory.say(DOG, answer=NICE),
        memory.say(DOG, NICE, BERLIN),
        memory.say(DOG, NICE, MUNICH),
    ]
    before = (memory.live, memory.superseded)
    for exchange in taken:
        memory.take(exchange)
    assert (memory.live, memory.superseded) == before == ([DOG, NICE, MUNICH, "Noted."], [BERLIN])


def test_a_named_conversation_without_its_history() -> None:
    """A client that sends the last message only goes on; its messages are numbered through, and none is an edit."""
    memory = Memory()
    for number, said in enumerate((BERLIN, DOG, "My sister is Anna.")):
        memory.say(said, answer=f"Good to know, {number}.", named="c")
    assert memory.superseded == []
    assert list(memory.positions().values()) == [0, 1, 2, 3, 4, 5]


def test_a_window_that_slides_over_a_named_conversation() -> None:
    """What the client has left out moves no position and is not retracted."""
    memory = Memory()
    history: list[str] = []
    for number, said in enumerate((BERLIN, DOG, "My sister is Anna.", "I like green tea.")):
        answer = f"Good to know, {number}."
        history.append(said)
        memory.say(*history[-3:], answer=answer, named="c")
        history.append(answer)
    assert memory.superseded == []
    assert memory.positions() == {text: number for number, text in enumerate(history)}


@pytest.mark.parametrize(("late", "count"), [(0, 2), (0, 3), (1, 3)])
@pytest.mark.parametrize("named", [None, "c"])
def test_an_exchange_that_comes_late(named: str | None, late: int, count: int) -> None:
    """What another replica could not append at once comes behind what was said after it, and perhaps twice: it has the
    place that it had in the conversation, and takes nobody's.
    """
    source = Memory()
    history: list[str] = []
    exchanges: list[Exchange] = []
    for said, answer in ((DOG, NICE), (BERLIN, LOVELY), ("And I like tea.", "Tea is good."))[:count]:
        exchanges.append(source.say(*history, said, answer=answer, named=named))
        history += [said, answer]
    memory = Memory()
    for exchange in (*exchanges[:late], *exchanges[late + 1 :], exchanges[late], exchanges[late]):
        memory.take(exchange)
    assert memory.superseded == []
    assert memory.positions() == {text: number for number, text in enumerate(history)}


@pytest.mark.parametrize("named", [None, "c"])
def test_a_conversation_that_comes_backwards(named: str | None) -> None:
    """Several that were late, the first one last."""
    source = Memory()
    history: list[str] = []
    exchanges: list[Exchange] = []
    for number in range(4):
        said, answer = f"My number {number} is a fine one to have.", f"So it is, {number} is what I like, too."
        exchanges.append(source.say(*history, said, answer=answer, named=named))
        history += [said, answer]
    memory = Memory()
    for exchange in reversed(exchanges):
        memory.take(exchange)
    assert memory.superseded == []
    assert memory.positions() == {text: number for number, text in enumerate(history)}


def test_a_loop_of_tools_is_one_exchange() -> None:
    """The question is kept when the tool is called, its answer when the loop ends; nothing is there twice."""
    memory = Memory()
    memory.say("What is the weather in Lisbon?", answer=None)
    assert memory.live == ["What is the weather in Lisbon?"]
    memory.say("What is the weather in Lisbon?", answer="It is sunny there.", step=True)
    assert memory.live == ["What is the weather in Lisbon?", "It is sunny there."]
    assert memory.superseded == []


def test_a_step_of_tools_alone_is_nobody_s() -> None:
    """Where nobody has asked the question through the proxy, the answer is not kept either."""
    memory = Memory()
    memory.say("What is the weather in Lisbon?", answer="It is sunny there.", step=True)
    assert memory.live == []
    assert memory.plan.tally["unasked"] == 2


def test_users_do_not_share_chains() -> None:
    """The same words of somebody else end in another chain."""
    one, other = Memory(), Memory(Scope("bob"))
    assert one.say(DOG).links != other.say(DOG).links


@pytest.mark.parametrize("named", [None, "c"])
def test_an_edit_behind_an_answer_that_was_not_kept(named: str | None) -> None:
    """The place is known by the chain, whether or not what stood there was worth keeping."""
    memory = Memory()
    memory.say(DOG, answer=NICE, named=named)
    memory.say(DOG, NICE, "Thanks!", answer="You're welcome.", named=named)
    memory.say(DOG, NICE, "Thanks!", "You're welcome.", BERLIN, answer=LOVELY, named=named)
    memory.say(DOG, NICE, "Thanks!", "You're welcome.", MUNICH, answer=FINE, named=named)
    assert memory.live == [DOG, NICE, MUNICH, FINE]


def test_openings_that_are_alike_are_kept() -> None:
    """Of two conversations without a name nobody can tell whether one is a draft of the other."""
    memory = Memory()
    memory.say("My weight this morning was 80 kilos, says the scale.", answer="Well done so far.")
    memory.say("My weight this morning was 81 kilos, says the scale.", answer="A little more, then.")
    assert memory.superseded == []


def test_what_was_superseded_for_what_it_says_is_no_branch() -> None:
    """Who goes on behind it, or says it again, abandons no other conversation: they all begin at the same place."""
    memory = Memory()
    memory.say(DOG, answer=NICE)
    memory.say("I'm vegetarian.", answer="No meat, then.")
    memory.say("I'm vegan.", answer="No cheese, then.")
    memory.say("I'm vegetarian.", "No meat, then.", "Which soup do you suggest?", answer="Lentils are good.")
    memory.say("I'm vegetarian.", answer="So it is meat only.")
    assert {DOG, NICE, "No cheese, then.", "Which soup do you suggest?", "I'm vegetarian."} <= set(memory.live)
    assert memory.plan.tally["retracted"] == 0
