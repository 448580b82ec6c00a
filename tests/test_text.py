"""Words and terms of texts."""

import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.text import hash_word, pack_terms, terms, unpack_terms, words
from proxy.text.folding import fold, fold_word
from proxy.text.languages import ENGLISH, LATIN, Language
from proxy.text.scripts import stem_all


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The dogs were running", ["dog", "run"]),
        ("Don't you think Caroline's toys won't do?", ["think", "carolin", "toy"]),
        ("In May I paid 3,000 for 5.50 kg", ["may", "paid", "3000", "5.50", "kg"]),
        ("the second one", ["second"]),
        ("GPT-4 in a v2.0", ["gpt", "4", "v2", "0", "2.0"]),
        ("It’s Ann’s – really", ["ann"]),
        ("", []),
        ("\0a 1.5\x002\1b", ["1.5", "2", "b"]),
    ],
)
def test_words(text: str, expected: list[str]) -> None:
    """English words are folded, stemmed and without function words; numbers keep their point."""
    assert words(text) == expected


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Caf\u00e9", "cafe\u0301"),
        ("\uff23\uff21\uff26\u00c9", "cafe"),
        ("naïve Ångström æble łódź", "naive Angstrom aeble lodz"),
        ("die große Straße", "die grosse Strasse"),
        ("IŞIK", "ışık"),
        ("Ёлка", "елка"),
        ("القَرْيَة", "القرية"),
        ("القــرية", "القرية"),
        ("أحمد", "احمد"),
        ("کتاب", "كتاب"),
        ("כַּלְבִּי", "כלבי"),
        ("\u202bכלב\u202c", "כלב"),
        ("हफ़्ता गाँव", "हफ्ता गांव"),
        ("κιθάρα", "ΚΙΘΑΡΑ"),
        ("٢٠٢٤ ۱۲ ५०", "2024 12 50"),
        ("ｶﾒﾗ", "カメラ"),
        ("zero\u00adwidth\ufeff", "zerowidth"),
    ],
)
def test_one_word_in_two_spellings(one: str, other: str) -> None:
    """Accents, points, widths, digits and what is not seen make no difference."""
    assert words(other)
    assert set(words(other)) <= set(words(one))


@pytest.mark.parametrize(
    ("stored", "asked"),
    [
        ("Meine Hunde bellen", "Hund?"),
        ("Hund Rex krank", "Wie heißen die Hunde?"),
        ("Mes chiens sont noirs", "chien"),
        ("Ho due cani e una chitarra", "chitarre, dove sono?"),
        ("Köpeklerim çok büyük", "köpeğimin adı ne?"),
        ("Моих собак зовут Рекс", "собака"),
        ("أعمل في القرية", "والقرى"),
        ("הכלבים שלי", "כלב"),
        ("मेरे कुत्तों के नाम", "कुत्ता"),
        ("猫を飼っています", "猫"),
        ("我养了一只狗", "狗"),
        ("개를 키워요", "개"),
        ("고양이가 좋아요", "고양이"),
        ("กินแมวน้ำ", "แมว"),
        ("iPhone15を買った", "iphone15"),
        ("東京に行く", "東京"),
    ],
)
def test_a_short_question_meets_what_was_said(stored: str, asked: str) -> None:
    """Even one word, too little to tell a language, shares an index word with another form of it."""
    assert set(words(stored)) & set(words(asked))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("東京に", ["東", "京", "東京"]),
        ("猫 and 犬", ["猫", "犬"]),
        ("Python好き", ["python", "好"]),
        ("りんご", ["りん", "んご"]),
        ("ไทย", ["ไท", "ทย"]),
        ("마을에서", ["마을"]),
    ],
)
def test_scripts_without_spaces(text: str, expected: list[str]) -> None:
    """Han comes as characters and pairs of them, other such scripts as pairs; particles are left out."""
    assert words(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("🐶", ["🐶"]),
        ("👩🏽\u200d🍳", ["👩", "🍳"]),
        ("🏃🏿\u200d♀\ufe0f", ["🏃"]),
        ("🇩🇪🇫🇷", ["🇩🇪", "🇫🇷"]),
        ("I ❤️ pizza 👍", ["pizza"]),
    ],
)
def test_emoji_are_words(text: str, expected: list[str]) -> None:
    """Skin tones, joiners and variation selectors do not count, nor do emoji that only nod or smile."""
    assert words(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("getUserName", {"getusernam", "user", "name"}),
        ("get_user_name", {"user", "name", "get_user_name"}),
        ("HTTPServer2", {"httpserver2", "http", "server"}),
        ("foo.bar()", {"foo", "bar"}),
        ("C++, C# or .NET", {"c", "c++", "c#", "net"}),
        ("v1.2.3", {"v1", "2.3", "1.2.3"}),
        ("/usr/local", {"usr", "local"}),
        ("ann@mail.org", {"ann", "mail", "org", "ann@mail.org"}),
        ("https://docs.python.org/3/", {"https", "doc", "python", "org", "3", "docs.python.org"}),
        ("JavaScript", {"javascript"}),
        ("a_ @ # v1. ://", {"v1"}),
        ("getUserName getUserName", {"getusernam", "user", "name"}),
    ],
)
def test_identifiers_are_indexed_with_their_parts(text: str, expected: set[str]) -> None:
    """Names out of programs are found by their parts and as a whole; brands are not taken apart."""
    assert set(words(text)) == expected


