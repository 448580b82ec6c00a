"""The process that makes vectors and terms for others: what it makes, and that nothing depends on it."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio
import structlog

from proxy import config
from proxy.config import Settings
from proxy.embedders.local import LocalEmbedder
from proxy.errors import EmbedderError
from proxy.keeper.lock import Holder
from proxy.keeper.vault import Vault, open_vault
from proxy.models import Embedding, EmbeddingModel, Record, Scope
from proxy.remember.analyst import Analyst, Task
from proxy.text import pack_terms
from tests.commands import invoke, make_line, write_lines
from tests.processes import WAIT_S

LOCAL = EmbeddingModel("local", LocalEmbedder.name, LocalEmbedder.dim)
TEXTS = ["My dog is called Rex.", "", "犬が好きです。", "I moved to Porto. " * 500]
TASK = Task(TEXTS, [(text, "Ann") for text in TEXTS])
HOLDER = Holder(1, "a test")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return config.load(flags={"data_dir": tmp_path / "data"})


@pytest_asyncio.fixture
async def analyst() -> AsyncIterator[Analyst]:
    async with Analyst() as started:
        yield started


async def test_it_makes_what_this_process_would(analyst: Analyst) -> None:
    """To the last bit, again and again."""
    for texts in (TEXTS, TEXTS[::-1], []):
        analysed = await analyst.analyse(LOCAL, Task(texts, [(text, "Ann") for text in texts]))
        assert analysed is not None
        vectors, terms = analysed
        assert np.array_equal(vectors, LocalEmbedder().embed_now(texts))
        assert terms == [pack_terms(text, "Ann") for text in texts]


async def read(vault: Vault) -> list[Record]:
    """All that is stored of Ada."""
    return sorted(vault.store.fetch(Scope("ada"), vault.store.list_rows(Scope("ada"))), key=lambda one: one.memory.id)


async def test_what_is_stored_is_the_same(tmp_path: Path, analyst: Analyst, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its help and without; and what it has made is not made again."""
    first = [make_line("ada", "I have a cat.")]
    rest = [make_line("ada", text, conversation=text[:5]) for text in TEXTS if text]
    found: list[list[Record]] = []
    for number, helped in enumerate((False, True)):
        chosen = config.load(flags={"data_dir": tmp_path / str(number)})
        async with open_vault(chosen, HOLDER) as vault:
            await vault.take_in(first)
            reading = await vault.read_lines([*first, *rest], analyst=analyst if helped else None)
            if helped:
                monkeypatch.setattr(LocalEmbedder, "embed_now", refuse)
            done = await vault.take_in_read(reading)
            assert (done.stored, done.known) == (len(rest), 1)
            found.append(await read(vault))
    assert found[0] == found[1]
    assert all(len(record.vector) == 2 * LocalEmbedder.dim and record.terms for record in found[1])


def refuse(*_: object) -> None:
    raise EmbedderError("it is made already")


async def test_where_models_differ_it_has_to_wait(settings: Settings, analyst: Analyst) -> None:
    """Nothing is prepared for a store of which no model is known, and none while another one is configured."""
    lines = [make_line("ada", "I have a cat.")]
    async with open_vault(settings, HOLDER) as vault:
        reading = await vault.read_lines(lines, analyst=analyst)
        assert reading.findable is None
        await vault.take_in_read(reading)
    other = config.load(flags={"data_dir": settings.data_dir, "embedding": {"provider": "none"}})
    async with open_vault(other, HOLDER) as vault:
        later = await vault.read_lines([make_line("ada", "I have a dog.", conversation="d")], analyst=analyst)
        assert later.findable is None


async def test_a_model_that_changes_meanwhile(settings: Settings, analyst: Analyst) -> None:
    """What was prepared by one model is not stored when another one has come into force before its turn."""
    async with open_vault(settings, HOLDER) as vault:
        await vault.take_in([make_line("ada", "I have a cat.")])
        reading = await vault.read_lines([make_line("ada", "I have a dog.", conversation="d")], analyst=analyst)
        assert reading.findable is not None
        noted = vault.embeddings.noted
        assert noted is not None
        moved = EmbeddingModel("local", LocalEmbedder.name, LocalEmbedder.dim, again=1)
        assert await vault.embeddings.change(noted, Embedding(moved, again=1))
        await vault.take_in_read(reading)
        assert {record.model for record in await read(vault)} == {noted.serving.label, moved.label}


