"""What holds for a user at all times, and what no longer does."""

import pytest

from proxy.models import Memory
from proxy.recall.standing import Standing, find_standing
from proxy.workingset import WorkingSet
from tests.remembered import make_memory, make_set


def say(*texts: str) -> list[Memory]:
    """Messages of a user, a day and a conversation each."""
    return [make_memory(number, text, days=number, conversation=f"c{number}") for number, text in enumerate(texts)]


def lines(standing: Standing) -> list[str]:
    return [line.text for line in standing.profile]


def test_nothing_stated() -> None:
    """Most memories state nothing, and neither does who has none."""
    for working_set in (WorkingSet(), make_set(say("My dog barks a lot."))):
        standing = find_standing(working_set)
        assert not standing.profile
        assert not standing.outdated
        assert standing.fit(1000) == []


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        ("I live in Lisbon.", "I moved to Porto."),
        ("Always answer in metric units.", "From now on answer in imperial units."),
        ("My name is Ann.", "My name is Anna Lee."),
    ],
)
def test_the_newest_statement_holds(older: str, newer: str) -> None:
    """Of what cannot both hold the older memory is outdated, in whichever order they came."""
    for memories in (say(older, newer), say(older, newer)[::-1]):
        standing = find_standing(make_set(memories))
        assert lines(standing) == [newer.rstrip(".")]
        assert set(standing.outdated) == {"m0"}


def test_the_same_said_again_outdates_nothing() -> None:
    """Who repeats a thing takes nothing back."""
    standing = find_standing(make_set(say("I live in Porto.", "Well, I live in Porto.")))
    assert not standing.outdated
    assert len(standing.profile) == 1


def test_what_says_more_than_the_statement_may_still_hold() -> None:
    """A message with much else in it is not outdated with the one thing it states."""
    story = " Last summer my sister came to see me, we went to the beach and ate fish, and it rained all the time."
    standing = find_standing(make_set(say("I live in Lisbon." + story, "I moved to Porto.")))
    assert not standing.outdated
    assert lines(standing) == ["I moved to Porto"]


def test_what_is_taken_back_is_outdated() -> None:
    """A withdrawal outdates what it withdraws, and is itself no line."""
    said = say("Always answer in metric units.", "You don't need to answer in metric units any more.")
    standing = find_standing(make_set(said))
    assert not standing.profile
    assert set(standing.outdated) == {"m0"}


def test_other_topics_stay() -> None:
    """Statements of different things do not touch each other."""
    standing = find_standing(make_set(say("I live in Lisbon.", "My name is Ann.", "Always cite sources.")))
    assert not standing.outdated
    assert set(lines(standing)) == {"I live in Lisbon", "My name is Ann", "Always cite sources"}


def test_a_smaller_profile_is_the_beginning_of_a_larger_one() -> None:
    """What fits are the most important lines, and no more than the limit."""
    standing = find_standing(make_set(say(*(f"Always mention item{number} first." for number in range(30)))))
    assert len(standing.profile) > 3
    for limit in (0, 10, 30, 60, 1000):
        fitting = standing.fit(limit)
        assert fitting == list(standing.profile[: len(fitting)])
        assert sum(line.tokens for line in fitting) <= limit
        rest = standing.profile[len(fitting) :]
        assert not rest or sum(line.tokens for line in fitting) + rest[0].tokens > limit


def test_statements_are_put_together_once() -> None:
    """As long as no statement comes or goes, what they come to is kept."""
    [first, second, third] = say("I live in Lisbon.", "My dog barks.", "I moved to Porto.")
    working_set = make_set([first])
    known = find_standing(working_set)
    assert find_standing(working_set) is known
    working_set = make_set([first, second, third])
    assert lines(find_standing(working_set)) == ["I moved to Porto"]
    working_set.remove(["m1"])
    working_set.remove(["m2"])
    assert lines(find_standing(working_set)) == ["I live in Lisbon"]
    assert not find_standing(working_set).outdated
