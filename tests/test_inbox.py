"""The client's side of a request: its body, and its leaving."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from proxy.edge.inbox import ClientGoneError, Inbox
from proxy.errors import ApiError
from proxy.tasks import Tasks


class Client:
    """What ``receive`` gives, and *waiting*, which tells that everything said so far was taken."""

    def __init__(self, *pieces: bytes, more: bool = False) -> None:
        self._messages: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.waiting = asyncio.Event()
        for index, piece in enumerate(pieces, 1):
            self.say(piece, more=more or index < len(pieces))

    def say(self, piece: bytes, *, more: bool) -> None:
        self._messages.put_nowait({"type": "http.request", "body": piece, "more_body": more})

    def leave(self) -> None:
        self._messages.put_nowait({"type": "http.disconnect"})

    async def receive(self) -> dict[str, Any]:
        if self._messages.empty():
            self.waiting.set()
        return await self._messages.get()


class Connection:
    """What our own server offers, as far as it matters here."""

    asks_for_websocket = False

    def __init__(self) -> None:
        self._listeners: set[Callable[[], None]] = set()
        self.add_listener = self._listeners.add
        self.discard_listener = self._listeners.discard

    async def wait_for_body(self, _: float) -> bool:
        return True

    def is_ready(self) -> bool:
        return False

    def write(self, piece: bytes) -> None:
        raise NotImplementedError

    def switch(self, protocol: asyncio.Protocol) -> tuple[asyncio.Transport, bytes]:
        raise NotImplementedError

    def lose(self) -> None:
        for listener in tuple(self._listeners):
            listener()


async def test_a_body_in_pieces() -> None:
    """Joined in order; one that has just as many bytes as allowed is taken."""
    with Inbox(Client(b"a", b"", b"bc").receive, Tasks()) as inbox:
        assert await inbox.body(3) == b"abc"


async def test_a_body_too_large() -> None:
    """413 with the byte that is too much; what follows is not asked for."""
    client = Client(b"ab", b"cd", b"ef")
    with Inbox(client.receive, Tasks()) as inbox:
        with pytest.raises(ApiError) as caught:
            await inbox.body(3)
        assert caught.value.status == 413
        assert (await client.receive())["body"] == b"ef"


async def test_a_body_as_a_stream() -> None:
    """Pieces as they come, without empty ones; one that is here as a whole is given as a whole."""
    with Inbox(Client(b"a", b"", b"bc", b"").receive, Tasks()) as inbox:
        body = await inbox.open()
        assert not isinstance(body, bytes)
        assert [piece async for piece in body] == [b"a", b"bc"]
    with Inbox(Client(b"abc").receive, Tasks()) as inbox:
        assert await inbox.open() == b"abc"


async def test_leaving_within_the_body() -> None:
    """Nobody is answered for half a request."""
    client = Client(b"a", more=True)
    client.leave()
    with pytest.raises(ClientGoneError), Inbox(client.receive, Tasks()) as inbox:
        await inbox.body(10)


async def test_leaving_within_a_stream() -> None:
    """Another task reads the body, as a transport's does; the one that serves the request is cancelled at once."""
    client, tasks = Client(b"a", more=True), Tasks()
    client.leave()

    async def exhaust(inbox: Inbox) -> None:
        body = await inbox.open()
        assert not isinstance(body, bytes)
        async for _ in body:
            pass

    async def serve() -> None:
        with Inbox(client.receive, tasks) as inbox:
            tasks.spawn(exhaust(inbox), name="exhaust", awaited=True)
            await asyncio.Event().wait()

    with pytest.raises(ClientGoneError):
        await serve()


async def test_leaving_while_something_is_awaited() -> None:
    """Whatever is awaited within the context is cancelled, and comes out as the client's leaving; no task stays."""
    client, tasks = Client(b"a"), Tasks()

    async def serve() -> None:
        with Inbox(client.receive, tasks) as inbox:
            await inbox.body(10)
            await client.waiting.wait()
            client.leave()
            await asyncio.Event().wait()

    with pytest.raises(ClientGoneError):
        await serve()
    await tasks.drain()
    current = asyncio.current_task()
    assert current is not None
    assert current.cancelling() == 0


async def test_leaving_without_a_body() -> None:
    """A request that has none is watched from the beginning."""
    client = Client(b"")

    async def serve() -> None:
        with Inbox(client.receive, Tasks()) as inbox:
            assert await inbox.open() == b""
            client.leave()
            await asyncio.Event().wait()

    with pytest.raises(ClientGoneError):
        await serve()


async def test_leaving_where_the_server_tells() -> None:
    """A server that knows of connections is believed, in every phase, and no task waits beside the one that serves."""
    client, tasks, connection = Client(b"a"), Tasks(), Connection()
    entered = asyncio.Event()

    async def serve() -> None:
        with Inbox(client.receive, tasks, connection) as inbox:
            await inbox.body(10)
            entered.set()
            await asyncio.Event().wait()

    serving = Tasks().spawn(serve(), name="serve", awaited=True)
    await entered.wait()
    assert "client-watch" not in {task.get_name() for task in asyncio.all_tasks()}
    connection.lose()
    with pytest.raises(ClientGoneError):
        await serving


async def test_leaving_after_the_end() -> None:
    """Nobody is disturbed by a connection that is lost when all is served."""
    connection = Connection()
    with Inbox(Client(b"a").receive, Tasks(), connection) as inbox:
        await inbox.body(10)
    connection.lose()
    current = asyncio.current_task()
    assert current is not None
    assert current.cancelling() == 0


async def test_staying() -> None:
    """The watch ends with the context."""
    tasks = Tasks()
    with Inbox(Client(b"a").receive, tasks) as inbox:
        assert await inbox.body(10) == b"a"
        watches = {task.get_name(): task for task in asyncio.all_tasks()}
    await tasks.drain()
    assert watches["client-watch"].cancelled()


async def test_other_failures_pass() -> None:
    """An error of the handler's own comes out as it is, though the client has left as well."""
    client = Client(b"a")

    async def serve() -> None:
        with Inbox(client.receive, Tasks()) as inbox:
            await inbox.body(10)
            client.leave()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                raise ZeroDivisionError from None

    with pytest.raises(ZeroDivisionError):
        await serve()


async def test_a_cancellation_from_elsewhere_stays_one() -> None:
    """The server's shutdown is not taken for a client's leaving, also when both happen."""
    client, tasks = Client(b"a"), Tasks()
    entered = asyncio.Event()

    async def serve() -> None:
        with Inbox(client.receive, tasks) as inbox:
            await inbox.body(10)
            entered.set()
            await asyncio.Event().wait()

    serving = tasks.spawn(serve(), name="serve")
    await entered.wait()
    client.leave()
    serving.cancel()
    await asyncio.wait((serving,))
    assert serving.cancelled()