def test_a_repeated_identifier_adds_its_parts_once() -> None:
    """A listing that says a name often is not all about it."""
    assert words("getUserName " * 9).count("user") == 1
    assert words("get_name " * 9).count("get_name") == 1


@pytest.mark.parametrize(
    "text",
    [
        *(
            "hi, how are you?",
            "thank you so much!",
            "good morning",
            "lol",
            "ok great",
            "sounds good",
            "got it",
            "👍",
            "🙏🏽",
        ),
        *("hola", "¡Buenos días!", "gracias", "danke schön", "Guten Morgen", "merci beaucoup", "Bonjour !", "obrigado"),
        *(
            "bom dia",
            "ciao",
            "grazie mille",
            "dank je wel",
            "tack så mycket",
            "dziękuję",
            "teşekkür ederim",
            "iyi geceler",
        ),
        *(
            "спасибо",
            "Доброе утро",
            "большое спасибо",
            "مرحبا",
            "شكرا جزيلا",
            "صباح الخير",
            "שלום",
            "תודה רבה",
            "בוקר טוב",
        ),
        *("नमस्ते", "धन्यवाद", "ありがとう", "おはようございます", "谢谢", "你好", "안녕하세요", "감사합니다", "สวัสดีครับ"),
        *("καλημέρα", "ευχαριστώ πολύ", "cảm ơn", "terima kasih", "kiitos", "köszönöm"),
    ],
)
def test_courtesy_asks_for_nothing(text: str) -> None:
    """Greetings, thanks and nods have no index word, whatever their language."""
    assert words(text) == []


@pytest.mark.parametrize(
    "text",
    ["good dog", "a perfect evening in Rome", "morning?", "night shift", "great job", "Guten Appetit", "Die Hard"],
)
def test_courteous_words_with_content_stay(text: str) -> None:
    """The same words count where something is said with them."""
    assert words(text)


@pytest.mark.parametrize(
    "text",
    [
        "I was in La Paz with a friend",
        "the die is cast and the man has a hat",
        "So am I in LA",
        "He has come on a van tour of Los Angeles",
        "Can you explain the word comment in French?",
    ],
)
def test_english_with_foreign_words_stays_english(text: str) -> None:
    """Words that look like function words of other languages neither vanish from English nor get other stems."""
    plain = [word for word in text.lower().replace("?", "").split() if word not in ENGLISH]
    assert words(text) == stem_all(plain, "english")


@pytest.mark.parametrize("language", LATIN, ids=lambda language: language.stemmer or "unstemmed")
def test_function_words_are_spelled_as_the_index_spells_them(language: Language) -> None:
    """A word of the table with an accent or a capital would never be met."""
    assert all(fold_word(fold(word)) == word for word in language.function_words.split())


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
    threads = [threading.Thread(target=lambda: found.append(words("running dogs собаки " * 500))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [["run", "dog", "собак"] * 500] * 8
