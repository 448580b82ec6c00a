"""What an export of a store knows of its conversations once it is imported elsewhere, and they go on."""

import itertools
from collections.abc import Iterable, Sequence

import msgspec
import pytest

from proxy import chain
from proxy.config import Redaction
from proxy.extraction import Extraction, Fact
from proxy.models import Exported, Record
from proxy.redaction import Redactor
from proxy.remember.exported import describe
from proxy.remember.facts import add_by_hand, edit_by_hand, take_facts
from proxy.remember.intake import Intake
from proxy.remember.lines import parse
from proxy.remember.plan import Draft, Plan
from proxy.remember.shelf import Shelf
from tests.conversations import ADA, NOTHING_ERASED, START, Memory

DOG, NICE = "My dog is called Rex.", "What a nice name for a dog."
BERLIN, LOVELY = "I live in Berlin.", "Berlin is lovely."
MUNICH, FINE = "I live in Munich now.", "Munich is fine."
MAP, CITY, SEA = "Where is Lisbon on the map?", "Lisbon is a city in Portugal.", "It lies in Portugal, by the sea."
HI, HELLO = "Hi", "Hello! How can I help?"


def export(memory: Memory) -> list[bytes]:
    """Lines of what is stored, as the store would give them."""
    return [msgspec.json.encode(describe(make_record(draft))) for draft in memory.plan.added.values()]


def make_record(draft: Draft) -> Record:
    return Record(draft.memory, b"", b"", 1, "", draft.statements, draft.chain, draft.parent)


def move(memory: Memory, *, at_once: int = 1000) -> Memory:
    """The same user's memories where an export was imported, *at_once* lines with each batch."""
    moved = Memory()
    moved.now = memory.now
    take(moved, export(memory), at_once=at_once)
    return moved


def take(memory: Memory, lines: Sequence[bytes], *, at_once: int = 1000) -> None:
    """Imports *lines*, each batch onto a shelf that is read anew."""
    for start in range(0, len(lines), at_once):
        parsed = parse(lines[start : start + at_once], Redactor(Redaction()))
        assert parsed.errors == []
        Intake(ADA, memory.plan).take(parsed.brought[ADA])
        memory.texts |= {memory_id: draft.memory.text for memory_id, draft in memory.plan.added.items()}
        memory.plan = reread(memory.plan.added.values())


def reread(drafts: Iterable[Draft]) -> Plan:
    plan = Plan(Shelf())
    for draft in list(drafts):
        plan.add(draft)
    return plan


def chains(memory: Memory) -> dict[str, tuple[bytes, bytes]]:
    return {memory.texts[item.id]: (item.parent, item.chain) for item in memory.plan.shelf}


def branched(named: str | None) -> Memory:
    """A conversation with an edit, a regenerated answer and a return to what was edited away."""
    memory = Memory()
    memory.say(DOG, answer=NICE, named=named)
    memory.say(DOG, NICE, BERLIN, answer=LOVELY, named=named)
    memory.say(DOG, NICE, BERLIN, LOVELY, "And I like tea.", answer="Tea is good.", named=named)
    memory.say(DOG, NICE, MUNICH, answer=FINE, named=named)
    memory.say(DOG, NICE, MUNICH, FINE, MAP, answer=CITY, named=named)
    memory.say(DOG, NICE, MUNICH, FINE, MAP, answer=SEA, named=named)
    memory.say(DOG, NICE, BERLIN, LOVELY, "And I like tea.", "Tea is good.", "Green tea.", named=named)
    return memory


@pytest.mark.parametrize("at_once", [1, 3, 1000])
@pytest.mark.parametrize("named", [None, "c"])
def test_chains_are_what_they_were(named: str | None, at_once: int) -> None:
    """Of all branches, whichever lines come together; what was superseded still is."""
    memory = branched(named)
    moved = move(memory, at_once=at_once)
    assert chains(moved) == chains(memory)
    assert (moved.live, moved.superseded) == (memory.live, memory.superseded)
    assert export(moved) == export(memory)


@pytest.mark.parametrize("named", [None, "c"])
def test_a_conversation_goes_on_where_it_was_moved_to(named: str | None) -> None:
    """Edits, regenerations and what is sent again are recognised as before, and nothing is stored twice."""
    here, there = branched(named), move(branched(named))
    for memory in (here, there):
        memory.now = START.replace(year=2027)
        history = [DOG, NICE, BERLIN, LOVELY, "And I like tea.", "Tea is good.", "Green tea."]
        memory.say(*history, answer="It is the best.", named=named)
        memory.say(*history, "It is the best.", "What else?", answer="Water.", named=named)
        memory.say(*history[:4], MUNICH, answer="Again?", named=named)
        memory.say(DOG, NICE, MUNICH, FINE, MAP, answer=CITY, named=named)
    assert (there.live, there.superseded) == (here.live, here.superseded)
    assert there.plan.added.keys() == here.plan.added.keys()


