"""Data directories of other versions: an older one is copied and brought up to date, a newer one is left alone."""

import asyncio
import json
import os
import shutil
import signal
import sqlite3
import stat
import time
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from proxy import config, versions
from proxy.config import Settings
from proxy.errors import StoreError
from proxy.journal import JournalWriter
from proxy.keeper import frames, migration, supervise, wire
from proxy.keeper.client import KeeperClient
from proxy.keeper.link import KeeperLink
from proxy.keeper.lock import Holder
from proxy.keeper.supervise import Supervisor
from proxy.keeper.vault import open_vault
from proxy.ledger import FileLedger, open_ledger
from proxy.models import Exchange, Message, Scope
from proxy.observe.metrics import Metrics
from proxy.tasks import Tasks
from tests.commands import invoke, make_line, read_json, write_lines
from tests.processes import Chat, Proxy, running_upstream

ADA = Scope("ada")
HOLDER = Holder(1, "a test")
AT = datetime(2026, 1, 2, tzinfo=UTC)
SAID = "My parrot is called Polly."


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return config.load(flags={"data_dir": tmp_path / "data"}, environ={})


async def remember(settings: Settings, *texts: str) -> None:
    async with open_vault(settings, HOLDER) as vault:
        for text in texts:
            await vault.add(ADA, text)


async def read(settings: Settings) -> set[str]:
    async with open_vault(settings, HOLDER) as vault:
        return {memory.text for memory in (await vault.load(ADA)).memories}


def make_old(settings: Settings) -> None:
    """As a version before versions would have left it."""
    (settings.data_dir / versions.FILE).unlink()
    with closing(sqlite3.connect(settings.data_dir / "ledger.sqlite3")) as connection:
        connection.executescript("DROP TABLE embedding; PRAGMA user_version = 1")


@pytest.fixture
async def old(settings: Settings) -> Settings:
    """A directory of version 0 in which something is stored, and something waits in the journal."""
    await remember(settings, SAID, "I like tea.")
    make_old(settings)
    writer = JournalWriter(settings.data_dir)
    writer.start()
    await writer.append(Exchange("ada", "c", 0, [Message("user", "I also like coffee.")], AT))
    await writer.aclose()
    return settings


def copies(settings: Settings) -> list[Path]:
    folder = settings.data_dir / migration.FOLDER
    return sorted(folder.iterdir()) if folder.exists() else []


async def test_a_new_directory_has_the_present_version(settings: Settings) -> None:
    """And no copy of anything; who may read it is nobody else."""
    await remember(settings, SAID)
    written = json.loads((settings.data_dir / versions.FILE).read_bytes())
    assert written["schema"] == versions.SCHEMA
    assert written["app"]
    assert stat.S_IMODE((settings.data_dir / versions.FILE).stat().st_mode) == 0o600
    assert copies(settings) == []
    assert not versions.is_behind(settings.data_dir)


async def test_an_older_one_is_copied_and_migrated(old: Settings) -> None:
    """The copy is what there was, whole and readable; afterwards the directory is like a new one."""
    assert versions.is_behind(old.data_dir)
    assert await read(old) == {SAID, "I like tea."}
    assert versions.read_version(old.data_dir) == versions.SCHEMA
    with closing(FileLedger(old.data_dir)) as ledger:
        noted = ledger.read_embedding()
    assert noted is not None
    assert noted.serving.dim == 256
    (copy,) = copies(old)
    assert copy.name.startswith("0-")
    assert {path.name for path in copy.iterdir()} == {"ledger.sqlite3", "journal.sqlite", "chroma.sqlite3"}
    assert {stat.S_IMODE(path.stat().st_mode) for path in (copy, copy.parent)} == {0o700}
    assert {stat.S_IMODE(path.stat().st_mode) for path in copy.iterdir()} == {0o600}
    # A second start changes nothing.
    assert await read(old) == {SAID, "I like tea."}
    assert copies(old) == [copy]
    # Put back, it is the directory of before.
    restored = config.load(flags={"data_dir": old.data_dir.parent / "restored"}, environ={})
    (restored.data_dir / "chroma").mkdir(parents=True)
    for name in ("ledger.sqlite3", "journal.sqlite", "chroma/chroma.sqlite3"):
        shutil.copy(copy / Path(name).name, restored.data_dir / name)
    with closing(sqlite3.connect(restored.data_dir / "ledger.sqlite3")) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (1,)
    with closing(sqlite3.connect(restored.data_dir / "journal.sqlite")) as connection:
        assert connection.execute("SELECT count(*) FROM entries").fetchone() == (1,)
    assert await read(restored) == {SAID, "I like tea."}


