"""A crowd of forged requests against the real server: nobody gets, or changes, the memory of a user they are not.

``MEMORY_PROXY_FORGED=100000`` in the environment makes so many of them, an equal share in each mode of identity;
``-rP`` tells what each kind was answered with.
"""

import asyncio
import os
import random
import re
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final, get_args

import pytest
import structlog

from proxy.keeper import wire
from proxy.models import Scope
from tests.forging import PEOPLE, Forger, Forgery, Mode, Person, configuration, conversation_of, prove, told_by
from tests.harness import Proxy, run_proxy
from tests.harness.payloads import ask, completion
from tests.harness.proxy import CHAT, user_path
from tests.harness.upstream import within

log = structlog.get_logger(__name__)

# Read before the tests begin, which know nothing of the environment.
COUNT: Final = int(os.environ.get("MEMORY_PROXY_FORGED", "3000"))
CONNECTIONS: Final = 8
# Sent at once on a connection, before the first answer.
AT_ONCE: Final = 6
MARKER: Final = re.compile(rb"vault[0-9a-f]{12}")
TAG: Final = re.compile(rb"#q[a-z]+(\d+)#")
OURS: Final = re.compile(rb"(?im)^(?:x-user-(?:id|token|signature):|authorization: bearer mp-|api-key: mp-)[^\r]*")
ANSWER: Final = completion("Noted.")

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(60 + COUNT // 50)]


class Witness(asyncio.Protocol):
    """A connection of an upstream that answers everything alike, and notes whose secrets it was told by whom."""

    def __init__(self, told: defaultdict[int, set[bytes]], leaks: set[bytes]) -> None:
        self._told = told
        self._leaks = leaks
        self._data = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._data += data
        while (size := self._measure()) is not None:
            request, self._data = self._data[:size], self._data[size:]
            self._note(request)
            self._transport.write(
                b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(ANSWER)
                + ANSWER
            )

    def _measure(self) -> int | None:
        """The length of the first request, once it is here in full."""
        head, end, _ = self._data.partition(b"\r\n\r\n")
        if not end:
            return None
        if b"\r\ntransfer-encoding: chunked" in head:
            place = self._data.find(b"0\r\n\r\n", len(head) + 2)
            return None if place < 0 else place + 5
        length = re.search(rb"\r\ncontent-length: (\d+)", head)
        size = len(head) + 4 + (int(length[1]) if length else 0)
        return size if len(self._data) >= size else None

    def _note(self, request: bytes) -> None:
        head, _, body = request.partition(b"\r\n\r\n")
        self._leaks.update(OURS.findall(head))
        # The last one: a block that stands before it may bring up what its user was told to remember earlier.
        numbers = TAG.findall(body)
        self._told[int(numbers[-1]) if numbers else 0].update(MARKER.findall(request))


class Trial:
    """What has come of the requests so far."""

    def __init__(self) -> None:
        self.statuses: defaultdict[str, Counter[int]] = defaultdict(Counter)
        self.told: defaultdict[int, set[bytes]] = defaultdict(set)
        self.leaks: set[bytes] = set()
        self.wrong: list[str] = []

    def judge(self, forgery: Forgery, number: int, answer: bytes) -> None:
        """Notes what is wrong with the answers to one request."""
        statuses = [int(status) for status in re.findall(rb"(?m)^HTTP/1\.1 (\d{3})", answer)]
        self.statuses[forgery.kind][statuses[0] if statuses else 0] += 1
        first = statuses[0] if statuses else 0
        if max(statuses, default=0) >= 500 or not first or (forgery.statuses and first not in forgery.statuses):
            self.wrong.append(f"{number} {forgery.kind}: {statuses} to {forgery.raw[:400]!r}")
        if MARKER.search(answer):
            self.wrong.append(f"{number} {forgery.kind}: a secret in the answer to {forgery.raw[:400]!r}")
        allowed = {forgery.owner.marker.encode()} if forgery.owner is not None else set()
        told = self.told.pop(number, set())
        if told - allowed or (forgery.wants and told != allowed):
            self.wrong.append(f"{number} {forgery.kind}: upstream was told {told} by {forgery.raw[:600]!r}")


@asynccontextmanager
async def witnessing(trial: Trial) -> AsyncIterator[str]:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Witness(trial.told, trial.leaks), "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


async def read_answer(reader: asyncio.StreamReader) -> bytes:
    """One response; what there is of it where the connection ends."""
    try:
        head = await within(reader.readuntil(b"\r\n\r\n"))
        length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
        if length is not None:
            return bytes(head + await within(reader.readexactly(int(length[1]))))
        body = b""
        while not body.endswith(b"0\r\n\r\n"):
            body += await within(reader.readuntil(b"\r\n"))
        return bytes(head + body)
    except (asyncio.IncompleteReadError, ConnectionError) as exc:
        return getattr(exc, "partial", b"")


class Attack:
    """Sends what a forger makes, on several connections at a time, as many at once on each as it can."""

    def __init__(self, proxy: Proxy, forger: Forger, trial: Trial) -> None:
        self._port = int(proxy.url.rpartition(":")[2])
        self._forger = forger
        self._trial = trial
        self._left = 0
        self._spoilers: list[tuple[int, Forgery]] = []

    async def run(self, count: int) -> None:
        self._left = count
        async with asyncio.TaskGroup() as group:
            for _ in range(CONNECTIONS):
                group.create_task(self._send_all())

    async def _send_all(self) -> None:
        while self._left > 0 or self._spoilers:
            reader, writer = await asyncio.open_connection("127.0.0.1", self._port, limit=1 << 20)
            try:
                while (self._left > 0 or self._spoilers) and await self._send_some(reader, writer):
                    pass
            finally:
                writer.transport.abort()

    async def _send_some(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Whether the connection may be used further."""
        batch = self._next_batch()
        writer.write(b"".join(forgery.raw for _, forgery in batch))
        for number, forgery in batch:
            answer = await read_answer(reader)
            if forgery.closes:
                answer += await self._read_on(reader, writer, answer)
            self._trial.judge(forgery, number, answer)
        return not batch[-1][1].closes

    def _next_batch(self) -> list[tuple[int, Forgery]]:
        """Several that leave the connection as it is, or one that may end it, and others' answers with it."""
        if self._spoilers:
            return [self._spoilers.pop()]
        batch: list[tuple[int, Forgery]] = []
        while self._left > 0 and len(batch) < AT_ONCE:
            self._left -= 1
            forgery = self._forger.next()
            (self._spoilers if forgery.closes else batch).append((self._forger.number, forgery))
        return batch or [self._spoilers.pop()]

    async def _read_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answer: bytes) -> bytes:
        """All else that a connection gives after an answer: what was hidden within the request, if anything."""
        if b"\r\nconnection: close" not in answer.lower():
            writer.write(b"GET /nowhere HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        rest = b""
        with suppress(ConnectionError):
            while piece := await within(reader.read(1 << 16)):
                rest += piece
        return rest


async def tell(proxy: Proxy, mode: Mode, person: Person) -> None:
    """Plants what only *person* may hear of again."""
    headers = [("Authorization", f"Bearer {person.key}"), ("X-Conversation-Id", conversation_of(person))]
    headers += [(name.decode(), value.decode()) for name, value in prove(mode, person.user_id)]
    answer = await proxy.request("POST", CHAT, headers=headers, body=ask(told_by(person)))
    assert (answer.status, answer.memory) == (200, "empty"), answer.body


async def remembered(proxy: Proxy) -> str:
    """Everything that is stored of anybody, whichever tenant they are of."""
    found = []
    for person in PEOPLE:
        scope = Scope(person.user_id, person.tenant)
        listed = await proxy.app.keeper.call(wire.ListMemories(scope, 1000, None, include_superseded=True))
        found += [f"{user_path(person.user_id)} {person.tenant}: {memory.text}" for memory in listed.memories]
    return "\n".join(line for line in found if not line.startswith("/memory/users/mallory "))


@pytest.mark.parametrize("mode", get_args(Mode))
async def test_forged_requests(tmp_path: Path, mode: Mode) -> None:
    """None of them brings up another user's memory, or adds to it; none of them makes the proxy fail."""
    trial = Trial()
    forger = Forger(mode, random.Random(f"forged {mode}"), stores=0.1 if COUNT < 20_000 else 0.02)
    async with witnessing(trial) as url, run_proxy(tmp_path / "data", url, **configuration(mode)) as proxy:
        for person in PEOPLE:
            await tell(proxy, mode, person)
        await proxy.app.keeper.call(wire.Flush(extract=False))
        before = await remembered(proxy)
        trial.told.clear()
        await Attack(proxy, forger, trial).run(COUNT // len(get_args(Mode)))
        await proxy.app.keeper.call(wire.Flush(extract=False))
        left = (proxy.app.dataplane.active, len(proxy.app.dataplane._admission.all))
        after = await remembered(proxy)
    log.info("forged", mode=mode, **{kind: dict(sorted(count.items())) for kind, count in trial.statuses.items()})
    assert trial.wrong == [], f"{len(trial.wrong)} of {COUNT}:\n" + "\n".join(trial.wrong[:20])
    assert (trial.leaks, dict(trial.told)) == (set(), {})
    assert trial.statuses["genuine"][200] > 0
    assert (after, left) == (before, (0, 0))
