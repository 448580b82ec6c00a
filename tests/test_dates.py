"""Times that questions name."""

from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.recall import dates
from proxy.recall.dates import Span, find_spans

# A Wednesday.
_NOW = datetime(2024, 3, 20, 12, tzinfo=UTC)

_PIECES = """
    may march 29 february 31 0 00 99999 999 2023 1900 2099 in of de last this past previous ago days weeks years couple
    few a the day before yesterday today weekend tuesday 2023-13-45 2023-02-29 - , . th ٣ ² mai août
"""


def find(text: str, asked_at: datetime = _NOW) -> list[tuple[date, date]]:
    """First and last day of each time in *text*."""
    return [
        (datetime.fromtimestamp(span.begin, UTC).date(), datetime.fromtimestamp(span.end - 1, UTC).date())
        for span in find_spans(text, asked_at)
    ]


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("What did I buy on 2023-05-24?", "2023-05-24"),
        ("the log of 2023-05-24T10:00", "2023-05-24"),
        ("in 2023-05-24", "2023-05-24"),
        ("on May 5", "2023-05-05"),
        ("on March 20", "2024-03-20"),
        ("on March 21st", "2023-03-21"),
        ("the 5th of May, 2022", "2022-05-05"),
        ("March 3rd, 2021", "2021-03-03"),
        ("Mar 3, 2021", "2021-03-03"),
        ("Sept. 3", "2023-09-03"),
        ("am 5. Mai 2023", "2023-05-05"),
        ("le 14 juillet 2023", "2023-07-14"),
        ("5 de febrero de 2023", "2023-02-05"),
        ("il 3 dicembre del 2022", "2022-12-03"),
        ("3 de março de 2022", "2022-03-03"),
        ("op 3 maart 2022", "2022-03-03"),
        ("29 February 2024", "2024-02-29"),
        ("today", "2024-03-20"),
        ("yesterday", "2024-03-19"),
        ("the day before yesterday", "2024-03-18"),
        ("the DAY before yesterday", "2024-03-18"),
        ("last Tuesday", "2024-03-19"),
        ("last Wednesday", "2024-03-13"),
        ("last Thursday", "2024-03-14"),
    ],
)
def test_days(text: str, day: str) -> None:
    """One day is meant, the latest one where no year is named."""
    assert find(text) == [(date.fromisoformat(day), date.fromisoformat(day))]


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("2023-05", "2023-05-01", "2023-05-31"),
        ("in May", "2023-05-01", "2023-05-31"),
        ("in March", "2024-03-01", "2024-03-31"),
        ("last May", "2023-05-01", "2023-05-31"),
        ("in May of 2022", "2022-05-01", "2022-05-31"),
        ("February 2024", "2024-02-01", "2024-02-29"),
        ("im März", "2024-03-01", "2024-03-31"),
        ("im Dezember 2022", "2022-12-01", "2022-12-31"),
        ("en août", "2023-08-01", "2023-08-31"),
        ("en février 2023", "2023-02-01", "2023-02-28"),
        ("en agosto", "2023-08-01", "2023-08-31"),
        ("en enero de 2022", "2022-01-01", "2022-01-31"),
        ("em dezembro de 2022", "2022-12-01", "2022-12-31"),
        ("em fevereiro", "2024-02-01", "2024-02-29"),
        ("a maggio 2023", "2023-05-01", "2023-05-31"),
        ("nel settembre 2023", "2023-09-01", "2023-09-30"),
        ("in oktober", "2023-10-01", "2023-10-31"),
        ("in 2023", "2023-01-01", "2023-12-31"),
        ("im Jahr 2022", "2022-01-01", "2022-12-31"),
    ],
)
def test_months_and_years(text: str, first: str, last: str) -> None:
    """Months in seven languages, and years, from their first day to their last."""
    assert find(text) == [(date.fromisoformat(first), date.fromisoformat(last))]


