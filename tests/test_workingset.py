"""Packs, working sets and the cache of them."""

import random
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta, timezone

import msgspec
import numpy as np
import pytest

from proxy.embedders.base import pack_vector
from proxy.models import EmbeddingModel, Memory, Record, Scope
from proxy.packing import make_pack
from proxy.statements import Statement
from proxy.text import ANALYSIS, hash_word, pack_terms, terms
from proxy.workingset import Arrival, Change, WorkingSet, WorkingSets, memories

_WORDS = ("apple", "bread", "cat", "dog", "egg", "fig", "grape", "ham")


def make_record(
    number: int,
    text: str = "apple",
    *,
    conversation: str = "c",
    position: int | None = None,
    vector: Sequence[float] = (),
    name: str | None = None,
) -> Record:
    memory = Memory(
        id=f"m{number}",
        user_id="u",
        kind="turn",
        role="user",
        text=text,
        created_at=datetime(2024, 1, 1, tzinfo=UTC),
        conversation_id=conversation,
        message_index=number if position is None else position,
        name=name,
    )
    packed = pack_vector(np.array(vector, np.float32)) if vector else b""
    return Record(memory, packed, pack_terms(text, name), ANALYSIS)


def list_counts(working_set: WorkingSet, word: str) -> dict[str, float]:
    """Which memories say *word*, and how often."""
    found = working_set.find([hash_word(word)])
    return {
        working_set.memories[row].id: count
        for row, count in zip(found.row.tolist(), found.weight.tolist(), strict=True)
    }


def test_a_pack_becomes_a_set() -> None:
    """Postings, lengths, vectors and memories of a pack are those of its records."""
    records = [make_record(0, "dog dog cat", vector=(1, 0)), make_record(1, "cat bread", vector=(0, 1))]
    working_set = WorkingSet.from_pack(make_pack(records))
    assert working_set.memories == [record.memory for record in records]
    assert list_counts(working_set, "dog") == {"m0": 2}
    assert list_counts(working_set, "cat") == {"m0": 1, "m1": 1}
    assert list_counts(working_set, "fig") == {}
    assert working_set.columns.words.tolist() == [3, 2]
    assert working_set.vectors.tolist() == [[1, 0], [0, 1]]


def test_terms_are_numbered_by_their_place() -> None:
    """Postings of several terms say which of the asked terms they belong to."""
    working_set = WorkingSet.from_pack(make_pack([make_record(0, "dog cat"), make_record(1, "cat")]))
    found = working_set.find([hash_word("fig"), hash_word("cat"), hash_word("dog")])
    assert sorted(zip(found.term.tolist(), found.row.tolist(), strict=True)) == [(1, 0), (1, 1), (2, 0)]


@pytest.mark.parametrize("hash_value", [0, 0xFFFFFFFF])
def test_extreme_terms_are_found(hash_value: int) -> None:
    """The least and the greatest possible hash are terms like any other."""
    packed = np.array([hash_value], "<u4").tobytes() + np.array([3], "<u2").tobytes()
    record = msgspec.structs.replace(make_record(0), terms=packed)
    found = WorkingSet.from_pack(make_pack([record])).find([hash_value])
    assert (found.row.tolist(), found.weight.tolist()) == ([0], [3])


def test_vectors_of_another_size_count_as_none() -> None:
    """The commonest size wins; a record without a vector, or with one of another model, has zeros."""
    records = [
        make_record(0, vector=(1, 0)),
        make_record(1, vector=(1, 0, 0)),
        make_record(2),
        make_record(3, vector=(0, 1)),
    ]
    working_set = WorkingSet.from_pack(make_pack(records))
    assert working_set.vectors.tolist() == [[1, 0], [0, 0], [0, 0], [0, 1]]
    working_set.add(make_pack([make_record(4, vector=(1, 0, 0))]))
    assert working_set.vectors[4].tolist() == [0, 0]


def test_vectors_may_come_later() -> None:
    """A set without vectors takes the size of the first ones added."""
    working_set = WorkingSet.from_pack(make_pack([make_record(0)]))
    assert working_set.vectors.shape == (1, 0)
    working_set.add(make_pack([make_record(1, vector=(0, 1))]))
    assert working_set.vectors.tolist() == [[0, 0], [0, 1]]
    working_set.add(make_pack([make_record(2)]))
    assert working_set.vectors.tolist() == [[0, 0], [0, 1], [0, 0]]


