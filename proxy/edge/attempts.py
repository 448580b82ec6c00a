"""How often somebody at an address has failed to show who they are."""

import ipaddress
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from math import ceil
from typing import Final

# So many failures in so many seconds are a person's mistakes; more are somebody who guesses.
MOST: Final = 10
WINDOW_S: Final = 60.0
# Addresses that are remembered: 2 MB. Beyond them that one is forgotten which has failed least recently.
MOST_ADDRESSES: Final = 4096
# What one customer of a provider has, and may take any address from.
NETWORK_BITS: Final = 64


class FailedAttempts:
    """Counts failures by address. Who has failed too often is told how long to wait, and is not looked at meanwhile:
    an answer, whichever, would tell whether the guess was right.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failures: OrderedDict[str, deque[float]] = OrderedDict()

    def __len__(self) -> int:
        """How many addresses are remembered."""
        return len(self._failures)

    def wait_s(self, address: str) -> int:
        """Seconds until *address* may try again: 0 for whoever may now."""
        times = self._failures.get(find_network(address))
        if times is None or len(times) < MOST:
            return 0
        return max(0, ceil(times[0] + WINDOW_S - self._clock()))

    def note(self, address: str) -> None:
        """Another failure."""
        network = find_network(address)
        times = self._failures.setdefault(network, deque(maxlen=MOST))
        times.append(self._clock())
        self._failures.move_to_end(network)
        if len(self._failures) > MOST_ADDRESSES:
            self._failures.popitem(last=False)


def find_network(address: str) -> str:
    """Whom *address* counts for: itself, or with IPv6 the network that it was given out of."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    mapped = found.ipv4_mapped
    return str(mapped) if mapped else str(ipaddress.ip_network((int(found), NETWORK_BITS), strict=False))
