"""All that can be tuned in finding memories: each number with its reason and its measured effect.

Figures like .943 | .891 | .802 are the share of evidence inside 1,000 tokens on the development halves of LongMemEval,
LoCoMo and BEAM, those after "first ten:" the share among the ten best, both by ``memory-proxy eval``. On these halves
the numbers were chosen; with them the figures are .943 | .891 | .802, first ten: .922 | .823 | .684. There are 93, 231
and 72 questions, one of which is about .011, .004 and .014, so that smaller differences mean nothing.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """What of a memory counts how much."""

    # BM25. How often a word is said and how long a human turn is say little. Flat: k1 from .9 to 1.5 changes nothing,
    # nor does b = .75 (.945 | .887 | .804).
    k1: float = 1.2
    b: float = 0.5
    # BM25 of the whole conversation as one document, beside the message's own. Without: .938 | .881 | .793, first ten:
    # .911 | .810 | .669.
    conversation: float = 0.5
    conversation_b: float = 0.75
    # Short human turns answer each other, so the two before and after count, the less the longer the message itself
    # is: a third at 60 words. Without, first ten: .928 | .803 | .644; LongMemEval's longer turns would do without it.
    neighbour: float = 0.3
    neighbour_words: float = 60.0
    # Cosine beside BM25, both scaled to their maximum. Without: .922 | .870 | .778, first ten: .845 | .800 | .613.
    vector: float = 0.9
    # A part of the conversation's best cosine for each of its messages. Without: .944 | .886 | .798.
    vector_conversation: float = 0.2
    # As neighbour, but between people only: an assistant's long answers would blur what was asked. Without, LoCoMo's
    # first ten: .808.
    vector_neighbour: float = 0.1
    # Between people, a question tells nothing, but what follows it does. The answer gets so much of the question's
    # scores; the question loses so much, less so the longer it is. LoCoMo without: .891, .882, .874 in this order.
    answer: float = 0.5
    vector_answer: float = 0.4
    question: float = 0.8
    question_words: float = 80.0
    # What the assistant said is long and says less about the user. At 1: .933 | .891 | .771, first ten:
    # .874 | .823 | .604; at .7 the same as at .6, but BEAM's .790.
    assistant: float = 0.6
    # A turn of somebody whose name the query says. A boost and never a filter, since others talk about that person,
    # too. LoCoMo without: .855, first ten: .802.
    speaker: float = 1.5
    # A turn of a time that the query names. People err about dates, hence no filter either. LoCoMo without: .887.
    time: float = 1.5
    # What it gets for the time alone, without a word of the question: "what did we talk about yesterday?"
    time_alone: float = 0.1
    # A turn that has what the query quotes, word for word. No effect on the figures, which have three such questions.
    phrase: float = 1.3
    # The cosine that a memory needs without any asked word in it or around it. No effect from .2 to .5.
    floor: float = 0.3


WEIGHTS: Final = Weights()


@dataclass(frozen=True, slots=True, kw_only=True)
class Floor:
    """When a question is one about anything that this user has spoken of."""

    # The best cosine, and this part of how much of the question one conversation has, by the rarity of its words: of
    # answerable questions and those of another data set it puts the right one first in 99 % of pairs (the cosine alone
    # 98.5, the words alone 91.6).
    coverage: float = 0.3
    # The best of n memories looks the more like anything the more there are. With random 3, 10, 30, 100, 300 and 1,000
    # memories of a user 98 % of answerable questions reach .18, .22, .32, .38, .46 and .50, and 90 % of those of
    # another data set stay below .16, .28, .34, .40, .51 and .53.
    base: float = 0.12
    per_decade: float = 0.13
    # Without vectors, only the coverage is left.
    words_only: float = 0.25
    # A question about somebody who has spoken here, or about a time at which something was said, is likelier to be
    # one for memory.
    speaker: float = 0.15
    time: float = 0.1
    # A question with so few words beside the time it names is about all of that time.
    time_words: int = 3
    # From 0 on a question gets a whole block, so much below a small one, and nothing further down. Without any floor
    # the figures are .956 | .907 | .795, and nearly every question gets a whole block.
    doubt: float = 0.06


FLOOR: Final = Floor()
