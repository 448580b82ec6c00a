"""One answer for all processes: which of them is asked makes no difference, and Prometheus can read it."""

import asyncio
import os
import shutil
import subprocess
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from proxy import config
from proxy.edge import exposition
from proxy.edge.exposition import Exposition
from proxy.keeper import wire
from proxy.keeper.client import KeeperClient
from proxy.keeper.lock import Holder
from proxy.keeper.server import KeeperServer
from proxy.keeper.vault import Vault, open_vault
from proxy.keeper.workshop import Workshop
from proxy.models import Scope
from proxy.observe.exposition import Family, Point, label, merge, render
from proxy.observe.metrics import Metrics
from proxy.tasks import Tasks
from tests.harness import Proxy, Upstream
from tests.harness.payloads import ask
from tests.harness.proxy import KEEPER_S
from tests.harness.upstream import within

pytestmark = pytest.mark.asyncio(loop_scope="session")

Series = dict[tuple[str, frozenset[tuple[str, str]]], float]


def read(text: bytes) -> Series:
    """Every series with its value. Fails for a family, or a series, that is there twice."""
    families = list(text_string_to_metric_families(text.decode()))
    assert [name for name, count in Counter(family.name for family in families).items() if count > 1] == []
    samples = [
        ((sample.name, frozenset(sample.labels.items())), sample.value)
        for family in families
        for sample in family.samples
    ]
    assert len(samples) == len(dict(samples))
    return dict(samples)


def check_by_promtool(text: bytes) -> None:
    """Prometheus' own linter has nothing to say. Does nothing where it is not installed."""
    promtool = shutil.which("promtool")
    if promtool is not None:
        done = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, check=False)
        assert (done.returncode, done.stderr) == (0, b"")


def value(series: Series, name: str, **labels: str) -> float | None:
    return series.get((f"memory_proxy_{name}", frozenset(labels.items())))


class Fleet:
    """A keeper, and edges with their connections to it."""

    def __init__(self, vault: Vault, path: Path, tasks: Tasks) -> None:
        self.vault = vault
        self.clients: list[KeeperClient] = []
        self._path = path
        self._tasks = tasks

    async def join(self, worker: int | None) -> tuple[Metrics, Exposition]:
        client = KeeperClient(self._path, self._tasks)
        await client.connect()
        self.clients.append(client)
        metrics = Metrics()
        return metrics, Exposition(metrics, client, worker)

    async def settle(self) -> None:
        """Returns when the keeper has heard all that was told on every connection."""
        for client in self.clients:
            await client.call(wire.Status())


@asynccontextmanager
async def run_fleet(folder: Path) -> AsyncIterator[Fleet]:
    settings = config.load(flags={"data_dir": folder, "embedding": {"provider": "none"}}, environ={})
    tasks = Tasks()
    async with open_vault(settings, Holder(os.getpid(), "a test")) as vault:
        server = KeeperServer(vault, Workshop(vault, settings, tasks), tasks)
        listening = await asyncio.start_unix_server(server.serve_edge, folder / "s")
        fleet = Fleet(vault, folder / "s", tasks)
        async with AsyncExitStack() as stack:
            stack.callback(listening.close)
            yield fleet
            for client in fleet.clients:
                await client.aclose()
        await tasks.drain()


async def test_any_worker_answers_for_all(tmp_path: Path) -> None:
    """Its own series are of the moment, the others' of what they told last, each with its number; the keeper's once."""
    async with run_fleet(tmp_path) as fleet:
        edges = [await fleet.join(number) for number in range(3)]
        for number, (metrics, exposed) in enumerate(edges):
            metrics.count("memory_total", "empty", by=number + 1)
            exposed.tell(number)
        await fleet.settle()
        await fleet.vault.add(Scope("ada"), "Ada has a boat.")
        answers = [await exposed.render() for _, exposed in edges]
    for text in answers:
        check_by_promtool(text)
        series = read(text)
        counted = [value(series, "memory_total", status="empty", worker=str(number)) for number in range(3)]
        assert counted == [1, 2, 3]
        assert value(series, "store_seconds_count", operation="put") == 1
        assert value(series, "journal_pending") == 0
        # Not a series of an edge without its number, nor one of the keeper with one.
        numbered = {name for name, labels in series if "worker" in dict(labels)}
        assert numbered.isdisjoint(name for name, labels in series if "worker" not in dict(labels))
        assert ("memory_proxy_keeper_process_resident_memory_bytes", frozenset()) in series