@pytest.mark.parametrize("changed", [MUNICH, BERLIN], ids=["edited", "regenerated"])
@pytest.mark.parametrize("named", [None, "c"])
def test_a_message_behind_a_greeting_is_changed(named: str | None, changed: str) -> None:
    """An import knows nothing of greetings, and so not what exactly preceded; it is found all the same."""
    here = Memory()
    here.say(HI, answer=HELLO, named=named)
    here.say(HI, HELLO, BERLIN, answer=LOVELY, named=named)
    there = move(here)
    assert there.live == [BERLIN, LOVELY]
    if changed == MUNICH and named:
        return  # nothing tells it from the window of a client that sends its last messages only
    for memory in (here, there):
        memory.say(HI, HELLO, changed, answer=FINE, named=named)
    assert (there.live, there.superseded) == (here.live, here.superseded)


@pytest.mark.parametrize("changed", [MUNICH, BERLIN], ids=["edited", "regenerated"])
@pytest.mark.parametrize("named", [None, "c"])
def test_a_message_behind_thanks_is_changed(named: str | None, changed: str) -> None:
    """The same where thanks in the midst of a conversation were not worth storing."""
    memory = Memory()
    memory.say(DOG, answer=NICE, named=named)
    memory.say(DOG, NICE, "Thanks!", answer="You're welcome!", named=named)
    memory.say(DOG, NICE, "Thanks!", "You're welcome!", BERLIN, answer=LOVELY, named=named)
    moved = move(memory)
    assert moved.live == [DOG, NICE, BERLIN, LOVELY]
    moved.say(DOG, NICE, "Thanks!", "You're welcome!", changed, answer=FINE, named=named)
    assert moved.live == [DOG, NICE, changed, FINE]
    assert moved.superseded == ([BERLIN, LOVELY] if changed == MUNICH else [LOVELY])


def test_nameless_conversations_that_begin_alike_stay_apart() -> None:
    """What was said behind the same greeting in another conversation is not taken for an older version."""
    memory = Memory()
    for said, answer in ((BERLIN, LOVELY), (DOG, NICE)):
        memory.say(HI, answer=f"Hello! {said}")
        memory.say(HI, f"Hello! {said}", said, answer=answer)
    moved = move(memory)
    moved.say(HI, f"Hello! {BERLIN}", BERLIN, answer=FINE)
    assert moved.live == [BERLIN, DOG, NICE, FINE]
    assert moved.superseded == [LOVELY]


def test_an_id_that_only_looks_made_up_is_the_client_s() -> None:
    """A conversation line whose name nobody has recognised begins as its client names it."""
    name = "0123456789abcdef01234567"
    line = {"user_id": "ada", "conversation_id": name, "started_at": "2026-01-02T03:04:05Z"}
    said = [{"role": "user", "content": DOG}, {"role": "assistant", "content": NICE}]
    brought = parse([msgspec.json.encode({**line, "messages": said})], Redactor(Redaction())).brought[ADA]
    assert brought[0].parent == chain.start(ADA, name)
    recognised = Memory().say(DOG, answer=NICE).conversation_id
    line["conversation_id"] = recognised
    brought = parse([msgspec.json.encode({**line, "messages": said})], Redactor(Redaction())).brought[ADA]
    assert brought[0].parent == chain.start(ADA, None)


def test_a_live_conversation_goes_on_from_an_imported_line() -> None:
    """A log of it that was imported and the conversation itself are one: only what is new is stored."""
    live = Memory()
    exchange = live.say(DOG, answer=NICE)
    line = {"user_id": "ada", "conversation_id": exchange.conversation_id, "started_at": "2026-01-02T03:04:05Z"}
    said = [{"role": "user", "content": DOG}, {"role": "assistant", "content": NICE}]
    memory = Memory()
    take(memory, [msgspec.json.encode({**line, "messages": said})])
    memory.say(DOG, NICE, BERLIN, answer=LOVELY)
    memory.say(DOG, NICE, MUNICH, answer=FINE)
    assert (memory.live, memory.superseded) == ([DOG, NICE, MUNICH, FINE], [BERLIN, LOVELY])


def conversation(*texts: str, first_index: int = 0, day: int = 2) -> bytes:
    line = {"user_id": "ada", "conversation_id": "c", "started_at": f"2026-01-{day:02}T03:04:05Z"}
    roles = itertools.cycle(("user", "assistant") if first_index % 2 == 0 else ("assistant", "user"))
    messages = [{"role": role, "content": text} for text, role in zip(texts, roles, strict=False)]
    return msgspec.json.encode({**line, "first_index": first_index, "messages": messages})


def test_a_conversation_may_come_in_pieces() -> None:
    """A line may have only what is new; together they are what one line would have been."""
    whole, pieces = Memory(), Memory()
    take(whole, [conversation(DOG, NICE, BERLIN, LOVELY, MAP, CITY)])
    take(pieces, [conversation(DOG, NICE), conversation(BERLIN, LOVELY, MAP, first_index=2)], at_once=1)
    take(pieces, [conversation(CITY, first_index=5)])
    assert chains(pieces) == chains(whole)
    assert export(pieces) == export(whole)


