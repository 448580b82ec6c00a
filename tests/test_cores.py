"""Cores that are left to others."""

import os
import sys

import pytest

from proxy import cores

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Linux alone lets a process choose")


def test_half_of_them_is_left_to_others() -> None:
    """Within the block; what is left is known, and is all that is not used."""
    before = os.sched_getaffinity(0)
    with cores.half():
        used = os.sched_getaffinity(0)
        assert used | cores.find_spare() == before
        assert not used & cores.find_spare()
        assert len(used) == len(before) - len(cores.find_spare())
        assert len(before) == 1 or 0 < len(used) < len(before)
    assert os.sched_getaffinity(0) == before
    assert cores.find_spare() == set()


@pytest.mark.parametrize("wanted", [[], [100_000]])
def test_what_cannot_be_had_changes_nothing(wanted: list[int]) -> None:
    """Nor does it fail."""
    before = os.sched_getaffinity(0)
    cores.take(wanted)
    assert os.sched_getaffinity(0) == before
