"""Whom a clause is about."""

from collections.abc import Sequence
from itertools import takewhile
from typing import Final

from proxy.extraction.lexicons import DENSE, Lexicon
from proxy.extraction.lexicons.base import PREDICATES, RELATIONS, VERB_LAST
from proxy.extraction.words import Token

# "self" for the user, "you" for the assistant, "other" for somebody else, "nobody", or "" where nobody is named; and
# the places of the words that tell who else.
Subject = tuple[str, tuple[int, ...]]

_KOREAN_MY: Final = frozenset({"우리", "저희", "제", "내"})
_SPEAKER: Final = frozenset({"self", "my", "me"})
# As many words at most are between "my" and whom it belongs to, or in what it belongs to.
_NEAR: Final = 3
_PHRASE: Final = 4


def find_subject(tokens: Sequence[Token], lexicon: Lexicon) -> Subject:
    """Whom a clause with these words is about, by what comes first in it."""
    if _is_impersonal(tokens, lexicon):
        return "nobody", ()
    named = opens_with_name(tokens, lexicon) or _find_topic(tokens, lexicon)
    if named:
        return "other", named
    for place, token in enumerate(tokens):
        if token.tags & RELATIONS:
            return _find_relation(tokens, place)
        if "self" in token.tags and not (_is_unspaced(lexicon) and _owns(tokens, place)):
            return "self", ()
        if "my" in token.tags and not _owns(tokens, place):
            return _find_owned(tokens, place, lexicon)
        if "you" in token.tags:
            return "you", ()
        if token.tags & {"others", "third"} and "self" not in token.tags:
            return "other", ()
    return ("self", ()) if any("me" in token.tags for token in tokens) else _find_noun(tokens, lexicon)


def _find_owned(tokens: Sequence[Token], place: int, lexicon: Lexicon) -> Subject:
    """ "My doctor is vegan": what is said first, and not the user."""
    if place >= _NEAR or lexicon.language in VERB_LAST:
        return "self", ()
    after = range(place + 1, min(len(tokens), place + 1 + _PHRASE))
    verbs = {"be", "have", "self", "third"} | PREDICATES
    # "My home is", "my job is": what comes first is a noun.
    whom = tuple(takewhile(lambda number: number == place + 1 or not tokens[number].tags & verbs, after))
    owned = tuple(number for number in whom if tokens[number].content)
    return ("other", owned) if owned else ("self", ())


def _find_topic(tokens: Sequence[Token], lexicon: Lexicon) -> tuple[int, ...]:
    """What stands before the particle of a subject, or before a verb, where that is nobody known."""
    if not _is_unspaced(lexicon):
        return _find_reduced(tokens) if lexicon.language == "en" else ()
    whom: list[int] = []
    for place, token in enumerate(tokens):
        owns = token.raw in _KOREAN_MY or (lexicon.language == "zh" and _is_owned(tokens[place + 1 :]))
        if token.tags & RELATIONS or (token.tags & {"self", "you", "others", "user", "my"} and not owns):
            return ()
        if lexicon.language == "zh" and token.tags & (PREDICATES | {"be", "have", "says"}):
            return tuple(whom)
        if token.content:
            whom.append(place)
        if lexicon.language == "ja" and token.raw == "は":
            return tuple(whom)
        if lexicon.language == "ko" and token.raw.endswith(("은", "는", "이", "가")) and token.content:
            return tuple(whom)
    return ()


def _is_owned(tokens: Sequence[Token]) -> bool:
    """Whether a noun follows, and then what it is: 我老师是…."""
    noun = list(takewhile(lambda token: token.content and not token.tags & (PREDICATES | RELATIONS), tokens))
    return 0 < len(noun) < len(tokens) and tokens[len(noun)].raw == "是"


def _is_impersonal(tokens: Sequence[Token], lexicon: Lexicon) -> bool:
    """ "Living there must be nice" is about nobody."""
    if lexicon.language != "en" or not tokens[0].folded.endswith("ing"):
        return False
    if any(token.tags & _SPEAKER for token in tokens):
        return False
    return any(token.tags & {"be", "modal"} for token in tokens[1:])


def _find_reduced(tokens: Sequence[Token]) -> tuple[int, ...]:
    """ "The man I met lives there", "Living there must be nice": somebody, or nobody."""
    if len(tokens) > _NEAR and tokens[0].folded == "the" and tokens[1].content and "self" in tokens[2].tags:
        return (1,)
    if any(token.tags & _SPEAKER for token in tokens):
        return ()
    verb = next((n for n, token in enumerate(tokens) if token.tags & {"be", "modal"}), 0)
    whom = tuple(n for n, token in enumerate(tokens[:verb]) if token.content)
    known = any(tokens[number].tags & RELATIONS for number in whom)
    if known or not whom or whom[0] or tokens[0].tags & {"like", "dislike"}:
        return ()
    return tuple(number for number in whom if not tokens[number].tags & PREDICATES)


def _is_unspaced(lexicon: Lexicon) -> bool:
    """Whether "I" and "my" may be the same word."""
    return lexicon.language in DENSE or lexicon.language == "ko"


def _owns(tokens: Sequence[Token], place: int) -> bool:
    """Whether "my" is followed by somebody."""
    for token in tokens[place + 1 : place + 1 + _NEAR]:
        if token.tags & RELATIONS:
            return True
        if token.tags & (PREDICATES | {"be", "have", "modal"}):
            return False
    return False


def _find_relation(tokens: Sequence[Token], place: int) -> Subject:
    after = tokens[place + 1 : place + 4]
    if place and _is_owner(tokens[place - 1], tokens[place]):
        return "other", (place - 1,)
    before = takewhile(lambda number: tokens[number].content, range(place - 1, -1, -1))
    if after and "and" in after[0].tags and any("self" in token.tags for token in after[1:2]):
        return "self", ()
    names = takewhile(lambda number: tokens[number].name and tokens[number].content, range(place + 1, len(tokens)))
    return "other", (place, *names, *before)


def _is_owner(token: Token, owned: Token) -> bool:
    """Whether *owned* is somebody else's: "Anna's brother", "his brother"."""
    genitive = owned.begin - token.end == len("'s ")
    return (genitive and (token.name or token.raw[0].isupper())) or "others" in token.tags


def opens_with_name(tokens: Sequence[Token], lexicon: Lexicon) -> tuple[int, ...]:
    """The place of a name that is the subject: capital, known for nothing else, and followed by a verb."""
    place = next((n for n, t in enumerate(tokens) if not t.tags & {"joint", "and"}), len(tokens))
    if place >= len(tokens) - 1 or lexicon.language in DENSE or not tokens[place].raw[0].isupper():
        return ()
    first, second = tokens[place], tokens[place + 1]
    if first.tags or len(first.raw) == 1 or any("self" in t.tags or "my" in t.tags for t in tokens):
        return ()
    verb = second.tags & (PREDICATES | {"be", "have", "third", "says", "modal", "no", "past"})
    if lexicon.language == "en" and not (verb or second.folded.endswith(("s", "ed")) or "and" in second.tags):
        return ()
    return (place,) if first.content or verb else ()


def _find_noun(tokens: Sequence[Token], lexicon: Lexicon) -> Subject:
    """ "The new manager loves jazz": somebody whom the user has not to do with."""
    if tokens and tokens[0].tags & {"det", "it"} and lexicon.language not in DENSE:
        whom = tuple(n for n, token in enumerate(tokens[:5]) if token.content and not token.tags & PREDICATES)
        return ("other", whom) if len(tokens) >= _NEAR else ("", ())
    return "", ()
