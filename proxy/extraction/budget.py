"""How much a user may cost: calls and tokens in the last hour, held in memory."""

import time
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Final, NamedTuple

from proxy.errors import ExtractionError
from proxy.models import Scope

WINDOW_S: Final = 3600.0
# About 2 MB; whoever was not heard of for so many other users starts anew.
MOST_USERS: Final = 10_000


class _Spent(NamedTuple):
    at: float
    calls: int
    tokens: int


class Budget:
    """A sliding window for each user. What is under way may exceed it, by one batch, so that no batch is too large."""

    def __init__(
        self, calls_per_hour: int, tokens_per_hour: int, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._calls = calls_per_hour
        self._tokens = tokens_per_hour
        self._clock = clock
        self._users: OrderedDict[str, deque[_Spent]] = OrderedDict()

    def check(self, scope: Scope) -> None:
        """Returns when there is room for another call.

        Raises:
            ExtractionError: the budget is used up; ``after_s`` says when it no longer is.
        """
        spent = self._recent(scope)
        if (after_s := self._wait(spent)) > 0:
            raise ExtractionError("the user's budget of this hour is used up", after_s=after_s, counted=False)

    def spend(self, scope: Scope, *, calls: int, tokens: int) -> None:
        """So much has been used just now."""
        self._recent(scope).append(_Spent(self._clock(), calls, tokens))
        while len(self._users) > MOST_USERS:
            self._users.popitem(last=False)

    def _recent(self, scope: Scope) -> deque[_Spent]:
        spent = self._users.setdefault(scope.key, deque())
        self._users.move_to_end(scope.key)
        while spent and spent[0].at <= self._clock() - WINDOW_S:
            spent.popleft()
        return spent

    def _wait(self, spent: deque[_Spent]) -> float:
        """Seconds until what is left in the window is below both limits."""
        calls, tokens = sum(one.calls for one in spent), sum(one.tokens for one in spent)
        after_s = 0.0
        for one in spent:
            if calls < self._calls and tokens < self._tokens:
                break
            after_s = one.at + WINDOW_S - self._clock()
            calls, tokens = calls - one.calls, tokens - one.tokens
        return after_s
