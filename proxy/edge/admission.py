"""How much may be asked at a time, and how often: of this process, by each application and by each user.

Who is over a limit is told so at once, and when to come again; nobody waits in a queue for others to be done.
"""

import math
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Final, Self

from proxy.config import Settings
from proxy.edge.callers import Caller
from proxy.errors import Limit, LimitError
from proxy.models import Scope

# However much a minute may have, so many may come at once.
LARGEST_BURST: Final = 1000
# Of users whose bucket is not full: 100 bytes each. Who is forgotten beyond that may ask a little more.
MOST_USERS: Final = 100_000
# Slow uploads hold a place and a connection to the upstream; chats must find some, however many there are.
UPLOADS_SHARE: Final = 0.5
# Where there are few connections, uploads had better wait for them like everybody else.
FEWEST_UPLOADS: Final = 16

RATE: Final = "rate_limited"
AT_A_TIME: Final = "too_many_requests"

Clock = Callable[[], float]


class Pace:
    """So many a minute, by token buckets, each told by one number: when it will be full again (GCRA).

    A bucket that is full is forgotten, which changes nothing.
    """

    def __init__(self, per_minute: float, clock: Clock, *, most: int = MOST_USERS) -> None:
        self._interval_s = 60 / per_minute
        self._slack_s = (max(1.0, min(per_minute, LARGEST_BURST)) - 1) * self._interval_s
        self._clock = clock
        self._most = most
        self._full_at: OrderedDict[str, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._full_at)

    def take(self, key: str) -> float:
        """Takes one out of the bucket called *key*; else the seconds until there is one, and nothing is taken."""
        now = self._clock()
        full_at = max(now, self._full_at.get(key, now))
        # A thousandth of a second is none: sums of intervals are not exact.
        if (wait_s := full_at - now - self._slack_s) > 0.001:
            return wait_s
        self._full_at[key] = full_at + self._interval_s
        self._full_at.move_to_end(key)
        self._forget(now)
        return 0.0

    def _forget(self, now: float) -> None:
        """What has not been used for longest is looked at, two for each that comes, so that no sweep takes long."""
        for _ in range(2):
            key, full_at = next(iter(self._full_at.items()))
            if full_at > now and len(self._full_at) <= self._most:
                return
            del self._full_at[key]


class Places:
    """So many at a time, for each key."""

    def __init__(self, most: int) -> None:
        self.most: Final = most
        self._taken: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._taken)

    def is_full(self, key: str = "") -> bool:
        """Whether :meth:`take` would be too much."""
        return self._taken.get(key, 0) >= self.most

    def take(self, key: str = "") -> None:
        """One more."""
        self._taken[key] = self._taken.get(key, 0) + 1

    def give_back(self, key: str = "") -> None:
        """One less; nothing is kept of who has none."""
        left = self._taken[key] - 1
        if left:
            self._taken[key] = left
        else:
            del self._taken[key]


class Admission:
    """All limits of a process."""

    def __init__(self, settings: Settings, *, clock: Clock = time.monotonic) -> None:
        limits = settings.limits
        self.all = Places(limits.max_in_flight)
        share = int(UPLOADS_SHARE * min(limits.max_in_flight, settings.upstream.max_connections))
        self.uploads = Places(max(FEWEST_UPLOADS, share))
        named = {client.name: client for client in settings.clients}
        self.client_places = {
            name: Places(client.max_in_flight) for name, client in named.items() if client.max_in_flight is not None
        }
        self.client_paces = {
            name: Pace(client.requests_per_minute, clock)
            for name, client in named.items()
            if client.requests_per_minute is not None
        }
        self.user_places = None if limits.user_max_in_flight is None else Places(limits.user_max_in_flight)
        rate = limits.user_requests_per_minute
        self.user_pace = None if rate is None else Pace(rate, clock)

    @property
    def limits_users(self) -> bool:
        """Whether it matters who a user is."""
        return self.user_places is not None or self.user_pace is not None


class Ticket:
    """One request's way through the limits. As a context manager it gives back all that it has taken.

    Raises LimitError from everything but the giving back.
    """

    def __init__(self, admission: Admission, caller: Caller) -> None:
        self.caller: Final = caller
        self._admission = admission
        self._held: list[tuple[Places, str]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        while self._held:
            places, key = self._held.pop()
            places.give_back(key)

    def check(self) -> None:
        """Before anything is read of the body: is there a place now, and may this application ask again already?"""
        self._find_places()
        pace = self._admission.client_paces.get(self._name)
        if pace is not None and (wait_s := pace.take(self._name)):
            raise _too_often("client_rate", "This API key has made too many requests in a minute.", wait_s)

    def begin(self) -> None:
        """Takes a place. Whoever is slow to send a body that is wanted as a whole holds none until then."""
        places = self._find_places()
        self._take(self._admission.all)
        if places is not None:
            self._take(places, self._name)

    def _find_places(self) -> Places | None:
        """Those of the application, if it has a limit, with one free in them and in the process."""
        if self._admission.all.is_full():
            raise _too_many("in_flight", "The proxy is serving as many requests as it may.")
        places = self._admission.client_places.get(self._name)
        if places is not None and places.is_full(self._name):
            raise _too_many("client_in_flight", f"This API key has {places.most} requests under way, its limit.")
        return places

    def watch_upload(self, pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """*pieces*, which hold a place of their own until the last one has come."""
        if self._admission.uploads.is_full():
            raise _too_many("uploads", "The proxy is taking as many uploads as it may.")
        self._take(self._admission.uploads)
        return self._pass_on(pieces)

    async def _pass_on(self, pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for piece in pieces:
            yield piece
        with suppress(ValueError):  # the request has ended before its upload
            self._held.remove((self._admission.uploads, ""))
            self._admission.uploads.give_back()

    @property
    def limits_users(self) -> bool:
        """Whether it matters who a user is, where memory does not want to know."""
        return self._admission.limits_users

    def begin_for(self, scope: Scope) -> None:
        """Takes a place of this user's."""
        places, pace = self._admission.user_places, self._admission.user_pace
        if places is not None and places.is_full(scope.key):
            raise _too_many("user_in_flight", f"This user has {places.most} requests under way, the limit.")
        if pace is not None and (wait_s := pace.take(scope.key)):
            raise _too_often("user_rate", "This user has made too many requests in a minute.", wait_s)
        if places is not None:
            self._take(places, scope.key)

    @property
    def _name(self) -> str:
        return "" if self.caller.client is None else self.caller.client.name

    def _take(self, places: Places, key: str = "") -> None:
        places.take(key)
        self._held.append((places, key))


def _too_many(limit: Limit, message: str) -> LimitError:
    return LimitError(limit, AT_A_TIME, f"{message} Please try again in a moment.", retry_after=1)


def _too_often(limit: Limit, message: str, wait_s: float) -> LimitError:
    seconds = max(1, math.ceil(wait_s))
    return LimitError(limit, RATE, f"{message} Please try again in {seconds} s.", retry_after=seconds)
