"""What conversations were given is found again where they go on, by nobody else, and in bounded memory."""

import pytest

from proxy.models import Message, Scope
from proxy.recall.block import Line
from proxy.recall.sticky import MOST_BYTES, Given, Talk, Talks, chain
from tests.readpath import ADA, BICYCLE, BOB, DOG, memory

DIALOGUE = [Message("user", "Hello!"), Message("assistant", "Hi."), Message("user", "Where is it?")]


def line(text: str) -> Line:
    return Line(memory(text), 1.0, f"- {text}\n", 10)


def talk(*texts: str, prefix: int = 0, late: tuple[str, ...] = ()) -> Talk:
    """One that has been given these memories at once."""
    return Talk((Given(prefix, tuple(map(line, texts))),), tuple(map(line, late)))


def test_a_conversation_goes_on_where_it_was() -> None:
    """Its beginning has the numbers that it had, and white space that a client trims makes no difference."""
    longer = [*DIALOGUE, Message("assistant", "There."), Message("user", "Thanks!")]
    trimmed = [Message(message.role, f"\n {message.text} ") for message in longer]
    assert chain(ADA, longer)[:3] == chain(ADA, DIALOGUE)
    assert chain(ADA, trimmed) == chain(ADA, longer)


@pytest.mark.parametrize("place", range(3))
def test_an_edit_changes_all_that_follows(place: int) -> None:
    """And nothing before it; who says a thing counts as much as what."""
    was = chain(ADA, DIALOGUE)
    for message in (Message(DIALOGUE[place].role, "Something else."), Message("other", DIALOGUE[place].text)):
        edited = chain(ADA, [*DIALOGUE[:place], message, *DIALOGUE[place + 1 :]])
        assert edited[:place] == was[:place]
        assert not set(edited[place:]) & set(was)


def test_whose_it_is_counts() -> None:
    """The same words of another user, at another tenant, or under another id are another conversation."""
    numbers = [chain(scope, DIALOGUE) for scope in (ADA, BOB, Scope("ada", "elsewhere"))]
    numbers += [chain(ADA, DIALOGUE, conversation_id) for conversation_id in ("c-1", "c-2")]
    assert len({number for one in numbers for number in one}) == 15


def test_where_one_message_ends_counts() -> None:
    """Two messages are not one with the words of both."""
    assert chain(ADA, [Message("user", "ab"), Message("user", "c")])[-1] != chain(ADA, [Message("user", "abc")])[-1]


def test_the_latest_point_that_is_known_counts() -> None:
    """A conversation finds what it had last, one that goes back what it had there."""
    talks = Talks()
    talks.put(ADA, 1, talk(DOG))
    talks.put(ADA, 3, talk(DOG, BICYCLE))
    assert talks.find(ADA, [1, 2, 3, 4, 5]) == talk(DOG, BICYCLE)
    assert talks.find(ADA, [1, 2]) == talk(DOG)
    assert talks.find(ADA, [7]) is None
    assert talks.find(BOB, [1, 2, 3]) is None


def test_an_id_counts_where_the_beginning_is_gone() -> None:
    """What the messages say themselves goes before it; an id is one user's."""
    talks = Talks()
    talks.put(ADA, 1, talk(DOG), "c-1")
    talks.put(ADA, 5, talk(BICYCLE))
    assert talks.find(ADA, [7], "c-1") == talk(DOG)
    assert talks.find(ADA, [5], "c-1") == talk(BICYCLE)
    assert talks.find(ADA, [7], "c-2") is None
    assert talks.find(BOB, [7], "c-1") is None


def test_what_is_erased_is_nowhere() -> None:
    """Whatever has the memory goes, also where it was only to be given; other memories and other users stay."""
    talks = Talks()
    talks.put(ADA, 1, talk(DOG), "c-1")
    talks.put(ADA, 2, talk(BICYCLE, late=(DOG,)))
    talks.put(ADA, 3, talk(BICYCLE))
    talks.put(BOB, 1, talk(DOG))
    talks.forget(ADA, [DOG])
    assert [talks.find(ADA, [1], "c-1"), talks.find(ADA, [2])] == [None, None]
    assert talks.find(ADA, [3]) == talk(BICYCLE)
    talks.forget(ADA)
    assert talks.find(ADA, [3]) is None
    assert talks.find(BOB, [1]) == talk(DOG)
    assert len(talks) == 1


def test_memory_is_bounded() -> None:
    """The conversations that were heard of least recently are forgotten, those found meanwhile are not."""
    talks = Talks(most_bytes=10_000)
    for number in range(1000):
        talks.put(ADA, number, talk(f"{number} {DOG}"))
        assert talks.nbytes <= 10_000
        assert talks.find(ADA, [0]) is not None
    assert 2 < len(talks) < 100
    assert talks.find(ADA, [999]) is not None
    assert talks.find(ADA, [1]) is None


def test_nothing_is_counted_twice() -> None:
    """Once everything is forgotten, nothing is held, however often it was put."""
    talks = Talks()
    for number in range(20):
        talks.put(ADA, number % 3, talk(DOG, late=(BICYCLE,)), "c-1")
    assert len(talks) == 4
    talks.forget(ADA)
    assert (len(talks), talks.nbytes) == (0, 0)


def test_a_talk_that_alone_is_too_large_is_not_kept() -> None:
    """It takes nothing else's place for longer than it is looked at."""
    talks = Talks(most_bytes=1000)
    talks.put(ADA, 1, talk("x" * 2000))
    assert (len(talks), talks.nbytes) == (0, 0)


def test_there_is_room_for_thousands() -> None:
    """Within what is allowed by default, each with a block of 1,000 tokens."""
    talks = Talks()
    block = tuple(line(f"{number} {'x' * 180}") for number in range(20))
    for number in range(2000):
        talks.put(ADA, number, Talk((Given(number, block),)))
    assert len(talks) == 2000
    assert talks.nbytes < MOST_BYTES
