"""The end of the server: graceful, impatient, and before it began."""

import signal
import socket
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection, IncompleteRead
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from proxy.journal import JournalReader
from tests.processes import Chat, Proxy, Upstream, read_stream, run_command, running_upstream

USER = "ada"


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with running_upstream() as running:
        yield running


def count_pending(data_dir: Path) -> int:
    """What waits in a journal that nobody has open."""
    with closing(JournalReader(data_dir)) as journal:
        return journal.counts().pending


def test_a_graceful_stop_finishes_streams_and_stores_them(tmp_path: Path, upstream: Upstream) -> None:
    """SIGTERM with a stream open: new requests get 503, the stream ends in full, its exchange is stored, exit 0."""
    gate = upstream.gate("graceful")
    with Proxy(tmp_path, upstream.url) as proxy:
        proxy.wait_ready()
        with Chat(proxy.url, USER, **{"X-Gate": "graceful"}).start("I play the oboe.", stream=True) as response:
            assert gate.reached.wait(10)
            proxy.process.terminate()
            assert proxy.log.wait_for("draining")["in_flight"] == 1
            refused = proxy.call("POST", "/v1/chat/completions", json={"messages": []})
            assert (refused.status_code, refused.json()["error"]["code"]) == (503, "memory_proxy_draining")
            assert refused.headers["retry-after"] == "1"
            assert proxy.call("GET", "/healthz").status_code == 503
            gate.opened.set()
            assert read_stream(response) == "Noted: I play the oboe."
            assert response.read().strip() == b""
        assert proxy.wait() == 0
        proxy.log.wait_for_end()
    assert not (tmp_path / "keeper.sock").exists()
    assert count_pending(tmp_path) == 0
    with Proxy(tmp_path, upstream.url) as proxy:
        proxy.wait_ready()
        assert proxy.texts(USER) == {"I play the oboe.": 1, "Noted: I play the oboe.": 1}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT to the group"])
def test_an_idle_server_stops_at_once(tmp_path: Path, upstream: Upstream, number: signal.Signals) -> None:
    """With nothing open, but with a connection kept alive, the server drains the journal and exits with 0."""
    with Proxy(tmp_path, upstream.url) as proxy:
        proxy.wait_ready()
        with closing(HTTPConnection(urlsplit(proxy.url).netloc)) as kept:
            kept.request("GET", "/healthz")
            kept.getresponse().read()
            for turn in range(10):
                Chat(proxy.url, USER).say(f"remark {turn}", stream=turn % 2 == 0)
            proxy.signal_group(number)
            assert proxy.wait() == 0
        proxy.log.wait_for_end()
    assert "Traceback" not in proxy.log.text
    assert "journal_not_drained" not in proxy.log.text
    assert count_pending(tmp_path) == 0
    with Proxy(tmp_path, upstream.url) as proxy:
        proxy.wait_ready()
        assert len(proxy.texts(USER)) == 20


def test_ctrl_c_with_an_open_stream(tmp_path: Path, upstream: Upstream) -> None:
    """Ctrl-C reaches the whole process group, and still the stream ends in full and the exchange is stored."""
    gate = upstream.gate("ctrl-c")
    with Proxy(tmp_path, upstream.url) as proxy:
        proxy.wait_ready()
        with Chat(proxy.url, USER, **{"X-Gate": "ctrl-c"}).start("I keep bees.", stream=True) as response:
            assert gate.reached.wait(10)
            proxy.signal_group(signal.SIGINT)
            proxy.log.wait_for("draining")
            gate.opened.set()
            assert read_stream(response) == "Noted: I keep bees."
        assert proxy.wait() == 0
    with Proxy(tmp_path, upstream.url) as proxy:
        proxy.wait_ready()
        assert proxy.texts(USER)["I keep bees."] == 1