def test_another_version_of_a_conversation_takes_its_place() -> None:
    """What was answered anew or edited since the last import is superseded; what comes again is known."""
    memory = Memory()
    lines = [conversation(DOG, NICE, BERLIN, LOVELY), conversation(DOG, NICE, MUNICH, FINE)]
    take(memory, [*lines, *lines], at_once=1)
    assert (memory.live, memory.superseded) == ([DOG, NICE, MUNICH, FINE], [BERLIN, LOVELY])
    take(memory, [conversation("Fine indeed.", first_index=3)])
    assert (memory.live, memory.superseded) == ([DOG, NICE, MUNICH, "Fine indeed."], [BERLIN, LOVELY, FINE])


def test_an_older_version_of_a_conversation_takes_nobody_s_place() -> None:
    """Nor does another conversation of the same name."""
    memory = Memory()
    take(memory, [conversation(DOG, NICE, MUNICH, FINE, day=3), conversation(DOG, NICE, BERLIN, day=2)])
    take(memory, [conversation(MAP, CITY, day=4)])
    assert memory.superseded == []


def learnt() -> Memory:
    """A store with facts that a model has found, and some written and corrected by hand."""
    memory = Memory()
    exchange = memory.say(BERLIN, answer=LOVELY)
    source = (exchange.conversation_id, 0)
    facts = [
        Fact("The user lives in Berlin.", BERLIN, source, START, "fact", "home_city"),
        Fact("The user likes it there.", BERLIN, source, START, "preference"),
        Fact("Answer the user in German.", BERLIN, source, START, "instruction", "answer_language"),
    ]
    take_facts(memory.plan, ADA, Extraction(facts, {}, 1, 10), NOTHING_ERASED)
    add_by_hand(memory.plan, ADA, "The boat is called Ida.", START)
    add_by_hand(memory.plan, ADA, "I'm vegetarian.", START)
    (likes,) = (draft.memory for draft in memory.plan.added.values() if "likes it" in draft.memory.text)
    item = memory.plan.shelf.get(likes.id)
    assert item is not None
    edit_by_hand(memory.plan, likes, "The user likes it there in summer.", item, START)
    memory.texts |= {memory_id: draft.memory.text for memory_id, draft in memory.plan.added.items()}
    return memory


def test_facts_keep_what_they_are_about() -> None:
    """Kind and topic travel in the line, so that they stand in blocks, and give way to newer facts, as before."""
    memory = learnt()
    moved = move(memory)
    before, after = ({m.memory.text: m for m in some.plan.added.values()} for some in (memory, moved))
    assert after == before
    assert export(moved) == export(memory)
    told = [msgspec.json.decode(line, type=Exported) for line in export(memory)]
    assert [(one.states, one.topic) for one in told[2:5]] == [
        ("fact", "home_city"),
        (None, ""),
        ("instruction", "answer_language"),
    ]
    newer = Fact("The user lives in Munich.", BERLIN, told[2].sources[0], START, "fact", "home_city")
    known = next(item.id for item in moved.plan.shelf if moved.texts[item.id] == "The user lives in Berlin.")
    newer = msgspec.structs.replace(newer, replaces=known)
    take_facts(moved.plan, ADA, Extraction([newer], {}, 1, 10), NOTHING_ERASED)
    moved.texts |= {memory_id: draft.memory.text for memory_id, draft in moved.plan.added.items()}
    assert moved.superseded == ["The user lives in Berlin."]


def test_facts_go_with_the_message_that_they_are_from() -> None:
    """An edit after the move retracts what was learnt from what was said before it."""
    memory = Memory()
    memory.say(DOG, answer=NICE)
    exchange = memory.say(DOG, NICE, BERLIN, answer=LOVELY)
    fact = Fact("The user lives in Berlin.", BERLIN, (exchange.conversation_id, 2), START, "fact")
    take_facts(memory.plan, ADA, Extraction([fact], {}, 1, 10), NOTHING_ERASED)
    moved = move(memory)
    moved.say(DOG, NICE, MUNICH, answer=FINE)
    assert moved.live == [DOG, NICE, MUNICH, FINE]
    assert moved.superseded == [BERLIN, LOVELY, "The user lives in Berlin."]


def test_a_fact_from_elsewhere_is_one() -> None:
    """What some other memory has extracted stands in blocks like a fact of our own; a plain one is left to search."""
    fact = {"id": "f1", "user_id": "ada", "kind": "fact", "role": "user", "text": "Plays the oboe.", "message_index": 0}
    fact |= {"created_at": "2026-01-02T03:04:05Z", "conversation_id": "elsewhere"}
    memory = Memory()
    lines = [{**fact, "origin": "extracted"}, {**fact, "id": "f2", "text": "Plays the horn."}]
    take(memory, [msgspec.json.encode(line) for line in lines])
    stated = [[s.kind for s in draft.statements] for draft in memory.plan.added.values()]
    assert stated == [["fact"], []]
