"""The profile: what of many statements is shown, in which order, and within which budget."""

from datetime import UTC, datetime, timedelta
from random import Random

import pytest

from proxy.models import Memory
from proxy.recall.profile import ProfileLine, choose_profile
from proxy.statements import Statement, find_statements
from proxy.tokens import estimate
from tests.cost import cost

Said = list[tuple[Memory, tuple[Statement, ...]]]


def say(*texts: str, conversations: int = 1000, superseded_by: str | None = None) -> Said:
    """Messages of a user with their statements, an hour apart, a conversation each unless there are fewer."""
    memories = [
        Memory(
            id=f"m{number}",
            user_id="ada",
            kind="turn",
            role="user",
            text=text,
            created_at=datetime(2024, 3, 1, tzinfo=UTC) + timedelta(hours=number),
            conversation_id=f"c{number % conversations}",
            message_index=2 * number,
            superseded_by=superseded_by,
        )
        for number, text in enumerate(texts)
    ]
    return [(memory, find_statements(memory.text)) for memory in memories]


def choose(said: Said, limit_tokens: int = 1000) -> list[ProfileLine]:
    return choose_profile(said, limit_tokens=limit_tokens, count=estimate)


def texts(said: Said, limit_tokens: int = 1000) -> list[str]:
    return [line.text for line in choose(said, limit_tokens)]


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        ("I live in Lisbon", "I moved to Porto"),
        ("I'm vegetarian", "I eat meat again"),
        ("Always answer in metric", "From now on answer in imperial"),
        ("Never use exclamation marks", "Always use exclamation marks"),
    ],
)
def test_newest_wins(older: str, newer: str) -> None:
    """Of what cannot both hold, only what was said last is shown."""
    assert texts(say(older, newer)) == [newer]
    assert texts(say(newer, older)) == [older]


@pytest.mark.parametrize(
    ("standing", "withdrawal"),
    [
        ("Always answer in metric.", "You don't need to answer in metric any more."),
        ("Always cite page numbers.", "Forget that I said to cite page numbers."),
        ("Always cite page numbers.", "You no longer need to cite page numbers."),
    ],
)
def test_withdrawn_instructions(standing: str, withdrawal: str) -> None:
    """What is taken back is shown no longer, nor is the taking back; said again, it holds again."""
    assert texts(say(standing, withdrawal)) == []
    assert texts(say(withdrawal, standing)) == [standing.rstrip(".")]


def test_other_instructions_survive_a_withdrawal() -> None:
    """Taking one back leaves those of other words."""
    said = say("Always cite page numbers.", "Call me Ann.", "You don't need to cite page numbers any more.")
    assert texts(said) == ["Call me Ann"]


def test_order_of_kinds() -> None:
    """Instructions, preferences, facts; what is merely liked is left to search."""
    said = say("Always cite sources.", "I prefer trains.", "I'm vegetarian.", "I love jazz.")
    expected = ["Always cite sources", "I prefer trains", "I'm vegetarian"]
    assert texts(said) == expected
    assert texts(list(reversed(said))) == expected
    assert [line.kind for line in choose(said)] == ["instruction", "preference", "fact"]


def test_repetition_counts() -> None:
    """What was said in several conversations goes before what is newer; said twice in one it does not."""
    assert texts(say("I prefer tea.", "I really prefer tea.", "I prefer trains."))[0] == "I really prefer tea"
    assert texts(say("I prefer tea.", "I prefer tea.", "I prefer trains.", conversations=1))[0] == "I prefer trains"


def test_liking_said_often_is_a_preference() -> None:
    """Loving jazz in two conversations goes before a fact."""
    assert texts(say("I love jazz.", "I'm vegetarian.", "I love jazz!")) == ["I love jazz", "I'm vegetarian"]


def test_superseded_memories_say_nothing() -> None:
    """A memory that another one replaced is left out."""
    assert choose(say("I'm vegetarian.", superseded_by="m9")) == []


def test_budget() -> None:
    """Lines with eight tokens each for date and bullet stay within the limit; what is too long is skipped."""
    said = say("I'm vegetarian.", "I prefer " + "very " * 30 + "old trains.", "I prefer tea.")
    lines = choose(said, 30)
    assert [line.text for line in lines] == ["I prefer tea", "I'm vegetarian"]
    assert [line.tokens for line in lines] == [estimate(line.text) + 8 for line in lines]
    assert choose(said, 5) == []
    assert choose([], 70) == []


@pytest.mark.parametrize("text", ["I prefer " + "very " * 40 + "old trains.", "私の名前は" + "田" * 80 + "です。"])
def test_lines_are_short(text: str) -> None:
    """A line has about 30 tokens at most, in any script, and says that it was cut."""
    [line] = choose(say(text))
    assert line.text.endswith("…")
    assert line.tokens <= 60


def test_one_line_each() -> None:
    """White space of the message does not break a line."""
    assert texts(say("I prefer old \t trains")) == ["I prefer old trains"]


def test_order_of_arrival_does_not_matter() -> None:
    """The same statements make the same profile."""
    said = say(*(f"I prefer thing{number % 7} over other{number}." for number in range(60)), "Call me Ann.")
    shuffled = Random(1).sample(said, len(said))
    assert choose(said, 100) == choose(shuffled, 100)


def test_many_statements() -> None:
    """3,000 memories with statements take a few milliseconds: 100 leave room for a busy machine."""
    said = say(*(f"I prefer thing{number} over other{number}." for number in range(3000)))
    assert len(choose(said, 70)) >= 2
    assert cost(lambda: choose(said, 70)) < 0.1