def test_an_empty_pack_is_fine() -> None:
    """Nobody has no memories, and finding among them finds none."""
    working_set = WorkingSet.from_pack(make_pack([]))
    assert len(working_set) == 0
    assert len(working_set.find([1]).row) == 0
    assert working_set.layout.neighbours.shape == (4, 0)


def test_additions_replace_the_same_id() -> None:
    """A memory added again takes the place of the old one, words and all."""
    working_set = WorkingSet.from_pack(make_pack([make_record(0, "dog"), make_record(1, "cat")]))
    working_set.add(make_pack([make_record(0, "bread")]))
    assert len(working_set) == 2
    assert list_counts(working_set, "dog") == {}
    assert list_counts(working_set, "bread") == {"m0": 1}
    assert list_counts(working_set, "cat") == {"m1": 1}


def test_a_broken_pack_changes_nothing() -> None:
    """Parts that do not fit together raise ValueError before anything is replaced."""
    working_set = WorkingSet.from_pack(make_pack([make_record(0, "dog", vector=(1, 0))]))
    good = make_pack([make_record(0, "cat", vector=(0, 1))])
    for broken in (msgspec.structs.replace(good, counts=b""), msgspec.structs.replace(good, vectors=b"\0\0")):
        with pytest.raises(ValueError, match=r"fit together|do not make"):
            working_set.add(broken)
    assert list_counts(working_set, "dog") == {"m0": 1}


def test_removal_leaves_no_trace() -> None:
    """A removed memory is neither counted nor found, and unknown ids are ignored."""
    records = [make_record(number, text, vector=(number, 1)) for number, text in enumerate(("dog", "dog cat", "cat"))]
    working_set = WorkingSet.from_pack(make_pack(records))
    before = working_set.nbytes
    working_set.remove(["m1", "m1", "nobody"])
    assert [memory.id for memory in working_set.memories] == ["m0", "m2"]
    assert list_counts(working_set, "dog") == {"m0": 1}
    assert list_counts(working_set, "cat") == {"m2": 1}
    assert working_set.vectors.tolist() == [[0, 1], [2, 1]]
    assert "m1" not in working_set
    assert working_set.nbytes < before


def test_many_changes_equal_one_pack() -> None:
    """However a set came about, with merges of its postings and growth of its arrays, it finds the same."""
    chance = random.Random(5)
    state: dict[str, Record] = {}
    working_set = WorkingSet()
    for _ in range(120):
        batch = [
            make_record(chance.randrange(900), _pick_text(chance), vector=(1, 2)) for _ in range(chance.randrange(40))
        ]
        batch = list({record.memory.id: record for record in batch}.values())
        working_set.add(make_pack(batch))
        state |= {record.memory.id: record for record in batch}
        gone = [f"m{chance.randrange(900)}" for _ in range(5)]
        working_set.remove(gone)
        state = {key: record for key, record in state.items() if key not in gone}
    assert {memory.id for memory in working_set.memories} == state.keys()
    assert working_set.vectors.tolist() == [[1, 2]] * len(state)
    for word in _WORDS:
        term = hash_word(terms_word(word))
        expected = {key: counts[term] for key, record in state.items() if term in (counts := terms(record.memory.text))}
        assert list_counts(working_set, terms_word(word)) == expected


def terms_word(word: str) -> str:
    """The index word of *word*."""
    return {"apple": "appl"}.get(word, word)


def _pick_text(chance: random.Random) -> str:
    rare = " ".join(f"w{chance.randrange(5000)}" for _ in range(30))
    return " ".join(chance.choices(_WORDS, k=4)) + " " + rare


def test_removal_from_a_large_set_keeps_everything_in_place() -> None:
    """Thousands of rows that move up keep their vectors, their columns and their words."""
    records = [make_record(n, f"w{n}", vector=(n % 2000, 1)) for n in range(2_600)]
    working_set = WorkingSet.from_pack(make_pack(records))
    working_set.remove([f"m{n}" for n in (0, 7, 1_300)])
    numbers = [n for n in range(2_600) if n not in (0, 7, 1_300)]
    assert working_set.vectors[:, 0].tolist() == [n % 2000 for n in numbers]
    assert working_set.columns.position.tolist() == numbers
    assert list_counts(working_set, "w2599") == {"m2599": 1}
    assert [working_set.row(f"m{n}") for n in numbers] == list(range(len(numbers)))
    with pytest.raises(KeyError):
        working_set.row("m7")


