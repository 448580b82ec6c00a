"""What is told of memories on their way to another embedding model, by the keeper, over HTTP and by commands."""

from typing import Literal

import msgspec

Movement = Literal["settled", "due", "moving", "verifying", "failed"]


class ReembeddingState(msgspec.Struct, frozen=True):
    """How it is with embedding models: *serving* is in force, *target* the one that memories are on their way to.

    *state*: ``settled`` when the configured one is in force, ``due`` when another one is, ``moving`` and then
    ``verifying`` while memories are given their new vectors, ``failed`` when that has ended with *error*. *done*: how
    many of the *total* have theirs; *moved*: how many were given it since it was begun last, so many a second.
    """

    state: Movement
    serving: str | None
    configured: str
    target: str | None = None
    total: int = 0
    done: int = 0
    moved: int = 0
    rate: float = 0.0
    error: str | None = None
