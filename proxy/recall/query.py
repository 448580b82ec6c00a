"""What a conversation asks of memory at its present point."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

import numpy as np
from numpy.typing import NDArray

from proxy.models import Message
from proxy.text import hash_word, words

# "And the other one?" names nothing by itself: with fewer index words than this, what came before is asked as well.
_ELLIPTICAL_WORDS: Final = 3
# What came before tells the topic, not the question.
_CONTEXT_WEIGHT: Final = 0.5
_CONTEXT_MESSAGES: Final = 2
_CONTEXT_CHARS: Final = 300
# A pasted document is not a question, but what is asked about it stands at its head or its end.
_MAX_CHARS: Final = 2000


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Query:
    """What is looked for. *text* is what an embedder should see; *terms* maps index terms to their weight.

    *vector* is a unit vector of the embedder that made the stored ones, where there is one.
    """

    text: str
    words: tuple[str, ...]
    terms: Mapping[int, float]
    vector: NDArray[np.float32] | None = None
    asked_at: datetime | None = None

    @classmethod
    def from_text(cls, text: str, *, context: str = "", asked_at: datetime | None = None) -> "Query":
        """Ask for *text*; the words of *context* count half."""
        asked = _distinct(text)
        background = [word for word in _distinct(context) if word not in asked]
        terms = dict.fromkeys(map(hash_word, background), _CONTEXT_WEIGHT) | dict.fromkeys(map(hash_word, asked), 1.0)
        whole = f"{context}\n{text}" if context else text
        return cls(text=whole, words=(*asked, *background), terms=terms, asked_at=asked_at)

    @classmethod
    def from_dialogue(cls, messages: Sequence[Message], *, asked_at: datetime | None = None) -> "Query":
        """What the user's last messages ask, with some of what precedes them where they are too short to tell."""
        start = len(messages)
        while start and messages[start - 1].role == "user":
            start -= 1
        text = _shorten("\n".join(message.text for message in messages[start:]), _MAX_CHARS)
        if len(set(words(text))) >= _ELLIPTICAL_WORDS:
            return cls.from_text(text, asked_at=asked_at)
        before = messages[max(0, start - _CONTEXT_MESSAGES) : start]
        context = "\n".join(_shorten(message.text, _CONTEXT_CHARS) for message in before)
        return cls.from_text(text, context=context, asked_at=asked_at)

    def with_vector(self, vector: NDArray[np.float32] | None) -> "Query":
        return replace(self, vector=vector)


def _distinct(text: str) -> list[str]:
    return list(dict.fromkeys(words(text)))


def _shorten(text: str, limit: int) -> str:
    """*text* without its middle, when it has more than *limit* characters."""
    return text if len(text) <= limit else f"{text[: limit // 2]} {text[-(limit // 2) :]}"
