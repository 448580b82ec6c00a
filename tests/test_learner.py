"""The second look: facts beside what was said, whatever the model does."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from proxy import config
from proxy.errors import ExtractionError
from proxy.extraction import Batch, Extraction, Fact
from proxy.journal import JournalWriter
from proxy.keeper.lock import Holder
from proxy.keeper.vault import Vault, open_vault
from proxy.models import Memory, Scope
from proxy.observe.failopen import FailOpen
from proxy.observe.metrics import Metrics
from proxy.remember.learner import Learner
from proxy.remember.worker import Worker
from proxy.tasks import Tasks
from tests import conversations
from tests.conftest import Launch
from tests.harness import Upstream, run_upstream
from tests.harness.payloads import ask, completion
from tests.harness.proxy import user_path
from tests.harness.upstream import respond

ADA = conversations.ADA
MOVED = "I moved to Lisbon last year for work."


class Model:
    """Finds what the test says in what it is shown."""

    def __init__(self) -> None:
        self.batches: list[Batch] = []
        self.find: Callable[[Batch], list[Fact]] = lambda _: []
        self.gate: asyncio.Event | None = None
        self.asked = asyncio.Event()

    async def extract(self, _: Scope, batch: Batch) -> Extraction:
        self.batches.append(batch)
        self.asked.set()
        if self.gate is not None:
            await self.gate.wait()
        return Extraction(self.find(batch), {"unsupported": 1}, 1, 100)


class Study:
    """A vault with its journal, a worker and a learner in front of a scripted model."""

    def __init__(self, vault: Vault, folder: Path) -> None:
        self.vault = vault
        self.model = Model()
        self.tasks = Tasks()
        fail_open = FailOpen(Metrics())
        self.learner = Learner(
            vault.journal, vault, self.model.extract, fail_open, self.tasks, max_attempts=2, concurrency=2
        )
        vault.on_erase = self.learner.cancel
        self.worker = Worker(
            vault.journal, vault.learn, vault.turns, fail_open, max_attempts=2, next_stage=lambda _: 0.0
        )
        self._folder = folder
        self._talk = conversations.Memory()

    async def say(self, *said: str, answer: str = "Good to know that.", named: str | None = None) -> None:
        exchange = self._talk.say(*said, answer=answer, named=named)
        async with aclosing(JournalWriter(self._folder)) as writer:
            writer.start()
            await writer.append(exchange)
        await self.worker.flush()

    async def facts(self, *, superseded: bool = False) -> list[Memory]:
        page = await self.vault.catalogue.memories(ADA, 100, None, include_superseded=superseded)
        return [memory for memory in reversed(page.memories) if memory.kind == "fact"]


@pytest_asyncio.fixture
async def study(tmp_path: Path) -> AsyncIterator[Study]:
    settings = config.load(flags={"data_dir": tmp_path, "embedding": {"provider": "none"}}, environ={})
    async with open_vault(settings, Holder(1, "a test")) as vault:
        made = Study(vault, tmp_path)
        yield made
        await made.tasks.cancel()


def fact(batch: Batch, text: str, quote: str, **relations: Any) -> Fact:
    said = next(said for said in batch.messages if quote in said.text)
    return Fact(
        text=text,
        quote=quote,
        source=(said.conversation_id, said.index),
        said_at=said.at,
        kind="fact",
        topic=relations.pop("topic", ""),
        same_as=relations.get("same_as"),
        replaces=relations.get("replaces"),
        contradicts=relations.get("contradicts"),
    )


async def test_a_fact_stands_beside_what_was_said(study: Study) -> None:
    """With its quote and the place of it; the turns stay, and what was dropped is counted."""
    study.model.find = lambda batch: [fact(batch, "The user lives in Lisbon.", "I moved to Lisbon")]
    await study.say(MOVED)
    await study.learner.flush()
    (found,) = await study.facts()
    assert (found.text, found.quote, found.origin) == ("The user lives in Lisbon.", "I moved to Lisbon", "extracted")
    assert found.sources == ((found.conversation_id, 0),)
    assert len((await study.vault.catalogue.memories(ADA, 9, None)).memories) == 3
    counted = study.vault.metrics.registry.get_sample_value
    assert counted("memory_proxy_facts_total", {"outcome": "stored"}) == 1
    assert counted("memory_proxy_facts_total", {"outcome": "unsupported"}) == 1
    assert counted("memory_proxy_extraction_tokens_total") == 100
    assert study.vault.journal.counts().extracting == 0


async def test_a_conversation_is_looked_at_at_once_and_in_its_context(study: Study) -> None:
    """Two exchanges in one call; in the next one they are context, and what is known is told."""
    study.model.find = lambda batch: [] if len(study.model.batches) > 1 else [fact(batch, "Lives in Lisbon.", MOVED)]
    history = (MOVED, "Good to know that.", "My sister came along, too.")
    await study.say(MOVED, named="c")
    await study.say(*history, named="c", answer="How nice for you both.")
    await study.learner.flush()
    (first,) = study.model.batches
    assert [(said.role, said.context) for said in first.messages] == [("user", False), ("assistant", False)] * 2
    await study.say(*history, "How nice for you both.", "And my sister is a nurse there.", named="c", answer="A nurse!")
    await study.learner.flush()
    second = study.model.batches[1]
    assert [said.context for said in second.messages] == [True] * 4 + [False] * 2
    assert [known.text for known in second.known] == ["Lives in Lisbon."]


async def test_the_same_fact_again_strengthens(study: Study) -> None:
    """It is not there twice, and tells where it was said."""
    study.model.find = lambda batch: [
        fact(batch, "The user lives in Lisbon.", "Lisbon", same_as=next((known.id for known in batch.known), None))
    ]
    await study.say(MOVED)
    await study.learner.flush()
    await study.say("As I said, Lisbon is where I live now.", answer="So you did.")
    await study.learner.flush()
    (found,) = await study.facts()
    assert (found.seen, len(found.sources)) == (2, 2)


async def test_a_changed_fact_supersedes_the_old_one_with_history(study: Study) -> None:
    """The old one tells what took its place and until when it held, and can be had back."""
    study.model.find = lambda batch: [
        fact(
            batch,
            f"The user lives in {batch.messages[-2].text.split()[3]}.",
            batch.messages[-2].text,
            replaces=next((known.id for known in batch.known), None),
        )
    ]
    await study.say("I moved to Lisbon last year.")
    await study.learner.flush()
    await study.say("I moved to Porto last week.", answer="Porto it is.")
    await study.learner.flush()
    (new,) = await study.facts()
    old, _ = await study.facts(superseded=True)
    assert (new.text, old.text) == ("The user lives in Porto.", "The user lives in Lisbon.")
    assert (old.superseded_by, old.valid_until) == (new.id, new.created_at)
    restored = await study.vault.edit(ADA, old.id, None, restore=True)
    assert restored is not None
    assert len(await study.facts()) == 2


async def test_contradictions_are_kept_with_both_dates(study: Study) -> None:
    """Nobody knows which of them is true."""
    study.model.find = lambda batch: [
        fact(
            batch, batch.messages[-2].text, batch.messages[-2].text, contradicts=next((k.id for k in batch.known), None)
        )
    ]
    await study.say("I have two brothers at home.")
    await study.learner.flush()
    await study.say("I have three brothers at home.", answer="Three of them.")
    await study.learner.flush()
    one, other = await study.facts()
    assert one.created_at < other.created_at


async def test_what_is_corrected_by_hand_holds(study: Study) -> None:
    """A model that finds the opposite changes nothing; nor does the same exchange that is stored again."""
    await study.say(MOVED)
    (turn,) = [m for m in (await study.vault.catalogue.memories(ADA, 9, None)).memories if m.role == "user"]
    edited = await study.vault.edit(ADA, turn.id, "I live in Lisbon, Alfama.")
    assert edited is not None
    study.model.find = lambda batch: [fact(batch, "Lives in Porto.", "Lisbon", topic="home", replaces=turn.id)]
    await study.learner.flush()
    texts = [memory.text for memory in (await study.vault.catalogue.memories(ADA, 9, None)).memories]
    assert "I live in Lisbon, Alfama." in texts
    assert MOVED not in texts


async def test_a_fact_of_an_abandoned_branch_is_retracted(study: Study) -> None:
    """With the message that it came from; and a fact that is found too late is not kept at all."""
    study.model.find = lambda batch: [
        fact(batch, "Has a dog called Rex.", "Rex") for said in batch.messages if "Rex" in said.text
    ]
    await study.say(MOVED, named="c")
    await study.say(MOVED, "Good to know that.", "My dog is called Rex.", named="c", answer="Rex is a nice name.")
    await study.learner.flush()
    assert len(await study.facts()) == 1
    await study.say(MOVED, "Good to know that.", "My cat is called Ink.", named="c", answer="Ink is a nice name.")
    assert await study.facts() == []


async def test_a_model_that_fails_is_asked_again_and_then_no_more(study: Study) -> None:
    """What was said stays; the entry is set aside with the reason, and can be tried again."""

    def fail(_: Batch) -> list[Fact]:
        raise ExtractionError("status 500")

    study.model.find = fail
    await study.say(MOVED)
    await study.learner.flush()
    await study.learner.flush()
    (failed,) = study.vault.journal.failed(9)
    assert (failed.stage, failed.reason) == ("extract", "status 500")
    study.model.find = lambda batch: [fact(batch, "The user lives in Lisbon.", "Lisbon")]
    study.vault.journal.retry_failed()
    await study.learner.flush()
    assert len(await study.facts()) == 1


async def test_a_budget_that_is_used_up_is_no_attempt(study: Study) -> None:
    """However often it is: the exchange waits for the next hour."""

    def fail(_: Batch) -> list[Fact]:
        raise ExtractionError("budget", after_s=3600, counted=False)

    study.model.find = fail
    await study.say(MOVED)
    for _ in range(5):
        await study.learner.flush()
    counts = study.vault.journal.counts()
    assert (counts.extracting, counts.failed) == (1, 0)


async def test_an_erasure_ends_work_under_way(study: Study) -> None:
    """What the model was about to find is not stored."""
    study.model.gate = asyncio.Event()
    study.model.find = lambda batch: [fact(batch, "The user lives in Lisbon.", "Lisbon")]
    await study.say(MOVED)
    flushing = study.tasks.spawn(study.learner.flush(), name="flush")
    await study.model.asked.wait()
    receipt = await study.vault.erase(ADA, None)
    assert (receipt.memories, receipt.journal_entries) == (2, 1)
    study.model.gate.set()
    await flushing
    assert (await study.vault.catalogue.memories(ADA, 9, None, include_superseded=True)).memories == []


async def test_an_erased_message_takes_its_facts_along(study: Study) -> None:
    """The receipt counts them."""
    study.model.find = lambda batch: [fact(batch, "The user lives in Lisbon.", "Lisbon")]
    await study.say(MOVED)
    await study.learner.flush()
    (turn,) = [m for m in (await study.vault.catalogue.memories(ADA, 9, None)).memories if m.text == MOVED]
    assert (await study.vault.erase(ADA, [turn.id])).memories == 2
    assert await study.facts() == []


@pytest.mark.asyncio(loop_scope="session")
async def test_facts_come_through_a_real_endpoint_and_back_in_a_block(launch: Launch, upstream: Upstream) -> None:
    """Said through the proxy, found by the model, stored, and told to the next conversation as noted."""
    async with run_upstream() as model:
        fact = {"text": "The user is allergic to chicken.", "quote": "I'm allergic to chicken", "message": 1}
        fact |= {"kind": "fact", "topic": "allergy", "same_as": None, "replaces": None, "contradicts": None}
        found = json.dumps({"facts": [fact]})
        model.script(*[respond(completion(found))] * 3)
        extraction = {"mode": "llm", "model": "m", "api_key": "k", "base_url": f"{model.url}/v1"}
        proxy = await launch(extraction=extraction)
        await proxy.chat("ada", ask("I'm allergic to chicken, so please mind that."), authorization="Bearer client-key")
        memories = await proxy.memories("ada")
        assert "client-key" not in str([visit.head for visit in model.visits])
        answer = await proxy.control("POST", f"{user_path('ada')}/recall", {"query": "Which food am I allergic to?"})
    assert [memory["text"] for memory in memories if memory["kind"] == "fact"] == ["The user is allergic to chicken."]
    assert "noted" in answer.json["block"] or "standing" in answer.json["block"]
    assert upstream.visits
