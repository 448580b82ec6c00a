"""Whether a fact stands on the user's own words: what cannot be shown is dropped, with its reason.

The clauses that the quote touches have to say all that the fact says: each word that means something, each number, name
and date, about the same person, and as firmly. An answer of "yes" alone supports nothing. In a language of which too
little is known here to tell that, a fact has to be the user's own sentence.
"""

from collections.abc import Iterator, Sequence
from typing import Final

from proxy.extraction.base import Fact, FactKind, Item, Known, Reason
from proxy.extraction.languages import is_translated, tell_language
from proxy.extraction.lexicons import LEXICONS
from proxy.extraction.lexicons.base import PREDICATES, RELATIONS
from proxy.extraction.prompt import Prompt
from proxy.extraction.quotes import Evidence, Place, Voice, locate
from proxy.extraction.reading import Clause
from proxy.extraction.support import (
    find,
    goes_without_saying,
    keeps_bonds,
    keeps_links,
    keeps_order,
    keeps_verb,
    list_missing,
)
from proxy.extraction.times import Date, allows, find_dates
from proxy.extraction.words import Token, tokenize

_MASKS: Final = ("[secret:", "[personal:")
# A fact is in one clause, or in that many in a row.
_MOST_CLAUSES: Final = 3
# Around a quote, in which its clauses may begin and end.
_MARGIN: Final = 600
# The worst that can be said of a fact comes first.
_GRAVITY: Final[tuple[Reason, ...]] = (
    "attributed",
    "pretended",
    "question",
    "negated",
    "modal",
    "past",
    "dated",
    "vague",
    "unsupported",
)


def ground(item: Item, prompt: Prompt, evidence: Evidence) -> Fact | Reason:
    """The fact that *item* is, or the reason why it is none."""
    if any(mask in item.text for mask in _MASKS):
        return "secret"
    place = locate(item, prompt, evidence)
    if isinstance(place, str):
        return place
    if reason := check(item.text, item.kind, place, evidence):
        return reason
    said = place.voice.said
    return Fact(
        text=item.text,
        quote=place.quote,
        source=(said.conversation_id, said.index),
        said_at=said.at,
        kind=item.kind,
        topic=item.topic,
        same_as=resolve(item.same_as, prompt.known),
        replaces=resolve(item.replaces, prompt.known),
        contradicts=resolve(item.contradicts, prompt.known),
    )


def resolve(number: int | None, known: Sequence[Known]) -> str | None:
    """The id of the known fact with that number in the prompt, if there is one."""
    return known[number - 1].id if number is not None and 0 < number <= len(known) else None


def check(text: str, kind: FactKind, place: Place, evidence: Evidence) -> Reason | None:
    """Why the fact *text* is not what the user said at *place*; None if it is."""
    window = _window(place)
    if is_translated(text, place.quote, window):
        return "translated"
    language = tell_language(place.quote, place.voice.text, hint=text)
    language = language or evidence.language or ("en" if place.voice.text.isascii() else "")
    if language not in LEXICONS:
        return None if _is_sentence(text, place) else "unsupported"
    return _Check(text, kind, place, evidence, language).run()


def _window(place: Place) -> str:
    return place.voice.own[max(0, place.begin - _MARGIN) : place.end + _MARGIN]


def _is_sentence(text: str, place: Place) -> bool:
    """Whether a fact is the whole of what was said, word for word."""
    return text.strip(" .!。") == place.voice.text.strip(" .!。\n") == place.quote.strip(" .!。")


