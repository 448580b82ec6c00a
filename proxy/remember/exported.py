"""What an export tells of a memory beside its words, and what an import makes of that."""

import msgspec

from proxy.models import Exported, Memory, Record
from proxy.remember.facts import HAND, state_by_hand
from proxy.remember.records import find_stated
from proxy.statements import Statement


def describe(record: Record) -> Memory:
    """The memory of *record*, with what :func:`state` could not find out from its words.

    Chains are left out: they are made of what was said before anything in it was masked, and who knows all but the
    masked word could find that by trying.
    """
    memory = record.memory
    if memory.kind != "fact" or len(record.statements) != 1:
        return memory
    (stated,) = record.statements
    if (stated.begin, stated.end) != (0, len(memory.text)):
        return memory
    return Exported(**msgspec.structs.asdict(memory), states=stated.kind, topic=stated.topic)


def state(memory: Memory, told: Exported | None = None) -> tuple[Statement, ...]:
    """What is stated in a memory that an import brings, of which its line has *told* what no rule finds. A fact that
    somebody else has extracted is one as a whole.
    """
    if told is not None and told.states is not None:
        return (Statement(0, len(memory.text), told.states, told.topic),)
    if memory.kind == "fact" and memory.origin == "hand" and memory.conversation_id == HAND:
        return state_by_hand(memory)
    if memory.kind == "fact" and memory.origin == "extracted":
        return (Statement(0, len(memory.text), "fact"),)
    return find_stated(memory)


def strip(told: Exported) -> Memory:
    """The memory that a line *told* of, as it is stored."""
    fields = msgspec.structs.asdict(told)
    return Memory(**{name: fields[name] for name in Memory.__struct_fields__})