def test_neighbours_are_of_the_same_conversation_in_order() -> None:
    """Rows two and one before and after by position, whatever order they came in; -1 beyond the conversation."""
    records = [make_record(n, conversation=c) for c, n in (("a", 2), ("b", 7), ("a", 0), ("a", 1), ("b", 8))]
    near = WorkingSet.from_pack(make_pack(records)).layout.neighbours
    assert near[:, 0].tolist() == [2, 3, -1, -1]
    assert near[:, 2].tolist() == [-1, -1, 3, 0]
    assert near[:, 3].tolist() == [-1, 2, 0, -1]
    assert near[:, 1].tolist() == [-1, -1, 4, -1]


def test_neighbours_follow_changes() -> None:
    """A memory added or removed changes who is next to whom."""
    working_set = WorkingSet.from_pack(make_pack([make_record(0), make_record(2)]))
    assert working_set.layout.neighbours[2].tolist() == [1, -1]
    working_set.add(make_pack([make_record(1)]))
    assert working_set.layout.neighbours[2].tolist() == [2, -1, 1]
    working_set.remove(["m1"])
    assert working_set.layout.neighbours[2].tolist() == [1, -1]


def test_neighbours_are_the_same_however_they_came() -> None:
    """Turns added to the ends of conversations, into them, or all at once lie next to the same ones."""
    chance = random.Random(3)
    ends = dict.fromkeys("abcde", 0)
    records: list[Record] = []
    working_set = WorkingSet()
    for number in range(300):
        conversation = chance.choice("abcde")
        ends[conversation] += 1 if chance.random() < 0.95 else -1
        added = make_record(number, conversation=conversation, position=ends[conversation])
        records.append(added)
        working_set.add(make_pack([added]))
        near = working_set.layout.neighbours
    assert near.tolist() == WorkingSet.from_pack(make_pack(records)).layout.neighbours.tolist()


def test_what_is_derived_from_a_set_is_dropped_with_each_change() -> None:
    """The version moves, and what ranking has kept is gone, after additions and removals and at no other time."""
    working_set = WorkingSet()
    seen = {working_set.version}
    changes: list[Callable[[], None]] = [
        lambda: working_set.add(make_pack([make_record(0), make_record(1)])),
        lambda: working_set.remove(["m0"]),
        lambda: working_set.add(make_pack([make_record(2)])),
    ]
    for change in changes:
        working_set.derived[str] = "kept"
        change()
        assert working_set.derived == {}
        seen.add(working_set.version)
    assert len(seen) == 4
    working_set.derived[str] = "kept"
    working_set.remove(["nobody"])
    assert (working_set.derived, working_set.version in seen) == ({str: "kept"}, True)


def test_times_are_seconds() -> None:
    """When a memory was made, to the microsecond, wherever the clock stood."""
    when = datetime(2024, 5, 6, 7, 8, 9, 123456, tzinfo=timezone(timedelta(hours=-7)))
    record = make_record(0)
    record = msgspec.structs.replace(record, memory=msgspec.structs.replace(record.memory, created_at=when))
    working_set = WorkingSet.from_pack(make_pack([record]))
    assert working_set.columns.when.tolist() == [when.timestamp()]


def test_statements_are_known_by_memory() -> None:
    """Those of a pack belong to the memories they came with, and go or change with these."""
    first, second = Statement(0, 5, "fact"), Statement(6, 9, "instruction", "units")
    stating = [
        make_record(0),
        msgspec.structs.replace(make_record(1), statements=(first, second)),
        msgspec.structs.replace(make_record(2), statements=(second,)),
    ]
    working_set = WorkingSet.from_pack(make_pack(stating))
    assert working_set.statements == {"m1": (first, second), "m2": (second,)}
    working_set.add(make_pack([make_record(2), msgspec.structs.replace(make_record(3), statements=(first,))]))
    assert working_set.statements == {"m1": (first, second), "m3": (first,)}
    working_set.remove(["m1"])
    assert working_set.statements == {"m3": (first,)}


def test_a_worn_index_is_made_anew() -> None:
    """A set whose memories are replaced without end neither grows nor forgets."""
    working_set = WorkingSet.from_pack(make_pack([make_record(n, "dog") for n in range(50)]))
    sizes = set()
    for round_ in range(200):
        working_set.add(make_pack([make_record(n, f"cat w{round_}") for n in range(round_ % 50, 50)]))
        sizes.add(working_set.nbytes)
    assert max(sizes) < 2 * min(sizes)
    assert list_counts(working_set, "cat") == {f"m{n}": 1 for n in range(50)}
    assert list_counts(working_set, "dog") == {}


