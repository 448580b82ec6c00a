"""Memories made findable: each with its vector and its terms."""

from collections.abc import Sequence

from proxy.embedders.base import Embedder, pack_vector
from proxy.models import Memory, Record
from proxy.text import ANALYSIS, pack_terms


async def make_records(memories: Sequence[Memory], embedder: Embedder) -> list[Record]:
    """Records in the order of *memories*.

    Raises:
        EmbedderError: no vectors for now; nothing was made, and the same call may succeed later.
    """
    vectors = await embedder.embed([memory.text for memory in memories])
    return [
        Record(
            memory=memory,
            vector=pack_vector(vector) if vector.size else b"",
            terms=pack_terms(memory.text, memory.name),
            analysis=ANALYSIS,
            model=embedder.name,
        )
        for memory, vector in zip(memories, vectors, strict=True)
    ]


def refresh(record: Record, model: str) -> Record:
    """*record* as the present analysis and the embedder called *model* can use it.

    Terms of an older analysis are made anew. A vector of another model is left out: it does not compare.
    """
    terms, vector = record.terms, record.vector
    if record.analysis != ANALYSIS:
        terms = pack_terms(record.memory.text, record.memory.name)
    if record.model != model:
        vector = b""
    if terms is record.terms and vector is record.vector:
        return record
    return Record(record.memory, vector, terms, ANALYSIS, record.model)
