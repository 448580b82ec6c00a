"""What a model says of a user, held against the user's words."""

from datetime import UTC, datetime

import pytest

from proxy.extraction import REASONS, Batch, Fact, Said
from proxy.extraction.base import Item, Reason
from proxy.extraction.grounding import ground
from proxy.extraction.languages import tell_language
from proxy.extraction.prompt import make_prompt
from proxy.extraction.quotes import Evidence
from tests.extraction_rows import BAD, GOOD, LOST, Row

AT = datetime(2024, 5, 15, 12, tzinfo=UTC)


def judge(row: Row) -> Fact | Reason:
    """What becomes of the row's fact."""
    said = []
    if row.before:
        said.append(Said("c", 0, "user", row.before, AT, context=True))
    if row.reply:
        said.append(Said("c", 1, "assistant", row.reply, AT))
    said.append(Said("c", 2, "user", row.said, AT))
    batch = Batch(said, row.block, [])
    item = Item(row.fact, row.quote or row.said, len(said), row.kind)
    return ground(item, make_prompt(said, [one.text for one in said], []), Evidence(batch))


@pytest.mark.parametrize("row", GOOD, ids=lambda row: row.fact)
def test_what_the_user_said_passes(row: Row) -> None:
    """The fact keeps its words, its quote is the user's to the letter, and its source the message it stands in."""
    fact = judge(row)
    assert isinstance(fact, Fact), fact
    assert (fact.text, fact.source, fact.said_at, fact.kind) == (row.fact, ("c", 2), AT, row.kind)
    assert fact.quote in row.said


@pytest.mark.parametrize("row", BAD, ids=lambda row: f"{row.fact} < {row.said}")
def test_what_the_user_did_not_say_is_dropped(row: Row) -> None:
    """With one of the reasons that fit."""
    reason = judge(row)
    assert not isinstance(reason, Fact)
    assert reason in row.why.split()
    assert reason in REASONS


def test_hardly_anything_good_is_lost() -> None:
    """At least 95 of 100 facts that stand on the user's words pass."""
    passed = sum(isinstance(judge(row), Fact) for row in [*GOOD, *LOST])
    assert passed >= 0.95 * len([*GOOD, *LOST])


def test_the_tables_are_large() -> None:
    """Enough rows, in enough languages, to mean something."""
    assert len(GOOD) >= 60
    assert len(BAD) >= 100
    for rows in (GOOD, BAD):
        assert len({tell_language(row.said, hint=row.fact) for row in rows}) >= 15
