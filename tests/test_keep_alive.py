"""Connections to the upstream: kept, shared, bounded, given up in time, and the one case of a second try."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path

import pytest
import pytest_asyncio

from tests.harness import Proxy, Wire, respond
from tests.harness.client import render_request
from tests.harness.network import Endpoint, run_endpoint
from tests.harness.payloads import ask
from tests.harness.proxy import CHAT
from tests.harness.relays import Crowd, ask_for, expect_failure, in_flight, run_relay
from tests.harness.upstream import JSON, Headers, Script, Visit, render_head
from tests.processes import Proxy as ProxyProcess

pytestmark = pytest.mark.asyncio(loop_scope="session")

LIMIT = 2


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def kept(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Endpoint, Proxy]]:
    """A proxy with few connections, and its upstream."""
    async with run_endpoint(Endpoint()) as endpoint:
        folder = tmp_path_factory.mktemp("kept")
        async with run_relay(folder, f"{endpoint.url}/v1", max_connections=LIMIT) as proxy:
            yield endpoint, proxy


@pytest_asyncio.fixture(loop_scope="session")
async def endpoint(kept: tuple[Endpoint, Proxy]) -> Endpoint:
    """The upstream with no connection open and nothing scripted."""
    endpoint, _ = kept
    await endpoint.hang_up()
    endpoint.reset()
    return endpoint


@pytest.fixture
def relay(kept: tuple[Endpoint, Proxy], endpoint: Endpoint) -> Proxy:
    """The proxy in front of ``endpoint``."""
    return kept[1]


@pytest_asyncio.fixture(loop_scope="session")
async def crowd(endpoint: Endpoint, relay: Proxy) -> AsyncIterator[Crowd]:
    """Clients of ``relay``, who leave when the test is over."""
    async with AsyncExitStack() as stack:
        yield Crowd(endpoint, relay, stack, limit=LIMIT)


async def drop(visit: Visit) -> None:
    """Takes the request, and hangs up without a word."""
    await visit.read()
    visit.abort()


def respond_with(*lines: str, version: str = "1.1") -> Script:
    """A short answer with these headers."""
    headers: Headers = [
        JSON,
        ("content-length", "2"),
        *((n, v) for n, _, v in (line.partition(": ") for line in lines)),
    ]

    async def script(visit: Visit) -> None:
        await visit.read()
        head = render_head(200, headers).replace(b"HTTP/1.1", f"HTTP/{version}".encode())
        visit.send(head if visit.method == b"HEAD" else head + b"{}")

    return script


async def get(proxy: Proxy) -> int:
    return (await proxy.request("GET", "/v1/models")).status


@contextmanager
def in_the_past(monkeypatch: pytest.MonkeyPatch, seconds: float) -> Iterator[None]:
    """Lets the loop's clock be behind, so that what happens here was *seconds* ago when it is right again."""
    loop = asyncio.get_running_loop()
    clock = loop.time
    with monkeypatch.context() as patch:
        patch.setattr(loop, "time", lambda: clock() - seconds)
        yield


async def test_requests_one_after_the_other_share_a_connection(endpoint: Endpoint, relay: Proxy) -> None:
    """Whatever the method, with a body or without, intercepted or not, as long as the body is all here."""
    for method, target, body in (("GET", "/v1/models", None), ("HEAD", "/v1/models", None), ("POST", CHAT, ask("Hi."))):
        endpoint.script(respond_with())
        assert (await relay.request(method, target, body=body)).status == 200
    assert len(endpoint.visits) == 3
    assert endpoint.connections == 1


@pytest.mark.parametrize("status", [204, 304, 404, 500])
async def test_any_whole_answer_leaves_the_connection_usable(endpoint: Endpoint, relay: Proxy, status: int) -> None:
    """An error, or an answer without a body, is no reason to give a connection up."""
    body = b"" if status in (204, 304) else b"{}"
    endpoint.script(respond(body, status=status))
    assert (await relay.request("GET", "/v1/models")).status == status
    assert await get(relay) == 200
    assert endpoint.connections == 1


async def test_a_small_upload_shares_a_connection(endpoint: Endpoint, relay: Proxy) -> None:
    """A request that is passed through with a small body needs no connection of its own."""
    for _ in range(3):
        assert (await relay.request("POST", "/v1/embeddings", body=b"{}")).status == 200
    assert endpoint.connections == 1


@pytest.mark.parametrize(
    "script",
    [
        pytest.param(respond_with("Connection: close"), id="close"),
        pytest.param(respond_with("Connection: x-other, CLOSE"), id="close among others"),
        pytest.param(respond_with(version="1.0"), id="HTTP/1.0"),
        pytest.param(respond_with("Keep-Alive: timeout=0"), id="kept for no time"),
        pytest.param(respond_with("Keep-Alive: max=100, timeout=1"), id="kept for less than the way takes"),
    ],
)
async def test_a_connection_that_is_announced_to_end_is_not_used_again(
    endpoint: Endpoint, relay: Proxy, script: Script
) -> None:
    """Upstream has said that it is about to close it."""
    endpoint.script(script)
    assert await get(relay) == 200
    assert await get(relay) == 200
    assert endpoint.connections == 2


