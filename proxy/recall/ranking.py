"""Which memories matter for a query: words and vectors together, exactly, over all memories of the user."""

from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from proxy.recall.query import Query
from proxy.workingset import Floats, Postings, WorkingSet

Scores = NDArray[np.floating]


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """All that can be tuned in ranking.

    Numbers like .933/.838/.687 are the share of evidence inside 1,000 tokens on the development halves of LongMemEval,
    LoCoMo and BEAM, by ``memory-proxy eval``, on which these weights were chosen. They have 93, 231 and 72 questions:
    one question is about .011, .004 and .014, so that smaller differences mean nothing.
    """

    # BM25. A human turn's length says little about it, hence b below the usual .75: .933/.838/.687, with .75
    # .929/.836/.706.
    k1: float = 1.2
    b: float = 0.5
    # BM25 of the whole conversation as one document, beside the message's own: .933/.838/.687, without .927/.818/.697;
    # evidence among the first ten .924/.753/.684, without .900/.735/.669.
    conversation: float = 0.5
    conversation_b: float = 0.75
    # Short human turns answer each other, so the two before and after count, the less the longer the message itself
    # is: a third at 60 words. .933/.838/.687, without .931/.788/.650; but inside 500 tokens LongMemEval has .912
    # without and .881 with it.
    neighbour: float = 0.3
    neighbour_words: float = 60.0
    # Cosine beside BM25, both scaled to their maximum: .933/.838/.687, without .875/.843/.650, at .5 .919/.852/.693.
    vector: float = 0.9
    # A part of the conversation's best cosine for each of its messages: .933/.838/.687, without .927/.818/.691.
    vector_conversation: float = 0.2
    # What the assistant said is long and says less about the user: .933 at .6, .929 at .7, .892 at 1 (LongMemEval).
    assistant: float = 0.6
    # A turn of somebody whose name the query says: .838, without .810 (LoCoMo). A boost and never a filter, since
    # others talk about that person, too.
    speaker: float = 1.5
    # The cosine that a memory needs without any asked word in it or around it. No measured effect from .2 to .5; the
    # closest memory to "bonjour" has .27 (median of 20 users).
    floor: float = 0.3


WEIGHTS: Final = Weights()


class Ranked(NamedTuple):
    """Rows of the working set, best first, their scores, and the index words that were asked for."""

    rows: NDArray[np.intp]
    scores: Floats
    words: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return len(self.rows) > 0


def rank(working_set: WorkingSet, query: Query, *, limit: int = 128, weights: Weights = WEIGHTS) -> Ranked:
    """The *limit* best memories for *query*; none when it has no index word, as "hi", or nothing in common with them.

    Equal scores keep the order of the working set. Costs about 150 µs at 1,000 memories.
    """
    if not query.terms or not len(working_set):
        return Ranked(np.zeros(0, np.intp), np.zeros(0, np.float32))
    constant = _derive_constants(working_set, weights)
    lexical = _score_words(working_set, query, constant)
    cosines = _score_vectors(working_set, query)
    related = (lexical > 0) | (cosines >= weights.floor)
    emphasis = _emphasise(working_set, query, constant)
    score = _scale(lexical * emphasis) + weights.vector * _scale(_spread(cosines, working_set, weights) * emphasis)
    best = _select(np.where(related, score, 0.0), limit)
    return Ranked(best, score[best].astype(np.float32), query.words)


class _Constants(NamedTuple):
    """What of the scores does not depend on the query: half of ranking's cost, were it not kept."""

    weights: Weights
    message_norm: Scores  # BM25's denominator without the count, of each message
    around: Scores  # what a neighbour's score counts for each message
    conversation_norm: Scores  # as message_norm, of each conversation
    conversations: int  # those that have words
    emphasis: Floats  # for the role of who said it


def _derive_constants(working_set: WorkingSet, weights: Weights) -> _Constants:
    layout = working_set.layout
    if not (isinstance(layout.derived, _Constants) and layout.derived.weights is weights):
        layout.derived = _compute_constants(working_set, weights)
    return layout.derived


