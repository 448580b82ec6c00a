"""Where memories lie during an evaluation, and whose memories a block holds."""

from pathlib import Path

import msgspec

from proxy.embedders.local import LocalEmbedder
from proxy.evaluation.archive import UnstoredArchive, open_store_archive, pick
from proxy.evaluation.asking import Asker, Witness
from proxy.evaluation.dataset import read_data_set
from proxy.models import Memory
from proxy.workingset import WorkingSet
from tests.datasets import make_conversation, make_question, write_set


def read_memories(folder: Path) -> dict[str, list[Memory]]:
    conversations = [
        make_conversation(0, "My dog is called Rex", "I live in Bonn"),
        make_conversation(1, "", "I like to be called Annie"),
        make_conversation(0, "My dog is called Bo", user="carl"),
    ]
    write_set(folder, conversations, [make_question("What is my dog called?", ("ann-0", 0))])
    return read_data_set(folder).memories


async def test_the_store_gives_back_what_each_user_said(tmp_path: Path) -> None:
    """Through the store, records are the same as made at once, and nobody has another's."""
    memories = read_memories(tmp_path)
    seen: list[int] = []
    async with open_store_archive(memories, seen.append) as archive:
        stored = {user: await archive.load(user) for user in memories}
    for user, pack in stored.items():
        made = await UnstoredArchive(memories, LocalEmbedder()).load(user)
        order = [pack.memories.index(memory) for memory in made.memories]
        assert pack.model is not None
        assert (pack.model.name, pack.model.dim) == (LocalEmbedder.name, LocalEmbedder.dim)
        # Only what is stored says by which model it is found.
        assert msgspec.structs.replace(pick(pack, order), model=None) == made
        assert len(order) == len(pack.memories)
    assert seen == [1, 2]


async def test_rows_can_be_picked(tmp_path: Path) -> None:
    """A pack of some rows is indexed like one made of just these memories."""
    memories = read_memories(tmp_path)
    whole = await UnstoredArchive(memories, LocalEmbedder()).load("ann")
    chosen = [memories["ann"][3], memories["ann"][0]]
    expected = await UnstoredArchive({"ann": chosen}, LocalEmbedder()).load("ann")
    assert pick(whole, [3, 0]) == expected
    assert len(WorkingSet.from_pack(pick(whole, []))) == 0


async def test_a_foreign_memory_is_seen(tmp_path: Path) -> None:
    """Both what says itself that it is another's, and what pretends to be the user's and is not in their file."""
    memories = read_memories(tmp_path)
    witness = Witness()
    witness.enrol("ann", memories["ann"])
    witness.enrol("carl", memories["carl"])
    # Another text, because a block does not say the same twice.
    forged = msgspec.structs.replace(memories["carl"][0], user_id="ann", id="forged", text="Bo is the dog that I walk")
    mixed = {"ann": [*memories["ann"], memories["carl"][0], forged]}
    for owner, expected in ((memories, 0), (mixed, 2)):
        pack = await UnstoredArchive(owner, LocalEmbedder()).load("ann")
        asker = Asker("ann", WorkingSet.from_pack(pack), LocalEmbedder(), witness)
        assert asker.find(asker.make_query("What is my dog called, Rex or Bo?")) is not None
        assert witness.report().foreign == expected
    assert (witness.report().users, witness.report().blocks) == (2, 2)