async def test_whoever_erases_erases_the_copy(old: Settings) -> None:
    """One memory, or a user: what was copied is overwritten and gone, whoever it was of."""
    await read(old)
    (copy,) = copies(old)
    kept = os.open(copy / "ledger.sqlite3", os.O_RDONLY)  # as somebody who looks at the disk
    async with open_vault(old, HOLDER) as vault:
        receipt = await vault.erase(Scope("somebody else"), None)
    assert receipt.memories == 0
    assert copies(old) == []
    size = os.fstat(kept).st_size
    assert size > 0
    assert os.read(kept, size) == bytes(size)
    os.close(kept)


async def test_a_copy_that_cannot_be_deleted(old: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then nobody is told that something was erased; nor is it."""
    await read(old)
    rmtree = shutil.rmtree

    def fail(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    async with open_vault(old, HOLDER) as vault:
        monkeypatch.setattr(shutil, "rmtree", fail)
        with pytest.raises(StoreError, match=r"backups/0-.*: Permission denied"):
            await vault.erase(ADA, None)
        assert len((await vault.load(ADA)).memories) == 2
        monkeypatch.setattr(shutil, "rmtree", rmtree)
        assert (await vault.erase(ADA, None)).memories == 2
    assert copies(old) == []


async def test_a_copy_is_kept_for_a_week(old: Settings) -> None:
    """And then deleted by the next start, or by the next time that retention is seen to."""
    await read(old)
    (copy,) = copies(old)
    fresh = time.time() - migration.KEPT_S + 100
    os.utime(copy, (fresh, fresh))
    async with open_vault(old, HOLDER) as vault:
        await vault.apply_retention()
        assert copies(old) == [copy]
        os.utime(copy, (fresh - 200, fresh - 200))
        await vault.apply_retention()
        assert copies(old) == []
    (copy.parent / "0-old").mkdir()
    os.utime(copy.parent / "0-old", (0, 0))
    await read(old)
    assert copies(old) == []


async def test_no_room_for_a_copy(old: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told before anything is changed, and how much is missing; check says so, too."""
    before = {path: path.read_bytes() for path in old.data_dir.rglob("*.sqlite*")}
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=5 << 20))
    with pytest.raises(StoreError, match=r"it is copied there; that takes \d+ MB, and 5 are free: make room"):
        await read(old)
    result = await asyncio.to_thread(invoke, "check", "--json", "--data-dir", old.data_dir)
    (finding,) = [found for found in json.loads(result.stdout)["checks"] if found["what"] == "data directory"]
    assert finding["state"] == "failed"
    assert finding["found"].endswith("MB have to be free, and 5 are")
    assert {path: path.read_bytes() for path in before} == before
    assert [path.name for path in copies(old)] == []
    monkeypatch.undo()
    assert await read(old) == {SAID, "I like tea."}