async def test_a_process_that_is_gone_is_done_without() -> None:
    """It is told once, and not started again."""
    async with Analyst() as analyst:
        assert await analyst.analyse(LOCAL, TASK) is not None
        process = analyst.process
        assert process is not None
        process.kill()
        with structlog.testing.capture_logs() as logs:
            assert await analyst.analyse(LOCAL, TASK) is None
            assert await analyst.analyse(LOCAL, TASK) is None
        assert [line["event"] for line in logs] == ["analyst_gone"]
        assert analyst.process is process


async def test_an_answer_that_nobody_waits_for_any_more() -> None:
    """Even one that is longer than what a pipe holds keeps nobody from the next one, nor from leaving."""
    texts = TEXTS * 1000
    async with asyncio.timeout(WAIT_S), asyncio.TaskGroup() as group:
        async with Analyst() as analyst:
            assert await analyst.analyse(LOCAL, TASK) is not None
            for _ in range(2):
                asking = group.create_task(analyst.analyse(LOCAL, Task(texts, [(text, None) for text in texts])))
                await asyncio.sleep(0)
                asking.cancel()
            analysed = await analyst.analyse(LOCAL, TASK)
            assert analysed is not None
            assert len(analysed[1]) == len(TEXTS)
            asking = group.create_task(analyst.analyse(LOCAL, Task(texts, [(text, None) for text in texts])))
            await asyncio.sleep(0)
            asking.cancel()
            process = analyst.process
        assert process is not None
        assert process.returncode is not None


@pytest.mark.parametrize("model", [EmbeddingModel("openai", "openai:x", 3, "x"), EmbeddingModel("none", "none", 0)])
async def test_it_is_not_started_for_other_models(analyst: Analyst, model: EmbeddingModel) -> None:
    """They take no processor's time."""
    assert await analyst.analyse(model, TASK) is None
    assert analyst.process is None


async def test_a_model_that_it_does_not_have(analyst: Analyst) -> None:
    """As one of another version."""
    assert await analyst.analyse(EmbeddingModel("local", "word-vectors-of-old", 256), TASK) is None


def test_it_ends_with_whoever_started_it() -> None:
    """However that ended: nobody else has its standard error then."""
    script = (
        "import asyncio, os\n"
        "from tests.test_analyst import LOCAL, TASK, Analyst\n"
        "async def main():\n"
        "    assert await Analyst().analyse(LOCAL, TASK)\n"
        "    os.kill(os.getpid(), 9)\n"
        "asyncio.run(main())\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=WAIT_S, check=False)
    assert (done.returncode, done.stderr) == (-9, b"")


@pytest.mark.parametrize("given", [b"", b"rubbish"])
def test_it_is_not_started_by_hand(given: bytes) -> None:
    """And says so."""
    command = [sys.executable, "-m", "proxy.remember.analysing"]
    done = subprocess.run(command, input=given, capture_output=True, timeout=WAIT_S, check=False)
    assert done.returncode == 1
    assert done.stderr == b"this process is started by memory-proxy, not by hand\n"


def test_an_import_in_many_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each line is told of by its own number, whatever is prepared ahead."""
    monkeypatch.setattr("proxy.imports.pieces.PIECE_BYTES", 1)
    lines = [make_line("ada", f"I have {number} cats.", conversation=f"c{number}") for number in range(12)]
    lines[3] = lines[7] = b'{"user_id": "ada", "conversation_id": "c"}\n'
    path = write_lines(tmp_path / "x.jsonl", lines)
    result = invoke("import", path, "--data-dir", tmp_path / "data")
    assert result.exit_code == 1
    assert result.stdout == "10 memories stored, 0 already known, 2 lines unreadable\n"
    assert [line.split(": ")[1].split(", ")[1] for line in result.stderr.splitlines()] == ["line 4", "line 8"]
    again = invoke("import", path, "--data-dir", tmp_path / "data")
    assert again.stdout == "0 memories stored, 10 already known, 2 lines unreadable\n"
