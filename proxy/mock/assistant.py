"""The mock upstream's wits: a few legible rules that answer only from what the request itself holds.

It has no memory of its own. Whatever it seems to remember across sessions, the proxy has put into the system message.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Final

from proxy.models import Message

ACKNOWLEDGED: Final = "Thank you, I will keep that in mind."
UNKNOWN: Final = "I do not know: nothing in this request tells me."

_NOTE = re.compile(r"^- (?:\[[^\]]*\] )?(?:(?P<who>[^:]{1,80}): )?(?P<text>.+)$", re.MULTILINE)
_WORD = re.compile(r"\w{3,}")
_COMMON = frozenset(
    _WORD.findall("about and are can did does for how know like mine remember tell the was what when who you your")
)


def compose_reply(messages: Sequence[Message]) -> str:
    """A statement is acknowledged; a question gets the best matching thing that the user is known to have said."""
    question = next((message.text for message in reversed(messages) if message.role == "user"), "")
    if "?" not in question:
        return ACKNOWLEDGED
    asked = _content_words(question)
    found = max(_statements(messages), key=lambda text: len(asked & _content_words(text)), default="")
    return f"You told me: {found}" if asked & _content_words(found) else UNKNOWN


def _statements(messages: Sequence[Message]) -> Iterator[str]:
    for message in messages:
        if message.role in ("system", "developer"):
            yield from _noted(message.text)
        elif message.role == "user" and "?" not in message.text:
            yield message.text


def _noted(system: str) -> Iterator[str]:
    """The user's own statements in a memory block. Earlier questions and answers would only echo the question."""
    for note in _NOTE.finditer(system):
        if "?" not in note["text"] and "assistant" not in (note["who"] or "").lower():
            yield note["text"]


def _content_words(text: str) -> set[str]:
    return set(_WORD.findall(text.lower())) - _COMMON
