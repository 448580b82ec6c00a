"""What is in the logs of a whole run, and what never is."""

import asyncio
import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from http.client import IncompleteRead
from pathlib import Path

import pytest

from proxy.errors import UpstreamTruncatedError
from proxy.observe.failopen import FailOpen
from proxy.observe.logs import _drop_truncations
from proxy.observe.metrics import Metrics
from tests.processes import REPOSITORY, Chat, Proxy, Upstream, clean_environment, running_upstream

SAID = "xyzzy-what-the-user-said"
SECRETS = {
    "MEMORY_PROXY_UPSTREAM__API_KEY": "sk-secret-of-the-upstream",
    "MEMORY_PROXY_EMBEDDING__API_KEY": "sk-secret-of-the-embedder",
    "MEMORY_PROXY_ADMIN__TOKEN": "secret-of-the-admin",
}


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with running_upstream() as running:
        yield running


def test_neither_what_is_said_nor_secrets_are_logged(tmp_path: Path, upstream: Upstream) -> None:
    """A run with chats, odd requests, failing embeddings, a cut stream and a broken store: not a word of it is told."""
    gate = upstream.gate("cut")
    # The upstream answers requests for embeddings with a chat, which is no vector.
    environ = SECRETS | {"MEMORY_PROXY_EMBEDDING__PROVIDER": "openai", "MEMORY_PROXY_EMBEDDING__MODEL": "m"}
    admin = {"Authorization": f"Bearer {SECRETS['MEMORY_PROXY_ADMIN__TOKEN']}"}
    with Proxy(tmp_path, upstream.url, environ=environ) as proxy:
        proxy.wait_ready()
        chat = Chat(proxy.url, f"user {SAID}", **{"X-Conversation-Id": SAID, "Authorization": f"Bearer {SAID}"})
        chat.say(f"I say {SAID}", stream=True)
        chat.say(f"and again {SAID}")
        proxy.log.wait_for("storing_failed")
        for body in (f'{{"messages": "{SAID}"', json.dumps({"messages": [{"role": SAID, "content": 7}]})):
            proxy.call("POST", "/v1/chat/completions", content=body, headers={"X-User-Id": SAID})
        proxy.call("POST", "/memory/import", content=SAID, headers=admin)
        proxy.call("POST", f"/memory/users/{SAID}/recall", json={"query": SAID}, headers=admin)
        proxy.call("GET", f"/memory/{SAID}?q={SAID}", headers={"Authorization": f"Bearer {SAID}"})
        ready = proxy.call("GET", "/readyz").text + proxy.call("GET", "/metrics", headers=admin).text
        with Chat(proxy.url, SAID, **{"X-Gate": "cut"}).start(SAID, stream=True) as response:
            assert gate.reached.wait(10)
            proxy.process.terminate()
            proxy.log.wait_for("draining")
            proxy.process.terminate()
            with pytest.raises((IncompleteRead, ConnectionError)):
                response.read()
        proxy.wait()
        proxy.log.wait_for_end()
    for told in (proxy.log.text, ready):
        assert SAID not in told
        assert not [name for name, secret in SECRETS.items() if secret in told]
    assert "Traceback" not in proxy.log.text


def test_every_line_is_json_with_event_level_and_time(tmp_path: Path, upstream: Upstream) -> None:
    """Not a terminal: each line can be read by a machine, the keeper's too."""
    few = {"MEMORY_PROXY_SERVER__MAX_CONNECTIONS": "100"}  # no machine has too few open files for that
    with Proxy(tmp_path, upstream.url, environ=few) as proxy:
        keeper = proxy.wait_ready()
        Chat(proxy.url, "ada").say("Hello")
        assert proxy.stop() == 0
        proxy.log.wait_for_end()
    lines = [json.loads(line) for line in proxy.log.lines]
    assert [line["event"] for line in lines] == ["identity_trusted", "listening", "keeper_up", "draining"]
    assert lines[2]["pid"] == keeper
    assert all({"event", "level", "timestamp"} <= line.keys() for line in lines)


def test_the_cut_of_a_broken_answer_is_no_error() -> None:
    """The server's own traceback about a truncation that we raise on purpose is dropped; others are kept."""

    def record(exc: Exception) -> logging.LogRecord:
        return logging.LogRecord("uvicorn.error", logging.ERROR, "", 0, "failed", None, (type(exc), exc, None))

    assert not _drop_truncations(record(UpstreamTruncatedError("cut")))
    assert _drop_truncations(record(ValueError("a bug")))


def test_a_failed_step_does_not_quote_others(capsys: pytest.CaptureFixture[str]) -> None:
    """Somebody else's exception may hold what a user said: only its type and place are told, and it is counted."""
    metrics = Metrics()
    with FailOpen(metrics)("recall") as step:
        raise ValueError(SAID)
    assert step.failed
    told = capsys.readouterr()
    assert SAID not in told.out + told.err
    assert b'memory_proxy_memory_errors_total{step="recall"} 1.0' in metrics.render()


def test_cancellation_passes_through_a_step() -> None:
    """What ends a task is no failure of memory."""
    metrics = Metrics()
    with pytest.raises(asyncio.CancelledError), FailOpen(metrics)("recall"):
        raise asyncio.CancelledError
    assert b"memory_errors_total{" not in metrics.render()


def test_the_tests_do_not_inherit_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the shell sets for a real proxy reaches no process of the tests."""
    monkeypatch.setenv("MEMORY_PROXY_ADMIN__TOKEN", "x")
    monkeypatch.setenv("OPENAI_API_KEY", "x")
    assert not [name for name in clean_environment() if name.startswith(("MEMORY_PROXY_", "OPENAI_"))]


def test_a_line_is_one_write() -> None:
    """Several processes share the stream: what is written in two parts has others' lines in between."""
    script = """
import sys, structlog
from proxy.config.sections import Logs
from proxy.observe import logs
written = []
class Stream:
    write, flush, isatty = written.append, (lambda self: None), (lambda self: False)
sys.stderr = Stream()
logs.configure(Logs(), worker=3)
structlog.get_logger().info("one")
print(len(written), written[0].count("\\n"), '"worker":3' in written[0])
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, cwd=REPOSITORY)
    assert (done.stdout, done.stderr) == ("1 1 True\n", "")
