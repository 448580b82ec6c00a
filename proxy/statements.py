"""What a user states for good: standing instructions, preferences and facts about themself, found by rule.

A wrong statement is in every block from then on, a missing one can still be found by search: when in doubt, nothing is
found. Hence a cue has to begin its clause ("my friend says I always …" is somebody else's view), and quotes, code,
transcripts, role plays, suppositions and questions do not count.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final, NamedTuple

import msgspec

from proxy.cues.base import RULES, SUBJECTS, WITHDRAWN, Cues, StatementKind
from proxy.cues.disguise import mask, pretends
from proxy.cues.table import LANGUAGES

# Of a long text the beginning and the end are looked at: what frames a pasted document, if anything, is the user's own.
_HEAD: Final = 4000
_TAIL: Final = 1000
# Longer texts state things in their first and last sentences or not at all.
_LONG: Final = 1500
_FRAME: Final = 3
_MOST: Final = 8
# About 50 tokens: more of a sentence that does not end is not the statement any more.
_LONGEST: Final = 220
# In characters; "我叫李雷" has four.
_SHORTEST: Final = 4

_SENTENCE_END: Final = re.compile(
    r"[.!?…]+(?<!\b[dms]r\.)(?<!\bst\.)(?<!\bmrs\.)(?<!\be\.g\.)(?<!\bi\.e\.)(?=[\s\"')\]\u3000-\uffff]|$)"
    r"|[。！？؟।]+|\n+",
    re.IGNORECASE,
)
_ASKS: Final = re.compile(r"[?？؟]|(?:ですか|ますか|でしょうか|吗|嗎|呢|까|나요)$")
_AND: Final = r"and|und|et|y|e|и|ve"
_JOINT: Final = re.compile(
    r"(?:[,;:()–—，、；：،؛]|\.\.\.| - )\s*"
    rf"|\s(?=(?:{_AND}|but|so|because|since|aber|weil|mais|pero|mas|ma|а|но|ama)\s)",
)
_CONDITION: Final = re.compile(
    r"\b(?:when(?:ever)?|every ?time|each time|any ?time|if|unless|wenn|quand|si|cuando|cada vez|quando|se|когда"
    r"|если)\b"
    r"|ときは|時は|时候|때|عندما|जब|\bdiğinde\b",
    re.IGNORECASE,
)
# Of preferences, "I like short walks" is not about the length of answers.
_PREFERRED: Final = frozenset({"units", "spelling"})
_POLITE: Final = re.compile(r"(?:could|would|will) you|can you please|please", re.IGNORECASE)
_TRAILING: Final = re.compile(r"(?:[\s,;:，、；：،؛(\x00–—-]|\b(?:and|but|so|und|et|y|e|и|ve)\b)+$", re.IGNORECASE)
_WORD: Final = re.compile(r"[^\W_][\w'-]*")
_WORDS: Final = re.compile(r"[\w'-]+:?")
_ARTICLES: Final = """
    a an the type kind sort of all time my to and der die das den dem ein eine le la les un une des el las los o os as
    il lo gli i ai al alla alle
"""
_FILLER: Final = frozenset(_ARTICLES.split())


class Statement(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Something stated for good, at ``text[begin:end]`` of the memory it is in.

    Of the statements with the same *topic* the newest holds; an empty one has none. A topic that begins with ``!``
    takes back what was said of the rest of it, or without a rest, what was said in about the same words.
    """

    begin: int
    end: int
    kind: StatementKind
    topic: str = ""


class _Span(NamedTuple):
    """A sentence, or a clause of one. *asks*: the question is in it."""

    begin: int
    end: int
    asks: bool


@dataclass(frozen=True, slots=True)
class _Language:
    """A language's cues, compiled."""

    triggers: frozenset[str]
    script: re.Pattern[str] | None
    anywhere: bool
    lead: re.Pattern[str]
    keep: re.Pattern[str]
    joint: re.Pattern[str]
    doubt: re.Pattern[str]
    rules: re.Pattern[str]
    mentions: re.Pattern[str] | None

    def occurs(self, folded: str) -> bool:
        """Whether a text has one of the triggers in the midst of a word."""
        return (
            self.script is not None
            and self.script.search(folded) is not None
            and any(trigger in folded for trigger in self.triggers)
        )


