"""One process a data directory."""

import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from proxy.errors import LockedError
from proxy.keeper.lock import DataDirLock, Holder

ME = Holder(os.getpid(), "a test")


def test_the_second_is_told_who_holds_it(tmp_path: Path) -> None:
    """The message names directory, holder, process, and where to ask instead."""
    with (
        DataDirLock(tmp_path, Holder(42, "memory-proxy serve", "http://127.0.0.1:1")),
        pytest.raises(LockedError) as told,
        DataDirLock(tmp_path, ME),
    ):
        pass
    expected = "is in use by memory-proxy serve (process 42); add --server http://127.0.0.1:1"
    assert str(told.value) == f"{tmp_path} {expected}"


def test_a_holder_without_an_address(tmp_path: Path) -> None:
    """A command that serves nobody is named without an address."""
    with DataDirLock(tmp_path, ME), pytest.raises(LockedError, match=r"by a test \(process \d+\)$"):
        DataDirLock(tmp_path, ME).__enter__()


@pytest.mark.parametrize("content", [b"", b"{", b'{"pid": "x"}', b"\xff\xfe"])
def test_an_unreadable_lock_file_still_locks(tmp_path: Path, content: bytes) -> None:
    """Where the file does not tell who it is, the message says as much, and no more."""
    with DataDirLock(tmp_path, ME):
        (tmp_path / "keeper.lock").write_bytes(content)
        with pytest.raises(LockedError, match="is in use by another process"):
            DataDirLock(tmp_path, ME).__enter__()


def test_a_lock_that_was_let_go_is_taken_again(tmp_path: Path) -> None:
    """A shorter name leaves nothing of a longer one before it in the file."""
    with DataDirLock(tmp_path, Holder(1, "somebody with a long name", "http://127.0.0.1:8787")):
        pass
    with DataDirLock(tmp_path, ME), pytest.raises(LockedError, match="by a test"):
        DataDirLock(tmp_path, ME).__enter__()


def test_nobody_else_may_read_it(tmp_path: Path) -> None:
    """The directory is made for its owner only, and so is the file."""
    folder = tmp_path / "new" / "data"
    with DataDirLock(folder, ME):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert stat.S_IMODE((folder / "keeper.lock").stat().st_mode) == 0o600


def test_a_killed_holder_lets_go(tmp_path: Path) -> None:
    """The system frees the lock however the process ends; a patient successor waits for that."""
    code = (
        "import sys; from pathlib import Path; from proxy.keeper.lock import DataDirLock, Holder;"
        "DataDirLock(Path(sys.argv[1]), Holder(1, 'a child')).__enter__(); print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "held\n"
        with pytest.raises(LockedError, match="by a child"):
            DataDirLock(tmp_path, ME, patience_s=0.01).__enter__()
        killer = threading.Timer(0.05, child.kill)
        killer.start()
        with DataDirLock(tmp_path, ME, patience_s=20):
            killer.join()
