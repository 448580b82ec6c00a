"""The vault: what only one process at a time may do with a data directory, on a real store and a real journal."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
import pytest_asyncio

from proxy import config
from proxy.config import Settings
from proxy.errors import LockedError, StoreError
from proxy.journal import JournalWriter
from proxy.keeper import wire
from proxy.keeper.lock import Holder
from proxy.keeper.vault import Vault, open_vault
from proxy.models import Exchange, Memory, Message, Record, Scope, now
from proxy.remember.records import refresh
from proxy.remember.segment import make_turn
from proxy.statements import Statement
from proxy.stores.base import Activity
from proxy.stores.embedded import EmbeddedChroma
from proxy.stores.measured import MeasuredStore
from proxy.tasks import Tasks
from proxy.text import ANALYSIS
from proxy.workingset import WorkingSet

ADA, BOB = Scope("ada"), Scope("bob")
AT = datetime(2026, 1, 2, tzinfo=UTC)
HOLDER = Holder(1, "a test")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return config.load(flags={"data_dir": tmp_path, "embedding": {"provider": "none"}})


@pytest_asyncio.fixture
async def vault(settings: Settings) -> AsyncIterator[Vault]:
    async with open_vault(settings, HOLDER) as opened:
        yield opened


def turns(scope: Scope, *texts: str, conversation: str = "c", at: datetime = AT) -> list[Memory]:
    return [make_turn(scope, conversation, n, Message("user", text), at) for n, text in enumerate(texts)]


def talk(user: str, *texts: str, conversation: str = "c", at: datetime = AT) -> bytes:
    messages = [{"role": "user", "content": text} for text in texts]
    started = at.isoformat()
    return json.dumps(
        {"user_id": user, "conversation_id": conversation, "started_at": started, "messages": messages}
    ).encode()


async def listed(vault: Vault, scope: Scope, limit: int = 1000) -> list[list[str]]:
    """The texts of each page."""
    pages: list[list[str]] = []
    cursor: wire.Cursor | None = None
    while True:
        page = await vault.catalogue.memories(scope, limit, cursor)
        pages.append([memory.text for memory in page.memories])
        cursor = page.cursor
        if cursor is None:
            return pages


async def test_importing_twice_changes_nothing(vault: Vault) -> None:
    """The second time everything is known; so is what appears twice in one file. Nothing is announced again."""
    changes: list[wire.Changed] = []
    vault.on_change = changes.append
    lines = [talk("ada", "one", "two"), talk("bob", "three"), b"rubbish", talk("ada", "one", "two")]
    first = await vault.take_in(lines, first_line=10)
    assert first.stored == 3
    assert [number for number, _ in first.errors] == [12]
    assert {change.scope for change in changes} == {ADA, BOB}
    changes.clear()
    again = await vault.take_in(lines)
    assert (again.stored, again.known >= 3, changes) == (0, True, [])
    assert await listed(vault, ADA) == [["two", "one"]]


async def test_progress_adds_up(vault: Vault) -> None:
    """Whoever shows a bar hears of every memory once, known ones too."""
    done: list[int] = []
    lines = [talk("ada", *(f"remark {number}" for number in range(150)))]
    for _ in range(2):
        done.clear()
        await vault.take_in_read(await vault.read_lines(lines), progress=done.append)
        assert sum(done) == 150


async def test_an_import_leaves_known_memories_as_they_are(vault: Vault) -> None:
    """A memory that is there already is not overwritten by a line of the same id."""
    (memory,) = turns(ADA, "as it was")
    line: dict[str, object] = {"id": memory.id, "user_id": "ada", "kind": "fact", "role": "user", "text": "changed"}
    line |= {"created_at": AT.isoformat(), "conversation_id": "c", "message_index": 0}
    async with vault.turns.pause():
        await vault.remember({ADA: [memory]})
    assert (await vault.take_in([json.dumps(line).encode()])).known == 1
    assert await listed(vault, ADA) == [["as it was"]]


async def test_an_export_misses_nothing_without_saying_so(vault: Vault) -> None:
    """A memory that is there and cannot be read is an error; one that was erased meanwhile is none."""
    await vault.take_in([talk("ada", "one", "two", "three")])
    rows = await vault.catalogue.rows(ADA)
    memory_ids = [memory.id for memory in await vault.catalogue.read(ADA, rows)]
    await vault.erase(ADA, memory_ids[1:2])
    assert [memory.text for memory in await vault.catalogue.read(ADA, rows)] == ["one", "three"]
    store = vault.store
    assert isinstance(store, MeasuredStore)
    damaged = store._store
    assert isinstance(damaged, EmbeddedChroma)
    damaged._remove(f"records.{ADA.part:02}", rows[:1])
    with pytest.raises(StoreError, match="1 memories of 2 are there and cannot be read"):
        await vault.catalogue.read(ADA, rows)


@pytest.mark.parametrize("limit", [1, 3, 7, 1000])
async def test_pages_show_everything_once(vault: Vault, limit: int) -> None:
    """Newest first, across conversations of one date and within them, without gaps or repetitions."""
    days = [AT + timedelta(days=day) for day in (0, 0, 1)]
    lines = [talk("ada", "a", "b", "c", conversation=f"c{n}", at=day) for n, day in enumerate(days)]
    await vault.take_in([*lines, talk("bob", "x")])
    pages = await listed(vault, ADA, limit)
    assert [text for page in pages for text in page] == ["c", "b", "a"] * 3
    assert all(len(page) <= limit for page in pages)
    assert len(pages) == -(-9 // limit)


async def test_pages_stand_still_while_memories_come_and_go(vault: Vault) -> None:
    """What is added above or erased from the page just read moves nothing of the next one."""
    await vault.take_in([talk("ada", *"abcdef")])
    first = await vault.catalogue.memories(ADA, 2, None)
    assert [memory.text for memory in first.memories] == ["f", "e"]
    await vault.take_in([talk("ada", "new", conversation="d", at=AT + timedelta(days=9))])
    await vault.erase(ADA, [first.memories[1].id])
    second = await vault.catalogue.memories(ADA, 2, first.cursor)
    assert [memory.text for memory in second.memories] == ["d", "c"]


async def test_users_are_listed_by_their_latest_activity(vault: Vault) -> None:
    """The latest first, with counts; an older import does not make a user older; an erased one is gone."""
    await vault.take_in([talk(f"user {n}", "x", at=AT + timedelta(days=n)) for n in range(5)])
    await vault.take_in([talk("user 4", "older", conversation="d", at=AT - timedelta(days=9))])
    await vault.erase(Scope("user 2"), None)
    rows, cursor = [], None
    while True:
        page = await vault.catalogue.users(3, cursor)
        rows += page.users
        cursor = page.cursor
        if cursor is None:
            break
    assert [(row.user_id, row.memories) for row in rows] == [("user 4", 2), ("user 3", 1), ("user 1", 1), ("user 0", 1)]
    assert rows[0].last_activity == "2026-01-06T00:00:00Z"


async def test_users_are_read_from_the_store_once(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of those who ask at the same time one reads: a later, older reading would make new users unknown again."""
    readings: list[None] = []
    read = EmbeddedChroma.activity

    def count(store: EmbeddedChroma) -> dict[str, Activity]:
        readings.append(None)
        return read(store)

    monkeypatch.setattr(EmbeddedChroma, "activity", count)
    await asyncio.gather(
        vault.prepare(),
        vault.catalogue.users(10, None),
        vault.take_in([talk("ada", "hello")]),
        vault.catalogue.users(10, None),
    )
    assert len(readings) == 1
    assert [user.user_id for user in (await vault.catalogue.users(10, None)).users] == ["ada"]


