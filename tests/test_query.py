"""What is asked of memory."""

from datetime import UTC, datetime

import numpy as np
import pytest

from proxy.models import Message
from proxy.recall.query import Query
from proxy.text import hash_word, words


def say(*texts: str) -> list[Message]:
    """A dialogue in turns, the last of which is the user's."""
    roles = ["user", "assistant"] if len(texts) % 2 else ["assistant", "user"]
    return [Message(roles[number % 2], text) for number, text in enumerate(texts)]


def test_a_question_becomes_words() -> None:
    """Index words in their order, each once, and the terms that an index knows them by."""
    query = Query.from_text("Does the dog like the other dogs?")
    assert list(query.words) == list(dict.fromkeys(words("Does the dog like the other dogs?")))
    assert set(query.words.values()) == {1.0}
    assert list(query.terms) == [hash_word(word) for word in query.words]


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
    assert list(query.words) == words("My sister visits Berlin. Which restaurants did she like?")
    assert set(query.words.values()) == {1.0}
    assert "Louvre" not in query.text


def test_an_elliptical_question_takes_its_context() -> None:
    """A question that names nothing brings the words before it, which weigh less than its own."""
    query = Query.from_dialogue(say("Recommend a museum", "The Louvre", "And the other one there, cheaper?"))
    assert 0 < query.words["museum"] < query.words["cheaper"] == 1.0
    assert "Louvre" in query.text


def test_context_does_not_reach_far() -> None:
    """What was said long before an elliptical question is not asked."""
    query = Query.from_dialogue(say("zebra", "lion", "tiger", "bear", "And a cheaper?"))
    assert "bear" in query.words
    assert "zebra" not in query.words


def test_long_context_is_shortened() -> None:
    """Of a long reply before an elliptical question only the ends are asked."""
    query = Query.from_dialogue(say("zebra " + "filler " * 500 + "lion", "And the cheaper?"))
    assert {"zebra", "lion", "cheaper"} <= set(query.words)
    assert len(query.text) < 400


def test_asked_words_outweigh_their_context() -> None:
    """A word both asked and said before counts as asked."""
    query = Query.from_text("dog", context="dog cat")
    assert query.words["dog"] == 1.0
    assert query.words["cat"] < 1.0
    assert list(query.terms) == [hash_word(word) for word in query.words]


@pytest.mark.parametrize("greeting", ["hi", "Hello!", "ok, thanks!", "…", ""])
def test_greetings_ask_nothing(greeting: str) -> None:
    """Courtesies ask for nothing, whatever was said before."""
    assert not Query.from_dialogue(say(greeting)).words
    assert not Query.from_dialogue(say("Recommend a museum", "The Louvre", greeting)).words


def test_a_question_of_function_words_is_about_what_was_said() -> None:
    """ "And the other one?" asks something where something was said before, and nothing at the beginning."""
    assert "museum" in Query.from_dialogue(say("Recommend a museum", "The Louvre", "And the other one?")).words
    assert not Query.from_dialogue(say("How are you?")).words


def test_a_dialogue_without_a_question_asks_nothing() -> None:
    """Without messages, or behind the reply, there is nothing to ask."""
    assert not Query.from_dialogue([]).words
    assert not Query.from_dialogue([Message("user", "Recommend a museum"), Message("assistant", "The Louvre")]).words


def test_a_pasted_document_is_cut_in_the_middle() -> None:
    """Of a very long message the head and the end are asked."""
    query = Query.from_dialogue(say("Summarise taxes " + "filler " * 2000 + "for Berlin"))
    assert len(query.text) < 2100
    assert {"summaris", "berlin"} <= set(query.words)


@pytest.mark.parametrize(
    ("text", "phrases"),
    [
        ("the talk about 'Space Exploration'", ["space exploration"]),
        ('who said "I never liked it"?', ["i never liked it"]),
        ("wer sagte „Das geht nicht“?", ["das geht nicht"]),
        ("le film «Les Choristes»", ["les choristes"]),
        ("「東京物語」について", ["東京物語"]),
        ("don't tell Ann's or Bob's secrets, that's it", []),
        ('the "it"', []),
        ('a stray " in the middle', []),
        ('"a\nbroken line"', []),
    ],
)
def test_quoted_phrases(text: str, phrases: list[str]) -> None:
    """What stands in quotation marks of several languages; apostrophes quote nothing."""
    assert list(Query.from_text(text).phrases) == phrases


def test_times_are_looked_for_in_the_question_only() -> None:
    """A question has times when it is known when it is asked; those of its context are not its own."""
    at = datetime(2024, 3, 20, tzinfo=UTC)
    assert len(Query.from_text("What did I buy yesterday?", asked_at=at).spans) == 1
    assert not Query.from_text("What did I buy yesterday?").spans
    assert not Query.from_text("And the other?", context="I was there yesterday", asked_at=at).spans
    assert len(Query.from_dialogue(say("What did I buy yesterday?"), asked_at=at).spans) == 1


@pytest.mark.parametrize(
    ("text", "topic"),
    [
        ("What does Ann's dog eat?", "What does  dog eat?"),
        ("What does Ann’s dog eat?", "What does  dog eat?"),
        ("what does ann eat?", "what does  eat?"),
        ("Did Anna meet Joanna?", "Did Anna meet Joanna?"),
        ("Did Ann Lee meet Ann?", "Did  meet ?"),
        ("Ann?", "Ann?"),
        ("Ann's", "Ann's"),
        ("Ann, Ann Lee!", "Ann, Ann Lee!"),
    ],
)
def test_the_topic_names_nobody(text: str, topic: str) -> None:
    """Names of speakers go, with what shows possession, as whole words; but something to ask is left always."""
    assert Query.from_text(text).topic(["Ann", "Ann Lee"]) == topic


def test_names_are_no_patterns() -> None:
    """A name may have any characters; without speakers the topic is the text."""
    assert Query.from_text("What does A.* eat?").topic(["A.*"]) == "What does  eat?"
    assert Query.from_text("What does Ann eat?").topic(["A.*", "("]) == "What does Ann eat?"
    assert Query.from_text("What does Ann eat?").topic([]) == "What does Ann eat?"


def test_a_vector_comes_with_the_rest() -> None:
    """Adding the vector changes nothing else."""
    query = Query.from_text('the "lost dog"', asked_at=datetime(2024, 3, 20, tzinfo=UTC))
    vector = np.array([1, 0], np.float32)
    complete = query.with_vector(vector)
    assert complete.vector is vector
    assert (complete.text, complete.words, complete.phrases) == (query.text, query.words, query.phrases)
