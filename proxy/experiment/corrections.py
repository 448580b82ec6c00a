"""Whether a user takes exception to an answer: corrects it, complains of it, or says the same again."""

import re
from collections import defaultdict
from collections.abc import Mapping
from functools import cache
from typing import Final, NamedTuple

from proxy.experiment.wording import Wording
from proxy.experiment.wordings import AGAIN, FILLERS, WORDINGS

# What opens a message is in its first line; "translate this:" and what follows it is none.
_HEAD: Final = 200
_WORD: Final = re.compile(r"\w+(?:['-]\w+)*")
_FIRST: Final = re.compile(r"[\s¡¿]*(\w+(?:'\w+)?)")
# Longer ones are sent again to have something changed in them, or by mistake.
_LONGEST: Final = 2000
# In letters. Shorter ones are moves of a game, names, or "ok".
_SHORTEST: Final = 12
_SHORTEST_DENSE: Final = 6
_FEWEST_WORDS: Final = 3
# How much the length of two messages may differ that are to be compared.
_NEAR: Final = 30
_PART: Final = 3


class _Tables(NamedTuple):
    """The wordings, compiled: of a language that is told by its first word, and of those told by their script."""

    openers: Mapping[str, tuple[re.Pattern[str], ...]]
    scripts: tuple[tuple[re.Pattern[str], re.Pattern[str]], ...]


def corrects(message: str, before: str | None) -> bool:
    """Whether *message*, which follows an answer, takes exception to it. *before*: what that answer was asked.

    By rule, in the languages of :data:`proxy.experiment.wordings.WORDINGS`. Takes 1 to 5 µs.
    """
    return _objects(message) or (before is not None and _repeats(message, before))


def _objects(message: str) -> bool:
    head = message[:_HEAD]
    if not head.isascii():
        head = head.replace("’", "'")
    first = _FIRST.match(head)
    if first is None:
        return False
    head = head[first.start(1) :].partition("\n")[0]
    tables = _compile()
    if any(pattern.match(head) for pattern in tables.openers.get(first[1].lower(), ())):
        return True
    return not head.isascii() and any(script.search(head) and phrases.match(head) for script, phrases in tables.scripts)


def _repeats(message: str, before: str) -> bool:
    """Whether both say the same, but for case, punctuation, and words that say nothing."""
    if abs(len(message) - len(before)) > _NEAR or len(message) > _LONGEST:
        return False
    # Nearly all that are of a length differ in the middle, which is found out at a tenth of the cost of what follows.
    middle = len(message) // 2
    if message[max(0, middle - _PART) : middle + _PART].casefold() not in before.casefold():
        return False
    words = _list_words(message)
    if words != _list_words(before) or not AGAIN.isdisjoint(words):
        return False
    letters = sum(map(len, words))
    if not message.isascii() and letters >= _SHORTEST_DENSE and len(words) < _FEWEST_WORDS:
        return any(script.search(message) for script, _ in _compile().scripts)
    return letters >= _SHORTEST and len(words) >= _FEWEST_WORDS


def _list_words(text: str) -> list[str]:
    return [word for word in _WORD.findall(text.casefold()) if word not in FILLERS]


def prepare() -> None:
    """Does what the first message would have to wait for: a tenth of a second."""
    _compile()


@cache
def _compile() -> _Tables:
    openers: defaultdict[str, tuple[re.Pattern[str], ...]] = defaultdict(tuple)
    scripts = []
    for wording in WORDINGS.values():
        pattern = _compile_one(wording)
        for word in wording.openers.split():
            openers[word] += (pattern,)
        if wording.script:
            scripts.append((re.compile(wording.script, re.IGNORECASE), pattern))
    return _Tables(dict(openers), tuple(scripts))


def _compile_one(wording: Wording) -> re.Pattern[str]:
    # What is written without spaces, or with endings, has no end of a word.
    end = "" if wording.script else r"(?:(?<=\W)|(?!\w))"
    return re.compile(rf"{wording.lead}(?:{'|'.join(wording.phrases)}){end}", re.IGNORECASE)
