"""A whole run's logs at their most talkative: nothing that anybody said, is called, or keeps secret."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from http.client import IncompleteRead
from pathlib import Path

import pytest
from starlette.types import Receive, Scope, Send

from proxy.mock.payloads import completion
from proxy.models import Scope as User
from tests.processes import Chat, Proxy, Upstream, clean_environment, read_body, send_json, serve_in_thread

# What one person says, is called, calls a conversation, and sends as a key.
SAID = "xyzzy-what-the-user-said"
USER = "xyzzy-the-users-name"
TALK = "xyzzy-the-conversation"
KEY = "xyzzy-sk-of-the-client"
SECRETS = {
    "MEMORY_PROXY_UPSTREAM__API_KEY": "plugh-of-the-upstream",
    "MEMORY_PROXY_EMBEDDING__API_KEY": "plugh-of-the-embedder",
    "MEMORY_PROXY_EXTRACTION__API_KEY": "plugh-of-the-extractor",
    "MEMORY_PROXY_ADMIN__TOKEN": "plugh-of-the-admin",
    "MEMORY_PROXY_IDENTITY__SECRETS": '["plugh-of-the-identity"]',
    "MEMORY_PROXY_STORE__HEADERS": '{"x-chroma-token": "plugh-of-the-store"}',
}
TALKATIVE = {
    "MEMORY_PROXY_LOGS__LEVEL": "debug",
    "MEMORY_PROXY_LOGS__REQUESTS": "true",
    # What libraries are told to say themselves makes no difference.
    "OPENAI_LOG": "debug",
    "HTTPX2_LOG_LEVEL": "trace",
}
LEARNS = {
    "MEMORY_PROXY_EMBEDDING__PROVIDER": "openai",
    "MEMORY_PROXY_EMBEDDING__MODEL": "m",
    "MEMORY_PROXY_EXTRACTION__MODEL": "extractor",
    "MEMORY_PROXY_EXTRACTION__IDLE_S": "0",
}
ADMIN = {"Authorization": f"Bearer {SECRETS['MEMORY_PROXY_ADMIN__TOKEN']}"}
# Facts would be found in it.
NO_JSON = str.maketrans("{[", "((")


class Gossip(Upstream):
    """An API that quotes what it was asked in everything it says, its errors above all."""

    embeds = True

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await read_body(receive)
        quoted = body.decode() + repr(scope["headers"])
        if scope["path"].endswith("/embeddings"):
            await send_json(send, self._embed(body, quoted), 200 if self.embeds else 500)
        elif b"extractor" in body:
            await send_json(send, completion([f"As you said: {quoted.translate(NO_JSON)}"], "m"))
        elif (failure := next((v.decode() for k, v in scope["headers"] if k == b"x-fail"), None)) is None:
            await send_json(send, completion([f"Noted: {quoted}"], "m"))
        elif failure == "cut":
            headers = [(b"content-type", b"text/event-stream"), (b"x-quoted", quoted.encode()[:200].hex().encode())]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": quoted.encode(), "more_body": True})
            raise ConnectionError  # uvicorn cuts the connection
        else:
            await send_json(send, json.dumps({"error": {"message": quoted}}).encode(), int(failure))

    def _embed(self, body: bytes, quoted: str) -> bytes:
        texts = json.loads(body)["input"]
        return json.dumps({"error": quoted, "data": [{"embedding": [1.0, 0.5]} for _ in texts]}).encode()


@pytest.fixture(scope="module")
def upstream() -> Iterator[Gossip]:
    gossip = Gossip()
    with serve_in_thread(gossip) as gossip.url:
        yield gossip


def check(*told: str) -> None:
    """Nothing of anybody's is in there."""
    for text in told:
        assert "xyzzy" not in text.casefold()
        assert "plugh" not in text.casefold()
        assert "Traceback" not in text


def talk(proxy: Proxy, **headers: str) -> Chat:
    more = {name.replace("_", "-"): value for name, value in headers.items()}
    return Chat(proxy.url, USER, **{"X-Conversation-Id": TALK, "Authorization": f"Bearer {KEY}", **more})


def misbehave(proxy: Proxy) -> None:
    """Requests of every kind that something is wrong with."""
    bodies = (f'{{"messages": "{SAID}"', json.dumps({"messages": [{"role": SAID, "content": 7}]}), f"\xff{SAID}")
    for body in bodies:
        proxy.call("POST", "/v1/chat/completions", content=body, headers={"X-User-Id": USER})
    for headers in ({"X-User-Id": USER, "X-Memory-Mode": SAID}, {"X-User-Id": USER * 50}):
        assert proxy.call("POST", "/v1/chat/completions", content=SAID, headers=headers).status_code == 400
    for path in (f"/memory/{SAID}?q={SAID}", f"/memory/users/{USER}/memories", f"/v1/files/{SAID}?key={KEY}"):
        proxy.call("GET", path, headers={"Authorization": f"Bearer {KEY}"})
    proxy.call("POST", "/memory/import", content=SAID, headers=ADMIN)
    for path in (f"/memory/users/{USER}/recall", f"/memory/users/{USER}/memories"):
        proxy.call("POST", path, json={"query": SAID, "text": SAID}, headers=ADMIN)


