"""Fixtures that compare a client's run through the proxy with its run without."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.harness import Proxy, Upstream, run_proxy
from tests.sdk.comparison import Comparison
from tests.sdk.room import Rooms, open_room


@pytest.fixture
def compare(proxy: Proxy, upstream: Upstream) -> Comparison:
    """For clients that say nothing of who is speaking: the proxy passes everything through."""
    return Comparison(proxy, upstream, {})


@pytest.fixture(params=["anonymous", "remembered"])
def compare_chat(request: pytest.FixtureRequest, proxy: Proxy, upstream: Upstream, user: str) -> Comparison:
    """Chats of nobody, which pass through, and of somebody, which are read and stored on their way.

    Nothing is recalled for the latter: what is compared is the relay, and a block of memories is a wanted difference.
    """
    known = {"X-User-Id": user, "X-Memory-Mode": "write"}
    return Comparison(proxy, upstream, known if request.param == "remembered" else {})


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def rooms(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Rooms]:
    """For clients that open WebSockets: the one server, and the one proxy in front of it."""
    async with (
        open_room() as room,
        run_proxy(tmp_path_factory.mktemp("rooms"), room.url, ready=False) as proxy,
    ):
        yield Rooms(room, proxy.url)
