"""Lines of an import before it is anybody's turn to store them: read, held against what is there, made findable."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from proxy.models import Scope
from proxy.redaction import Redactor
from proxy.remember.analyst import Analyst
from proxy.remember.findable import Findable
from proxy.remember.lines import Brought, Parsed, parse
from proxy.remember.scribe import Scribe
from proxy.stores.base import Store


class Reading(NamedTuple):
    """What lines hold, and what of it was not there when they were read. *findable*: what was prepared of that."""

    parsed: Parsed
    unknown: Mapping[Scope, Sequence[Brought]]
    findable: Findable | None = None


async def read(lines: Iterable[bytes], redactor: Redactor, store: Store, *, first_line: int, tenant: str) -> Reading:
    """What *lines* hold, and what *store* does not know of it. Raises StoreError."""
    parsed = parse(lines, redactor, first_line=first_line, tenant=tenant)
    unknown = {}
    for scope, brought in parsed.brought.items():
        # Not by the shelf, which has to be read from the store: an import that was interrupted goes over thousands of
        # known memories a second.
        there = await asyncio.to_thread(store.find_known, scope, [one.memory.id for one in brought])
        unknown[scope] = [one for one in brought if one.memory.id not in there]
    return Reading(parsed, unknown)


async def prepare(reading: Reading, scribe: Scribe, analyst: Analyst) -> Reading:
    """The same, with what takes a processor's time of storing it done by *analyst*, where that is possible."""
    memories = [one.memory for some in reading.unknown.values() for one in some]
    return reading._replace(findable=await scribe.prepare(memories, analyst) if memories else None)
