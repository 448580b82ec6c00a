"""``deploy/nginx``: streams as they come, a user stays with a replica, and no chat is sent twice."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import Final

import pytest
import pytest_asyncio

from tests.balancer import Balancer, run_balancer
from tests.harness import Answer, Gate, Proxy, Upstream, Visit, Wire, respond, run_upstream
from tests.harness.client import Pairs, render_request
from tests.harness.payloads import ask, events
from tests.harness.proxy import CHAT
from tests.harness.relays import run_relay

pytestmark = pytest.mark.asyncio(loop_scope="session")

QUESTION: Final = ask("Hello", stream=True)
USERS: Final = [f"user-{number}" for number in range(24)]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def replicas(far_end: Upstream, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[list[Proxy]]:
    """Three, which relay to the one upstream."""
    async with AsyncExitStack() as stack:
        folder = tmp_path_factory.mktemp("replicas")
        relays = [run_relay(folder / str(number), f"{far_end.url}/v1") for number in range(3)]
        yield [await stack.enter_async_context(relay) for relay in relays]


@pytest.fixture(scope="module")
def shared_balancer(replicas: list[Proxy], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Balancer]:
    """One nginx in front of them. Tests ask for ``balancer``."""
    with run_balancer(tmp_path_factory.mktemp("nginx"), [replica.host for replica in replicas]) as running:
        yield running


@pytest.fixture
def balancer(shared_balancer: Balancer, upstream: Upstream) -> Balancer:
    """nginx in front of ``replicas``, in front of ``upstream``."""
    assert upstream.visits == []
    return shared_balancer


@contextmanager
def dead_port() -> Iterator[str]:
    """An address where nobody listens, and nobody else can."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{taken.getsockname()[1]}"


async def send(url: str, method: str, target: str, headers: Pairs | None = None, body: bytes | None = None) -> Answer:
    """One request on a connection of its own."""
    async with await Wire.open(url) as wire:
        await wire.send(render_request(method, target, headers or [], body, host="memory.example"))
        return await wire.answer()


async def chat(url: str, user: str | None, *headers: tuple[str, str]) -> Answer:
    """A chat request of *user*."""
    named = [] if user is None else [("X-User-Id", user)]
    return await send(url, "POST", CHAT, [*named, *headers], QUESTION)


def served(replicas: list[Proxy]) -> list[float]:
    """How many chats each replica has answered."""
    return [replica.metric("requests_total", route="chat", code="200") for replica in replicas]


async def find_replica(balancer: Balancer, replicas: list[Proxy], user: str | None, *headers: tuple[str, str]) -> int:
    """The number of the replica that serves a chat of *user*."""
    before = served(replicas)
    assert (await chat(balancer.url, user, *headers)).status == 200
    counts = [after - earlier for after, earlier in zip(served(replicas), before, strict=True)]
    assert sorted(counts) == [0, 0, 1]
    return counts.index(1)


async def test_events_pass_as_they_come(balancer: Balancer, upstream: Upstream) -> None:
    """The first one is with the client while the last one has not been sent."""
    gate = Gate()
    upstream.script(gate)
    async with await Wire.open(balancer.url) as wire:
        await wire.send(render_request("POST", CHAT, [("X-User-Id", "ada")], QUESTION, host="memory.example"))
        await gate.asked()
        gate.start()
        assert (await wire.head()).status == 200
        first, *others = events("One two three.")
        gate.release(first)
        assert await wire.piece() == first
        gate.release(*others)
        gate.end()
        assert await wire.rest() == b"".join(others)


async def test_a_request_arrives_as_it_was_sent(balancer: Balancer, upstream: Upstream) -> None:
    """Nothing of nginx in it: the upstream need not know who is in front of whom."""
    sent = [("Authorization", "Bearer key"), ("X-Request-Id", "r-1"), ("X-Thing", "a  b")]
    await send(balancer.url, "POST", "/v1/responses?a=%2F&b", sent, b'{"x": 1}')
    visit = upstream.last
    assert (visit.method, visit.target, visit.body) == (b"POST", b"/v1/responses?a=%2F&b", b'{"x": 1}')
    names = {name.decode().lower() for name, _ in visit.headers}
    assert names.isdisjoint({"x-forwarded-for", "x-forwarded-proto", "x-real-ip", "via", "forwarded"})
    for name, value in sent:
        assert visit.every(name.lower()) == [value.encode()]


