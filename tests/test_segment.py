"""What makes a turn, and what makes it the same turn."""

from datetime import UTC, datetime

import pytest

from proxy.models import Message, Scope
from proxy.remember.segment import MAX_CHARACTERS, identify, make_turn

AT = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
ADA = Scope("ada")


def test_a_message_with_a_date_keeps_it() -> None:
    """Its own date goes before that of the exchange."""
    own = datetime(2020, 5, 6, tzinfo=UTC)
    assert make_turn(ADA, "c", 0, Message("user", "x", created_at=own), AT).created_at == own


def test_a_pasted_document_is_cut() -> None:
    """Only its beginning is kept, and its id is that of what is kept."""
    long = make_turn(ADA, "c", 0, Message("user", "x" * (MAX_CHARACTERS + 5)), AT)
    assert long.text == "x" * MAX_CHARACTERS
    assert long.id == make_turn(ADA, "c", 0, Message("user", long.text), AT).id


def test_the_same_turn_has_the_same_id() -> None:
    """A retry or a second import makes the same memory, whatever the date."""
    once, again = (make_turn(ADA, "c", 0, Message("user", "x"), at) for at in (AT, datetime(2000, 1, 1, tzinfo=UTC)))
    assert once.id == again.id
    assert len(once.id) == 32


@pytest.mark.parametrize(
    "other",
    [
        (Scope("bob"), "c", 0, "user", "x"),
        (Scope("ada", "acme"), "c", 0, "user", "x"),
        (ADA, "d", 0, "user", "x"),
        (ADA, "c", 1, "user", "x"),
        (ADA, "c", 0, "assistant", "x"),
        (ADA, "c", 0, "user", "y"),
        (ADA, "c0", 0, "user", "x"),
        (ADA, "", 0, "cuser", "x"),
        (ADA, "c", 0, "userx", ""),
        (ADA, "c", 0, "user", "x\ud800"),
    ],
)
def test_another_turn_has_another_id(other: tuple[Scope, str, int, str, str]) -> None:
    """Every part counts, and no part can be taken for the end of the one before it."""
    assert identify(*other) != identify(ADA, "c", 0, "user", "x")