def test_conversations_and_speakers_that_are_gone_are_forgotten() -> None:
    """Of memories that come and go without end, in ever new conversations, no more is kept than of those there."""
    chance = random.Random(4)
    working_set = WorkingSet()
    alive: list[Record] = []
    for number in range(0, 1_000, 2):
        talk = f"c{number // 6}"
        pair = [make_record(n, conversation=talk, name=f"Name{number // 10} Ann") for n in (number, number + 1)]
        working_set.add(make_pack(pair))
        alive += pair
        chance.shuffle(alive)
        working_set.remove([record.memory.id for record in alive[40:]])
        del alive[40:]
        near = working_set.layout.neighbours
        assert working_set.layout.conversations <= 80
        assert len(working_set.speakers) <= 80
        left = [record for memory in working_set.memories for record in alive if record.memory.id == memory.id]
        fresh = WorkingSet.from_pack(make_pack(left))
        assert near.tolist() == fresh.layout.neighbours.tolist()
        for name in (f"name{number // 10}", f"name{number // 10 - 1}", "ann"):
            said, expected = (some.speaker_rows(terms(name)) for some in (working_set, fresh))
            if expected is None:
                assert said is None or not said.any()
            else:
                assert said is not None
                assert said.tolist() == expected.tolist()


def test_a_set_has_room_for_so_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """One memory too many is refused before anything changes; those gone leave room for others."""
    monkeypatch.setattr(memories, "MAX_MEMORIES", 4)
    working_set = WorkingSet.from_pack(make_pack([make_record(n) for n in range(4)]))
    with pytest.raises(ValueError, match="at most 4 memories"):
        working_set.add(make_pack([make_record(3), make_record(4)]))
    assert len(working_set) == 4
    for number in range(4, 20):
        working_set.remove([f"m{number - 4}"])
        working_set.add(make_pack([make_record(number)]))
    assert list_counts(working_set, "appl") == {f"m{n}": 1 for n in range(16, 20)}


def test_what_is_expected_changes_nothing() -> None:
    """Room made for what is to come holds nothing."""
    working_set = WorkingSet.from_pack(make_pack([make_record(0, vector=(1, 0))]))
    working_set.expect(1000)
    assert working_set.vectors.tolist() == [[1, 0]]
    working_set.add(make_pack([make_record(1, vector=(0, 1))]))
    assert working_set.vectors.tolist() == [[1, 0], [0, 1]]


def _texts(working_set: WorkingSet) -> dict[str, str]:
    return {memory.id: memory.text for memory in working_set.memories}


def test_parts_arrive_one_after_the_other() -> None:
    """What is there can be used before the rest comes."""
    arrival = Arrival()
    arrival.take(make_pack([make_record(2, "cat", vector=(1, 0))]), left=2)
    assert list_counts(arrival.working_set, "cat") == {"m2": 1}
    arrival.take(make_pack([make_record(0, "dog", vector=(0, 1)), make_record(1, "cat")]))
    assert list_counts(arrival.working_set, "cat") == {"m2": 1, "m1": 1}


def test_a_later_part_undoes_no_change() -> None:
    """What was removed, replaced or added meanwhile stays so, although the part was read before."""
    stated = msgspec.structs.replace(make_record(4, "egg fig", vector=(0, 1)), statements=(Statement(0, 3, "fact"),))
    arrival = Arrival()
    arrival.take(make_pack([make_record(3, "ham")]), left=4)
    arrival.follow(Change(added=make_pack([make_record(1, "new"), make_record(5, "newest")]), removed=["m0", "m3"]))
    arrival.take(make_pack([make_record(n, "old", vector=(1, 0)) for n in range(3)] + [stated]))
    assert _texts(arrival.working_set) == {"m1": "new", "m5": "newest", "m2": "old", "m4": "egg fig"}
    assert arrival.working_set.vectors.tolist() == [[0, 0], [0, 0], [1, 0], [0, 1]]
    assert list_counts(arrival.working_set, "egg") == {"m4": 1}
    assert arrival.working_set.statements == {"m4": (Statement(0, 3, "fact"),)}