def test_when_the_grace_is_over_streams_are_cut(tmp_path: Path, upstream: Upstream) -> None:
    """A stream that outlasts the grace is cut so that the client sees it, nothing of it is stored, exit 0."""
    upstream.gate("endless")
    short = {"MEMORY_PROXY_SERVER__SHUTDOWN_GRACE_S": "0.2"}
    with Proxy(tmp_path, upstream.url, environ=short) as proxy:
        proxy.wait_ready()
        Chat(proxy.url, USER).say("I have two cats.")
        chat = Chat(proxy.url, USER, **{"X-Gate": "endless"})
        with chat.start("And a dog.", stream=True) as response:
            proxy.process.terminate()
            assert proxy.log.wait_for("streams_cut")["in_flight"] == 1
            with pytest.raises((IncompleteRead, ConnectionError)):
                response.read()
        assert proxy.wait() == 0
        proxy.log.wait_for_end()
    assert "Traceback" not in proxy.log.text
    with Proxy(tmp_path, upstream.url) as proxy:
        proxy.wait_ready()
        assert proxy.texts(USER) == {"I have two cats.": 1, "Noted: I have two cats.": 1}


def test_the_second_signal_ends_the_process_at_once(tmp_path: Path, upstream: Upstream) -> None:
    """Two signals: the process is gone with its stream open; what was journaled is there after the next start."""
    gate = upstream.gate("impatient")
    with Proxy(tmp_path, upstream.url) as proxy:
        proxy.wait_ready()
        with Chat(proxy.url, USER, **{"X-Gate": "impatient"}).start("Never ending.", stream=True):
            assert gate.reached.wait(10)
            Chat(proxy.url, USER).say("I speak Danish.")
            proxy.signal_group(signal.SIGINT)
            proxy.log.wait_for("draining")
            proxy.signal_group(signal.SIGINT)
            assert proxy.wait() == 128 + signal.SIGINT
    with Proxy(tmp_path, upstream.url) as proxy:
        proxy.wait_ready()
        proxy.flush()
        assert proxy.texts(USER) == {"I speak Danish.": 1, "Noted: I speak Danish.": 1}


def test_a_signal_before_the_keeper_is_up(tmp_path: Path, upstream: Upstream) -> None:
    """Stopped right after it listens, the server still exits with 0, and leaves no keeper behind."""
    with Proxy(tmp_path, upstream.url) as proxy:
        proxy.log.wait_for("listening")
        assert proxy.stop() == 0
        proxy.log.wait_for_end()


def test_a_port_in_use_is_told_in_one_line(tmp_path: Path) -> None:
    """The address is taken: exit code 1 and one line that names it."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run_command("serve", "--data-dir", str(tmp_path), "--port", str(port))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"memory-proxy: cannot listen on 127.0.0.1:{port}: Address already in use\n"


def test_a_data_directory_that_cannot_be_is_told_in_one_line(tmp_path: Path) -> None:
    """A file stands in the way: exit code 1 and one line that names the path."""
    (tmp_path / "file").touch()
    done = run_command("serve", "--data-dir", str(tmp_path / "file" / "data"), "--port", "0")
    assert (done.returncode, done.stdout) == (1, "")
    assert str(tmp_path / "file" / "data") in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("server: {port: 99999}", ["server.port", "99999"]),
        ("memory: {budget_token: 5}", ["memory.budget_token", "budget_tokens"]),
        ("admin: {token: '${NOT_SET_ANYWHERE}'}", ["admin.token", "NOT_SET_ANYWHERE"]),
        ("upstream: {base_url: 'ftp://x'}", ["upstream.base_url", "ftp://x"]),
        ("[1, 2]", ["config.yaml"]),
        ("a: [", ["config.yaml"]),
    ],
)
def test_bad_configuration_is_told_in_one_line(tmp_path: Path, text: str, words: list[str]) -> None:
    """Exit code 2 and one line that names the key and the value."""
    config = tmp_path / "config.yaml"
    config.write_text(text)
    done = run_command("serve", "--config", str(config), "--data-dir", str(tmp_path / "data"))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("memory-proxy: ")
    assert done.stderr.count("\n") == 1
    assert all(word in done.stderr for word in words), done.stderr
