"""What a score is made of, for people: apart from what makes it, which brings in more than they need to see it."""

import msgspec


class Why(msgspec.Struct, frozen=True, omit_defaults=True):
    """The parts of one score, which is (*lexical* + *vector*) times the factors ``time`` and ``phrase``, plus a little
    for the time alone.

    *words*: BM25 of each asked word, as the index knows it, in the memory itself; *around*: of what is said before and
    after it; *conversation*: of all that is said with it. *lexical* is what these come to, the best memory's being 1;
    *vector* likewise of the vectors, whose similarity with the question is *cosine*. *factors*: by what the score was
    multiplied: ``assistant`` and ``speaker`` within both parts, ``time`` and ``phrase`` after them.
    """

    words: list[tuple[str, float]] = []
    around: float = 0.0
    conversation: float = 0.0
    lexical: float = 0.0
    cosine: float = 0.0
    vector: float = 0.0
    factors: dict[str, float] = {}
