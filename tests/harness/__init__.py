"""What end-to-end tests are made of: a real upstream under their control, a real proxy, and a client that sees bytes.

Everything runs in the test session's one event loop, so that a test waits for what happens instead of for time.
"""

from tests.harness.client import Answer, Wire
from tests.harness.driver import Driver
from tests.harness.proxy import Proxy, run_proxy
from tests.harness.upstream import Gate, Upstream, Visit, respond, run_upstream, stream

__all__ = [
    "Answer",
    "Driver",
    "Gate",
    "Proxy",
    "Upstream",
    "Visit",
    "Wire",
    "respond",
    "run_proxy",
    "run_upstream",
    "stream",
]