async def test_users_are_known_after_reopening(settings: Settings) -> None:
    """The list of users is kept with the store."""
    async with open_vault(settings, HOLDER) as vault:
        await vault.take_in([talk("ada", "x")])
    async with open_vault(settings, HOLDER) as vault:
        assert [row.user_id for row in (await vault.catalogue.users(5, None)).users] == ["ada"]


async def test_a_loaded_pack_has_all_memories_of_the_user(vault: Vault) -> None:
    """What the edge gets is this user's memories, findable."""
    await vault.take_in([talk("ada", "one", "two"), talk("bob", "three")])
    working_set = WorkingSet.from_pack(await vault.load(ADA))
    assert sorted(memory.text for memory in working_set.memories) == ["one", "two"]
    assert not WorkingSet.from_pack(await vault.load(Scope("nobody"))).memories


@pytest.mark.parametrize(("stored", "sizes"), [(0, [0]), (1, [1]), (4, [4]), (5, [4, 1]), (8, [4, 4]), (9, [4, 4, 1])])
async def test_a_user_is_loaded_in_parts(
    vault: Vault, monkeypatch: pytest.MonkeyPatch, stored: int, sizes: list[int]
) -> None:
    """What was stored last comes first, each part says what is left, and only the last one that there is nothing."""
    monkeypatch.setattr("proxy.keeper.vault.PART", 4)
    texts = [f"text {number}" for number in range(stored)]
    await vault.take_in([talk("ada", *texts), talk("bob", "other")])
    parts = [part async for part in vault.load_parts(ADA)]
    assert [len(part.pack.memories) for part in parts] == sizes
    assert [part.left for part in parts] == [stored - sum(sizes[: n + 1]) for n in range(len(sizes))]
    assert [m.text for part in reversed(parts) for m in part.pack.memories] == texts


