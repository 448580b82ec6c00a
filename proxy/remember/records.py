"""Memories made findable: each with its vector, its terms and what is stated in it."""

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Final, NamedTuple, TypeVar

import msgspec

from proxy.embedders.base import Embedder, Vectors, pack_vector
from proxy.models import Embedding, EmbeddingModel, Memory, Record
from proxy.remember.plan import Draft
from proxy.statements import Statement, find_statements
from proxy.text import ANALYSIS, pack_terms

T = TypeVar("T")

# So many are worth a thread: half of embedding is done without Python, and meanwhile it can look for terms.
_MANY: Final = 32


class Made(NamedTuple):
    """Vectors of some texts, and the label of the model that made them; without *vectors* there are words alone."""

    model: str = ""
    vectors: Vectors | None = None

    def pack(self, row: int) -> bytes:
        """The vector of one text in stored form."""
        return b"" if self.vectors is None or not self.vectors.shape[1] else pack_vector(self.vectors[row])


WORDS_ALONE: Final = Made()


async def make_records(drafts: Sequence[Draft], embedder: Embedder) -> list[Record]:
    """Records in the order of *drafts*.

    Raises:
        EmbedderError: no vectors for now; nothing was made, and the same call may succeed later.
    """
    vectors, terms = await find_terms_beside(drafts, embedder.embed(list_texts(drafts)))
    return join(drafts, terms, Made(embedder.name, vectors))


def list_texts(drafts: Sequence[Draft]) -> list[str]:
    """What of each of *drafts* is embedded."""
    return [find_text(draft.memory) for draft in drafts]


async def find_terms_beside(drafts: Sequence[Draft], embedding: Awaitable[T]) -> tuple[T, list[bytes]]:
    """What *embedding* answers, and meanwhile the terms of *drafts*."""
    if len(drafts) < _MANY:
        return await embedding, _find_terms(drafts)
    vectors, terms = await asyncio.gather(embedding, asyncio.to_thread(_find_terms, drafts))
    return vectors, terms


def _find_terms(drafts: Sequence[Draft]) -> list[bytes]:
    return [pack_terms(draft.memory.text, draft.memory.name) for draft in drafts]


def join(drafts: Sequence[Draft], terms: Sequence[bytes], made: Made, other: Made = WORDS_ALONE) -> list[Record]:
    """Records in the order of *drafts*, with their *terms* and what was *made* of :func:`list_texts`."""
    return [
        Record(
            memory=memory,
            vector=made.pack(row),
            terms=terms[row],
            analysis=ANALYSIS,
            model=made.model,
            statements=statements,
            chain=chain,
            parent=parent,
            other_vector=other.pack(row),
            other_model=other.model,
        )
        for row, (memory, chain, parent, statements) in enumerate(drafts)
    ]


def refresh(record: Record, model: EmbeddingModel | None) -> Record:
    """*record* as the present analysis can use it, with the vector that *model* has made, if it has one.

    Terms and statements of an older analysis are made anew. Vectors of other models are left out: they do not compare.
    """
    if record.analysis != ANALYSIS:
        terms, statements = pack_terms(record.memory.text, record.memory.name), _state_anew(record)
        record = msgspec.structs.replace(record, terms=terms, analysis=ANALYSIS, statements=statements)
    vector = None if model is None else find_vector(record, model)
    if record.vector == (vector or b"") and not record.other_vector:
        return record
    label = "" if model is None or vector is None else model.label
    return msgspec.structs.replace(record, vector=vector or b"", model=label, other_vector=b"", other_model="")


def find_vector(record: Record, model: EmbeddingModel) -> bytes | None:
    """The vector that *model* has made of the memory, in stored form; None where it has made none."""
    size, label = 2 * model.dim, model.label
    if not size:
        return b""
    if record.model == label and len(record.vector) == size:
        return record.vector
    if record.other_model == label and len(record.other_vector) == size:
        return record.other_vector
    return None


def keep_vectors(record: Record, embedding: Embedding | None) -> Record:
    """*record* without vectors of models that *embedding* is not about."""
    if embedding is None:
        return record
    serving, target = (
        (b"", "") if model is None or (vector := find_vector(record, model)) is None else (vector, model.label)
        for model in (embedding.serving, embedding.target)
    )
    return msgspec.structs.replace(
        record, vector=serving[0], model=serving[1], other_vector=target[0], other_model=target[1]
    )


def add_vector(record: Record, embedding: Embedding, model: EmbeddingModel, vector: bytes) -> Record:
    """*record* with the *vector* that one of the two models of *embedding* has made of it."""
    record = keep_vectors(record, embedding)
    if model.compares_with(embedding.serving):
        return msgspec.structs.replace(record, vector=vector, model=model.label)
    return msgspec.structs.replace(record, other_vector=vector, other_model=model.label)


def find_stated(memory: Memory) -> tuple[Statement, ...]:
    """What the user states: the assistant's sentences about the user are guesses."""
    return find_statements(memory.text) if memory.role == "user" else ()


def _state_anew(record: Record) -> tuple[Statement, ...]:
    return find_stated(record.memory) if record.memory.kind == "turn" else record.statements


def find_text(memory: Memory) -> str:
    """What of a memory is embedded: the text without its speaker's name, which would make all of one's turns alike.

    Clients write it in front.
    """
    return memory.text.removeprefix(f"{memory.name}:").strip() or memory.text if memory.name else memory.text
