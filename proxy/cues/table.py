"""All languages whose cues are known. One more is a table and a row here."""

from collections.abc import Mapping
from typing import Final

from proxy.cues.base import Cues
from proxy.cues.english import ENGLISH
from proxy.cues.european import FRENCH, GERMAN, ITALIAN, PORTUGUESE, RUSSIAN, SPANISH
from proxy.cues.verb_last import ARABIC, CHINESE, HINDI, JAPANESE, KOREAN, TURKISH

LANGUAGES: Final[Mapping[str, Cues]] = {
    "en": ENGLISH,
    "de": GERMAN,
    "fr": FRENCH,
    "es": SPANISH,
    "pt": PORTUGUESE,
    "it": ITALIAN,
    "ru": RUSSIAN,
    "tr": TURKISH,
    "ja": JAPANESE,
    "zh": CHINESE,
    "ko": KOREAN,
    "ar": ARABIC,
    "hi": HINDI,
}