def find_statements(text: str) -> tuple[Statement, ...]:
    """What *text*, a message of the user's, states for good, in its order; at most eight."""
    if len(text) <= _HEAD + _TAIL:
        return tuple(_scan(text, 0))[:_MOST]
    tail = len(text) - _TAIL
    return (*_scan(text[:_HEAD], 0), *_scan(text[tail:], tail))[:_MOST]


def _scan(text: str, offset: int) -> Iterator[Statement]:
    text = text.replace("’", "'")
    # Nearly all texts state nothing: what would disguise a statement is looked for only where one was found.
    if not any(True for _ in _read(text)) or pretends(text):
        return
    for found in sorted(_read(mask(text)), key=lambda statement: statement.begin):
        yield Statement(found.begin + offset, found.end + offset, found.kind, found.topic)


def _read(text: str) -> Iterator[Statement]:
    sentences = list(_split_sentences(text))
    if len(text) > _LONG and len(sentences) > 2 * _FRAME:
        sentences = sentences[:_FRAME] + sentences[-_FRAME:]
    for sentence in sentences:
        if languages := _tell_languages(text[sentence.begin : sentence.end]):
            yield from _read_sentence(text, sentence, languages)


def _tell_languages(text: str) -> list[_Language]:
    """The languages of which *text* has a trigger."""
    folded = text.lower()
    words = set(_WORDS.findall(folded))
    spaced, scripts = _compile_languages()
    languages = [language for language in spaced if not language.triggers.isdisjoint(words)]
    return languages if text.isascii() else languages + [language for language in scripts if language.occurs(folded)]


def _split_sentences(text: str) -> Iterator[_Span]:
    begin = 0
    for stop in _SENTENCE_END.finditer(text):
        yield _Span(begin, stop.start(), _ASKS.search(text, stop.start() - 3, stop.end()) is not None)
        begin = stop.end()
    if begin < len(text):
        yield _Span(begin, len(text), _ASKS.search(text, max(begin, len(text) - 3)) is not None)


def _read_sentence(text: str, sentence: _Span, languages: Sequence[_Language]) -> Iterator[Statement]:
    """The statements of one sentence, each character in one of them at most."""
    begin = _skip_space(text, sentence.begin)
    if sentence.end - begin < _SHORTEST:
        return
    read_to = begin
    sentence = sentence._replace(begin=begin)
    for language in languages:
        if language.mentions:
            yield from _find_mentions(text, sentence, language.mentions)
        if language.doubt.match(text, _skip_lead(text, begin, language)):
            continue
        for clause in _split_clauses(text, sentence, language):
            if clause.begin >= read_to and (found := _read_clause(text, clause, sentence, language)):
                read_to = found.end
                yield found


def _split_clauses(text: str, sentence: _Span, language: _Language) -> Iterator[_Span]:
    """Clauses from each joint on to where the next begins that could stand alone; the last one asks the question."""
    joints = [joint.end() for joint in _JOINT.finditer(text, sentence.begin, sentence.end)]
    breaks = [place for place in joints if language.joint.match(text, place)]
    for begin in (sentence.begin, *joints):
        end = next((place for place in breaks if place > begin), sentence.end)
        yield _Span(begin, end, sentence.asks and end == sentence.end)


def _read_clause(text: str, clause: _Span, sentence: _Span, language: _Language) -> Statement | None:
    begin = _skip_lead(text, clause.begin, language)
    if begin >= clause.end or language.doubt.match(text, begin):
        return None
    rule, cue_end = _find_rule(text, clause._replace(begin=begin), sentence, language)
    if not rule and not clause.asks:
        kept = language.keep.search(text, clause.begin, clause.end)
        rule, cue_end = ("remember", begin) if kept and kept.end() <= begin else ("", 0)
    if not rule:
        return None
    kind, topic = RULES[rule]
    end = sentence.end if kind == "instruction" and not clause.asks else max(clause.end, cue_end)
    end = _trim_end(text, begin, end)
    if end - begin < _SHORTEST:
        return None
    if topic.endswith(":"):
        topic = _complete(topic, text[cue_end:end], language)
    elif not topic.strip(WITHDRAWN):
        topic += _find_subject(text[begin:end], kind)
    return Statement(begin, end, kind, topic)


