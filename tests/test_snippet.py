"""What is shown of long texts."""

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.recall.snippet import Snippets, Wanted, cut
from proxy.text import words
from tests.cost import cost
from tests.remembered import make_memory

_FILLER = "The weather was neither good nor bad that whole long week. "


def ask(text: str) -> dict[str, float]:
    return dict.fromkeys(words(text), 1.0)


def is_within(shown: str, limit: int) -> bool:
    """A text that is hardly longer than the limit is shown whole, and dots come on top."""
    return len(shown) <= 1.15 * limit + 6


def test_short_texts_stay() -> None:
    """A text within the limit, or hardly beyond, is shown whole."""
    text = "My dog is called Rex. He barks."
    assert cut(text, ask("cat"), len(text)) == text
    assert cut(text, ask("cat"), len(text) - 3) == text


@pytest.mark.parametrize("before", [0, 1, 5, 20])
@pytest.mark.parametrize("after", [0, 1, 5, 20])
def test_the_sentence_with_the_asked_words(before: int, after: int) -> None:
    """What was asked is shown wherever it stands, with dots where something is left out and only there."""
    text = _FILLER * before + "My happy dog Rex eats fish." + (" " + _FILLER * after).rstrip()
    shown = cut(text, ask("happiness of dogs"), 100)
    assert "My happy dog Rex eats fish." in shown
    assert is_within(shown, 100)
    assert shown.startswith("…") == (not text.startswith(shown[:10]))
    assert shown.endswith("…") == (not text.endswith(shown[-10:]))


def test_inflected_words_are_found() -> None:
    """The stem that Snowball makes of a word is not always a part of it."""
    assert "happy" in cut(f"{_FILLER * 10}He was happy. {_FILLER * 10}", ask("happiness"), 60)


def test_of_sentences_that_say_the_same_the_shorter_one_is_shown() -> None:
    """What says it in fewer words leaves room."""
    long = "On the way home and in the rain that whole long week the dog slept. "
    assert cut(f"{long}{_FILLER * 10}The dog slept. {_FILLER}", ask("dog slept"), 75) == "…The dog slept.…"


def test_different_words_beat_repeated_ones() -> None:
    """A sentence with two of the asked words is better than one with the same word three times."""
    text = f"A dog, a dog, a dog was here. {_FILLER * 4}The cat saw the dog there. {_FILLER * 4}"
    shown = cut(text, ask("cat dog"), 60)
    assert "The cat saw the dog there." in shown
    assert "a dog, a dog" not in shown


def test_rare_words_beat_common_ones() -> None:
    """What weighs more is shown first."""
    text = f"Our dog slept. {_FILLER * 4}Our axolotl slept. {_FILLER * 4}"
    assert "axolotl" in cut(text, {"dog": 0.5, "axolotl": 2.0}, 50)
    assert "dog" in cut(text, {"dog": 2.0, "axolotl": 0.5}, 50)


def test_of_equal_sentences_one_with_a_number_is_shown() -> None:
    """Answers are made of numbers more often than not."""
    text = f"We fed our old dog twice. {_FILLER * 4}We fed our dog at 12.30. {_FILLER * 4}"
    assert "12.30" in cut(text, ask("dog fed"), 45)


def test_parts_are_in_the_order_of_the_text() -> None:
    """The best sentence does not come first, and what lies between is marked."""
    text = f"Our dog slept. {_FILLER * 4}Our dog saw an axolotl. {_FILLER * 4}"
    shown = cut(text, ask("dog axolotl"), 60)
    assert shown == "Our dog slept. … Our dog saw an axolotl.…"


@pytest.mark.parametrize("place", [0, 5, 12, 24])
def test_a_sentence_that_never_ends(place: int) -> None:
    """Of one without a full stop what is around the asked word is shown, in whole words."""
    said = ["blabla"] * 25
    said[place] = "Rex"
    shown = cut(" ".join(said), ask("Rex"), 60)
    assert "Rex" in shown
    assert set(shown.strip("…").split()) == {"blabla", "Rex"}
    assert is_within(shown, 60)
    assert shown.startswith("…") == (place > 0)
    assert shown.endswith("…") == (place < 24)


@pytest.mark.parametrize(
    ("asked", "said", "filler"),
    [
        ("cafe", "Das Café am Fluss ist schön.", _FILLER),
        ("Café", "We met in the cafe on Main Street.", _FILLER),
        ("Istanbul", "İstanbul büyük bir şehir.", "İİİ bu cümle uzun ama hiçbir şey söylemiyor. "),
        ("Ёлка", "Наша елка стоит в углу.", "Погода была ни хорошей, ни плохой всю неделю. "),
        ("犬の名前", "犬の名前はレックスです。", "今週の天気は良くも悪くもなかった。"),
        ("ガーデン", "庭にガーデンチェアがあります。", "今週の天気は良くも悪くもなかった。"),
        ("カメラ", "ｶﾒﾗを買いました。", "今週の天気は良くも悪くもなかった。"),
        ("القطة", "القطة نائمة في المطبخ.", "كان الطقس عاديا طوال الأسبوع الماضي كله. "),
        ("कुत्ता", "मेरा कुत्ता सो रहा है।", "पूरे हफ्ते मौसम न अच्छा था न बुरा। "),
        ("강아지", "강아지 이름은 렉스예요.", "이번 주 날씨는 좋지도 나쁘지도 않았어요. "),
    ],
)
def test_other_scripts(asked: str, said: str, filler: str) -> None:
    """Accents, capitals without a like, and scripts with other full stops or none between words."""
    shown = cut(f"{filler * 12}{said} {filler * 12}", ask(asked), 60)
    assert shown == f"…{said}…"


