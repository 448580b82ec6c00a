"""Records side by side: what the keeper sends, and the edge indexes without looping over terms."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from proxy.models import EmbeddingModel, Pack, Record
from proxy.text import unpack_terms


def make_pack(records: Sequence[Record], model: EmbeddingModel | None = None) -> Pack:
    """Lay *records* side by side, for the keeper to send. *model*: the one that has made their vectors.

    The commonest vector size wins; a record of another one (its model has changed since), or of none, gets zeros.
    """
    sizes = Counter(len(record.vector) for record in records if record.vector)
    size = sizes.most_common(1)[0][0] if sizes else 0
    unpacked = [unpack_terms(record.terms) for record in records]
    return Pack(
        memories=[record.memory for record in records],
        dim=size // 2,
        vectors=b"".join(record.vector if len(record.vector) == size else bytes(size) for record in records),
        hashes=b"".join(hashes.tobytes() for hashes, _ in unpacked),
        counts=b"".join(counts.tobytes() for _, counts in unpacked),
        sizes=np.array([len(hashes) for hashes, _ in unpacked], "<u4").tobytes(),
        statements=[(row, statement) for row, record in enumerate(records) for statement in record.statements],
        model=model,
    )
