"""A change of the embedding model: memories are found by the old vectors until all have new ones, and never by both."""

import asyncio
import random
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

import msgspec
import pytest
from structlog.testing import capture_logs

from proxy.errors import EmbedderError, MemoryProxyError
from proxy.keeper import mover, reembedding
from proxy.keeper.lock import Holder
from proxy.keeper.reembedding import Reembedding
from proxy.keeper.vault import Vault, open_vault
from proxy.models import Embedding, Memory, Message, Pack, Record, Scope
from proxy.remember import embedding
from proxy.remember.embedding import Embeddings
from proxy.remember.segment import make_turn
from tests.embedding_models import SIZES, Models, packed, serving_models
from tests.processes import clean_environment

USERS = [Scope(f"user {number}") for number in range(5)]
ADA = USERS[0]
EACH = 12
AT = datetime(2026, 1, 2, tzinfo=UTC)
HOLDER = Holder(1, "a test")


@pytest.fixture(scope="module")
def endpoint() -> Iterator[Models]:
    with serving_models() as served:
        yield served


@pytest.fixture
def models(endpoint: Models) -> Models:
    endpoint.reset()
    return endpoint


@pytest.fixture(autouse=True)
def _impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    """What failed is tried again at once."""
    monkeypatch.setattr(reembedding, "FIRST_DELAY_S", 0.001)
    monkeypatch.setattr(reembedding, "LONGEST_DELAY_S", 0.001)


def text_of(scope: Scope, number: int) -> str:
    return f"remark {number} of {scope.user_id}"


def turns(scope: Scope, *texts: str, conversation: str = "c") -> list[Memory]:
    return [make_turn(scope, conversation, n, Message("user", text), AT) for n, text in enumerate(texts)]


@asynccontextmanager
async def opened(models: Models, data_dir: Path, model: str | None) -> AsyncIterator[Vault]:
    async with open_vault(models.settings(data_dir, model), HOLDER) as vault:
        yield vault


async def remember(vault: Vault, scope: Scope, *texts: str, conversation: str = "c") -> list[Memory]:
    memories = turns(scope, *texts, conversation=conversation)
    async with vault.writing(scope):
        await vault.remember({scope: memories})
    return memories


async def fill(vault: Vault, users: Sequence[Scope] = USERS) -> None:
    for scope in users:
        await remember(vault, scope, *(text_of(scope, number) for number in range(EACH)))


async def load(vault: Vault) -> list[Pack]:
    return [await vault.load(scope) for scope in USERS]


def vectors_of(pack: Pack) -> dict[str, bytes]:
    """By text."""
    size = 2 * pack.dim
    return {memory.text: pack.vectors[row * size : (row + 1) * size] for row, memory in enumerate(pack.memories)}


def assert_all_of(model: str, packs: Sequence[Pack]) -> None:
    """Every memory has the vector that *model* makes of it, and the pack says so."""
    for pack in packs:
        assert pack.model is not None
        assert (pack.model.name, pack.model.dim, pack.dim) == (f"openai:{model}", SIZES[model], SIZES[model])
        assert vectors_of(pack) == {memory.text: packed(model, memory.text) for memory in pack.memories}
        assert pack.memories


def records_of(vault: Vault, scope: Scope = ADA) -> list[Record]:
    return vault.store.fetch(scope, vault.store.list_rows(scope))


async def interrupt(vault: Vault, after: int, **options: Any) -> None:
    """Moves until so many batches of at most five are written."""
    batches = iter(range(1, after))

    async def count() -> None:
        if next(batches, None) is None:
            move.stop()

    move = Reembedding(vault, batch=5, give_way=count)
    assert not await move.run(**options)
    assert 0 < move.state.moved < move.state.total


def count_moved(vault: Vault) -> int:
    """How many memories have a vector of the model that is not in force."""
    return sum(bool(record.other_vector) for scope in USERS for record in records_of(vault, scope))


