"""What Mem0's ``get_all`` answers, from the library or from the platform."""

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from proxy.imports.base import Given, Record, decode, read_date
from proxy.models import Exported

# The members of an answer that have lists: of memories, and of relations between what they name.
RESULTS: Final = "results"
RELATIONS: Final = "relations"
# For what is said to be of no run.
_ELSEWHERE: Final = "mem0"


class _Memory(msgspec.Struct):
    """One memory. Fields that may be null in some version, or be missing, are read as they come."""

    id: str | int
    memory: str
    user_id: str | None = None
    run_id: Any = None
    role: Any = None
    metadata: Any = None
    created_at: Any = None
    updated_at: Any = None
    expiration_date: Any = None


_MEMORY: Final = msgspec.json.Decoder(_Memory)
_TEXT: Final = msgspec.json.Decoder(str)


def recognises(members: Mapping[str, msgspec.Raw]) -> bool:
    """A memory calls its text so."""
    return {"id", "memory"} <= members.keys()


def says_user(members: Mapping[str, msgspec.Raw]) -> bool:
    """Memories of an agent or a run alone name nobody."""
    return bytes(members.get("user_id", msgspec.Raw(b"null")))[:1] == b'"'


class Mem0Reader:
    """Memories become facts, under ids made of Mem0's own: the same ones with each import."""

    def __init__(self, given: Given, skipped: Counter[str]) -> None:
        self._given = given
        self._skipped = skipped

    def read(self, record: Record) -> Iterator[Record]:
        """The fact that *record* is, unless it has expired."""
        if record.is_relation:
            self._skipped["relation"] += 1
            return
        memory = decode(_MEMORY, record.data)
        user = memory.user_id or self._given.user
        if user is None:
            raise ValueError("it does not say whose it is; --user says so")
        expires = read_date(memory.expiration_date)
        if expires is not None and expires < self._given.at:
            self._skipped["expired"] += 1
        elif not memory.memory.strip():
            self._skipped["empty"] += 1
        else:
            yield record._replace(data=msgspec.json.encode(self._convert(memory, user)) + b"\n")

    def finish(self) -> tuple[()]:
        """Nothing is held back."""
        return ()

    def _convert(self, memory: _Memory, user: str) -> Exported:
        return Exported(
            id=hashlib.blake2b(str(memory.id).encode(), digest_size=16, person=b"mp-mem0").hexdigest(),
            user_id=user,
            kind="fact",
            role="assistant" if memory.role == "assistant" else "user",
            text=memory.memory,
            # A memory that was changed says what it says only since then.
            created_at=read_date(memory.updated_at) or read_date(memory.created_at) or self._given.at,
            conversation_id=memory.run_id if isinstance(memory.run_id, str) and memory.run_id else _ELSEWHERE,
            message_index=0,
            origin="extracted",
        )
