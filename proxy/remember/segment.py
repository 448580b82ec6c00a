"""From what was said to memories: verbatim turns with role, date, conversation and position."""

import hashlib
from datetime import datetime
from typing import Final

from proxy.models import Memory, Message, Scope

# About 25,000 tokens: no turn of a conversation is longer, only a pasted document, and its beginning will do.
MAX_CHARACTERS: Final = 100_000

# Ends the text of a reply that was too large to be captured whole, for whoever reads the memory.
CUT_MARK: Final = " […]"


def identify(scope: Scope, conversation_id: str, index: int, role: str, text: str) -> str:
    """The id of a turn: the same turn stored twice, by a retry or a second import, is one memory."""
    parts = (scope.key, conversation_id, str(index), role, text)
    raw = b"".join(len(part := p.encode("utf-8", "surrogatepass")).to_bytes(4, "big") + part for p in parts)
    return hashlib.blake2b(raw, digest_size=16, person=b"mp-turn").hexdigest()


def make_turn(scope: Scope, conversation_id: str, index: int, message: Message, at: datetime) -> Memory:
    """One message as a memory. Its own date, where it has one, goes before *at*."""
    text = message.text[:MAX_CHARACTERS]
    return Memory(
        id=identify(scope, conversation_id, index, message.role, text),
        user_id=scope.user_id,
        kind="turn",
        role=message.role,
        text=text,
        created_at=message.created_at or at,
        conversation_id=conversation_id,
        message_index=index,
        name=message.name,
    )