async def test_until_the_switch_the_old_vectors_and_then_the_new_ones(models: Models, tmp_path: Path) -> None:
    """Before, while and after memories move all have vectors of the same model; then nothing is left to do."""
    async with opened(models, tmp_path, "old") as vault:
        await fill(vault)
        assert_all_of("old", await load(vault))
    async with opened(models, tmp_path, "new") as vault:
        switched: list[None] = []
        vault.embeddings.on_switch = lambda: switched.append(None)
        assert_all_of("old", await load(vault))
        assert vault.embeddings.differs
        seen: list[list[Pack]] = []

        async def look() -> None:
            seen.append(await load(vault))

        move = Reembedding(vault, batch=16, give_way=look)
        assert move.state.state == "due"
        assert await move.run()
        for packs in seen:
            assert_all_of("old", packs)
        assert_all_of("new", await load(vault))
        assert (len(seen) >= 4, switched, vault.embeddings.differs) == (True, [None], False)
        state = move.state
        assert (state.state, state.total, state.done, state.moved) == ("settled", 60, 60, 60)
        assert (state.serving, state.target) == ("openai:new (12 dimensions)", None)
        # Nothing is embedded any more but a sample.
        models.asked.clear()
        assert await Reembedding(vault).run()
        assert models.asked["new"] <= 1 + mover.SAMPLE
        assert models.asked["old"] == 0
    async with opened(models, tmp_path, "new") as vault:
        assert_all_of("new", await load(vault))


async def test_what_is_written_meanwhile_is_found_before_and_after(models: Models, tmp_path: Path) -> None:
    """New memories, corrected, repeated and erased ones, in the midst of a move, also of those that it has passed."""
    async with opened(models, tmp_path, "old") as vault:
        await fill(vault)
    async with opened(models, tmp_path, "new") as vault:
        await interrupt(vault, 6)
        bob = USERS[3]
        for scope in USERS:
            first, second, third, *_ = [record.memory for record in records_of(vault, scope)]
            await remember(vault, scope, "said meanwhile", conversation="d")
            await vault.edit(scope, first.id, "corrected meanwhile")
            await vault.erase(scope, [second.id])
            async with vault.writing(scope):
                plan = await vault.scribe.plan(scope)
                item = plan.shelf.get(third.id)
                assert item is not None
                plan.strengthen(item, ("d", 0))
                await vault.scribe.carry_out({scope: plan})
        await vault.erase(bob, None)
        await remember(vault, bob, "and came again")
        written = [record for record in records_of(vault) if "meanwhile" in record.memory.text]
        assert {record.other_vector for record in written} == {packed("new", record.memory.text) for record in written}
        packs = await load(vault)
        assert_all_of("old", packs)
        assert await Reembedding(vault, batch=7).run()
        after = await load(vault)
        assert_all_of("new", after)
        assert [vectors_of(pack).keys() for pack in after] == [vectors_of(pack).keys() for pack in packs]
        texts = {text for pack in after for text in vectors_of(pack)}
        assert {"said meanwhile", "corrected meanwhile", "and came again"} <= texts
        assert text_of(ADA, 1) not in texts


async def test_memories_that_change_under_its_hands(models: Models, tmp_path: Path) -> None:
    """Between being read and being written a memory is erased, another corrected: neither comes back."""
    async with opened(models, tmp_path, "old") as vault:
        (gone, corrected, _) = await remember(vault, ADA, "to be erased", "to be corrected", "to stay")
    async with opened(models, tmp_path, "new") as vault:

        async def change() -> None:
            await vault.erase(ADA, [gone.id])
            await vault.edit(ADA, corrected.id, "as it should be")

        assert await Reembedding(vault, give_way=change).run()
        pack = await vault.load(ADA)
        assert_all_of("new", [pack])
        assert set(vectors_of(pack)) == {"as it should be", "to stay"}
        assert vault.store.count([ADA]) == 2


async def test_an_interrupted_move_goes_on(models: Models, tmp_path: Path) -> None:
    """Another process moves what is left and nothing twice, whatever was interrupted how often."""
    async with opened(models, tmp_path, "old") as vault:
        await fill(vault)
    for _ in range(3):
        async with opened(models, tmp_path, "new") as vault:
            await interrupt(vault, 3)
            assert_all_of("old", await load(vault))
    async with opened(models, tmp_path, "new") as vault:
        move, before = Reembedding(vault), count_moved(vault)
        assert await move.run()
        assert_all_of("new", await load(vault))
        assert move.state.moved == EACH * len(USERS) - before


