"""The whole proxy on a journal in Redis: chats go on whatever becomes of it, and nothing that was said is lost."""

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from proxy.journal.shared import SharedReader
from tests.commands import invoke, make_line, read_json, write_lines
from tests.journals import ADA, shared_settings, talk, write
from tests.processes import Chat, Proxy, Upstream, serve_in_thread
from tests.redis_server import RedisServer, running_redis

URL = "MEMORY_PROXY_JOURNAL__URL"


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with running_redis() as running:
        yield running


@pytest.fixture
def upstream() -> Iterator[str]:
    with serve_in_thread(Upstream()) as url:
        yield url


def serve(data_dir: Path, upstream: str, server: RedisServer) -> Proxy:
    environ = {URL: server.url, "MEMORY_PROXY_EMBEDDING__PROVIDER": "none"}
    return Proxy(data_dir, upstream, environ=environ)


def read_checks(proxy: Proxy) -> dict[str, str]:
    checks: dict[str, str] = proxy.call("GET", "/readyz").json()["checks"]
    return checks


def test_what_is_said_is_remembered(tmp_path: Path, upstream: str, server: RedisServer) -> None:
    """Through Redis, and nothing is left there."""
    with serve(tmp_path, upstream, server) as proxy:
        proxy.wait_ready()
        chat = Chat(proxy.url, "ada")
        chat.say("My dog is called Biscuit.")
        chat.say("My cat is called Clementine.", stream=True)
        assert proxy.flush() == {"stored": 2, "failed": 0}
        assert len(proxy.memories("ada")) == 4
        assert read_checks(proxy) == {"server": "ok", "journal": "ok", "keeper": "ok", "store": "ok"}
        assert proxy.stop() == 0
    with closing(server.client()) as client:
        assert client.get("memory-proxy:journal:bytes") == b"0"


def test_redis_may_come_last(tmp_path: Path, upstream: str, server: RedisServer) -> None:
    """Started without it, the proxy serves chats and says what is wrong; then it catches up by itself.

    An embedded store is not opened without its ledger: its keeper comes up when Redis does.
    """
    server.kill()
    with serve(tmp_path, upstream, server) as proxy:
        Chat(proxy.url, "ada").say("My dog is called Biscuit.")
        checks = read_checks(proxy)
        assert checks["journal"] == "redis: ConnectionError"
        server.start()
        proxy.wait_ready()
        proxy.log.wait_for("journal.recovered")
        proxy.flush()
        assert len(proxy.memories("ada")) == 2
        while set(read_checks(proxy).values()) != {"ok"}:  # the edge asks its keeper every two seconds
            pass


def test_everything_may_be_killed(tmp_path: Path, upstream: str, server: RedisServer) -> None:
    """Redis, then the proxy that spills: whoever serves the data directory next has all of it, once and in order."""
    with serve(tmp_path, upstream, server) as proxy:
        proxy.wait_ready()
        chat = Chat(proxy.url, "ada")
        for index in range(3):
            chat.say(f"City number {index} is where I lived.")
        server.kill()
        for index in range(3, 6):
            chat.say(f"City number {index} is where I lived.")
        proxy.kill()
        proxy.log.wait_for_end()
    server.start()
    with serve(tmp_path, upstream, server) as proxy:
        proxy.wait_ready()
        chat = Chat(proxy.url, "ada")
        chat.say("City number 6 is where I live.")
        proxy.flush()
        said = [m["text"] for m in reversed(proxy.memories("ada")) if m["role"] == "user"]
    assert said == [f"City number {index} is where I lived." for index in range(6)] + ["City number 6 is where I live."]


def test_an_erasure_reaches_everything(tmp_path: Path, upstream: str, server: RedisServer) -> None:
    """What waits in Redis and what was spilled, and the user's memories."""
    with serve(tmp_path, upstream, server) as proxy:
        proxy.wait_ready()
        Chat(proxy.url, "ada").say("My dog is called Biscuit.")
        proxy.flush()
        receipt = proxy.call("DELETE", "/memory/users/ada").raise_for_status().json()
        assert receipt["memories"] == 2
        assert proxy.memories("ada") == []


