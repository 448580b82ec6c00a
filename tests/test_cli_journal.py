"""``journal``: what waits, what was set aside and why; on a data directory, and on a running proxy."""

import asyncio
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from proxy.cli.journal import format_age
from proxy.journal import JournalReader, JournalWriter
from proxy.models import Exchange, Message
from tests.commands import invoke, read_json
from tests.processes import Proxy

HOSTILE = "[red]x\u202e[/red]"
REASON = "the store refuses it"


def append(data_dir: Path, *users: str) -> None:
    """What each of *users* said, in the journal."""

    async def write() -> None:
        writer = JournalWriter(data_dir)
        writer.start()
        for user in users:
            said = [Message("user", "My dog is called Biscuit."), Message("assistant", "Noted.")]
            await writer.append(Exchange(user, "c1", 0, said, datetime(2024, 5, 1, tzinfo=UTC)))
        await writer.aclose()

    data_dir.mkdir(exist_ok=True)
    asyncio.run(write())


def park(data_dir: Path, *users: str) -> Path:
    """The same, all of it set aside."""
    append(data_dir, *users)
    journal = JournalReader(data_dir)
    journal.park([entry.seq for entry in journal.take(100)], REASON, "entry")
    journal.close()
    return data_dir


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """A data directory whose journal has set two entries aside."""
    return park(tmp_path / "data", "ada", HOSTILE)


def test_what_was_set_aside_is_shown(data_dir: Path) -> None:
    """Number, user, stage, attempts, reason and age, and nothing of what was said."""
    result = invoke("journal", "--data-dir", data_dir)
    rows = [" ".join(line.split()) for line in result.stdout.splitlines()]
    assert rows[0] == "0 waiting, 0 to be looked at for facts, 2 failed"
    assert "number user stage attempts reason age" in rows
    assert any(row.startswith(f"1 ada store 0 {REASON} ") for row in rows)
    assert any(row.startswith(r"2 [red]x\u202e[/red] store ") for row in rows)
    assert "Biscuit" not in result.output


def test_as_json(data_dir: Path) -> None:
    """In the shape of the control plane."""
    page = read_json("journal", "--data-dir", data_dir)
    assert {name: page[name] for name in ("pending", "extracting", "failed", "trouble")} == {
        "pending": 0,
        "extracting": 0,
        "failed": 2,
        "trouble": None,
    }
    assert [entry["user_id"] for entry in page["entries"]] == ["ada", HOSTILE]
    assert page["entries"][0]["created_at"].endswith("Z")


def test_a_limit_says_that_there_is_more(data_dir: Path) -> None:
    """A cut list is no silent one."""
    result = invoke("journal", "--limit", "1", "--data-dir", data_dir)
    assert HOSTILE not in result.stdout
    assert "Only the oldest 1 are shown" in result.stderr


def test_an_empty_journal(tmp_path: Path) -> None:
    """There is no table of nothing."""
    (tmp_path / "data").mkdir()
    result = invoke("journal", "--data-dir", tmp_path / "data")
    assert (result.exit_code, result.stdout) == (0, "0 waiting, 0 to be looked at for facts, 0 failed\n")


def test_what_was_set_aside_is_tried_again(data_dir: Path) -> None:
    """At once, as no server would do it otherwise; what can be stored is."""
    assert invoke("journal", "retry", "--data-dir", data_dir).stdout == "2 entries retried\n"
    assert read_json("journal", "--data-dir", data_dir)["failed"] == 0
    texts = [memory["text"] for memory in read_json("memories", "ada", "--data-dir", data_dir)["memories"]]
    assert "My dog is called Biscuit." in texts


def test_what_was_set_aside_is_dropped(data_dir: Path) -> None:
    """For good, and counted."""
    assert invoke("journal", "drop", "--yes", "--data-dir", data_dir).stdout == "2 entries dropped\n"
    assert read_json("journal", "drop", "--yes", "--data-dir", data_dir) == {"dropped": 0}
    assert read_json("journal", "retry", "--data-dir", data_dir) == {"retried": 0}
    assert read_json("memories", "ada", "--data-dir", data_dir)["memories"] == []


def test_a_script_must_mean_it(data_dir: Path) -> None:
    """Without a terminal to ask on, nothing is dropped without ``--yes``."""
    result = invoke("journal", "drop", "--data-dir", data_dir)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "--yes" in result.stderr
    assert read_json("journal", "--data-dir", data_dir)["failed"] == 2


def test_another_action_is_bad_usage(data_dir: Path) -> None:
    """Exit code 2."""
    assert invoke("journal", "mend", "--data-dir", data_dir).exit_code == 2


def test_check_tells_of_it(data_dir: Path) -> None:
    """As something to look at, which is no failure."""
    (told,) = [one for one in read_checks(data_dir) if one["what"] == "journal"]
    assert (told["state"], told["found"]) == ("note", "writable, 0 waiting, 2 failed")
    assert "journal retry" in told["advice"]


def read_checks(data_dir: Path, *options: str) -> list[dict[str, str]]:
    result = invoke("check", "--json", "--data-dir", data_dir, *options)
    checks: list[dict[str, str]] = json.loads(result.stdout)["checks"]
    return checks


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """A proxy whose journal has set two entries aside."""
    data_dir = park(tmp_path_factory.mktemp("running") / "data", "ada", HOSTILE)
    with Proxy(data_dir, "http://127.0.0.1:9") as proxy:
        proxy.wait_ready()
        yield proxy
        assert proxy.stop() == 0


def test_on_a_running_proxy(running: Proxy) -> None:
    """The same as on the directory: it is ready all the same, tells why, tries again and drops."""
    there = ("--server", running.url)
    page = read_json("journal", *there)
    assert (page["failed"], [entry["reason"] for entry in page["entries"]]) == (2, [REASON, REASON])
    told = [one for one in read_checks(Path("/nowhere"), *there) if one["what"] == "journal"]
    assert [one["state"] for one in told] == ["ok", "note"]
    assert told[1]["found"] == f"2 failed; the oldest: {REASON}"
    assert read_json("journal", "retry", *there) == {"retried": 2}
    assert read_json("journal", "drop", "--yes", *there) == {"dropped": 0}


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (-3, "0 s"),
        (0.4, "0 s"),
        (59.9, "59 s"),
        (60, "1 min"),
        (3661, "1 h 1 min"),
        (86400, "1 d"),
        (90061, "1 d 1 h"),
    ],
)
def test_ages(seconds: float, told: str) -> None:
    """Two units at most; a clock that was set back makes nobody older than new."""
    assert format_age(seconds) == told
