"""Paces, places and tickets, by a clock of the test's own."""

from contextlib import suppress
from typing import Any, Final

import pytest

from proxy.config import Settings
from proxy.edge.admission import LARGEST_BURST, Admission, Pace, Places, Ticket
from proxy.edge.callers import Caller
from proxy.errors import LimitError
from proxy.models import Scope

ANYBODY: Final = Caller("", ())


class Clock:
    """A time that only the test changes."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_pace() -> None:
    """So many at once, then one for each that has become free; and the seconds until then."""
    clock = Clock()
    pace = Pace(60, clock)
    assert [pace.take("ada") for _ in range(60)] == [0.0] * 60
    assert pace.take("ada") == pytest.approx(1)
    assert pace.take("bob") == 0.0
    clock.now += 0.75
    assert pace.take("ada") == pytest.approx(0.25)
    clock.now += 0.25
    assert [pace.take("ada") > 0, pace.take("ada") > 0] == [False, True]
    clock.now += 3600
    assert [pace.take("ada") > 0 for _ in range(61)] == [False] * 60 + [True]


@pytest.mark.parametrize(
    ("per_minute", "at_once", "wait_s"),
    [(0.5, 1, 120), (1, 1, 60), (1.5, 1, 40), (7, 7, 60 / 7), (60_000, 1000, 0.001)],
)
def test_paces_of_any_kind(per_minute: float, at_once: int, wait_s: float) -> None:
    """Less than one a minute, fractions, and more than may come at once."""
    clock = Clock()
    pace = Pace(per_minute, clock)
    taken = 0
    while not pace.take("ada"):
        taken += 1
    assert abs(taken - at_once) <= 1
    assert at_once <= LARGEST_BURST
    clock.now += wait_s
    assert pace.take("ada") == 0.0


def test_who_does_not_ask_is_forgotten() -> None:
    """A full bucket is as good as none; and however many users come, so many are kept."""
    clock = Clock()
    pace = Pace(60, clock, most=100)
    for number in range(50):
        pace.take(f"early-{number}")
    clock.now += 1
    for number in range(50):
        pace.take(f"late-{number}")
    assert len(pace) == 50
    for number in range(1000):
        pace.take(f"crowd-{number}")
    assert len(pace) == 100


def test_places() -> None:
    """Each key has its own, and nothing is kept of who has none."""
    places = Places(2)
    for _ in range(2):
        places.take("ada")
    assert (places.is_full("ada"), places.is_full("bob")) == (True, False)
    for _ in range(2):
        places.give_back("ada")
    assert (places.is_full("ada"), len(places)) == (False, 0)


def settings(**sections: Any) -> Settings:
    return Settings.model_validate({"flags": sections})


def test_a_ticket_gives_back_what_it_has() -> None:
    """Also when it was refused half-way, or what it was for has failed."""
    admission = Admission(settings(limits={"max_in_flight": 2, "user_max_in_flight": 1}))
    with Ticket(admission, ANYBODY) as ticket:
        ticket.check()
        ticket.begin()
        ticket.begin_for(Scope("ada"))
        with Ticket(admission, ANYBODY) as second:
            second.begin()
            with pytest.raises(LimitError, match="1 requests under way"):
                second.begin_for(Scope("ada"))
        with suppress(ZeroDivisionError), Ticket(admission, ANYBODY) as third:
            third.begin()
            third.begin_for(Scope("ada", "another tenant"))
            raise ZeroDivisionError
        assert not admission.all.is_full()
    assert admission.user_places is not None
    assert (len(admission.all), len(admission.user_places)) == (0, 0)
