"""``memory-proxy reembed``: on the data directory, and on a proxy that is started anew in the midst of it."""

import json
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import Result

from proxy.bench.manager import find_port
from proxy.embedders.local import LocalEmbedder
from tests.commands import invoke, make_line, read_json, write_lines
from tests.embedding_models import Models, serving_models
from tests.processes import COMMAND, WAIT_S, Chat, Proxy, clean_environment, running_upstream

LINES = [make_line(f"user {number}", *(f"Remark {number}.{turn}." for turn in range(20))) for number in range(4)]
OLD, NEW = "openai:old (8 dimensions)", "openai:new (12 dimensions)"


@pytest.fixture(scope="module")
def endpoint() -> Iterator[Models]:
    with serving_models() as served:
        yield served


@pytest.fixture
def models(endpoint: Models) -> Models:
    endpoint.reset()
    return endpoint


@pytest.fixture
def data_dir(models: Models, tmp_path: Path) -> Path:
    """Memories with vectors of the old model."""
    source = write_lines(tmp_path / "source.jsonl", LINES)
    result = invoke("import", source, "--data-dir", tmp_path / "data", **models.variables("old"))
    assert result.exit_code == 0, result.output
    return tmp_path / "data"


def test_from_one_model_to_the_other(models: Models, data_dir: Path) -> None:
    """It says how many it has moved, a second time that there is nothing to do, and check says what is the matter."""
    new = models.variables("new")
    noted = invoke("check", "--json", "--data-dir", data_dir, MEMORY_PROXY_UPSTREAM__BASE_URL=models.url, **new)
    (finding,) = [found for found in json.loads(noted.stdout)["checks"] if found["what"] == "embedding"]
    assert finding["state"] == "note"
    assert finding["found"] == f"memories go by {OLD}, and openai:new is configured"
    moved = invoke("reembed", "--data-dir", data_dir, **new)
    assert moved.exit_code == 0, moved.output
    assert moved.stdout.startswith(f"80 memories by {NEW} from now on; 80 were given a vector, ")
    assert invoke("reembed", "--data-dir", data_dir, **new).stdout == f"nothing to do: 80 memories by {NEW}\n"
    state = read_json("reembed", "--data-dir", data_dir, **new)
    assert (state["state"], state["serving"], state["done"], state["moved"]) == ("settled", NEW, 80, 0)
    # Without configuration it goes to what comes along, and back to words alone.
    name = f"{LocalEmbedder.name} ({LocalEmbedder.dim} dimensions)"
    assert invoke("reembed", "--data-dir", data_dir).stdout.startswith(f"80 memories by {name} from now on; 80 were")
    none = invoke("reembed", "--data-dir", data_dir, MEMORY_PROXY_EMBEDDING__PROVIDER="none")
    assert none.stdout == "80 memories by none (words alone) from now on\n"


def test_what_goes_wrong_is_one_line(models: Models, data_dir: Path, tmp_path: Path) -> None:
    """With exit code 1; memories are found as before."""
    models.broken.add("new")
    refused = invoke("reembed", "--data-dir", data_dir, **models.variables("new"))
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert refused.stderr.splitlines()[-1] == "memory-proxy: openai:new: BadRequestError, status 400"
    found = read_json("search", "user 1", "Which remark was 1.7?", "--data-dir", data_dir, **models.variables("new"))
    assert found["memories"]
    nowhere = invoke("reembed", "--data-dir", tmp_path / "nowhere", **models.variables("new"))
    assert (nowhere.exit_code, nowhere.stderr.count("\n")) == (1, 1)


def test_nothing_is_stored_yet(models: Models, tmp_path: Path) -> None:
    """Then there is nothing to do."""
    told = invoke("reembed", "--data-dir", tmp_path, **models.variables("new"))
    assert (told.exit_code, told.stdout) == (0, "nothing to do: nothing is stored yet\n")


def test_ctrl_c_leaves_it_for_later(models: Models, data_dir: Path) -> None:
    """It says how to go on, and then goes on."""
    models.held.add("new")
    command = [*COMMAND, "reembed", "--data-dir", str(data_dir)]
    environ = clean_environment(models.variables("new"))
    with subprocess.Popen(command, env=environ, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        assert models.entered.wait(WAIT_S)
        process.send_signal(signal.SIGINT)
        models.free.set()
        _, told = process.communicate(timeout=WAIT_S)
    assert process.returncode == 130, told
    assert told.splitlines()[-1] == (
        "memory-proxy: interrupted: memories are found as before; run memory-proxy reembed again to go on"
    )
    assert invoke("reembed", "--data-dir", data_dir, **models.variables("new")).exit_code == 0


def test_a_server_that_is_killed_meanwhile(models: Models, data_dir: Path) -> None:
    """Chats get their memory by the old vectors throughout; the command waits for the new process and has it go on."""
    port, results = find_port(), []

    def serve(upstream: str) -> Proxy:
        return Proxy(data_dir, upstream, "--port", str(port), environ=models.variables("new"))

    def command() -> None:
        results.append(invoke("reembed", "--server", f"http://127.0.0.1:{port}"))

    with running_upstream() as upstream:
        with serve(upstream.url) as proxy:
            proxy.wait_ready()
            assert proxy.log.wait_for("embedding_differs")["serving"] == OLD
            line = f"serving {OLD}, configured openai:new: run memory-proxy reembed"
            while (told := read_embedding(proxy)) is None:  # the edge asks for it every now and then
                pass
            assert told == line
            state = proxy.call("GET", "/memory/reembed").json()
            assert (state["state"], state["serving"], state["configured"]) == ("due", OLD, "openai:new")
            assert "memory_proxy_embedding_differs 1.0" in proxy.call("GET", "/metrics").text
            models.held.add("new")
            running = threading.Thread(target=command)
            running.start()
            assert models.entered.wait(WAIT_S)
            assert proxy.call("POST", "/memory/reembed").status_code == 202  # it runs already
            models.asked.clear()
            assert remember(proxy, "user 1", "Which remark was 1.7?") == "injected"
            assert models.asked["old"] > 0
            proxy.kill()
            models.held.clear()
            models.free.set()
        with serve(upstream.url) as proxy:
            running.join(WAIT_S)
            assert not running.is_alive()
            assert remember(proxy, "user 2", "Which remark was 2.7?") == "injected"
            while read_embedding(proxy) is not None:
                pass
            assert "memory_proxy_embedding_differs 0.0" in proxy.call("GET", "/metrics").text
            assert proxy.call("POST", "/memory/reembed?again=perhaps").status_code == 400
            assert proxy.stop() == 0
    (result,) = results
    assert result.exit_code == 0, result.output
    assert f" memories by {NEW} from now on" in result.stdout


def read_embedding(proxy: Proxy) -> str | None:
    """What ``/readyz`` has to say of it."""
    told: str | None = proxy.call("GET", "/readyz").json().get("embedding")
    return told


def remember(proxy: Proxy, user: str, question: str) -> str:
    """What memory did for a question."""
    chat = Chat(proxy.url, user)
    chat.say(question)
    return chat.headers["x-memory-status"]


def test_a_server_that_fails_is_told_of(models: Models) -> None:
    """Its reason is the command's."""
    result: Result = invoke("reembed", "--server", "http://127.0.0.1:9")
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert result.stderr.startswith("memory-proxy: http://127.0.0.1:9 cannot be reached: ")
