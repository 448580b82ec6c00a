"""Two replicas as they are in real life, on one Chroma server and one Redis: any of them serves any user."""

from pathlib import Path

from tests.chroma_server import ChromaServer, running_chroma
from tests.processes import Chat, Proxy, run_command, running_upstream
from tests.redis_server import running_redis

USER = "ada"
QUESTION = "What is the name of my parrot?"


def share(redis_url: str, chroma: ChromaServer, *, refresh_s: float = 5) -> dict[str, str]:
    """The environment of a replica."""
    return {
        "MEMORY_PROXY_STORE__MODE": "http",
        "MEMORY_PROXY_STORE__HOST": "127.0.0.1",
        "MEMORY_PROXY_STORE__PORT": str(chroma.port),
        "MEMORY_PROXY_STORE__REFRESH_S": str(refresh_s),
        "MEMORY_PROXY_JOURNAL__URL": redis_url,
    }


def test_what_is_said_to_one_is_recalled_by_the_other(tmp_path: Path, redis_url: str, chroma: ChromaServer) -> None:
    """And what is erased at one is recalled by none."""
    environ = share(redis_url, chroma)
    with (
        running_upstream() as upstream,
        Proxy(tmp_path / "1", upstream.url, environ=environ) as one,
        Proxy(tmp_path / "2", upstream.url, environ=environ) as other,
    ):
        for proxy in (one, other):
            proxy.wait_ready()
            proxy.log.wait_for("listening_to_replicas")
        asking = Chat(other.url, USER)
        asking.say(QUESTION)
        Chat(one.url, USER).say("My parrot is called Polly.")
        assert one.flush()["failed"] == 0
        assert other.texts(USER)["My parrot is called Polly."] == 1
        asking.say(QUESTION)
        assert asking.headers["x-memory-status"] == "injected"
        assert "Polly" in upstream.last_system
        assert one.call("DELETE", f"/memory/users/{USER}").status_code == 200
        Chat(other.url, USER).say(QUESTION)
        assert "Polly" not in upstream.last_system
        assert other.texts(USER)["My parrot is called Polly."] == 0
        assert (one.stop(), other.stop()) == (0, 0)


def test_chats_go_on_with_nothing_behind(tmp_path: Path) -> None:
    """Chroma and Redis come up after the proxy, and what was said before is stored then."""
    with running_redis() as redis, running_chroma() as chroma, running_upstream() as upstream:
        redis.kill()
        chroma.kill()
        with Proxy(tmp_path, upstream.url, environ=share(redis.url, chroma, refresh_s=1)) as proxy:
            proxy.wait_ready()
            chat = Chat(proxy.url, USER)
            assert chat.say("My parrot is called Polly.") == "Noted: My parrot is called Polly."
            assert chat.headers["x-memory-status"] == "error"
            redis.start()
            chroma.start()
            proxy.log.wait_for("store_ready")
            assert proxy.flush()["failed"] == 0
            assert proxy.texts(USER)["My parrot is called Polly."] == 1


def test_commands_look_into_what_is_shared(tmp_path: Path, redis_url: str, chroma: ChromaServer) -> None:
    """From any machine, without a server on its data directory; ``check`` says what is reached, and whose it is."""
    environ = share(redis_url, chroma)
    conversation = tmp_path / "c.jsonl"
    conversation.write_text(
        '{"user_id": "ada", "conversation_id": "c", "started_at": "2026-01-02T00:00:00Z", '
        '"messages": [{"role": "user", "content": "My parrot is called Polly."}]}\n'
    )
    done = run_command("import", str(conversation), "--data-dir", str(tmp_path / "1"), **environ)
    assert done.returncode == 0, done.stderr
    listed = run_command("memories", USER, "--data-dir", str(tmp_path / "2"), **environ)
    assert "Polly" in listed.stdout, listed.stderr
    check = run_command("check", "--data-dir", str(tmp_path / "2"), **environ)
    assert f"http at 127.0.0.1:{chroma.port}, 1 user" in " ".join(check.stdout.split()), check.stdout
    alone = environ | {"MEMORY_PROXY_JOURNAL__URL": "sqlite"}
    (tmp_path / "3").mkdir()
    wrong = run_command("users", "--data-dir", str(tmp_path / "3"), **alone)
    assert wrong.returncode == 1
    assert "sealed by another ledger" in " ".join(wrong.stderr.split())
