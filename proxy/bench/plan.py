"""How much a benchmark run measures. Counts decide how steady the numbers are, never what they mean."""

from typing import Final

import msgspec


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """The sizes of one run; the defaults are the full one, of about five minutes."""

    rounds: int = 10  # each goes through all ways once, so that a noisy moment hits every way alike
    chats: int = 200  # a round and way
    streams: int = 40  # a round and way
    chunks: int = 100  # a stream
    concurrency: int = 8
    samples: int = 1000  # chats of each way, one at a time, for latencies
    paced_streams: int = 16  # a way, all at once
    paced_rounds: int = 3
    gap_ms: int = 20
    memories: int = 1000  # of the user who is remembered
    store_size: int = 100_000  # memories of all users in the large store
    visits: int = 50  # cold users who visit, at most
    stored: int = 10_000  # memories that are made while chats go on
    kills: int = 3
    kill_load_s: float = 1.0  # before each kill and after each return
    settle_s: float = 3.0  # until memory use is read


FULL: Final = Plan()
QUICK: Final = Plan(
    rounds=4, chats=150, streams=20, samples=300, paced_rounds=1, store_size=10_000, visits=9, stored=2_000, kills=1
)
