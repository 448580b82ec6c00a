"""The upstream's name: asked anew for each connection, with all of its addresses, and never for longer than allowed."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.harness import Proxy, respond
from tests.harness.network import Endpoint, Resolver, run_endpoint, silent_port
from tests.harness.relays import Start, expect_failure
from tests.harness.upstream import JSON

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.usefixtures("resolver")]

NAME = "upstream.test"
FIRST, SECOND, THIRD = "127.0.0.1", "127.0.0.2", "127.0.0.3"


@pytest_asyncio.fixture(loop_scope="session")
async def endpoint() -> AsyncIterator[Endpoint]:
    """An upstream at the first address."""
    async with run_endpoint(Endpoint(), host=FIRST) as running:
        yield running


def port_of(endpoint: Endpoint) -> int:
    return int(endpoint.url.rpartition(":")[2])


def url_of(endpoint: Endpoint) -> str:
    return f"http://{NAME}:{port_of(endpoint)}/v1"


async def get(proxy: Proxy) -> int:
    return (await proxy.request("GET", "/v1/models")).status


async def test_a_changed_address_is_taken(start: Start, endpoint: Endpoint, resolver: Resolver) -> None:
    """The next connection goes where the name leads by then."""
    async with run_endpoint(Endpoint(), host=SECOND, port=port_of(endpoint)) as moved:
        resolver.addresses[NAME] = [FIRST]
        proxy = await start(url_of(endpoint))
        endpoint.script(respond(b"{}", headers=[JSON, ("connection", "close")]))
        assert await get(proxy) == 200
        resolver.addresses[NAME] = [SECOND]
        assert await get(proxy) == 200
        assert (len(endpoint.visits), len(moved.visits)) == (1, 1)
    assert resolver.asked == [NAME, NAME]


async def test_a_kept_connection_needs_no_name(start: Start, endpoint: Endpoint, resolver: Resolver) -> None:
    """Requests over one connection ask once."""
    resolver.addresses[NAME] = [FIRST]
    proxy = await start(url_of(endpoint))
    for _ in range(3):
        assert await get(proxy) == 200
    assert resolver.asked == [NAME]


async def test_a_name_that_comes_back(start: Start, endpoint: Endpoint, resolver: Resolver) -> None:
    """That there was no such name is not remembered."""
    proxy = await start(url_of(endpoint))
    await expect_failure(proxy, "dns")
    resolver.addresses[NAME] = [FIRST]
    assert await get(proxy) == 200


async def test_a_dead_address_is_passed_over(start: Start, endpoint: Endpoint, resolver: Resolver) -> None:
    """Where the first of several refuses, the next one is tried."""
    resolver.addresses[NAME] = [THIRD, SECOND, FIRST]
    proxy = await start(url_of(endpoint))
    assert await get(proxy) == 200


async def test_a_silent_address_is_not_waited_for(start: Start, endpoint: Endpoint, resolver: Resolver) -> None:
    """Where the first of several says nothing, the next one is tried long before the patience for connecting ends."""
    resolver.addresses[NAME] = [SECOND, FIRST]
    with silent_port(SECOND, port_of(endpoint)):
        # Longer than the test may take: it cannot be what brought the answer.
        proxy = await start(url_of(endpoint), connect_timeout_s=600)
        assert await get(proxy) == 200


async def test_nobody_at_any_address(start: Start, endpoint: Endpoint, resolver: Resolver) -> None:
    """Refused by all: one message without any of the addresses."""
    resolver.addresses[NAME] = [SECOND, THIRD]
    proxy = await start(url_of(endpoint))
    await expect_failure(proxy, "refused")
    assert endpoint.connections == 0


async def test_a_resolver_that_hangs(start: Start, endpoint: Endpoint, resolver: Resolver) -> None:
    """It counts as connecting: 504 after ``upstream.connect_timeout_s``, and other names are still found."""
    resolver.hanging.add(NAME)
    proxy = await start(url_of(endpoint), connect_timeout_s=0.2)
    await expect_failure(proxy, "connect_timeout")
    resolver.hanging.clear()
    resolver.addresses[NAME] = [FIRST]
    assert await get(proxy) == 200


async def test_an_address_is_no_name(start: Start, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    """An upstream that is given by its address is reached without the resolver."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("nobody should ask")

    proxy = await start(f"{endpoint.url}/v1")
    with monkeypatch.context() as patch:
        patch.setattr("socket.getaddrinfo", refuse)
        assert await get(proxy) == 200


async def test_the_loop_goes_on_while_a_name_is_looked_up(start: Start, endpoint: Endpoint, resolver: Resolver) -> None:
    """A resolver that is slow for one request holds up no other."""
    resolver.addresses[NAME] = [FIRST]
    resolver.hanging.add(NAME)
    waiting = await start(url_of(endpoint))
    other = await start(f"{endpoint.url}/v1")
    async with await waiting.open("GET", "/v1/models") as wire:
        await resolver.held()
        assert await get(other) == 200
        resolver.release()
        assert (await wire.answer()).status == 200
