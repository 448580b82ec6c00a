"""``import`` of other programs' files, as a user sees it: into a data directory and to a running proxy."""

import gzip
import json
import random
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from proxy.cli.direct import Direct
from tests.commands import invoke, make_line, read_json, write_lines
from tests.imported import node, request, talk, tree, write, write_archive, write_log
from tests.processes import COMMAND, REPOSITORY, WAIT_S, Proxy, clean_environment

DOG, NICE, BERLIN, LOVELY = "My dog is called Rex.", "A fine name.", "I live in Berlin.", "Lovely."


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A running proxy."""
    with Proxy(tmp_path_factory.mktemp("server") / "data", "http://127.0.0.1:9") as proxy:
        proxy.wait_ready()
        yield proxy.url
        assert proxy.stop() == 0


@pytest.fixture(params=["directory", "server"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, str | Path]:
    """Where memories go: each test has its own users."""
    if request.param == "server":
        return "--server", request.getfixturevalue("server")
    return "--data-dir", tmp_path / "data"


def texts(user: str, place: tuple[str, str | Path], *options: str) -> list[str]:
    found = read_json("memories", user, *options, *place)["memories"]
    return [memory["text"] for memory in reversed(found)]


def make_archive(path: Path) -> Path:
    """An export of ChatGPT's with a branch, a tool and a picture."""
    picture = {"content_type": "image_asset_pointer", "asset_pointer": "file-service://x"}
    first = tree(
        node("root", None),
        node("q1", "root", "user", DOG),
        node("t1", "q1", "tool", "42", content_type="execution_output"),
        node("a1", "t1", "assistant", NICE),
        node("q2", "a1", "user", picture, content_type="multimodal_text"),
        node("q3", "q2", "user", BERLIN, at=1714557700),
        node("q3b", "q2", "user", "I live in Munich."),
        current="q3",
    )
    return write_archive(path, **{"conversations.json": [first, talk("I ski.", "So do I.", name="c-2")]})


def test_an_archive_of_chatgpt(place: tuple[str, str | Path], tmp_path: Path) -> None:
    """What was said is there, with what was left out and why; a second time nothing changes."""
    archive = make_archive(tmp_path / "export.zip")
    for done in ("5 memories stored, 0 already known", "0 memories stored, 5 already known"):
        result = invoke("import", archive, "--user", "gpt", *place)
        assert (result.exit_code, result.stderr) == (0, "")
        assert result.stdout == (
            f"{done}, 0 conversations unreadable\n"
            "skipped: 1 message of abandoned branches, 1 message of tools, 1 message without text, "
            "1 message of the system\n"
        )
    assert sorted(texts("gpt", place)) == sorted([DOG, NICE, BERLIN, "I ski.", "So do I."])


def test_memories_of_mem0(place: tuple[str, str | Path], tmp_path: Path) -> None:
    """They are facts, and stand in blocks like those of our own."""
    memory = {"id": "m-1", "memory": "Is allergic to peanuts", "user_id": "mem", "created_at": "2024-05-01T10:00:00Z"}
    path = write(tmp_path / "mem0.json", {"results": [memory, {**memory, "id": "m-2", "memory": "Plays the oboe"}]})
    for done in ("2 memories stored, 0 already known", "0 memories stored, 2 already known"):
        assert invoke("import", path, *place).stdout == f"{done}, 0 memories unreadable\n"
    found = read_json("search", "mem", "Can you suggest a snack?", *place)
    assert {(one["kind"], one["text"]) for one in found["memories"]} == {
        ("fact", "Is allergic to peanuts"),
        ("fact", "Plays the oboe"),
    }


def test_a_log_that_grows(place: tuple[str, str | Path], tmp_path: Path) -> None:
    """Nothing comes twice, neither within a log nor with the next one; what was answered anew is superseded."""
    lines = [
        request(DOG, answer=NICE, user="log", created_at="2024-05-01T10:00:00Z"),
        request(DOG, NICE, BERLIN, answer="Oh.", user="log", created_at="2024-05-01T10:01:00Z"),
        request(DOG, NICE, BERLIN, answer=LOVELY, user="log", created_at="2024-05-01T10:02:00Z"),
        request(DOG, NICE, BERLIN, LOVELY, "I ski.", answer="So do I.", user="log", created_at="2024-05-01T10:03:00Z"),
    ]
    path = tmp_path / "log.jsonl"
    write_log(path, lines[:3])
    assert invoke("import", path, *place).stdout.startswith("5 memories stored, 0 already known")
    write_log(path, lines)
    assert invoke("import", path, *place).stdout.startswith("2 memories stored, 5 already known")
    assert texts("log", place) == [DOG, NICE, BERLIN, LOVELY, "I ski.", "So do I."]
    assert "Oh." in texts("log", place, "--superseded")


