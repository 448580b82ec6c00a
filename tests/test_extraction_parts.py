"""The parts of extraction one by one: dates, languages, what fits into a call, budgets, odd answers, odd texts."""

from datetime import UTC, date, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.errors import ExtractionError
from proxy.extraction import REASONS, Batch, Fact, Said
from proxy.extraction.base import Item
from proxy.extraction.budget import MOST_USERS, WINDOW_S, Budget
from proxy.extraction.grounding import ground
from proxy.extraction.languages import is_translated, tell_language
from proxy.extraction.lexicons import LEXICONS, get_lexicon
from proxy.extraction.lexicons.base import CONCEPTS
from proxy.extraction.parsing import parse_items
from proxy.extraction.portions import INPUT_TOKENS, MOST_CALLS, shorten, split_batch
from proxy.extraction.prompt import escape, make_prompt, unescape
from proxy.extraction.quotes import Evidence
from proxy.extraction.times import allows, find_dates
from proxy.models import Scope
from proxy.tokens import estimate

AT = datetime(2024, 5, 15, 12, tzinfo=UTC)  # a Wednesday
DAY = AT.date()


@pytest.mark.parametrize(
    ("text", "dates"),
    [
        ("on 2024-05-24", [(2024, 5, 24)]),
        ("in 2019", [(2019, None, None)]),
        ("in May 2023", [(2023, 5, None)]),
        ("on March 3rd", [(None, 3, 3)]),
        ("3 March 2020", [(2020, 3, 3)]),
        ("am 3. März 2020", [(2020, 3, 3)]),
        ("el 3 de marzo de 2020", [(2020, 3, 3)]),
        ("le 14 mai 2024", [(2024, 5, 14)]),
        ("3 марта 2020", [(2020, 3, 3)]),
        ("24.05.2024", [(2024, 5, 24)]),
        ("2024年5月24日", [(2024, 5, 24)]),
        ("5月24日", [(None, 5, 24)]),
        ("2024년 5월", [(2024, 5, None)]),
        ("I may go", []),
        ("1,450 euros", []),
        ("version 3.12", []),
        ("2024-13-01", [(2024, None, None)]),
    ],
)
def test_dates_are_found(text: str, dates: list[tuple[int | None, int | None, int | None]]) -> None:
    """As year, month and day, as far as they are named."""
    assert [(found.year, found.month, found.day) for found in find_dates(text)] == dates


@pytest.mark.parametrize(
    ("said", "named", "allowed"),
    [
        ("next Friday", "2024-05-17", True),
        ("next Friday", "2024-05-24", True),
        ("next Friday", "2024-05-23", False),
        ("tomorrow", "2024-05-16", True),
        ("tomorrow", "2024-05-17", False),
        ("yesterday", "2024-05-14", True),
        ("yesterday", "2024-05-16", False),
        ("two weeks ago", "2024-05-01", True),
        ("two weeks ago", "2024-05-29", False),
        ("in two weeks", "2024-05-29", True),
        ("three years ago", "2021", True),
        ("three years ago", "2015", False),
        ("last month", "April 2024", True),
        ("last month", "January 2024", False),
        ("last year", "2023", True),
        ("last year", "2025", False),
        ("in March", "March 2024", True),
        ("in March", "April 2024", False),
        ("on March 3", "3 March 2025", True),
        ("on March 3", "3 March 1990", False),
        ("on March 3", "4 March 2024", False),
        ("letzten Sommer", "2023", True),
        ("vor drei Jahren", "2021", True),
        ("morgen", "2024-05-16", True),
        ("hier", "2024-05-14", True),
        ("il y a deux ans", "2022", True),
        ("la semana pasada", "2024-05-08", True),
        ("hace tres años", "2021", True),
        ("ieri", "2024-05-14", True),
        ("вчера", "2024-05-14", True),
        ("два года назад", "2022", True),
        ("明天", "2024-05-16", True),
        ("去年", "2023", True),
        ("来月", "2024-06", True),
        ("어제", "2024-05-14", True),
        ("some day", "2024-05-16", False),
        ("", "2024-05-15", False),
        ("I am 34", "1990", False),
    ],
)
def test_dates_are_what_was_said(said: str, named: str, allowed: bool) -> None:
    """Literally, or reckoned from the day of the message and within what the words allow."""
    [found] = find_dates(named)
    assert allows(said, found, DAY) is allowed


