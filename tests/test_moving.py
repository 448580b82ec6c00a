"""Moving in and out: what was exported is, imported elsewhere, the same again, and an import survives being killed."""

import gzip
import itertools
import json
import os
import pty
import random
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
import pytest_asyncio
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy import config
from proxy.cli.direct import Direct
from proxy.keeper.lock import Holder
from proxy.keeper.vault import open_vault
from proxy.keeper.wire import Imported
from proxy.models import Exported, Memory, Scope
from tests.commands import invoke, make_line, read_json, write_lines
from tests.processes import COMMAND, REPOSITORY, WAIT_S, Chat, Proxy, clean_environment, running_upstream

# A file of conversations to be imported as a whole while it is killed; see README. Read before the tests begin, which
# know nothing of the environment.
LARGE: Final = os.environ.get("MEMORY_PROXY_IMPORTED", "")
KILLS: Final = 5

pytestmark = pytest.mark.timeout(1800 if LARGE else 120)

_numbers = itertools.count()


@dataclass
class Stores:
    """Two stores, of which the second gets what the first one has."""

    first: Direct
    second: Direct


async def flush() -> None:
    """Nothing is journaled here."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stores(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stores]:
    async with AsyncExitStack() as stack:
        opened = []
        for name in ("first", "second"):
            flags = {"data_dir": tmp_path_factory.mktemp(name), "embedding": {"provider": "none"}}
            vault = await stack.enter_async_context(open_vault(config.load(flags=flags), Holder(1, "a test")))
            opened.append(Direct(vault, flush))
        yield Stores(*opened)


TEXT: Final = st.text(st.characters(codec="utf-8"), max_size=40)
IDS: Final = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12).filter(str.isprintable)
ZONES: Final = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
DATES: Final = st.datetimes(datetime(1900, 1, 1), datetime(9000, 1, 1), timezones=ZONES)  # noqa: DTZ001  # with their zones
NUMBERS: Final = st.integers(-(2**31) + 1, 2**31 - 1)
MEMORIES: Final = st.builds(
    Exported,
    id=IDS,
    user_id=st.sampled_from(["ada", "bøb 用户 \U0001f600", "c/d%00'\"$ne"]),
    kind=st.sampled_from(["turn", "fact"]),
    role=st.sampled_from(["user", "assistant", "someone"]),
    text=TEXT | st.sampled_from(["I live in Berlin.", "Always answer in German.", "My dog is called Rex."]),
    created_at=DATES,
    conversation_id=TEXT | st.sampled_from(["c", "0123456789abcdef01234567", "hand"]),
    message_index=NUMBERS | st.integers(0, 5),
    name=st.none() | TEXT,
    superseded_by=st.none() | IDS,
    valid_until=st.none() | DATES,
    sources=st.lists(st.tuples(TEXT, NUMBERS), max_size=3).map(tuple),
    quote=st.none() | TEXT,
    origin=st.sampled_from(["said", "extracted", "hand"]),
    seen=st.integers(1, 9),
    states=st.none() | st.sampled_from(["instruction", "preference", "fact"]),
    topic=TEXT,
)


async def export(memories: Direct, prefix: str) -> dict[str, bytes]:
    """What there is of the users with such ids."""
    rows = (await memories.users(None)).users
    names = sorted(row.user_id for row in rows if row.user_id.startswith(prefix))
    return {name: b"".join([piece async for piece in memories.export(Scope(name), superseded=True)]) for name in names}


async def activity(memories: Direct, prefix: str) -> list[tuple[str, int, str | None]]:
    rows = (await memories.users(None)).users
    return [(row.user_id, row.memories, row.last_activity) for row in rows if row.user_id.startswith(prefix)]


async def take_in(memories: Direct, lines: Sequence[bytes]) -> Imported:
    """What becomes of *lines*, which are one piece."""
    (done,) = [done async for done in memories.take_in([lines], progress=lambda _: None)]
    return done


async def move(stores: Stores, given_lines: Sequence[bytes], prefix: str) -> tuple[dict[str, bytes], dict[str, bytes]]:
    done = await take_in(stores.first, given_lines)
    assert done.errors == []
    before = await export(stores.first, prefix)
    lines = b"".join(before.values()).splitlines(keepends=True)
    moved = await take_in(stores.second, lines)
    assert (moved.stored, moved.errors) == (len(lines), [])
    assert await activity(stores.second, prefix) == await activity(stores.first, prefix)
    return before, await export(stores.second, prefix)


def plain(line: bytes) -> dict[str, Any]:
    """What of a memory has to come back, with its dates in UTC."""
    memory = msgspec.json.decode(line, type=Memory)
    until = memory.valid_until and memory.valid_until.astimezone(UTC)
    memory = msgspec.structs.replace(memory, created_at=memory.created_at.astimezone(UTC), valid_until=until)
    fields: dict[str, Any] = msgspec.to_builtins(memory)
    return fields


@settings(deadline=None, derandomize=True, max_examples=25)
@given(st.lists(MEMORIES, max_size=6, unique_by=lambda memory: (memory.user_id, memory.id)))
@pytest.mark.asyncio(loop_scope="module")
async def test_an_export_imported_is_the_same_export(stores: Stores, memories: list[Exported]) -> None:
    """To the byte, whatever is in it: ids, dates, order, odd characters, when users were active last."""
    prefix = f"{next(_numbers)} "
    lines = [
        msgspec.json.encode(msgspec.structs.replace(memory, user_id=prefix + memory.user_id)) for memory in memories
    ]
    before, after = await move(stores, lines, prefix)
    assert after == before
    exported = [plain(line) for some in before.values() for line in some.splitlines()]
    assert exported == sorted(map(plain, lines), key=lambda memory: str(memory["user_id"]))


WORDS: Final = (
    "My dog Biscuit is a beagle.",
    "I live in Bergen, by the sea.",
    "Please always answer in Norwegian.",
    "I'm vegetarian.",
    "My sister Anna is a nurse.",
    "I drink coffee in the morning.",
)


def test_recall_is_the_same_where_an_export_was_imported(tmp_path: Path) -> None:
    """The same memories with the same scores in the same block."""
    lines = [
        make_line("ada", text, f"Noted, number {number}.", f"Also {text.lower()}", conversation=f"c{number}")
        for number, text in enumerate(WORDS)
    ]
    source, exported = write_lines(tmp_path / "source.jsonl", lines), tmp_path / "exported.jsonl"
    here, there = ("--data-dir", tmp_path / "here"), ("--data-dir", tmp_path / "there")
    assert invoke("import", source, *here).exit_code == 0
    read_json("remember", "ada", "The boat is called Ida.", *here)
    assert invoke("export", "-o", exported, *here).exit_code == 0
    assert invoke("import", exported, *there).exit_code == 0
    for question in ("Which breed is my dog?", "Where do I live?", "What is the boat called?", "What shall I cook?"):
        found = [read_json("search", "ada", question, *place) for place in (here, there)]
        for answer in found:
            del answer["elapsed_ms"]
        assert found[0] == found[1]
        assert "Ida" in found[0]["block"]
    # A second import of the conversations themselves knows them all.
    assert invoke("import", source, *there).stdout.startswith("0 memories stored, 18 already known")


CHATS: Final[dict[str, dict[str, str]]] = {"nameless": {}, "named": {"X-Conversation-Id": "talk"}}


def test_a_chat_goes_on_in_another_store(tmp_path: Path) -> None:
    """From a running proxy into a data directory, on which another one serves then: an answer that is made again and a
    message that is edited take the place of the old ones, and nothing is there twice.
    """
    dog, berlin, munich = "My dog is called Rex.", "I live in Berlin.", "I live in Munich now."
    exported = tmp_path / "exported.jsonl.gz"
    with running_upstream() as upstream:
        with Proxy(tmp_path / "here", upstream.url) as proxy:
            proxy.wait_ready()
            chats = {user: Chat(proxy.url, user, **headers) for user, headers in CHATS.items()}
            for chat, text in itertools.product(chats.values(), (dog, berlin)):
                chat.say(text)
            proxy.flush()
            assert invoke("export", "-o", exported, "--server", proxy.url).exit_code == 0
        assert invoke("import", exported, "--data-dir", tmp_path / "there").stdout.startswith("8 memories stored")
        with Proxy(tmp_path / "there", upstream.url) as proxy:
            proxy.wait_ready()
            for text, (user, headers) in itertools.product((berlin, munich), CHATS.items()):
                moved = Chat(proxy.url, user, **headers)
                moved.history = chats[user].history[:2]
                moved.say(text)
                proxy.flush()
                assert proxy.texts(user) == Counter([dog, f"Noted: {dog}", text, f"Noted: {text}"])


def start_import(source: Path, data_dir: Path, **options: Any) -> "subprocess.Popen[bytes]":
    environ = clean_environment({"TERM": "xterm", "COLUMNS": "100"})
    command = [*COMMAND, "import", str(source), "--data-dir", str(data_dir), "--json"]
    return subprocess.Popen(command, cwd=REPOSITORY, env=environ, stdout=subprocess.PIPE, **options)


def kill_import(source: Path, data_dir: Path, *, at: int) -> bool:
    """An import that is killed once its bar shows so many memories; whether it was still there to be killed."""
    ours, theirs = pty.openpty()
    try:
        process = start_import(source, data_dir, stderr=theirs)
        os.close(theirs)
        shown = b""
        with suppress(OSError):  # of a terminal that nobody writes to any more
            while piece := os.read(ours, 65536):
                shown = (shown + piece)[-65536:]
                counts = re.findall(rb"([\d,]+) memories", shown)
                if counts and int(counts[-1].replace(b",", b"")) >= at:
                    break
        process.kill()
        process.communicate(timeout=WAIT_S)
    finally:
        os.close(ours)
    return process.returncode == -signal.SIGKILL


def finish_import(source: Path, data_dir: Path) -> dict[str, Any]:
    """What an import that nobody disturbs has done."""
    process = start_import(source, data_dir)
    told, _ = process.communicate(timeout=1500)
    assert process.returncode == 0
    report: dict[str, Any] = json.loads(told)
    return report


def read_file(path: Path) -> Counter[tuple[str, str, int, str]]:
    """All messages of a file of conversations: of whom, where, and what was said."""
    data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return Counter(
        (line["user_id"], line["conversation_id"], index, said["content"])
        for line in map(json.loads, data.splitlines())
        for index, said in enumerate(line["messages"])
        if said["role"] in ("user", "assistant") and said["content"].strip()
    )


def read_store(data_dir: Path, exported: Path) -> Counter[tuple[str, str, int, str]]:
    """The same of what is stored."""
    assert invoke("export", "-o", exported, "--data-dir", data_dir).exit_code == 0
    with exported.open("rb") as lines:
        memories = (msgspec.json.decode(line, type=Memory) for line in lines)
        return Counter((one.user_id, one.conversation_id, one.message_index, one.text) for one in memories)


def make_file(path: Path) -> Path:
    """Some thousand short messages of a few users."""
    lines = [
        make_line(f"user {n % 4}", *(f"Remark {n}.{turn} of many." for turn in range(25)), conversation=f"c{n}")
        for n in range(160)
    ]
    return write_lines(path, lines)


def test_an_import_that_is_killed_goes_on(tmp_path: Path) -> None:
    """However often, and wherever it is: in the end everything is there once, and what was stored is not done again.

    ``MEMORY_PROXY_IMPORTED=FILE`` in the environment takes that file, kills five times, and with ``-rP`` tells how fast
    it went undisturbed.
    """
    source = Path(LARGE) if LARGE else make_file(tmp_path / "source.jsonl")
    expected = read_file(source)
    chance = random.Random(os.environ.get("MEMORY_PROXY_SEED", "7"))
    places = sorted(chance.randrange(1, int(expected.total() * 0.7)) for _ in range(KILLS if LARGE else 2))
    killed = [kill_import(source, tmp_path / "data", at=place) for place in places]
    assert all(killed)
    report = finish_import(source, tmp_path / "data")
    assert report["known"] >= places[-1] * 0.9 - 600  # a batch or two may not have been on disk
    assert (report["stored"] + report["known"], report["unreadable"]) == (expected.total(), 0)
    stored = read_store(tmp_path / "data", tmp_path / "exported.jsonl")
    # What is masked, or too long, is stored with another text: of a large file the places are compared.
    if LARGE:
        assert Counter(one[:3] for one in stored) == Counter(one[:3] for one in expected)
        assert len(stored - expected) <= 0.001 * expected.total()
        tell_speed(source, tmp_path, expected.total(), places)
    else:
        assert stored == expected


def tell_speed(source: Path, folder: Path, messages: int, places: Sequence[int]) -> None:
    """For the README."""
    sys.stdout.write(f"{messages:,} messages, killed at {places}: none lost, none twice\n")
    for what in ("stored", "known"):
        load, began = os.getloadavg()[0], time.perf_counter()
        assert finish_import(source, folder / "undisturbed")[what] == messages
        took = time.perf_counter() - began
        sys.stdout.write(f"{what} in {took:.1f} s: {messages / took:,.0f} a second, at a load of {load:.1f}\n")
