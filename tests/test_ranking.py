"""Which memories matter for a question, and how surely any does."""

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final

import numpy as np
import pytest

from proxy.recall.query import Query
from proxy.recall.ranking import Ranked, rank
from proxy.recall.weights import WEIGHTS
from proxy.text import hash_word, words
from proxy.workingset import WorkingSet
from tests.remembered import START, make_memory, make_set

_WORDS_ONLY: Final = replace(WEIGHTS, vector=0, vector_conversation=0, vector_neighbour=0, vector_answer=0)
_MESSAGE_ONLY: Final = replace(_WORDS_ONLY, conversation=0, neighbour=0, answer=0)
# To a question about [1, 0] this is neither close nor far.
_SOSO: Final[list[float]] = [0.6, 0.8]


def remember(
    *texts: str,
    conversations: str | None = None,
    roles: str | None = None,
    names: str | Mapping[int, str] = "",
    vectors: Sequence[Sequence[float]] | None = None,
    days: Sequence[float] | None = None,
) -> WorkingSet:
    """A set of *texts*. *conversations*, *roles* ("u", "a") and *names* have a character a text."""
    speakers = names if isinstance(names, Mapping) else dict(enumerate(names))
    return make_set(
        [
            make_memory(
                number,
                text,
                role="assistant" if roles and roles[number] == "a" else "user",
                name=speakers.get(number),
                conversation=conversations[number] if conversations else f"c{number}",
                days=days[number] if days else 0,
            )
            for number, text in enumerate(texts)
        ],
        vectors,
    )


def ask(text: str, vector: Sequence[float] | None = None, asked_at: datetime | None = None) -> Query:
    query = Query.from_text(text, asked_at=asked_at)
    return query.with_vector(None if vector is None else np.array(vector, np.float32))


def scores(ranked: Ranked) -> dict[int, float]:
    """By row; 0 for what was not found."""
    found = defaultdict[int, float](float)
    found.update(zip(ranked.rows.tolist(), ranked.scores.tolist(), strict=True))
    return found


def test_the_best_match_comes_first() -> None:
    """More of the asked words and rarer ones are better; what has none is not found."""
    found = remember("my dog barks", "my cat sleeps", "my dog eats fish", "fish and dog and fish")
    ranked = rank(found, ask("Does the dog like fish?"))
    assert ranked.rows.tolist()[:2] == [3, 2]
    assert 1 not in ranked.rows
    assert (np.diff(ranked.scores) <= 0).all()
    assert list(ranked.words) == ["dog", "fish"]


def test_rare_words_weigh_more() -> None:
    """The words asked for are given with what they weigh: the fewer memories have one, the more."""
    ranked = rank(remember("a dog", "a dog, a fish", "a dog, a cat"), ask("dog fish zebra"))
    assert 0 < ranked.words["dog"] < ranked.words["fish"] < ranked.words["zebra"]


def test_scores_are_bm25() -> None:
    """A message's score by words alone is the textbook formula, computed here word by word."""
    texts = ("dog dog cat", "dog bird fish horse mouse", "cat", "bird bird dog dog dog")
    ranked = rank(remember(*texts), ask("dog bird"), weights=_MESSAGE_ONLY)
    expected = np.array([_score_by_hand(index, texts, ("dog", "bird")) for index in ranked.rows.tolist()])
    assert ranked.scores == pytest.approx(expected / expected.max(), rel=1e-5)
    assert sorted(ranked.rows.tolist()) == [0, 1, 3]


def _score_by_hand(index: int, texts: tuple[str, ...], asked: tuple[str, ...]) -> float:
    documents = [Counter(words(text)) for text in texts]
    mean = sum(document.total() for document in documents) / len(documents)
    document = documents[index]
    total = 0.0
    for word in asked:
        frequency = sum(word in other for other in documents)
        rarity = math.log(1 + (len(documents) - frequency + 0.5) / (frequency + 0.5))
        length = WEIGHTS.k1 * (1 - WEIGHTS.b + WEIGHTS.b * document.total() / mean)
        total += rarity * document[word] * (WEIGHTS.k1 + 1) / (document[word] + length)
    return total


