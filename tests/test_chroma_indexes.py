"""Chroma's indexes of vectors, which nobody asks anything, neither end the process nor bar the way to the memories."""

import json
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from uuid import uuid4

import pytest

from proxy.errors import StoreError
from proxy.ledger import FileLedger
from proxy.stores.embedded import EmbeddedChroma
from proxy.stores.indexes import remove_indexes
from tests.churning import ENOUGH, USER, make_record
from tests.processes import REPOSITORY, clean_environment

# What becomes of which of its files when a process is killed meanwhile, or its disk is full.
DAMAGES = [
    ("index_metadata.pickle", "empty"),
    ("index_metadata.pickle", "nothing"),
    ("header.bin", "empty"),
    ("data_level0.bin", "half"),
    ("link_lists.bin", "half"),
    ("link_lists.bin", "garbage"),
]


@contextmanager
def opened(folder: Path) -> Iterator[EmbeddedChroma]:
    with closing(FileLedger(folder)) as ledger, closing(EmbeddedChroma(folder, ledger)) as store:
        yield store


def list_texts(store: EmbeddedChroma) -> set[str]:
    return {record.memory.text for record in store.fetch(USER, store.list_rows(USER))}


def find_indexes(folder: Path) -> list[Path]:
    return [path.parent for path in (folder / "chroma").glob("*/index_metadata.pickle")]


@pytest.mark.parametrize("seed", range(2))
def test_memories_that_come_and_go_end_no_process(tmp_path: Path, seed: int) -> None:
    """With points of different places in the index this ended with a segmentation fault before half of it was done."""
    done = subprocess.run(
        [sys.executable, "-P", "-m", "tests.churning", str(tmp_path), str(seed)],
        env=clean_environment(),
        cwd=REPOSITORY,
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    with opened(tmp_path) as store:
        assert sorted(list_texts(store)) == json.loads(done.stdout)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, set[str]]:
    """A store of which an index is on disk, and what is in it."""
    folder = tmp_path_factory.mktemp("saved")
    texts = {f"m{number}" for number in range(ENOUGH)}
    with opened(folder) as store:
        store.put({USER: [make_record(text) for text in texts]})
    assert find_indexes(folder)
    return folder, texts


@pytest.mark.parametrize(("name", "left"), DAMAGES)
def test_a_damaged_index_bars_no_memory(saved: tuple[Path, set[str]], tmp_path: Path, name: str, left: str) -> None:
    """Without new ones, most of these bar the way to all that is in the collection, and some end the process."""
    folder, texts = saved
    copy = tmp_path / "copy"
    subprocess.run(["cp", "-r", str(folder), str(copy)], check=True)
    for index in find_indexes(copy):
        path = index / name
        raw = path.read_bytes()
        damaged = {"nothing": None, "empty": b"", "half": raw[: len(raw) // 2], "garbage": b"\xff" * len(raw)}[left]
        path.unlink() if damaged is None else path.write_bytes(damaged)
    for _ in range(2):
        with opened(copy) as store:
            assert list_texts(store) == texts
            store.put({USER: [make_record("one more"), make_record("m0")]})
            assert store.delete(USER, ["m1", "one more"]) == (2 if "m1" in texts else 1)
            texts = texts - {"m1"}
            assert list_texts(store) == texts
    assert saved[1] - texts == {"m1"}


def test_only_indexes_are_removed(saved: tuple[Path, set[str]], tmp_path: Path) -> None:
    """Other folders are not ours, and what Chroma knows of its metadata it still needs."""
    folder = tmp_path / "chroma"
    subprocess.run(["cp", "-r", str(saved[0] / "chroma"), str(folder)], check=True)
    (folder / "notes").mkdir()
    (folder / "notes" / "header.bin").write_bytes(b"mine")
    remove_indexes(folder)
    assert {path.name for path in folder.iterdir()} == {"notes", "chroma.sqlite3"}
    assert (folder / "notes" / "header.bin").read_bytes() == b"mine"
    with closing(sqlite3.connect(folder / "chroma.sqlite3")) as connection:
        scopes = connection.execute("SELECT DISTINCT scope FROM segments JOIN max_seq_id ON segment_id = id").fetchall()
    assert scopes == [("METADATA",)]


def test_a_folder_without_chroma_in_it_is_left_alone(tmp_path: Path) -> None:
    remove_indexes(tmp_path / "missing")
    remove_indexes(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_first_start_that_was_killed_is_no_error(tmp_path: Path) -> None:
    """Its file is there, without tables or without any byte; and so may an index be."""
    (tmp_path / str(uuid4())).mkdir()
    remove_indexes(tmp_path)
    (tmp_path / str(uuid4())).mkdir()
    (tmp_path / "chroma.sqlite3").touch()
    remove_indexes(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["chroma.sqlite3"]


def test_a_file_that_cannot_be_read_is_a_store_error(tmp_path: Path) -> None:
    index = tmp_path / str(uuid4())
    index.mkdir()
    (tmp_path / "chroma.sqlite3").write_bytes(b"no database" * 100)
    with pytest.raises(StoreError, match="chroma's file: SQLITE_NOTADB"):
        remove_indexes(tmp_path)
    assert index.exists()
