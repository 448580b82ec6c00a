"""Lines as an export writes them, and conversations in our own form: what every import reads, just as it is."""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Final

import msgspec

from proxy.imports.base import Given, Record

_SYSTEM: Final = frozenset({"system", "developer"})


class _Said(msgspec.Struct, gc=False):
    role: str = ""
    content: str = ""


class _Talk(msgspec.Struct, gc=False):
    messages: list[_Said] = []


_TALK: Final = msgspec.json.Decoder(_Talk)


def recognises(members: Mapping[str, msgspec.Raw]) -> bool:
    """Both kinds of line say whose they are and of which conversation."""
    return {"user_id", "conversation_id"} <= members.keys() and ("messages" not in members or "started_at" in members)


class NativeReader:
    """Passes lines on. Whoever stores them reads them, and says what cannot be read."""

    def __init__(self, _: Given, skipped: Counter[str]) -> None:
        self._skipped = skipped

    def read(self, record: Record) -> Iterator[Record]:
        """*record* itself, on one line."""
        data = record.data.strip()
        if not data:
            return
        self._count(data)
        if b"\n" in data:
            data = msgspec.json.format(data, indent=-1)
        yield record._replace(data=data + b"\n")

    def finish(self) -> tuple[()]:
        """Nothing is held back."""
        return ()

    def _count(self, data: bytes) -> None:
        try:
            talk = _TALK.decode(data)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return  # whoever stores it will say so
        for said in talk.messages:
            if said.role in ("user", "assistant"):
                self._skipped["empty"] += not said.content.strip()
            else:
                self._skipped["system" if said.role in _SYSTEM else "tool"] += 1