def park(data_dir: Path, server: RedisServer) -> str:
    """One entry that was set aside; what it is called."""
    settings = shared_settings(data_dir, server.url)
    write(settings, talk(0))
    with closing(SharedReader(settings, "test")) as reader:
        (entry,) = reader.take(9, part=ADA.part)
        reader.park([entry.seq], "the store refuses it", "entry", counted=True)
    return str(entry.seq)


def test_the_journal_is_shown_tried_again_and_dropped(tmp_path: Path, server: RedisServer) -> None:
    """By the command that shows a file's."""
    environ = {URL: server.url, "MEMORY_PROXY_EMBEDDING__PROVIDER": "none"}
    name = park(tmp_path, server)
    page = read_json("journal", "--data-dir", tmp_path, **environ)
    assert (page["failed"], page["entries"][0]["seq"]) == (1, name)
    assert name in invoke("journal", "--data-dir", tmp_path, **environ).stdout
    assert read_json("journal", "retry", "--data-dir", tmp_path, **environ) == {"retried": 1}
    assert [user["user_id"] for user in read_json("users", "--data-dir", tmp_path, **environ)["users"]] == ["ada"]
    park(tmp_path, server)
    assert read_json("journal", "drop", "--yes", "--data-dir", tmp_path, **environ) == {"dropped": 1}


def test_a_command_without_redis_says_so(tmp_path: Path, server: RedisServer) -> None:
    """In one line, and fails."""
    server.kill()
    lines = write_lines(tmp_path / "said.jsonl", [make_line("ada", "My dog is called Biscuit.", "Noted.")])
    environ = {URL: server.url.replace("//", "//:hunter2@"), "MEMORY_PROXY_EMBEDDING__PROVIDER": "none"}
    for command in (["journal"], ["import", str(lines)], ["forget", "ada", "--yes"]):
        result = invoke(*command, "--data-dir", tmp_path, **environ)
        assert (result.exit_code, "redis: ConnectionError" in result.output) == (1, True), result.output
        assert "hunter2" not in result.output


def look(data_dir: Path, url: str) -> dict[str, Any]:
    """What ``check`` finds of the journal."""
    result = invoke("check", "--json", "--data-dir", data_dir, **{URL: url})
    findings = [finding for finding in json.loads(result.stdout)["checks"] if finding["what"] == "journal"]
    assert len(findings) == 1
    assert "hunter2" not in result.output
    return dict(findings[0])


def test_check_reaches_it(tmp_path: Path, redis_url: str, server: RedisServer) -> None:
    """And tells what waits there."""
    assert (
        look(tmp_path, redis_url)
        == {
            "what": "journal",
            "state": "ok",
            "found": "redis, 0 waiting, 0 failed",
            "advice": "",
        }
        or look(tmp_path, redis_url)["state"] == "ok"
    )
    park(tmp_path, server)
    found = look(tmp_path, server.url)
    assert (found["state"], found["found"]) == ("note", "redis, 0 waiting, 1 failed")
    server.kill()
    found = look(tmp_path, server.url.replace("//", "//:hunter2@"))
    assert (found["state"], found["found"]) == ("failed", "redis: ConnectionError")


@pytest.mark.parametrize(
    ("options", "state", "told"),
    [
        (["--appendfsync", "everysec"], "note", "appendfsync is everysec"),
        (["--appendonly", "no"], "failed", "no append-only file"),
        (["--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"], "failed", "maxmemory-policy is allkeys-lru"),
        (["--rename-command", "CONFIG", ""], "note", "may not ask"),
    ],
)
def test_check_tells_what_would_lose_something(tmp_path: Path, options: list[str], state: str, told: str) -> None:
    """Each with what to set."""
    with running_redis(*options) as server:
        found = look(tmp_path, server.url)
    assert (found["state"], told in found["found"], bool(found["advice"])) == (state, True, True)
