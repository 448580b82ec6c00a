"""A server in miniature: drives the ASGI app by hand. The test says when the client speaks, and when it leaves."""

import asyncio
from collections.abc import Callable
from typing import Any

from starlette.types import ASGIApp, Message

from proxy.tasks import Tasks
from tests.harness.upstream import within


class Driver:
    """One request. As uvicorn does it: after the client has left, ``receive`` says so and ``send`` does nothing."""

    def __init__(
        self,
        app: ASGIApp,
        path: str,
        *,
        method: str = "POST",
        headers: dict[str, str] | None = None,
        client: str = "127.0.0.1",
    ) -> None:
        raw = [(name.lower().encode(), value.encode()) for name, value in (headers or {}).items()]
        self._scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "root_path": "",
            "headers": [(b"host", b"localhost"), *raw],
            "client": (client, 1),
            "server": ("127.0.0.1", 2),
        }
        self.sent: list[Message] = []
        self._inbox: asyncio.Queue[Message] = asyncio.Queue()
        self._outbox: asyncio.Queue[Message] = asyncio.Queue()
        self._gone = asyncio.Event()
        self._served = Tasks().spawn(self._run(app), name="driver")

    async def _run(self, app: ASGIApp) -> None:
        await app(self._scope, self._receive, self._send)

    async def _receive(self) -> Message:
        return {"type": "http.disconnect"} if self._gone.is_set() else await self._inbox.get()

    async def _send(self, message: Message) -> None:
        if not self._gone.is_set():
            self.sent.append(message)
            self._outbox.put_nowait(message)

    def say(self, body: bytes, *, more: bool = False) -> None:
        """Sends a piece of the request's body."""
        self._inbox.put_nowait({"type": "http.request", "body": body, "more_body": more})

    def leave(self) -> None:
        """The client hangs up."""
        self._gone.set()
        self._inbox.put_nowait({"type": "http.disconnect"})

    async def next(self) -> Any:
        """The next message of the app."""
        return await within(self._outbox.get())

    async def served(self, check: Callable[[], None] = lambda: None) -> None:
        """Returns when the app is through with the request, whatever it raises."""
        await within(asyncio.wait((self._served,)))
        check()
        if not self._served.cancelled() and (failure := self._served.exception()):
            raise failure
