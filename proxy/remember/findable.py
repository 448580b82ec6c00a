"""Memories made findable before it is anybody's turn to store them, while others are being stored."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from proxy.models import Embedding
from proxy.remember.plan import Draft
from proxy.remember.records import Made, find_text


class Findable(NamedTuple):
    """What was *made* of some memories' texts, and their *terms*. *rows*: where in both, by id and embedded text. Good
    for as long as the models are those of *embedding*.
    """

    embedding: Embedding
    made: Made
    terms: Sequence[bytes]
    rows: Mapping[tuple[str, str], int]

    def pick(self, drafts: Sequence[Draft]) -> tuple[Made, list[bytes]] | None:
        """The same for *drafts*; None where something was not known of any of them."""
        found = [self.rows.get((draft.memory.id, find_text(draft.memory))) for draft in drafts]
        rows = [row for row in found if row is not None]
        if len(rows) < len(found):
            return None
        vectors = None if self.made.vectors is None else self.made.vectors[rows]
        return Made(self.made.model, vectors), [self.terms[row] for row in rows]