async def test_an_answer_arrives_as_it_was_sent(balancer: Balancer, upstream: Upstream) -> None:
    """Headers for an nginx are the upstream's business with its own, and steer nothing here."""
    large = "x" * 20_000  # nginx' own limit is 4,096
    headers = [("content-type", "text/plain"), ("server", "theirs"), ("date", "then"), ("x-large", large)]
    upstream.script(respond(b"teapot", status=418, headers=[*headers, ("x-accel-redirect", "/healthz")]))
    answer = await send(balancer.url, "GET", "/v1/models")
    assert (answer.status, answer.body) == (418, b"teapot")
    for name, value in headers:
        assert answer.every(name) == [value]


async def test_a_body_is_relayed_while_it_comes(balancer: Balancer, upstream: Upstream) -> None:
    """The upstream has its beginning before its end is written."""
    async with await Wire.open(balancer.url) as wire:
        await wire.send(b"POST /v1/files HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\nabc")
        await upstream.visited()
        await wire.send(b"def")
        assert (await wire.answer()).status == 200
    assert upstream.last.body == b"abcdef"


async def test_a_client_that_leaves_takes_its_request_along(balancer: Balancer, upstream: Upstream) -> None:
    """Through both proxies."""
    gate = Gate()
    upstream.script(gate)
    async with await Wire.open(balancer.url) as wire:
        await wire.send(render_request("POST", CHAT, [], QUESTION, host="memory.example"))
        await gate.asked()
        gate.start()
        gate.release(events("One")[0])
        await wire.head()
    await gate.hung_up()


async def test_an_answer_that_breaks_off_is_seen_to(balancer: Balancer, upstream: Upstream) -> None:
    """No end is made up, and the replica is not taken for a dead one: it did what it should."""
    gate = Gate()
    upstream.script(gate)
    async with await Wire.open(balancer.url) as wire:
        await wire.send(render_request("POST", CHAT, [("X-User-Id", "ada")], QUESTION, host="memory.example"))
        await gate.asked()
        gate.start()
        gate.release(events("One")[0])
        await wire.head()
        gate.cut()
        await wire.cut_off()
    assert len(upstream.visits) == 1


async def test_a_user_stays_with_a_replica(balancer: Balancer, replicas: list[Proxy]) -> None:
    """Each user with one, and all of them with all."""
    homes = {user: await find_replica(balancer, replicas, user) for user in USERS}
    assert set(homes.values()) == {0, 1, 2}
    for user, home in homes.items():
        assert await find_replica(balancer, replicas, user, ("X-Conversation-Id", "c"), ("X-User-Token", "t")) == home


@pytest.mark.parametrize("header", ["X-User-Token", "X-Conversation-Id"])
async def test_without_the_header_a_token_or_a_conversation_does(
    balancer: Balancer, replicas: list[Proxy], header: str
) -> None:
    """Where the user is in a token, or in the body."""
    homes = {name: await find_replica(balancer, replicas, None, (header, name)) for name in USERS}
    assert set(homes.values()) == {0, 1, 2}
    for name, home in homes.items():
        assert await find_replica(balancer, replicas, None, (header, name)) == home


async def test_who_says_nothing_is_spread(balancer: Balancer, replicas: list[Proxy]) -> None:
    """All of a chatbot's requests come from one address, with one key; they must not all go to one replica."""
    key = ("Authorization", "Bearer key")
    assert {await find_replica(balancer, replicas, None, key) for _ in range(40)} == {0, 1, 2}


async def test_asking_again_may_find_another_replica(balancer: Balancer, replicas: list[Proxy]) -> None:
    """The official clients count their attempts; the first one, 0, goes where the user is at home."""
    home = await find_replica(balancer, replicas, "ada")
    assert await find_replica(balancer, replicas, "ada", ("X-Stainless-Retry-Count", "0")) == home
    attempts = [("X-Stainless-Retry-Count", str(number)) for number in range(1, 9)]
    assert {await find_replica(balancer, replicas, "ada", attempt) for attempt in attempts} != {home}


async def test_a_replica_that_is_down_is_passed_over(replicas: list[Proxy], upstream: Upstream, tmp_path: Path) -> None:
    """Every chat is answered, the users of the dead one by others, and is sent once; the rest stay where they were."""
    with dead_port() as dead, run_balancer(tmp_path, [replicas[0].host, replicas[1].host, dead]) as balancer:
        before = served(replicas)
        for user in USERS:
            answer = await chat(balancer.url, user)
            assert answer.status == 200, balancer.errors
        assert len(upstream.visits) == len(USERS)
        counts = [after - earlier for after, earlier in zip(served(replicas), before, strict=True)]
        assert counts[0] > 0
        assert counts[1] > 0
        assert sum(counts) == len(USERS)
        assert "Connection refused" in balancer.errors, "nobody was at home with the dead replica"


