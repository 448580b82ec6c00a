"""Facts among what is known: those that a model has found in what was said, and those written by hand."""

import hashlib
from collections.abc import Mapping
from datetime import datetime
from typing import Final

import msgspec

from proxy.cues.base import StatementKind
from proxy.extraction import Extraction, Fact
from proxy.ledger import Tombstone
from proxy.models import Memory, Scope
from proxy.remember.plan import Draft, Plan
from proxy.remember.reconcile import supersede_by_topic
from proxy.remember.records import find_stated
from proxy.remember.shelf import Item, find_gist
from proxy.statements import Statement

HAND: Final = "hand"
# Characters of what somebody writes that stand in every block.
_ALWAYS: Final = 220


def take_facts(plan: Plan, scope: Scope, extraction: Extraction, tombstone: Tombstone) -> None:
    """Adds facts that a model has found, but for those whose message is gone meanwhile, and counts the others."""
    plan.tally["extraction.calls"] += extraction.calls
    plan.tally["extraction.tokens"] += extraction.tokens
    for reason, count in extraction.dropped.items():
        plan.tally[f"fact.{reason}"] += count
    turns = {(item.conversation_id, item.index): item for item in plan.shelf if item.kind == "turn" and item.live}
    for fact in extraction.facts:
        plan.tally[f"fact.{_take_fact(plan, scope, fact, turns, tombstone)}"] += 1


def add_by_hand(plan: Plan, scope: Scope, text: str, at: datetime) -> Memory:
    """A memory that somebody has written. It stands in the place of all that says the same or is about the same."""
    said = Memory(
        id=_identify(scope, text, str(at.timestamp())),
        user_id=scope.user_id,
        kind="fact",
        role="user",
        text=text,
        created_at=at,
        conversation_id=HAND,
        message_index=0,
        origin="hand",
    )
    draft = Draft(said, statements=state_by_hand(said))
    _take_place_of_all(plan, draft)
    plan.add(draft)
    return said


def state_by_hand(memory: Memory) -> tuple[Statement, ...]:
    """What is stated in a memory that somebody has written: all of it, where it is short and no rule knows better."""
    found = find_stated(memory)
    if not found and len(memory.text) <= _ALWAYS:
        found = (Statement(0, len(memory.text), "fact"),)
    return found


def edit_by_hand(plan: Plan, memory: Memory, text: str, item: Item, at: datetime) -> Memory:
    """*memory* with another text, from now on."""
    edited = msgspec.structs.replace(
        memory, text=text, origin="hand", created_at=at, quote=None, superseded_by=None, valid_until=None
    )
    draft = Draft(edited, item.chain, item.parent, find_stated(edited))
    _take_place_of_all(plan, draft)
    plan.add(draft)
    return edited


def _take_place_of_all(plan: Plan, draft: Draft) -> None:
    supersede_by_topic(plan, draft)
    for item in plan.shelf.with_gist(find_gist(draft.memory)):
        if item.live and item.id != draft.memory.id:
            plan.supersede(item, draft.memory.id, draft.memory.created_at)


def _take_fact(
    plan: Plan, scope: Scope, fact: Fact, turns: Mapping[tuple[str, int], Item], tombstone: Tombstone
) -> str:
    """What became of *fact*, in one word."""
    source = turns.get(fact.source)
    if source is None:
        return "gone"
    memory = _make_memory(scope, fact)
    if memory.id in plan.shelf:
        return "known"
    if memory.id in tombstone.ids:
        return "erased"
    kind: StatementKind = fact.kind
    draft = Draft(memory, source.chain, b"", (Statement(0, len(memory.text), kind, fact.topic),))
    same = _find_same(plan, fact, memory)
    if same is not None:
        plan.strengthen(same, fact.source)
        return "strengthened"
    if fact.topic and any(item.live and item.origin == "hand" for item in plan.shelf.with_topic(fact.topic)):
        return "corrected"  # by hand, which holds
    old = plan.shelf.get(fact.replaces or "")
    if old is not None and old.live and old.kind == "fact":
        if old.origin == "hand":
            return "corrected"
        plan.supersede(old, memory.id, memory.created_at)
        plan.tally["superseded"] += 1
    plan.add(draft)
    return "stored"


def _find_same(plan: Plan, fact: Fact, memory: Memory) -> Item | None:
    named = plan.shelf.get(fact.same_as or "")
    known = [named] if named is not None else plan.shelf.with_gist(find_gist(memory))
    return next((item for item in known if item.live and item.kind == "fact"), None)


def _make_memory(scope: Scope, fact: Fact) -> Memory:
    conversation_id, index = fact.source
    return Memory(
        id=_identify(scope, fact.text, conversation_id, str(index)),
        user_id=scope.user_id,
        kind="fact",
        role="user",
        text=fact.text,
        created_at=fact.said_at,
        conversation_id=conversation_id,
        message_index=index,
        sources=(fact.source,),
        quote=fact.quote,
        origin="extracted",
    )


def _identify(scope: Scope, *parts: str) -> str:
    """The id of a fact: the same one from the same message is one memory, however often a model finds it."""
    raw = "\x00".join((scope.key, *parts)).encode("utf-8", "surrogatepass")
    return hashlib.blake2b(raw, digest_size=16, person=b"mp-fact").hexdigest()