def test_a_run_in_which_much_goes_wrong(tmp_path: Path, upstream: Gossip) -> None:
    """Failures of upstream, embedder, extraction model and keeper, each of which quotes: their lines are there, and
    none of it is in them.
    """
    with Proxy(tmp_path, upstream.url, environ=SECRETS | TALKATIVE | LEARNS) as proxy:
        pid = proxy.wait_ready()
        talk(proxy).say(f"I live in {SAID} and I am called {USER}.")
        proxy.log.wait_for("extraction_failed")
        upstream.embeds = False
        talk(proxy).say(f"And again {SAID}.")
        proxy.log.wait_for("storing_failed")
        for failure in ("500", "429", "401"):
            sent = {"X-User-Id": USER, "X-Fail": failure, "Authorization": f"Bearer {KEY}"}
            body = {"model": "m", "messages": [{"role": "user", "content": SAID}]}
            assert proxy.call("POST", "/v1/chat/completions", json=body, headers=sent).status_code == int(failure)
        with talk(proxy, X_Fail="cut").start(SAID, stream=True) as response, pytest.raises((IncompleteRead, OSError)):
            response.read()
        proxy.log.wait_for("upstream_truncated")
        misbehave(proxy)
        os.kill(pid, signal.SIGKILL)
        talk(proxy).say(f"While nobody is there: {SAID}.")
        assert proxy.call("GET", f"/memory/users/{USER}/memories", headers=ADMIN).status_code in (200, 503)
        proxy.wait_ready(nth=2)
        shown = proxy.call("GET", "/readyz").text, proxy.call("GET", "/metrics", headers=ADMIN).text
        assert proxy.stop() == 0
        proxy.log.wait_for_end()
    check(proxy.log.text, *shown)
    lines = [json.loads(line) for line in proxy.log.lines]
    requests = [line for line in lines if line["event"] == "request"]
    assert {line["user"] for line in requests if "user" in line} == {User(USER).key[:12]}
    assert {"200", "400", "500", "429", "401", "truncated"} <= {line["status"] for line in requests}
    assert {line["route"] for line in requests} == {"chat", "other"}
    assert all(line["request_id"] for line in requests)


def test_a_run_without_a_store(tmp_path: Path, upstream: Gossip) -> None:
    """And without an upstream that can be reached: chats are answered, or refused, and nothing is told."""
    (tmp_path / "chroma").write_text(f"no database {SAID}")
    url = f"http://{USER}:{KEY}@127.0.0.1:9"
    with Proxy(tmp_path, upstream.url, environ=SECRETS | TALKATIVE) as proxy:
        proxy.log.wait_for("keeper_cannot_start")
        talk(proxy).say(f"I like {SAID}.")
        assert proxy.stop() == 0
    check(proxy.log.text)
    with Proxy(tmp_path / "other", url, environ=SECRETS | TALKATIVE) as proxy:
        sent = {"X-User-Id": USER, "Authorization": f"Bearer {KEY}", "X-Request-Id": "report-4711"}
        body = {"model": "m", "messages": [{"role": "user", "content": SAID}]}
        answer = proxy.call("POST", "/v1/chat/completions", json=body, headers=sent)
        assert (answer.status_code, answer.headers["x-request-id"]) == (502, "report-4711")
        assert proxy.log.wait_for("upstream_failed")["request_id"] == "report-4711"
        assert proxy.log.wait_for("request")["request_id"] == "report-4711"
        proxy.stop()
    check(proxy.log.text.replace("report-4711", ""), answer.text)


LINES = """
import logging, structlog
from proxy.config.sections import Logs
from proxy.observe import logs
logs.configure(Logs(level="{level}", format="{format}"))
logging.getLogger("openai").setLevel("DEBUG")
for log in structlog.get_logger("proxy"), logging.getLogger("openai"):
    for level in ("debug", "info", "warning", "error"):
        getattr(log, level)(f"{{type(log).__name__[:4]}}-{{level}}")
"""


def tell(level: str, form: str) -> list[str]:
    """The lines of a process that has something to say at every level, itself and in a library's voice."""
    script = LINES.format(level=level, format=form)
    done = subprocess.run(
        [sys.executable, "-c", script], env=clean_environment(), capture_output=True, text=True, check=True
    )
    assert done.stdout == ""
    return done.stderr.splitlines()


@pytest.mark.parametrize(("level", "own"), [("debug", 4), ("info", 3), ("warning", 2), ("error", 1)])
def test_the_configuration_decides_how_much_is_told(level: str, own: int) -> None:
    """Of our own lines; libraries are heard when something is wrong, whatever level they set for themselves."""
    lines = [json.loads(line) for line in tell(level, "json")]
    assert [line["event"].split("-")[1] for line in lines] == [
        *["debug", "info", "warning", "error"][4 - own :],
        *["warning", "error"],
    ]
    assert [line.get("logger") for line in lines] == [None] * own + ["openai"] * 2


@pytest.mark.parametrize("form", ["text", "json", "auto"])
def test_the_form_of_lines(form: str) -> None:
    """Text is for people, without colours where there is no terminal; without one, auto is JSON."""
    lines = tell("error", form)
    assert len(lines) == 3
    assert all(line.startswith("{") == (form != "text") and "\x1b" not in line for line in lines)


def test_requests_have_no_line_by_default(tmp_path: Path, upstream: Gossip) -> None:
    """A busy proxy would write more of them than of anything else."""
    with Proxy(tmp_path, upstream.url) as proxy:
        proxy.wait_ready()
        talk(proxy).say("Hello")
        assert proxy.stop() == 0
        proxy.log.wait_for_end()
    assert [json.loads(line)["event"] for line in proxy.log.lines] == [
        "identity_trusted",
        "listening",
        "keeper_up",
        "draining",
    ]