class _Check:
    """One fact before the clauses of its quote."""

    def __init__(self, text: str, kind: FactKind, place: Place, evidence: Evidence, language: str) -> None:
        self._kind = kind
        self._place = place
        self._evidence = evidence
        self._language = language
        self._text = text
        self._dates = find_dates(text)
        self._tokens = tokenize(text, language)
        self._words = [token for token in self._tokens if token.content and not _is_dated(token, self._dates)]

    def run(self) -> Reason | None:
        if self._is_vague():
            return "vague"
        clauses = self._read_quote()
        reasons = [self._check_run(run) for run in _list_runs(clauses)]
        if not reasons:
            return "unsupported"
        if None in reasons:
            return None
        worst = min((reason for reason in reasons if reason), key=_GRAVITY.index)
        return self._explain() if worst == "unsupported" else worst

    def _is_vague(self) -> bool:
        """Whether it is not about the user, or about nothing."""
        about = {"user", "self", "my"}
        if self._kind != "instruction" and not any(token.tags & about for token in self._tokens):
            return True
        if not self._dates and not any(not word.tags & PREDICATES for word in self._words):
            return not (self._kind != "fact" and self._words)
        first = self._tokens[0]
        return "others" in first.tags and "user" not in first.tags

    def _read_quote(self) -> list[Clause]:
        """The clauses that the quote touches."""
        place = self._place
        begin, end = max(0, place.begin - _MARGIN), min(len(place.voice.own), place.end + _MARGIN)
        clauses = self._evidence.read(place.voice.own[begin:end], self._language)
        return [clause for clause in clauses if clause.begin < place.end - begin and place.begin - begin < clause.end]

    def _check_run(self, run: Sequence[Clause]) -> Reason | None:
        missing = self._find_missing(run)
        if missing:
            return "unsupported"
        return self._check_manner(run) or self._check_subject(run) or self._check_dates(run)

    def _find_missing(self, run: Sequence[Clause]) -> list[Token]:
        instruction = self._kind == "instruction"
        missing = [
            word
            for word in list_missing(self._words, run, self._language)
            if not any(
                goes_without_saying(word, self._tokens, clause, self._language, instruction=instruction)
                for clause in run
            )
        ]
        if missing and self._may_borrow(missing, run):
            before = self._read_before(run)
            missing = list_missing(missing, before, self._language)
        if missing:
            return missing
        kept = (
            all(keeps_links(self._tokens, clause, self._language) for clause in run[:1])
            and (self._is_introduction() or keeps_verb(self._tokens, run[0], self._language))
            and keeps_order(self._words, self._tokens, run, self._language)
            and keeps_bonds(self._words, self._tokens, run, self._language)
        )
        return [] if kept else self._words

    def _is_introduction(self) -> bool:
        """Whether the fact's verb is none of what was said: a date is reckoned, how to answer is told in many ways,
        and "my wife Clara" may be in any sentence."""
        only_who = all(word.tags & RELATIONS or word.name for word in self._words)
        only_who = only_who and any(word.tags & RELATIONS for word in self._words)
        return self._kind == "instruction" or bool(self._dates) or only_who

    def _may_borrow(self, missing: Sequence[Token], run: Sequence[Clause]) -> bool:
        """Whether what is *missing* may be what a pronoun stands for."""
        if any(word.number or word.tags & PREDICATES for word in missing) or 2 * len(missing) > len(self._words):
            return False
        return any(clause.has("it") or (clause.subject == "other" and not clause.whom) for clause in run)

    def _read_before(self, run: Sequence[Clause]) -> list[Clause]:
        """What the user said before: in the same message, and in those before."""
        place = self._place
        begin = max(0, place.begin - _MARGIN)
        own = [
            clause
            for clause in self._evidence.read(
                place.voice.own[begin : min(len(place.voice.own), place.end + _MARGIN)], self._language
            )
            if clause.end <= run[0].begin
        ]
        return [
            *(clause for voice in self._evidence.before(place.voice.said) for clause in self._read_all(voice)),
            *own,
        ]

    def _read_all(self, voice: Voice) -> tuple[Clause, ...]:
        return self._evidence.read(voice.own[-2 * _MARGIN :], self._language)

    def _check_manner(self, run: Sequence[Clause]) -> Reason | None:
        """Whether it is said as firmly as the fact has it."""
        instruction = self._kind == "instruction"
        if any(clause.asks for clause in run) and not (instruction and _is_polite(run)):
            return "question"
        has = {tag for token in self._tokens if not _is_dated(token, self._dates) for tag in token.tags}
        if any(clause.supposed or ("if" not in has and clause.has("if")) for clause in run):
            return "pretended"
        if any(clause.denied != (("no" in has) != ("dislike" in has)) for clause in run):
            return "negated"
        if not instruction and any(clause.modal != ("modal" in has) for clause in run):
            return "modal"
        if any(clause.past != ("past" in has) for clause in run) or self._is_over(run):
            return "past"
        return None

    def _is_over(self, run: Sequence[Clause]) -> bool:
        """Whether the verb was in the past: "I lived", for "The user lives"."""
        if self._language != "en":
            return False
        for word in self._words:
            if word.tags & PREDICATES and not word.folded.endswith(("ed", "ing")):
                for clause in run:
                    place = find(word, clause.tokens, "en")
                    if place >= 0 and clause.tokens[place].folded.endswith("ed") and not clause.has("have"):
                        return "name" not in word.tags and "age" not in word.tags
        return False

    def _check_subject(self, run: Sequence[Clause]) -> Reason | None:
        """Whether the fact is about whom the clause is about."""
        first = next((word for word in self._words), None)
        for clause in run:
            if clause.reported or (clause.subject in ("you", "nobody") and self._kind != "instruction"):
                return "attributed"
            if clause.subject == "other" and not self._is_about(first, clause) and not self._is_wish(clause):
                return "attributed"
        if first is not None and first.tags & RELATIONS:
            own = [clause for clause in run if find(first, clause.tokens, self._language) >= 0]
            if any(clause.subject == "self" and self._takes_verb(first, clause) for clause in own):
                return "attributed"
            if own and any(clause.subject == "self" for clause in run if clause not in own):
                return "attributed"
        return None

    def _takes_verb(self, first: Token, clause: Clause) -> bool:
        """Whether the fact gives to somebody what the user does with them: "I like my brother's car"."""
        place = find(first, clause.tokens, self._language)
        return any(
            token.content and not token.tags & RELATIONS and find(token, self._tokens, self._language) >= 0
            for token in clause.tokens[:place]
        )

    def _is_wish(self, clause: Clause) -> bool:
        """Whether it is about answers: "the answers should be short"."""
        return self._kind == "instruction" and not any(
            clause.tokens[place].tags & RELATIONS or clause.tokens[place].name for place in clause.whom
        )

    def _is_about(self, first: Token | None, clause: Clause) -> bool:
        if first is None:
            return False
        if clause.whom:
            who = clause.tokens[clause.whom[0]]
            if who.tags & RELATIONS and find(who, self._tokens, self._language) < 0:
                return False
            return find(first, [clause.tokens[place] for place in clause.whom], self._language) >= 0
        if any("be" in token.tags for token in self._tokens if token.begin < first.begin):
            return False
        return bool(first.tags & RELATIONS) or first.name or first.begin == self._tokens[0].begin

    def _check_dates(self, run: Sequence[Clause]) -> Reason | None:
        sentences = {clause.sentence for clause in run}
        place = self._place
        begin = max(0, place.begin - _MARGIN)
        text = place.voice.own[begin : place.end + _MARGIN]
        said = " ".join(
            text[clause.begin : clause.end]
            for clause in self._evidence.read(text, self._language)
            if clause.sentence in sentences
        )
        at = place.voice.said.at.date()
        return None if all(allows(said, named, at) for named in self._dates) else "dated"

    def _explain(self) -> Reason:
        """Where the words are from that the quote does not have."""
        language = self._language
        for text, reason in ((self._evidence.remembered, "restated"), (self._evidence.assistant, "assistant")):
            if self._words and not list_missing(
                self._words, self._evidence.read(text[: 40 * _MARGIN], language), language
            ):
                return reason  # type: ignore[return-value]  # the literals above are reasons
        return "unsupported"


def _is_dated(token: Token, dates: Sequence[Date]) -> bool:
    return any(date.begin <= token.begin < date.end for date in dates)


def _is_polite(run: Sequence[Clause]) -> bool:
    return any(clause.has("polite") or clause.has("answer") for clause in run)


def _list_runs(clauses: Sequence[Clause]) -> Iterator[Sequence[Clause]]:
    """Single clauses, then neighbours that can be taken together."""
    for size in range(1, _MOST_CLAUSES + 1):
        for begin in range(len(clauses) - size + 1):
            run = clauses[begin : begin + size]
            if size == 1 or _go_together(run):
                yield run


def _go_together(run: Sequence[Clause]) -> bool:
    return run[-1].sentence - run[0].sentence <= 1 and not any(clause.embedded or clause.reported for clause in run[1:])
