"""Whether the words of a fact are those of a clause."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from proxy.extraction.lexicons import DENSE
from proxy.extraction.lexicons.base import PREDICATES, RELATIONS, VERB_LAST
from proxy.extraction.reading import Clause
from proxy.extraction.words import Token

# What a fact may say for what was said: "The user likes tea" for "I prefer tea".
_STANDS_FOR: Final[Mapping[str, frozenset[str]]] = {
    "like": frozenset({"like", "favourite", "prefer"}),
    "prefer": frozenset({"prefer", "like", "favourite"}),
    "live": frozenset({"live", "home"}),
}
# Languages whose words change at the end: one word is another as far as this.
_STEM: Final = 4
_SHORT_STEM: Final = 3
_LONGEST_ENDING: Final = 4
_SHORT_ENDING: Final = 2
_REACH: Final = 6
_FEELINGS: Final = frozenset({"like", "dislike", "prefer"})
_LINKS: Final = frozenset({"be", "as", "name"})
_OWNING: Final = frozenset({"have", "my"})


def is_same(word: Token, other: Token, language: str) -> bool:
    """Whether two words mean the same, as far as their forms tell."""
    if word.number or other.number:
        return word.number == other.number
    if word.stems & other.stems:
        return True
    for concept in word.concepts:
        if other.tags & _STANDS_FOR.get(concept, frozenset({concept})):
            return True
    if language == "en" or word.concepts & PREDICATES:
        return False
    return language not in DENSE and _has_same_stem(word.folded, other.folded)


def _has_same_stem(word: str, other: str) -> bool:
    common = 0
    for a, b in zip(word, other, strict=False):
        if a != b:
            break
        common += 1
    ending = max(len(word), len(other)) - common
    return (common >= _STEM and ending <= _LONGEST_ENDING and ending < common) or (
        common >= _SHORT_STEM and ending <= (1 if word.isascii() else _SHORT_ENDING)
    )


def find(word: Token, tokens: Sequence[Token], language: str) -> int:
    """The place of *word* among *tokens*, or -1."""
    return next((n for n, token in enumerate(tokens) if is_same(word, token, language)), -1)


def list_missing(words: Iterable[Token], clauses: Sequence[Clause], language: str) -> list[Token]:
    """Those of *words* that none of *clauses* has."""
    tokens = [token for clause in clauses for token in clause.tokens]
    return [word for word in words if find(word, tokens, language) < 0]


def goes_without_saying(
    word: Token, fact: Sequence[Token], clause: Clause, language: str, *, instruction: bool
) -> bool:
    """Whether *word*, which the clause has not, is implied by how it is made."""
    if instruction and word.concepts & {"answer", "prefer", "like"}:
        return True
    if "dislike" in word.tags:
        return clause.denied and clause.has("like")
    if "like" in word.tags and any("no" in token.tags for token in fact):
        return clause.has("dislike")
    if "age" in word.tags:
        return _tells_age(fact, clause)
    if "name" in word.tags:
        return _tells_name(fact, clause, language)
    return "work" in word.tags and language not in DENSE and _is_introduced(fact, clause, language)


def _tells_age(fact: Sequence[Token], clause: Clause) -> bool:
    """ "I'm 34" does, "I'm 34 weeks pregnant" does not."""
    numbers = {token.number for token in fact if token.number}
    for place, token in enumerate(clause.tokens):
        before, after = clause.tokens[max(0, place - 2) : place], clause.tokens[place + 1 : place + 2]
        opens = not before and clause.subject == "self"
        linked = opens or any(one.tags & {"be", "have", "self", "me"} for one in before)
        if token.number and token.number in numbers and linked:
            apart = not after or _has_gap(token, after[0])
            return apart or bool(after[0].tags & {"and", "joint", "age"})
    return False


def _tells_name(fact: Sequence[Token], clause: Clause, language: str) -> bool:
    """ "I'm Anna", "my dog Biscuit": the name is beside whom it names."""
    names = [token for token in fact if token.name or (language in DENSE and token.content)]
    owners = [token for token in fact if token.tags & RELATIONS]
    for name in names:
        place = find(name, clause.tokens, language)
        before = clause.tokens[max(0, place - 2) : place] if place > 0 else ()
        if owners and any(find(owner, before, language) >= 0 for owner in owners):
            return True
        if not owners and before and before[-1].tags & {"be", "self"} and any("self" in one.tags for one in before):
            return clause.subject == "self" and clause.tokens[place].name
    return False


def _has_gap(token: Token, following: Token) -> bool:
    """Whether there is more than a space between two words."""
    return following.begin - token.end > 1


def _is_alone(word: Token, fact: Sequence[Token]) -> bool:
    """Whether a fact tells nothing but a number, which then is an age."""
    return not any(token.content and "age" not in token.tags for token in fact if token is not word)


def _keeps_name(fact: Sequence[Token], clause: Clause, language: str) -> bool:
    """Whether it is the user who has the name: not so in "I met a man named Dan"."""
    first = next((token for token in fact if token.content), None)
    if first is None or "name" not in first.tags:
        return True
    place = next((n for n, token in enumerate(clause.tokens) if "name" in token.tags), 0)
    return not any(token.content for token in clause.tokens[:place])


def _is_introduced(fact: Sequence[Token], clause: Clause, language: str) -> bool:
    """ "I'm a nurse" says what the user works as."""
    place = next((number for number, token in enumerate(fact) if "as" in token.tags), -1)
    following = next((token for token in fact[place + 1 :] if token.content), None) if place >= 0 else None
    return following is not None and _is_linked(following, fact, clause, language, _LINKS)


def keeps_links(fact: Sequence[Token], clause: Clause, language: str) -> bool:
    """Whether what the fact says the user is, or has, is linked so in the clause: who teaches German is no German."""
    if not _keeps_name(fact, clause, language):
        return False
    if language in DENSE:
        return True
    for place, token in enumerate(fact):
        following = next((one for one in fact[place + 1 : place + _REACH] if one.content), None)
        if following is None or following.tags & PREDICATES:
            continue
        if following.number:
            if "be" in token.tags and _is_alone(following, fact) and not _tells_age(fact, clause):
                return False
            continue
        if "have" in token.tags and "be" not in token.tags and place and "user" in fact[place - 1].tags:
            if not _is_linked(following, fact, clause, language, _OWNING):
                return False
        elif (
            "be" in token.tags
            and "have" not in token.tags
            and not _is_linked(following, fact, clause, language, _LINKS)
        ):
            return False
    return True


def _is_linked(word: Token, fact: Sequence[Token], clause: Clause, language: str, links: frozenset[str]) -> bool:
    place = find(word, clause.tokens, language)
    if place < 0:
        return True  # from elsewhere, which has been looked at
    before = clause.tokens[max(0, place - _REACH) : place][::-1]
    for token in before:
        if token.tags & links:
            return True
        if token.tags & PREDICATES or (language == "en" and token.content and token.folded.endswith("ing")):
            return False
        if (token.name or token.tags & RELATIONS) and find(token, fact, language) < 0:
            return False  # theirs
    return not any("self" in token.tags or (token.content and find(token, fact, language) < 0) for token in before)


def keeps_verb(fact: Sequence[Token], clause: Clause, language: str) -> bool:
    """Whether the fact has the verb on which all depends: who refuses to cook does not cook.

    The verb is what stands first after its subject, or last where verbs do.
    """
    tokens = clause.tokens
    known = [place for place, token in enumerate(tokens) if token.content and find(token, fact, language) >= 0]
    if language in VERB_LAST:
        last = next((place for place in range(len(tokens) - 1, -1, -1) if tokens[place].content), -1)
        return last < 0 or last in known
    subject = max(clause.whom, default=next((n for n, token in enumerate(tokens) if "self" in token.tags), -1))
    if known and subject > max(known):
        return True
    start = subject if subject >= 0 and not clause.whom else subject + 1
    verb = next((n for n in range(max(0, start), len(tokens)) if tokens[n].content and not _is_adverb(tokens[n])), -1)
    if verb < 0 or verb in known:
        return True
    feels = any(token.tags & _FEELINGS for token in tokens[verb : verb + 3])
    if feels and any(token.tags & _FEELINGS for token in fact):
        return True
    return bool("work" in tokens[verb].tags and _LINKS & _tags_after(tokens, verb))


def _is_adverb(token: Token) -> bool:
    return token.folded.endswith(("ly", "ment", "mente")) and not token.name


def _tags_after(tokens: Sequence[Token], place: int) -> frozenset[str]:
    return tokens[place + 1].tags if place + 1 < len(tokens) else frozenset()


def keeps_order(words: Sequence[Token], fact: Sequence[Token], clauses: Sequence[Clause], language: str) -> bool:
    """Whether what is compared, or left for something else, is in the order in which it was said."""
    tokens = [token for clause in clauses for token in clause.tokens]
    if not any("order" in token.tags for token in tokens) and not any("order" in token.tags for token in fact):
        return True
    places = [find(word, tokens, language) for word in words if not word.tags & PREDICATES]
    known = [place for place in places if place >= 0]
    return known == sorted(known)


def keeps_bonds(words: Sequence[Token], fact: Sequence[Token], clauses: Sequence[Clause], language: str) -> bool:
    """Whether each verb stands in the clause of what it is said of: who loves Rome and lives in Bonn lives in Bonn."""
    if len(clauses) == 1:
        return True
    for place, word in enumerate(words):
        if word.tags & PREDICATES:
            verb_last = language in VERB_LAST
            other = words[place - 1] if verb_last and place else None
            other = words[place + 1] if not verb_last and place + 1 < len(words) else other
            if other is None or _is_apart(fact, word, other):
                continue
            if not any(_has_both(word, other, clause, language) for clause in clauses):
                return False
    return True


def _is_apart(fact: Sequence[Token], word: Token, other: Token) -> bool:
    """Whether another verb stands between two words of a fact."""
    first, last = sorted((word.begin, other.begin))
    return any(first < token.begin < last and token.tags & {"be", "have"} for token in fact)


def _has_both(word: Token, other: Token, clause: Clause, language: str) -> bool:
    tokens = clause.tokens
    return find(other, tokens, language) >= 0 and find(word, tokens, language) >= 0
