"""What has to be known to forget for real: the key of each sealed memory, what was erased, and who wants no memory.

It lies where the journal does: in one SQLite file in the data directory, or in the Redis that replicas share. It holds
no text and no user id, only users' keys, which are hashes.
"""

from proxy.config import Settings
from proxy.ledger.base import Ledger, Standing
from proxy.ledger.file import FileLedger
from proxy.ledger.keys import Keys
from proxy.ledger.tombstones import Tombstone

__all__ = ["FileLedger", "Keys", "Ledger", "Standing", "Tombstone", "open_ledger"]


def open_ledger(settings: Settings) -> Ledger:
    """The ledger of *settings*.

    Raises:
        StoreError: its file cannot be opened. A Redis may be away: each call then fails until it is there.
        ConfigError: a Redis is configured, and its package is not installed.
    """
    if settings.journal.redis_url is None:
        return FileLedger(settings.data_dir)
    from proxy.ledger.shared import SharedLedger  # with a package that nobody else needs

    return SharedLedger(settings)