async def test_a_target_that_is_given_up_for_another_one(models: Models, tmp_path: Path) -> None:
    """The half-made vectors are replaced by those of the new target, of the same size as the ones in force."""
    async with opened(models, tmp_path, "old") as vault:
        await fill(vault)
    async with opened(models, tmp_path, "new") as vault:
        await interrupt(vault, 6)
    async with opened(models, tmp_path, "newer") as vault:
        assert_all_of("old", await load(vault))
        assert vault.embeddings.differs
        await remember(vault, ADA, "said meanwhile", conversation="d")
        assert await Reembedding(vault).run()
        assert_all_of("newer", await load(vault))
        assert {record.other_model for scope in USERS for record in records_of(vault, scope)} <= {"openai:newer"}


async def test_going_back_in_the_midst(models: Models, tmp_path: Path) -> None:
    """With the old model configured again there is nothing to move, and nothing more is written for the other one."""
    async with opened(models, tmp_path, "old") as vault:
        await fill(vault)
    async with opened(models, tmp_path, "new") as vault:
        await interrupt(vault, 6)
    async with opened(models, tmp_path, "old") as vault:
        move = Reembedding(vault)
        assert await move.run()
        assert (move.state.moved, move.state.target) == (0, None)
        models.asked.clear()
        await remember(vault, ADA, "said after it", conversation="d")
        assert models.asked.keys() == {"old"}
        assert_all_of("old", await load(vault))


async def test_another_size_is_written_nowhere(models: Models, tmp_path: Path) -> None:
    """A new model that answers with other vectors half-way: the line has both sizes, and all goes on as it was."""
    async with opened(models, tmp_path, "old") as vault:
        await fill(vault)
    async with opened(models, tmp_path, "new") as vault:
        right = iter(range(3))

        async def shrink() -> None:
            if next(right, None) is None:
                models.sizes["new"] = 5

        move = Reembedding(vault, batch=5, give_way=shrink)
        with pytest.raises(EmbedderError, match=r"openai:new: its vectors have 5 dimensions.* 12: "):
            await move.run()
        assert move.state.state == "failed"
        written = [record.other_vector for scope in USERS for record in records_of(vault, scope) if record.other_vector]
        assert {len(vector) for vector in written} == {2 * SIZES["new"]}
        await remember(vault, ADA, "said meanwhile", conversation="d")
        assert_all_of("old", await load(vault))
        models.sizes.clear()
        assert await Reembedding(vault).run()
        assert_all_of("new", await load(vault))


async def test_a_model_in_force_that_answers_with_another_size(models: Models, tmp_path: Path) -> None:
    """Nothing is stored by it, and the reason has both sizes; to move is the way out, and what waited is stored."""
    async with opened(models, tmp_path, "new") as vault:
        await fill(vault, USERS[:1])
        models.sizes["new"] = 20
        with pytest.raises(EmbedderError, match=r"openai:new: its vectors have 20 dimensions.* 12: .*reembed"):
            await remember(vault, ADA, "said meanwhile", conversation="d")
        with pytest.raises(EmbedderError, match="20 dimensions"):
            await vault.embeddings.embed_question("what?")
        assert_all_of("new", [await vault.load(ADA)])
        assert await Reembedding(vault).run()
        await remember(vault, ADA, "said meanwhile", conversation="d")
        pack = await vault.load(ADA)
        assert (len(pack.memories), pack.dim) == (EACH + 1, 20)
        assert all(any(vector) for vector in vectors_of(pack).values())


