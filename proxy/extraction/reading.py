"""A text as clauses, each with its words, whom it is about, and what it is: denied, wished, supposed, asked."""

import re
from collections.abc import Iterator, Sequence
from itertools import takewhile
from typing import Final, NamedTuple

from proxy.extraction.lexicons import DENSE, Lexicon, get_lexicon
from proxy.extraction.lexicons.base import PREDICATES, RELATIONS
from proxy.extraction.subjects import find_subject, opens_with_name
from proxy.extraction.words import Token, tokenize

_SENTENCE_END: Final = re.compile(
    r"[.!?…]+(?<!\b[dms]r\.)(?<!\bst\.)(?<!\bmrs\.)(?=[\s\"')\]]|$)|[。！？؟।]+|\n+", re.IGNORECASE
)
_ASKS: Final = re.compile(r"[?？؟]|(?:ですか|ますか|でしょうか|吗|嗎|呢|까|나요)\s*$")
# As far back from the end of a sentence as that may begin.
_ASKS_BEFORE: Final = 4
_JOINT: Final = re.compile(r"[,;:()–—，；：،؛]\s*|\.\.\.\s*|\s-\s")
_JAPANESE_JOINT: Final = re.compile(r"[,;:()–—，；：、]\s*")
_ALL: Final = frozenset({"all", "every", "everything", "everyone", "everybody", "any", "anything"})
_HEAD: Final = 3


class Clause(NamedTuple):
    """A clause at ``text[begin:end]``.

    *subject*, *whom*: as :data:`proxy.extraction.subjects.Subject`, or the subject of the clause before. *reported*:
    what somebody else says. *embedded*: what is said or thought in the clause before. *sentence*: its number.
    """

    begin: int
    end: int
    sentence: int
    tokens: tuple[Token, ...]
    subject: str
    whom: tuple[int, ...]
    reported: bool
    embedded: bool
    asks: bool
    supposed: bool
    denied: bool
    modal: bool
    past: bool

    def has(self, tag: str) -> bool:
        return any(tag in token.tags for token in self.tokens)


class _Piece(NamedTuple):
    begin: int
    end: int
    tokens: tuple[Token, ...]
    embedded: bool


def read(text: str, language: str) -> tuple[Clause, ...]:
    """The clauses of *text*, in order."""
    lexicon = get_lexicon(language)
    clauses: list[Clause] = []
    begin = 0
    ends = [(stop.start(), stop.end()) for stop in _SENTENCE_END.finditer(text)]
    for number, (end, after) in enumerate([*ends, (len(text), len(text))]):
        if text[begin:end].strip():
            asks = _ASKS.search(text, max(begin, end - _ASKS_BEFORE), after) is not None
            clauses += _read_sentence(text, begin, end, number, asks, lexicon)
        begin = after
    return tuple(clauses)


def _read_sentence(text: str, begin: int, end: int, number: int, asks: bool, lexicon: Lexicon) -> list[Clause]:
    tokens = tokenize(text, lexicon.language, begin, end)
    pieces = list(_cut(text, begin, end, tokens, lexicon, asks=asks))
    clauses: list[Clause] = []
    for place, piece in enumerate(pieces):
        before = clauses[-1] if clauses else None
        last = place == len(pieces) - 1
        clauses.append(_make_clause(piece, before, number, asks and last, lexicon))
    if any(clause.supposed and clause.subject != "you" for clause in clauses):
        clauses = [clause._replace(supposed=True) for clause in clauses]
    return clauses


def _cut(text: str, begin: int, end: int, tokens: Sequence[Token], lexicon: Lexicon, *, asks: bool) -> Iterator[_Piece]:
    """The clauses' words; what has neither subject nor verb belongs to the clause before."""
    pattern = _JAPANESE_JOINT if lexicon.language == "ja" else _JOINT
    stops = {joint.start() for joint in pattern.finditer(text, begin, end)}
    piece: list[Token] = []
    embedded = False
    for place, token in enumerate(tokens):
        comma = bool(piece) and any(piece[-1].end <= stop <= token.begin for stop in stops)
        token = _mend(piece, token, lexicon)
        opens = comma or "joint" in token.tags or ("and" in token.tags and lexicon.language not in DENSE)
        question = asks and comma and "asks" in token.tags
        if opens and _is_denial(piece):
            piece = []
        elif _is_whole(piece) and opens and (question or _stands_alone(tokens, place, stops, lexicon)):
            yield from _finish(piece, embedded)
            piece, embedded = [], False
        elif who := _find_antecedent(piece, token):
            yield from _finish(piece, embedded)
            piece, embedded = who, False
        elif piece and _embeds(piece, token):
            yield from _finish(piece, embedded)
            piece, embedded = [], True
        piece.append(token)
    yield from _finish(piece, embedded)


