"""``python -m tests.churning FOLDER SEED``: a user whose memories come and go, as with a bound on their number.

It says in the end which there are. In a process of its own, since what it looks for ends the process.
"""

import random
import sys
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from proxy.ledger import FileLedger
from proxy.models import Memory, Record, Scope
from proxy.stores.embedded import EmbeddedChroma
from proxy.text import ANALYSIS, pack_terms

USER = Scope("ada")
# Chroma saves an index with every thousandth row of a collection, and all of a user's are in one.
ENOUGH = 1_100
MOST, ROUNDS, BATCH = 500, 30, 200


def make_record(memory_id: str) -> Record:
    """A memory that says its own id."""
    memory = Memory(memory_id, USER.user_id, "turn", "user", memory_id, datetime(2026, 1, 2, tzinfo=UTC), "c/1", 0)
    return Record(memory, b"", pack_terms(memory_id), ANALYSIS)


def churn(store: EmbeddedChroma, seed: int) -> list[str]:
    """Adds memories and removes others at random; answers the ids of those that are left."""
    chance = random.Random(seed)
    ids: list[str] = []
    for number in range(ROUNDS):
        fresh = [f"{number}.{place}" for place in range(BATCH)]
        store.put({USER: [make_record(memory_id) for memory_id in fresh]})
        ids += fresh
        if len(ids) > MOST:
            chance.shuffle(ids)
            assert store.delete(USER, ids[MOST // 2 :]) == len(ids) - MOST // 2
            del ids[MOST // 2 :]
    return sorted(ids)


if __name__ == "__main__":
    folder, seed = Path(sys.argv[1]), int(sys.argv[2])
    with closing(FileLedger(folder)) as ledger, closing(EmbeddedChroma(folder, ledger)) as opened:
        sys.stdout.buffer.write(msgspec.json.encode(churn(opened, seed)))
