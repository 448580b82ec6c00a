"""Which memories matter for a query: words and vectors together, exactly, over all memories of the user."""

from collections.abc import Mapping, Sequence
from math import log10
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from proxy.recall.query import Query
from proxy.recall.weights import FLOOR, WEIGHTS, Floor, Weights
from proxy.workingset import Floats, Postings, WorkingSet

Scores = NDArray[np.floating]


class Ranked(NamedTuple):
    """Rows of the working set, best first, their scores, and what the index words that were asked for weigh.

    *relevance* says how much more these memories have to do with the query than the best of so many unrelated ones
    would: from 0 on they have, a little below nobody can tell.
    """

    rows: NDArray[np.intp]
    scores: Floats
    words: Mapping[str, float]
    relevance: float
    cosines: Floats  # of the rows, 0 without vectors

    def __bool__(self) -> bool:
        return len(self.rows) > 0


class Lexical(NamedTuple):
    """BM25 of each row, unscaled: *own*, with its neighbours and its conversation *score*."""

    score: Scores
    own: Scores
    around: Scores
    rarity: Scores  # of each asked word
    coverage: float  # the most of the question that one conversation has


class Scored(NamedTuple):
    """What each row has to do with a query, and by what. *score* is without phrases, which only the best are read for.

    *words* and *vectors* are the parts that add up to it, but for the time: *then*, the rows of the time that is asked
    about, or None. *named*: those of a speaker who is asked about.
    """

    score: Scores
    words: Scores
    vectors: Scores
    lexical: Lexical
    cosines: Floats
    named: NDArray[np.bool_] | None
    then: NDArray[np.bool_] | None


_NOTHING = Ranked(np.zeros(0, np.intp), np.zeros(0, np.float32), {}, -1.0, np.zeros(0, np.float32))


def rank(
    working_set: WorkingSet, query: Query, *, limit: int = 128, weights: Weights = WEIGHTS, floor: Floor = FLOOR
) -> Ranked:
    """The *limit* best memories for *query*; none when it has no index word, as "hi", or nothing in common with them.

    Equal scores keep the order of the working set. Costs about 150 µs at 1,000 memories.
    """
    if not query.words or not len(working_set):
        return _NOTHING
    scored = score(working_set, query, weights)
    then = scored.then
    related = (scored.lexical.score > 0) | (scored.cosines >= weights.floor)
    if then is not None:
        related |= then
    best = _select(np.where(related, scored.score, 0.0), limit)
    best = _prefer_phrases(working_set, query, best, scored.score, weights)
    words = dict(zip(query.words, scored.lexical.rarity.tolist(), strict=True))
    relevance = _judge(scored.lexical.coverage, scored.cosines, floor)
    relevance += floor.speaker * (scored.named is not None) + floor.time * (then is not None)
    if then is not None and len(query.words) <= floor.time_words:
        relevance = max(relevance, 0.0)
    return Ranked(best, scored.score[best].astype(np.float32), words, relevance, scored.cosines[best])


def score(working_set: WorkingSet, query: Query, weights: Weights = WEIGHTS) -> Scored:
    """Scores all rows for a *query* that has index words."""
    constant = _derive_constants(working_set, weights)
    lexical = _score_words(working_set, query, constant)
    cosines = _score_vectors(working_set, query)
    named = working_set.speaker_rows(query.terms)
    emphasis = constant.emphasis if named is None else np.where(named, constant.raised, constant.emphasis)
    similar = _spread(cosines, working_set, constant)
    words, vectors = _scale(lexical.score * emphasis), weights.vector * _scale(similar * emphasis)
    total = words + vectors
    then = _find_then(working_set, query)
    if then is not None:
        total = np.where(then, total * weights.time + weights.time_alone, total)
    return Scored(total, words, vectors, lexical, cosines, named, then)


