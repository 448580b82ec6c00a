"""Which journal is configured."""

from collections.abc import Callable

from proxy.config import Settings
from proxy.journal.base import Writer
from proxy.journal.writer import JournalWriter


def open_writer(settings: Settings, *, on_written: Callable[[], None], on_cost: Callable[[float], None]) -> Writer:
    """The edge's end of the journal. See :class:`JournalWriter` for what is told of.

    Raises:
        ConfigError: what it needs is not installed.
    """
    if settings.journal.redis_url is None:
        max_bytes = int(settings.journal.max_mb * (1 << 20))
        return JournalWriter(settings.data_dir, on_written=on_written, on_cost=on_cost, max_bytes=max_bytes)
    from proxy.journal.shared_writer import SharedWriter

    return SharedWriter(settings, on_written=on_written, on_cost=on_cost)
