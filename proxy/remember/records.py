"""Memories made findable: each with its vector, its terms and what is stated in it."""

import asyncio
from collections.abc import Sequence
from typing import Final

import msgspec

from proxy.embedders.base import Embedder, pack_vector
from proxy.models import Memory, Record
from proxy.remember.plan import Draft
from proxy.statements import Statement, find_statements
from proxy.text import ANALYSIS, pack_terms

# So many are worth a thread: half of embedding is done without Python, and meanwhile it can look for terms.
_MANY: Final = 32


async def make_records(drafts: Sequence[Draft], embedder: Embedder) -> list[Record]:
    """Records in the order of *drafts*.

    Raises:
        EmbedderError: no vectors for now; nothing was made, and the same call may succeed later.
    """
    texts = [_leave_name_out(draft.memory) for draft in drafts]
    if len(drafts) < _MANY:
        vectors, terms = await embedder.embed(texts), _pack(drafts)
    else:
        vectors, terms = await asyncio.gather(embedder.embed(texts), asyncio.to_thread(_pack, drafts))
    return [
        Record(
            memory=memory,
            vector=pack_vector(vector) if vector.size else b"",
            terms=packed,
            analysis=ANALYSIS,
            model=embedder.name,
            statements=statements,
            chain=chain,
            parent=parent,
        )
        for (memory, chain, parent, statements), vector, packed in zip(drafts, vectors, terms, strict=True)
    ]


def _pack(drafts: Sequence[Draft]) -> list[bytes]:
    return [pack_terms(draft.memory.text, draft.memory.name) for draft in drafts]


def refresh(record: Record, model: str) -> Record:
    """*record* as the present analysis and the embedder called *model* can use it.

    Terms and statements of an older analysis are made anew. A vector of another model is left out: it does not compare.
    """
    if record.analysis != ANALYSIS:
        terms, statements = pack_terms(record.memory.text, record.memory.name), _state_anew(record)
        record = msgspec.structs.replace(record, terms=terms, analysis=ANALYSIS, statements=statements)
    if record.vector and record.model != model:
        record = msgspec.structs.replace(record, vector=b"")
    return record


def find_stated(memory: Memory) -> tuple[Statement, ...]:
    """What the user states: the assistant's sentences about the user are guesses."""
    return find_statements(memory.text) if memory.role == "user" else ()


def _state_anew(record: Record) -> tuple[Statement, ...]:
    return find_stated(record.memory) if record.memory.kind == "turn" else record.statements


def _leave_name_out(memory: Memory) -> str:
    """The text without its speaker's name, which would make all of one's turns alike: clients write it in front."""
    return memory.text.removeprefix(f"{memory.name}:").strip() or memory.text if memory.name else memory.text