def score_each_word(working_set: WorkingSet, query: Query, rows: Sequence[int]) -> dict[int, dict[str, float]]:
    """BM25 of each asked word in each of *rows* itself, of those words that are there."""
    constant = _derive_constants(working_set, WEIGHTS)
    postings = working_set.find(query.terms)
    rarity = _weigh_words(postings, query, len(working_set))
    parts = _score_postings(postings, rarity, constant)
    names, wanted = list(query.words), set(rows)
    found: dict[int, dict[str, float]] = {}
    for term, row, part in zip(postings.term.tolist(), postings.row.tolist(), parts.tolist(), strict=True):
        if row in wanted:
            found.setdefault(row, {})[names[term]] = part
    return found


class _Constants(NamedTuple):
    """What of the scores does not depend on the query: half of ranking's cost, were it not kept."""

    weights: Weights
    message_norm: Scores  # BM25's denominator without the count, of each message
    around: Scores  # how open each message is to what stands around it
    conversation_norm: Scores  # as message_norm, of each conversation
    conversations: int  # those that have words
    emphasis: Floats  # for the role of who said it, and whether that is a question
    raised: Floats  # the same for a speaker who is named
    asking: Floats | None  # what part of each message asks; None where only one person speaks


def _derive_constants(working_set: WorkingSet, weights: Weights) -> _Constants:
    known = working_set.derived.get(_Constants)
    if not (isinstance(known, _Constants) and known.weights is weights):
        known = working_set.derived[_Constants] = _compute_constants(working_set, weights)
    return known


def _compute_constants(working_set: WorkingSet, weights: Weights) -> _Constants:
    columns, size = working_set.columns, working_set.layout.conversations
    length = columns.words
    by_conversation = np.bincount(columns.conversation, length, minlength=size)
    spoken = max(int(np.count_nonzero(by_conversation)), 1)
    emphasis = np.where(columns.assistant, np.float32(weights.assistant), np.float32(1))
    asking = columns.asking if columns.asking.any() else None
    if asking is not None:
        emphasis = emphasis * (1 - weights.question * asking * np.exp(length / -weights.question_words))
    return _Constants(
        weights=weights,
        message_norm=_normalise(length, float(length.mean()), weights.k1, weights.b),
        around=np.exp(length / -weights.neighbour_words),
        conversation_norm=_normalise(
            by_conversation, float(by_conversation.sum()) / spoken, weights.k1, weights.conversation_b
        ),
        conversations=spoken,
        emphasis=emphasis,
        raised=emphasis * np.float32(weights.speaker),
        asking=asking,
    )


def _normalise(length: NDArray[Any], mean: float, k1: float, b: float) -> Scores:
    norm: Scores = k1 * (1 - b + b * length / max(mean, 1.0))
    return norm


def _score_words(working_set: WorkingSet, query: Query, constant: _Constants) -> Lexical:
    """BM25 of each message, of its neighbours and of its conversation."""
    postings = working_set.find(query.terms)
    rarity = _weigh_words(postings, query, len(working_set))
    if not len(postings.row):
        nothing = np.zeros(len(working_set))
        return Lexical(nothing, nothing, nothing, rarity, 0.0)
    own, around = _score_messages(working_set, _score_postings(postings, rarity, constant), postings, constant)
    asked = np.fromiter(query.words.values(), np.float64, len(query.words))
    counts = _count_by_conversation(working_set, postings, len(asked))
    conversation = _score_conversations(counts, asked, constant)
    whole = own + around + constant.weights.conversation * conversation[working_set.columns.conversation]
    return Lexical(whole, own, around, rarity, float((rarity @ (counts > 0)).max() / rarity.sum()))


def _weigh_words(postings: Postings, query: Query, total: int) -> Scores:
    """How much each asked word says, the rarer the more."""
    asked = np.fromiter(query.words.values(), np.float64, len(query.words))
    weight: Scores = asked * _rarity(np.bincount(postings.term, minlength=len(asked)), total)
    return weight


