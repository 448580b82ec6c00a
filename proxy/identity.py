"""Whose request this is."""

import unicodedata
from typing import Final

from proxy.errors import ApiError
from proxy.models import Scope

MAX_CHARACTERS: Final = 256


def check_user_id(user_id: str) -> str:
    """*user_id*, when it is one: 1 to 256 characters, none of them a control character.

    Raises:
        ApiError: 400, with the reason.
    """
    if not user_id:
        raise bad_user_id("is empty")
    if len(user_id) > MAX_CHARACTERS:
        raise bad_user_id(f"has {len(user_id)} characters; {MAX_CHARACTERS} are allowed")
    if user_id.isascii() and user_id.isprintable():
        return user_id
    # Category Cc: NUL, line ends and the like; Cs: halves of surrogate pairs, which no encoding can carry.
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in user_id):
        raise bad_user_id("contains a control character")
    return user_id


def bad_user_id(reason: str) -> ApiError:
    """A 400 that says what is wrong, without repeating the id."""
    return ApiError(400, "bad_user_id", f"The user id {reason}.", param="user")


def identify(sent: list[bytes], body_user: str | None) -> Scope | None:
    """The user of a request: the values of the identity header, else the body's own ``user``; None for nobody.

    Raises:
        ApiError: 400 for an id that is no id, and for a header sent twice with different values.
    """
    if not sent:
        return Scope(check_user_id(body_user)) if body_user else None
    if len(set(sent)) > 1:
        raise bad_user_id("header was sent twice with different values")
    try:
        user_id = sent[0].strip(b" \t").decode()  # space around a value is no part of it
    except UnicodeDecodeError:
        raise bad_user_id("is not valid UTF-8") from None
    return Scope(check_user_id(user_id))
