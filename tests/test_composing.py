"""How much of the budget a question deserves, and what stands in it."""

from collections.abc import Sequence

import pytest

from proxy.models import Memory
from proxy.recall.block import Line
from proxy.recall.composing import SMALL_TOKENS, Block, Composer, find_block
from proxy.recall.frame import Frame
from proxy.recall.query import Query
from proxy.recall.ranking import Ranked, rank
from proxy.recall.weights import FLOOR
from proxy.tokens import estimate
from proxy.workingset import WorkingSet
from tests.remembered import make_memory, make_set

_INSTRUCTION = "Always answer in metric units."
_UNRELATED = "Who proved the theorem about quantum lattices?"


def say(*texts: str) -> list[Memory]:
    """Messages of a user, a day and a conversation each."""
    return [make_memory(number, text, days=number, conversation=f"c{number}") for number, text in enumerate(texts)]


def remember(*texts: str) -> WorkingSet:
    return make_set(say(*texts))


def ask(working_set: WorkingSet, text: str, budget: int = 1000, visible: Sequence[str] = ()) -> Block | None:
    return find_block(working_set, Query.from_text(text), budget_tokens=budget, count=estimate, visible=visible)


def texts(block: Block | None) -> list[str]:
    return [memory.text for memory in block.memories] if block else []


def make_line(number: int, text: str, score: float) -> Line:
    return Line(make_memory(number, text), score, f"- {text}\n", estimate(f"- {text}\n"))


@pytest.mark.parametrize("greeting", ["hi", "Thanks!", "", "How are you?"])
def test_greetings_are_given_nothing(greeting: str) -> None:
    """Who asks for nothing gets nothing, not even what is wanted of every answer."""
    assert ask(remember(_INSTRUCTION, "The dog barks at night."), greeting) is None


def test_nobody_is_given_nothing() -> None:
    """A user without memories is no special case."""
    assert ask(WorkingSet(), "When does the dog bark?") is None


def test_an_unrelated_question_is_given_what_is_wanted_always() -> None:
    """Nothing that was said is for it, but standing instructions hold, in a small block."""
    block = ask(remember(_INSTRUCTION, "The dog barks at night.", "The cat sleeps."), _UNRELATED)
    assert block is not None
    assert texts(block) == [_INSTRUCTION]
    assert ", standing: " in block.text
    assert block.scores == [0]
    assert block.tokens <= SMALL_TOKENS
    assert ask(remember("The dog barks at night.", "The cat sleeps."), _UNRELATED) is None


def test_many_statements_do_not_fill_an_unrelated_block() -> None:
    """However much is wanted always, and however large the budget, such a block stays small."""
    working_set = remember(*(f"Always mention item{number} of the list first." for number in range(60)))
    block = ask(working_set, _UNRELATED, 100_000)
    assert block is not None
    assert len(block.memories) > 1
    assert block.tokens <= SMALL_TOKENS


def test_a_doubtful_question_is_given_little() -> None:
    """Between what is surely related and what surely is not there is a small block with the best of it."""
    working_set = remember(*(f"It rained in town{number}." for number in range(60)))
    ranked = rank(working_set, Query.from_text("Where did it rain?"))
    composer = Composer(estimate)
    sizes = {}
    for relevance in (0.0, -FLOOR.doubt / 2, -FLOOR.doubt * 2):
        sheet = composer.draft(working_set, ranked._replace(relevance=relevance), budget_tokens=1000)
        composed = composer.compose([sheet], 1000)
        sizes[relevance] = composed[0].tokens if composed else 0
    assert sizes[0.0] > SMALL_TOKENS >= sizes[-FLOOR.doubt / 2] > sizes[-FLOOR.doubt * 2] == 0


def test_standing_lines_leave_room() -> None:
    """Where there is more to say, what nobody asked for takes an eighth of the room at most."""
    statements = [f"Always mention item{number} of the list first." for number in range(60)]
    facts = [f"Rex the dog saw cat number {number} in the garden." for number in range(60)]
    block = ask(remember(*statements, *facts), "Which cat did Rex the dog see in the garden?", 800)
    assert block is not None
    marked = [line for line in block.text.splitlines() if ", standing: " in line]
    assert len(marked) >= 1
    assert sum(map(estimate, marked)) <= 800 / 8
    assert sum("garden" in line for line in block.text.splitlines()) > 20


def test_the_newest_statement_is_given() -> None:
    """What no longer holds is not, though the question is about it."""
    working_set = remember("I live in Lisbon.", "The dog barks at night.", "I moved to Porto.")
    block = ask(working_set, "Where do I live, in Lisbon or elsewhere?")
    assert block is not None
    assert "I moved to Porto" in block.text
    assert "Lisbon" not in block.text


