"""The room for connections: as many open files as the system allows, and a warning where these are too few."""

import resource

import pytest
from structlog.testing import capture_logs

from proxy import config
from proxy.listening import make_room

NEEDED = 2 * 4096 + 1000


class Limits:
    """The system's limit of open files, with a ceiling that is not the one it tells."""

    def __init__(self, soft: int, hard: int, ceiling: int) -> None:
        self.soft, self.hard, self._ceiling = soft, hard, ceiling

    def get(self, _: int) -> tuple[int, int]:
        return self.soft, self.hard

    def set(self, _: int, limits: tuple[int, int]) -> None:
        if limits[0] > self._ceiling:
            raise ValueError("current limit exceeds maximum limit")
        self.soft, self.hard = limits


@pytest.mark.parametrize(
    ("soft", "hard", "ceiling", "raised", "warns"),
    [
        (1024, NEEDED, 1 << 20, NEEDED, False),
        (1024, NEEDED - 1, 1 << 20, NEEDED - 1, True),
        (1024, 1 << 20, 4096, 1024, True),
        (1 << 20, 1 << 20, 1 << 20, 1 << 20, False),
        (resource.RLIM_INFINITY, resource.RLIM_INFINITY, 0, resource.RLIM_INFINITY, False),
    ],
    ids=["raised", "raised, too low", "cannot be raised", "high already", "without a limit"],
)
def test_the_limit_of_open_files_is_raised(
    monkeypatch: pytest.MonkeyPatch, soft: int, hard: int, ceiling: int, raised: int, warns: bool
) -> None:
    """To the hard one; who has too few connections for what is configured is told both numbers."""
    limits = Limits(soft, hard, ceiling)
    monkeypatch.setattr(resource, "getrlimit", limits.get)
    monkeypatch.setattr(resource, "setrlimit", limits.set)
    with capture_logs() as logs:
        make_room(config.load(environ={}))
    assert limits.soft == raised
    told = [(line["event"], line["limit"], line["needed"]) for line in logs]
    assert told == ([("few_open_files", raised, NEEDED)] if warns else [])