@pytest.mark.parametrize(
    ("text", "days"),
    [
        ("3 days ago", 3),
        ("a week ago", 7),
        ("two weeks ago", 14),
        ("a couple of weeks ago", 14),
        ("a few days ago", 3),
        ("six months ago", 182),
        ("a year ago", 365),
        ("last week", 7),
        ("last month", 30),
        ("in the last few days", 3),
        ("the past 12 months", 365),
        ("this week", 2),
        ("last weekend", 4),
    ],
)
def test_vague_times(text: str, days: int) -> None:
    """The day that is meant is inside, and so is one beside it; the double is not."""
    [(first, last)] = find(text)
    assert first <= _NOW.date() - timedelta(days=days) <= last
    assert last > first
    assert first > _NOW.date() - timedelta(days=2 * days + 8)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hi",
        "I may march on",
        "May I ask something?",
        "the march of progress",
        "31 February",
        "29 February 2023",
        "2023-13-45",
        "2023-02-29",
        "0000-01-01",
        "in year 0",
        "in 1066",
        "0 May",
        "39 May",
        "99999 days ago",
        "an hour ago",
        "3 ago",
        "my flat has 3 rooms and 2 baths",
    ],
)
def test_no_time(text: str) -> None:
    """Words that only look like dates, and dates that there are not."""
    assert find(text) == []


def test_leap_days() -> None:
    """The 29th of February without a year is the last one that there was."""
    leap = date(2020, 2, 29)
    assert find("on February 29", datetime(2023, 5, 1, tzinfo=UTC)) == [(leap, leap)]
    assert find("on February 29", datetime(2024, 2, 28, tzinfo=UTC)) == [(leap, leap)]
    assert find("yesterday", datetime(2024, 3, 1, tzinfo=UTC)) == [(date(2024, 2, 29), date(2024, 2, 29))]


def test_several_times() -> None:
    """Each time named is one to look at."""
    assert find("from 2023-05-24 to yesterday") == [
        (date(2023, 5, 24), date(2023, 5, 24)),
        (date(2024, 3, 19), date(2024, 3, 19)),
    ]
    assert find("on 31 February or yesterday") == [(date(2024, 3, 19), date(2024, 3, 19))]


def test_days_begin_where_the_question_is_asked() -> None:
    """A day is one of the asker's time zone."""
    east = timezone(timedelta(hours=9))
    [span] = find_spans("today", datetime(2024, 3, 21, 1, tzinfo=east))
    assert span == Span(datetime(2024, 3, 21, tzinfo=east).timestamp(), datetime(2024, 3, 22, tzinfo=east).timestamp())


@given(
    st.one_of(
        st.text(max_size=60),
        st.lists(st.sampled_from(_PIECES.split()), max_size=12).map(" ".join),
    ),
    st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=-11)), timezone(timedelta(hours=14))])),
)
def test_any_text_at_any_time(text: str, asked_at: datetime) -> None:
    """Nothing raises, not even at the ends of the calendar, and no time ends before it begins."""
    assert all(span.begin < span.end for span in find_spans(text, asked_at))


@pytest.mark.parametrize("asked_at", [datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)])
@pytest.mark.parametrize("text", ["999 years ago", "today", "last year", "in December", "last weekend"])
def test_ends_of_the_calendar(text: str, asked_at: datetime) -> None:
    """What lies before the first day or after the last one is no time."""
    assert all(span.begin < span.end for span in find_spans(text, asked_at))


def test_questions_without_a_date_are_not_read_closely(monkeypatch: pytest.MonkeyPatch) -> None:
    """Most questions are through after one look for a hint."""

    def refuse(*_: object) -> list[Span]:
        raise AssertionError("looked at closely")

    monkeypatch.setattr(dates, "_find_all", refuse)
    assert find_spans("Which restaurant did my sister recommend for the party?", _NOW) == []
    with pytest.raises(AssertionError, match="closely"):
        find_spans("Which restaurant did my sister recommend yesterday?", _NOW)
