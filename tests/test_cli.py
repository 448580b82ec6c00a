"""``users``, ``memories``, ``search``, ``remember``, ``edit`` and ``forget`` on a data directory, and what all commands
have in common.
"""

import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from proxy import __version__
from proxy.cli.main import COMMANDS
from proxy.keeper.lock import DataDirLock, Holder
from tests.commands import invoke, make_line, read_json, write_lines
from tests.processes import REPOSITORY, WAIT_S, clean_environment, run_command

HOSTILE = "[red]x[/red] $ne /../ %2F 用户"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of three users."""
    lines = [
        make_line("ada", "My dog Biscuit is a beagle.", "A lovely name for a dog.", "She eats \x1b[31mcarrots[/]."),
        make_line("bob", "I drink tea."),
        make_line(HOSTILE, "I drink coffee."),
    ]
    return write_lines(tmp_path_factory.mktemp("source") / "source.jsonl", lines)


@pytest.fixture(scope="module")
def shared(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory that the tests only read."""
    folder = tmp_path_factory.mktemp("shared") / "data"
    assert invoke("import", source, "--data-dir", folder).exit_code == 0
    return folder


@pytest.fixture
def data_dir(source: Path, tmp_path: Path) -> Path:
    """A data directory of the test's own."""
    assert invoke("import", source, "--data-dir", tmp_path / "data").exit_code == 0
    return tmp_path / "data"


def test_without_a_command_there_is_help() -> None:
    """Help names every command."""
    result = invoke()
    assert all(name in result.output for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_the_common_options(name: str) -> None:
    """``--config`` and ``--data-dir`` are everywhere."""
    result = invoke(name, "--help", COLUMNS="120")
    assert result.exit_code == 0
    assert "--config" in result.output
    assert "--data-dir" in result.output


def test_the_version_is_printed() -> None:
    """``--version`` prints it and nothing else."""
    assert invoke("--version").stdout == f"{__version__}\n"


def test_the_module_is_the_command() -> None:
    """``python -m proxy`` runs the same commands, and says on standard error what is wrong."""
    done = run_command("users", "--config", "/no/such/file")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("memory-proxy: /no/such/file: cannot be read")
    assert done.stderr.count("\n") == 1


def test_users_are_listed(shared: Path) -> None:
    """Ids are shown as they are, with counts and dates, and without colours."""
    result = invoke("users", "--data-dir", shared)
    rows = [" ".join(line.split()) for line in result.stdout.splitlines()]
    assert "ada 3 2024-05-01 10:00" in rows
    assert f"{HOSTILE} 1 2024-05-01 10:00" in rows
    assert "\x1b" not in result.output


def test_users_as_json(shared: Path) -> None:
    """One document that programs can read."""
    found = read_json("users", "--data-dir", shared)
    assert {row["user_id"]: row["memories"] for row in found["users"]} == {"ada": 3, "bob": 1, HOSTILE: 1}
    assert found["more"] is False


def test_a_limit_says_that_there_is_more(shared: Path) -> None:
    """A cut list is no silent one, and ``--all`` is not cut."""
    cut = invoke("users", "--limit", "2", "--data-dir", shared)
    assert "Only the first 2 are shown" in cut.stderr
    assert read_json("users", "--limit", "2", "--data-dir", shared)["more"] is True
    whole = invoke("memories", "ada", "--limit", "1", "--all", "--data-dir", shared)
    assert whole.stderr == ""
    assert "beagle" in whole.stdout


def test_memories_are_listed_newest_first(shared: Path) -> None:
    """A text can neither colour nor control the terminal; JSON has it as it was said."""
    result = invoke("memories", "ada", "--data-dir", shared)
    assert result.stdout.index("carrots") < result.stdout.index("lovely") < result.stdout.index("beagle")
    assert r"\x1b[31mcarrots[/]." in result.stdout
    assert "\x1b" not in result.stdout
    texts = [memory["text"] for memory in read_json("memories", "ada", "--data-dir", shared)["memories"]]
    assert texts[0] == "She eats \x1b[31mcarrots[/]."


def test_a_hostile_id_is_only_an_id(shared: Path) -> None:
    """Whatever an id contains, it names one user."""
    found = read_json("memories", HOSTILE, "--data-dir", shared)["memories"]
    assert [memory["text"] for memory in found] == ["I drink coffee."]


def test_nobody_has_no_memories(shared: Path) -> None:
    """An unknown user is no error."""
    result = invoke("memories", "nobody", "--data-dir", shared)
    assert (result.exit_code, result.stdout) == (0, "This user has no memories.\n")


@pytest.mark.parametrize("key", ["TEMPLATE", "PLACEMENT"])
def test_a_bad_setting_stops_the_start(key: str, tmp_path: Path) -> None:
    """Before anything is opened: exit code 2, and one line."""
    config = tmp_path / "config.yaml"
    config.write_text(f"memory: {{{key.lower()}: in the middle}}")
    result = invoke("serve", "--config", config, "--data-dir", tmp_path / "data")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"memory-proxy: memory.{key.lower()}: 'in the middle': should ")
    assert result.stderr.count("\n") == 1


