"""Data commands on a running proxy, through its admin API."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.types import Receive, Scope, Send

from tests.commands import invoke, make_line, read_json, write_lines
from tests.processes import Proxy, send_json, serve_in_thread

TOKEN = "a-token-that-nobody-guesses"
ENVIRON = {"MEMORY_PROXY_ADMIN__TOKEN": TOKEN}
HOSTILE = "a/../b %2F ?#[red] 用户"


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the proxy has open."""
    return tmp_path_factory.mktemp("server") / "data"


@pytest.fixture(scope="module")
def server(data_dir: Path) -> Iterator[str]:
    """The URL of a proxy whose keeper is up. Its upstream is nowhere."""
    with Proxy(data_dir, "http://127.0.0.1:9", environ=ENVIRON) as proxy:
        proxy.wait_ready()
        yield proxy.url
        assert proxy.stop() == 0


def fill(server: str, tmp_path: Path, *lines: bytes) -> None:
    source = write_lines(tmp_path / "source.jsonl", lines)
    assert invoke("import", source, "--server", server, **ENVIRON).exit_code == 0


def test_import_names_lines_of_the_file(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server sees one piece at a time; the numbers are those of the file all the same."""
    monkeypatch.setattr("proxy.imports.pieces.PIECE_BYTES", 1)
    source = write_lines(tmp_path / "source.jsonl", [make_line("imported", "One.", "Two."), b"\n", b"no\n"])
    result = invoke("import", source, "--server", server, **ENVIRON)
    assert (result.exit_code, result.stdout) == (1, "2 memories stored, 0 already known, 1 line unreadable\n")
    assert f"{source}, line 3: " in result.stderr
    again = invoke("import", source, "--server", server, **ENVIRON)
    assert again.stdout == "0 memories stored, 2 already known, 1 line unreadable\n"


def test_the_server_shows_the_same_as_the_directory(server: str, tmp_path: Path) -> None:
    """Both ways list and find the same memories, with the same scores and the same block."""
    line = make_line("ada", "My dog Biscuit is a beagle.", "A lovely name.", "We live in Bergen, by the sea.")
    fill(server, tmp_path, line)
    assert invoke("import", tmp_path / "source.jsonl", "--data-dir", tmp_path / "own").exit_code == 0
    there, here = ("--server", server), ("--data-dir", tmp_path / "own")
    listings = [read_json("memories", "ada", *way, **ENVIRON) for way in (there, here)]
    assert listings[0] == listings[1]
    found = [read_json("search", "ada", "Which breed is my dog?", *way, **ENVIRON) for way in (there, here)]
    for answer in found:
        del answer["elapsed_ms"]
    assert found[0] == found[1]
    assert found[0]["memories"]


def test_listings_go_over_pages(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """More than one page is fetched, in order, and no more than asked for."""
    monkeypatch.setattr("proxy.cli.remote.PAGE", 2)
    fill(server, tmp_path, make_line("paged", *(f"Turn {number}." for number in range(7))))
    texts = [f"Turn {number}." for number in reversed(range(7))]
    for options, shown in ((["--all"], texts), (["--limit", "3"], texts[:3])):
        found = read_json("memories", "paged", *options, "--server", server, **ENVIRON)
        assert [memory["text"] for memory in found["memories"]] == shown
        assert found["more"] is (len(shown) < len(texts))
    everybody = read_json("users", "--all", "--server", server, **ENVIRON)["users"]
    assert {"paged": 7}.items() <= {row["user_id"]: row["memories"] for row in everybody}.items()


@pytest.mark.parametrize("user", [HOSTILE, "..", "."])
def test_an_id_is_no_path(server: str, tmp_path: Path, user: str) -> None:
    """Ids that look like paths name their user alone, also when erasing."""
    fill(server, tmp_path, make_line("bystander", "I stay."), make_line(user, "I drink coffee.", "Noted."))
    (newest, oldest) = read_json("memories", user, "--server", server, **ENVIRON)["memories"]
    assert oldest["text"] == "I drink coffee."
    assert read_json("forget", user, newest["id"], "--server", server, **ENVIRON)["memories"] == 1
    assert read_json("forget", user, "--yes", "--server", server, **ENVIRON)["memories"] == 1
    assert read_json("memories", user, "--server", server, **ENVIRON)["memories"] == []
    assert len(read_json("memories", "bystander", "--server", server, **ENVIRON)["memories"]) == 1


def test_memories_by_hand(server: str) -> None:
    """Written, corrected and forgotten, by a user whose id looks like a path."""
    there = ("--server", server)
    memory = read_json("remember", HOSTILE, "I like tea.", *there, **ENVIRON)
    edited = read_json("edit", HOSTILE, memory["id"], "I like coffee.", *there, **ENVIRON)
    assert edited["text"] == "I like coffee."
    assert read_json("memories", HOSTILE, "--superseded", *there, **ENVIRON)["memories"][0] == edited
    assert "superseded_by" not in read_json("edit", HOSTILE, edited["id"], "--restore", *there, **ENVIRON)
    result = invoke("forget", HOSTILE, edited["id"], "--yes", *there, **ENVIRON)
    assert result.stdout.startswith(f"{HOSTILE}: 1 memory erased at 20")
    unknown = invoke("edit", HOSTILE, "nope", "x", *there, **ENVIRON)
    assert (unknown.exit_code, unknown.stderr) == (1, "memory-proxy: this user has no memory of this id\n")


def test_an_unknown_memory_is_an_error(server: str) -> None:
    """The same line as without a server."""
    result = invoke("forget", "ada", "../nope", "--server", server, **ENVIRON)
    assert (result.exit_code, result.stderr) == (1, "memory-proxy: this user has no memory of this id\n")


@pytest.mark.parametrize("environ", [{}, {"MEMORY_PROXY_ADMIN__TOKEN": "wrong"}])
def test_a_wrong_token_is_told(server: str, environ: dict[str, str]) -> None:
    """Where the token comes from is said; the token is not."""
    result = invoke("users", "--server", server, **environ)
    assert result.exit_code == 1
    assert result.stderr == (
        f"memory-proxy: {server} refuses the admin token; set admin.token or MEMORY_PROXY_ADMIN__TOKEN to its own\n"
    )


def test_the_directory_of_a_server_names_it(server: str, data_dir: Path) -> None:
    """Without ``--server`` the error has the very option that works."""
    result = invoke("users", "--data-dir", data_dir)
    assert result.exit_code == 1
    assert result.stderr.endswith(f"; add --server {server}\n")


def test_check_asks_the_server_that_has_the_directory(server: str, data_dir: Path) -> None:
    """A data directory in use is no failure: the server says how it is."""
    result = invoke("check", "--json", "--data-dir", data_dir, **ENVIRON)
    assert f"so says the server at {server}" in result.stdout
    assert f"found at {server}" in result.stdout
    assert TOKEN not in result.output


def test_check_tells_a_wrong_token(server: str) -> None:
    """The admin API is part of what is checked."""
    result = invoke("check", "--server", server, MEMORY_PROXY_ADMIN__TOKEN="wrong", COLUMNS="200")
    assert result.exit_code == 1
    assert f"{server} refuses the admin token" in result.stdout


@pytest.mark.parametrize(
    "command",
    [
        ("users",),
        ("memories", "ada"),
        ("search", "ada", "dog"),
        ("remember", "ada", "I like tea."),
        ("edit", "ada", "1", "--restore"),
        ("forget", "ada", "1"),
        ("journal",),
        ("journal", "retry"),
        ("journal", "drop", "--yes"),
    ],
)
def test_nobody_there_is_told(command: tuple[str, ...]) -> None:
    """A refused connection is one line."""
    result = invoke(*command, "--server", "http://127.0.0.1:9")
    assert result.exit_code == 1
    assert result.stderr.startswith("memory-proxy: http://127.0.0.1:9 cannot be reached: ")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("status", [200, 404])
def test_another_server_is_told(status: int) -> None:
    """An answer that is not memory-proxy's is not taken for one."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        await send_json(send, b'"hello"', status)

    with serve_in_thread(answer) as url:
        result = invoke("users", "--server", url)
    assert result.exit_code == 1
    assert result.stderr == f"memory-proxy: {url} answers {status}, and not as memory-proxy; check --server\n"


@pytest.mark.parametrize("url", ["localhost:8787", "ftp://host", "http://", "http://host:port"])
def test_what_is_no_url_is_bad_usage(url: str) -> None:
    """Exit code 2, the option, the value, and what would be right."""
    result = invoke("users", "--server", url)
    assert result.exit_code == 2
    assert result.stderr == f"memory-proxy: --server: {url!r}: should be a URL such as http://127.0.0.1:8787\n"
