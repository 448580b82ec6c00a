"""Clients that leave: nobody goes on working for them, and half an exchange is not stored."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from tests.conftest import Launch
from tests.doubles import HeldEmbedder
from tests.harness import Driver, Gate, Proxy, Upstream, Visit
from tests.harness.payloads import ask, event, events
from tests.harness.proxy import CHAT
from tests.harness.upstream import within

pytestmark = pytest.mark.asyncio(loop_scope="session")

STORY = ask("Tell me a story, please.", stream=True)


async def assert_clean(proxy: Proxy) -> None:
    """No request is being served any more, and no task of one is left."""
    await within(proxy.app.dataplane.idle.wait())
    await within(proxy.app.requests.drain())


async def leave_before_headers(driver: Driver, gate: Gate) -> None:
    await gate.asked()
    driver.leave()


async def leave_after_headers(driver: Driver, gate: Gate) -> None:
    gate.start()
    assert (await driver.next())["status"] == 200
    driver.leave()


async def leave_midstream(driver: Driver, gate: Gate) -> None:
    gate.start()
    gate.release(event({"content": "Once"}))
    assert (await driver.next())["status"] == 200
    assert (await driver.next())["body"] == event({"content": "Once"})
    driver.leave()


MOMENTS = [leave_before_headers, leave_after_headers, leave_midstream]


@pytest.mark.parametrize("leave", MOMENTS)
@pytest.mark.parametrize("path", [CHAT, "/v1/responses"])
async def test_a_client_that_leaves_takes_its_upstream_request_along(
    proxy: Proxy, upstream: Upstream, user: str, path: str, leave: Callable[[Driver, Gate], Awaitable[None]]
) -> None:
    """Whenever the client leaves, the connection to upstream is closed at once, and nothing is stored."""
    gate = Gate()
    upstream.script(gate)
    gone = proxy.metric("client_gone_total")
    driver = Driver(proxy.app, path, headers={"X-User-Id": user, "Content-Length": str(len(STORY))})
    driver.say(STORY)
    await leave(driver, gate)
    await gate.hung_up()
    await driver.served()
    await assert_clean(proxy)
    assert proxy.metric("client_gone_total") == gone + 1
    assert await proxy.texts(user) == []


async def test_a_real_client_that_hangs_up_is_noticed(proxy: Proxy, upstream: Upstream, user: str) -> None:
    """A closed socket, seen through the real server, has the same effect before the first byte and after it."""
    for begun in (False, True):
        gate = Gate()
        upstream.script(gate)
        wire = await proxy.open("POST", CHAT, headers={"X-User-Id": user}, body=STORY)
        await gate.asked()
        if begun:
            gate.start()
            gate.release(event({"content": "Once"}))
            await wire.head()
            await wire.piece()
        wire.leave()
        await gate.hung_up()
        await assert_clean(proxy)
    assert await proxy.texts(user) == []


async def test_a_client_that_leaves_during_recall(launch: Launch, upstream: Upstream, user: str) -> None:
    """While memory is still being asked, nothing has gone upstream; the embedder's answer is for whoever asks again."""
    embedder = HeldEmbedder()
    proxy = await launch(embedder=embedder, memory={"deadline_ms": 60_000})
    driver = Driver(proxy.app, CHAT, headers={"X-User-Id": user})
    driver.say(STORY)
    await within(embedder.entered.wait())
    driver.leave()
    await driver.served()
    await assert_clean(proxy)
    assert upstream.visits == []
    assert driver.sent == []
    assert not embedder.cancelled.is_set()
    embedder.free.set()


async def test_a_client_that_leaves_during_a_chat_upload(proxy: Proxy, upstream: Upstream, user: str) -> None:
    """Half a chat request goes nowhere."""
    driver = Driver(proxy.app, CHAT, headers={"X-User-Id": user})
    driver.say(STORY[:10], more=True)
    driver.leave()
    await driver.served()
    await assert_clean(proxy)
    assert upstream.visits == []
    assert driver.sent == []


@pytest.mark.parametrize("headers", [{"Content-Length": "100"}, {"Transfer-Encoding": "chunked"}])
async def test_a_client_that_leaves_during_an_upload(proxy: Proxy, upstream: Upstream, headers: dict[str, str]) -> None:
    """Upstream sees an upload that streams through break off where the client did."""
    broken_off = asyncio.Event()
    arrived = asyncio.Event()

    async def read_on(visit: Visit) -> None:
        try:
            async for _ in visit.pieces():
                arrived.set()
        except (asyncio.IncompleteReadError, ValueError):  # the end, where a length or a chunk should be
            broken_off.set()
            visit.close()

    upstream.script(read_on)
    driver = Driver(proxy.app, "/v1/files", headers=headers)
    driver.say(b"half", more=True)
    await within(arrived.wait())
    driver.leave()
    await within(broken_off.wait())
    await driver.served()
    await assert_clean(proxy)
    assert upstream.last.body == b"half"
    assert driver.sent == []


async def test_a_client_that_stays_gets_everything(proxy: Proxy, upstream: Upstream, user: str) -> None:
    """The same driver, not leaving: the app sends the whole answer and ends by itself."""
    gate = Gate()
    upstream.script(gate)
    driver = Driver(proxy.app, CHAT, headers={"X-User-Id": user})
    driver.say(STORY)
    gate.start()
    gate.release(*events("Once"))
    gate.end()
    await driver.served()
    await assert_clean(proxy)
    assert b"".join(message["body"] for message in driver.sent[1:]) == b"".join(events("Once"))
    assert driver.sent[-1]["more_body"] is False
    assert await proxy.texts(user) == ["Tell me a story, please.", "Once"]
