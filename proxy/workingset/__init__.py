"""One user's memories in the edge's memory, and the cache of such sets."""

from proxy.workingset.cache import Arrival, Change, WorkingSets
from proxy.workingset.columns import Columns
from proxy.workingset.layout import Layout
from proxy.workingset.memories import MAX_MEMORIES, Floats, WorkingSet
from proxy.workingset.postings import Postings

__all__ = ["MAX_MEMORIES", "Arrival", "Change", "Columns", "Floats", "Layout", "Postings", "WorkingSet", "WorkingSets"]
