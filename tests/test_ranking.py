"""What is asked, and which memories matter for it."""

import math
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from proxy.embedders.base import pack_vector
from proxy.models import Memory, Message, Record
from proxy.packing import make_pack
from proxy.recall.query import Query
from proxy.recall.ranking import WEIGHTS, rank
from proxy.text import ANALYSIS, hash_word, pack_terms, words
from proxy.workingset import WorkingSet

_WORDS_ONLY = replace(WEIGHTS, vector=0, vector_conversation=0)
_MESSAGE_ONLY = replace(_WORDS_ONLY, conversation=0, neighbour=0)


def make_set(
    *texts: str,
    conversations: str | None = None,
    roles: str | None = None,
    names: dict[int, str] | None = None,
    vectors: list[list[float]] | None = None,
) -> WorkingSet:
    """A set of *texts*; *conversations* and *roles* ("u", "a") have a character a text."""
    records = []
    for index, text in enumerate(texts):
        memory = Memory(
            id=f"m{index}",
            user_id="u",
            kind="turn",
            role="assistant" if roles and roles[index] == "a" else "user",
            text=text,
            created_at=datetime(2024, 1, 1, tzinfo=UTC),
            conversation_id=conversations[index] if conversations else f"c{index}",
            message_index=index,
            name=(names or {}).get(index),
        )
        vector = pack_vector(np.array(vectors[index], np.float32)) if vectors else b""
        records.append(Record(memory, vector, pack_terms(text, memory.name), ANALYSIS))
    return WorkingSet.from_pack(make_pack(records))


def test_the_best_match_comes_first() -> None:
    """More of the asked words and rarer ones are better; what has none is not found."""
    found = make_set("my dog barks", "my cat sleeps", "my dog eats fish", "fish and dog and fish")
    ranked = rank(found, Query.from_text("Does the dog like fish?"))
    assert ranked.rows.tolist()[:2] == [3, 2]
    assert 1 not in ranked.rows
    assert (np.diff(ranked.scores) <= 0).all()
    assert ranked.words == ("dog", "fish")


def test_scores_are_bm25() -> None:
    """A message's score by words alone is the textbook formula, computed here word by word."""
    texts = ("dog dog cat", "dog bird fish horse mouse", "cat", "bird bird dog dog dog")
    ranked = rank(make_set(*texts), Query.from_text("dog bird"), weights=_MESSAGE_ONLY)
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


def test_the_same_words_in_a_fitting_conversation_are_better() -> None:
    """Of two equal messages, that of the conversation with more about the topic wins."""
    found = make_set("I bought one", "rain", "I bought one", "tea", conversations="aabb")
    weights = replace(_WORDS_ONLY, neighbour=0)
    ranked = rank(found, Query.from_text("Which tea was bought?"), weights=weights)
    score = dict(zip(ranked.rows.tolist(), ranked.scores.tolist(), strict=True))
    assert score[2] > score[0]


def test_the_answer_next_to_the_words_is_found() -> None:
    """A short turn without any asked word is found by the turns around it, one of another conversation is not."""
    found = make_set("What is your dog called?", "Rex!", "Bo!", conversations="aab")
    ranked = rank(found, Query.from_text("dog called"), weights=replace(_WORDS_ONLY, conversation=0))
    assert ranked.rows.tolist() == [0, 1]


def test_long_turns_gain_nothing_from_their_neighbours() -> None:
    """The same neighbour counts less for a longer message."""
    long = " ".join(f"w{number}" for number in range(300))
    found = make_set("dog", "Rex!", "dog", long, conversations="aabb")
    weights = replace(_WORDS_ONLY, conversation=0)
    ranked = rank(found, Query.from_text("dog"), weights=weights)
    score = dict(zip(ranked.rows.tolist(), ranked.scores.tolist(), strict=True))
    assert score[3] < score[1] / 20


def test_the_assistant_counts_less() -> None:
    """Of two equal messages the user's is better."""
    ranked = rank(make_set("the dog is ill", "the dog is ill", roles="au"), Query.from_text("dog"))
    assert ranked.rows.tolist() == [1, 0]
    assert ranked.scores[1] == pytest.approx(WEIGHTS.assistant * ranked.scores[0])


def test_a_named_speaker_is_preferred_and_others_stay() -> None:
    """Whom the question names comes first; what others said of that person is still found."""
    found = make_set("Ann has a dog", "I have a dog", names={0: "Bo", 1: "Ann"})
    without = rank(found, Query.from_text("Ann's dog"), weights=replace(_MESSAGE_ONLY, speaker=1))
    ranked = rank(found, Query.from_text("Ann's dog"), weights=_MESSAGE_ONLY)
    assert ranked.rows.tolist() == [1, 0]
    assert ranked.scores[0] / ranked.scores[1] > without.scores[0] / without.scores[1]