def test_search_shows_what_would_be_injected(shared: Path) -> None:
    """The memories with scores, best first, and the block within its budget."""
    result = invoke("search", "ada", "Which breed is my dog?", "--data-dir", shared)
    assert result.stdout.index("beagle") < result.stdout.index("lovely")
    assert "<memory>" in result.stdout
    found = read_json("search", "ada", "Which breed is my dog?", "--budget", "100", "--data-dir", shared)
    assert found["status"] == "injected"
    assert 0 < found["tokens"] <= 100
    assert {memory["text"]: memory["score"] for memory in found["memories"]}["My dog Biscuit is a beagle."] > 1
    assert "beagle" in found["block"]


def test_search_may_find_nothing(shared: Path) -> None:
    """No relevant memory is an answer, not an error."""
    result = invoke("search", "bob", "hi", "--data-dir", shared)
    assert result.exit_code == 0
    assert result.stdout.startswith("Nothing would be injected (empty;")
    assert read_json("search", "bob", "hi", "--data-dir", shared)["block"] is None


def test_a_memory_is_written_by_hand(data_dir: Path) -> None:
    """It says as what, and is there; a user may begin so."""
    result = invoke("remember", HOSTILE, "I moved to Bergen.", "--data-dir", data_dir)
    (newest, _) = read_json("memories", HOSTILE, "--data-dir", data_dir)["memories"]
    assert result.stdout == f"{HOSTILE}: remembered, as {newest['id']}\n"
    assert (newest["text"], newest["origin"]) == ("I moved to Bergen.", "hand")
    assert read_json("remember", "new", "I like tea.", "--data-dir", data_dir)["user_id"] == "new"


def test_the_first_memory_makes_the_directory(tmp_path: Path) -> None:
    """As an import does."""
    assert read_json("remember", "ada", "I like tea.", "--data-dir", tmp_path / "data")["text"] == "I like tea."


def test_a_memory_is_corrected(data_dir: Path) -> None:
    """The new text is there instead of the old one; an unknown memory is an error."""
    (memory,) = read_json("memories", "bob", "--data-dir", data_dir)["memories"]
    result = invoke("edit", "bob", memory["id"], "I drink coffee.", "--data-dir", data_dir)
    assert (result.exit_code, result.stdout.startswith("bob: changed, as ")) == (0, True)
    (edited,) = read_json("memories", "bob", "--data-dir", data_dir)["memories"]
    assert (edited["text"], edited["origin"]) == ("I drink coffee.", "hand")
    unknown = invoke("edit", "bob", "nope", "x", "--data-dir", data_dir)
    assert (unknown.exit_code, unknown.stderr) == (1, "memory-proxy: this user has no memory of this id\n")


def test_what_no_longer_holds_is_shown_and_restored(tmp_path: Path) -> None:
    """Only when asked for, with what replaced it and when; restored, it is like any other."""
    memory = {
        "id": "0" * 32,
        "user_id": "ada",
        "kind": "turn",
        "role": "user",
        "text": "I live in Bergen.",
        "created_at": "2024-05-01T10:00:00Z",
        "conversation_id": "c",
        "message_index": 0,
        "superseded_by": "f" * 32,
        "valid_until": "2024-06-01T00:00:00Z",
    }
    source = write_lines(tmp_path / "memories.jsonl", [json.dumps(memory).encode() + b"\n"])
    here = ("--data-dir", tmp_path / "data")
    assert invoke("import", source, *here).exit_code == 0
    assert invoke("memories", "ada", *here).stdout == "This user has no memories.\n"
    shown = invoke("memories", "ada", "--superseded", *here).stdout
    assert "replaced by" in shown
    assert "f" * 32 in shown
    assert "on 2024-06-01 00:00" in shown
    assert read_json("memories", "ada", "--superseded", *here)["memories"] == [memory]
    assert "superseded_by" not in read_json("edit", "ada", "0" * 32, "--restore", *here)
    assert len(read_json("memories", "ada", *here)["memories"]) == 1


@pytest.mark.parametrize(
    "command",
    [("remember", "ada", " \n"), ("remember", "ada", "x" * 100_001), ("edit", "ada", "1", ""), ("edit", "ada", "1")],
)
def test_what_is_no_memory_is_bad_usage(shared: Path, command: tuple[str, ...]) -> None:
    """Exit code 2 and one line, before anything is opened."""
    result = invoke(*command, "--data-dir", shared)
    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (2, "", 1)