def test_a_chat_goes_on_from_its_log(server: str, tmp_path: Path) -> None:
    """A conversation that was imported and one that is held are the same: nothing is stored twice."""
    path = write_log(tmp_path / "log.jsonl", [request(DOG, answer=NICE, user="live")])
    assert invoke("import", path, "--server", server).exit_code == 0
    (question, answer) = read_json("memories", "live", "--server", server)["memories"][::-1]
    line = json.dumps(request(DOG, NICE, BERLIN, answer=LOVELY, user="live"))
    write_lines(path, [line.encode()])
    assert invoke("import", path, "--server", server).stdout.startswith("2 memories stored, 2 already known")
    found = read_json("memories", "live", "--server", server)["memories"]
    assert {memory["conversation_id"] for memory in found} == {question["conversation_id"]}
    assert answer["conversation_id"] == question["conversation_id"]


def test_a_report_for_programs(tmp_path: Path) -> None:
    """The same in JSON, with each record that could not be read."""
    path = tmp_path / "conversations.json"
    path.write_text(f'[{json.dumps(talk(DOG))}, {{"mapping": 1}}]')
    result = invoke("import", path, "--user", "ada", "--json", "--data-dir", tmp_path / "data")
    assert result.exit_code == 1
    reason = "Expected `object`, got `int` - at `$.mapping`"
    assert json.loads(result.stdout) == {
        "format": "chatgpt",
        "stored": 1,
        "known": 0,
        "unreadable": 1,
        "evicted": 0,
        "skipped": {"system": 1},
        "errors": [{"place": "conversation 2", "reason": reason}],
    }
    assert result.stderr == f"memory-proxy: {path}, conversation 2: {reason}\n"


def test_a_rehearsal_stores_nothing(tmp_path: Path) -> None:
    """It reads all of the file, and makes no data directory."""
    path = write_lines(tmp_path / "x.jsonl", [make_line("ada", DOG, NICE), b"no\n"])
    result = invoke("import", path, "--dry-run", "--data-dir", tmp_path / "data")
    assert (result.exit_code, result.stdout) == (1, "2 memories would be stored, 1 line unreadable\n")
    assert "line 2: " in result.stderr
    assert not (tmp_path / "data").exists()


def test_what_our_own_lines_have_and_nobody_said(tmp_path: Path) -> None:
    """Is counted, too."""
    line = json.loads(make_line("ada", DOG))
    roles = ("system", "developer", "tool", "function", "user")
    line["messages"] += [{"role": role, "content": " "} for role in roles]
    path = write_lines(tmp_path / "x.jsonl", [json.dumps(line).encode()])
    assert invoke("import", path, "--data-dir", tmp_path / "data").stdout == (
        "1 memory stored, 0 already known, 0 lines unreadable\n"
        "skipped: 2 messages of the system, 2 messages of tools, 1 message without text\n"
    )


def test_what_retention_removes_is_told(tmp_path: Path) -> None:
    """An import of more than is kept of a user does not pass for one of which all is there."""
    path = write_lines(tmp_path / "x.jsonl", [make_line("full", *(f"Remark {n} of many." for n in range(300)))])
    result = invoke("import", path, "--data-dir", tmp_path, MEMORY_PROXY_RETENTION__MAX_MEMORIES_PER_USER="100")
    assert result.stdout == (
        "300 memories stored, 0 already known, 0 lines unreadable\n"
        "removed again: 201 memories beyond what retention keeps of a user\n"
    )


