"""Replicas on one Chroma server and one Redis whose memories move to another model: all follow, and mix nothing."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from proxy.keeper import wire
from proxy.keeper.lock import Holder
from proxy.keeper.moves import ReembeddingState
from proxy.keeper.reembedding import Reembedding
from proxy.keeper.vault import open_vault
from proxy.ledger import scripts
from proxy.models import EmbeddingModel, Scope
from proxy.tasks import Tasks
from tests.chroma_server import ChromaServer
from tests.embedding_models import SIZES, Models, serving_models, vector
from tests.replicas import Edge, make_settings, running_replicas

PROMPT: dict[str, object] = {"refresh_s": 1}
# What is only found out by looking now and then is not found out in time.
PATIENT: dict[str, object] = {"refresh_s": 60}


@pytest.fixture(scope="module")
def endpoint() -> Iterator[Models]:
    with serving_models() as served:
        yield served


@pytest.fixture
def models(endpoint: Models) -> Models:
    endpoint.reset()
    return endpoint


def chosen(models: Models, model: str) -> dict[str, Any]:
    return {"provider": "openai", "model": model, "base_url": models.url, "api_key": "k"}


async def until_settled(edge: Edge, **how: Any) -> ReembeddingState:
    state: ReembeddingState = await edge.client.call(wire.Reembed(start=True, **how))
    while state.state in ("moving", "verifying"):
        await asyncio.sleep(0.02)
        state = await edge.client.call(wire.Reembed(start=False))
    return state


def assert_one_model(edge: Edge, user: str) -> EmbeddingModel | None:
    """What the edge has of a user has vectors of one model, those that it makes; answers which, None for nothing."""
    found = edge.loader.sets.get(Scope(user))
    if found is None or found.model is None:
        return None
    name = found.model.name.removeprefix("openai:")
    for row, memory in enumerate(found.memories):
        expected = vector(name, memory.text).astype("float16").astype("float32")
        assert found.vectors[row].tolist() == expected.tolist(), memory.text
    return found.model


async def test_all_replicas_switch_and_mix_nothing(
    tmp_path: Path, redis_url: str, chroma: ChromaServer, models: Models
) -> None:
    """One moves while both write; whatever either edge has is of one model; afterwards it is the new one for both."""
    settings = make_settings(tmp_path / "command", redis_url, chroma.store, embedding=chosen(models, "old"))
    async with open_vault(settings, Holder(1, "a test")) as vault:
        for number in range(30):
            await vault.add(Scope(f"user {number % 5}"), f"remark {number}")
    where = chroma.store | PATIENT
    async with running_replicas(tmp_path, redis_url, where, embedding=chosen(models, "new")) as (one, other):
        for edge in (one, other):
            await edge.load("user 0")
            assert_one_model(edge, "user 0")
        stop, tasks = asyncio.Event(), Tasks()
        said: list[str] = []

        async def talk(edge: Edge, name: str) -> None:
            number = 0
            while not stop.is_set():
                number += 1
                await edge.add("user 0", f"said {number} to {name}")
                said.append(f"said {number} to {name}")
                for each in (one, other):
                    assert_one_model(each, "user 0")
                    await each.load("user 0")

        talking = [
            tasks.spawn(talk(edge, name), name="talk", awaited=True) for edge, name in ((one, "one"), (other, "two"))
        ]
        state = await until_settled(one)
        assert (state.state, state.serving) == ("settled", f"openai:new ({SIZES['new']} dimensions)")
        count = len(said)
        while len(said) < count + 6:
            await one.hear()
        stop.set()
        await asyncio.gather(*talking)
        for edge in (one, other):
            await edge.load("user 0")
            model = assert_one_model(edge, "user 0")
            assert model is not None
            assert model.name == "openai:new"
            texts = edge.texts("user 0")
            assert texts is not None
            assert set(said) <= texts
        # What a replica wrote that had not heard of it at once was given both.
        again = await until_settled(other)
        assert (again.state, again.moved) == ("settled", 0)


async def test_who_only_listens_hears_of_it(
    tmp_path: Path, redis_url: str, chroma: ChromaServer, models: Models
) -> None:
    """A replica that writes nothing switches with the others, long before it would look."""
    settings = make_settings(tmp_path / "command", redis_url, chroma.store, embedding=chosen(models, "old"))
    async with open_vault(settings, Holder(1, "a test")) as vault:
        await vault.add(Scope("ada"), "She has a parrot.")
    where = chroma.store | PATIENT
    async with running_replicas(tmp_path, redis_url, where, embedding=chosen(models, "new")) as (one, other):
        await other.load("ada")
        assert (await until_settled(one)).moved == 1
        await other.until(lambda: wire.Stale() in other.stale[1:])
        await other.load("ada")
        model = assert_one_model(other, "ada")
        assert model is not None
        assert model.name == "openai:new"


async def test_who_hears_nothing_looks(
    tmp_path: Path, redis_url: str, chroma: ChromaServer, models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A switch that nobody was told of is found out within the time that something may go unnoticed."""
    silent = "\n".join(line for line in scripts.CHANGE_EMBEDDING.splitlines() if "PUBLISH" not in line)
    where = chroma.store | PROMPT
    async with running_replicas(tmp_path, redis_url, where, embedding=chosen(models, "old"), count=1) as (edge,):
        await edge.add("ada", "She has a parrot.")
        monkeypatch.setattr(scripts, "CHANGE_EMBEDDING", silent)
        settings = make_settings(tmp_path / "command", redis_url, chroma.store, embedding=chosen(models, "new"))
        async with open_vault(settings, Holder(1, "a test")) as vault:
            assert await Reembedding(vault).run()
        await edge.until(lambda: wire.Stale() in edge.stale[1:])
        await edge.load("ada")
        model = assert_one_model(edge, "ada")
        assert model is not None
        assert model.name == "openai:new"
