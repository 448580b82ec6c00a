"""Packs without some of their memories."""

from collections.abc import Set as AbstractSet

import msgspec
import numpy as np

from proxy.models import Pack


def leave_out(pack: Pack, ids: AbstractSet[str]) -> Pack:
    """*pack* without the memories of these *ids*. Its parts must fit together, as those that come from a keeper do."""
    rows = [row for row, memory in enumerate(pack.memories) if memory.id not in ids]
    if len(rows) == len(pack.memories):
        return pack
    sizes = np.frombuffer(pack.sizes, "<u4")
    terms = np.repeat(np.isin(np.arange(len(sizes)), rows), sizes)
    number = {row: index for index, row in enumerate(rows)}
    return msgspec.structs.replace(
        pack,
        memories=[pack.memories[row] for row in rows],
        vectors=np.frombuffer(pack.vectors, "<f2").reshape(-1, pack.dim)[rows].tobytes() if pack.dim else b"",
        hashes=np.frombuffer(pack.hashes, "<u4")[terms].tobytes(),
        counts=np.frombuffer(pack.counts, "<u2")[terms].tobytes(),
        sizes=sizes[rows].tobytes(),
        statements=[(number[row], statement) for row, statement in pack.statements if row in number],
    )
