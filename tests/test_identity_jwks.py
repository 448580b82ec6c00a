"""Published keys: a file that is replaced, a URL that is away, changed, slow or wrong; and chats meanwhile."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from starlette.types import Receive, Send
from starlette.types import Scope as AsgiScope

from proxy.config.access import Identity
from proxy.errors import IdentityError, UnauthorizedError
from proxy.identity.jwks import AGAIN_S, LARGEST, LOOK_S, REFRESH_S, RETRY_S, FileSource, UrlSource
from proxy.identity.jwt import TokenIdentifier
from proxy.models import Scope
from proxy.serving import bind
from proxy.tasks import Tasks
from tests.conftest import Launch
from tests.harness import Upstream
from tests.harness.payloads import ask
from tests.harness.upstream import within
from tests.processes import send_json
from tests.tokens import jwk, jwks, rsa_key, token

pytestmark = pytest.mark.asyncio(loop_scope="session")

RS256 = ("RS256",)
ONE, TWO = (jwks(jwk(rsa_key(number), "RS256", kid=str(number))) for number in range(2))


def of(number: int) -> bytes:
    """A token that the key with this number has signed."""
    return token(key=rsa_key(number), head={"kid": str(number)})


class Clock:
    """A time that only the test changes."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Publisher:
    """An identity provider: a real server that answers with *body*, when *open* is set."""

    def __init__(self) -> None:
        self.body, self.status, self.asked = ONE, 200, 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.open = asyncio.Event()
        self.open.set()
        self.arrived = asyncio.Event()
        self.url = ""

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        self.asked += 1
        self.arrived.set()
        await self.open.wait()
        if self.headers:
            await send({"type": "http.response.start", "status": self.status, "headers": self.headers})
            await send({"type": "http.response.body", "body": b""})
        else:
            await send_json(send, self.body, self.status)


@asynccontextmanager
async def run_publisher() -> AsyncIterator[Publisher]:
    publisher, listener = Publisher(), bind("127.0.0.1", 0)
    publisher.url = f"http://127.0.0.1:{listener.getsockname()[1]}/jwks.json"
    server = uvicorn.Server(uvicorn.Config(publisher, lifespan="off", log_config=None, ws="none"))
    listener.listen()  # whoever connects before the server is up waits, and is served
    serving = Tasks().spawn(server.serve([listener]), name="publisher")
    try:
        yield publisher
    finally:
        publisher.open.set()
        server.should_exit = True
        await asyncio.wait((serving,))


def believe(source: Any) -> TokenIdentifier:
    settings = Identity.model_validate(
        {"mode": "jwt", "jwt": {"algorithms": RS256, "jwks_url": "http://unused", "audience": "my-chatbot"}}
    )
    return TokenIdentifier(settings, Tasks(), source=source)


async def is_good(by: TokenIdentifier, sent: bytes) -> bool:
    try:
        return await by.identify([(b"x-user-token", sent)], None, "") == Scope("ada")
    except UnauthorizedError:
        return False


async def test_a_file_that_is_replaced(tmp_path: Path) -> None:
    """What is in it counts within a second, and at once for a token whose key is not known; the old key is gone."""
    path, clock = tmp_path / "jwks.json", Clock()
    path.write_bytes(ONE)
    by = believe(FileSource(path, RS256, clock=clock))
    assert [await is_good(by, of(number)) for number in range(2)] == [True, False]
    newer = tmp_path / "newer"
    newer.write_bytes(TWO)
    newer.replace(path)
    assert await is_good(by, of(0))
    assert await is_good(by, of(1))
    assert not await is_good(by, of(0))
    os.utime(path, ns=(1, 1))
    path.write_bytes(ONE)
    clock.now += LOOK_S
    assert [await is_good(by, of(number)) for number in range(2)] == [True, False]


async def test_a_file_that_comes_late_or_breaks(tmp_path: Path) -> None:
    """Without keys nobody can say who it is; a broken file leaves those of before."""
    path, clock = tmp_path / "jwks.json", Clock()
    source = FileSource(path, RS256, clock=clock)
    by = believe(source)
    with pytest.raises(IdentityError):
        await is_good(by, of(0))
    path.write_bytes(ONE)
    clock.now += LOOK_S
    assert await is_good(by, of(0))
    path.write_bytes(b"{half a fi")
    clock.now += LOOK_S
    assert await is_good(by, of(0))
    path.unlink()
    clock.now += LOOK_S
    assert await is_good(by, of(0))
    await source.aclose()


async def test_a_url(tmp_path: Path) -> None:
    """Fetched once, by however many ask at the same time, and not for every token that is not believed."""
    tasks = Tasks()
    async with run_publisher() as publisher:
        by = believe(UrlSource(publisher.url, RS256, tasks, clock=Clock()))
        publisher.open.clear()
        asking = [tasks.spawn(is_good(by, of(0)), name="asking", awaited=True) for _ in range(20)]
        await within(publisher.arrived.wait())
        publisher.open.set()
        assert await asyncio.gather(*asking) == [True] * 20
        for _ in range(5):
            assert not await is_good(by, of(1))
        assert publisher.asked == 1
        await by.aclose()


