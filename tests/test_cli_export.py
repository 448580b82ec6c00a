"""``export``: where it goes, what it has, and that half of one never passes for a whole."""

import gzip
import json
import os
import pty
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from proxy.cli.direct import Direct
from proxy.errors import StoreError
from proxy.models import Scope as UserScope
from tests.commands import invoke, make_line, read_json, read_terminal, write_lines
from tests.processes import COMMAND, REPOSITORY, WAIT_S, Proxy, clean_environment, serve_in_thread

LINES = [
    make_line("bob", "I drink tea.", "Good."),
    make_line("ada", "My dog is called Rex.", "Nice."),
    make_line("Åse 用户 \u202e", "Vi bor i Bergen. \U0001f600 \u2028 \x00"),
]


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store that nobody changes."""
    folder = tmp_path_factory.mktemp("export")
    source = write_lines(folder / "source.jsonl", LINES)
    assert invoke("import", source, "--data-dir", folder / "data").exit_code == 0
    (old,) = read_json("memories", "bob", "--limit", "1", "--data-dir", folder / "data")["memories"]
    lapsed = {**old, "id": "lapsed", "superseded_by": old["id"], "valid_until": "2024-06-01T00:00:00Z"}
    write_lines(source, [json.dumps(lapsed).encode()])
    assert invoke("import", source, "--data-dir", folder / "data").exit_code == 0
    return folder / "data"


def export(*arguments: str | Path) -> list[dict[str, Any]]:
    result = invoke("export", *arguments)
    assert (result.exit_code, result.stderr) == (0, "")
    return [json.loads(line) for line in result.stdout.split("\n") if line]


def run(*arguments: str | Path, **options: Any) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [*COMMAND, *map(str, arguments)],
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options},
        cwd=REPOSITORY,
        env=clean_environment(),
    )


def test_everybody_is_exported(data_dir: Path) -> None:
    """User by user in the order of their ids, the memories of each in the order in which they came, all of them."""
    found = export("--data-dir", data_dir)
    assert [(one["user_id"], one["text"]) for one in found] == [
        ("ada", "My dog is called Rex."),
        ("ada", "Nice."),
        ("bob", "I drink tea."),
        ("bob", "Good."),
        ("bob", "Good."),
        ("Åse 用户 \u202e", "Vi bor i Bergen. \U0001f600 \u2028 \x00"),
    ]
    assert found[4]["superseded_by"] == found[3]["id"]


def test_one_user_and_what_holds(data_dir: Path) -> None:
    """By id, and without what no longer holds if that is wanted."""
    assert [one["text"] for one in export("bob", "--no-superseded", "--data-dir", data_dir)] == [
        "I drink tea.",
        "Good.",
    ]
    assert len(export("--no-superseded", "--data-dir", data_dir)) == 5


def test_nobody_is_told(data_dir: Path) -> None:
    """A mistyped user leaves standard output empty, and is said beside it."""
    result = invoke("export", "abd", "--data-dir", data_dir)
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "There was nothing to export.\n")


def test_a_file(data_dir: Path, tmp_path: Path) -> None:
    """The same as standard output has; gzipped where the name says so, and to the byte the same each time."""
    plain, packed = tmp_path / "all.jsonl", tmp_path / "all.jsonl.gz"
    plain.write_bytes(b"what was there before")
    for path in (plain, packed):
        result = invoke("export", "-o", path, "--data-dir", data_dir)
        assert (result.exit_code, result.stdout) == (0, f"6 memories of 3 users written to {path}\n")
    expected = "".join(
        json.dumps(one, ensure_ascii=False, separators=(",", ":")) + "\n" for one in export("--data-dir", data_dir)
    )
    assert plain.read_bytes() == gzip.decompress(packed.read_bytes()) == expected.encode()
    assert plain.stat().st_mode & 0o777 == 0o600
    again = tmp_path / "again.gz"
    assert invoke("export", "-o", again, "--data-dir", data_dir).exit_code == 0
    assert again.read_bytes() == packed.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["again.gz", "all.jsonl", "all.jsonl.gz"]


def test_a_pipe_into_another_store(data_dir: Path, tmp_path: Path) -> None:
    """``export | import -``, while both run."""
    source = run("export", "--data-dir", data_dir, stderr=subprocess.DEVNULL)
    target = run("import", "-", "--data-dir", tmp_path / "other", stdin=source.stdout)
    assert source.stdout is not None
    source.stdout.close()
    told, errors = target.communicate(timeout=WAIT_S)
    assert (told, errors) == (b"6 memories stored, 0 already known, 0 lines unreadable\n", b"")
    assert source.wait(WAIT_S) == 0
    assert export("--data-dir", tmp_path / "other") == export("--data-dir", data_dir)


def test_who_stops_reading_hears_nothing(data_dir: Path) -> None:
    """``export | head -1`` ends without a word, and not as if all had been written."""
    ours, theirs = os.pipe()
    os.close(ours)
    with os.fdopen(theirs, "wb") as broken:
        process = run("export", "--data-dir", data_dir, stdout=broken)
    assert process.communicate(timeout=WAIT_S)[1] == b""
    assert process.returncode == 1


@pytest.mark.parametrize("name", ["full", "dev.gz"])
def test_a_full_disk_is_told(data_dir: Path, tmp_path: Path, name: str) -> None:
    """With what to do."""
    path = tmp_path / name
    path.symlink_to("/dev/full")
    result = invoke("export", "-o", path, "--data-dir", data_dir)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == (
        f"memory-proxy: {path}: cannot be written: No space left on device; make room, or name another --output\n"
    )


@pytest.mark.parametrize(("name", "why"), [("missing/x", "No such file or directory"), (".", "Is a directory")])
def test_a_place_that_cannot_be_written_is_told(data_dir: Path, tmp_path: Path, name: str, why: str) -> None:
    """Before anything is read."""
    result = invoke("export", "-o", tmp_path / name, "--data-dir", data_dir)
    assert (result.exit_code, result.stderr) == (1, f"memory-proxy: {tmp_path / name}: cannot be written: {why}\n")


def test_a_device_is_written_to_as_it_is(data_dir: Path) -> None:
    """It is no file that another one could take the place of."""
    result = invoke("export", "-o", "/dev/null", "--data-dir", data_dir)
    assert (result.exit_code, result.stdout) == (0, "6 memories of 3 users written to /dev/null\n")
    assert Path("/dev/null").is_char_device()


def test_half_of_an_export_is_none(data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What fails in the middle leaves the file that was there as it was, and no other one."""
    whole = Direct.export

    async def fail(self: Direct, scope: UserScope, *, superseded: bool) -> AsyncIterator[bytes]:
        if scope.user_id == "bob":
            raise StoreError("the disk is gone")
        async for piece in whole(self, scope, superseded=superseded):
            yield piece

    monkeypatch.setattr(Direct, "export", fail)
    path = tmp_path / "all.jsonl"
    path.write_text("yesterday's")
    for file in (path, tmp_path / "new.jsonl.gz"):
        result = invoke("export", "-o", file, "--data-dir", data_dir)
        assert (result.exit_code, result.stdout, result.stderr) == (1, "", "memory-proxy: the disk is gone\n")
    assert [(one.name, one.read_text()) for one in tmp_path.iterdir()] == [("all.jsonl", "yesterday's")]
    result = invoke("export", "--data-dir", data_dir)
    assert (result.exit_code, len(result.stdout.splitlines())) == (1, 2)


