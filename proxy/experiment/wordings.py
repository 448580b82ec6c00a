"""How people take exception to an answer: what a message begins with that corrects, complains, or says something again.

Precise rather than complete, because what is measured is a difference between users: a wording that is missing is
missing for both arms, one that also means something else drowns the difference. So "no" alone is none, as it may answer
a question, nor is anything that does not open the message.
"""

from collections.abc import Mapping
from typing import Final

from proxy.experiment.scripts import ARABIC, CHINESE, HINDI, JAPANESE, KOREAN, RUSSIAN
from proxy.experiment.western import ENGLISH, FRENCH, GERMAN, ITALIAN, PORTUGUESE, SPANISH, TURKISH
from proxy.experiment.wording import Wording

WORDINGS: Final[Mapping[str, Wording]] = {
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

# Who says word for word the same again may want another one of what was given: then it is no complaint.
_AGAIN: Final = """
    another more next again continue go on random different roll joke surprise noch nochmal weiter mehr anderer andere
    anderes nächste nächster zufällig witz encore autre autres plus suivant suivante continue blague otro otra más
    siguiente continúa sigue chiste outro outra mais próximo próxima continua piada altro altra ancora prossimo
    prossima barzelletta ещё еще другой другую другое дальше продолжай следующий анекдот başka daha sonraki devam
    yine şaka
"""
AGAIN: Final = frozenset(_AGAIN.split())
# Around a question that is put again.
_FILLERS: Final = """
    please so then ok okay well hey hi hello but and no um uh bitte also dann hallo nein aber und ja doch stp svp alors
    donc mais et non bonjour por favor entonces hola pero y no então olá mas e não allora ciao ma e lütfen merhaba ama
    ну так а но и да нет пожалуйста привет
"""
FILLERS: Final = frozenset(_FILLERS.split())
