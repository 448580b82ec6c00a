"""Why a memory has its score: the parts add up to what ranking says."""

from datetime import UTC, datetime

import numpy as np
import pytest

from proxy.models import Pack
from proxy.recall.explaining import explain
from proxy.recall.query import Query
from proxy.recall.ranking import rank
from proxy.recall.weights import WEIGHTS
from proxy.recall.why import Why
from proxy.workingset import WorkingSet
from tests.remembered import make_memory, make_set

VECTORS = [[1.0, 0.0], [0.6, 0.8], [0.0, 1.0], [0.8, 0.6]]


def remember() -> WorkingSet:
    """Two conversations: of a dog, with an answer of the assistant's, and of a garden."""
    return make_set(
        [
            make_memory(0, 'My dog is called "Biscuit the Great".', conversation="dog"),
            make_memory(1, "Biscuit is a fine name for a dog.", conversation="dog", role="assistant"),
            make_memory(2, "The garden needs water.", conversation="garden", days=30),
            make_memory(3, "A dog ran through the garden.", conversation="garden", days=30),
        ],
        VECTORS,
    )


def ask(text: str, *, asked_at: datetime | None = None) -> Query:
    return Query.from_text(text, asked_at=asked_at).with_vector(np.array([1.0, 0.0], np.float32))


@pytest.mark.parametrize("text", ["Where is the dog?", "garden dog water", 'Who is "biscuit the great"?', "zebra"])
def test_the_parts_make_the_score(text: str) -> None:
    """Of every memory that is found, whatever it is found by."""
    memories, query = remember(), ask(text)
    ranked = rank(memories, query)
    rows = ranked.rows.tolist()
    assert rows
    for score, why in zip(ranked.scores.tolist(), explain(memories, query, rows), strict=True):
        made = (why.lexical + why.vector) * why.factors.get("phrase", 1.0)
        assert made == pytest.approx(score, abs=2e-4)


def test_each_word_is_named() -> None:
    """Those that the memory has, the weightiest first; what its neighbours and its conversation have is apart."""
    memories = remember()
    dog, answer, garden, both = explain(memories, ask("garden dog"), range(4))
    assert [[word for word, _ in why.words] for why in (dog, answer, garden, both)] == [
        ["dog"],
        ["dog"],
        ["garden"],
        ["garden", "dog"],
    ]
    assert garden.around > 0
    assert garden.conversation > garden.words[0][1] * WEIGHTS.conversation
    assert (dog.cosine, garden.cosine) == (1.0, 0.0)
    assert garden.vector == pytest.approx(0.9 * 0.2 * 0.8 / 1.2, abs=1e-3)


def test_factors_are_told() -> None:
    """Who said it, what is quoted, and when it was."""
    memories = remember()
    dog, answer = explain(memories, ask('Who is "biscuit the great"?'), [0, 1])
    assert dog.factors == {"phrase": WEIGHTS.phrase}
    assert answer.factors == {"assistant": WEIGHTS.assistant}
    when = memories.memories[2].created_at
    asked = ask("What about the garden yesterday?", asked_at=datetime.fromtimestamp(when.timestamp() + 86_400, UTC))
    assert [why.factors for why in explain(memories, asked, [2])] == [{"time": WEIGHTS.time}]


def test_nothing_asked_is_nothing_explained() -> None:
    """A greeting has no words to look for; nobody asked for what always holds."""
    assert explain(remember(), ask("hi"), [0, 1]) == [Why(), Why()]
    assert explain(WorkingSet.from_pack(Pack([], 0, b"", b"", b"", b"", [])), ask("dog"), []) == []