async def test_a_worker_that_is_gone_is_told_of_no_more(tmp_path: Path) -> None:
    """Its last numbers would stand there for ever."""
    async with run_fleet(tmp_path) as fleet:
        (_, first), (_, second) = await fleet.join(0), await fleet.join(1)
        second.tell(1)
        await fleet.settle()
        assert value(read(await first.render()), "requests_in_flight", worker="1") == 0
        await fleet.clients.pop().aclose()
        while value(read(await first.render()), "requests_in_flight", worker="1") is not None:
            pass
        assert value(read(await first.render()), "requests_in_flight", worker="0") == 0


async def test_workers_tell_by_themselves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Again and again, and after the keeper was away, too."""
    monkeypatch.setattr(exposition, "TELL_EVERY_S", 0.01)
    async with run_fleet(tmp_path) as fleet:
        (_, first), (metrics, second) = await fleet.join(0), await fleet.join(1)
        tasks = Tasks()
        tasks.spawn(second.run(), name="tell")
        for count in (1, 2):
            metrics.count("client_gone_total")
            async with asyncio.timeout(KEEPER_S):
                while value(read(await first.render()), "client_gone_total", worker="1") != count:
                    pass
            await fleet.clients[1].aclose()
            await fleet.clients[1].connect()
        await tasks.cancel()


async def test_reports_of_all_workers_come_together(tmp_path: Path) -> None:
    """The own one first; a worker that has none of that name is left out."""
    async with run_fleet(tmp_path) as fleet:
        edges = [(await fleet.join(number))[1] for number in range(3)]
        for number, exposed in enumerate(edges):
            exposed.reports["stats"] = lambda number=number: b"stats of %d" % number  # type: ignore[misc]
        del edges[1].reports["stats"]
        for number, exposed in enumerate(edges):
            exposed.tell(number)
        await fleet.settle()
        assert await edges[2].collect("stats") == [b"stats of 2", b"stats of 0"]
        alone = (await fleet.join(None))[1]
        alone.reports["stats"] = lambda: b"mine"
        assert await alone.collect("stats") == [b"mine"]


async def test_without_the_keeper_an_edge_tells_of_itself(tmp_path: Path) -> None:
    """With its number, where it is one of several."""
    client = KeeperClient(tmp_path / "nobody", Tasks())
    metrics = Metrics()
    series = read(await Exposition(metrics, client, 4).render())
    assert value(series, "keeper_up", worker="4") == 0
    assert value(series, "journal_pending") is None
    exposed = Exposition(metrics, client, 4)
    exposed.reports["stats"] = lambda: b"mine"
    assert await exposed.collect("stats") == [b"mine"]


async def test_a_keeper_that_hangs_holds_up_no_scrape(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a moment the edge answers with what it has."""
    monkeypatch.setattr(exposition, "PATIENCE_S", 0.01)
    entered = asyncio.Event()

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        entered.set()
        await reader.read()
        writer.close()

    async with await asyncio.start_unix_server(hang, tmp_path / "s"):
        tasks = Tasks()
        client = KeeperClient(tmp_path / "s", tasks)
        await client.connect()
        series = read(await within(Exposition(Metrics(), client, None).render()))
        await client.aclose()
        await tasks.drain()
    assert entered.is_set()
    assert value(series, "keeper_up") == 0


async def test_one_edge_and_its_keeper(proxy: Proxy, upstream: Upstream, user: str) -> None:
    """Through real processes: both sides' metrics, no label more than there was, and nothing that promtool minds."""
    await proxy.chat(user, ask("My parrot is called Polly."))
    await proxy.chat(user, ask("What is my parrot called?"))
    await proxy.flush()
    answer = await proxy.control("GET", "/metrics")
    check_by_promtool(answer.body)
    series = read(answer.body)
    assert (value(series, "messages_total", outcome="stored") or 0) >= 2
    for name in ("embed_seconds_count", "embed_question_seconds_count", "loop_lag_seconds_count"):
        assert value(series, name), name
    assert value(series, "store_seconds_count", operation="put")
    assert value(series, "keeper_loop_lag_seconds_count") is not None
    assert not [labels for _, labels in series if "worker" in dict(labels)]


async def test_a_series_of_two_processes_is_their_sum() -> None:
    """One family, one series: what nobody should do does not break the whole page."""
    points = [Point("n_total", {"step": "a"}, 1), Point("n_total", {"step": "b"}, 2)]
    both = merge([Family("n", "counter", "N.", points)], [Family("n", "counter", "N.", points[:1])])
    assert render(both) == b'# HELP n_total N.\n# TYPE n_total counter\nn_total{step="a"} 2.0\nn_total{step="b"} 2.0\n'


async def test_labels_are_added_to_every_series() -> None:
    """Beside those that are there."""
    (family,) = label([Family("n", "gauge", "N.", [Point("n", {"a": "1"}, 1), Point("n", {}, 2)])], worker="3")
    assert [point.labels for point in family.points] == [{"a": "1", "worker": "3"}, {"worker": "3"}]
