"""Several processes append to one journal: all of it is there, and nobody is turned away because others write."""

import asyncio
import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, Final

import pytest

from proxy.journal import JournalReader, JournalWriter
from proxy.journal.database import Database
from tests.test_journal import ROOT, exchange, write
from tests.test_journal_failures import Lock

WRITERS: Final = 4
EACH: Final = 150
# Appends all it has to, eight at a time, and tells what failed.
SCRIPT: Final = """
import asyncio, json, sys
from pathlib import Path
from proxy.errors import JournalError
from proxy.journal import JournalWriter
from tests.test_journal import exchange

async def main(directory, user, each):
    writer = JournalWriter(directory)
    writer.start()
    left = iter(range(each))
    failed = []

    async def work():
        for index in left:
            try:
                await writer.append(exchange(index, user=user))
            except JournalError as exc:
                failed.append(str(exc))

    await asyncio.gather(*(work() for _ in range(8)))
    await writer.aclose()
    print(json.dumps(failed))

asyncio.run(main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
"""


def test_writers_of_one_journal_do_not_disturb_each_other(tmp_path: Path) -> None:
    """Workers of one proxy, each with a handle of its own, while a reader empties nothing."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(tmp_path), f"user-{number}", str(EACH)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
        )
        for number in range(WRITERS)
    ]
    failed = [json.loads(process.communicate(timeout=120)[0]) for process in processes]
    assert failed == [[]] * WRITERS
    reader = JournalReader(tmp_path)
    try:
        assert reader.counts().pending == WRITERS * EACH
    finally:
        reader.close()


async def test_a_writer_asks_often_for_its_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While another one writes it asks every few milliseconds, so that it is not overtaken again and again."""
    await asyncio.to_thread(write, tmp_path, exchange(0))
    lock = Lock(tmp_path)
    insisted = threading.Semaphore(0)
    transact = Database._transact

    def count(self: Database, *arguments: Any) -> Any:
        insisted.release()
        return transact(self, *arguments)

    monkeypatch.setattr(Database, "_transact", count)
    writer = JournalWriter(tmp_path, busy_s=60)
    writer.start()
    for _ in range(20):
        assert await asyncio.to_thread(insisted.acquire, timeout=30)
    lock.release()
    await writer.append(exchange(1))
    await writer.aclose()
