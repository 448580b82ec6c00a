"""What the proxy says when it answers for itself, in short Markdown. Pure; quotes memories, and makes them harmless."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final

from proxy.edge.holdings import Holdings, name_of
from proxy.edge.markdown import quote
from proxy.keeper.wire import Receipt
from proxy.models import Memory
from proxy.recall.profile import ProfileLine

# Characters of a memory: about three lines of a chat's window, and one.
_LONG: Final = 240
_SHORT: Final = 80
# How many are listed at once; what was erased is listed whole.
_LISTED: Final = 10

HELP: Final = """\
**Memory** understands:

- `/memory`: what is known about you
- `/memory search WORDS`: the memories that have all of the words
- `/memory remember TEXT`: remembers it
- `/memory forget WORDS`: erases the memories that have all of the words, for good
- `/memory forget everything`: erases all of them
- `/memory off` and `/memory on`: stops remembering and recalling, and goes on with it"""

AWAY: Final = (
    "Memory is not available just now, so this may not have been done. Please ask again in a moment; "
    "`/memory` shows what is known."
)
OFF: Final = (
    "Memory is now **off**: nothing you say is remembered, and nothing is recalled. What is known is kept: "
    "`/memory on` goes on with it, and `/memory forget everything` erases it."
)
ON: Final = "Memory is now **on**."
IS_OFF: Final = "Nothing was remembered, because memory is **off**. `/memory on` switches it on."
WHAT_TO_SEARCH: Final = "Which words should the memories have? For example: `/memory search bicycle`"
WHAT_TO_REMEMBER: Final = "What should be remembered? For example: `/memory remember I am allergic to nuts.`"
WHAT_TO_FORGET: Final = (
    "Nothing was forgotten, because no word says what. For example: `/memory forget bicycle`, or for all of it "
    "`/memory forget everything`"
)
TOO_LONG: Final = "Nothing was remembered, because the text is too long."
FORGET_EVERYTHING: Final = "/memory forget everything yes"


def explain(unknown: str) -> str:
    """For a command that there is not."""
    return f"There is no `/memory` command called “{quote(unknown, limit=_SHORT)}”.\n\n{HELP}"


def describe(holdings: Holdings) -> str:
    """What is known: how much, what holds at all times, and what the user said last."""
    memories = holdings.memories
    state = "off" if holdings.off else "on"
    if not memories:
        return f"Memory is **{state}**. Nothing is known about you yet.\n\n{_HINT}"
    since = _format_date(memories[-1].created_at)
    parts = [f"Memory is **{state}**. It has {_count(len(memories))}, the oldest of {since}."]
    if standing := holdings.standing:
        parts.append(_list("What holds at all times:", map(_show_standing, standing)))
    current = [one for one in memories if one.role == "user" and one.superseded_by is None]
    if current:
        parts.append(_list("What you said last:", map(_show, current[:_LISTED])))
    return "\n\n".join([*parts, _HINT])


_HINT: Final = "`/memory help` tells what else you can say."


def tell_found(words: str, found: Sequence[Memory]) -> str:
    """The answer to a search."""
    more = f" The newest {_LISTED} of them:" if len(found) > _LISTED else ""
    heading = f"{_count(len(found)).capitalize()} with “{quote(words, limit=_SHORT)}”.{more}"
    return _list(heading, map(_show, found[:_LISTED]))


def tell_nothing_found(words: str, closest: Sequence[Memory]) -> str:
    """The answer to a search, or to be told to forget, when there is nothing with all of the words."""
    missing = f"No memory has all of these words: “{quote(words, limit=_SHORT)}”."
    if not closest:
        return missing
    example = f"`/memory forget {name_of(closest[0])}` would erase the first of them."
    return f"{_list(f'{missing} The closest:', map(_show, closest))}\n\n{example}"


def tell_forgotten(erased: Sequence[Memory], receipt: Receipt, *, left: int) -> str:
    """What was erased; *left*: how many more there are with the same words."""
    heading = f"Forgotten for good: {_count(receipt.memories)}."
    parts = [_list(heading, (_show_short(memory) for memory in erased))]
    if left:
        parts.append(f"{_count(left).capitalize()} with these words are left: say the same again to erase more.")
    return "\n\n".join(parts)


def ask_to_confirm(holdings: Holdings) -> str:
    """Before everything is erased."""
    return (
        f"This erases {_count(len(holdings.memories))}, everything that is known about you, for good. "
        f"To do it, say `{FORGET_EVERYTHING}`"
    )


def tell_all_forgotten(receipt: Receipt) -> str:
    """The receipt, which a user may want to keep."""
    waiting = f" and {receipt.journal_entries:,} waiting to be stored" if receipt.journal_entries else ""
    told = f"Everything is forgotten for good: {_count(receipt.memories)}{waiting}, at {receipt.erased_at}."
    return f"{told} Receipt: `{receipt.digest}`" if receipt.digest else told


def tell_remembered(memory: Memory) -> str:
    """The memory as it is stored, which is without the secrets in it."""
    return f"Remembered: {quote(memory.text, limit=_LONG)} (`{name_of(memory)}`)"


def _list(heading: str, lines: Iterable[str]) -> str:
    return "\n".join([heading, "", *lines])


def _show(memory: Memory) -> str:
    said = "" if memory.role == "user" else f"{quote(memory.name or memory.role, limit=_SHORT)}: "
    outdated = " (no longer holds)" if memory.superseded_by is not None else ""
    date = _format_date(memory.created_at)
    return f"- {date}, {said}{quote(memory.text, limit=_LONG)}{outdated} (`{name_of(memory)}`)"


def _show_short(memory: Memory) -> str:
    return f"- {_format_date(memory.created_at)}, {quote(memory.text, limit=_SHORT)}"


def _show_standing(line: ProfileLine) -> str:
    return f"- {_format_date(line.memory.created_at)}, {quote(line.text, limit=_LONG)} (`{name_of(line.memory)}`)"


def _format_date(when: datetime) -> str:
    return f"{when:%Y-%m-%d}"


def _count(number: int) -> str:
    return "1 memory" if number == 1 else f"{number:,} memories"
