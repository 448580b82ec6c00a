"""Memories, and working sets of them, as tests of recall need them."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import numpy as np

from proxy.embedders.base import pack_vector
from proxy.models import Memory, Record
from proxy.packing import make_pack
from proxy.statements import find_statements
from proxy.text import ANALYSIS, pack_terms
from proxy.workingset import WorkingSet

START = datetime(2024, 3, 15, tzinfo=UTC)


def make_memory(
    number: int,
    text: str,
    *,
    role: str = "user",
    name: str | None = None,
    days: float = 0,
    conversation: str = "c",
    superseded_by: str | None = None,
) -> Memory:
    """The message with this number, said so many days after :data:`START`."""
    return Memory(
        id=f"m{number}",
        user_id="u",
        kind="turn",
        role=role,
        text=text,
        created_at=START + timedelta(days=days),
        conversation_id=conversation,
        message_index=number,
        name=name,
        superseded_by=superseded_by,
    )


def make_set(memories: Sequence[Memory], vectors: Sequence[Sequence[float]] | None = None) -> WorkingSet:
    """A working set with what users state, and with a vector for each memory where there are *vectors*."""
    records = [
        Record(
            memory,
            pack_vector(np.array(vectors[number], np.float32)) if vectors else b"",
            pack_terms(memory.text, memory.name),
            ANALYSIS,
            statements=find_statements(memory.text) if memory.role == "user" else (),
        )
        for number, memory in enumerate(memories)
    ]
    return WorkingSet.from_pack(make_pack(records))