def test_what_is_said_in_fewer_words_is_better() -> None:
    """Among messages, and among conversations, those that say little else are about it."""
    found = remember("a dog, a cat, a fish and a bird", "a dog")
    assert rank(found, ask("dog"), weights=_MESSAGE_ONLY).rows.tolist() == [1, 0]
    found = remember("a dog", "fish, bird and cat", "cat, horse and mouse", "a dog", "a fish", conversations="aaabb")
    score = scores(rank(found, ask("dog"), weights=replace(_WORDS_ONLY, neighbour=0)))
    assert score[3] > score[0]


def test_what_is_said_again_counts_less() -> None:
    """A word said four times is better than once, but not four times as good."""
    found = remember("dog bird fish mouse", "dog dog dog dog")
    score = scores(rank(found, ask("dog"), weights=_MESSAGE_ONLY))
    assert score[0] < score[1] < 4 * score[0]


def test_context_weighs_less_than_the_question() -> None:
    """Of two memories, each with one word, that with the asked word wins over that with a word of the context."""
    found = remember("a museum", "a zebra")
    ranked = rank(found, Query.from_text("museum", context="zebra"))
    assert ranked.rows.tolist() == [0, 1]
    assert rank(found, Query.from_text("zebra", context="museum")).rows.tolist() == [1, 0]


def test_the_same_words_in_a_fitting_conversation_are_better() -> None:
    """Of two equal messages, that of the conversation with more about the topic wins."""
    found = remember("I bought one", "rain", "I bought one", "tea", conversations="aabb")
    score = scores(rank(found, ask("Which tea was bought?"), weights=replace(_WORDS_ONLY, neighbour=0)))
    assert score[2] > score[0]


def test_the_answer_next_to_the_words_is_found() -> None:
    """A short turn without any asked word is found by the two turns around it, not by those of other conversations."""
    found = remember("Tell me of the dog called", "Rex!", "Fish.", "Fowl.", "Bo!", conversations="aaaab")
    ranked = rank(found, ask("dog called"), weights=replace(_WORDS_ONLY, conversation=0))
    assert ranked.rows.tolist() == [0, 1, 2]


def test_long_turns_gain_nothing_from_their_neighbours() -> None:
    """The same neighbour counts less for a longer message."""
    long = " ".join(f"w{number}" for number in range(300))
    found = remember("dog", "Rex!", "dog", long, conversations="aabb")
    score = scores(rank(found, ask("dog"), weights=replace(_WORDS_ONLY, conversation=0)))
    assert score[3] < score[1] / 20


def test_the_assistant_counts_less() -> None:
    """Of two equal messages the user's is better, by words and by vectors."""
    ranked = rank(remember("the dog is ill", "the dog is ill", roles="au"), ask("dog"))
    assert ranked.rows.tolist() == [1, 0]
    assert ranked.scores[1] == pytest.approx(WEIGHTS.assistant * ranked.scores[0])
    found = remember("puppy", "puppy", roles="au", vectors=[[1, 0], [1, 0]])
    assert rank(found, ask("dog", [1, 0])).rows.tolist() == [1, 0]


def test_a_named_speaker_is_preferred_and_others_stay() -> None:
    """Whom the question names comes first; what others said of that person is still found."""
    found = remember("Ann has a dog", "I have a dog", names={0: "Bo", 1: "Ann"})
    without = rank(found, ask("Ann's dog"), weights=replace(_MESSAGE_ONLY, speaker=1))
    ranked = rank(found, ask("Ann's dog"), weights=_MESSAGE_ONLY)
    assert ranked.rows.tolist() == [1, 0]
    assert ranked.scores[0] / ranked.scores[1] > without.scores[0] / without.scores[1]


def test_between_people_an_answer_has_what_its_question_asked() -> None:
    """What follows a question is better than what precedes it; towards an assistant that makes no difference."""
    texts = ("Sunny.", "What is your dog called?", "Rex!")
    weights = replace(_WORDS_ONLY, conversation=0)
    score = scores(rank(remember(*texts, conversations="aaa", names="BAB"), ask("dog"), weights=weights))
    assert score[2] > score[0] > 0
    score = scores(rank(remember(*texts, conversations="aaa", roles="aua"), ask("dog"), weights=weights))
    assert score[2] == score[0] > 0


