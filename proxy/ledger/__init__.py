"""What has to be known to forget for real: the key of each sealed memory, what was erased, and who wants no memory.

One SQLite file in the data directory. It holds no text and no user id, only users' keys, which are hashes.
"""

from proxy.ledger.book import Ledger
from proxy.ledger.keys import Keys
from proxy.ledger.tombstones import Tombstone

__all__ = ["Keys", "Ledger", "Tombstone"]