@pytest.mark.parametrize(
    ("headers", "seconds", "connections"),
    [(["Keep-Alive: timeout=5"], 3.0, 1), (["Keep-Alive: timeout=5"], 5.5, 2), ([], 10.0, 1), ([], 60.0, 2)],
)
async def test_idle_connections_are_given_up_in_time(
    endpoint: Endpoint,
    relay: Proxy,
    monkeypatch: pytest.MonkeyPatch,
    headers: list[str],
    seconds: float,
    connections: int,
) -> None:
    """Before the announced time is over; without one before the minute that most servers and balancers allow."""
    endpoint.script(respond_with(*headers))
    with in_the_past(monkeypatch, seconds):
        assert await get(relay) == 200
    assert await get(relay) == 200
    assert endpoint.connections == connections


async def test_a_busy_connection_is_not_kept_for_ever(
    endpoint: Endpoint, relay: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After five minutes of steady use there is a new one, because the upstream's name may lead elsewhere by then."""
    for seconds in range(320, -1, -40):
        with in_the_past(monkeypatch, seconds):
            assert await get(relay) == 200
    assert endpoint.connections == 2


async def test_an_idle_connection_that_upstream_closed_is_not_used(endpoint: Endpoint, relay: Proxy) -> None:
    """Its end is seen while it is idle; the next request is sent once, on a new one."""
    assert await get(relay) == 200
    await endpoint.hang_up()
    assert (await relay.request("POST", CHAT, body=ask("Hi."))).status == 200
    assert (len(endpoint.visits), endpoint.connections) == (2, 2)


async def test_what_upstream_says_unasked_is_no_answer(endpoint: Endpoint, relay: Proxy) -> None:
    """An idle connection on which something comes (nginx says 408 there) is given up; nobody gets those bytes."""
    assert await get(relay) == 200
    endpoint.writers[-1].write(b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\n\r\n")
    await endpoint.abandoned()
    assert await get(relay) == 200
    assert endpoint.connections == 2


async def test_what_follows_an_answer_is_not_the_next_one(endpoint: Endpoint, relay: Proxy) -> None:
    """A second answer behind the first is never given to another client."""

    async def answer_twice(visit: Visit) -> None:
        await visit.read()
        head = render_head(200, [JSON, ("content-length", "2")])
        visit.send(head + b"{}" + head.replace(b"200 OK", b"418 Other") + b"{}")

    endpoint.script(answer_twice)
    async with await relay.open("GET", "/v1/models") as wire:
        assert (await wire.head()).status in (200, 502)
    assert await get(relay) == 200
    assert endpoint.connections == 2


async def test_an_answer_before_the_upload_has_ended_ends_the_connection(endpoint: Endpoint, relay: Proxy) -> None:
    """What is left of the body must not be taken for the next request."""

    async def refuse(visit: Visit) -> None:
        visit.start(413, [JSON, ("content-length", "2")])
        visit.send(b"{}")
        await visit.wait_for_leaving()

    endpoint.script(refuse)
    async with await relay.open("POST", "/v1/files", headers=[("Content-Length", "1000000")]) as wire:
        await wire.send(b"x" * 1000)
        assert (await wire.answer()).status == 413
    await endpoint.abandoned()
    assert await get(relay) == 200
    assert endpoint.connections == 2


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_stale_connection_is_replaced_once(endpoint: Endpoint, relay: Proxy, method: str) -> None:
    """Dropped without a byte of answer, a kept connection was closed as it was used: the same bytes go once more."""
    body = ask("Hi.") if method == "POST" else None
    target = CHAT if method == "POST" else "/v1/models"
    before = relay.metric("upstream_errors_total", kind="reset")
    endpoint.script(respond(b"1"), drop, respond(b"2"))
    assert await get(relay) == 200
    answer = await relay.request(method, target, headers={"X-Mine": "a"}, body=body)
    assert (answer.status, answer.body) == (200, b"2")
    _, first, second = endpoint.visits
    assert (first.head, first.body) == (second.head, second.body)
    assert second.body == (body or b"")
    assert endpoint.connections == 2
    assert relay.metric("upstream_errors_total", kind="reset") == before


async def test_a_request_is_not_resent_twice(endpoint: Endpoint, relay: Proxy, crowd: Crowd) -> None:
    """The second try goes over a new connection even where other kept ones are idle; when that fails, it is 502."""
    await crowd.occupy()
    await crowd.answers()
    endpoint.script(drop, drop)
    answer = await relay.request("POST", CHAT, body=ask("Hi."))
    assert (answer.status, answer.code) == (502, "memory_proxy_upstream_unreachable")
    assert len(endpoint.visits) == LIMIT + 2
    assert endpoint.connections == LIMIT + 1


async def test_a_request_on_a_new_connection_is_not_resent(endpoint: Endpoint, relay: Proxy) -> None:
    """Upstream may have done what it was asked, and died of it."""
    endpoint.script(drop, drop)
    await expect_failure(relay, "reset")
    assert (len(endpoint.visits), endpoint.connections) == (2, 2)


@pytest.mark.parametrize("begun", [b"H", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 200 OK\r\ncontent-le"])
async def test_a_request_that_was_being_answered_is_not_resent(endpoint: Endpoint, relay: Proxy, begun: bytes) -> None:
    """One byte says that upstream has worked on it."""

    async def begin(visit: Visit) -> None:
        await visit.read()
        visit.send(begun)
        visit.close()

    endpoint.script(respond(b"1"), begin)
    assert await get(relay) == 200
    answer = await relay.request("POST", CHAT, body=ask("Hi."))
    assert (answer.status, answer.code) == (502, "memory_proxy_upstream_unreachable")
    assert len(endpoint.visits) == 2


async def test_a_streamed_request_is_not_resent(endpoint: Endpoint, relay: Proxy) -> None:
    """What went through cannot be sent again, so an upload that is dropped fails, on whatever connection."""

    async def drop_at_once(visit: Visit) -> None:
        visit.abort()

    assert await get(relay) == 200
    endpoint.script(drop_at_once)
    async with await relay.open("POST", "/v1/files", headers=[("Content-Length", "1000000")]) as wire:
        await wire.send(b"x" * 1000)
        answer = await wire.answer()
    assert (answer.status, answer.code) == (502, "memory_proxy_upstream_unreachable")
    assert len(endpoint.visits) == 2


async def test_no_more_connections_than_allowed(endpoint: Endpoint, crowd: Crowd) -> None:
    """What comes on top waits, and is served in the order in which it came."""
    await crowd.occupy()
    waiting = [f"/v1/waiting/{number}" for number in range(3)]
    for target in waiting:
        await crowd.join(ask_for(target))
    assert len(endpoint.visits) == LIMIT
    assert await crowd.answers() == [200] * (LIMIT + 3)
    assert [visit.target.decode() for visit in endpoint.visits[LIMIT:]] == waiting
    assert endpoint.connections == LIMIT


async def test_uploads_do_not_exceed_the_limit(endpoint: Endpoint, crowd: Crowd) -> None:
    """Streamed requests that wait, and may want a connection that is new, stay within it, too."""
    await crowd.occupy()
    begun = render_request("POST", "/v1/files", [("Content-Length", "100")], None, host="proxy") + b"x"
    for _ in range(4):
        await (await crowd.join(begun)).send(b"x" * 99)
    endpoint.script(*[crowd.hold] * 4)
    crowd.let_go()
    for number in range(LIMIT, LIMIT + 4):
        await endpoint.have_come(number + 1)
        endpoint.visits[number].go_on.set()
    assert await crowd.answers() == [200] * (LIMIT + 4)
    assert crowd.most_busy == LIMIT


async def test_a_waiting_client_that_leaves_takes_no_slot(endpoint: Endpoint, relay: Proxy, crowd: Crowd) -> None:
    """Its request never goes upstream, and the next in the queue is served."""
    await crowd.occupy()
    leaver = await crowd.join(ask_for("/v1/leaver"))
    await crowd.join(ask_for("/v1/stayer"))
    leaver.leave()
    crowd.wires.remove(leaver)
    await in_flight(relay, LIMIT + 1)
    assert await crowd.answers() == [200] * (LIMIT + 1)
    assert [visit.target for visit in endpoint.visits[LIMIT:]] == [b"/v1/stayer"]


async def test_a_client_that_leaves_makes_room(endpoint: Endpoint, crowd: Crowd) -> None:
    """The connection of an abandoned answer is closed, and whoever waits gets a new one in its place."""
    await crowd.occupy()
    waiting = await crowd.join(ask_for("/v1/waiting"))
    crowd.wires.pop(0).leave()
    assert (await waiting.answer()).status == 200
    crowd.wires.remove(waiting)
    assert await crowd.answers() == [200]
    assert endpoint.connections == LIMIT + 1


async def test_as_a_process(endpoint: Endpoint, tmp_path: Path) -> None:
    """With the event loop of real life: a kept connection, a stale one that is replaced, a new one that is not."""
    endpoint.script(respond(b"1"), respond(b"2"), drop, respond(b"3"), drop, drop)
    with ProxyProcess(tmp_path, endpoint.url) as process:
        listening = await asyncio.to_thread(process.log.wait_for, "listening")
        async with await Wire.open(listening["url"]) as wire:
            answers = []
            for _ in range(4):
                await wire.send(ask_for("/v1/models"))
                answers.append(await wire.answer())
    assert [answer.body for answer in answers[:3]] == [b"1", b"2", b"3"]
    assert answers[3].code == "memory_proxy_upstream_unreachable"
    assert (len(endpoint.visits), endpoint.connections) == (6, 3)
