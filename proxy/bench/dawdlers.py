"""Slow clients: whether those that are not slow notice them."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager, suppress
from typing import Final
from urllib.parse import urlsplit

from proxy.bench.chats import Chats
from proxy.bench.corpus import chat_body
from proxy.bench.latency import draw_times
from proxy.bench.load import CHAT, repeat
from proxy.bench.plan import Plan
from proxy.bench.processes import read_cpu_seconds
from proxy.bench.report import Report, Row, percentile, ratio, scaled
from proxy.bench.world import World

EVERY_S: Final = 1.0
# As much of a stream as fills every buffer on its way: the client's own is the smallest that the system gives.
CHUNKS: Final = 5_000
SMALL: Final = 4096
# Nothing happens while the proxy takes less than this share of a core.
CALM_SHARE: Final = 0.05
CALM_S: Final = 0.5
CALM_WITHIN_S: Final = 60.0


class Dawdler:
    """A client that does next to nothing: *script* goes out to its *start* at once, then byte by byte; of what comes
    it reads as little.
    """

    def __init__(self, endpoint: tuple[str, int], script: bytes, start: int) -> None:
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)
        self.socket.connect(endpoint)
        self.socket.sendall(script[:start])
        self.socket.setblocking(False)
        self.is_served_out = False
        self._left = iter(script[start:])

    def act(self) -> None:
        """A byte each way, where there is one."""
        try:
            with suppress(BlockingIOError):
                if (byte := next(self._left, None)) is not None:
                    self.socket.send(bytes([byte]))
            with suppress(BlockingIOError):
                self.is_served_out |= not self.socket.recv(1)
        except ConnectionError:
            self.is_served_out = True


def list_scripts(host: str) -> list[tuple[bytes, int]]:
    """What a fourth of them each says, and how much of it at once: nothing, a slow head, a slow body, and a request for
    a stream that is hardly read.
    """
    body = chat_body("Tell me a long story.", stream=True)
    head = f"POST {CHAT} HTTP/1.1\r\nHost: {host}\r\nX-Mock-Chunks: {CHUNKS}\r\nContent-Length: {len(body)}\r\n\r\n"
    whole = head.encode("ascii") + body
    return [(b"", 0), (whole, 1), (whole, len(head) + 1), (whole, len(whole))]


@asynccontextmanager
async def dawdling(url: str, count: int) -> AsyncIterator[list[Dawdler]]:
    """So many slow clients meanwhile, of each kind as many."""
    parts = urlsplit(url)
    endpoint = (parts.hostname or "", parts.port or 80)
    scripts = list_scripts(parts.netloc)
    with ExitStack() as stack:
        slow = [Dawdler(endpoint, *scripts[number % len(scripts)]) for number in range(count)]
        for dawdler in slow:
            stack.enter_context(dawdler.socket)
        async with asyncio.TaskGroup() as group:
            acting = group.create_task(_act(slow))
            yield slow
            acting.cancel()


async def _act(slow: list[Dawdler]) -> None:
    while True:
        for dawdler in slow:
            dawdler.act()
        await asyncio.sleep(EVERY_S)


async def _wait_for_calm(world: World) -> None:
    """Until the slow streams have filled all buffers on their way, which is work as any stream is."""
    deadline = time.perf_counter() + CALM_WITHIN_S
    before = read_cpu_seconds(world.proxy.pid)
    while time.perf_counter() < deadline:
        await asyncio.sleep(CALM_S)
        now = read_cpu_seconds(world.proxy.pid)
        if now is None or before is None or now - before < CALM_S * CALM_SHARE:
            return
        before = now


async def measure_dawdlers(world: World, plan: Plan) -> Report:
    """The latency of fast clients beside slow ones and without, in alternation."""
    ask = Chats().whole(world.proxied)
    alone: list[float] = []
    beside: list[float] = []
    gone = 0

    async def run(times: int) -> list[float]:
        return [answer.seconds for answer in await repeat(ask, times=times, concurrency=plan.fast)]

    await run(plan.fast)
    for _ in range(plan.dawdler_rounds):
        alone += await run(plan.dawdled)
        async with dawdling(world.proxied.url, plan.dawdlers) as slow:
            await _wait_for_calm(world)
            beside += await run(plan.dawdled)
            gone += sum(dawdler.is_served_out for dawdler in slow)
    meaning = f"chats of nobody, {plan.fast} at a time, beside {plan.dawdlers} that send or read a byte a second"
    times = percentile(alone, 99), percentile(beside, 99)
    rows = [
        Row(name="chat among slow clients, p99", value=scaled(times[1], 1000), unit="ms", meaning=meaning),
        Row(name="… against none, p99", value=ratio(times[1], times[0]), unit="×", target=1.5, meaning=meaning),
        Row(name="slow clients given up", value=gone, unit="", meaning="before they had been slow for long"),
    ]
    taken = {"alone": alone, "beside slow clients": beside}
    return Report(rows, [draw_times(f"Time of a chat, {plan.fast} at a time", "chats", taken)])