@pytest.mark.parametrize("number", range(2))
async def test_a_chat_is_not_sent_twice(replicas: list[Proxy], upstream: Upstream, tmp_path: Path, number: int) -> None:
    """A replica that breaks off may have asked the model already: the client is told, and no other replica asked."""

    async def break_off(visit: Visit) -> None:
        await visit.read()
        visit.abort()

    async with run_upstream() as breaking:
        addresses = [replicas[0].host, breaking.url.removeprefix("http://")]
        with run_balancer(tmp_path, addresses if number else addresses[::-1]) as balancer:
            breaking.script(break_off)
            statuses: list[int] = []
            while not breaking.visits:
                statuses.append((await chat(balancer.url, USERS[len(statuses)])).status)
    assert statuses == [*[200] * (len(statuses) - 1), 502]
    assert (len(breaking.visits), len(upstream.visits)) == (1, len(statuses) - 1)


async def test_with_every_replica_down(upstream: Upstream, tmp_path: Path) -> None:
    """The client is told in OpenAI's shape, and that asking again may help."""
    with dead_port() as one, dead_port() as other, run_balancer(tmp_path, [one, other]) as balancer:
        for _ in range(2):  # refused, then known to be down
            answer = await chat(balancer.url, "ada")
            assert (answer.status, answer.code) == (502, "memory_proxy_replica_unavailable")
            assert answer.header("retry-after") == "1"
    assert upstream.visits == []


async def test_what_a_replica_refuses_it_refuses_itself(balancer: Balancer, replicas: list[Proxy]) -> None:
    """Too large a body (64 MB) or head (64 KB): the same answer as without nginx in between."""
    cases: list[tuple[str, str, Pairs]] = [
        ("POST", CHAT, [("Content-Length", "67108865")]),
        ("GET", "/v1/models", [("X-Large", "x" * 66_000)]),
    ]
    direct = [await send(replicas[0].url, *case) for case in cases]
    through = [await send(balancer.url, *case) for case in cases]
    assert [(answer.status, answer.body) for answer in through] == [(answer.status, answer.body) for answer in direct]
    assert [answer.status for answer in direct] == [413, 431]


@pytest.mark.parametrize(
    "target",
    [
        "/",
        "/v1",
        "/memory/users",
        "/metrics",
        "/ui",
        "/v1/../memory/users",
        "/memory/../v1/models",
        "/memory/users/..%2f..%2fv1%2fmodels",
        "/memory/users/%2e%2e/%2e%2e/v1/models",
        "//v1/models",
    ],
)
async def test_chatbots_reach_the_data_plane_alone(balancer: Balancer, replicas: list[Proxy], target: str) -> None:
    """However a path is written, what is no request for ``/v1/`` reaches no replica."""
    before = [replica.metric("requests_total", route="other", code="200") for replica in replicas]
    answer = await send(balancer.url, "GET", target)
    assert (answer.status, answer.code) == (404, "memory_proxy_not_found")
    assert [replica.metric("requests_total", route="other", code="200") for replica in replicas] == before


async def test_operators_reach_the_control_plane_alone(balancer: Balancer, upstream: Upstream) -> None:
    """On a port of its own; without a token a replica refuses whoever comes through nginx."""
    answer = await send(balancer.control_url, "GET", "/memory/users")
    assert (answer.status, answer.code) == (403, "memory_proxy_local_only")
    for target in ("/v1/models", "/metrics", "/"):
        assert (await send(balancer.control_url, "GET", target)).status == 404
    assert upstream.visits == []


async def test_probes_pass(balancer: Balancer) -> None:
    """As good as the replicas behind."""
    assert (await send(balancer.url, "GET", "/healthz")).json == {"status": "ok"}
    assert (await send(balancer.url, "GET", "/readyz")).json["status"] == "degraded"  # these replicas only relay


async def test_the_log_tells_no_user(replicas: list[Proxy], upstream: Upstream, tmp_path: Path) -> None:
    """A line for each chat, with its own id, and none for the control plane, whose paths have users in them."""
    with run_balancer(tmp_path, [replica.host for replica in replicas]) as balancer:
        await chat(balancer.url, "planted-user", ("X-Request-Id", "r-7"), ("Authorization", "Bearer planted-key"))
        await send(balancer.url, "GET", "/v1/models?secret=planted-query")
        await send(balancer.control_url, "GET", "/memory/users/planted-user/memories")
        assert await asyncio.to_thread(balancer.stop) == 0  # the replicas live in this loop
        lines = [json.loads(line) for line in balancer.requests.splitlines()]
        assert "planted" not in balancer.requests + balancer.errors
    assert [(line["path"], line["status"], line["request_id"]) for line in lines] == [
        (CHAT, 200, "r-7"),
        ("/v1/models", 200, ""),
    ]
    assert upstream.visits[0].every("x-request-id") == [b"r-7"]