def _find_antecedent(piece: Sequence[Token], token: Token) -> list[Token]:
    """Of whom "who" goes on, if *token* does: the noun right before it, with its name."""
    if "rel" not in token.tags or not piece:
        return []
    who = list(takewhile(lambda before: before.content, reversed(piece)))[::-1]
    named = [place for place, before in enumerate(who) if before.tags & RELATIONS]
    if named:
        return who[named[0] :]
    return who[-1:] if "others" in token.tags else []


def _mend(piece: Sequence[Token], token: Token, lexicon: Lexicon) -> Token:
    """ "All but" leaves something out."""
    if lexicon.language == "en" and token.folded == "but" and any(before.folded in _ALL for before in piece):
        return token._replace(tags=frozenset({"no"}))
    return token


def _is_whole(piece: Sequence[Token]) -> bool:
    """Whether it says something; "Before," does not."""
    return any(token.content for token in piece)


def _is_denial(piece: Sequence[Token]) -> bool:
    """Whether it is the "No," that denies what was asked, not what follows."""
    return bool(piece) and all(token.tags & {"no", "glue"} and not token.content for token in piece)


def _finish(piece: list[Token], embedded: bool) -> Iterator[_Piece]:
    if piece:
        yield _Piece(piece[0].begin, piece[-1].end, tuple(piece), embedded)


def _stands_alone(tokens: Sequence[Token], place: int, stops: set[int], lexicon: Lexicon) -> bool:
    """Whether what begins at *place* has a subject or a verb of its own."""
    if lexicon.language in DENSE or lexicon.language == "ko":
        return True
    wanted = {"self", "others", "third", "you", "be", "have", "no", "my"} | PREDICATES
    joint = "joint" in tokens[place].tags
    linked = "and" in tokens[place].tags
    for number in range(place, len(tokens)):
        token = tokens[number]
        if number > place and ("joint" in token.tags or any(tokens[number - 1].end <= s <= token.begin for s in stops)):
            return joint and number - place > 1 and bool(token.tags & wanted)
        if token.tags & wanted:
            return not linked or not token.tags & {"my", "self"} or _goes_on(tokens[:place], tokens[number:])
        if linked and number - place > 1:
            return False
    return False


def _goes_on(before: Sequence[Token], after: Sequence[Token]) -> bool:
    """Whether "and" is followed by a clause: not so in "my wife and I live" and "I love my son and my daughter"."""
    if not any(_is_verb(token) for token in before):
        return False
    return "self" in after[0].tags or any(_is_verb(token) for token in after[1:4])


def _is_verb(token: Token) -> bool:
    """Whether *token* may be a verb, as far as that can be told."""
    if token.tags & (PREDICATES | {"be", "have", "modal", "says", "no", "past"}):
        return True
    return token.content and not token.name and not token.tags & RELATIONS


def _embeds(piece: Sequence[Token], token: Token) -> bool:
    """Whether a clause that says what is said, thought or told begins with *token*."""
    if "self" not in token.tags or "and" in piece[-1].tags:
        return False
    return any("says" in before.tags for before in piece)


def _make_clause(piece: _Piece, before: Clause | None, number: int, asks: bool, lexicon: Lexicon) -> Clause:
    tokens = piece.tokens
    subject, whom = find_subject(tokens, lexicon)
    matrix = before if before is not None and piece.embedded else None
    if not subject and before is not None and not opens_with_name(tokens, lexicon):
        subject = before.subject
    reported = before is not None and before.subject != "self" and before.has("says") and subject != "other"
    tags = [token.tags for token in tokens]
    denied = any("no" in found for found in tags) != any("dislike" in found for found in tags)
    first = [token for token in tokens if not token.tags & {"glue", "and", "joint"} or "if" in token.tags][:_HEAD]
    opening = bool(first) and "asks" in first[0].tags and lexicon.language == "en" and "self" not in first[0].tags
    return Clause(
        piece.begin,
        piece.end,
        number,
        tokens,
        subject,
        whom,
        reported,
        piece.embedded,
        asks or (opening and first[0].folded != "when"),
        any("if" in token.tags for token in first[:2]) or (matrix is not None and matrix.has("if")),
        denied != (matrix is not None and matrix.denied),
        any("modal" in found for found in tags) or (matrix is not None and matrix.modal),
        any("past" in found for found in tags),
    )