def test_a_standing_memory_that_is_asked_for() -> None:
    """It is one line, marked, with the score that it has as an answer."""
    working_set = remember("Always answer in metric units, and the dog weighs 10 kilos.", "The dog barks at night.")
    block = ask(working_set, "How many kilos does the dog have?")
    assert block is not None
    ranked = rank(working_set, Query.from_text("How many kilos does the dog have?"))
    expected = dict(zip(ranked.rows.tolist(), ranked.scores.tolist(), strict=True))
    assert block.scores == pytest.approx([expected[0], expected[1]])
    assert [", standing: " in line for line in block.text.splitlines() if line.startswith("- ")] == [True, False]
    assert len(set(texts(block))) == 2


def test_what_was_given_is_not_repeated() -> None:
    """This holds for standing lines, too."""
    working_set = remember(_INSTRUCTION, "The dog barks at night.")
    ranked = rank(working_set, Query.from_text(_UNRELATED))
    assert Composer(estimate).draft(working_set, ranked, budget_tokens=500, given={"m0"}) == ()
    assert len(Composer(estimate).draft(working_set, ranked, budget_tokens=500, given={"m1"})) == 1


def test_what_is_visible_is_not_repeated() -> None:
    """This holds for standing lines, too, whatever white space is around what was said."""
    working_set = remember(f" {_INSTRUCTION}\n", "The dog barks at night.")
    assert ask(working_set, _UNRELATED, visible=[_INSTRUCTION]) is None
    assert texts(ask(working_set, "When does the dog bark?", visible=[_INSTRUCTION])) == ["The dog barks at night."]


def test_what_is_said_twice_is_one_line() -> None:
    """A statement that was repeated word for word stands as what is wanted always, and not a second time."""
    block = ask(remember("I live in Porto.", "I live in Porto."), "Where do I live? In Porto?")
    assert block is not None
    assert block.text.count("I live in Porto") == 1


def test_a_counter_that_does_not_add_up_is_obeyed() -> None:
    """When the whole counts more than its lines, the least important of the newest lines go until it fits."""

    def count(text: str) -> int:
        return text.count("\n") ** 2

    composer = Composer(count, Frame("<m>\n{memories}\n</m>"))
    old = tuple(make_line(number, f"old{number}", 0.1) for number in range(2))
    new = tuple(make_line(number + 2, f"new{number}", score) for number, score in enumerate((5.0, 1.0, 4.0)))
    composed = composer.compose([old, new], 36)
    assert composed is not None
    block, sheets = composed
    assert block.text == "<m>\n- old0\n- old1\nAlso:\n- new0\n- new2\n</m>"[: len(block.text)]
    assert block.tokens == 36
    assert [[line.memory.id for line in sheet] for sheet in sheets] == [["m0", "m1"], ["m2", "m4"]]
    composed = composer.compose([old, new], 9)
    assert composed is not None
    assert composed[1] == [old]
    assert composer.compose([old, new], 1) is None


def test_no_lines_are_no_block() -> None:
    """Empty sheets make no empty frame."""
    composer = Composer(estimate)
    assert composer.compose([], 1000) is None
    assert composer.compose([(), ()], 1000) is None


def test_a_sheet_is_appended() -> None:
    """But for the closing words, a block of one sheet is the beginning of that with another; lines keep their order."""
    composer = Composer(estimate, Frame("<m>\n{memories}\n</m>"))
    first, second = (make_line(0, "one", 1), make_line(1, "two", 2)), (make_line(2, "three", 3),)
    one, both = composer.compose([first], 1000), composer.compose([first, (), second], 1000)
    assert one is not None
    assert both is not None
    assert both[0].text.startswith(one[0].text.removesuffix("\n</m>"))
    assert [memory.id for memory in both[0].memories] == ["m0", "m1", "m2"]
    assert both[0].scores == [1, 2, 3]
    assert both[1] == [first, second]


def test_drafts_are_in_the_order_of_time() -> None:
    """Standing lines and others are one list, oldest first."""
    working_set = remember("The dog barks at night.", _INSTRUCTION, "The dog has a ball.")
    block = ask(working_set, "At night, what does the dog have?")
    assert texts(block) == ["The dog barks at night.", _INSTRUCTION, "The dog has a ball."]


def test_forgotten_memories_are_cut_anew() -> None:
    """What a composer keeps of texts may be dropped at any time without a difference."""
    working_set = remember(*(f"{'It rained. ' * 40}The dog saw cat {number}." for number in range(30)))
    composer = Composer(estimate)
    ranked: Ranked = rank(working_set, Query.from_text("Which cat did the dog see?"))
    before = composer.draft(working_set, ranked, budget_tokens=500)
    composer.forget(["m0", "nobody"])
    composer.forget()
    assert composer.draft(working_set, ranked, budget_tokens=500) == before