def test_a_terminal_sees_how_far_it_is(data_dir: Path, tmp_path: Path) -> None:
    """A bar on standard error, where the memories themselves are not shown."""
    ours, theirs = pty.openpty()
    try:
        done = run("export", "-o", tmp_path / "x", "--data-dir", data_dir, stderr=theirs)
        told, _ = done.communicate(timeout=WAIT_S)
        shown = read_terminal(ours)
    finally:
        os.close(ours)
        os.close(theirs)
    assert told.endswith(f"6 memories of 3 users written to {tmp_path / 'x'}\n".encode())
    assert b"100%" in shown
    assert b"6 memories" in shown


def test_other_tenants_are_not_forgotten(tmp_path: Path) -> None:
    """Whose users were left out is said; each tenant is exported by itself."""
    source, data_dir = write_lines(tmp_path / "source.jsonl", LINES), tmp_path / "data"
    for tenant in ("", "shop"):
        assert invoke("import", source, "--tenant", tenant, "--data-dir", data_dir).exit_code == 0
    result = invoke("export", "--data-dir", data_dir)
    assert result.stdout.count("\n") == 5
    assert result.stderr == "3 users of other tenants left out; --tenant says whose memories are meant.\n"
    assert len(export("ada", "--tenant", "shop", "--data-dir", data_dir)) == 2