async def test_a_key_that_is_new() -> None:
    """A token that names it has it fetched, but not again within half a minute, whatever tokens name."""
    clock = Clock()
    async with run_publisher() as publisher:
        by = believe(UrlSource(publisher.url, RS256, Tasks(), clock=clock))
        assert await is_good(by, of(0))
        publisher.body = TWO
        clock.now += AGAIN_S - 1
        assert not await is_good(by, of(1))
        clock.now += 1
        assert await is_good(by, of(1))
        assert not await is_good(by, of(0))
        assert not await is_good(by, of(7))
        assert publisher.asked == 2


async def test_keys_are_fetched_now_and_then() -> None:
    """Once an hour, while nobody waits; a key that is published no more is believed no more."""
    clock, tasks = Clock(), Tasks()
    async with run_publisher() as publisher:
        by = believe(UrlSource(publisher.url, RS256, tasks, clock=clock))
        assert await is_good(by, of(0))
        publisher.body = TWO
        clock.now += REFRESH_S - 1
        assert await is_good(by, of(0))
        assert publisher.asked == 1
        clock.now += 1
        publisher.open.clear()
        assert await is_good(by, of(0))
        publisher.open.set()
        await within(tasks.drain())
        assert not await is_good(by, of(0))
        assert await is_good(by, of(1))
        assert publisher.asked == 2


@pytest.mark.parametrize("what", ["down", "error", "redirect", "page", "large", "useless"])
async def test_an_outage(what: str) -> None:
    """What is known stays good, and is fetched again before long; without anything nobody can say who it is."""
    clock, tasks = Clock(), Tasks()
    async with run_publisher() as publisher:
        by = believe(UrlSource(publisher.url, RS256, tasks, clock=clock))
        newcomer = believe(UrlSource(publisher.url, RS256, tasks, clock=clock))
        assert await is_good(by, of(0))
        publisher.status = {"error": 500, "redirect": 302}.get(what, 200)
        publisher.headers = [(b"location", b"/jwks.json"), (b"content-length", b"0")] if what == "redirect" else []
        publisher.body = {"page": b"<html>", "large": b" " * (LARGEST + 1) + ONE, "useless": jwks()}.get(what, ONE)
        if what == "down":
            newcomer = believe(UrlSource("http://127.0.0.1:9/jwks.json", RS256, tasks, clock=clock))
        else:
            clock.now += REFRESH_S
            assert await is_good(by, of(0))
            await within(tasks.drain())
            assert await is_good(by, of(0))
        with pytest.raises(IdentityError):
            await is_good(newcomer, of(0))
        asked = publisher.asked
        with pytest.raises(IdentityError):  # at once, and without asking again
            await is_good(newcomer, of(0))
        assert publisher.asked == asked
        publisher.status, publisher.body, publisher.headers = 200, ONE, []
        clock.now += RETRY_S
        assert what == "down" or await is_good(newcomer, of(0))


async def test_who_leaves_does_not_take_the_fetch_along() -> None:
    """The first that asks may hang up; the second gets what was asked for."""
    tasks = Tasks()
    async with run_publisher() as publisher:
        by = believe(UrlSource(publisher.url, RS256, tasks, clock=Clock()))
        publisher.open.clear()
        first, second = (tasks.spawn(is_good(by, of(0)), name="asking", awaited=True) for _ in range(2))
        await within(publisher.arrived.wait())
        first.cancel()
        await asyncio.wait((first,))
        publisher.open.set()
        assert await within(second)
        assert publisher.asked == 1


async def test_chats_go_on_without_memory(launch: Launch, upstream: Upstream, tmp_path: Path) -> None:
    """While the keys cannot be had: the body untouched, nothing remembered, and the client is told."""
    path = tmp_path / "jwks.json"
    jwt = {"algorithms": ["RS256"], "jwks_file": str(path), "audience": "my-chatbot"}
    proxy = await launch(identity={"mode": "jwt", "jwt": jwt})
    body = ask("My dog is called Biscuit.")
    answer = await proxy.chat(None, body, x_user_token=of(0).decode())
    assert (answer.status, answer.memory, upstream.last.body) == (200, "error", body)
    assert proxy.metric("memory_errors_total", step="identity") == 1
    path.write_bytes(ONE)
    proxy.app._identifier._source._looked = -LOOK_S  # type: ignore[attr-defined]  # a second has passed
    answer = await proxy.chat(None, body, x_user_token=of(0).decode())
    assert (answer.status, answer.memory) == (200, "empty")
    assert await proxy.texts("ada") == ["My dog is called Biscuit.", "Noted."]
    answer = await proxy.chat(None, ask("What is my dog called?"), x_user_token=of(0).decode())
    assert (answer.status, answer.memory) == (200, "injected")
    assert {name for name, _ in upstream.last.headers}.isdisjoint({b"x-user-token", b"x-user-id"})
    refused = await proxy.chat(None, body, x_user_token=of(1).decode())
    assert (refused.status, refused.code) == (401, "memory_proxy_bad_token")
    assert proxy.metric("unauthorized_total", reason="bad_token") == 1