def test_nothing_of_an_erased_user_arrives() -> None:
    """After an erasure only what is announced later counts, and whoever ranks meanwhile keeps what there was."""
    arrival = Arrival()
    arrival.take(make_pack([make_record(0)]), left=2)
    in_use = arrival.working_set
    arrival.follow(Change(erased=True))
    arrival.take(make_pack([make_record(1)]), left=1)
    arrival.follow(Change(added=make_pack([make_record(9, "later")])))
    arrival.take(make_pack([make_record(2)]))
    assert _texts(arrival.working_set) == {"m9": "later"}
    assert _texts(in_use) == {"m0": "apple"}


def test_speakers_are_found_by_a_part_of_their_name() -> None:
    """A term of a name finds what that person said; nobody of that name is None."""
    working_set = WorkingSet.from_pack(
        make_pack([make_record(0, name="Ann Lee"), make_record(1), make_record(2, name="Bo")])
    )
    found = working_set.speaker_rows(terms("lee"))
    assert found is not None
    assert found.tolist() == [True, False, False]
    assert working_set.speaker_rows(terms("carl")) is None
    working_set.add(make_pack([make_record(3, name="Carl")]))
    found = working_set.speaker_rows(terms("carl"))
    assert found is not None
    assert found.tolist() == [False, False, False, True]


def _fill(sets: WorkingSets, *users: str) -> int:
    """Give every one of *users* a set of the same size, which is the answer."""
    size = 0
    for user in users:
        working_set = WorkingSet.from_pack(make_pack([make_record(0)]))
        size = working_set.nbytes
        sets.put(Scope(user), working_set)
    return size


def test_the_least_recently_used_set_goes_first() -> None:
    """Looking at a set keeps it; the one not looked at longest makes room."""
    size = _fill(WorkingSets(10**6), "x")
    sets = WorkingSets(2 * size)
    _fill(sets, "a", "b")
    assert sets.get(Scope("a")) is not None
    _fill(sets, "c")
    assert sets.get(Scope("b")) is None
    assert sets.get(Scope("a")) is not None
    assert (len(sets), sets.nbytes) == (2, 2 * size)


def test_a_set_larger_than_the_cache_is_not_kept() -> None:
    """What alone exceeds the limit leaves an empty cache and correct books."""
    sets = WorkingSets(10)
    _fill(sets, "a")
    assert (len(sets), sets.nbytes) == (0, 0)


def test_tenants_and_users_are_apart() -> None:
    """The same user id of another tenant is another user."""
    sets = WorkingSets(10**6)
    _fill(sets, "a")
    assert sets.get(Scope("a", tenant="t")) is None


def test_changes_reach_the_cached_set() -> None:
    """Additions, removals and the growth in bytes are applied to a set in the cache, and to no other."""
    sets = WorkingSets(10**6)
    size = _fill(sets, "a")
    sets.apply(Scope("a"), Change(added=make_pack([make_record(1), make_record(2)]), removed=["m0"]))
    cached = sets.get(Scope("a"))
    assert cached is not None
    assert [memory.id for memory in cached.memories] == ["m1", "m2"]
    assert sets.nbytes == cached.nbytes > size
    sets.apply(Scope("b"), Change(added=make_pack([make_record(1)])))
    assert sets.get(Scope("b")) is None


def test_an_erased_user_is_gone() -> None:
    """After erasure, and after clearing, nothing is kept and nothing is counted."""
    sets = WorkingSets(10**6)
    _fill(sets, "a", "b")
    sets.apply(Scope("a"), Change(erased=True))
    assert sets.get(Scope("a")) is None
    sets.clear()
    assert (len(sets), sets.nbytes) == (0, 0)


def test_vectors_of_another_model_are_none() -> None:
    """Of the same size, too: they do not compare. Those of the first model that had any stay."""
    one, other = EmbeddingModel("p", "one", 2), EmbeddingModel("p", "other", 2)
    working_set = WorkingSet.from_pack(make_pack([make_record(0)], one))
    added = make_pack([make_record(1, vector=(1, 0))], other)
    assert working_set.compares_with(added)
    working_set.add(added)
    assert working_set.model == other
    foreign = make_pack([make_record(2, vector=(0, 1))], one)
    assert not working_set.compares_with(foreign)
    assert not working_set.compares_with(make_pack([make_record(2, vector=(0, 1))]))
    working_set.add(foreign)
    moved = msgspec.structs.replace(other, base_url="http://elsewhere")
    working_set.add(make_pack([make_record(3, vector=(0, 1))], moved))
    assert working_set.model == other
    assert working_set.vectors.tolist() == [[0, 0], [1, 0], [0, 0], [0, 1]]