async def test_a_disk_that_fills_up_meanwhile(old: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a copy is none: the next start makes a whole one."""
    fsync, calls = os.fsync, iter(range(2))

    def fail(fd: int) -> None:
        if next(calls, None) is None:
            raise OSError(28, "No space left on device")
        fsync(fd)

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(StoreError, match="No space left on device"):
        await asyncio.to_thread(migration.prepare, old)
    monkeypatch.undo()
    assert await read(old) == {SAID, "I like tea."}
    (copy,) = copies(old)
    assert len(list(copy.iterdir())) == 3


async def test_a_damaged_journal_is_copied_as_it_is(old: Settings) -> None:
    """Whoever opens it mends it; a migration does not stand in the way."""
    journal = old.data_dir / "journal.sqlite"
    journal.write_bytes(b"rubbish" * 1000)
    assert await read(old) == {SAID, "I like tea."}
    (copy,) = copies(old)
    assert (copy / "journal.sqlite").read_bytes() == b"rubbish" * 1000


def migrate_and_die(settings: Settings, at: int) -> bool:
    """Migrates in a process of its own, which is killed before the call number *at* that makes something last."""
    pid = os.fork()
    if not pid:
        numbers = iter(range(1, at))

        def dying(work: Callable[..., Any]) -> Callable[..., Any]:
            def die_or_work(*arguments: Any, **named: Any) -> Any:
                if next(numbers, None) is None:
                    os.kill(os.getpid(), signal.SIGKILL)
                return work(*arguments, **named)

            return die_or_work

        os.fsync = dying(os.fsync)
        os.rename = dying(os.rename)
        os.replace = dying(os.replace)
        shutil.copyfile = dying(shutil.copyfile)
        migration.prepare(settings)
        with closing(FileLedger(settings.data_dir)) as ledger:
            migration.migrate(settings, ledger, Unread())  # type: ignore[arg-type]  # no step asks for more
        os._exit(0)
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status) == -signal.SIGKILL


class Unread:
    """A store in which nobody looks for anything."""

    def first_users(self, _: int) -> list[Any]:
        return []


def test_kills_at_any_moment_of_a_migration(tmp_path: Path) -> None:
    """Whatever is left, the next start brings to its end, with one copy that is whole and of before."""
    moments = 0
    for at in range(1, 100):
        settings = config.load(flags={"data_dir": tmp_path / str(at)}, environ={})
        settings.data_dir.mkdir()
        (settings.data_dir / "chroma").mkdir()
        with closing(FileLedger(settings.data_dir)) as ledger:
            made = ledger.make_keys({"a" * 32: ["row"]})
            ledger.settle_keys(made)
        with closing(sqlite3.connect(settings.data_dir / "chroma" / "chroma.sqlite3")) as connection:
            connection.execute("CREATE TABLE said (what)")
        with closing(sqlite3.connect(settings.data_dir / "ledger.sqlite3")) as connection:
            connection.executescript("DROP TABLE embedding; PRAGMA user_version = 1")
        killed = migrate_and_die(settings, at)
        moments += killed
        if killed:
            assert not migrate_and_die(settings, 1000)
        assert versions.read_version(settings.data_dir) == versions.SCHEMA
        (copy,) = copies(settings)
        with closing(sqlite3.connect(copy / "ledger.sqlite3")) as connection:
            assert connection.execute("PRAGMA user_version").fetchone() == (1,)
        with closing(FileLedger(settings.data_dir)) as ledger:
            assert ledger.read_keys("a" * 32) == {"row": (made["a" * 32]["row"],)}
        if not killed:
            break
    assert moments >= 7


def write_newer(data_dir: Path) -> None:
    data_dir.mkdir(parents=True, exist_ok=True)
    version = {"schema": versions.SCHEMA + 1, "app": "9.9.9", "since": "2030-01-01T00:00:00Z"}
    (data_dir / versions.FILE).write_text(json.dumps(version))


def test_a_newer_directory_is_refused(tmp_path: Path) -> None:
    """By commands, by check and by the server, in one line that says what to do, and nothing in it is touched."""
    write_newer(tmp_path)
    line = f"memory-proxy: {tmp_path}: memory-proxy 9.9.9 brought it up to date, whose data (version 2) "
    for command in (("users",), ("search", "ada", "parrot"), ("reembed",), ("serve", "--port", "0")):
        refused = invoke(*command, "--data-dir", tmp_path)
        assert (refused.exit_code, refused.stdout, refused.stderr.count("\n")) == (1, "", 1), command
        assert refused.stderr.startswith(line)
        assert "install that version again, or restore a backup" in refused.stderr
    checked = invoke("check", "--json", "--data-dir", tmp_path)
    (finding,) = [found for found in json.loads(checked.stdout)["checks"] if found["what"] == "data directory"]
    assert (finding["state"], checked.exit_code) == ("failed", 1)
    assert {path.name for path in tmp_path.iterdir()} == {versions.FILE, "keeper.lock"}


@pytest.mark.parametrize("content", [b"", b"{}", b"rubbish", b'{"schema": "x"}'])
def test_a_version_that_cannot_be_read(tmp_path: Path, content: bytes) -> None:
    """Is not taken for any."""
    (tmp_path / versions.FILE).write_bytes(content)
    refused = invoke("users", "--data-dir", tmp_path)
    assert (refused.exit_code, refused.stderr.count("\n")) == (1, 1)
    assert "says nothing that is known here" in refused.stderr


async def test_check_leaves_an_older_directory_alone(old: Settings) -> None:
    """It says what the next start will do."""
    before = {path: path.read_bytes() for path in old.data_dir.rglob("*.sqlite*")}
    result = await asyncio.to_thread(invoke, "check", "--json", "--data-dir", old.data_dir)
    (finding,) = [found for found in json.loads(result.stdout)["checks"] if found["what"] == "data directory"]
    assert finding["state"] == "note"
    assert finding["found"].startswith("version 0; the next start makes it version 1, after it has copied it (")
    assert {path: path.read_bytes() for path in before} == before


def test_check_of_a_new_directory_makes_a_new_one(tmp_path: Path) -> None:
    """That is of the present version, and not taken for an older one by what comes next."""
    invoke("check", "--data-dir", tmp_path / "data")
    assert read_json("users", "--data-dir", tmp_path / "data")["users"] == []
    assert not (tmp_path / "data" / migration.FOLDER).exists()


async def test_a_keeper_that_migrates_is_waited_for(old: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long it takes: killed, it would have to begin anew."""
    monkeypatch.setattr(supervise, "START_S", 0.0)
    answers = iter([True] * 2 + [False])
    monkeypatch.setattr(supervise, "is_behind", lambda _: next(answers, True))
    tasks, metrics = Tasks(), Metrics()
    client = KeeperClient(frames.socket_path(old.data_dir), tasks)
    tasks.spawn(Supervisor(old, KeeperLink(client, metrics), metrics).run(), name="supervise")
    try:
        async with asyncio.timeout(30):
            await client.connected.wait()
            listed = await client.call(wire.ListMemories(ADA, 9, None, include_superseded=False))
    finally:
        await tasks.cancel()
    assert SAID in {memory.text for memory in listed.memories}
    # It was given up once, when it was not migrating any more.
    assert metrics.registry.get_sample_value("memory_proxy_keeper_restarts_total") == 1


def test_a_server_migrates(tmp_path: Path) -> None:
    """Its log says so; chats are served, and get what was remembered before."""
    source = write_lines(tmp_path / "source.jsonl", [make_line("ada", SAID)])
    assert invoke("import", source, "--data-dir", tmp_path / "data").exit_code == 0
    settings = config.load(flags={"data_dir": tmp_path / "data"}, environ={})
    make_old(settings)
    with running_upstream() as upstream, Proxy(tmp_path / "data", upstream.url) as proxy:
        assert proxy.log.wait_for("data_directory_backed_up")["folder"] == str(copies(settings)[0])
        assert proxy.log.wait_for("migrated")["now"] == versions.SCHEMA
        proxy.wait_ready()
        chat = Chat(proxy.url, "ada")
        chat.say("What is the name of my parrot?")
        assert chat.headers["x-memory-status"] == "injected"
        assert proxy.stop() == 0


async def test_what_replicas_share_is_migrated_without_a_copy(tmp_path: Path, redis_url: str) -> None:
    """By whoever comes first, in the ledger itself; an embedded store beside it has its copy all the same."""
    flags: dict[str, object] = {"data_dir": tmp_path, "journal": {"url": redis_url}}
    settings = config.load(flags=flags, environ={})
    await remember(settings, SAID)
    with closing(open_ledger(settings)) as ledger:
        assert ledger.read_version() == 0
    async with open_vault(settings, HOLDER) as vault:
        await vault.prepare()
        assert vault.ledger.read_version() == versions.SCHEMA
        noted = vault.ledger.read_embedding()
        assert noted is not None
        assert noted.serving.dim == 256
    assert copies(settings) == []
