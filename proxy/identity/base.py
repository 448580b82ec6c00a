"""What a user id is, and what every way of knowing one has in common."""

import unicodedata
from collections.abc import Mapping, Sequence
from typing import Final, Literal, Protocol

from proxy.config.access import Identity
from proxy.errors import ApiError
from proxy.models import Scope

MAX_CHARACTERS: Final = 256
SIGNATURE: Final = b"x-user-signature"
# Where clients put the keys of APIs. Other proxies put tokens there, too.
CREDENTIALS: Final = frozenset({b"authorization", b"api-key"})

RawHeaders = Sequence[tuple[bytes, bytes]]
Reason = Literal["bad_signature", "old_signature", "bad_token", "expired_token", "unproven"]

MODES: Final[Mapping[str, str]] = {
    "header": "proxy.identity.header:HeaderIdentifier",
    "signed": "proxy.identity.signed:SignedIdentifier",
    "jwt": "proxy.identity.jwt:TokenIdentifier",
}


class Identifier(Protocol):
    """Knows the users of requests. One instance serves all requests of an edge."""

    async def identify(self, headers: RawHeaders, body_user: str | None, tenant: str) -> Scope | None:
        """The user that *headers* (names in lower case) name, else *body_user* where that is believed; None for nobody.

        Raises:
            ApiError: 400 for an id that is no id, and for headers that are sent twice or contradict each other; 401 for
                what is not proven.
            IdentityError: that cannot be found out for now.
        """

    async def aclose(self) -> None:
        """Ends what goes on in the background."""


def find_own_headers(settings: Identity) -> frozenset[bytes]:
    """The headers that say who a user is, of all modes, because none of them is the upstream's business in any.

    But ``Authorization`` and the like are where no tokens are read from it: an upstream needs its key.
    """
    token = _lower(settings.jwt.header)
    own = {_lower(settings.header), SIGNATURE}
    return frozenset(own if token in CREDENTIALS and settings.mode != "jwt" else own | {token})


def _lower(name: str) -> bytes:
    return name.lower().encode("ascii")


def read_single(headers: RawHeaders, name: str) -> bytes | None:
    """The value of the one header called *name*, without the space around it, which is no part of it.

    Raises:
        ApiError: 400 when it was sent more than once: whoever is in between may have looked at another one.
    """
    lower = _lower(name)
    sent = [value for key, value in headers if key == lower]
    if len(sent) > 1:
        raise ApiError(400, "bad_user_id", f"The header {name} was sent more than once.", param="user")
    return sent[0].strip(b" \t") if sent else None


def decode_user_id(sent: bytes) -> str:
    """The user id that a header has.

    Raises:
        ApiError: 400, when it is none.
    """
    try:
        user_id = sent.decode()
    except UnicodeDecodeError:
        raise bad_user_id("is not valid UTF-8") from None
    return check_user_id(user_id)


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
