"""Where a quote stands: in which of the user's messages, and not in what repeats the block or is no word of theirs."""

import re
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Final, NamedTuple

from proxy.cues.disguise import mask, pretends
from proxy.extraction.base import Batch, Item, Reason, Said
from proxy.extraction.languages import tell_language
from proxy.extraction.lexicons import LEXICONS, get_lexicon
from proxy.extraction.portions import is_quotable
from proxy.extraction.prompt import Prompt, unescape
from proxy.extraction.reading import Clause, read
from proxy.text import words
from proxy.text.folding import fold
from proxy.text.splitting import has_dense

# What people and models write for one another.
_ALIKE: Final = {"'": "['’‘ʼ‚`´]", '"': '["“”„«»]', "-": "[-‐‑–—]"}
_PLAIN: Final = str.maketrans("’‘ʼ´“”„\u00a0\u202f\u2007\t", "''''\"\"\"    ")
_AROUND: Final = ' \n\t"“”„«»「」…'
_PREFIX: Final = re.compile(r"^[\s*•·>-]*(?:\[?\d{4}-\d\d-\d\d\]?[^:：\n]{0,40}[:：])?\s*")
# What follows is written for somebody else.
_ORDERED: Final = re.compile(
    r"\b(?:write|draft|compose|schreib\w*|verfass\w*|écris|rédige\w*|escribe|redacta|escreva|redija|scrivi|napisz"
    r"|напиши\w*|yaz)\b[^.!?\n:]{1,100}:|(?:写|書いて|써)[^。！？\n：:]{0,60}[：:]",
    re.IGNORECASE,
)
# "I" is somebody in a story.
_FICTION: Final = re.compile(
    r"\b(?:in (?:this|the|my|our|a) (?:\w+ )?(?:story|game|novel|scene|scenario|campaign|roleplay|role-play"
    r"|play|movie|dream)"
    r"|let'?s play|my character|in (?:dieser|der|meiner) geschichte|spielen wir|dans (?:cette|mon) histoire|jouons"
    r"|en (?:esta|mi) historia|juguemos|nesta história|in questa storia|giochiamo"
    r"|в этой истории|давай(?:те)? поиграем)\b|在这个故事|この物語|이 이야기에서",
    re.IGNORECASE,
)
_MASKED: Final = re.compile("\x00+")
_OPENING: Final = "\"'«„“「『《"
_LONGEST_TITLE: Final = 4
_GAP: Final = re.compile(r"\s*(?:…|\.{3})\s*")
# Shorter lines of a block are what people say again of themselves.
_SHORTEST_ECHO: Final = 16
_SHORTEST_DENSE_ECHO: Final = 8
_SHORTEST_WORDS: Final = 3
_SHORTEST: Final = 8
_SHORTEST_DENSE: Final = 4
# Of what was said before, so many messages may tell what "it" is.
_MOST_BEFORE: Final = 4


class Voice:
    """A message of the user's, with what is known of it. Positions in *text* are those in what was said."""

    def __init__(self, said: Said, echoes: Sequence[re.Pattern[str]]) -> None:
        self.said = said
        self.text = said.text.translate(_PLAIN)
        self._echoes = echoes

    @cached_property
    def pretends(self) -> bool:
        """Whether nothing in it counts: role play, fiction, orders to forget what was said."""
        return pretends(self.text) or _FICTION.search(self.text) is not None

    @cached_property
    def masked(self) -> str:
        """The text with NUL in place of quotations, code and what is to be worked on."""
        masked = mask(self.text)
        ordered = _ORDERED.search(masked)
        return masked if ordered is None else masked[: ordered.end()] + "\x00" * (len(masked) - ordered.end())

    @cached_property
    def own(self) -> str:
        """The text without what is masked, but with titles, such as that of a book within a sentence."""
        return _MASKED.sub(lambda run: self._keep_title(*run.span()), self.masked)

    def _keep_title(self, begin: int, end: int) -> str:
        run = self.text[begin:end]
        inner = run[1:-1]
        is_title = run[0] in _OPENING and len(inner.split()) <= _LONGEST_TITLE and inner[:1].isupper()
        return run if is_title and not _speaks(inner) else "\x00" * (end - begin)

    @cached_property
    def echoed(self) -> list[tuple[int, int]]:
        """Where it repeats a line of the block."""
        return [match.span() for pattern in self._echoes for match in pattern.finditer(self.text)]

    @cached_property
    def language(self) -> str:
        return tell_language(self.text)

    def find(self, pattern: re.Pattern[str]) -> Iterator[tuple[int, int]]:
        """Where a quote stands in it as whole words."""
        for match in pattern.finditer(self.said.text):
            if not (_cuts(self.text, match.start()) or _cuts(self.text, match.end())):
                yield match.span()


class Place(NamedTuple):
    """A quote at ``voice.text[begin:end]``."""

    voice: Voice
    begin: int
    end: int

    @property
    def quote(self) -> str:
        """To the letter."""
        return self.voice.said.text[self.begin : self.end]


