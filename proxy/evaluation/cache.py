"""What providers' prompt caches would have held of a replayed conversation: two rules, without time or eviction.

Both are asked with the requests of a replay in order, each as its messages in order, and remember every prompt they
have seen. What a model answered counts only once it comes back in a later prompt, as it does with providers.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate
from typing import Final, NamedTuple

# Shorter prefixes are not cached: by OpenAI at all, by Anthropic with most models (512 to 4,096, depending on which).
MINIMUM_TOKENS: Final = 1024

# OpenAI reports hits in steps of so many tokens.
STEP_TOKENS: Final = 128

# Anthropic refuses a fifth breakpoint, and looks for earlier writes at so many ends of messages before each.
MOST_BREAKPOINTS: Final = 4
LOOKBACK: Final = 20

CountTokens = Callable[[str], int]


class Usage(NamedTuple):
    """Tokens of one request, as a provider's bill has them; the cached ones are among those of the prompt."""

    prompt_tokens: int
    cached_tokens: int


def count_by_length(text: str) -> int:
    """Four characters a token: what the other figures of an evaluation are counted in."""
    return len(text) // 4


class PrefixCache:
    """The longest common prefix with any earlier prompt, from 1,024 tokens on and in steps of 128.

    OpenAI's rule for models before GPT-5.6 (cookbook, "Prompt Caching 201", 1.1: exact prefixes, prompts of 1,024
    tokens or more, increments of 128), and about that of servers with automatic prefix caching, whose blocks are
    smaller. A common prefix is found character by character; *count_tokens* then says how many tokens it has.
    """

    def __init__(self, count_tokens: CountTokens = count_by_length) -> None:
        self._count = count_tokens
        self._seen: list[str] = []  # in order: no prompt shares more with a new one than its two neighbours do

    def count_cached(self, segments: Sequence[str]) -> Usage:
        """The usage of a request that consists of *segments*, one a message. The request is remembered."""
        prompt = "".join(segments)
        place = bisect_left(self._seen, prompt)
        neighbours = self._seen[max(0, place - 1) : place + 1]
        length = max((_count_common(prompt, other) for other in neighbours), default=0)
        if place and prompt.startswith(self._seen[place - 1]):
            self._seen[place - 1] = prompt  # a conversation that only grows takes the room of its last request
        else:
            self._seen.insert(place, prompt)
        cached = self._count(prompt[:length]) // STEP_TOKENS * STEP_TOKENS
        return Usage(self._count(prompt), cached if cached >= MINIMUM_TOKENS else 0)


class BreakpointCache:
    """The longest prefix that ends where an earlier request had a breakpoint, and is equal to it in every message.

    Anthropic's rule for ``cache_control`` (platform.claude.com/docs/en/build-with-claude/prompt-caching): a request
    writes the prefix that ends at each of its breakpoints, four at most, and reads the longest one written before that
    ends at a breakpoint of its own or at one of the 19 blocks before that, a message being one block here. OpenAI's
    models from GPT-5.6 on match at breakpoints, too, and no longer in steps; one at the latest message is set for all.
    """

    def __init__(self, count_tokens: CountTokens = count_by_length) -> None:
        self._count = count_tokens
        self._written: set[int] = set()

    def count_cached(self, segments: Sequence[str], breakpoints: Iterable[int] | None = None) -> Usage:
        """The usage of a request that consists of *segments*, one a message. The request is remembered.

        *breakpoints* are the indices of the segments that one stands behind; by default those of a system message and
        of the user's last three, where turns alternate: the first, the last, the last but two and the last but four.
        ValueError for more than four.
        """
        marks = _default_breakpoints(len(segments)) if breakpoints is None else set(breakpoints)
        if len(marks) > MOST_BREAKPOINTS:
            raise ValueError(f"{len(marks)} breakpoints, of which a request can have {MOST_BREAKPOINTS}")
        # Of 64 bits: over a million prefixes, one in forty million replays would count a wrong one.
        prefixes = list(accumulate(segments, lambda before, segment: hash((before, segment)), initial=0))
        ends = {end for mark in marks for end in range(mark + 1, max(0, mark + 1 - LOOKBACK), -1)}
        longest = max((end for end in ends if prefixes[end] in self._written), default=0)
        sizes = {end: self._count("".join(segments[:end])) for end in (longest, *(mark + 1 for mark in marks))}
        self._written.update(prefixes[mark + 1] for mark in marks if sizes[mark + 1] >= MINIMUM_TOKENS)
        return Usage(self._count("".join(segments)), sizes[longest])


def _default_breakpoints(count: int) -> set[int]:
    return {mark for mark in (0, count - 5, count - 3, count - 1) if 0 <= mark < count}


def _count_common(one: str, other: str) -> int:
    """How many characters *one* and *other* begin with in common: by halves, each compared in one go."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one.startswith(other[low:middle], low):
            low = middle
        else:
            high = middle - 1
    return low
