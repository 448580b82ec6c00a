"""What the benchmark talks about: invented conversations, the same on every machine."""

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import msgspec

TURNS: Final = 20  # messages a conversation: ten exchanges is a usual length for a chatbot
WORDS: Final = 60  # a message: chatbot turns average about eighty tokens

# Common words of everyday talk. A vocabulary smaller than life's makes every word match more memories, so that recall
# has more to score here than it will have in use.
_VOCABULARY: Final = """
    morning coffee garden kitchen window sister brother mother father daughter holiday mountain river harbour
    bicycle engine battery museum concert guitar violin recipe pepper garlic salmon bakery market basket jacket
    winter summer autumn spring Monday Tuesday Friday Sunday office meeting project deadline manager invoice
    contract insurance doctor allergy medicine vitamin marathon training stretch sleep alarm neighbour landlord
    apartment mortgage balcony plant tomato puppy kitten parrot aquarium camera lens photograph gallery painting
    novel library chapter author podcast episode series theatre ticket airport luggage passport hotel island
    beach sunrise thunder snow umbrella boots carpet sofa lamp shelf hammer ladder paint brush cement fence gate
    driveway tyre mechanic scooter station platform tunnel bought visited planned forgot learned moved called
    wrote cooked repaired cancelled booked sold watched finished liked wanted needed tried started stopped asked
    answered promised decided hoped worried noticed preferred borrowed returned quickly slowly often never
    always maybe tomorrow yesterday together alone early late cheap expensive quiet loud happy tired careful
    broken fresh heavy bright narrow wooden golden purple foreign local famous strange simple difficult
"""

_CONSONANTS: Final = "bdfgklmnprstvwz"
_VOWELS: Final = "aeiou"


class Corpus:
    """A source of texts, seeded: two corpora with one seed say the same things."""

    def __init__(self, seed: int = 0) -> None:
        self._words = _VOCABULARY.split()
        self._random = random.Random(seed)  # noqa: S311  # repeatable, not secret

    def text(self, words: int = WORDS) -> str:
        """Some words, among them a rare one, as names are: those that tell one memory from another."""
        chosen = self._random.choices(self._words, k=words - 1)
        chosen.insert(words // 2, f"name{self._random.randrange(10_000)}")
        return " ".join(chosen)

    def question(self) -> str:
        """A question about words that have been said: recall says nothing to what is unheard of."""
        return f"What did I say about {' '.join(self._random.sample(self._words, 6))}?"

    def conversations(self, user_id: str, memories: int) -> Iterator[dict[str, Any]]:
        """As many conversations of one user as make so many memories, in the format of ``memory-proxy import``."""
        for number, start in enumerate(range(0, memories, TURNS)):
            turns = min(TURNS, memories - start)
            yield {
                "user_id": user_id,
                "conversation_id": f"{user_id}-{number}",
                "started_at": (datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=number)).isoformat(),
                "messages": [
                    {"role": "assistant" if turn % 2 else "user", "content": self.text()} for turn in range(turns)
                ],
            }


class Babble:
    """Texts of invented words, hardly any of which comes twice: no two are about the same, and none repeats another.

    What memory does with what is alike must not blur a count of what was said. Seeded, as a corpus is.
    """

    def __init__(self, seed: str) -> None:
        self._random = random.Random(seed)  # noqa: S311  # repeatable, not secret

    def text(self, words: int) -> str:
        """A sentence of so many words."""
        return " ".join(self._word() for _ in range(words)).capitalize() + "."

    def _word(self) -> str:
        # Three to four of 75 syllables: half a million words and more.
        syllables = range(self._random.randint(3, 4))
        return "".join(self._random.choice(_CONSONANTS) + self._random.choice(_VOWELS) for _ in syllables)


def write_conversations(path: Path, users: dict[str, int]) -> None:
    """A file for ``memory-proxy import``: each of *users* with so many memories."""
    corpus = Corpus()
    with path.open("wb") as file:
        for user_id, memories in users.items():
            for conversation in corpus.conversations(user_id, memories):
                file.write(msgspec.json.encode(conversation) + b"\n")


def chat_body(*messages: str, stream: bool = False, model: str = "mock") -> bytes:
    """A chat request in which a user says all of *messages* one after the other, under a usual system message."""
    said = [{"role": "user", "content": message} for message in messages]
    system = {"role": "system", "content": "You are a helpful assistant."}
    return msgspec.json.encode({"model": model, "messages": [system, *said], "stream": stream})
