"""Words and terms of texts."""

import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.text import hash_word, pack_terms, terms, unpack_terms, words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The dogs were running", ["dog", "run"]),
        ("Don't you think Caroline's toys won't do?", ["think", "carolin", "toy"]),
        ("In May I paid 3,000 for 5.50 kg", ["may", "paid", "3000", "5.50", "kg"]),
        ("snake_case and GPT-4", ["snake", "case", "gpt", "4"]),
        ("Caf\u00e9 cafe\u0301 \uff23\uff21\uff26\u00c9", ["café", "café", "café"]),
        ("It’s Ann’s", ["ann"]),
        ("東京に", ["東京", "京に"]),
        ("猫 and 犬", ["猫", "犬"]),
        ("Python好き", ["python", "好き"]),
        ("안녕하세요", ["안녕", "녕하", "하세", "세요"]),
        ("Привет, Мир", ["привет", "мир"]),
        ("हिन्दी में", ["हिन्दी", "में"]),
        ("ไทย", ["ไท", "ทย"]),
        ("", []),
        ("hi, how are you?", []),
    ],
)
def test_words(text: str, expected: list[str]) -> None:
    """Words are folded, stemmed and without stop words; dense scripts come in pairs of characters."""
    assert words(text) == expected


def test_terms_are_stable_numbers_with_counts() -> None:
    """A term is the CRC-32 of its word, the same in every process."""
    assert terms("dog dogs cat") == {hash_word("dog"): 2, hash_word("cat"): 1}
    assert hash_word("dog") == 0x812C397D


def test_packed_terms_hold_the_speaker_too() -> None:
    """A speaker's name is found like a word of the text, and hashes ascend."""
    hashes, counts = unpack_terms(pack_terms("Caroline likes dogs", "Caroline"))
    assert dict(zip(hashes.tolist(), counts.tolist(), strict=True)) == terms("Caroline Caroline likes dogs")
    assert (np.diff(hashes.astype(np.int64)) > 0).all()


def test_counts_are_capped() -> None:
    """A word said 70,000 times is stored as said 65,535 times."""
    assert unpack_terms(pack_terms("dog " * 70_000))[1].tolist() == [65_535]


def test_terms_cut_short_are_refused() -> None:
    """Bytes that are no whole number of terms raise ValueError."""
    with pytest.raises(ValueError, match="7 bytes"):
        unpack_terms(bytes(7))


@given(st.text(st.characters(codec=None)))
def test_any_text_can_be_packed(text: str) -> None:
    """No text, lone surrogates included, breaks the analysis."""
    hashes, counts = unpack_terms(pack_terms(text, text))
    assert len(hashes) == len(counts)


def test_threads_stem_independently() -> None:
    """Words come out the same when several threads ask at once."""
    found: list[list[str]] = []
    threads = [threading.Thread(target=lambda: found.append(words("running dogs " * 500))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [["run", "dog"] * 500] * 8
