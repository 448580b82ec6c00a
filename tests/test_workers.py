"""``serve --workers``: several edges on one port, with one keeper and one journal, under a process that watches."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import httpx2
import msgspec
import pytest

from proxy.journal import JournalReader
from proxy.keeper.lock import DataDirLock, Holder
from tests.processes import Chat, Proxy, Upstream, read_stream, run_command, running_upstream

USER = "ada"
TWO = ("--workers", "2")


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with running_upstream() as running:
        yield running


class Crew(Proxy):
    """A proxy of two workers."""

    def __init__(self, data_dir: Path, upstream: Upstream, **environ: str) -> None:
        super().__init__(data_dir, upstream.url, *TWO, environ=environ)

    def wait_connected(self) -> None:
        """Blocks until both workers serve and have a keeper."""
        self.log.wait_for("worker_up", nth=2)
        self.log.wait_for("keeper_connected", nth=2)

    @property
    def workers(self) -> dict[int, int]:
        """The process ids by number."""
        lines = (self.log.wait_for("worker_up", nth=nth) for nth in (1, 2))
        return {line["of"]: line["pid"] for line in lines}

    @contextmanager
    def only(self, number: int) -> Iterator[None]:
        """Meanwhile all that comes is for this worker: the other one is stopped, and what it holds waits."""
        (other,) = (pid for of, pid in self.workers.items() if of != number)
        os.kill(other, signal.SIGSTOP)
        _await_stop(other)
        try:
            yield
        finally:
            os.kill(other, signal.SIGCONT)


def _await_stop(pid: int) -> None:
    """Blocks until a process has really stopped, which the system does at once, but not before kill() returns."""
    while Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "T":
        os.sched_yield()


def count_pending(data_dir: Path) -> int:
    with closing(JournalReader(data_dir)) as journal:
        return journal.counts().pending


def test_workers_share_everything(tmp_path: Path, upstream: Upstream) -> None:
    """What one worker hears another recalls, also from a working set it has loaded before; one keeper, one address. Who
    looks at one sees the chats of all.

    Of the log's lines those of workers tell which.
    """
    with Crew(tmp_path, upstream) as proxy:
        proxy.wait_connected()
        assert {proxy.log.wait_for("keeper_connected", nth=nth)["worker"] for nth in (1, 2)} == {1, 2}
        assert "worker" not in proxy.log.wait_for("listening")
        question = "What is the name of my parrot?"
        for number in (1, 2):
            with proxy.only(number):
                Chat(proxy.url, USER).say(question)  # loads the user, of whom nothing is known
        with httpx2.Client(base_url=proxy.url, trust_env=False, timeout=30) as client:
            with proxy.only(2):
                stream = client.send(client.build_request("GET", "/memory/traces/stream"), stream=True)
            with proxy.only(1):
                Chat(proxy.url, USER, **{"X-Request-Id": "told-by-one"}).say("My parrot is called Polly.")
                proxy.flush()
            with closing(stream):
                data = next(line for line in stream.iter_lines() if line.startswith("data: ") and "told-by-one" in line)
        assert msgspec.json.decode(data.removeprefix("data: "))["user_id"] == USER
        for number in (2, 1):
            with proxy.only(number):
                proxy.memories(USER)  # behind what the keeper has announced
                Chat(proxy.url, USER).say(question)
                assert "Polly" in upstream.last_system
        with proxy.only(2):
            assert proxy.call("DELETE", f"/memory/users/{USER}").json()["memories"] > 0
        for number in (1, 2):
            with proxy.only(number):
                proxy.memories(USER)
                Chat(proxy.url, USER).say(question)
                assert "Polly" not in upstream.last_system
        assert proxy.call("GET", "/readyz").status_code == 200
        assert proxy.stop() == 0
        proxy.log.wait_for_end()
    events = [line for line in proxy.log.lines if '"keeper_up"' in line or '"listening"' in line]
    assert len(events) == 2
    assert "Traceback" not in proxy.log.text
    assert count_pending(tmp_path) == 0


def test_a_killed_worker_is_replaced(tmp_path: Path, upstream: Upstream) -> None:
    """SIGKILL to one: whoever connects meanwhile is served, nothing that was answered is lost, and it comes back.

    Other signals are the parent's business: a service manager sends them to every process of a service.
    """
    with Crew(tmp_path, upstream) as proxy:
        proxy.wait_connected()
        for pid in proxy.workers.values():
            os.kill(pid, signal.SIGTERM)
            os.kill(pid, signal.SIGINT)
        chat = Chat(proxy.url, USER)
        with proxy.only(1):
            chat.say("I play the oboe.")
        victims = proxy.workers
        os.kill(victims[1], signal.SIGKILL)
        for turn in range(5):
            Chat(proxy.url, USER).say(f"remark {turn}")
        ended = proxy.log.wait_for("worker_ended")
        assert (ended["of"], ended["code"]) == (1, -signal.SIGKILL)
        assert proxy.log.wait_for("worker_up", nth=3)["of"] == 1
        proxy.log.wait_for("keeper_connected", nth=3)
        proxy.flush()
        texts = proxy.texts(USER)
        assert proxy.stop() == 0
    assert texts["I play the oboe."] == 1
    assert sum(count for text, count in texts.items() if text.startswith("remark")) == 5


def test_what_waits_for_a_dead_worker_is_served_by_another(tmp_path: Path, upstream: Upstream) -> None:
    """Connections that nobody has accepted yet belong to no worker: all dead, all stopped, they wait."""
    with Crew(tmp_path, upstream) as proxy:
        proxy.wait_connected()
        pids = proxy.workers
        for pid in pids.values():
            os.kill(pid, signal.SIGSTOP)
            _await_stop(pid)
        with ExitStack() as stack:
            address = (proxy.url.split("/")[2].split(":")[0], int(proxy.url.rsplit(":", 1)[1]))
            waiting = [stack.enter_context(socket.create_connection(address, timeout=30)) for _ in range(20)]
            for connection in waiting:
                connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            os.kill(pids[1], signal.SIGKILL)
            os.kill(pids[2], signal.SIGCONT)
            answers = [connection.recv(12) for connection in waiting]
        assert answers == [b"HTTP/1.1 200"] * 20


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT to the group"])
def test_a_graceful_stop_finishes_the_streams_of_all(
    tmp_path: Path, upstream: Upstream, number: signal.Signals
) -> None:
    """Streams of both workers end in full and are stored; meanwhile health says no and new requests get 503."""
    names = [f"{number.name} {worker}" for worker in (1, 2)]
    gates = [upstream.gate(name) for name in names]
    with Crew(tmp_path, upstream) as proxy, ExitStack() as stack:
        proxy.wait_connected()
        responses = []
        for worker, (name, gate) in enumerate(zip(names, gates, strict=True), start=1):
            with proxy.only(worker):
                chat = Chat(proxy.url, USER, **{"X-Gate": name})
                responses.append(stack.enter_context(chat.start(f"I am {name}.", stream=True)))
                assert gate.reached.wait(10)
        if number == signal.SIGINT:
            proxy.signal_group(number)
        else:
            proxy.process.terminate()
        assert [proxy.log.wait_for("draining", nth=nth)["in_flight"] for nth in (1, 2)] == [1, 1]
        assert proxy.call("GET", "/healthz").status_code == 503
        refused = proxy.call("POST", "/v1/chat/completions", json={"messages": []})
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "memory_proxy_draining")
        for gate in gates:
            gate.opened.set()
        assert [read_stream(response) for response in responses] == [f"Noted: I am {name}." for name in names]
        assert proxy.wait() == 0
        proxy.log.wait_for_end()
    assert not (tmp_path / "keeper.sock").exists()
    assert "Traceback" not in proxy.log.text
    assert count_pending(tmp_path) == 0


def test_the_second_signal_ends_all_at_once(tmp_path: Path, upstream: Upstream) -> None:
    """With a stream open: everybody is gone, and the exit code tells the signal."""
    gate = upstream.gate("impatient")
    with Crew(tmp_path, upstream) as proxy:
        proxy.wait_connected()
        with Chat(proxy.url, USER, **{"X-Gate": "impatient"}).start("Never ending.", stream=True):
            assert gate.reached.wait(10)
            proxy.process.terminate()
            proxy.log.wait_for("draining", nth=2)
            proxy.process.terminate()
            assert proxy.wait() == 128 + signal.SIGTERM
            proxy.log.wait_for_end()


def test_everybody_goes_with_the_parent(tmp_path: Path, upstream: Upstream) -> None:
    """SIGKILL to the parent: an open stream still ends in full, then no worker and no keeper is left."""
    gate = upstream.gate("orphan")
    with Crew(tmp_path, upstream) as proxy:
        proxy.wait_connected()
        with Chat(proxy.url, USER, **{"X-Gate": "orphan"}).start("I keep bees.", stream=True) as response:
            assert gate.reached.wait(10)
            proxy.kill()
            proxy.log.wait_for("draining", nth=2)
            gate.opened.set()
            assert read_stream(response) == "Noted: I keep bees."
        proxy.log.wait_for_end()
    with DataDirLock(tmp_path, Holder(os.getpid(), "a test")):
        assert count_pending(tmp_path) == 1


def test_a_signal_before_anybody_serves(tmp_path: Path, upstream: Upstream) -> None:
    """Stopped right after the first worker is up, all end, with 0."""
    with Crew(tmp_path, upstream) as proxy:
        proxy.log.wait_for("listening")
        assert proxy.stop() == 0
        proxy.log.wait_for_end()
    assert "Traceback" not in proxy.log.text


def test_a_worker_that_never_can_start_is_told_in_one_line(tmp_path: Path) -> None:
    """What is wrong with the configuration may show where it is used: one line and exit code 2, as with one process."""
    certificate = tmp_path / "ca.pem"
    certificate.write_text("none")
    environ = {"MEMORY_PROXY_UPSTREAM__CA_FILE": str(certificate)}
    options = ("serve", "--data-dir", str(tmp_path / "data"), "--port", "0")
    alone = run_command(*options, **environ)
    together = run_command(*options, *TWO, **environ)
    assert alone.returncode == together.returncode == 2
    assert together.stderr.splitlines()[-1] == alone.stderr.splitlines()[-1]
    assert "upstream.ca_file" in together.stderr


@pytest.mark.parametrize("number", ["0", "65", "two"])
def test_a_number_of_workers_that_cannot_be(tmp_path: Path, number: str) -> None:
    """Bad usage, exit code 2."""
    done = run_command("serve", "--data-dir", str(tmp_path), "--port", "0", "--workers", number)
    assert done.returncode == 2
    assert "workers" in done.stderr


def test_by_hand_a_worker_says_what_it_is() -> None:
    """Whoever starts the module gets one line."""
    done = subprocess.run(
        [sys.executable, "-m", "proxy.serving.worker"], input=b"", capture_output=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (1, b"workers are started by memory-proxy serve, not by hand\n")
