"""What edges hold because their disk fails: the keeper asks all of them, and those who go do not hold it up."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from proxy import config
from proxy.keeper import inquiries, wire
from proxy.keeper.client import KeeperClient
from proxy.keeper.lock import Holder
from proxy.keeper.server import KeeperServer
from proxy.keeper.vault import open_vault
from proxy.keeper.workshop import Workshop
from proxy.models import Scope
from proxy.tasks import Tasks

ADA = Scope("ada")
Holding = Callable[[Scope | None], Awaitable[int]]


@asynccontextmanager
async def run_keeper(data_dir: Path, *edges: Holding) -> AsyncIterator[list[KeeperClient]]:
    """A keeper, and edges with what they answer."""
    settings = config.load(flags={"data_dir": data_dir, "embedding": {"provider": "none"}}, environ={})
    tasks = Tasks()
    async with open_vault(settings, Holder(os.getpid(), "a test")) as vault:
        keeper = KeeperServer(vault, Workshop(vault, settings, tasks), tasks)
        listening = await asyncio.start_unix_server(keeper.serve_edge, data_dir / "s")
        clients = []
        for holding in edges:
            client = KeeperClient(data_dir / "s", tasks)
            client.on_inquiry = holding
            await client.connect()
            await client.call(wire.Status())  # so that the keeper has it
            clients.append(client)
        yield clients
        for client in clients:
            await client.aclose()
        listening.close()
        await tasks.drain()


def holding(count: int, heard: list[Scope | None]) -> Holding:
    async def answer(erased: Scope | None) -> int:
        heard.append(erased)
        return count

    return answer


async def test_an_erasure_reaches_what_every_edge_holds(tmp_path: Path) -> None:
    """The receipt, whoever asked for it, counts what all of them have forgotten, and its digest is of that."""
    heard: list[Scope | None] = []
    async with run_keeper(tmp_path, holding(2, heard), holding(3, heard)) as (first, second):
        receipts = [await edge.call(wire.Erase(ADA, None)) for edge in (first, second)]
        assert [receipt.journal_entries for receipt in receipts] == [5, 5]
        assert all(len(receipt.digest) == 64 for receipt in receipts)
        assert heard == [ADA] * 4
        assert (await first.call(wire.Erase(ADA, ["some memory"]))).journal_entries == 0
    assert heard == [ADA] * 4


async def test_a_flush_tells_of_what_every_edge_holds(tmp_path: Path) -> None:
    """It could not be stored; who waits for the store only, and not for a model, is not held up by asking."""
    heard: list[Scope | None] = []
    async with run_keeper(tmp_path, holding(2, heard), holding(3, heard)) as (first, _):
        assert await first.call(wire.Flush()) == wire.Flushed(0, 5)
        assert await first.call(wire.Flush(extract=False)) == wire.Flushed(0, 0)
    assert heard == [None, None]


async def test_an_edge_that_goes_is_not_waited_for(tmp_path: Path) -> None:
    """It hangs up instead of answering."""
    clients: list[KeeperClient] = []

    async def leave(_: Scope | None) -> int:
        await clients[1].aclose()
        return 7

    async with run_keeper(tmp_path, holding(2, []), leave) as connected:
        clients += connected
        async with asyncio.timeout(inquiries.INQUIRY_S / 2):
            assert await clients[0].call(wire.Flush()) == wire.Flushed(0, 2)


async def test_an_edge_that_hangs_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a while the others' answers have to do; what comes later is nobody's answer."""
    monkeypatch.setattr(inquiries, "INQUIRY_S", 0.05)
    late = asyncio.Event()

    async def hang(_: Scope | None) -> int:
        await late.wait()
        return 7

    async with run_keeper(tmp_path, holding(2, []), hang) as (first, second):
        assert await first.call(wire.Flush()) == wire.Flushed(0, 2)
        late.set()
        await second.call(wire.Status())
        assert (await first.call(wire.Flush())).failed in (2, 9)