def test_one_memory_is_forgotten(data_dir: Path) -> None:
    """Only the one whose id is given; asked for again, it is unknown, which is an error."""
    first, *others = read_json("memories", "ada", "--data-dir", data_dir)["memories"]
    forget = ("forget", "ada", first["id"], "--data-dir", data_dir)
    told, receipt, _ = invoke(*forget).stdout.split("\n")
    assert re.fullmatch(r"ada: 1 memory erased at 20\S+Z", told)
    assert re.fullmatch(r"receipt: [0-9a-f]{64}", receipt)
    assert read_json("memories", "ada", "--data-dir", data_dir)["memories"] == others
    again = invoke(*forget)
    assert (again.exit_code, again.stderr) == (1, "memory-proxy: this user has no memory of this id\n")


def test_a_user_is_forgotten(data_dir: Path) -> None:
    """The receipt counts what was erased; others keep theirs."""
    receipt = read_json("forget", "ada", "--yes", "--data-dir", data_dir)
    assert (receipt["user_id"], receipt["memories"]) == ("ada", 3)
    assert len(bytes.fromhex(receipt["digest"])) == 32
    left = read_json("users", "--data-dir", data_dir)["users"]
    assert {row["user_id"] for row in left} == {"bob", HOSTILE}


def test_a_script_must_mean_it(shared: Path) -> None:
    """Without a terminal to ask on, a whole user is not erased without ``--yes``."""
    result = invoke("forget", "ada", "--data-dir", shared)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "--yes" in result.stderr
    assert len(read_json("memories", "ada", "--data-dir", shared)["memories"]) == 3


@contextmanager
def terminal() -> Iterator[tuple[int, int]]:
    """The two ends of a pseudo-terminal: the person's and the command's."""
    ours, theirs = pty.openpty()
    try:
        yield ours, theirs
    finally:
        os.close(ours)
        os.close(theirs)


@pytest.mark.parametrize(("answer", "code", "left"), [(b"n\n", 1, 3), (b"y\n", 0, 0)])
def test_a_person_is_asked(data_dir: Path, answer: bytes, code: int, left: int) -> None:
    """On a terminal the answer decides."""
    command = [sys.executable, "-m", "proxy", "forget", "ada", "--data-dir", str(data_dir)]
    with terminal() as (ours, theirs):
        os.write(ours, answer)
        done = subprocess.run(
            command,
            stdin=theirs,
            capture_output=True,
            cwd=REPOSITORY,
            env=clean_environment(),
            timeout=WAIT_S,
            check=False,
        )
    assert done.returncode == code
    assert b"Erase everything about ada?" in done.stderr
    assert len(read_json("memories", "ada", "--data-dir", data_dir)["memories"]) == left


def test_a_mistyped_directory_is_not_made(tmp_path: Path) -> None:
    """Looking into a directory that is not there says so, and leaves none behind."""
    result = invoke("users", "--data-dir", tmp_path / "dtaa")
    assert result.exit_code == 1
    assert "no such directory" in result.stderr
    assert not list(tmp_path.iterdir())


def test_a_data_directory_in_use_is_left_alone(shared: Path) -> None:
    """Who has it, and how to ask them, is said in one line."""
    with DataDirLock(shared, Holder(1234, "memory-proxy serve", "http://127.0.0.1:8787")):
        result = invoke("users", "--data-dir", shared)
    assert result.exit_code == 1
    assert result.stderr == (
        f"memory-proxy: {shared} is in use by memory-proxy serve (process 1234); add --server http://127.0.0.1:8787\n"
    )


def test_a_data_directory_that_cannot_be_made_is_told(source: Path) -> None:
    """A file in the way is no traceback."""
    result = invoke("import", source, "--data-dir", source / "data")
    assert result.exit_code == 1
    assert result.stderr == f"memory-proxy: {source / 'data'}: cannot be opened: Not a directory\n"


@pytest.mark.parametrize("user", ["", "x" * 257, "a\nb"])
def test_what_is_no_user_id_is_bad_usage(shared: Path, user: str) -> None:
    """Exit code 2 with the reason."""
    result = invoke("memories", user, "--data-dir", shared)
    assert result.exit_code == 2
    assert result.stderr.startswith("memory-proxy: The user id ")


def test_bad_configuration_names_the_key(shared: Path, tmp_path: Path) -> None:
    """Exit code 2, one line, the key and what was probably meant."""
    config = tmp_path / "config.yaml"
    config.write_text("memory: {budget_token: 5}\n")
    result = invoke("users", "--config", config, "--data-dir", shared)
    assert result.exit_code == 2
    assert result.stderr == "memory-proxy: memory.budget_token: unknown key; did you mean budget_tokens?\n"
