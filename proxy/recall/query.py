"""What a conversation asks of memory at its present point."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from proxy.models import Message
from proxy.recall.dates import Span, find_spans
from proxy.text import hash_word, words

# "And the other one?" names nothing by itself: with fewer index words than this, what came before is asked as well.
_ELLIPTICAL_WORDS: Final = 3
_ASKS: Final = re.compile(r"[?？؟]\s*$")
# What came before tells the topic, not the question.
_CONTEXT_WEIGHT: Final = 0.5
_CONTEXT_MESSAGES: Final = 2
_CONTEXT_CHARS: Final = 300
# A pasted document is not a question, but what is asked about it stands at its head or its end.
_MAX_CHARS: Final = 2000
# "the talk about 'Space Exploration'": within quotes of the usual kinds, two words or more and not a whole letter.
_QUOTED: Final = re.compile("[\"“„«「『]([^\"”“»」』\n]{4,80})[\"”“»」』]|(?<!\\w)'([^'\n]{4,80})'(?!\\w)")

_WORD: Final = re.compile(r"\w")


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Query:
    """What is looked for. *text* is what an embedder should see; *words* maps index words to their weight.

    *terms* are the same words as an index knows them, in the same order. *vector* is a unit vector of the embedder
    that made the stored ones, where there is one. *spans* are the times that the question names, *phrases* what it
    quotes, in lower case.
    """

    text: str
    words: Mapping[str, float]
    terms: Sequence[int]
    spans: Sequence[Span] = ()
    phrases: Sequence[str] = ()
    vector: NDArray[np.float32] | None = None

    @classmethod
    def from_text(cls, text: str, *, context: str = "", asked_at: datetime | None = None) -> "Query":
        """Ask for *text*; the words of *context* count half. Without *asked_at* no time is looked for."""
        return cls._make(text, words(text), context, asked_at)

    @classmethod
    def _make(cls, text: str, asking: list[str], context: str, asked_at: datetime | None) -> "Query":
        asked = dict.fromkeys(words(context), _CONTEXT_WEIGHT) if context else {}
        asked |= dict.fromkeys(asking, 1.0)
        return cls(
            text=f"{context}\n{text}" if context else text,
            words=asked,
            terms=[hash_word(word) for word in asked],
            spans=find_spans(text, asked_at) if asked_at else (),
            phrases=[(double or single).lower() for double, single in _QUOTED.findall(text)],
        )

    @classmethod
    def from_dialogue(cls, messages: Sequence[Message], *, asked_at: datetime | None = None) -> "Query":
        """What the user's last messages ask, with some of what precedes them where they are too short to tell."""
        start = len(messages)
        while start and messages[start - 1].role == "user":
            start -= 1
        text = _shorten("\n".join(message.text for message in messages[start:]), _MAX_CHARS)
        asking = words(text)
        asked = len(set(asking))
        # Without any index word it is a question about what was said last, or a greeting or thanks, which ask nothing.
        if asked >= _ELLIPTICAL_WORDS or not (asked or _ASKS.search(text)):
            return cls._make(text, asking, "", asked_at)
        before = messages[max(0, start - _CONTEXT_MESSAGES) : start]
        context = "\n".join(_shorten(message.text, _CONTEXT_CHARS) for message in before)
        return cls._make(text, asking, context, asked_at)

    def topic(self, speakers: Collection[str]) -> str:
        """:attr:`text` without the names of *speakers*: to a vector, who is asked about hides what is asked."""
        if not speakers:
            return self.text
        topic = _match_names(tuple(speakers)).sub("", self.text)
        return topic if _WORD.search(topic) else self.text

    def with_vector(self, vector: NDArray[np.float32] | None) -> "Query":
        return replace(self, vector=vector)


@lru_cache(maxsize=256)
def _match_names(names: tuple[str, ...]) -> re.Pattern[str]:
    # The longest first, so that no name is cut out of another one.
    known = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
    return re.compile(rf"(?<!\w)(?:{known})(?:['’]s)?(?!\w)", re.IGNORECASE)


def _shorten(text: str, limit: int) -> str:
    """*text* without its middle, when it has more than *limit* characters."""
    return text if len(text) <= limit else f"{text[: limit // 2]} {text[-(limit // 2) :]}"
