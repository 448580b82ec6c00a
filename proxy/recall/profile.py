"""The user's profile: what they stated for good, as the few lines that are in every block. Pure, and deterministic."""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import Final

from proxy.cues.base import WITHDRAWN, StatementKind
from proxy.models import Memory
from proxy.statements import Statement

# Tokens of "- [2024-03-15] " and the line's end.
_LINE_TOKENS: Final = 8
# About 30 tokens of Latin script, which has four bytes a token; others have fewer characters to as many bytes.
_MOST_BYTES: Final = 120
# A profile has room for some ten lines; of more statements than these the oldest have been said once and long ago.
_NEWEST: Final = 500
# How much of an instruction's words its withdrawal has to name where no topic says what it is about.
_SAME: Final = 0.6

_WORD: Final = re.compile(r"[^\W_]+")
# Words that say how something is stated, not what: "I love rock" and "I'm not a fan of rock" are of the same thing.
_HOW: Final = """
    i m am im a an the my me to of and in on for is are s t d ll ve it you your please always never not don do no
    really absolutely also personally usually generally prefer like love hate dislike enjoy adore fan big huge
    actually just from now when whenever ask about that be with longer any more anymore need have said forget
"""
_MANNER: Final = frozenset(_HOW.split())
_LIKING: Final = re.compile(r"i (?:\w+ )?(?:like|love|enjoy|adore)\b|.*\b(?:fan|lover) of\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ProfileLine:
    """A statement as it is shown: *text* is one line of about 30 tokens at most, *tokens* counts date and bullet in."""

    memory: Memory
    text: str
    kind: StatementKind
    tokens: int


@dataclass(slots=True)
class _Entry:
    """The newest statement of something, and the conversations in which that was stated."""

    memory: Memory
    text: str
    kind: StatementKind
    conversations: set[str] = field(default_factory=set)


def choose_profile(
    said: Iterable[tuple[Memory, tuple[Statement, ...]]], *, limit_tokens: int, count: Callable[[str], int]
) -> list[ProfileLine]:
    """What fits into *limit_tokens* by *count* of what the user *said*, the most important first.

    Of statements with the same topic, or in about the same words, the newest stands for all. Instructions go before
    preferences, and these before facts; within each goes first what was said in more conversations, then what is
    newer. What is merely liked, and was in one conversation only, is left to be found by search: people say that of
    everything.
    """
    entries = sorted((entry for entry in _merge(_list_newest(said)) if not _is_liking(entry)), key=_importance)
    lines = []
    for entry in entries:
        if limit_tokens <= _LINE_TOKENS:
            break
        text = _shorten(entry.text)
        tokens = count(text) + _LINE_TOKENS
        if tokens <= limit_tokens:
            limit_tokens -= tokens
            lines.append(ProfileLine(entry.memory, text, entry.kind, tokens))
    return lines


def _list_newest(said: Iterable[tuple[Memory, tuple[Statement, ...]]]) -> Iterator[tuple[Memory, Statement]]:
    """Statements from the newest on: all of the instructions, a bounded number of the rest."""
    standing = [(memory, statements) for memory, statements in said if memory.superseded_by is None]
    standing.sort(key=lambda entry: _age(entry[0]), reverse=True)
    pairs = [(memory, statement) for memory, statements in standing for statement in reversed(statements)]
    yield from (pair for pair in pairs if pair[1].kind == "instruction")
    yield from islice((pair for pair in pairs if pair[1].kind != "instruction"), _NEWEST)


def _age(memory: Memory) -> tuple[datetime, str, int]:
    return memory.created_at, memory.conversation_id, memory.message_index


def _merge(newest_first: Iterable[tuple[Memory, Statement]]) -> Iterable[_Entry]:
    """One entry for each topic, and for each set of words where there is none."""
    entries: dict[str | frozenset[str], _Entry] = {}
    closed: set[str] = set()
    withdrawn: list[frozenset[str]] = []
    for memory, statement in newest_first:
        topic = statement.topic
        text = memory.text[statement.begin : statement.end]
        key = topic or _list_words(text)
        if topic.startswith(WITHDRAWN):
            closed.add(topic[len(WITHDRAWN) :])
            if topic == WITHDRAWN:
                withdrawn.append(_list_words(text))
        elif key in entries:
            entries[key].conversations.add(memory.conversation_id)
        elif not (topic and topic in closed) and not _is_withdrawn(key, withdrawn):
            entries[key] = _Entry(memory, text, statement.kind, {memory.conversation_id})
    return entries.values()


def _is_withdrawn(key: str | frozenset[str], withdrawn: list[frozenset[str]]) -> bool:
    return isinstance(key, frozenset) and any(len(key & words) >= _SAME * len(key) for words in withdrawn)


def _list_words(text: str) -> frozenset[str]:
    words = frozenset(_WORD.findall(text.lower()))
    return words - _MANNER or words


def _shorten(text: str) -> str:
    """*text* as one line that ends between words."""
    line = " ".join(text.split())
    raw = line.encode("utf-8", "replace")
    if len(raw) <= _MOST_BYTES:
        return line
    cut = raw[:_MOST_BYTES].decode("utf-8", "ignore")
    return f"{cut[: cut.rfind(' ')] if ' ' in cut else cut}…"


def _importance(entry: _Entry) -> tuple[int, int, float, str, str]:
    memory = entry.memory
    return (
        ("instruction", "preference", "fact").index(entry.kind),
        -len(entry.conversations),
        -memory.created_at.timestamp(),
        memory.id,
        entry.text,
    )


def _is_liking(entry: _Entry) -> bool:
    return entry.kind == "preference" and len(entry.conversations) == 1 and bool(_LIKING.match(entry.text))