def _find_rule(text: str, clause: _Span, sentence: _Span, language: _Language) -> tuple[str, int]:
    """The rule that *clause* follows, or an empty one, and where its cue ends."""
    if language.anywhere:
        cue = language.rules.search(text, clause.begin, min(clause.end, clause.begin + _LONGEST))
    else:
        # What follows the clause may decide.
        cue = language.rules.match(text, clause.begin, sentence.end)
    if cue is None or cue.lastgroup is None or (clause.asks and not _requests(cue)):
        return "", 0
    opens = _skip_lead(text, sentence.begin, language) == clause.begin
    return ("", 0) if cue.lastgroup == "opening" and not opens else (cue.lastgroup, cue.end())


def _requests(cue: re.Match[str]) -> bool:
    """Whether a question asks for something to be done always: "could you always answer in French?"."""
    return cue.lastgroup in {"instruct", "opening", "answer"} and _POLITE.match(cue[0]) is not None


def _complete(topic: str, rest: str, language: _Language) -> str:
    """*topic* with the first word of *rest* that says something, "colour" of "colour is blue"."""
    found = (word for word in _WORD.findall(rest.lower()) if word not in _FILLER)
    word = "" if language.anywhere else next(found, "")
    return topic + word if word else ""


def _find_subject(statement: str, kind: StatementKind) -> str:
    # What holds only in some cases takes nothing back.
    if _CONDITION.search(statement):
        return ""
    subject = _compile_subjects().search(statement)
    name = (subject.lastgroup if subject else None) or ""
    return name if kind == "instruction" or name in _PREFERRED else ""


def _find_mentions(text: str, sentence: _Span, mentions: re.Pattern[str]) -> Iterator[Statement]:
    for mention in mentions.finditer(text, sentence.begin, sentence.end):
        *_, who, name = _WORD.findall(mention[0].lower())
        yield Statement(mention.start(), mention.end(), "fact", f"{who}:{name}")


def _skip_space(text: str, place: int) -> int:
    while place < len(text) and text[place].isspace():
        place += 1
    return place


def _skip_lead(text: str, place: int, language: _Language) -> int:
    lead = language.lead.match(text, place)
    return place if lead is None else lead.end()


def _trim_end(text: str, begin: int, end: int) -> int:
    """Where ``text[begin:end]`` ends without what joins it to the next clause, and cut between words if too long."""
    if end - begin > _LONGEST:
        space = text.rfind(" ", begin, begin + _LONGEST)
        end = space if space > begin else begin + _LONGEST
    return begin + len(_TRAILING.sub("", text[begin:end]))


@cache
def _compile_languages() -> tuple[list[_Language], list[_Language]]:
    """Languages that are told by their words, and those that are told by their script."""
    languages = [_compile(cues) for cues in LANGUAGES.values()]
    return (
        [language for language in languages if not language.script],
        [language for language in languages if language.script],
    )


def _compile(cues: Cues) -> _Language:
    rules = "|".join(f"(?P<{name}>{pattern})" for name, pattern in cues.rules.items())
    # Scripts that one language has for itself are written without spaces, or with endings instead of words.
    word_end = "" if cues.script else r"(?!\w)"
    return _Language(
        triggers=frozenset(cues.triggers.split()),
        script=re.compile(cues.script) if cues.script else None,
        anywhere=cues.anywhere,
        lead=re.compile(cues.lead, re.IGNORECASE),
        keep=re.compile(cues.keep, re.IGNORECASE),
        joint=re.compile(rf"[¿¡]?(?:(?:{_AND})\s+)?(?:{cues.joints}){word_end}", re.IGNORECASE),
        doubt=re.compile(cues.doubts, re.IGNORECASE),
        rules=re.compile(rules, re.IGNORECASE),
        mentions=re.compile(cues.mentions, re.IGNORECASE) if cues.mentions else None,
    )


@cache
def _compile_subjects() -> re.Pattern[str]:
    return re.compile("|".join(f"(?P<{name}>{pattern})" for name, pattern in SUBJECTS.items()), re.IGNORECASE)