def test_between_people_an_answer_is_about_what_its_question_is_about() -> None:
    """The same by vectors."""
    texts, vectors = ("Sunny.", "What is your puppy called?", "Rex!"), [_SOSO, [1.0, 0.0], _SOSO]
    found = remember(*texts, conversations="aaa", names="BAB", vectors=vectors)
    score = scores(rank(found, ask("dog", [1, 0])))
    assert score[2] > score[0] > 0
    found = remember(*texts, conversations="aaa", roles="aua", vectors=vectors)
    score = scores(rank(found, ask("dog", [1, 0])))
    assert score[2] == score[0] > 0


def test_between_people_a_question_tells_nothing() -> None:
    """Of the same words a statement is better, by words and by vectors; a user's questions to an assistant stay."""
    texts, vectors = ("the dog is ill?", "the dog is ill"), [[1, 0], [1, 0]]
    assert rank(remember(*texts, names="AB"), ask("dog")).rows.tolist() == [1, 0]
    assert rank(remember(*texts, names="AB", vectors=vectors), ask("zebra", [1, 0])).rows.tolist() == [1, 0]
    assert rank(remember(*texts), ask("dog")).scores.tolist() == [1, 1]


def test_long_questions_between_people_lose_less() -> None:
    """Who asks at length tells something, too."""
    long = " ".join(f"w{number}" for number in range(200))
    weights = replace(_MESSAGE_ONLY, b=0)
    score = scores(
        rank(remember("the dog is ill?", f"the dog {long}?", "a dog", names="ABA"), ask("dog"), weights=weights)
    )
    assert 2 * score[0] < score[1] < score[2]


def test_vectors_find_what_words_do_not() -> None:
    """A close vector is enough without a common word; a distant one is not."""
    found = remember("puppy", "stocks", vectors=[[0.8, 0.6], [0.2, 0.98]])
    assert rank(found, ask("dog", [1, 0])).rows.tolist() == [0]


def test_words_and_vectors_add_up() -> None:
    """What is best by both comes before what is best by one."""
    found = remember("dog", "dog tail", "puppy", vectors=[[0, 1], [1, 0], [1, 0]])
    ranked = rank(found, ask("dog", [1, 0]))
    assert ranked.rows.tolist()[0] == 1
    assert ranked.cosines == pytest.approx([{0: 0, 1: 1, 2: 1}[row] for row in ranked.rows.tolist()])


def test_a_conversation_about_it_is_better() -> None:
    """Of two messages as close, that of the conversation with a closer one wins, however far apart they are."""
    found = remember(
        *"abcdefgh", conversations="aaaabbbb", vectors=[_SOSO, *[[0, 1]] * 3, _SOSO, [0, 1], [0, 1], [1, 0]]
    )
    score = scores(rank(found, ask("zebra", [1, 0])))
    assert score[4] > score[0] > 0


def test_between_people_what_stands_next_to_it_is_better() -> None:
    """Of two messages as close, that next to a closer one wins; towards an assistant it does not matter."""
    texts = ("x", "x", "x", "x", "x", "x.", "Why?")
    far, close = [0.0, 1.0], [1.0, 0.0]
    vectors = [close, _SOSO, far, far, far, _SOSO, far]
    weights = replace(WEIGHTS, vector_answer=0)
    found = remember(*texts, conversations="a" * 7, names="ABABABA", vectors=vectors)
    score = scores(rank(found, ask("zebra", [1, 0]), weights=weights))
    assert score[1] > score[5] > 0
    found = remember(*texts, conversations="a" * 7, vectors=vectors)
    score = scores(rank(found, ask("zebra", [1, 0]), weights=weights))
    assert score[1] == score[5] > 0