def _score_postings(postings: Postings, rarity: Scores, constant: _Constants) -> Scores:
    norm = constant.message_norm[postings.row]
    parts: Scores = rarity[postings.term] * _saturate(postings.weight, norm, constant.weights.k1)
    return parts


def _score_messages(
    working_set: WorkingSet, parts: Scores, postings: Postings, constant: _Constants
) -> tuple[Scores, Scores]:
    """What *parts* come to in each message, and what is around it counts for it."""
    weights = constant.weights
    # One more, which neighbours that are not there point at.
    own: NDArray[Any] = np.bincount(postings.row, parts, minlength=len(working_set) + 1)
    near = working_set.layout.neighbours
    around = weights.neighbour * own[near].sum(axis=0)
    own = own[:-1]
    if constant.asking is not None:
        around += weights.answer * _follow_questions(own, near, constant.asking)
    return own, constant.around * around


def _follow_questions(score: NDArray[Any], near: NDArray[np.int64], asking: Floats) -> Scores:
    """Of each message, the score of the one before it in as far as that asks."""
    asked: Scores = np.append(score * asking, 0)[near[1]]
    return asked


def _count_by_conversation(working_set: WorkingSet, postings: Postings, asked: int) -> Scores:
    """How often each asked word is in each conversation."""
    size = working_set.layout.conversations
    where = postings.term * size + working_set.columns.conversation[postings.row]
    counted = np.bincount(where, postings.weight, minlength=asked * size)
    return counted.astype(np.float64, copy=False).reshape(-1, size)


def _score_conversations(counts: Scores, asked: Scores, constant: _Constants) -> Scores:
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
    # Not by BLAS, whose threads wait for each other: on a busy machine that is 10 ms and more at times.
    cosines: Floats = np.maximum(np.vecdot(vectors, query.vector), 0)
    return cosines


def _spread(cosines: Floats, working_set: WorkingSet, constant: _Constants) -> Scores:
    """*cosines*, each with a part of the best one of its conversation, and between people of what is around it."""
    weights, spread = constant.weights, cosines
    if constant.asking is not None:
        near = working_set.layout.neighbours
        around = weights.vector_neighbour * np.append(cosines, 0)[near].sum(axis=0)
        around += weights.vector_answer * _follow_questions(cosines, near, constant.asking)
        spread = cosines + (constant.around * around * (working_set.columns.speaker >= 0)).astype(np.float32)
    best = np.zeros(working_set.layout.conversations, np.float32)
    np.maximum.at(best, working_set.columns.conversation, spread)
    whole: Scores = spread + np.float32(weights.vector_conversation) * best[working_set.columns.conversation]
    return whole


def _find_then(working_set: WorkingSet, query: Query) -> NDArray[np.bool_] | None:
    """The rows of the time that is asked about; None without such."""
    if not query.spans:
        return None
    when = working_set.columns.when
    then = np.zeros(len(working_set), np.bool_)
    for span in query.spans:
        then |= (when >= span.begin) & (when < span.end)
    return then if then.any() else None


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


def _prefer_phrases(
    working_set: WorkingSet, query: Query, best: NDArray[np.intp], score: Scores, weights: Weights
) -> NDArray[np.intp]:
    """*best* with those first that have what is quoted; raises their *score*."""
    if not query.phrases:
        return best
    for row in best.tolist():
        text = working_set.memories[row].text.lower()
        if any(phrase in text for phrase in query.phrases):
            score[row] *= weights.phrase
    return best[np.argsort(-score[best], kind="stable")]


def _judge(coverage: float, cosines: Floats, floor: Floor) -> float:
    """:attr:`Ranked.relevance`."""
    closest = float(cosines.max())
    if closest <= 0:
        return coverage - floor.words_only
    return closest + floor.coverage * coverage - (floor.base + floor.per_decade * log10(len(cosines)))
