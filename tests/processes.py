"""The proxy as the processes that it is in real life, and servers in threads for it to talk to.

Nothing here sleeps: a test waits for a line of the proxy's log, for an answer, or for the end of a process.
"""

import asyncio
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, Literal, Self
from urllib.parse import quote, urlsplit

import httpx2
import msgspec
import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from proxy.mock.payloads import completion, events, split_words

REPOSITORY: Final = Path(__file__).parents[1]
WAIT_S: Final = 30.0
# -P: from whatever directory, it is this repository's package that runs.
COMMAND: Final = (sys.executable, "-P", "-m", "proxy")
HOST: Final = "127.0.0.1"
# What the shell of whoever runs the tests has set must not reach the proxy.
FOREIGN: Final = (
    "MEMORY_PROXY_",
    "OPENAI_",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "SSL_CERT_",
)


def clean_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's environment without anybody's settings for the proxy, and with *extra*."""
    kept = {name: value for name, value in os.environ.items() if not name.upper().startswith(FOREIGN)}
    return {**kept, "PYTHONPATH": str(REPOSITORY), **(extra or {})}


def resident(pid: int | Literal["self"]) -> int:
    """Bytes of memory that a process has at present."""
    found = re.search(r"^VmRSS:\s+(\d+) kB$", Path(f"/proc/{pid}/status").read_text("utf-8"), re.MULTILINE)
    assert found is not None
    return int(found[1]) << 10


def run_command(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """A command of the proxy that ends by itself."""
    return subprocess.run(
        [*COMMAND, *arguments],
        env=clean_environment(environ),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        check=False,
    )


class Log:
    """The JSON lines that a process and its children write, as they come. It ends when the last of them is gone."""

    def __init__(self, stream: Any) -> None:
        self.lines: list[str] = []
        self._events: list[dict[str, Any]] = []
        self._news = threading.Condition()
        self._thread = threading.Thread(target=self._read, args=(stream,), daemon=True)
        self._thread.start()

    def wait_for(self, event: str, *, nth: int = 1) -> dict[str, Any]:
        """The *nth* line with this event; blocks until it is there."""

        def found() -> list[dict[str, Any]]:
            return [line for line in self._events if line.get("event") == event]

        with self._news:
            self._news.wait_for(lambda: len(found()) >= nth or not self._thread.is_alive(), WAIT_S)
            assert len(found()) >= nth, f"no {event} in the log:\n{self.text}"
            return found()[nth - 1]

    def wait_for_end(self) -> None:
        """Blocks until every process that writes here has ended."""
        self._thread.join(WAIT_S)
        assert not self._thread.is_alive(), f"somebody is still there:\n{self.text}"

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    def _read(self, stream: Any) -> None:
        with stream:
            for line in stream:
                with self._news:
                    self.lines.append(line.rstrip("\n"))
                    with suppress(msgspec.DecodeError):
                        self._events.append(msgspec.json.decode(line, type=dict[str, Any]))
                    self._news.notify_all()
        with self._news:
            self._news.notify_all()


class Proxy:
    """``memory-proxy serve`` as a process in a group of its own, killed at the end of the context if still there."""

    def __init__(
        self,
        data_dir: Path,
        upstream: str,
        *options: str,
        environ: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:
        where = ("--data-dir", str(data_dir), "--port", "0", "--upstream", f"{upstream}/v1")
        self.process = subprocess.Popen(
            [*COMMAND, "serve", *where, *options],
            cwd=cwd,
            env=clean_environment(environ),
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.log = Log(self.process.stderr)

    @property
    def url(self) -> str:
        """Where it listens, once it does."""
        return str(self.log.wait_for("listening")["url"])

    def wait_ready(self, *, nth: int = 1) -> int:
        """Blocks until the *nth* keeper is up; answers its process id."""
        return int(self.log.wait_for("keeper_up", nth=nth)["pid"])

    def signal_group(self, number: int) -> None:
        """What a terminal's Ctrl-C does: the signal reaches everybody in the process group."""
        os.killpg(self.process.pid, number)

    def kill(self) -> None:
        """SIGKILL; returns when the process is gone. Its keeper may outlive it for a moment."""
        self.process.kill()
        self.process.wait(WAIT_S)

    def stop(self) -> int:
        """The graceful stop; answers the exit code."""
        self.process.terminate()
        return self.wait()

    def wait(self) -> int:
        """The exit code, once the process has ended."""
        return self.process.wait(WAIT_S)

    def call(self, method: str, path: str, **more: Any) -> httpx2.Response:
        """One request to the control plane."""
        with httpx2.Client(base_url=self.url, trust_env=False, timeout=WAIT_S) as client:
            return client.request(method, path, **more)

    def flush(self) -> dict[str, int]:
        """What ``POST /memory/flush`` answers."""
        answer: dict[str, int] = self.call("POST", "/memory/flush").raise_for_status().json()
        return answer

    def memories(self, user: str, *, limit: int = 1000) -> list[dict[str, Any]]:
        """All of a user's memories, page by page."""
        found: list[dict[str, Any]] = []
        cursor = ""
        while True:
            path = f"/memory/users/{quote(user, safe='')}/memories?limit={limit}&cursor={quote(cursor)}"
            page = self.call("GET", path).raise_for_status().json()
            found += page["memories"]
            cursor = page["cursor"] or ""
            if not cursor:
                return found

    def texts(self, user: str, *, limit: int = 1000) -> Counter[str]:
        """How often each text is among a user's memories."""
        return Counter(memory["text"] for memory in self.memories(user, limit=limit))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(ProcessLookupError):
            self.signal_group(signal.SIGCONT)
        self.kill()


