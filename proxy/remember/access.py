"""How a keeper gets at the journal, and at its turn to write."""

import os
import socket
import uuid
from typing import TYPE_CHECKING, NamedTuple

from proxy.config import Settings
from proxy.journal import JournalReader, Reader
from proxy.remember.turns import LocalTurns, Turns

if TYPE_CHECKING:
    from proxy.journal.spill import Spill


class Access(NamedTuple):
    """*spill*: what this replica could not append to a shared journal, for whom it is to see to that."""

    journal: Reader
    turns: Turns
    spill: "Spill | None" = None


def open_access(settings: Settings, *, owner: bool) -> Access:
    """By what is configured. *owner*: the data directory is this process's alone. Reaches for no server yet.

    Raises:
        ConfigError: what it needs is not installed.
    """
    if settings.journal.redis_url is None:
        return Access(JournalReader(settings.data_dir), LocalTurns())
    from proxy.journal.shared import SharedReader
    from proxy.journal.spill import Spill
    from proxy.remember.shared_turns import SharedTurns

    # Of this process alone: what it knows of a user ends with it.
    name = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
    turns = SharedTurns(settings, name)
    spill = Spill(settings) if owner else None
    return Access(SharedReader(settings, name, fence=turns.fence, spill=spill), turns, spill)