def test_a_script_without_spaces_or_stops() -> None:
    """A long run of characters is cut around what was asked, anywhere."""
    shown = cut("東京" * 70 + "犬小屋" + "大阪" * 100, ask("犬小屋"), 33)
    assert "犬小屋" in shown
    assert is_within(shown, 33)


def test_without_an_asked_word_the_beginning_is_shown() -> None:
    """As much of it as there is room for, however many sentences there are."""
    for number in (3, 30):
        text = "Hello there! " + _FILLER * number + "Ok. No."
        shown = cut(text, ask("axolotl"), 140)
        assert shown == f"Hello there! {_FILLER * 2}".rstrip() + "…"
        assert cut(text, {}, 140) == shown


def test_characters_that_are_nothing() -> None:
    """A text may have zero bytes and be of white space alone."""
    assert "dog" in cut("a\0" * 300 + " the dog.", ask("dog"), 60)
    assert cut(" \n" * 300, ask("dog"), 60).strip("…") == ""
    assert cut(f"{_FILLER * 10}My dog is Rex.\n\n", ask("dog"), 60) == "…My dog is Rex."
    assert cut(f"\n \nMy dog is Rex. {_FILLER * 10}", ask("dog"), 60) == "My dog is Rex.…"
    assert cut(f"{_FILLER * 10}我的狗叫旺财。", ask("狗"), 60) == "…我的狗叫旺财。"


@given(
    st.lists(st.one_of(st.text(max_size=30), st.sampled_from([". ", "\n", "\0", "dog ", "犬", "İ", "。"]))).map(
        "".join
    ),
    st.dictionaries(
        st.one_of(st.sampled_from(["dog", "犬", "happi"]), st.text(min_size=1, max_size=4)), st.floats(0, 9)
    ),
    st.integers(1, 200),
)
def test_any_text(text: str, asked: Mapping[str, float], limit: int) -> None:
    """Nothing raises, no more is shown than there is room for, and nothing that was not said."""
    shown = cut(text, asked, limit)
    assert is_within(shown, limit)
    for part in shown.split("…"):
        assert part.strip() in text.replace("\0", " ")


@pytest.mark.parametrize(
    "document", [_FILLER * 1800, "x" * 100_000, "犬。" * 50_000, "a. " * 33_000, "\n" * 99_999 + "a"]
)
def test_pasted_documents(document: str) -> None:
    """100,000 characters take less than 5 ms, of which 0.7 are needed for the worst."""
    asked = ask("weather week dog cat fish bird 犬")
    assert cost(lambda: cut(document, asked, 200)) < 0.005


def test_the_end_of_a_very_long_document_is_left_out() -> None:
    """Dots say that the text goes on, even where all that was looked at is shown."""
    assert cut("My dog is Rex. " + "x" * 100_000, ask("dog"), 60).endswith("…")
    assert cut("x. " * 50_000, ask("dog"), 60).endswith("…")
    assert cut("x. " * 2660 + "my dog is here now and will be there then", ask("dog"), 60).endswith("…")


def test_memories_are_cut_by_tokens() -> None:
    """A token is four Latin characters or about one of Japanese; the speaker's name in front is left out."""
    snippets = Snippets()
    latin = snippets.cut(make_memory(0, "Ann: " + _FILLER * 20, name="Ann"), Wanted.read({}), 40)
    dense = snippets.cut(make_memory(1, "今週の天気は良くも悪くもなかった。" * 20), Wanted.read({}), 40)
    assert latin.strip().startswith("The weather")
    assert 80 < len(latin) < 190
    assert 20 < len(dense) < 70
    assert snippets.cut(make_memory(2, "Ann: hello", name="Ann"), Wanted.read({}), 40).strip() == "hello"
    assert snippets.cut(make_memory(3, "None: hél"), Wanted.read({}), 40) == "None: hél"


def test_a_memory_that_was_changed_is_cut_anew() -> None:
    """What is kept of a text goes when there is another one, when it is forgotten, or for others' sake."""
    snippets = Snippets(kept=2)
    for number, said in enumerate(["dog", "cat", "bird", "fish", "dog"]):
        text = f"{_FILLER * 10}My {said} is called Rex."
        for memory in (make_memory(0, text), make_memory(0, text), make_memory(number, text)):
            assert snippets.cut(memory, Wanted.read(ask(said)), 15) == f"…My {said} is called Rex."
    for forgotten in (["m0", "unknown"], None):
        snippets.forget(forgotten)
        assert snippets.cut(make_memory(0, f"{_FILLER * 10}Ok."), Wanted.read({}), 15).startswith("The weather")