@pytest.mark.parametrize("day", [date.min, date.max])
def test_a_day_without_a_calendar_around_it_allows_nothing(day: date) -> None:
    """The first and the last day there are have no week before or after."""
    [found] = find_dates("2024-05-16")
    assert not allows("tomorrow, in two weeks, last year, on March 3", found, day)
    assert allows("on 2024-05-16", found, day)


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("I live in Berlin.", "en"),
        ("Ich wohne in Berlin.", "de"),
        ("J'habite à Nantes.", "fr"),
        ("Vivo en Sevilla.", "es"),
        ("Moro em Curitiba.", "pt"),
        ("Abito a Torino.", "it"),
        ("Ik woon in Utrecht.", "nl"),
        ("Jag bor i Malmö.", "sv"),
        ("Mieszkam w Gdańsku.", "pl"),
        ("Bydlím v Praze.", "cs"),
        ("Ankara'da yaşıyorum.", "tr"),
        ("Я живу в Казани.", "ru"),
        ("Я живу у Львові, і мені подобається.", "uk"),
        ("أعيش في القاهرة", "ar"),
        ("मैं पुणे में रहता हूँ", "hi"),
        ("我住在杭州", "zh"),
        ("京都に住んでいます", "ja"),
        ("저는 부산에 살아요", "ko"),
        ("Μένω στην Πάτρα", "el"),
        ("12 34", ""),
        ("", ""),
    ],
)
def test_languages_are_told(text: str, language: str) -> None:
    """By script, or by a few words."""
    assert tell_language(text) == language


def test_a_name_in_other_letters_is_no_translation() -> None:
    """What counts is what most of a text is written in."""
    assert not is_translated("The user's cat is called 年糕.", "my cat is called 年糕", "my cat is called 年糕")
    assert is_translated("用户的猫叫年糕。", "my cat is called Niangao", "my cat is called Niangao")


@pytest.mark.parametrize("language", LEXICONS)
def test_every_lexicon_can_be_used(language: str) -> None:
    """Each tells the user, the speaker, a denial and a wish, and counts to ten."""
    lexicon = get_lexicon(language)
    tags = {tag for table in (lexicon.exact, lexicon.folded) for found in table.values() for tag in found}
    tags |= {tag for _, found in lexicon.endings for tag in found}
    assert {"user", "self", "others", "no", "modal", "past", "says", "like", "live", "work"} <= tags
    assert tags & CONCEPTS
    assert {str(number) for number in range(1, 11)} <= set(lexicon.numbers.values())


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ('{"facts": []}', 0),
        ('{"facts": null}', None),
        ("{}", None),
        ("[]", 0),
        ("[1, 2]", None),
        ("no facts", None),
        ("", None),
        ('{"facts": [', None),
        ('{"facts": [{"text"', None),
        ('{"facts": [3, {}]}', 2),
        ('{"facts": [{"text": NaN}]}', 1),
        ("{" * 5000, None),
        ('{"facts": [' * 5000, None),
    ],
)
def test_a_list_is_told_from_none(text: str, count: int | None) -> None:
    """An empty list is an answer, none is not; what is in it may still be nothing."""
    items = parse_items(text)
    assert (None if items is None else len(items)) == count


def test_numbers_as_text_are_numbers() -> None:
    """Small models quote them."""
    items = parse_items('[{"text": "a", "quote": "b", "message": "3", "topic": " Home City! ", "same_as": null}]')
    assert items == [Item("a", "b", 3, topic="home_city")]


@given(st.text(max_size=300))
def test_no_answer_breaks_the_parser(text: str) -> None:
    """Whatever a model writes is a list of facts or none."""
    items = parse_items(text)
    assert items is None or all(item is None or isinstance(item, Item) for item in items)


def test_long_messages_are_split_between_words() -> None:
    """All of the user's words are in one of the parts; no part is larger than a call may be."""
    text = " ".join(f"word{number}" for number in range(9000))
    prompts = split_batch(Batch([Said("c", 0, "user", text, AT)], "", []))
    assert 1 < len(prompts) <= MOST_CALLS
    assert all(estimate(prompt.text) <= INPUT_TOKENS for prompt in prompts)
    assert all(any(f"word{number}" in prompt.text.split() for prompt in prompts) for number in range(9000))


@pytest.mark.parametrize("character", ["字", "x", "🙂", "7", "\n"])
def test_text_without_words_is_split_as_well(character: str) -> None:
    """A pasted book costs a bounded number of calls."""
    prompts = split_batch(Batch([Said("c", 0, "user", character * 200_000, AT)], "", []))
    assert len(prompts) <= MOST_CALLS
    assert all(estimate(prompt.text) <= 2 * INPUT_TOKENS for prompt in prompts)