def test_vectors_find_what_words_do_not() -> None:
    """A close vector is enough without a common word; a distant one is not."""
    found = make_set("puppy", "stocks", vectors=[[0.8, 0.6], [0.2, 0.98]])
    query = Query.from_text("dog").with_vector(np.array([1, 0], np.float32))
    assert rank(found, query).rows.tolist() == [0]


def test_words_and_vectors_add_up() -> None:
    """What is best by both comes before what is best by one."""
    found = make_set("dog", "dog tail", "puppy", vectors=[[0, 1], [1, 0], [1, 0]])
    query = Query.from_text("dog").with_vector(np.array([1, 0], np.float32))
    assert rank(found, query).rows.tolist()[0] == 1


@pytest.mark.parametrize("vector", [[1, 0, 0], []])
def test_a_foreign_vector_is_ignored(vector: list[float]) -> None:
    """A query vector of another size leaves ranking to the words."""
    found = make_set("dog", "cat", vectors=[[0, 1], [1, 0]])
    query = Query.from_text("dog").with_vector(np.array(vector, np.float32))
    assert rank(found, query).rows.tolist() == [0]


@pytest.mark.parametrize("text", ["hi", "", "How are you?", "ok, thanks!", "…", "zebra"])
def test_nothing_in_common_finds_nothing(text: str) -> None:
    """Greetings, and questions about what was never said, find nothing."""
    query = Query.from_text(text).with_vector(np.array([0, 1], np.float32))
    ranked = rank(make_set("my dog barks", vectors=[[1, 0]]), query)
    assert not ranked
    assert ranked.rows.tolist() == []


def test_an_empty_set_finds_nothing() -> None:
    """A user without memories is no special case for callers."""
    assert not rank(WorkingSet(), Query.from_text("dog"))


def test_after_removals_conversations_do_not_count() -> None:
    """A conversation of which nothing is left has no part in how rare a word is."""
    kept = make_set("dog cat", "cat", "fish dog", conversations="abc")
    changed = make_set("dog cat", "cat", "fish dog", "dog dog dog", "bird", conversations="abcde")
    changed.remove(["m3", "m4"])
    asked = Query.from_text("dog cat")
    assert rank(changed, asked).scores.tolist() == rank(kept, asked).scores.tolist()


def test_the_limit_keeps_the_best_and_the_order_of_equals() -> None:
    """Equal memories come in the order of the set, and no more than the limit."""
    found = make_set(*["a dog"] * 30, "dog dog")
    ranked = rank(found, Query.from_text("dog"), limit=4, weights=_MESSAGE_ONLY)
    assert ranked.rows.tolist() == [30, 0, 1, 2]


def test_a_dialogue_asks_with_its_last_user_messages() -> None:
    """What the user said since the last reply is the question; what came before is not."""
    query = Query.from_dialogue(
        [
            Message("user", "Tell me about Paris museums"),
            Message("assistant", "The Louvre"),
            Message("user", "My sister visits Berlin"),
            Message("user", "Which restaurants did she like?"),
        ]
    )
    assert query.words == tuple(words("sister visits Berlin restaurants"))
    assert set(query.terms.values()) == {1.0}


def test_an_elliptical_question_takes_its_context() -> None:
    """A question that names nothing brings the words before it, at half weight."""
    query = Query.from_dialogue(
        [
            Message("user", "Recommend a museum"),
            Message("assistant", "The Louvre"),
            Message("user", "And the other one?"),
        ]
    )
    assert query.terms[hash_word("museum")] == 0.5
    assert "Louvre" in query.text


def test_asked_words_outweigh_their_context() -> None:
    """A word both asked and said before counts as asked."""
    query = Query.from_text("dog", context="dog cat")
    assert query.terms == {hash_word("cat"): 0.5, hash_word("dog"): 1.0}


def test_a_pasted_document_is_cut_in_the_middle() -> None:
    """Of a very long message the head and the end are asked."""
    query = Query.from_dialogue([Message("user", "Summarise taxes " + "filler " * 2000 + "for Berlin")])
    assert len(query.text) < 2100
    assert {"summaris", "berlin"} <= set(query.words)


def test_a_dialogue_without_a_question_asks_nothing() -> None:
    """Without messages, or with a greeting alone, there is nothing to ask."""
    assert not Query.from_dialogue([]).terms
    assert not Query.from_dialogue([Message("user", "Hello!")]).terms
