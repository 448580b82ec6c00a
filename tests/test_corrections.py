"""Users who correct an answer, complain of it, or say the same again are found in many languages; others are not."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.cues.table import LANGUAGES
from proxy.experiment.corrections import corrects
from proxy.experiment.wordings import WORDINGS
from tests.cost import cost

LABELLED: dict[str, dict[str, list[str]]] = json.loads(
    (Path(__file__).parent / "data" / "corrections.json").read_text("utf-8")
)
ROWS = [
    (language, kind, text) for language, kinds in LABELLED.items() for kind, texts in kinds.items() for text in texts
]


@pytest.mark.parametrize(("language", "kind", "text"), ROWS, ids=lambda value: str(value)[:40])
def test_labelled(language: str, kind: str, text: str) -> None:
    """What is meant is found, and what only looks like it is not."""
    assert corrects(text, None) is (kind == "good"), language


def test_every_language_of_the_cues() -> None:
    """One has not more languages than the other, and each has its rows."""
    assert set(WORDINGS) == set(LANGUAGES) == set(LABELLED)
    assert all(len(kinds["good"]) >= 9 and len(kinds["bad"]) >= 8 for kinds in LABELLED.values())


@pytest.mark.parametrize(
    ("message", "before"),
    [
        ("What is the capital of Portugal?", "What is the capital of Portugal?"),
        ("what is the capital of portugal", "What is the capital of Portugal?"),
        ("Hello? What is the capital of Portugal!!", "What is the capital of Portugal?"),
        ("Please, what is the capital of Portugal?", "So what is the capital of Portugal?"),
        ("Wie heißt meine Hündin, bitte?", "Wie heißt meine Hündin?"),
        ("Как зовут мою собаку?", "как зовут мою собаку"),
        ("私の犬の名前は何ですか", "私の犬の名前は何ですか？"),
        ("我的狗叫什么名字", "我的狗叫什么名字？"),
    ],
)
def test_the_same_again(message: str, before: str) -> None:
    """Who has to put a question twice was not answered, whatever changed around it."""
    assert corrects(message, before)


@pytest.mark.parametrize(
    ("message", "before"),
    [
        ("What is the capital of Spain?", "What is the capital of Portugal?"),
        ("What is 12 times 7, and why?", "What is 12 times 8, and why?"),
        ("How do I sort a list in Python?", "How do I sort a list?"),
        ("Tell me another joke, please", "Tell me another joke, please"),
        ("Continue with the story", "Continue with the story"),
        ("Pick a random number from 1 to 6", "Pick a random number from 1 to 6"),
        ("ok", "ok"),
        ("yes please", "yes please"),
        ("rock", "rock"),
        ("好的", "好的"),
        ("internationalisation", "internationalisation"),
        ("What is the capital of Portugal?", ""),
        ("x " * 3000, "x " * 3000),
    ],
)
def test_not_the_same_again(message: str, before: str) -> None:
    """Another question, one more of the same kind, a move in a game, or a document that is sent once more."""
    assert not corrects(message, before)


@given(st.text(max_size=400), st.text(max_size=400) | st.none())
def test_any_text(message: str, before: str | None) -> None:
    """Nothing raises."""
    assert corrects(message, before) in (True, False)


@pytest.mark.parametrize(
    "message",
    ["no, " * 50_000, "n" + "o" * 100_000, "hmm..." * 20_000, "x" * 1_000_000, "нет, " * 50_000, "いや" * 50_000],
)
def test_no_text_takes_long(message: str) -> None:
    """Only the beginning is looked at, and without going back and forth in it."""
    corrects(message, None)
    assert cost(lambda: corrects(message, message)) < 0.05