class Chat:
    """One conversation with the proxy, whose history the client resends. Returns at the last byte that matters.

    On a socket of its own: a client library may look for more bytes after the end of an answer is already known.
    """

    def __init__(self, url: str, user: str | None, **headers: str) -> None:
        self.history: list[dict[str, str]] = []
        self.headers: Mapping[str, str] = {}
        self._address = urlsplit(url).netloc
        self._sent = {"Content-Type": "application/json", **({"X-User-Id": user} if user else {}), **headers}

    def say(self, text: str, *, stream: bool = False) -> str:
        """The whole answer; for a stream, as soon as its terminating event has been read."""
        with self.start(text, stream=stream) as response:
            answer = read_stream(response) if stream else read_answer(response)
        self.history.append({"role": "assistant", "content": answer})
        return answer

    @contextmanager
    def start(self, text: str, *, stream: bool) -> Iterator[http.client.HTTPResponse]:
        """The response when its head is there. Anything but 200 fails."""
        self.history.append({"role": "user", "content": text})
        body = json.dumps({"model": "m", "messages": self.history, "stream": stream})
        connection = http.client.HTTPConnection(self._address, timeout=WAIT_S)
        try:
            connection.request("POST", "/v1/chat/completions", body, dict(self._sent))
            response = connection.getresponse()
            self.headers = {name.lower(): value for name, value in response.getheaders()}
            assert response.status == 200, (response.status, response.read())
            yield response
        finally:
            connection.close()


def read_answer(response: http.client.HTTPResponse) -> str:
    """The text of a JSON answer."""
    content: str = json.loads(response.read())["choices"][0]["message"]["content"]
    return content


def read_stream(response: http.client.HTTPResponse) -> str:
    """The text of an event stream, up to ``[DONE]``. Raises EOFError for one that is cut."""
    words: list[str] = []
    for line in iter(response.readline, b""):
        if line.startswith(b"data: [DONE]"):
            return "".join(words)
        if line.startswith(b"data: "):
            words += [choice["delta"].get("content") or "" for choice in json.loads(line[6:])["choices"]]
    raise EOFError("the stream ended without [DONE]")


class Gate:
    """Holds an answer back in its middle until the test opens it."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.opened = threading.Event()

    def pass_through(self) -> None:
        self.reached.set()
        self.opened.wait(WAIT_S)


class Upstream:
    """An OpenAI-compatible API that answers with what was said: ``Noted: …``. Keeps the bodies that it received.

    A request with ``X-Gate: name`` is answered through the gate of that name.
    """

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.gates: dict[str, Gate] = {}
        self.url = ""

    def gate(self, name: str) -> Gate:
        return self.gates.setdefault(name, Gate())

    @property
    def last_system(self) -> str:
        """The system message of the last request, empty where it had none."""
        return next((m["content"] for m in self.bodies[-1]["messages"] if m["role"] == "system"), "")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        asked = json.loads(await read_body(receive))
        self.bodies.append(asked)
        answer = f"Noted: {asked['messages'][-1]['content']}"
        gate = next((self.gates[v.decode()] for k, v in scope["headers"] if k == b"x-gate"), None)
        if asked.get("stream"):
            await _stream(send, answer, gate)
        else:
            await send_json(send, completion([answer], "m"))


async def _stream(send: Send, answer: str, gate: Gate | None) -> None:
    first, *others = events(split_words(answer), "m", usage=False)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
    await send({"type": "http.response.body", "body": first, "more_body": True})
    if gate is not None:
        await asyncio.to_thread(gate.pass_through)
    for event in others:
        await send({"type": "http.response.body", "body": event, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def read_body(receive: Receive) -> bytes:
    """The whole body of a request."""
    body = b""
    more = True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return body


async def send_json(send: Send, body: bytes, status: int = 200) -> None:
    """A JSON answer with its length."""
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@contextmanager
def serve_in_thread(app: ASGIApp) -> Iterator[str]:
    """A real HTTP server on a free port; gives its URL."""
    listener = socket.create_server((HOST, 0), backlog=128)
    config = uvicorn.Config(app, lifespan="off", log_config=None, access_log=False, timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    try:
        yield f"http://{HOST}:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


@contextmanager
def running_upstream() -> Iterator[Upstream]:
    """An :class:`Upstream` behind a real port; all its gates open at the end."""
    upstream = Upstream()
    with serve_in_thread(upstream) as upstream.url:
        try:
            yield upstream
        finally:
            for gate in upstream.gates.values():
                gate.opened.set()
