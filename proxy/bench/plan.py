"""How much a benchmark run measures. Counts decide how steady the numbers are, never what they mean."""

from typing import Final

import msgspec


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """The sizes of one run; the defaults are the full one, of about five minutes."""

    rounds: int = 20  # each goes through all ways once, so that a noisy moment hits every way alike
    chats: int = 400  # a round and way
    streams: int = 100  # a round and way
    chunks: int = 100  # a stream
    concurrency: int = 8
    paced_streams: int = 128  # a way and round, all at once
    paced_rounds: int = 5
    few: int = 16  # streams at once that leave the machine idle in between
    gap_ms: int = 20
    samples: int = 1000  # requests of each way, one at a time, for latencies
    picture_samples: int = 200
    picture_bytes: int = 1_000_000
    crowd: int = 256  # streams at once that are read byte by byte
    crowd_chunks: int = 1500  # thirty seconds at the usual gap
    dawdlers: int = 256  # slow clients
    fast: int = 64  # and those beside them, at once
    dawdled: int = 2_000  # chats of these in a round, with the slow ones and without
    dawdler_rounds: int = 5
    warm_up: int = 10_000  # requests before memory use is read for the first time
    endured: int = 50_000  # and until it is read again
    memories: int = 1000  # of the user who is remembered
    store_size: int = 100_000  # memories of all users in the large store
    hoard: int = 20_000  # memories of the user who has the most
    visits: int = 50  # cold users who visit, at most
    ladder: tuple[int, ...] = (100, 300, 3_000)  # memories of users whose recall is compared, with those above
    climbs: int = 200  # recalls of each of them
    stored: int = 10_000  # memories that are made while chats go on
    backlog: int = 5_000  # exchanges that wait in the journal when a keeper starts
    kills: int = 5  # of the keeper
    kill_rate: float = 50  # chats that begin in a second meanwhile
    settle_s: float = 3.0  # until memory use is read


FULL: Final = Plan()
QUICK: Final = Plan(
    rounds=6,
    chats=200,
    streams=40,
    paced_rounds=2,
    samples=300,
    picture_samples=50,
    crowd_chunks=250,
    dawdler_rounds=2,
    warm_up=2_000,
    endured=5_000,
    store_size=10_000,
    hoard=4_000,
    visits=9,
    climbs=100,
    stored=2_000,
    backlog=1_000,
    kills=1,
)