def test_turns_with_an_assistant_stay_apart_among_others() -> None:
    """That people talk to each other elsewhere makes no difference to a conversation without names."""
    texts = ("x", "x", "x", "x", "x", "x", "Why?", "Well.")
    far, close = [0.0, 1.0], [1.0, 0.0]
    vectors = [close, _SOSO, far, far, far, _SOSO, far, far]
    found = remember(*texts, conversations="aaaaaabb", names={6: "A", 7: "B"}, vectors=vectors)
    score = scores(rank(found, ask("zebra", [1, 0])))
    assert score[1] == score[5] > 0


def test_what_was_said_then_is_better() -> None:
    """Of equal messages, that of the time asked about wins; others stay."""
    found = remember("I bought a lamp", "I bought a lamp", days=[0, 3])
    asked_at = START + timedelta(days=4)
    for weights in (WEIGHTS, replace(WEIGHTS, time_alone=0)):
        ranked = rank(found, ask("Which lamp was bought yesterday?", asked_at=asked_at), weights=weights)
        assert ranked.rows.tolist() == [1, 0]
    assert rank(found, ask("Which lamp was bought?", asked_at=asked_at)).rows.tolist() == [0, 1]


def test_a_time_alone_finds_all_of_it() -> None:
    """Who asks what was said yesterday gets that, without a common word, and only that."""
    found = remember("My roof leaks", "Rex has a cold", "It rained", days=[0, 3, 3.5])
    ranked = rank(found, ask("What did we talk about yesterday?", asked_at=START + timedelta(days=4)))
    assert ranked.rows.tolist() == [1, 2]
    assert ranked.relevance >= 0
    ranked = rank(found, ask("What did we talk about yesterday?", asked_at=START + timedelta(days=40)))
    assert ranked.rows.tolist() == []
    assert ranked.relevance < 0


def test_what_is_quoted_is_better() -> None:
    """Of the same words, those that stand together as quoted win, in capitals or not."""
    found = remember("exploration of space", "Space Exploration", "an exploration, a space")
    assert rank(found, ask("the talk 'space exploration'")).rows.tolist() == [1, 0, 2]
    assert rank(found, ask("the talk space exploration"), weights=_MESSAGE_ONLY).scores.tolist() == [1, 1, 1]


@pytest.mark.parametrize("vector", [[1, 0, 0], []])
def test_a_foreign_vector_is_ignored(vector: list[float]) -> None:
    """A query vector of another size leaves ranking to the words."""
    found = remember("dog", "cat", vectors=[[0, 1], [1, 0]])
    ranked = rank(found, ask("dog", vector))
    assert ranked.rows.tolist() == [0]
    assert ranked.cosines.tolist() == [0]
    assert ranked.relevance == rank(remember("dog", "cat"), ask("dog")).relevance


@pytest.mark.parametrize("text", ["hi", "", "How are you?", "ok, thanks!", "…"])
def test_greetings_find_nothing(text: str) -> None:
    """What asks for nothing finds nothing, however close it is."""
    ranked = rank(remember("my dog barks", vectors=[[1, 0]]), ask(text, [1, 0]))
    assert not ranked
    assert not ranked.words
    assert ranked.relevance < 0


def test_nothing_in_common_finds_nothing() -> None:
    """A question about what was never said finds nothing, but shows that it asked for something."""
    ranked = rank(remember("my dog barks", vectors=[[1, 0]]), ask("zebra", [0, 1]))
    assert ranked.rows.tolist() == []
    assert list(ranked.words) == ["zebra"]
    assert ranked.relevance < 0


@pytest.mark.parametrize("vectors", [True, False])
def test_relevance_tells_what_has_to_do_with_the_user(vectors: bool) -> None:
    """A question with its words and its sense here is above 0, one with neither below, with vectors and without."""
    rows = np.eye(20, 24)
    texts = [f"thing{number} is nice" for number in range(20)]
    found = remember(*texts, vectors=rows.tolist() if vectors else None)
    related = rank(found, ask("Where is thing7?", rows[7].tolist() if vectors else None))
    unrelated = rank(found, ask("Where is the zebra?", np.eye(24)[23].tolist() if vectors else None))
    assert related.relevance > 0 > unrelated.relevance