def test_a_missing_directory_is_told(tmp_path: Path) -> None:
    """And no file is made."""
    result = invoke("export", "-o", tmp_path / "x", "--data-dir", tmp_path / "nowhere")
    assert result.exit_code == 1
    assert "there is no such directory" in result.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A proxy with the same memories, but for what no longer holds."""
    folder = tmp_path_factory.mktemp("server")
    with Proxy(folder / "data", "http://127.0.0.1:9") as proxy:
        proxy.wait_ready()
        source = write_lines(folder / "source.jsonl", LINES)
        assert invoke("import", source, "--server", proxy.url).exit_code == 0
        yield proxy.url
        assert proxy.stop() == 0


def test_a_server_exports_the_same(
    server: str, data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Line by line, everybody and one user, over pages of users."""
    monkeypatch.setattr("proxy.cli.remote.PAGE", 2)
    there = export("--server", server)
    assert there == export("--no-superseded", "--data-dir", data_dir)
    assert export("Åse 用户 \u202e", "--server", server) == there[-1:]
    packed = tmp_path / "all.gz"
    assert invoke("export", "-o", packed, "--server", server).exit_code == 0
    assert gzip.decompress(packed.read_bytes()).count(b"\n") == 5


def test_who_becomes_active_meanwhile_is_not_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    """While users are listed page by page, one who says something moves to the first page, which was read before."""
    monkeypatch.setattr("proxy.cli.remote.PAGE", 2)
    pages = [["a", "b"], ["c", "d"], ["z", "a"], ["z", "a"], ["b", "c"]]

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        kind = b"application/json"
        if scope["path"] == "/memory/users":
            names = pages.pop(0)
            rows = [{"user_id": name, "memories": 1, "last_activity": "2024-05-01T10:00:00Z"} for name in names]
            body = json.dumps({"users": rows, "cursor": None if "d" in names else "more"}).encode()
        else:
            kind = b"application/x-ndjson"
            body = json.dumps({"id": scope["path"].split("/")[3]}).encode() + b"\n"
        head = [(b"content-type", kind), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": head})
        await send({"type": "http.response.body", "body": body})

    with serve_in_thread(app) as url:
        assert [one["id"] for one in export("--server", url)] == ["a", "b", "c", "d", "z"]
    assert pages == []


def test_a_stranger_is_told(tmp_path: Path) -> None:
    """Neither an answer that breaks off nor another server's page makes an export."""
    row = {"user_id": "ada", "memories": 2, "last_activity": "2024-05-01T10:00:00Z"}

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/memory/users":
            body = json.dumps({"users": [row], "cursor": None}).encode()
            head = [(b"content-length", str(len(body)).encode())]
            await send({"type": "http.response.start", "status": 200, "headers": head})
            await send({"type": "http.response.body", "body": body})
            return
        kind = b"text/html" if b"stranger" in scope["query_string"] else b"application/x-ndjson"
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", kind)]})
        await send({"type": "http.response.body", "body": b'{"id": "1"}\n', "more_body": True})
        raise OSError("gone")

    with serve_in_thread(app) as url:
        path = tmp_path / "x.jsonl"
        result = invoke("export", "-o", path, "--server", url)
        assert (result.exit_code, path.exists()) == (1, False)
        assert f"memory-proxy: {url} broke off its answer: " in result.stderr
        result = invoke("export", "ada", "--tenant", "stranger", "--server", url)
        assert result.exit_code == 1
        assert f"memory-proxy: {url} answers 200, and not as memory-proxy; check --server\n" in result.stderr


def test_no_server_is_told(tmp_path: Path) -> None:
    """In one line."""
    result = invoke("export", "-o", tmp_path / "x", "--server", "http://127.0.0.1:9")
    assert result.exit_code == 1
    assert result.stderr.startswith("memory-proxy: http://127.0.0.1:9 cannot be reached: ")
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_export_leaves_nothing(data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C, too."""

    async def interrupt(self: Direct, scope: UserScope, *, superseded: bool) -> AsyncIterator[bytes]:
        yield b"{}\n"
        raise KeyboardInterrupt

    monkeypatch.setattr(Direct, "export", interrupt)
    assert invoke("export", "-o", tmp_path / "x", "--data-dir", data_dir).exit_code != 0
    assert list(tmp_path.iterdir()) == []
