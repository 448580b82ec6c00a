"""Chained hashes of what was said: one tells a conversation up to a message, and so what a later request goes on from.

Clients trim what they resend and cut what is very long, so white space at the ends does not count, nor what follows the
first million characters. Eight bytes: among a million messages of one user two are the same once in 10^7 times.
"""

import hashlib
import re
from collections.abc import Iterable, Sequence
from typing import Final

from proxy.models import Message, Scope

SIZE: Final = 8
MOST_CHARACTERS: Final = 1_000_000
# What :func:`recognise` makes.
_RECOGNISED: Final = re.compile(r"[0-9a-f]{24}")


def digest(scope: Scope, message: Message) -> bytes:
    """What *message* is known by to *scope*, wherever it stands."""
    text = message.text[:MOST_CHARACTERS].strip()
    raw = f"{message.role}\x00{text}".encode("utf-8", "surrogatepass")
    return hashlib.blake2b(raw, digest_size=SIZE, key=scope.key.encode(), person=b"mp-said").digest()


def start(scope: Scope, conversation_id: str | None) -> bytes:
    """The chain of a conversation in which nothing was said yet; None for one that its client does not name."""
    raw = (conversation_id or "").encode("utf-8", "surrogatepass")
    return hashlib.blake2b(raw, digest_size=SIZE, key=scope.key.encode(), person=b"mp-chain").digest()


def extend(chain: bytes, digests: Iterable[bytes]) -> bytes:
    """*chain* after messages with these *digests*."""
    for link in digests:
        chain = hashlib.blake2b(link, digest_size=SIZE, key=chain, person=b"mp-chain").digest()
    return chain


def split(digests: bytes) -> list[bytes]:
    """Digests that were put one after the other."""
    return [digests[place : place + SIZE] for place in range(0, len(digests), SIZE)]


def recognise(scope: Scope, texts: Sequence[Message]) -> str:
    """The name of a conversation that its client does not name, out of its first question and answer: the same for
    every request, without keeping anything.

    The first request has the question and now gets the answer; every later one brings both along. A greeting of the
    assistant's before the first question answers nothing. Clients trim what they resend, so white space at the ends
    does not count, nor does what a reply is cut to.
    """
    roles = [message.role for message in texts]
    first = roles.index("user") if "user" in roles else 0
    # Where a tool is called first, the question is all that there is yet.
    opening = texts[: roles.index("assistant", first) + 1] if "assistant" in roles[first:] else texts
    raw = "\x00".join([scope.key, *(message.text[:MOST_CHARACTERS].strip() for message in opening)])
    return hashlib.blake2b(raw.encode("utf-8", "surrogatepass"), digest_size=12, person=b"mp-talk").hexdigest()


def is_recognised(conversation_id: str) -> bool:
    """Whether the name of a conversation looks as if :func:`recognise` had made it."""
    return _RECOGNISED.fullmatch(conversation_id) is not None
