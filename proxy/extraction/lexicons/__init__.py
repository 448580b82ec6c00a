"""Words by which it is told whom a clause is about, and whether it denies, wishes, supposes or asks: by language."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from typing import Final, NamedTuple

from proxy.text.detection import dense_stop, other_words
from proxy.text.folding import fold, fold_word
from proxy.text.languages import ENGLISH, LATIN

# Code, which is also the name of its file → what :mod:`proxy.text` calls the language, where it tells it by its words.
LEXICONS: Final[Mapping[str, str]] = {
    "en": "",
    "de": "german",
    "nl": "dutch",
    "sv": "swedish",
    "da": "danish",
    "fr": "french",
    "es": "spanish",
    "pt": "portuguese",
    "it": "italian",
    "pl": "polish",
    "cs": "czech",
    "tr": "turkish",
    "ru": "",
    "uk": "",
    "ar": "",
    "hi": "",
    "zh": "",
    "ja": "",
    "ko": "",
}
SPACED_LATIN: Final = ("en", "de", "nl", "sv", "da", "fr", "es", "pt", "it", "pl", "cs", "tr")
DENSE: Final = frozenset({"zh", "ja"})

Tags = frozenset[str]
NONE: Final[Tags] = frozenset()


class Lexicon(NamedTuple):
    """*exact*: by how a word is spelled, *folded*: without accents, *endings*: whatever follows.

    *phrases*: by their first word, the words that follow it, and what the phrase is.
    """

    language: str
    exact: Mapping[str, Tags]
    folded: Mapping[str, Tags]
    endings: tuple[tuple[str, Tags], ...]
    phrases: Mapping[str, tuple[tuple[tuple[str, ...], Tags], ...]]
    numbers: Mapping[str, str]
    stop: frozenset[str]

    def tag(self, raw: str, folded: str) -> Tags:
        """The groups that a word is in."""
        tags = self.exact.get(raw, NONE) | self.folded.get(folded, NONE)
        found = (also for beginning, also in self.endings if folded.startswith(beginning))
        return tags | next(found, NONE)


def load_lexicons() -> None:
    """Reads all of them: 40 ms and 3 MB, which nobody has to wait for later."""
    for language in LEXICONS:
        get_lexicon(language)


@cache
def get_lexicon(language: str) -> Lexicon:
    """Raises KeyError for a language that has none."""
    name = LEXICONS[language]
    source = files(__name__).joinpath(f"{language}.txt").read_text("utf-8")
    groups = dict(_read_groups(source))
    exact: defaultdict[str, Tags] = defaultdict(frozenset)
    folded: defaultdict[str, Tags] = defaultdict(frozenset)
    endings: defaultdict[str, Tags] = defaultdict(frozenset)
    phrases: defaultdict[str, dict[tuple[str, ...], Tags]] = defaultdict(dict)
    for group, word in ((group, word) for group, words in groups.items() for word in words):
        tags = frozenset({group}) if group != "numbers" else NONE
        first, *rest = word.replace("-", "_").split("_")
        if rest:
            phrases[first][tuple(rest)] = phrases[first].get(tuple(rest), NONE) | tags
        elif word.endswith("*"):
            endings[word[:-1]] |= tags
        elif word.isascii() or language not in SPACED_LATIN:
            folded[_fold(word)] |= tags
        else:
            exact[word] |= tags
    return Lexicon(
        language,
        dict(exact),
        dict(folded),
        tuple(sorted(endings.items(), key=lambda item: -len(item[0]))),
        {first: tuple(found.items()) for first, found in phrases.items()},
        {_fold(word): str(number) for number, word in enumerate(groups["numbers"], 1)},
        _list_stop_words(language, name),
    )


def _read_groups(source: str) -> Iterator[tuple[str, list[str]]]:
    for line in source.replace("\n ", " ").strip().splitlines():
        group, _, words = line.partition(":")
        yield group, words.split()


def _fold(word: str) -> str:
    return fold_word(fold(word))


def _list_stop_words(language: str, name: str) -> frozenset[str]:
    if language == "en":
        return ENGLISH
    if language in DENSE or language == "ko":
        return dense_stop()
    own = next((known.function_words for known in LATIN if name and known.stemmer == name), None)
    return other_words() if own is None else frozenset(own.split())
