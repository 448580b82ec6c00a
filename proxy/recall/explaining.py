"""Why a memory has its score: what of it is from words, from vectors and from what else the question says."""

from collections.abc import Sequence

import numpy as np

from proxy.recall.query import Query
from proxy.recall.ranking import Scored, score, score_each_word
from proxy.recall.weights import WEIGHTS
from proxy.recall.why import Why
from proxy.workingset import WorkingSet


def explain(working_set: WorkingSet, query: Query, rows: Sequence[int]) -> list[Why]:
    """Why each of *rows* is as near to *query* as it is. Costs about as much as ranking."""
    if not query.words or not rows:
        return [Why() for _ in rows]
    scored = score(working_set, query)
    words = score_each_word(working_set, query, rows)
    return [_explain(working_set, query, scored, row, words.get(row, {})) for row in rows]


def _explain(working_set: WorkingSet, query: Query, scored: Scored, row: int, words: dict[str, float]) -> Why:
    lexical = scored.lexical
    conversation = float(lexical.score[row] - lexical.own[row] - lexical.around[row])
    return Why(
        words=sorted(((word, _round(part)) for word, part in words.items()), key=lambda pair: -pair[1]),
        around=_round(lexical.around[row]),
        conversation=_round(conversation),
        lexical=_round(scored.words[row]),
        cosine=_round(scored.cosines[row]),
        vector=_round(scored.vectors[row]),
        factors=_find_factors(working_set, query, scored, row),
    )


def _find_factors(working_set: WorkingSet, query: Query, scored: Scored, row: int) -> dict[str, float]:
    factors = {}
    if working_set.columns.assistant[row]:
        factors["assistant"] = WEIGHTS.assistant
    if scored.named is not None and scored.named[row]:
        factors["speaker"] = WEIGHTS.speaker
    if scored.then is not None and scored.then[row]:
        factors["time"] = WEIGHTS.time
    text = working_set.memories[row].text.lower()
    if any(phrase in text for phrase in query.phrases):
        factors["phrase"] = WEIGHTS.phrase
    return factors


def _round(number: float | np.floating) -> float:
    # What is not there comes out as a little less or more than nothing.
    return round(float(number), 4) + 0.0