def test_relevance_is_harder_to_have_among_more() -> None:
    """The best of many memories looks like anything: as close as among few it says less."""
    relevances = [
        rank(remember(*["x"] * size, vectors=[[0.4, 0.9]] * size), ask("zebra", [1, 0])).relevance
        for size in (1, 10, 100, 1000)
    ]
    assert sorted(relevances, reverse=True) == relevances
    assert relevances[0] > 0 > relevances[-1]


@pytest.mark.parametrize("vectors", [None, [[1, 0], [1, 0]]])
def test_half_a_question_says_less(vectors: Sequence[Sequence[float]] | None) -> None:
    """The more of the question one conversation has, the more it is about this user; scattered words count less."""
    whole = remember("my dog", "eats fish", conversations="aa", vectors=vectors)
    scattered = remember("my dog", "eats fish", conversations="ab", vectors=vectors)
    vector = [1.0, 0.0] if vectors else None
    both, other = ask("dog fish", vector), ask("dog zebra", vector)
    assert rank(whole, both).relevance > rank(scattered, both).relevance
    assert rank(whole, both).relevance > rank(whole, other).relevance


def test_who_has_spoken_makes_it_likelier() -> None:
    """A question about somebody who speaks here is likelier to be one for memory than one that only has the name."""
    query = ask("Which colourful zebra eats Ann biscuits?")
    speaking, mentioned = remember("my dog", names={0: "Ann"}), remember("my dog with Ann", names={0: "Bo"})
    assert rank(speaking, query).relevance > rank(mentioned, query).relevance


def test_when_something_was_said_makes_it_likelier() -> None:
    """The same of a time at which something was said here."""
    text = "Which colourful zebra ate dog biscuits yesterday?"
    found = remember("my dog")
    then = rank(found, ask(text, asked_at=START + timedelta(days=1)))
    never = rank(found, ask(text, asked_at=START + timedelta(days=9)))
    assert then.relevance > never.relevance


def test_equal_words_with_the_same_term() -> None:
    """Two asked words that an index cannot tell apart find what has one, and nothing else."""
    found = remember("dog", "cat", "fish")
    query = replace(ask("dog bird"), terms=[hash_word("dog"), hash_word("dog")])
    ranked = rank(found, query)
    assert ranked.rows.tolist() == [0]
    assert list(ranked.words) == ["dog", "bird"]


def test_memories_without_words() -> None:
    """A memory of punctuation alone is no obstacle, and neither is a set of nothing else, or of nothing."""
    assert not rank(WorkingSet(), ask("dog"))
    assert rank(remember("?!", "dog"), ask("dog")).rows.tolist() == [1]
    assert not rank(remember("?!", "…"), ask("dog"))


def test_after_removals_conversations_do_not_count() -> None:
    """A conversation of which nothing is left has no part in how rare a word is."""
    kept = remember("dog cat", "cat", "fish dog", conversations="abc")
    changed = remember("dog cat", "cat", "fish dog", "dog dog dog", "bird", conversations="abcde")
    rank(changed, ask("dog cat"))
    changed.remove(["m3", "m4"])
    asked = ask("dog cat")
    assert rank(changed, asked).scores.tolist() == rank(kept, asked).scores.tolist()


def test_the_limit_keeps_the_best_and_the_order_of_equals() -> None:
    """Equal memories come in the order of the set, and no more than the limit."""
    found = remember(*["a dog"] * 30, "dog dog")
    ranked = rank(found, ask("dog"), limit=4, weights=_MESSAGE_ONLY)
    assert ranked.rows.tolist() == [30, 0, 1, 2]
    assert len(ranked.scores) == len(ranked.cosines) == 4


def test_the_same_question_has_the_same_answer() -> None:
    """What is kept between questions changes nothing, whatever weights another one was asked with."""
    found = remember(
        "a dog?", "a cat", "dog and cat", names="ABA", conversations="aab", vectors=[[1, 0], _SOSO, [0, 1]]
    )
    query = ask("dog", [1, 0], datetime(2024, 3, 16, tzinfo=UTC))
    first = rank(found, query)
    rank(found, query, weights=_MESSAGE_ONLY)
    again = rank(found, query)
    assert again.rows.tolist() == first.rows.tolist()
    assert again.scores.tolist() == first.scores.tolist()
    assert again.relevance == first.relevance
