"""The simulated prompt caches, against their rules applied in the plainest way."""

from collections.abc import Callable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.evaluation.cache import BreakpointCache, PrefixCache, Usage

Cache = PrefixCache | BreakpointCache
BOTH = pytest.mark.parametrize("make_cache", [PrefixCache, BreakpointCache])


def letters(text: str) -> int:
    """A token a character: figures that can be read off a test."""
    return len(text)


def ask(cache: Cache, *requests: Sequence[str]) -> list[int]:
    return [cache.count_cached(segments).cached_tokens for segments in requests]


@BOTH
def test_the_first_request_is_not_cached(make_cache: Callable[[], Cache]) -> None:
    """Of a prompt that nobody sent before nothing is cached; a token is four characters."""
    assert make_cache().count_cached(["s" * 8000, "u" * 403]) == Usage(2100, 0)


@BOTH
def test_an_empty_request(make_cache: Callable[[], Cache]) -> None:
    """A request without messages is no mistake."""
    cache = make_cache()
    assert [cache.count_cached([]), cache.count_cached([])] == [Usage(0, 0)] * 2


@BOTH
def test_caches_share_nothing(make_cache: Callable[[], Cache]) -> None:
    """Each replay begins with an empty cache."""
    make_cache().count_cached(["s" * 8000])
    assert make_cache().count_cached(["s" * 8000]).cached_tokens == 0


@pytest.mark.parametrize(
    ("common", "cached"),
    [(1023, 0), (1024, 1024), (1151, 1024), (1152, 1152), (2000, 1920)],
)
def test_prefixes_count_in_steps(common: int, cached: int) -> None:
    """Nothing up to 1,023 tokens, then whole steps of 128."""
    cache = PrefixCache(letters)
    assert ask(cache, ["s" * common, "a"], ["s" * common, "b" * 500]) == [0, cached]


def test_no_prefix_is_missed_by_a_character() -> None:
    """Wherever two prompts begin to differ, all before it is common: here just enough for one step or one too few."""
    for rest in range(300):
        for common, cached in ((1151, 1024), (1152, 1152)):
            prompts = (["s" * common, "a" * rest], ["s" * common, "b" * 77])
            assert ask(PrefixCache(letters), *prompts) == [0, cached]


def test_prefixes_end_anywhere() -> None:
    """A prefix may end inside of a message, and need not be cut into the same messages."""
    assert ask(PrefixCache(letters), ["s" * 1500, "s" * 600, "x"], ["s" * 2100, "y"]) == [0, 2048]


def test_any_earlier_prompt_counts() -> None:
    """Not only the last one: two conversations that alternate do not disturb each other."""
    one, other = "one" * 1000, "other" * 1000
    cached = ask(PrefixCache(letters), [one], [other], [one, "+"], [other, "+"], ["one" * 700 + "!"])
    assert cached == [0, 0, 2944, 4992, 2048]


words = st.sampled_from(["a" * 40, "a" * 41, "b" * 40, "ab" * 700, "", "é" * 1100])
prompts = st.lists(st.lists(words, max_size=6), max_size=8)


def count_plainly(prompt: str, earlier: list[str]) -> int:
    longest = 0
    for other in earlier:
        length = 0
        while length < min(len(prompt), len(other)) and prompt[length] == other[length]:
            length += 1
        longest = max(longest, length)
    return longest // 128 * 128 if longest >= 1024 else 0


@settings(deadline=None, derandomize=True, max_examples=200)
@given(prompts)
def test_prefixes_are_the_longest_there_are(requests: list[list[str]]) -> None:
    """Whatever was asked before, in any order, the cached part is what comparing all prompts finds."""
    joined = ["".join(segments) for segments in requests]
    expected = [count_plainly(prompt, joined[:i]) for i, prompt in enumerate(joined)]
    assert ask(PrefixCache(letters), *requests) == expected


SYSTEM = "s" * 1100


def turns(count: int, size: int = 100) -> list[str]:
    """So many messages, each of another text."""
    return [chr(0x4E00 + i) * size for i in range(count)]


def test_a_growing_conversation_is_cached_to_its_last_breakpoint() -> None:
    """Each request reads what the last one wrote, which ends with the user's message; the answer was not in it."""
    requests = [[SYSTEM, *turns(count)] for count in (1, 3, 5, 7)]
    assert ask(BreakpointCache(letters), *requests) == [0, 1200, 1400, 1600]


def test_a_changed_system_message_leaves_nothing() -> None:
    """Unlike with common prefixes, which keep what stands before the change."""
    requests = [[SYSTEM + "one", *turns(3)], [SYSTEM + "two", *turns(5)]]
    assert ask(BreakpointCache(letters), *requests) == [0, 0]
    assert ask(PrefixCache(letters), *requests) == [0, 1024]


def test_a_changed_message_leaves_what_an_earlier_breakpoint_wrote() -> None:
    """What follows the change is not read, though it is the same again."""
    first, second = [SYSTEM, *turns(5)], [SYSTEM, *turns(7)]
    second[5] += "!"
    third = [SYSTEM, *turns(7)]
    third[2] += "!"
    assert ask(BreakpointCache(letters), first, second, third) == [0, 1400, 1200]


def test_short_prefixes_are_not_written() -> None:
    """Below 1,024 tokens a breakpoint does nothing; messages are equal only if they are cut alike."""
    short = ["s" * 1023]
    assert ask(BreakpointCache(letters), short, short, ["s" * 1024], ["s" * 1024]) == [0, 0, 0, 1024]
    assert ask(BreakpointCache(letters), ["s" * 2000, "x"], ["s" * 1000, "s" * 1000]) == [0, 0]


@pytest.mark.parametrize(("count", "cached"), [(19, 1101), (20, 0)])
def test_a_breakpoint_looks_back_over_so_many_messages(count: int, cached: int) -> None:
    """The end of a breakpoint's own message and of the 19 before it are looked up, none further back."""
    cache = BreakpointCache(letters)
    cache.count_cached([SYSTEM, "u"], [1])
    segments = [SYSTEM, "u", *turns(count)]
    assert cache.count_cached(segments, [len(segments) - 1]) == Usage(1101 + 100 * count, cached)


def test_four_breakpoints_at_most() -> None:
    """A fifth is refused, as it is by the provider; two at one place are one."""
    cache = BreakpointCache()
    assert cache.count_cached(turns(6), [0, 1, 2, 3, 3]) == Usage(150, 0)
    with pytest.raises(ValueError, match="5 breakpoints"):
        cache.count_cached(turns(6), [0, 1, 2, 3, 4])


@pytest.mark.parametrize(("length", "cached"), [(1, 1100), (2, 1200), (4, 1400), (6, 1600)])
def test_where_breakpoints_stand_by_default(length: int, cached: int) -> None:
    """Behind the system message and the last three of the user: each is found by a request that ends there."""
    cache = BreakpointCache(letters)
    cache.count_cached([SYSTEM, *turns(5)])
    assert ask(cache, [SYSTEM, *turns(5)][:length], [SYSTEM, "?", "?"])[0] == cached


@settings(deadline=None, derandomize=True, max_examples=200)
@given(prompts)
def test_breakpoints_never_find_more_than_prefixes(requests: list[list[str]]) -> None:
    """What is read at a breakpoint is a common prefix, and both caches count the same prompts."""
    prefixes, breakpoints = PrefixCache(letters), BreakpointCache(letters)
    for segments in requests:
        free, exact = prefixes.count_cached(segments), breakpoints.count_cached(segments)
        assert free.prompt_tokens == exact.prompt_tokens
        assert exact.cached_tokens <= free.cached_tokens + 127
