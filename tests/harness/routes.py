"""The two ways through the proxy, for what must hold on both."""

from typing import Final

import pytest

from tests.harness.payloads import ask
from tests.harness.proxy import CHAT

PASSED: Final = "/v1/responses"
# What every proxy adds to what it sends on, so that a loop can be told.
HOP: Final = "x-memory-proxy-hop"
STORY: Final = ask("Tell me a story, please.", stream=True)

both_routes = pytest.mark.parametrize("path", [pytest.param(CHAT, id="chat"), pytest.param(PASSED, id="passed")])
