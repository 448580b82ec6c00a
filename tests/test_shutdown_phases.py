"""SIGTERM with a client in every phase of a request, dawdlers among them: who can finish does, nobody holds it up."""

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from http.client import HTTPException
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.processes import Chat, Proxy, Upstream, read_stream, running_upstream

USER = "ada"
CHAT = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
BODY = b'{"model":"m","messages":[{"role":"user","content":"Hi."}]}'
LENGTH = b"Content-Length: %d\r\n\r\n" % len(BODY)
GRACE_S = 3
# Beyond the grace: the cut, the journal's and the keeper's end, and what a busy machine adds.
PATIENCE_S = 25


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with running_upstream() as running:
        yield running


class Raw:
    """A connection on which a client says as much as it likes."""

    def __init__(self, stack: ExitStack, url: str, sent: bytes) -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None
        self._socket = stack.enter_context(socket.socket())
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self._socket.settimeout(PATIENCE_S)
        self._socket.connect((parts.hostname, parts.port))
        self.say(sent)

    def say(self, data: bytes) -> None:
        self._socket.sendall(data)

    def hear(self) -> bytes:
        """All that comes until the connection ends, by whatever sign."""
        heard = b""
        try:
            while piece := self._socket.recv(1 << 16):
                heard += piece
        except ConnectionError:
            pass
        return heard


@pytest.mark.parametrize("workers", [1, 2])
def test_every_phase_comes_to_an_end(tmp_path: Path, upstream: Upstream, workers: int) -> None:
    """Nothing said, half a head, half a body, an answer awaited, streamed, or not read: all end, what was answered is
    journaled, those who finish in time are served, and the process exits with 0 when the grace is over.
    """
    names = [f"{name} {workers}" for name in ("finishing", "endless")]
    finishing, endless = (upstream.gate(name) for name in names)
    environ = {"MEMORY_PROXY_SERVER__SHUTDOWN_GRACE_S": str(GRACE_S)}
    with (
        Proxy(tmp_path, upstream.url, "--workers", str(workers), environ=environ) as proxy,
        ExitStack() as stack,
    ):
        proxy.wait_ready()
        answered = Chat(proxy.url, USER)
        answered.say("I have two cats.")
        silent = Raw(stack, proxy.url, b"")
        half_a_head = Raw(stack, proxy.url, CHAT)
        half_a_body = Raw(stack, proxy.url, CHAT + LENGTH + BODY[:10])
        late_body = Raw(stack, proxy.url, CHAT + LENGTH + BODY[:10])
        deaf = Raw(stack, proxy.url, CHAT + b"X-Gate: %b\r\n" % names[1].encode() + LENGTH + BODY)
        streams = [
            stack.enter_context(Chat(proxy.url, USER, **{"X-Gate": name}).start(f"I am {name}.", stream=True))
            for name in names
        ]
        assert finishing.reached.wait(10)
        assert endless.reached.wait(10)
        began = time.monotonic()
        proxy.process.terminate()
        proxy.log.wait_for("draining", nth=workers)
        late_body.say(BODY[10:])
        finishing.opened.set()
        assert read_stream(streams[0]) == f"Noted: I am {names[0]}."
        assert b"HTTP/1.1 200" in late_body.hear()
        assert proxy.wait() == 0
        took = time.monotonic() - began
        with pytest.raises((EOFError, HTTPException, ConnectionError)):
            read_stream(streams[1])
        for client in (silent, half_a_head, half_a_body):
            assert b"HTTP/1.1 200" not in client.hear()
        assert b"[DONE]" not in deaf.hear()
        proxy.log.wait_for_end()
    assert took < GRACE_S + PATIENCE_S
    assert "Traceback" not in proxy.log.text
    with Proxy(tmp_path, upstream.url) as proxy:
        proxy.wait_ready()
        proxy.flush()
        texts = proxy.texts(USER)
    assert texts["I have two cats."] == texts[f"I am {names[0]}."] == 1
    assert f"I am {names[1]}." not in texts