class Evidence:
    """What facts of a batch are held against. Nothing is looked at before it is needed."""

    def __init__(self, batch: Batch) -> None:
        self.batch = batch
        self._echoes = [pattern for line in batch.block.splitlines() if (pattern := _echo_pattern(line))]
        self._voices: dict[tuple[str, int], Voice] = {}
        self._read: dict[tuple[str, str], tuple[Clause, ...]] = {}

    def voice(self, said: Said) -> Voice:
        """The user's message *said*."""
        key = (said.conversation_id, said.index)
        voice = self._voices.get(key)
        if voice is None:
            voice = self._voices[key] = Voice(said, self._echoes)
        return voice

    def read(self, text: str, language: str) -> tuple[Clause, ...]:
        """The clauses of *text*, kept for as long as the batch is looked at."""
        key = (text, language)
        if key not in self._read:
            self._read[key] = read(text, language)
        return self._read[key]

    @cached_property
    def quotable(self) -> list[Voice]:
        return [self.voice(said) for said in self.batch.messages if is_quotable(said)]

    @cached_property
    def language(self) -> str:
        """The language of all that the user said."""
        return tell_language("\n".join(said.text[:2000] for said in self.batch.messages if said.role == "user"))

    def before(self, said: Said) -> list[Voice]:
        """What the user said before, the latest last."""
        users = [one for one in self.batch.messages if one.role == "user"]
        place = next((number for number, one in enumerate(users) if one is said), len(users))
        return [self.voice(one) for one in users[max(0, place - _MOST_BEFORE) : place]]

    @cached_property
    def assistant(self) -> str:
        """All that the assistant said."""
        return "\n".join(said.text for said in self.batch.messages if said.role == "assistant")

    @cached_property
    def remembered(self) -> str:
        """The block, and what is known."""
        return "\n".join([self.batch.block, *(fact.text for fact in self.batch.known)])


def locate(item: Item, prompt: Prompt, evidence: Evidence) -> Place | Reason:
    """Where the quote of *item* stands, or why it does not count."""
    quote = unescape(item.quote).strip(_AROUND)
    if not quote or _says_nothing(quote):
        return "short"
    pattern = _quote_pattern(quote)
    found = _find_named(item.message, prompt, evidence, pattern) or _find_only(evidence, pattern)
    if not found:
        return _explain(pattern, evidence)
    voice, spans = found
    kept = [span for span in spans if not any(begin < span[1] and span[0] < end for begin, end in voice.echoed)]
    if not kept:
        return "echo"
    own = [span for span in kept if _is_own(voice, *span)]
    return Place(voice, *own[0]) if own else "pretended"


_Found = tuple[Voice, list[tuple[int, int]]]


def _find_named(number: int, prompt: Prompt, evidence: Evidence, pattern: re.Pattern[str]) -> _Found | None:
    if not 0 < number <= len(prompt.said) or not is_quotable(said := prompt.said[number - 1]):
        return None
    voice = evidence.voice(said)
    spans = list(voice.find(pattern))
    return (voice, spans) if spans else None


def _find_only(evidence: Evidence, pattern: re.Pattern[str]) -> _Found | None:
    """The one message that has it, whatever number was given."""
    found = [(voice, spans) for voice in evidence.quotable if (spans := list(voice.find(pattern)))]
    return found[0] if len(found) == 1 else None


def _explain(pattern: re.Pattern[str], evidence: Evidence) -> Reason:
    for said in evidence.batch.messages:
        if not is_quotable(said) and pattern.search(said.text):
            return "assistant" if said.role == "assistant" else "context"
    return "restated" if pattern.search(evidence.remembered) else "unquoted"


def _is_own(voice: Voice, begin: int, end: int) -> bool:
    if voice.pretends:
        return False
    return voice.masked.count("\x00", begin, end) * 2 < end - begin


def _quote_pattern(quote: str) -> re.Pattern[str]:
    plain = quote.translate(_PLAIN).replace("«", '"').replace("»", '"')
    parts = (r"\s+".join("".join(map(_match_alike, word)) for word in plain.split()),)
    return re.compile(parts[0])


def _match_alike(character: str) -> str:
    return _ALIKE.get(character) or re.escape(character)


def _cuts(text: str, place: int) -> bool:
    """Whether a word would be cut at *place*; in scripts without spaces nobody knows."""
    if not 0 < place < len(text):
        return False
    before, after = text[place - 1], text[place]
    return before.isalnum() and after.isalnum() and not has_dense(before + after)


def _speaks(text: str) -> bool:
    """Whether *text* speaks of its own speaker."""
    language = tell_language(text)
    return language in LEXICONS and any("self" in get_lexicon(language).tag(word, word) for word in fold(text).split())


def _says_nothing(quote: str) -> bool:
    shortest = _SHORTEST_DENSE if has_dense(quote) else _SHORTEST
    if len(quote.split()) >= _SHORTEST_WORDS or len(quote) >= shortest:
        return False
    return not words(quote)


def _echo_pattern(line: str) -> re.Pattern[str] | None:
    """What finds *line* in a message, without its date and however it is spaced."""
    text = _PREFIX.sub("", line).strip().strip(".。!…")
    parts = [part for part in _GAP.split(text) if len(part) >= _SHORTEST_ECHO or _is_dense_echo(part)]
    if not parts:
        return None
    sources = (r"\s+".join("".join(map(_match_alike, word)) for word in part.split()) for part in parts)
    return re.compile("|".join(sources), re.IGNORECASE)


def _is_dense_echo(part: str) -> bool:
    return len(part) >= _SHORTEST_DENSE_ECHO and has_dense(part)