def write_bytes(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def make_strange(path: Path, kind: str) -> Path:
    archive = make_archive(path).read_bytes()
    if kind == "empty archive":
        with zipfile.ZipFile(path, "w") as empty:
            empty.writestr("user.json", "{}")
        return path
    lines = make_line("ada", DOG)
    return write_bytes(
        path,
        {
            "garbage": random.Random(1).randbytes(5000),
            "cut archive": archive[:-30],
            "damaged archive": archive[:60] + b"\x00" * 30 + archive[90:],
            "utf-16": lines.decode().encode("utf-16"),
            "bzip2": b"BZh91AY&SY",
            "cut gzip": gzip.compress(lines)[:-9],
            "cut array": json.dumps([talk(DOG)]).encode()[:-9],
            "claude": json.dumps([{"uuid": "u", "name": "n", "chat_messages": []}]).encode(),
        }[kind],
    )


@pytest.mark.parametrize(
    ("kind", "code", "told"),
    [
        ("garbage", 1, "FILE: is no text; import reads JSON Lines, and exports of ChatGPT and Mem0"),
        ("cut archive", 1, "FILE: is a damaged archive (File is not a zip file); copy or download it again"),
        ("damaged archive", 1, "FILE: cannot be read on from line 1: "),
        ("empty archive", 1, "FILE: is an archive without conversations.json, which ChatGPT's export has"),
        ("utf-16", 1, "FILE: is UTF-16; save it as UTF-8"),
        ("bzip2", 1, "FILE: is packed with bzip2; unpack it first"),
        ("cut gzip", 1, "FILE: cannot be read on from line 1: "),
        ("cut array", 1, "FILE: cannot be read on from line 1: it is cut short"),
        ("claude", 2, "FILE looks like an export of Claude's, which import does not read"),
    ],
)
def test_a_file_that_is_none_is_told(tmp_path: Path, kind: str, code: int, told: str) -> None:
    """In one line that says what to do, and without making a data directory."""
    path = make_strange(tmp_path / "file", kind)
    result = invoke("import", path, "--user", "ada", "--data-dir", tmp_path / "data")
    assert result.exit_code == code
    assert result.stderr.startswith(f"memory-proxy: {told}".replace("FILE", str(path)))
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("content", "options", "told"),
    [
        ([talk(DOG)], [], "--user: FILE is an export of ChatGPT's and does not say whose it is; add --user ID"),
        (
            [talk(DOG)],
            ["--format", "mem0"],
            "--format: 'mem0': FILE looks like an export of ChatGPT's; say chatgpt, or leave it out",
        ),
        (
            [talk(DOG)],
            ["--format", "native"],
            "--format: 'native': FILE looks like an export of ChatGPT's; say chatgpt, or leave it out",
        ),
        (
            [{"a": 1}],
            ["--format", "chatgpt"],
            "--format: 'chatgpt': nothing that FILE begins with looks like an export of ChatGPT's",
        ),
        (
            json.loads(make_line("ada", DOG)),
            ["--user", "bob"],
            "--user: FILE says itself whose its memories are; leave it out",
        ),
        ([{"a": 1}], ["--user", "bob"], "--user: nothing that FILE begins with looks like anything that import reads"),
        ([talk(DOG)], ["--user", "a\nb"], "The user id"),
        ({"messages": []}, [], "--user: FILE is a log of requests and does not say whose it is; add --user ID"),
    ],
    ids=range(8),
)
def test_bad_usage_is_told(tmp_path: Path, content: Any, options: list[str], told: str) -> None:
    """With exit code 2, before anything is stored."""
    path = write(tmp_path / "file.json", content)
    result = invoke("import", path, *options, "--data-dir", tmp_path / "data")
    assert result.exit_code == 2
    assert result.stderr.startswith(f"memory-proxy: {told}".replace("FILE", str(path)))
    assert not (tmp_path / "data").exists()


def test_a_directory_is_told(tmp_path: Path) -> None:
    """As a mistake that is easily made with an export of many files."""
    result = invoke("import", tmp_path, "--data-dir", tmp_path / "data")
    assert result.exit_code == 1
    assert result.stderr == f"memory-proxy: {tmp_path}: cannot be read: it is a directory; name a file in it\n"


def test_an_archive_in_a_pipe_is_told(tmp_path: Path) -> None:
    """A pipe has no end to begin with; as standard input the file itself is read."""
    archive = make_archive(tmp_path / "export.zip")
    command = [*COMMAND, "import", "-", "--user", "ada", "--data-dir", str(tmp_path / "data")]
    options: dict[str, Any] = {"capture_output": True, "cwd": REPOSITORY, "env": clean_environment(), "timeout": WAIT_S}
    piped = subprocess.run(command, input=archive.read_bytes(), check=False, **options)
    assert piped.returncode == 1
    assert piped.stderr == (
        b"memory-proxy: standard input: is an archive, which cannot be read from a pipe; save it, and import the file\n"
    )
    with archive.open("rb") as file:
        done = subprocess.run(command, stdin=file, check=False, **options)
    assert (done.returncode, done.stdout[:17]) == (0, b"5 memories stored")


def test_what_came_before_damage_is_kept(tmp_path: Path) -> None:
    """What could be read is stored and told; then where it ended."""
    noise = random.Random(2)
    lines = [make_line("ada", f"Number {number}: {noise.randbytes(200).hex()}") for number in range(2000)]
    path = write_bytes(tmp_path / "x.jsonl.gz", gzip.compress(b"".join(lines))[: -(100 << 10)])
    result = invoke("import", path, "--dry-run", "--data-dir", tmp_path / "data")
    assert result.exit_code == 1
    count = int(result.stdout.split()[0].replace(",", ""))
    assert 1000 < count < 2000
    assert result.stderr.startswith(f"memory-proxy: {path}: cannot be read on from line {count + 1}: ")


def test_an_interruption_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what to do: the same again."""

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Direct, "take_in", interrupt)
    path = write_lines(tmp_path / "x.jsonl", [make_line("ada", DOG)])
    result = invoke("import", path, "--data-dir", tmp_path / "data")
    assert result.exit_code == 130
    assert result.stderr == (
        "memory-proxy: interrupted: 0 memories stored, 0 already known so far; the same command goes on from there\n"
    )


def test_names_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that nobody can read does not fill the screen; all its lines are counted."""
    monkeypatch.setattr("proxy.cli.importing.MOST_NAMED", 3)
    path = write_lines(tmp_path / "x.csv", [b"a,b,c\n"] * 50)
    result = invoke("import", path, "--data-dir", tmp_path / "data")
    assert result.stdout == "0 memories stored, 0 already known, 50 lines unreadable\n"
    assert result.stderr.splitlines()[3:] == [f"memory-proxy: {path}: there are more, which are counted"]