async def test_what_is_erased_between_two_parts_does_not_come(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    """A load under way goes on without it; what is stored meanwhile is for the announcement to tell."""
    monkeypatch.setattr("proxy.keeper.vault.PART", 2)
    await vault.take_in([talk("ada", *"abcd")])
    erased = (await vault.catalogue.memories(ADA, 4, None)).memories[-1]
    seen = []
    async with aclosing(vault.load_parts(ADA)) as parts:
        async for part in parts:
            seen.append([memory.text for memory in part.pack.memories])
            await vault.erase(ADA, [erased.id])
            await vault.take_in([talk("ada", "new", conversation="d")])
    assert seen == [["c", "d"], ["b"]]


async def test_what_a_user_states_is_found_once_and_stored(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Statements are made when a memory is, of the user's words only, and travel with it from then on."""
    asked: list[str] = []

    def find(text: str) -> tuple[Statement, ...]:
        asked.append(text)
        return (Statement(0, len(text), "fact", "topic"),)

    monkeypatch.setattr("proxy.remember.records.find_statements", find)
    said = [Message("user", "I am Ada."), Message("assistant", "You are Ada.")]
    turns_ = [make_turn(ADA, "c", n, message, AT) for n, message in enumerate(said)]
    announced: list[wire.Changed] = []
    async with open_vault(settings, HOLDER) as vault:
        vault.on_change = announced.append
        async with vault.turns.pause():
            await vault.remember({ADA: turns_})
    async with open_vault(settings, HOLDER) as vault:
        pack = await vault.load(ADA)
    expected = {turns_[0].id: (Statement(0, 9, "fact", "topic"),)}
    assert WorkingSet.from_pack(pack).statements == expected
    assert [WorkingSet.from_pack(change.pack).statements for change in announced if change.pack] == [expected]
    assert asked == ["I am Ada."]


async def test_statements_of_an_older_analysis_are_made_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the terms, when the analysis has changed; what is up to date stays the very record it was."""
    (memory,) = turns(ADA, "I am Ada.")
    stale = Record(memory, b"", b"", ANALYSIS - 1)
    monkeypatch.setattr("proxy.remember.records.find_statements", lambda text: (Statement(0, len(text), "fact"),))
    made = refresh(stale, None)
    assert (made.statements, made.analysis) == ((Statement(0, 9, "fact"),), ANALYSIS)
    assert made.terms
    assert refresh(made, None) is made


def test_records_stored_before_there_were_statements_are_read() -> None:
    """And one without any takes no room for them."""
    (memory,) = turns(ADA, "hello")
    record = Record(memory, b"", b"", ANALYSIS, "model")
    stored = msgspec.json.encode(record)
    assert b"statements" not in stored
    assert msgspec.json.decode(stored, type=Record) == record


async def test_erasing_one_memory(vault: Vault) -> None:
    """The receipt counts it, the edge hears of it; a second time there is nothing; others' memories stay."""
    await vault.take_in([talk("ada", "one", "two"), talk("bob", "one")])
    changes: list[wire.Changed] = []
    vault.on_change = changes.append
    (memory, _) = (await vault.catalogue.memories(ADA, 5, None)).memories
    assert (await vault.erase(BOB, [memory.id])).memories == 0
    assert (await vault.erase(ADA, [memory.id])).memories == 1
    assert (await vault.erase(ADA, [memory.id])).memories == 0
    assert await listed(vault, ADA) == [["one"]]
    assert await listed(vault, BOB) == [["one"]]
    assert wire.Changed(ADA, removed=[memory.id], erased=True) in changes


async def test_erasing_a_user_reaches_the_journal(settings: Settings, vault: Vault) -> None:
    """What waits to be stored goes, too, and nobody else's; the edge is told to forget everything."""
    async with aclosing(JournalWriter(settings.data_dir)) as journal:
        journal.start()
        for user in ("ada", "ada", "bob"):
            await journal.append(Exchange(user, "c", 0, [Message("user", "waiting")], AT))
    await vault.take_in([talk("ada", "one", "two")])
    changes: list[wire.Changed] = []
    vault.on_change = changes.append
    receipt = await vault.erase(ADA, None)
    assert (receipt.user_id, receipt.memories, receipt.journal_entries) == ("ada", 2, 2)
    assert changes == [wire.Changed(ADA, everything=True)]
    assert [entry.exchange.user_id for entry in vault.journal.take(10)] == ["bob"]
    assert await listed(vault, ADA) == [[]]


async def test_an_erasure_waits_for_what_is_being_stored(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user erased while a batch of theirs is under way has nothing afterwards, and the edge hears it last."""
    under_way, go_on = threading.Event(), threading.Event()
    put = EmbeddedChroma.put

    def slow_put(store: EmbeddedChroma, records: Mapping[Scope, Sequence[Record]]) -> None:
        under_way.set()
        go_on.wait(10)
        put(store, records)

    monkeypatch.setattr(EmbeddedChroma, "put", slow_put)
    changes: list[wire.Changed] = []
    vault.on_change = changes.append
    tasks = Tasks()
    importing = tasks.spawn(vault.take_in([talk("ada", "one")]), name="import")
    await asyncio.to_thread(under_way.wait, 10)
    erasing = tasks.spawn(vault.erase(ADA, None), name="erase")
    go_on.set()
    assert (await importing).stored == 1
    assert (await erasing).memories == 1
    assert await listed(vault, ADA) == [[]]
    assert [change.everything for change in changes] == [False, True]


async def test_what_was_not_stored_is_not_announced(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that fails raises, and the edge hears nothing of it; the same import works later."""
    changes: list[wire.Changed] = []
    vault.on_change = changes.append

    def fail(*_: object) -> None:
        raise StoreError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(EmbeddedChroma, "put", fail)
        with pytest.raises(StoreError):
            await vault.take_in([talk("ada", "one")])
    assert changes == []
    assert (await vault.take_in([talk("ada", "one")])).stored == 1


async def test_the_model_in_force_stays_so(settings: Settings) -> None:
    """Another one may be configured: what is stored goes on having vectors of the first one, and those alone."""
    local = config.load(flags={"data_dir": settings.data_dir})
    async with open_vault(local, HOLDER) as vault:
        await vault.take_in([talk("ada", "one")])
    async with open_vault(settings, HOLDER) as vault:
        await vault.take_in([talk("ada", "two", conversation="d")])
        pack = await vault.load(ADA)
        assert (len(pack.memories), pack.dim, pack.model) == (2, 256, vault.embeddings.serving)
        assert any(pack.vectors[512:])


async def test_a_directory_is_opened_once(settings: Settings, vault: Vault) -> None:
    """A second vault of the same directory is refused, with the name of the first one's holder."""
    with pytest.raises(LockedError, match="a test"):
        async with open_vault(settings, Holder(2, "another")):
            pass


def exchange(user: str, text: str) -> Exchange:
    return Exchange(user, "c", 0, [Message("user", text)], AT)


@pytest.mark.parametrize("step", ["list_rows", "put"])
async def test_what_could_not_be_learnt_is_learnt_the_next_time(
    vault: Vault, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """A failure in the middle of a batch leaves nobody's exchange for known that was not stored."""
    batch = [exchange("ada", "The harbour is near."), exchange("bob", "The zoo is far away.")]
    whole = getattr(EmbeddedChroma, step)

    def fail(store: EmbeddedChroma, asked: Scope | Mapping[Scope, object]) -> object:
        if asked == BOB or (isinstance(asked, dict) and BOB in asked):
            raise StoreError("down")
        return whole(store, asked)

    with monkeypatch.context() as patch:
        patch.setattr(EmbeddedChroma, step, fail)
        async with vault.turns.pause():
            with pytest.raises(StoreError):
                await vault.learn(batch)
    async with vault.turns.pause():
        await vault.learn(batch)
        await vault.learn(batch)
    assert (await listed(vault, ADA), await listed(vault, BOB)) == (
        [["The harbour is near."]],
        [["The zoo is far away."]],
    )


async def test_a_memory_by_hand_is_masked_and_wins(vault: Vault) -> None:
    """It takes the place of what was said about the same; the edit of one overwrites its text for good."""
    async with vault.turns.pause():
        await vault.learn([exchange("ada", "I'm vegetarian.")])
    added = await vault.add(ADA, "I'm vegan. Token: ghp_" + "A1b2C3d4" * 4 + "E5f6")
    assert added.text == "I'm vegan. Token: [secret: github_token]"
    assert await listed(vault, ADA) == [[added.text]]
    edited = await vault.edit(ADA, added.id, "I'm vegan at home.")
    assert edited is not None
    assert (edited.id, edited.origin) == (added.id, "hand")
    assert await listed(vault, ADA) == [["I'm vegan at home."]]
    assert await vault.edit(ADA, "no such id", "x") is None


async def test_who_has_memory_switched_off_is_told_nothing_and_teaches_nothing(vault: Vault) -> None:
    """What was there stays, and is there again when it is on."""
    async with vault.turns.pause():
        await vault.learn([exchange("ada", "The harbour is near.")])
    await vault.switch(ADA, off=True)
    async with aclosing(vault.load_parts(ADA)) as parts:
        assert [(len(part.pack.memories), part.off) async for part in parts] == [(0, True)]
    async with vault.turns.pause():
        await vault.learn([exchange("ada", "The zoo is far away.")])
    await vault.switch(ADA, off=False)
    assert len((await vault.load(ADA)).memories) == 1


async def test_the_least_useful_goes_first(settings: Settings) -> None:
    """What holds no more, then what the assistant said, then the oldest; what was written by hand stays."""
    few = config.load(
        flags={
            "data_dir": settings.data_dir,
            "embedding": {"provider": "none"},
            "retention": {"max_memories_per_user": 3},
        }
    )
    async with open_vault(few, HOLDER) as vault:
        by_hand = await vault.add(ADA, "Ada has a boat.")
        async with vault.turns.pause():
            for day, text in enumerate(("The harbour is near.", "The zoo is far away.", "Trains are late.")):
                said = [Message("user", text), Message("assistant", f"{text} So I have heard.")]
                await vault.learn([Exchange("ada", f"c{day}", 0, said, AT + timedelta(days=day))])
        (texts,) = await listed(vault, ADA)
        assert sorted(texts) == sorted([by_hand.text, "Trains are late.", "The zoo is far away."])
        assert vault.metrics.registry.get_sample_value("memory_proxy_messages_total", {"outcome": "evicted"}) == 4


async def test_what_is_too_old_goes(settings: Settings) -> None:
    """Of every user, when the keeper looks; not what was written by hand."""
    async with open_vault(settings, HOLDER) as vault:
        await vault.take_in([talk("ada", "an old one"), talk("ada", "a new one", conversation="d", at=now())])
        by_hand = await vault.add(BOB, "Bob has a boat.")
    flags = {"data_dir": settings.data_dir, "embedding": {"provider": "none"}, "retention": {"max_age_days": 1}}
    async with open_vault(config.load(flags=flags), HOLDER) as vault:
        await vault.apply_retention()
        assert await listed(vault, ADA) == [["a new one"]]
        assert await listed(vault, BOB) == [[by_hand.text]]


async def test_an_erased_memory_does_not_come_back_from_the_journal(settings: Settings, vault: Vault) -> None:
    """Where its exchange waits for another attempt: of that, the rest is stored."""
    said = [Message("user", "The harbour is near."), Message("assistant", "It is, by the river.")]
    waiting = Exchange("ada", "c", 0, said, AT)
    async with aclosing(JournalWriter(settings.data_dir)) as journal:
        journal.start()
        await journal.append(waiting)
    async with vault.turns.pause():
        await vault.learn([waiting])
    (memory,) = [m for m in (await vault.catalogue.memories(ADA, 9, None)).memories if m.role == "user"]
    receipt = await vault.erase(ADA, [memory.id])
    assert (receipt.memories, receipt.journal_entries) == (1, 1)
    async with vault.turns.pause():
        await vault.learn([entry.exchange for entry in vault.journal.take(9)])
    assert await listed(vault, ADA) == [["It is, by the river."]]


async def test_two_receipts_of_one_erasure_differ_from_those_of_another(vault: Vault) -> None:
    """The digest covers what was erased, when and of whom."""
    await vault.take_in([talk("ada", "one", "two")])
    first = await vault.erase(ADA, None)
    second = await vault.erase(ADA, None)
    assert len({first.digest, second.digest}) == 2
    assert (first.memories, second.memories) == (2, 0)
