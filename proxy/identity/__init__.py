"""Whose request this is: a family of ways to know, and the one place that opens the configured one."""

import importlib
from collections.abc import Callable

from proxy.config import Settings
from proxy.identity.base import MAX_CHARACTERS, MODES, Identifier, bad_user_id, check_user_id, find_own_headers
from proxy.tasks import Tasks

__all__ = ["MAX_CHARACTERS", "Identifier", "bad_user_id", "check_user_id", "find_own_headers", "open_identifier"]


def open_identifier(settings: Settings, tasks: Tasks) -> Identifier:
    """The configured one. Imported only now, so that nobody pays for what is not configured.

    Raises:
        ConfigError: its key is none that it could check anything with.
    """
    module, _, name = MODES[settings.identity.mode].partition(":")
    factory: Callable[..., Identifier] = getattr(importlib.import_module(module), name)
    return factory(settings.identity, tasks)
