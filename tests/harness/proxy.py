"""The proxy itself: the real server on a free port, with its real keeper, journal and store."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from proxy import config
from proxy.app import App
from proxy.embedders.base import Embedder
from proxy.keeper import wire
from proxy.serving import DrainingServer, bind, make_server
from proxy.tasks import Tasks
from tests.harness.client import Answer, Pairs, Wire, render_request
from tests.harness.upstream import within

CHAT = "/v1/chat/completions"
# A keeper takes about a second to start, and more while other tests keep the machine busy.
KEEPER_S = 30.0
# Tests of anything but deadlines should not depend on how busy the machine is.
PATIENCE_MS = 10_000


class Proxy:
    """A running proxy, and short words for what tests do with it."""

    def __init__(self, app: App, server: DrainingServer, listener: socket.socket) -> None:
        port = listener.getsockname()[1]
        self.app = app
        self.server = server
        self._serving = Tasks().spawn(server.serve([listener]), name="proxy")
        self.host = f"127.0.0.1:{port}"
        self.url = f"http://{self.host}"

    async def connect(self) -> Wire:
        return await Wire.open(self.url)

    async def open(
        self, method: str, target: str, *, headers: Mapping[str, str] | Pairs | None = None, body: bytes | None = None
    ) -> Wire:
        """A connection on which this request has been sent."""
        connection = await self.connect()
        pairs = list(headers.items()) if isinstance(headers, Mapping) else headers or []
        await connection.send(render_request(method, target, pairs, body, host=self.host))
        return connection

    async def request(
        self, method: str, target: str, *, headers: Mapping[str, str] | Pairs | None = None, body: bytes | None = None
    ) -> Answer:
        """One request on a connection of its own."""
        async with await self.open(method, target, headers=headers, body=body) as connection:
            return await connection.answer(bodiless=method == "HEAD")

    async def chat(self, user: str | None, body: bytes, **headers: str) -> Answer:
        """A chat request; *headers* with underscores for hyphens."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if user is not None:
            named["X-User-Id"] = user
        return await self.request("POST", CHAT, headers=named, body=body)

    async def control(self, method: str, path: str, payload: object = None, **headers: str) -> Answer:
        """A request to the control plane."""
        body = None if payload is None else payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.request(method, path, headers=named, body=body)

    async def flush(self) -> dict[str, int]:
        answer = await self.control("POST", "/memory/flush")
        assert answer.status == 200, answer.body
        counts: dict[str, int] = answer.json
        return counts

    async def memories(self, user: str) -> list[dict[str, Any]]:
        """What is stored of a user when all that is journaled is, oldest first."""
        await self.flush()
        answer = await self.control("GET", f"{user_path(user)}/memories?limit=1000")
        assert answer.status == 200, answer.body
        return list(reversed(answer.json["memories"]))

    async def texts(self, user: str) -> list[str]:
        return [memory["text"] for memory in await self.memories(user)]

    def metric(self, name: str, **labels: str) -> float:
        """The value of one series of a metric; 0.0 where nothing was counted yet."""
        value = self.app.metrics.registry.get_sample_value(f"memory_proxy_{name}", labels)
        return 0.0 if value is None else value

    async def wait_ready(self) -> None:
        """Returns when the keeper is up."""
        await within(self.app.keeper.connected.wait(), KEEPER_S)
        while self.app.link.status is None:  # it asks at once; the keeper answers calls side by side
            await self.app.keeper.call(wire.Status())

    async def stop(self) -> None:
        """A graceful stop, to its end. Another one does nothing."""
        if not self._serving.done():
            self.server.drain()
            await asyncio.wait((self._serving,))
        self._serving.result()


def user_path(user: str) -> str:
    return f"/memory/users/{quote(user, safe='')}"


@asynccontextmanager
async def run_proxy(
    data_dir: Path, upstream_url: str, *, embedder: Embedder | None = None, ready: bool = True, **sections: Any
) -> AsyncIterator[Proxy]:
    """A proxy in front of *upstream_url*; *sections* are configuration. With *ready*, its keeper is up."""
    sections["upstream"] = {"base_url": f"{upstream_url}/v1"} | sections.get("upstream", {})
    sections["memory"] = {"deadline_ms": PATIENCE_MS} | sections.get("memory", {})
    settings = config.load(flags={"data_dir": data_dir, **sections}, environ={})
    app = App(settings, embedder=embedder)
    listener = bind("127.0.0.1", 0)
    listener.listen()  # whoever connects before the server is up waits, and is served
    proxy = Proxy(app, make_server(app), listener)
    try:
        if ready:
            await proxy.wait_ready()
        yield proxy
    finally:
        await proxy.stop()