async def test_a_model_that_is_gone(models: Models, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is said is stored without a vector rather than not at all, and has one after the move."""
    async with opened(models, tmp_path, "old") as vault:
        await fill(vault, USERS[:1])
    models.broken.add("old")
    monkeypatch.setattr(embedding, "PATIENCE_S", 0.0)
    async with opened(models, tmp_path, "new") as vault:
        await remember(vault, ADA, "said meanwhile", conversation="d")
        asked = models.refused
        await remember(vault, ADA, "and a moment later", conversation="e")  # it is not waited for again
        assert models.refused == asked
        pack = await vault.load(ADA)
        assert vectors_of(pack).pop("said meanwhile") == bytes(2 * SIZES["old"])
        await vault.edit(ADA, turns(ADA, text_of(ADA, 0))[0].id, "corrected meanwhile")
        assert await Reembedding(vault).run()
        assert_all_of("new", [await vault.load(ADA)])


async def test_an_outage_of_the_new_model(models: Models, tmp_path: Path) -> None:
    """Before it begins nothing is noted; later it waits for it, and comes back to what was stored meanwhile."""
    async with opened(models, tmp_path, "old") as vault:
        await fill(vault)
    async with opened(models, tmp_path, "new") as vault:
        models.broken.add("new")
        move = Reembedding(vault)
        with pytest.raises(EmbedderError, match="openai:new: BadRequestError, status 400"):
            await move.run()
        assert (move.state.state, move.state.target) == ("failed", None)
        models.broken.clear()
        await interrupt(vault, 3)
        models.broken.add("new")
        await remember(vault, ADA, "said meanwhile", conversation="d")
        assert vault.embeddings.noted is not None
        assert vault.embeddings.noted.misses == 1
        assert_all_of("old", await load(vault))
        models.broken.clear()
        outage = iter([True, True, True, False])

        async def fail_for_a_while() -> None:
            if next(outage, False):
                models.broken.add("new")
            else:
                models.broken.clear()

        assert await Reembedding(vault, give_way=fail_for_a_while).run()
        assert_all_of("new", await load(vault))


async def test_what_was_stored_without_the_new_vector_behind_its_back(
    models: Models, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Written after everything was read, and before the switch: there is no switch, but another reading."""
    async with opened(models, tmp_path, "old") as vault:
        await fill(vault)
    async with opened(models, tmp_path, "new") as vault:
        compare, compared = mover.Mover.compare_sample, 0

        async def write_in_between(self: mover.Mover) -> bool:
            nonlocal compared
            compared += 1
            if compared == 1:
                models.broken.add("new")
                await remember(vault, ADA, "said at the last moment", conversation="d")
                models.broken.clear()
            return await compare(self)

        monkeypatch.setattr(mover.Mover, "compare_sample", write_in_between)
        assert await Reembedding(vault).run()
        assert compared == 2
        packs = await load(vault)
        assert_all_of("new", packs)
        assert "said at the last moment" in vectors_of(packs[0])


async def test_writers_that_never_have_the_new_vector(
    models: Models, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As replicas that cannot reach the new model: it is not tried for ever, and told what to look at."""
    monkeypatch.setattr(reembedding, "SWEEPS", 4)
    async with opened(models, tmp_path, "old") as vault:
        await fill(vault, USERS[:1])
    async with opened(models, tmp_path, "new") as vault:
        numbers = count()

        async def write_in_between(_: mover.Mover) -> bool:
            models.broken.add("new")
            await remember(vault, ADA, "said", conversation=f"c{next(numbers)}")
            models.broken.clear()
            return True

        monkeypatch.setattr(mover.Mover, "compare_sample", write_in_between)
        with pytest.raises(MemoryProxyError, match="without vectors of openai:new"):
            await Reembedding(vault).run()
        assert_all_of("old", [await vault.load(ADA)])


async def test_a_switch_while_the_new_model_fails_a_writer(
    models: Models, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a replica that could not embed ahead, and comes to say so after the switch: it stores nothing for now."""
    async with opened(models, tmp_path, "old") as vault:
        await fill(vault)
    async with opened(models, tmp_path, "new") as vault:
        await interrupt(vault, 3)
        note_miss = Embeddings._note_miss

        async def switch_first(self: Embeddings, noted: Embedding) -> None:
            assert noted.target is not None
            assert vault.ledger.change_embedding(noted, Embedding(noted.target))
            await note_miss(self, noted)

        monkeypatch.setattr(Embeddings, "_note_miss", switch_first)
        models.broken.add("new")
        with pytest.raises(EmbedderError, match="openai:new"):
            await remember(vault, ADA, "said meanwhile", conversation="d")
        models.broken.clear()
        await remember(vault, ADA, "said meanwhile", conversation="d")
        assert await Reembedding(vault).run()
        assert_all_of("new", await load(vault))


async def test_a_model_that_answers_otherwise_each_time(models: Models, tmp_path: Path) -> None:
    """What it has made is given up, and begun anew when it is one model again; until then the old vectors serve."""
    async with opened(models, tmp_path, "old") as vault:
        await fill(vault)
    async with opened(models, tmp_path, "new") as vault:
        models.shifting.add("new")
        move = Reembedding(vault)
        with pytest.raises(MemoryProxyError, match=r"openai:new: it answers otherwise .* given up"):
            await move.run()
        assert_all_of("old", await load(vault))
        models.shifting.clear()
        assert await move.run()
        assert move.state.moved == EACH * len(USERS)
        assert_all_of("new", await load(vault))


async def test_another_model_behind_the_same_name(models: Models, tmp_path: Path) -> None:
    """It is noticed when somebody looks, and with --again all is embedded anew, also after an interruption."""
    async with opened(models, tmp_path, "new") as vault:
        await fill(vault)
        models.shifting.add("new")  # as good as another one
        with pytest.raises(MemoryProxyError, match="reembed --again"):
            await Reembedding(vault).run()
        assert_all_of("new", await load(vault))
        models.shifting.clear()
        await interrupt(vault, 3, again=True)
        assert_all_of("new", await load(vault))
        move, before = Reembedding(vault), count_moved(vault)
        assert await move.run()
        assert move.state.moved == EACH * len(USERS) - before
        assert {record.model if not record.other_vector else record.other_model for record in records_of(vault)} == {
            "openai:new#1"
        }
        await remember(vault, ADA, "said after it", conversation="d")
        assert_all_of("new", await load(vault))


async def test_to_words_alone_and_back(models: Models, tmp_path: Path) -> None:
    """Without vectors there is nothing to make; back, what is still there is used, and the rest made."""
    none = models.settings(tmp_path, None, embedding={"provider": "none"})
    async with opened(models, tmp_path, "old") as vault:
        await fill(vault)
    async with open_vault(none, HOLDER) as vault:
        assert_all_of("old", await load(vault))
        assert await Reembedding(vault).run()
        packs = await load(vault)
        assert {pack.dim for pack in packs} == {0}
        assert await vault.embeddings.embed_question("what?") is None
        await remember(vault, ADA, "said without", conversation="d")
    models.asked.clear()
    async with opened(models, tmp_path, "old") as vault:
        assert {pack.dim for pack in await load(vault)} == {0}
        move = Reembedding(vault)
        assert await move.run()
        assert move.state.moved == 1
        assert_all_of("old", await load(vault))


async def test_nothing_is_stored_yet(models: Models, tmp_path: Path) -> None:
    """Then there is nothing to move, and the first who writes says what is in force."""
    async with opened(models, tmp_path, "old") as vault:
        assert await Reembedding(vault).run()
        assert Reembedding(vault).state.serving is None
    async with opened(models, tmp_path, "new") as vault:
        await fill(vault)
        assert_all_of("new", await load(vault))


async def test_damaged_vectors_are_made_anew(models: Models, tmp_path: Path) -> None:
    """Such as no model makes: not finite, or of another length than 1."""
    async with opened(models, tmp_path, "old") as vault:
        await fill(vault, USERS[:1])
    async with opened(models, tmp_path, "new") as vault:
        await interrupt(vault, 2)
        first, second, *_ = [record for record in records_of(vault) if record.other_vector]
        broken = [bytes.fromhex("007e") * SIZES["new"], bytes.fromhex("0040") * SIZES["new"]]
        damaged = [
            msgspec.structs.replace(record, other_vector=vector)
            for record, vector in zip((first, second), broken, strict=True)
        ]
        vault.store.put({ADA: damaged})
        assert await Reembedding(vault).run()
        assert_all_of("new", [await vault.load(ADA)])


async def test_a_store_of_before_there_were_notes(models: Models, tmp_path: Path) -> None:
    """What most vectors are of is in force, whatever is configured; and to move gives the others theirs."""
    async with opened(models, tmp_path, "old") as vault:
        await fill(vault)
        strangers = [
            msgspec.structs.replace(record, vector=packed("new", record.memory.text), model="openai:new")
            for record in records_of(vault)
        ]
        vault.store.put({ADA: strangers})
        with vault.ledger._database.writing() as connection:  # type: ignore[attr-defined]  # it is a file
            connection.execute("DELETE FROM embedding")
    async with opened(models, tmp_path, "new") as vault:
        ada, *others = await load(vault)
        assert_all_of("old", others)
        assert not any(ada.vectors)
        assert await Reembedding(vault).run()
        assert_all_of("new", await load(vault))
    async with opened(models, tmp_path, "old") as vault:
        assert vault.embeddings.serving is None or vault.embeddings.serving.name == "openai:new"


async def test_a_former_model_of_which_nobody_knows_where_it_answered(models: Models, tmp_path: Path) -> None:
    """It is looked for nowhere: there are words alone until it is configured again, or all have moved."""
    async with opened(models, tmp_path, "old") as vault:
        await fill(vault, USERS[:1])
        with vault.ledger._database.writing() as connection:  # type: ignore[attr-defined]  # it is a file
            connection.execute("DELETE FROM embedding")
    local = models.settings(tmp_path, None, upstream={"base_url": models.url})
    models.asked.clear()
    async with open_vault(local, HOLDER) as vault:
        assert_all_of("old", [await vault.load(ADA)])
        with capture_logs() as logs:
            assert await vault.embeddings.embed_question("what?") is None
        assert logs[0]["reason"].startswith("openai:old: where it answered is not known")
        await remember(vault, ADA, "said meanwhile", conversation="d")
    assert models.asked.total() == 0
    async with opened(models, tmp_path, "old") as vault:
        await vault.prepare()
        assert await Reembedding(vault).run()
        assert_all_of("old", [await vault.load(ADA)])
    async with open_vault(local, HOLDER) as vault:
        assert await vault.embeddings.embed_question("what?") is not None


async def test_the_key_goes_home_only(models: Models, tmp_path: Path) -> None:
    """The former model is asked at its former address: with the configured key if that is the configured address."""
    async with opened(models, tmp_path, "old") as vault:
        await fill(vault, USERS[:1])
    models.keys.clear()
    async with opened(models, tmp_path, "new") as vault:
        await remember(vault, ADA, "said meanwhile", conversation="d")
    assert models.keys == {"Bearer k"}
    models.keys.clear()
    elsewhere = {"provider": "local", "base_url": "http://127.0.0.1:9/v1", "api_key": "of somebody else"}
    async with open_vault(models.settings(tmp_path, None, embedding=elsewhere), HOLDER) as vault:
        await remember(vault, ADA, "and later", conversation="e")
        assert_all_of("old", [await vault.load(ADA)])
    assert models.keys == {"Bearer none"}


async def test_kills_at_any_moment(models: Models, tmp_path: Path) -> None:
    """kill -9 before some of the steps that write: everything goes by one model, and goes on to the other."""
    async with opened(models, tmp_path, "old") as vault:
        await fill(vault)
    # Of ten batches. The last time all is moved, and it is about to say so.
    chance = random.Random(7)
    steps = {"_write": chance.randint(1, 3), "settle_keys": chance.randint(1, 3), "change_embedding": 1}
    said: list[str] = []
    for step, moment in steps.items():
        what = (str(tmp_path), models.url, "new", step, str(moment))
        victim = [sys.executable, "-P", "-m", "tests.reembedding_victim", *what]
        done = await asyncio.to_thread(
            subprocess.run, victim, env=clean_environment(), capture_output=True, check=False
        )
        assert done.returncode == -signal.SIGKILL, done.stderr
        async with opened(models, tmp_path, "new") as vault:
            assert_all_of("old", await load(vault))
            await remember(vault, ADA, f"said after {len(said)} kills", conversation=f"c{len(said)}")
        said.append(step)
    async with opened(models, tmp_path, "new") as vault:
        assert await Reembedding(vault).run()
        packs = await load(vault)
        assert_all_of("new", packs)
        assert sum(len(pack.memories) for pack in packs) == EACH * len(USERS) + len(said)