def test_the_midst_is_left_out() -> None:
    """Beginning and end of a long text stay; a short one stays whole."""
    assert shorten("short", 10) == "short"
    cut = shorten("begin " + "x" * 9000 + " end", 100)
    assert (cut.startswith("begin"), cut.endswith("end"), "[…]" in cut) == (True, True, True)
    assert estimate(cut) < 120


def test_context_is_marked_and_short() -> None:
    """Of what was read before the last is shown, as such."""
    before = [Said("c", number, "user", f"old {number} " + "x" * 900, AT, context=True) for number in range(20)]
    [prompt] = split_batch(Batch([*before, Said("c", 20, "user", "new", AT)], "", []))
    assert "old 19" in prompt.text
    assert "old 1 " not in prompt.text
    assert prompt.text.count('context="yes"') == len(prompt.said) - 1


@given(st.text(alphabet="<>/mesagconvrtikw ‹x", max_size=60))
def test_data_cannot_leave_its_fence(text: str) -> None:
    """However a tag is written; and what was changed for that is changed back."""
    escaped = escape(text)
    assert not any(tag in escaped for tag in ("<message", "</message", "<conversation", "</conversation", "<known"))
    assert unescape(escaped) == text.replace("‹", "<")


def test_a_budget_forgets_who_was_away_for_long() -> None:
    """Its memory is bounded, and a window slides."""
    now = [0.0]
    budget = Budget(2, 1000, clock=lambda: now[0])
    ada = Scope("ada")
    budget.spend(ada, calls=1, tokens=0)
    now[0] = 1800
    budget.spend(ada, calls=1, tokens=0)
    with pytest.raises(ExtractionError) as told:
        budget.check(ada)
    assert told.value.after_s == WINDOW_S - 1800
    now[0] = WINDOW_S
    budget.check(ada)
    budget.spend(ada, calls=9, tokens=9)
    for number in range(MOST_USERS):
        budget.spend(Scope(str(number)), calls=1, tokens=1)
    budget.check(ada)


def judge(said: str, fact: str, quote: str, block: str = "") -> Fact | str:
    batch = Batch([Said("c", 0, "user", said, AT)], block, [])
    return ground(Item(fact, quote, 1), make_prompt(batch.messages, [said], []), Evidence(batch))


@pytest.mark.parametrize(
    ("said", "quote", "kept"),
    [
        (
            "I’m  allergic\u00a0to peanuts – badly.",
            "I'm allergic to peanuts - badly",
            "I’m  allergic\u00a0to peanuts – badly",
        ),
        ("I'm allergic to peanuts.", '"I\'m allergic to peanuts…"', "I'm allergic to peanuts"),
    ],
)
def test_a_quote_is_kept_to_the_letter(said: str, quote: str, kept: str) -> None:
    """Space and typography are the user's, whatever the model made of them."""
    fact = judge(said, "The user is allergic to peanuts.", quote)
    assert isinstance(fact, Fact)
    assert fact.quote == kept


def test_what_is_said_beside_an_echo_counts() -> None:
    """A line of the block within a message is an echo; the same words in a sentence of the user's own are not."""
    block = "- 2024-01-02: I work at the harbour in Oslo"
    said = "2024-01-02: I work at the harbour in Oslo\nYes, I still work at the harbour in Oslo."
    quote = "work at the harbour in Oslo"
    fact = judge(said, "The user still works at the harbour in Oslo.", quote, block)
    assert isinstance(fact, Fact)
    assert judge(said.partition("\n")[0], "The user works at the harbour in Oslo.", quote, block) == "echo"


_WORDS = (
    "I my user The lives in Berlin not no and but who is has 34 2024 next Friday : , . ? ! \n ' \" “ ‘ ` < > […] \x00 "
    "Der Nutzer wohnt ich 用户 我 住在 ユーザー です 사용자 저는 मैं أعيش Я не живу ı İ ß ŉ ﬁ 🙂 \u0301 \u200d l' d'"
)
WORDS = _WORDS.split(" ")


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.sampled_from(WORDS), max_size=14), st.lists(st.sampled_from(WORDS), max_size=10), st.text(max_size=12)
)
def test_no_text_breaks_the_checks(said: list[str], fact: list[str], noise: str) -> None:
    """Whatever was said, and whatever the model makes of it, there is a fact or a reason."""
    text = " ".join(said) + noise
    found = judge(text, " ".join(fact) or "x", text.strip() or "x", block=text[::-1])
    assert isinstance(found, Fact) or found in REASONS
