"""From exchanges to turns, and what makes a turn the same turn."""

from datetime import UTC, datetime

import pytest

from proxy.models import Exchange, Message, Scope
from proxy.remember.segment import MAX_CHARACTERS, identify, make_turn, segment

AT = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
ADA = Scope("ada")


def test_an_exchange_becomes_its_turns() -> None:
    """Role, text, date, conversation and position are those of the messages; positions go on from the first."""
    messages = [Message("user", "Hello", name="Ada"), Message("assistant", "Hi")]
    first, second = segment(Exchange("ada", "c1", 4, messages, AT))
    assert (first.role, first.text, first.name, first.message_index) == ("user", "Hello", "Ada", 4)
    assert (second.role, second.text, second.name, second.message_index) == ("assistant", "Hi", None, 5)
    assert {(turn.user_id, turn.kind, turn.conversation_id, turn.created_at) for turn in (first, second)} == {
        ("ada", "turn", "c1", AT)
    }


def test_empty_messages_are_no_turns_but_keep_their_place() -> None:
    """White space alone is nothing to remember; what follows it stands where it stood."""
    messages = [Message("user", " \n"), Message("user", "Hello"), Message("assistant", "")]
    assert [(turn.text, turn.message_index) for turn in segment(Exchange("ada", "c", 0, messages, AT))] == [
        ("Hello", 1)
    ]


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
