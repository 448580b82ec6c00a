"""``import``: what it takes in, what it names, and that it reads a piece at a time."""

import gzip
import io
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from proxy.imports.files import read_records
from tests.commands import invoke, make_line, read_json, read_terminal, write_lines
from tests.processes import REPOSITORY, WAIT_S, clean_environment

LINES = [make_line("ada", "I have a dog.", "How nice."), make_line("bob", "I drink tea.")]


def count_memories(data_dir: Path) -> dict[str, int]:
    users = read_json("users", "--data-dir", data_dir)["users"]
    return {row["user_id"]: row["memories"] for row in users}


def test_a_second_import_changes_nothing(tmp_path: Path) -> None:
    """Everything is stored once, and known the second time."""
    source, data_dir = write_lines(tmp_path / "source.jsonl", LINES), tmp_path / "data"
    assert (
        invoke("import", source, "--data-dir", data_dir).stdout
        == "3 memories stored, 0 already known, 0 lines unreadable\n"
    )
    assert (
        invoke("import", source, "--data-dir", data_dir).stdout
        == "0 memories stored, 3 already known, 0 lines unreadable\n"
    )
    assert count_memories(data_dir) == {"ada": 2, "bob": 1}


def test_unreadable_lines_are_named_and_the_rest_is_stored(tmp_path: Path) -> None:
    """Each with file, number and reason on standard error; the exit code is then 1."""
    broken = [b"not json\n", LINES[0], b'{"user_id": "ada"}\n', b"\n", LINES[1], b"\xff\n"]
    source = write_lines(tmp_path / "source.jsonl", broken)
    result = invoke("import", source, "--data-dir", tmp_path / "data")
    assert result.exit_code == 1
    assert result.stdout == "3 memories stored, 0 already known, 3 lines unreadable\n"
    told = result.stderr.splitlines()
    assert [line.split(": ")[1] for line in told] == [f"{source}, line {number}" for number in (1, 3, 6)]


def test_an_exported_memory_is_taken_back(tmp_path: Path) -> None:
    """What ``memories --json`` shows of one store is a line for another."""
    source = write_lines(tmp_path / "source.jsonl", LINES)
    assert invoke("import", source, "--data-dir", tmp_path / "one").exit_code == 0
    shown = invoke("memories", "bob", "--json", "--data-dir", tmp_path / "one").stdout
    (memory,) = read_json("memories", "bob", "--data-dir", tmp_path / "one")["memories"]
    start = shown.index("[") + 1
    line = " ".join(shown[start : shown.rindex("]")].split()).encode()
    again = write_lines(tmp_path / "again.jsonl", [line])
    assert invoke("import", again, "--data-dir", tmp_path / "two").exit_code == 0
    assert read_json("memories", "bob", "--data-dir", tmp_path / "two")["memories"] == [memory]


def test_standard_input_may_be_gzipped(tmp_path: Path) -> None:
    """``-`` reads a pipe, and what is packed is unpacked whatever its name."""
    done = subprocess.run(
        [sys.executable, "-m", "proxy", "import", "-", "--data-dir", str(tmp_path / "data")],
        input=gzip.compress(b"".join(LINES)),
        capture_output=True,
        cwd=REPOSITORY,
        env=clean_environment(),
        timeout=WAIT_S,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == b"3 memories stored, 0 already known, 0 lines unreadable\n"


def test_a_file_that_is_cut_short_is_told(tmp_path: Path) -> None:
    """Half a gzip file ends the import with where it stopped, and no traceback."""
    source = write_lines(tmp_path / "source.jsonl.gz", [gzip.compress(b"".join(LINES))[:-20]])
    result = invoke("import", source, "--data-dir", tmp_path / "data")
    assert result.exit_code == 1
    assert result.stderr.startswith(f"memory-proxy: {source}: cannot be read on from line 1: ")


@pytest.mark.parametrize("name", ["missing.jsonl", "."])
def test_a_file_that_cannot_be_opened_is_told(tmp_path: Path, name: str) -> None:
    """A missing file and a directory are told in one line, and no store is made."""
    result = invoke("import", tmp_path / name, "--data-dir", tmp_path / "data")
    assert result.exit_code == 1
    assert result.stderr.startswith(f"memory-proxy: {tmp_path / name}: cannot be read: ")
    assert not (tmp_path / "data").exists()


def test_an_empty_file_is_imported(tmp_path: Path) -> None:
    """Nothing to store is no failure."""
    result = invoke("import", write_lines(tmp_path / "empty.jsonl", []), "--data-dir", tmp_path / "data")
    assert (result.exit_code, result.stdout) == (0, "0 memories stored, 0 already known, 0 lines unreadable\n")


def test_a_line_without_end_is_not_held() -> None:
    """A line that is too long is reported and left out; the next has its right number."""
    file = io.BytesIO(b"one\n" + b"x" * 100 + b"\ntwo\n" + b"y" * 100)
    found = [(record.number, record.data, record.too_long) for record in read_records(file, longest=10)]
    assert found == [(1, b"one\n", False), (2, b"", True), (3, b"two\n", False), (4, b"", True)]


def test_lines_across_pieces_keep_their_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The third line is the third, also when it comes in a later piece."""
    monkeypatch.setattr("proxy.imports.pieces.PIECE_BYTES", 1)
    monkeypatch.setattr("proxy.imports.files.LONGEST_RECORD", 10_000)
    source = write_lines(tmp_path / "source.jsonl", [*LINES, b"{}\n", b"z" * 10_001])
    result = invoke("import", source, "--data-dir", tmp_path / "data")
    assert result.stdout == "3 memories stored, 0 already known, 2 lines unreadable\n"
    told = result.stderr.splitlines()
    assert told[0].startswith(f"memory-proxy: {source}, line 3: ")
    assert told[1] == f"memory-proxy: {source}, line 4: longer than 64 MB"


def test_a_terminal_sees_how_far_it_is(tmp_path: Path) -> None:
    """The bar and the number of memories go to standard error; standard output has only the result."""
    source = write_lines(tmp_path / "source.jsonl", LINES)
    ours, theirs = pty.openpty()
    try:
        done = subprocess.run(
            [sys.executable, "-m", "proxy", "import", str(source), "--data-dir", str(tmp_path / "data")],
            stdout=subprocess.PIPE,
            stderr=theirs,
            cwd=REPOSITORY,
            env=clean_environment({"TERM": "xterm", "COLUMNS": "100"}),
            timeout=WAIT_S,
            check=False,
        )
        shown = read_terminal(ours)
    finally:
        os.close(ours)
        os.close(theirs)
    assert done.stdout == b"3 memories stored, 0 already known, 0 lines unreadable\n"
    assert b"100%" in shown
    assert b"3 memories" in shown
