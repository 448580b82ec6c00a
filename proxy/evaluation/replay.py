"""Whole conversations held again: what memory leaves of the provider's prompt cache, and what stickiness costs."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from proxy.embedders.base import Embedder
from proxy.evaluation.archive import pick
from proxy.evaluation.asking import Witness, count_quarters
from proxy.evaluation.cache import BreakpointCache, PrefixCache
from proxy.evaluation.chat import PLACEMENTS, Chat, Sent, list_turns, split_pack
from proxy.evaluation.dataset import Conversation
from proxy.evaluation.statistics import Interval
from proxy.models import Pack, Scope
from proxy.recall.continuation import Placement

# A shorter conversation has little to cache.
LEAST_MESSAGES: Final = 10
# The latest ones, so that there is something to remember.
CONVERSATIONS_A_USER: Final = 2
MakeCache = Callable[[], PrefixCache | BreakpointCache]
CACHES: Final[Mapping[str, MakeCache]] = {"prefix": PrefixCache, "breakpoint": BreakpointCache}
_RESAMPLES: Final = 2000
_SEED: Final = 4  # any: two runs over the same conversations are to print the same


class Bill(NamedTuple):
    """Tokens of one conversation by one cache's rule, summed over its requests."""

    cached: int
    prompt: int
    plain_cached: int
    plain: int


@dataclass(frozen=True, slots=True)
class CacheShare:
    """Cached parts of all prompt tokens, with memory and without, and the first over the second.

    *kept* is None where nothing is cached without memory: such conversations are too short to tell.
    """

    with_memory: float
    without: float
    kept: Interval | None


@dataclass(frozen=True, slots=True)
class Replay:
    """What memory did to the conversations with one placement.

    *added_tokens*: by which it makes a request longer, on average; *changed*: the part of the requests but the first
    in which a message is not what it was in the request before, because of what memory has written into it.
    """

    conversations: int
    requests: int
    added_tokens: float
    changed: float
    caches: dict[str, CacheShare]


@dataclass(slots=True)
class _Tally:
    """What is summed up for one placement."""

    requests: int = 0
    followers: int = 0  # requests that are not the first of their conversation
    added: int = 0
    changed: int = 0
    bills: dict[str, list[Bill]] = field(default_factory=lambda: {name: [] for name in CACHES})


class Replays:
    """Replays users' latest long conversations with each placement."""

    def __init__(self, embedder: Embedder, witness: Witness) -> None:
        self._embedder = embedder
        self._witness = witness
        self._tallies = {placement: _Tally() for placement in PLACEMENTS}

    async def visit(self, user_id: str, pack: Pack, conversations: Sequence[Conversation]) -> None:
        """Replay some of the user's *conversations*, all of which are in *pack*."""
        for conversation in choose_latest(conversations):
            for placement, tally in self._tallies.items():
                sent = await self._replay(Scope(user_id), pack, conversation, placement)
                _add(tally, sent)

    def report(self) -> dict[str, Replay] | None:
        """By placement; None where no conversation is long enough."""
        if not all(tally.requests for tally in self._tallies.values()):
            return None
        return {placement: _summarise(tally) for placement, tally in self._tallies.items()}

    async def _replay(self, scope: Scope, pack: Pack, conversation: Conversation, placement: Placement) -> list[Sent]:
        history, own = split_pack(pack, conversation, keep_later=False)
        sent = []
        async with Chat(scope, history, self._embedder, self._witness, placement) as chat:
            for turn in list_turns(conversation):
                sent.append(await chat.send(turn.dialogue))
                chat.learn(pick(pack, [own[row] for row in turn.rows]))
        return sent


def choose_latest(conversations: Sequence[Conversation]) -> list[Conversation]:
    """The long conversations that began last; the latest one comes first."""
    long = [conversation for conversation in conversations if len(conversation.memories) >= LEAST_MESSAGES]
    long.sort(key=lambda conversation: (conversation.started_at, conversation.id), reverse=True)
    return long[:CONVERSATIONS_A_USER]


def _add(tally: _Tally, requests: Sequence[Sent]) -> None:
    tally.requests += len(requests)
    tally.followers += len(requests) - 1
    tally.changed += sum(_differ(before.prompt, after.prompt) for before, after in pairwise(requests))
    for name, make_cache in CACHES.items():
        tally.bills[name].append(make_bill(make_cache, requests))
    prompts = ((count_quarters("".join(texts)) for texts in (sent.prompt, sent.plain)) for sent in requests)
    tally.added += sum(longer - plain for longer, plain in prompts)


def _differ(before: Sequence[str], after: Sequence[str]) -> bool:
    """Whether messages that both requests have are not the same in both: clients send them unchanged."""
    return any(one != other for one, other in zip(before, after, strict=False))


def make_bill(make_cache: MakeCache, requests: Sequence[Sent]) -> Bill:
    """What a provider with such a cache, empty at first, would bill for the requests of one conversation."""
    used, plain = make_cache(), make_cache()
    usages = [(*used.count_cached(sent.prompt), *plain.count_cached(sent.plain)) for sent in requests]
    prompt, cached, plain_prompt, plain_cached = map(sum, zip(*usages, strict=True))
    return Bill(cached, prompt, plain_cached, plain_prompt)


def _summarise(tally: _Tally) -> Replay:
    return Replay(
        conversations=len(next(iter(tally.bills.values()))),
        requests=tally.requests,
        added_tokens=tally.added / tally.requests,
        changed=tally.changed / max(tally.followers, 1),
        caches={name: share_cached(bills) for name, bills in tally.bills.items()},
    )


def share_cached(bills: Sequence[Bill]) -> CacheShare:
    """Of all tokens together, as a provider's bill has them."""
    table = np.array(bills, np.float64)
    cached, prompt, plain_cached, plain = table.sum(axis=0).tolist()
    kept = _estimate_kept(table) if plain_cached else None
    return CacheShare(cached / prompt, plain_cached / plain, kept)


def _estimate_kept(table: NDArray[np.float64]) -> Interval:
    """The ratio of shares, and between what it lies for 95 of 100 draws of as many of the conversations."""
    count = len(table)
    draws = np.random.default_rng(_SEED).multinomial(count, np.full(count, 1 / count), size=_RESAMPLES)
    sums = np.vstack((table.sum(axis=0), draws @ table))
    # A draw of nothing but short conversations has no ratio.
    ratios = [
        cached * plain / (prompt * plain_cached)
        for cached, prompt, plain_cached, plain in sums.tolist()
        if plain_cached > 0
    ]
    low, high = np.quantile(ratios[1:] or ratios, (0.025, 0.975)).tolist()
    return Interval(ratios[0], low, high)