def _compute_constants(working_set: WorkingSet, weights: Weights) -> _Constants:
    columns, size = working_set.columns, working_set.layout.conversations
    length = columns.words
    by_conversation = np.bincount(columns.conversation, length, minlength=size)
    spoken = max(int(np.count_nonzero(by_conversation)), 1)
    return _Constants(
        weights=weights,
        message_norm=_normalise(length, float(length.mean()), weights.k1, weights.b),
        around=weights.neighbour * np.exp(length / -weights.neighbour_words),
        conversation_norm=_normalise(
            by_conversation, float(by_conversation.sum()) / spoken, weights.k1, weights.conversation_b
        ),
        conversations=spoken,
        emphasis=np.where(columns.assistant, np.float32(weights.assistant), np.float32(1)),
    )


def _normalise(length: NDArray[Any], mean: float, k1: float, b: float) -> Scores:
    norm: Scores = k1 * (1 - b + b * length / max(mean, 1.0))
    return norm


def _score_words(working_set: WorkingSet, query: Query, constant: _Constants) -> Scores:
    """BM25 of each message, of its neighbours and of its conversation."""
    postings = working_set.find(list(query.terms))
    if not len(postings.row):
        return np.zeros(len(working_set))
    asked = np.fromiter(query.terms.values(), np.float64, len(query.terms))
    message = _score_messages(working_set, postings, asked, constant)
    conversation = _score_conversations(working_set, postings, asked, constant)
    return message + constant.weights.conversation * conversation[working_set.columns.conversation]


def _score_messages(working_set: WorkingSet, postings: Postings, asked: Scores, constant: _Constants) -> Scores:
    size = len(working_set)
    rarity = asked * _rarity(np.bincount(postings.term, minlength=len(asked)), size)
    norm = constant.message_norm[postings.row]
    parts = rarity[postings.term] * _saturate(postings.weight, norm, constant.weights.k1)
    own = np.zeros(size + 1)  # one more for the neighbours that are not there
    own[:size] = np.bincount(postings.row, parts, minlength=size)
    total: Scores = own[:size] + constant.around * own[working_set.layout.neighbours].sum(axis=0)
    return total


def _score_conversations(working_set: WorkingSet, postings: Postings, asked: Scores, constant: _Constants) -> Scores:
    size = working_set.layout.conversations
    where = postings.term * size + working_set.columns.conversation[postings.row]
    counted = np.bincount(where, postings.weight, minlength=len(asked) * size)
    counts = counted.astype(np.float64, copy=False).reshape(-1, size)
    rarity = asked * _rarity((counts > 0).sum(axis=1), constant.conversations)
    score: Scores = rarity @ _saturate(counts, constant.conversation_norm, constant.weights.k1)
    return score


def _rarity(frequency: NDArray[np.intp], total: int) -> Scores:
    weight: Scores = np.log(1 + (total - frequency + 0.5) / (frequency + 0.5))
    return weight


def _saturate(count: Scores, norm: Scores, k1: float) -> Scores:
    saturated: Scores = count * (k1 + 1) / (count + norm)
    return saturated


def _score_vectors(working_set: WorkingSet, query: Query) -> Floats:
    """Cosines, none below 0; all 0 where there is no vector or one of another model."""
    vectors = working_set.vectors
    if query.vector is None or not query.vector.size or query.vector.shape != vectors.shape[1:]:
        return np.zeros(len(working_set), np.float32)
    cosines: Floats = np.maximum(vectors @ query.vector, 0)
    return cosines


def _spread(cosines: Floats, working_set: WorkingSet, weights: Weights) -> Floats:
    """*cosines*, each with a part of the best one of its conversation."""
    best = np.zeros(working_set.layout.conversations, np.float32)
    np.maximum.at(best, working_set.columns.conversation, cosines)
    spread: Floats = cosines + np.float32(weights.vector_conversation) * best[working_set.columns.conversation]
    return spread


def _emphasise(working_set: WorkingSet, query: Query, constant: _Constants) -> Floats:
    """A factor for who said it."""
    named = working_set.speaker_rows(query.terms.keys())
    if named is None:
        return constant.emphasis
    raised: Floats = np.where(named, constant.emphasis * np.float32(constant.weights.speaker), constant.emphasis)
    return raised


def _scale(score: Scores) -> Scores:
    top = score.max()
    return score / top if top > 0 else score


def _select(score: Scores, limit: int) -> NDArray[np.intp]:
    """Rows of the *limit* largest positive scores, best first; equal ones in order of their rows."""
    rows = np.flatnonzero(score > 0)
    if len(rows) > limit:
        least = np.partition(score[rows], len(rows) - limit)[len(rows) - limit]
        rows = rows[score[rows] >= least]
    return rows[np.argsort(-score[rows], kind="stable")][:limit]
