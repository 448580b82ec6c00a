"""What goes first where there is too much, or where it is too old: the least useful."""

import heapq
from datetime import datetime, timedelta
from typing import Final

from proxy.config import Retention
from proxy.models import now
from proxy.remember.plan import Plan
from proxy.remember.shelf import Item

# Rather some at once than one with every exchange.
_AT_ONCE: Final = 0.01


def evict(plan: Plan, retention: Retention, *, at: datetime | None = None) -> None:
    """Removes what is beyond the limits. What somebody wrote by hand is theirs to remove, and does not age."""
    if retention.max_age_days is not None:
        oldest = (at or now()) - timedelta(days=retention.max_age_days)
        _remove(plan, [item for item in plan.shelf if item.at < oldest and item.origin != "hand"])
    most = retention.max_memories_per_user
    if len(plan.shelf) > most:
        count = len(plan.shelf) - most + int(most * _AT_ONCE)
        _remove(plan, heapq.nsmallest(count, plan.shelf, key=_usefulness))


def _remove(plan: Plan, items: list[Item]) -> None:
    for item in items:
        plan.remove(item)
    plan.tally["evicted"] += len(items)


def _usefulness(item: Item) -> tuple[int, int, datetime]:
    """What holds no more is of the least use, then what the assistant said, then what was said once, long ago."""
    if item.origin == "hand":
        rank = 5
    elif not item.live:
        rank = 0
    elif item.role == "assistant":
        rank = 1
    elif item.kind == "fact":
        rank = 4
    else:
        rank = 3 if item.topics else 2
    return rank, item.seen, item.at
